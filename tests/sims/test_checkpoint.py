"""What a recording keeps: gradients do not depend on the budget, and no step is recomputed more often than planned."""

from math import comb

import numpy as np
import pytest
from small_scenes import random_controls, reverse, small_scene, small_world

from pliant.sims.checkpoint import Checkpoints, parse_memory
from pliant.sims.fields import KEPT_AT


@pytest.mark.parametrize(
    ("memory", "size"),
    [
        ("2GiB", 2**31), ("1.5 KiB", 1536), ("500MB", 5 * 10**8), ("3mib", 3 * 2**20), ("64 B", 64), (4096, 4096),
        ("10", 10), (" 7kB ", 7000), ("1gb", 10**9),
    ],
)  # fmt: skip
def test_parse_memory(memory, size):
    assert parse_memory(memory) == size


@pytest.mark.parametrize("memory", ["", "much", "-1GiB", "0", 0, -5, "2 TiBs", "1.2.3GiB", "GiB", None, "0.1B", "nan"])
def test_parse_memory_names_what_it_cannot_read(memory):
    with pytest.raises(ValueError, match=r"memory=.* is not a size; allowed: a positive number with B, KiB"):
        parse_memory(memory)


def least_budget(world):
    """Bytes of one segment and two states."""
    return world._checkpoints.segment_bytes + 2 * world._checkpoints.state_bytes


def gradient(world, controls):
    rng = np.random.default_rng(2)
    for c in controls:
        world.step(c)
    cotangents = {name: rng.standard_normal(world.state(name).shape) for name in world.state_names}
    return reverse(world, cotangents, rng.standard_normal((len(controls), *world.output("effector_force").shape)))


@pytest.mark.parametrize("known", [True, False], ids=["horizon known", "horizon unknown"])
@pytest.mark.parametrize("substeps", [1, 3, 5])
def test_gradients_do_not_depend_on_the_budget(substeps, known):
    full = small_world(2, batch=2, substeps=substeps)
    least = least_budget(full)
    state = full._checkpoints.state_bytes
    controls = random_controls(full, 13)
    for steps in (1, 2, 7, 13):
        full.reset()
        expected = gradient(full, controls[:steps])
        for budget in (least, least + state, least + 3 * state, 2 * least, 2**30):
            tight = small_world(2, batch=2, substeps=substeps, memory=budget, horizon=steps if known else None)
            for _ in range(2):  # a second recording reuses what the first has allocated
                tight.reset()
                found = gradient(tight, controls[:steps])
                for name, bar in expected.items():
                    np.testing.assert_array_equal(found[name], bar, err_msg=f"{name}, {steps} steps, {budget} bytes")
            tight.close()
    full.close()


