"""After a divergence a World shows the last good state, in all worlds, and can be reversed, restored and reset."""

import numpy as np
import pytest
from rod_scenes import branched_scene, rod_world
from small_scenes import forces_on_effectors, random_controls, reverse, small_world, states

from pliant.sims.world import SimulationDiverged

STEPS = 5
DEADLY = 1e7  # times usual controls


def diverge(world, controls, worlds=0):
    """Take good steps, then one that fails in ``worlds``."""
    world.reset()
    for c in controls:
        world.step(c)
    good = states(world), forces_on_effectors(world), world.snapshot()
    deadly = controls[-1].copy()
    deadly[worlds] *= DEADLY
    with pytest.raises(SimulationDiverged) as found:
        world.step(deadly)
    assert found.value.step == len(controls) == world.step_count
    return good


def assert_good(world, good):
    expected, forces, snapshot = good
    for name, value in states(world).items():
        np.testing.assert_array_equal(value, expected[name], err_msg=name)
    np.testing.assert_array_equal(forces_on_effectors(world), forces)
    for found, kept in zip(world.snapshot(), snapshot, strict=True):
        np.testing.assert_array_equal(found, kept)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("differentiable", [False, True])
@pytest.mark.parametrize("substeps", [4, 5])
def test_all_worlds_show_the_state_before_the_step(batch, differentiable, substeps):
    world = small_world(2, batch=batch, differentiable=differentiable, substeps=substeps)
    controls = random_controls(world, STEPS)
    good = diverge(world, controls[:3], batch - 1)
    assert_good(world, good)
    with pytest.raises(ValueError, match="reset"):
        world.step(controls[3])
    assert_good(world, good)
    # from the snapshot it goes on as if nothing had happened
    world.restore(*world.snapshot())
    for c in controls[3:]:
        world.step(c)
    found = states(world)
    world.reset()
    for c in controls:
        world.step(c)
    for name, value in states(world).items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)
    world.close()


@pytest.mark.parametrize("states_kept", [None, 3, 6])
@pytest.mark.parametrize("horizon", [None, 2, STEPS + 1])
def test_a_sweep_after_it_covers_the_good_steps(states_kept, horizon):
    world = small_world(2, batch=2, horizon=horizon)
    budget = "2GiB" if states_kept is None else world.memory_for(whole=1, states=states_kept)
    world.close()
    world = small_world(2, batch=2, horizon=horizon, memory=budget)
    controls = random_controls(world, STEPS)
    world.reset()
    for c in controls:
        world.step(c)
    rng = np.random.default_rng(3)
    cotangents = {name: rng.standard_normal(value.shape) for name, value in states(world).items()}
    expected = reverse(world, cotangents)
    good = diverge(world, controls, 1)
    for _ in range(2):
        found = reverse(world, cotangents)
        for name, bar in expected.items():
            np.testing.assert_array_equal(found[name], bar, err_msg=name)
        assert_good(world, good)
    world.close()


def test_the_first_step_may_fail():
    world = small_world(2)
    start = states(world)
    controls = random_controls(world, 1)[0]
    with pytest.raises(SimulationDiverged):
        world.step(DEADLY * controls)
    for name, value in states(world).items():
        np.testing.assert_array_equal(value, start[name], err_msg=name)
    assert world.step_count == 0
    world.reset()
    world.step(controls)
    world.close()


def test_memory_does_not_grow_with_failures():
    world = small_world(2)
    controls = random_controls(world, 2)
    for _ in range(3):
        diverge(world, controls)
        recording = world._checkpoints
        assert len(recording.segments) == 2 and len(recording._pool) == 1
    world.close()


@pytest.mark.parametrize("differentiable", [False, True])
def test_a_rod_that_is_torn_shows_the_state_before_the_step(differentiable):
    world = rod_world(branched_scene("driven"), batch=2, differentiable=differentiable)

    def apart(*distances):
        place = np.tile(world.scene.position[world.scene.driven_vertices], (2, 1, 1))
        place[:, 2, 0] += distances
        return place.reshape(2, -1)

    for step in range(3):
        world.step(apart(1e-3 * step, 1e-3 * step))
    good = states(world), forces_on_effectors(world), world.snapshot()
    with pytest.raises(SimulationDiverged):
        world.step(apart(0.0, 0.5))
    assert_good(world, good)
    world.restore(*world.snapshot())
    world.step(apart(0.0, 0.0))
    world.close()


def test_a_rod_that_does_not_converge_shows_the_state_before_the_step():
    world = rod_world(branched_scene("driven", iterations=1))
    world.set_state("velocity", 1.0)
    good = states(world), forces_on_effectors(world), world.snapshot()
    place = world.scene.position[world.scene.driven_vertices].reshape(1, -1)
    with pytest.raises(SimulationDiverged, match="did not converge"):
        world.step(place)
    assert_good(world, good)
    world.close()
