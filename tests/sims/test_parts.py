"""The contract of parts: two of one kind in one World, a slower rate, outputs of an outside part, loops, failures."""

from types import SimpleNamespace

import numpy as np
import pytest

from pliant.sims import runtime
from pliant.sims import world as world_module
from pliant.sims.accessors import accessors
from pliant.sims.failures import CAUSES, Cause, SimulationDiverged
from pliant.sims.fields import DT, Needs, Quantity, Record
from pliant.sims.part import Loop, Part, Pass, Stage, Stages
from pliant.sims.reports import report_function
from pliant.sims.runtime import thread_count, ti  # noqa: F401 (a condition of skipif)
from pliant.sims.world import World

SUBSTEPS, DT_SECONDS, STEPS = 6, 0.01, 3
TOO_FAR = 30


class Springs(Part):
    """Unit masses in the plane on springs with a common damping; the spring energy of each is an output.

    v' = v + dt (force - stiffness x - damping v), x' = x + dt v', of which dt is ``every`` substeps; energy = the mean
    over the steps of stiffness |x'|^2 / 2. A mass that gets further than ``limit`` from 0 is a failure.
    """

    key = ("springs",)
    element_name = "mass"
    causes = CAUSES | {TOO_FAR: Cause("a mass has got too far", "x")}

    def __init__(self, count, name="", every=1, limit=1e3, start=0.1):
        self.count, self.name, self.every, self.limit, self.start = count, name, every, limit, start
        self.key = ("springs", every)
        self.elements = count

    def needs(self, *, batch, team, differentiable):
        masses = [Quantity("x", (2,), "m"), Quantity("v", (2,), "m/s")]
        return Needs(
            state=[Record("masses", masses, self.count)],
            parameters=[
                Record("springs", [Quantity("stiffness", unit="N/m")], self.count),
                Record("damping", [Quantity("damping", unit="1/s")]),
            ],
            controls=[Record("forces", [Quantity("force", (2,), "N")], self.count)],
            outputs=[Record("energies", [Quantity("energy", unit="J")], self.count)],
            counts={"count": self.count, "rounds": SUBSTEPS // self.every},
            numbers={"limit": self.limit},
        )

    def initial(self):
        return {"x": self.start, "stiffness": 4.0, "damping": 0.5}

    def stages(self, dim, fp, device):
        my, at, every = accessors(self, fp, device), self.at, self.every
        report = report_function(at.part)

        @ti.func
        def begin(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
            for i in range(first, stop):
                my.energy.store(mem, b, i, fp(0.0))

        @ti.func
        def step(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
            dt = every * mem.constants[DT]
            for i in range(first, stop):
                x, v, k = my.x.load(mem, row_in, i), my.v.load(mem, row_in, i), my.stiffness.load(mem, b, i)
                v += dt * (my.force.load(mem, b, i) - k * x - my.damping.load(mem, b, 0) * v)
                x += dt * v
                my.x.store(mem, row_out, i, x)
                my.v.store(mem, row_out, i, v)
                share = fp(0.5) * k * x.dot(x) / mem.integers[at.rounds]
                my.energy.store(mem, b, i, my.energy.load(mem, b, i) + share)
                if x.dot(x) > mem.constants[at.limit] ** 2:
                    report(mem, b, i if ti.static(device) else c, substep, i, TOO_FAR, -1)

        @ti.func
        def step_adjoint(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
            dt = every * mem.constants[DT]
            for i in range(first, stop):
                x, v, k = my.x.load(mem, row_in, i), my.v.load(mem, row_in, i), my.stiffness.load(mem, b, i)
                x_new = my.x.load(mem, row_out, i)
                energy_bar = my.energy.load_bar(mem, b, i) / mem.integers[at.rounds]
                x_bar = my.x.load_bar(mem, b, i) + energy_bar * k * x_new
                v_bar = my.v.load_bar(mem, b, i) + dt * x_bar
                damping = my.damping.load(mem, b, 0)
                my.force.add_bar(mem, b, i, dt * v_bar)
                my.stiffness.add_bar(mem, b, i, -dt * x.dot(v_bar) + fp(0.5) * energy_bar * x_new.dot(x_new))
                my.damping.add_bar(mem, b, 0, -dt * v.dot(v_bar))
                my.x.store_bar(mem, b, i, x_bar - dt * k * v_bar)
                my.v.store_bar(mem, b, i, v_bar - dt * damping * v_bar)

        return Stages([Stage([Pass(step, at.count)], [Pass(step_adjoint, at.count)])], begin=[Pass(begin, at.count)])


def make_world(*parts, batch=2, **options):
    scene = SimpleNamespace(dim=2, parts=lambda **_: list(parts))
    settings = {"substeps": SUBSTEPS, "dt": DT_SECONDS, "precision": "f64", "differentiable": True} | options
    return World(scene, batch=batch, **settings)


def controls_of(world, seed=1):
    return np.random.default_rng(seed).standard_normal((STEPS, world.batch, world.control_size))


def objective(world, controls, weights):
    """A weighted sum of final states and of all steps' outputs."""
    world.reset()
    total = 0.0
    for control in controls:
        world.step(control)
        total += sum(np.vdot(weights[name], world.output(name)) for name in world.output_names)
    return total + sum(np.vdot(weights[name], world.state(name)) for name in world.state_names)


def gradient(world, controls, weights):
    """Of `objective`: by the controls and by parameters."""
    objective(world, controls, weights)
    world.begin_adjoint()
    bars = np.zeros_like(controls)
    for t in reversed(range(len(controls))):
        world.load_step(t)
        if t == len(controls) - 1:
            for name in world.state_names:
                world.add_state_adjoint(name, weights[name])
        for name in world.output_names:
            world.add_output_adjoint(name, weights[name])
        bars[t] = world.step_adjoint(t)
    found = {name: world.parameter_adjoint(name) for name in world.parameter_names}
    world.end_adjoint()
    return bars, found


def check_gradient(world):
    controls = controls_of(world)
    rng = np.random.default_rng(2)
    world.reset()
    world.step(controls[0])
    weights = {name: rng.standard_normal(world.state(name).shape) for name in world.state_names}
    weights |= {name: rng.standard_normal(world.output(name).shape) for name in world.output_names}
    bars, found = gradient(world, controls, weights)
    direction, step = rng.standard_normal(controls.shape), 1e-6
    slope = objective(world, controls + step * direction, weights) - objective(
        world, controls - step * direction, weights
    )
    np.testing.assert_allclose(np.vdot(bars, direction), slope / (2 * step), rtol=1e-6)
    for name, bar in found.items():
        values = world.parameter(name)
        direction = rng.standard_normal(values.shape)
        ends = []
        for sign in (1, -1):
            world.reset()
            world.set_parameter(name, values + sign * step * direction)
            ends.append(objective(world, controls, weights))
        world.reset()
        world.set_parameter(name, values)
        np.testing.assert_allclose(np.vdot(bar, direction), (ends[0] - ends[1]) / (2 * step), rtol=1e-6)


@pytest.mark.parametrize("device", [False, True])
def test_outputs_and_parameters_of_an_outside_part_are_read_and_pulled_back(device, monkeypatch):
    if device:
        monkeypatch.setattr(runtime, "_chosen", "cuda")
    world = make_world(Springs(3))
    assert world.output_names == ("energy",) and world.output("energy").shape == (2, 3)
    check_gradient(world)
    world.close()


@pytest.mark.skipif("thread_count() < 2", reason="needs two threads")
def test_all_threads_of_a_team_add_to_a_cotangent_of_the_whole_world(monkeypatch):
    monkeypatch.setattr(world_module, "MEMBER_ELEMENTS", 1)
    world = make_world(Springs(2000), batch=1)
    assert world._team == 2
    check_gradient(world)
    world.close()


def test_two_parts_of_one_kind_live_side_by_side():
    """Each one moves as it does alone."""
    both = make_world(Springs(3, "left"), Springs(2, "right", start=0.2))
    assert set(both.state_names) == {"left.x", "left.v", "right.x", "right.v"}
    assert both.control_layout == {"left.force": slice(0, 6), "right.force": slice(6, 10)}
    controls = controls_of(both)
    both.set_parameter("right.stiffness", 9.0)
    for control in controls:
        both.step(control)
    for name, count, start, columns in (("left", 3, 0.1, slice(0, 6)), ("right", 2, 0.2, slice(6, 10))):
        alone = make_world(Springs(count, start=start))
        if name == "right":
            alone.set_parameter("stiffness", 9.0)
        for control in controls:
            alone.step(control[:, columns])
        for quantity in ("x", "v"):
            np.testing.assert_array_equal(both.state(f"{name}.{quantity}"), alone.state(quantity))
        np.testing.assert_array_equal(both.output(f"{name}.energy"), alone.output("energy"))
        alone.close()
    check_gradient(both)
    both.close()


def test_quantities_of_the_same_name_are_refused():
    with pytest.raises(ValueError, match="two parts have state of the name 'x'; give one of the parts a name"):
        make_world(Springs(3), Springs(2))


@pytest.mark.parametrize("device", [False, True])
def test_a_part_at_a_slower_rate_takes_longer_steps_beside_a_faster_one(device, monkeypatch):
    """Three substeps in one: as alone in a World of a third of the substeps, each three times as long."""
    if device:
        monkeypatch.setattr(runtime, "_chosen", "cuda")
    world = make_world(Springs(2, "slow", every=3), Springs(2, "fast"))
    slow = make_world(Springs(2), substeps=SUBSTEPS // 3, dt=3 * DT_SECONDS)
    controls = controls_of(world)
    for control in controls:
        world.step(control)
        slow.step(control[:, :4])
    np.testing.assert_allclose(world.state("slow.x"), slow.state("x"), rtol=1e-14)
    assert np.abs(world.state("fast.x") - world.state("slow.x")).max() > 1e-6
    check_gradient(world)
    world.close()
    slow.close()


@pytest.mark.parametrize("every", [0, -1, 1.5, True, None])
def test_rates_that_cannot_be_are_refused(every):
    part = Springs(2)
    part.every = every
    with pytest.raises(ValueError, match="Springs: every="):
        make_world(part)


@pytest.mark.parametrize("name", [3, None, "a.b", " ", "left "])
def test_names_that_cannot_be_are_refused(name):
    with pytest.raises(ValueError, match="Springs: name="):
        make_world(Springs(2, name))


def test_a_part_belongs_to_one_world():
    """Its entries are those of that World: in another one they would point elsewhere."""
    part = Springs(2)
    make_world(part).close()
    with pytest.raises(ValueError, match="Springs is part of a World already"):
        make_world(Springs(3, "first"), part)


def test_initial_values_that_do_not_fit_are_named():
    part = Springs(2)
    part.start = np.zeros(3)
    with pytest.raises(ValueError, match="initial value of 'x' has shape"):
        make_world(part)


def test_a_world_needs_parts_but_these_need_no_elements():
    with pytest.raises(ValueError, match="has no parts"):
        make_world()
    world = make_world(Springs(0))
    world.step(np.zeros((2, 0)))
    assert world.state("x").shape == (2, 0, 2) and world.output("energy").shape == (2, 0)
    world.close()


def test_substeps_that_are_no_multiple_of_a_rate_are_refused():
    with pytest.raises(ValueError, match="substeps=6 must be a multiple of 4"):
        make_world(Springs(2, every=4))


@pytest.mark.parametrize("device", [False, True])
def test_a_failure_names_its_part(device, monkeypatch):
    if device:
        monkeypatch.setattr(runtime, "_chosen", "cuda")
    world = make_world(Springs(3, "left", limit=0.5), Springs(2, "right"), differentiable=False)
    control = np.zeros((2, world.control_size))
    control[1, 2] = 100.0
    with pytest.raises(SimulationDiverged, match=r"step 1, substep 2 in left: x of mass 1 of world 1: a mass has got"):
        for _ in range(20):
            world.step(control)
    world.close()


class Root(Part):
    """y' = the square root of y + a in each element, by Newton's iteration; its adjoint is one division."""

    key = ("root",)
    element_name = "root"

    def __init__(self, count, most=50):
        self.count, self.most, self.elements = count, most, count

    def needs(self, *, batch, team, differentiable):
        return Needs(
            state=[Record("values", [Quantity("y")], self.count)],
            parameters=[Record("shift", [Quantity("a")], self.count)],
            counts={"count": self.count, "most": self.most},
            scratch={"residual": batch * self.count},
        )

    def initial(self):
        return {"y": 2.0, "a": np.arange(1.0, self.count + 1)}

    def stages(self, dim, fp, device):
        my, at = accessors(self, fp, device), self.at
        tolerance = 1e-12 if fp is ti.f64 else 1e-5

        @ti.func
        def place(mem: ti.template(), b, i):
            return mem.integers[at.residual] + b * mem.integers[at.count] + i

        @ti.func
        def start(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
            for i in range(first, stop):
                my.y.store(mem, row_out, i, fp(1.0))
                mem.scratch[place(mem, b, i)] = fp(1.0)

        @ti.func
        def refine(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
            for i in range(first, stop):
                y = my.y.load(mem, row_out, i)
                inside = my.y.load(mem, row_in, i) + my.a.load(mem, b, i)
                my.y.store(mem, row_out, i, (y + inside / y) / fp(2.0))
                mem.scratch[place(mem, b, i)] = ti.abs(y * y - inside)

        @ti.func
        def is_done(mem: ti.template(), b):
            worst = fp(0.0)
            for i in range(mem.integers[at.count]):
                worst = ti.max(worst, mem.scratch[place(mem, b, i)])
            return worst < fp(tolerance)

        @ti.func
        def adjoint(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
            for i in range(first, stop):
                bar = my.y.load_bar(mem, b, i) / (fp(2.0) * my.y.load(mem, row_out, i))
                my.y.store_bar(mem, b, i, bar)
                my.a.add_bar(mem, b, i, bar)

        loop = Loop([Pass(refine, at.count)], is_done, at.most, at.part)
        return Stages([Stage([Pass(start, at.count), loop], [Pass(adjoint, at.count)])])


@pytest.mark.parametrize("device", [False, True])
def test_a_loop_ends_when_its_world_is_done_and_its_adjoint_is_one_solve(device, monkeypatch):
    if device:
        monkeypatch.setattr(runtime, "_chosen", "cuda")
    world = make_world(Root(4), substeps=2)
    assert world.control_size == 0
    world.step(np.zeros((2, 0)))
    expected = np.sqrt(np.sqrt(2.0 + np.arange(1.0, 5)) + np.arange(1.0, 5))
    np.testing.assert_allclose(world.state("y"), np.broadcast_to(expected, (2, 4)), rtol=1e-12)
    world.begin_adjoint()
    world.load_step(0)
    world.add_state_adjoint("y", np.ones((2, 4)))
    world.step_adjoint(0)
    a = np.arange(1.0, 5)
    inner = np.sqrt(2.0 + a)
    np.testing.assert_allclose(world.parameter_adjoint("a")[0], (1 + 1 / (2 * inner)) / (2 * expected), rtol=1e-10)
    world.close()


@pytest.mark.parametrize("device", [False, True])
def test_a_loop_that_does_not_end_is_a_failure_of_its_part(device, monkeypatch):
    if device:
        monkeypatch.setattr(runtime, "_chosen", "cuda")
    world = make_world(Root(4, most=2), differentiable=False)
    with pytest.raises(
        SimulationDiverged, match="substep 0 in velocity of root 0 of world 0: an iteration did not conv"
    ):
        world.step(np.zeros((2, 0)))
    world.close()


class Tally(Part):
    """Counts its steps, in a pass without a count that does not look at its range."""

    key = ("tally",)
    elements = 2

    def needs(self, *, batch, team, differentiable):
        return Needs(state=[Record("steps", [Quantity("n")])])

    def initial(self):
        return {}

    def stages(self, dim, fp, device):
        my = accessors(self, fp, device)

        @ti.func
        def count(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
            my.n.store(mem, row_out, 0, my.n.load(mem, row_in, 0))
            my.n.store(mem, row_out, 0, my.n.load(mem, row_out, 0) + fp(1.0))

        return Stages([Stage([Pass(count)], [])])


@pytest.mark.skipif("thread_count() < 2", reason="needs two threads")
def test_one_member_of_a_team_does_a_pass_without_a_count(monkeypatch):
    monkeypatch.setattr(world_module, "MEMBER_ELEMENTS", 1)
    world = make_world(Tally(), batch=1, substeps=1000, differentiable=False)
    assert world._team == 2
    for _ in range(20):
        world.step(np.zeros((1, 0)))
    assert world.state("n") == 20_000
    world.close()