@pytest.mark.parametrize("dim", [2, 3])
def test_nodes_that_did_not_fit_are_found_again(dim):
    scene = small_scene(dim, particles=40 if dim == 2 else 200)
    kept, found_again = (small_world(dim, scene=scene, batch=2) for _ in range(2))
    found_again._memory.integers.view()[found_again._parts[-1].at.kept_nodes] = 0
    bars = []
    for world in (kept, found_again):
        bars.append(gradient(world, random_controls(world, 2)))
        marks = world._checkpoints.segments[1].view()[world._memory.integers.view()[KEPT_AT] :: world._memory.kept // 2]
        assert len(marks) == world.substeps * world.batch and (marks == (world is kept)).all()
        world.close()
    for name, bar in bars[0].items():  # forward and reverse kernel may round differently
        np.testing.assert_allclose(bars[1][name], bar, rtol=0, atol=1e-11 * np.abs(bar).max(initial=0.0), err_msg=name)


@pytest.mark.parametrize("segments", [1, 3])
@pytest.mark.parametrize("horizon", [None, 4, 5, 6, 7, 9, 12])
def test_a_recording_goes_on_after_a_reverse_sweep(horizon, segments):
    full = small_world(2)
    memory = least_budget(full) + full._checkpoints.state_bytes + (segments - 1) * full._checkpoints.segment_bytes
    tight = small_world(2, memory=memory, horizon=horizon)
    controls = random_controls(full, 9)
    bars = []
    for world in (full, tight):
        gradient(world, controls[:5])
        for c in controls[5:]:
            world.step(c)
        assert world.step_count == 9
        bars.append(reverse(world, {"velocity": np.ones(world.state("velocity").shape)}))
    for name, bar in bars[0].items():
        np.testing.assert_array_equal(bars[1][name], bar, err_msg=name)
    full.close()
    tight.close()


def test_a_budget_for_less_than_one_step_is_refused():
    world = small_world(2)
    least = least_budget(world)
    world.close()
    small_world(2, memory=least).close()
    with pytest.raises(ValueError, match=f"memory={least - 1} bytes is too little; .* at least {least} bytes"):
        small_world(2, memory=least - 1)


class Counter:
    """A simulation whose state is the number of steps taken: records and replays it, and counts."""

    def __init__(self, steps, *, states, substeps=4, horizon=None):
        row = 5
        self.recording = Checkpoints(row, np.float64, substeps, (substeps + 1 + states) * row * 8, horizon)
        self.substeps, self.row = substeps, row
        self.steps = steps
        self.recomputed = 0
        self.most_states = 0
        for t in range(steps):
            segment = self.recording.open_segment()
            if segment is None:
                self.recording.keep_state(lambda t=t: np.full(row, float(t)))
            else:
                self.fill(segment, t)

    def fill(self, segment, t):
        segment.view()[:] = t + np.repeat(np.arange(self.substeps + 1) / self.substeps, self.row)

    def replay(self, first, step, states, wanted, segment):
        assert (states[first] == first).all()
        for t in range(first, step + 1):
            if t in wanted:
                states[t] = np.full(self.row, float(t))
            self.recomputed += 1
        self.most_states = max(self.most_states, len(states))
        self.fill(segment, step)

    def sweep(self):
        for t in reversed(range(self.steps)):
            segment = self.recording.segment_of(t, self.replay).view()
            assert segment[0] == t and segment[-1] == t + 1


@pytest.mark.parametrize("known", [True, False], ids=["horizon known", "horizon unknown"])
@pytest.mark.parametrize("steps", [1, 2, 3, 7, 13, 50, 200])
@pytest.mark.parametrize("states", [2, 3, 6, 20])
def test_states_stay_within_the_budget_and_every_segment_is_found(states, steps, known):
    counter = Counter(steps, states=states, horizon=steps if known else None)
    assert len(counter.recording.states) <= states
    counter.sweep()
    assert counter.most_states <= states
    if counter.recording.complete:
        assert counter.recomputed == 0
    else:
        assert steps - counter.recording.whole <= counter.recomputed <= 2.2 * fewest_steps(steps, states)
    counter.recording.free()


def fewest_steps(steps, states):
    """Steps that the best schedule recomputes from ``states`` states (Griewank & Walther 2000, theorem 6.1)."""
    repeats = next(r for r in range(1, steps + 2) if comb(states + r, states) >= steps)
    return steps + repeats * steps - comb(states + repeats, states + 1)


def test_a_recording_that_fits_is_kept_whole():
    counter = Counter(6, states=6 * 5, horizon=6)
    counter.sweep()
    assert counter.recomputed == 0 and len(counter.recording.segments) == 6
    counter.recording.clear()
    assert counter.recording.steps == 0 and counter.recording.segments == [] and counter.recording.states == {}
    counter.recording.free()


def test_many_states_make_each_step_be_recomputed_little():
    """With the square root of the steps in states, each step is recomputed about twice."""
    counter = Counter(100, states=10, horizon=100)
    counter.sweep()
    assert counter.recomputed <= 3 * 100
    counter.recording.free()
