"""Conjugate gradients as a loop of passes: solutions, adjoints, teams, the device driver, failures."""

import os
import statistics
import time

import numpy as np
import pytest
import scipy.sparse.linalg
from poisson import Poisson, laplacian, poisson_world

import pliant.sims.world as world_module
from pliant.sims import runtime
from pliant.sims.failures import SimulationDiverged
from pliant.sims.linear.conjugate_gradient import conjugate_gradient_needs
from pliant.sims.linear.sums import BLOCK
from pliant.sims.runtime import thread_count  # noqa: F401 (a condition of skipif)

SIZE = 6
needs_two = pytest.mark.skipif("thread_count() < 2", reason="needs two threads")


@pytest.fixture(params=["team", "device"])
def driver(request, monkeypatch):
    """Both drivers, one after the other."""
    if request.param == "device":
        monkeypatch.setattr(runtime, "_chosen", "cuda")
    return request.param


def random_problem(size, batch=2, seed=0):
    """Conductivities and sources, (B, n^3) each."""
    rng = np.random.default_rng(seed)
    return rng.uniform(0.5, 2.0, (batch, size**3)), rng.standard_normal((batch, size**3))


def exact(conductivity, right):
    """Solutions (B, n^3) by elimination."""
    size = round(conductivity.shape[1] ** (1 / 3))
    pairs = zip(conductivity, right, strict=True)
    return np.stack([scipy.sparse.linalg.spsolve(laplacian(k.reshape((size,) * 3)), f) for k, f in pairs])


def forced_team(monkeypatch, members, *parts, **options):
    """A World of one world that so many threads share."""
    if members == 1:
        monkeypatch.setattr(world_module, "MEMBER_ELEMENTS", 2**30)
    else:
        elements = sum(part.elements for part in parts)
        monkeypatch.setattr(world_module, "MEMBER_ELEMENTS", elements // members)
    world = poisson_world(*parts, **options)
    assert world._team == members
    return world


@pytest.mark.parametrize("precondition", [None, "jacobi", "passes"])
@pytest.mark.parametrize("size", [1, SIZE, 11])
def test_the_solution_is_that_of_elimination(size, precondition, driver):
    world = poisson_world(Poisson(size, precondition=precondition), batch=2)
    conductivity, source = random_problem(size)
    world.set_parameter("conductivity", conductivity)
    world.step(source)
    np.testing.assert_allclose(world.state("u"), exact(conductivity, source), atol=1e-10)
    world.close()


def test_an_eigenvector_is_divided_by_its_eigenvalue():
    size, modes = 11, (1, 3, 4)
    waves = [np.sin(np.pi * a * np.arange(1, size + 1) / (size + 1)) for a in modes]
    vector = np.einsum("i,j,k->ijk", *waves).ravel()
    eigenvalue = sum(2 - 2 * np.cos(np.pi * a / (size + 1)) for a in modes)
    world = poisson_world(Poisson(size, precondition=None))
    world.step(vector[None])
    np.testing.assert_allclose(world.state("u")[0], vector / eigenvalue, atol=1e-10)
    world.close()


def final(world, conductivity, initial, sources):
    """The state after a step with each of the sources."""
    world.reset()
    world.set_parameter("conductivity", conductivity)
    world.set_state("u", initial)
    for source in sources:
        world.step(source)
    return world.state("u")


def gradient(world, steps, weights):
    """Of the weighted sum of the final state by conductivity, initial state and sources."""
    world.begin_adjoint()
    bars = []
    for t in reversed(range(steps)):
        world.load_step(t)
        if t == steps - 1:
            world.add_state_adjoint("u", weights)
        bars.append(world.step_adjoint(t))
    found = world.parameter_adjoint("conductivity"), world.state_adjoint("u"), np.array(bars[::-1])
    world.end_adjoint()
    return found


@pytest.mark.parametrize(("precondition", "is_warm"), [("jacobi", False), ("passes", True)])
def test_gradients_agree_with_central_differences(precondition, is_warm, driver):
    """Of two steps of two substeps, each a solve with the state of the one before."""
    part = Poisson(SIZE, precondition=precondition, is_warm=is_warm, tolerance=1e-13)
    world = poisson_world(part, batch=2, substeps=2, differentiable=True)
    rng = np.random.default_rng(3)
    point = (random_problem(SIZE)[0], rng.standard_normal((2, SIZE**3)), rng.standard_normal((2, 2, SIZE**3)))
    weights = rng.standard_normal((2, SIZE**3))
    final(world, *point)
    bars = gradient(world, 2, weights)
    step = 1e-5
    for k, bar in enumerate(bars):
        direction = rng.standard_normal(bar.shape)
        ends = []
        for sign in (1, -1):
            moved = list(point)
            moved[k] = point[k] + sign * step * direction
            ends.append(np.vdot(weights, final(world, *moved)))
        np.testing.assert_allclose(np.vdot(bar, direction), (ends[0] - ends[1]) / (2 * step), rtol=1e-6)
    world.close()


def outcomes(world, size, steps=1):
    """Final state and gradients of a random problem."""
    rng = np.random.default_rng(5)
    shape = (world.batch, size**3)
    point = (rng.uniform(0.5, 2.0, shape), rng.standard_normal(shape), rng.standard_normal((steps, *shape)))
    state = final(world, *point)
    found = (state, *gradient(world, steps, rng.standard_normal(shape)))
    world.close()
    return found


@needs_two
@pytest.mark.parametrize(
    ("size", "precision", "precondition", "tolerance"),
    [(64, "f32", "jacobi", 1e-2), (13, "f32", "jacobi", 1e-6), (21, "f64", "passes", 1e-10)],
)
def test_a_team_of_two_finds_the_same_bits_as_one_thread(size, precision, precondition, tolerance, monkeypatch):
    """States and gradients, on 64^3 cells and where the last block is shorter than the others."""
    assert size**3 > 2 * BLOCK and (size == 64 or size**3 % BLOCK)
    options = {"precision": precision, "differentiable": True}
    found = []
    for members in (1, 2):
        part = Poisson(size, precondition=precondition, is_warm=precondition == "passes", tolerance=tolerance)
        found.append(outcomes(forced_team(monkeypatch, members, part, **options), size))
    for one, two in zip(*found, strict=True):
        assert np.abs(one).max() > 0
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(
    ("precision", "precondition", "close"),
    [pytest.param("f32", "passes", 2e-4, marks=pytest.mark.slow), ("f64", None, 1e-9)],
)
def test_a_thread_an_element_agrees_with_the_team(precision, precondition, close, monkeypatch):
    found = []
    for device in ("cpu", "cuda"):
        monkeypatch.setattr(runtime, "_chosen", device)
        part = Poisson(11, precondition=precondition, tolerance=1e-6 if precision == "f32" else 1e-12)
        found.append(outcomes(poisson_world(part, batch=2, precision=precision, differentiable=True), 11))
    for one, two in zip(*found, strict=True):
        np.testing.assert_allclose(one, two, atol=close * np.abs(one).max())


def test_worlds_of_a_batch_end_each_in_its_own_time(driver):
    """One has nothing to do, one is hard; each finds what it finds alone."""
    conductivity, source = random_problem(SIZE, batch=3)
    conductivity[1] = np.random.default_rng(1).uniform(1e-3, 10.0, SIZE**3)
    source[2] = 0.0
    together = poisson_world(Poisson(SIZE), batch=3)
    together.set_parameter("conductivity", conductivity)
    together.step(source)
    for b in range(3):
        alone = poisson_world(Poisson(SIZE))
        alone.set_parameter("conductivity", conductivity[b])
        alone.step(source[b : b + 1])
        np.testing.assert_array_equal(alone.state("u")[0], together.state("u")[b])
        alone.close()
    together.close()


@pytest.mark.parametrize(("precondition", "is_warm"), [("jacobi", False), ("passes", True)])
def test_nothing_on_the_right_gives_zero_at_once(precondition, is_warm, driver):
    world = poisson_world(Poisson(SIZE, precondition=precondition, is_warm=is_warm, most=0))
    world.set_state("u", 3.0)
    world.step(np.full((1, SIZE**3), -3.0))
    np.testing.assert_array_equal(world.state("u"), 0.0)
    world.close()


@pytest.mark.parametrize("factor", [1e-32, 1e-20, 1e20, 1e32])
def test_right_sides_of_any_size_are_solved_alike(factor, driver):
    """Of which the squares are no numbers of float32."""
    _, source = random_problem(SIZE, batch=1)
    world = poisson_world(Poisson(SIZE, tolerance=1e-6), precision="f32")
    world.step(factor * source)
    expected = exact(np.ones((1, SIZE**3)), source)
    np.testing.assert_allclose(world.state("u") / factor, expected, atol=1e-5)
    world.close()


def test_a_good_guess_saves_the_rounds_and_a_bad_one_does_no_harm(driver):
    rng = np.random.default_rng(2)
    solution = rng.standard_normal((1, SIZE**3))
    source = (laplacian(np.ones((SIZE,) * 3)) @ solution[0])[None] - solution
    world = poisson_world(Poisson(SIZE, precondition="passes", is_warm=True, most=0))
    world.set_state("u", solution)
    world.step(source)
    np.testing.assert_allclose(world.state("u"), solution, atol=1e-12)
    world.close()
    cold = poisson_world(Poisson(SIZE, most=0))
    cold.set_state("u", solution)
    with pytest.raises(SimulationDiverged):
        cold.step(source)
    cold.close()
    far = 1e9 * rng.standard_normal((1, SIZE**3))
    source = np.floor(10 * solution) - far  # and so far + source is about ten
    rounds = 40
    for guess in (far, 0 * far):
        world = poisson_world(Poisson(SIZE, precondition="passes", is_warm=True, most=rounds))
        world.set_state("u", guess)
        world.step(source + far - guess)
        expected = exact(np.ones((1, SIZE**3)), guess + (source + far - guess))
        np.testing.assert_allclose(world.state("u"), expected, atol=1e-9)
        world.close()


def test_passes_of_a_preconditioner_save_rounds():
    """Two sweeps of Jacobi's iteration are worth more than one."""
    conductivity, source = random_problem(16, batch=1)
    with pytest.raises(SimulationDiverged):
        solve_within(55, "jacobi", conductivity, source)
    np.testing.assert_allclose(solve_within(55, "passes", conductivity, source), exact(conductivity, source), atol=1e-6)


def solve_within(rounds, precondition, conductivity, source):
    world = poisson_world(Poisson(16, precondition=precondition, most=rounds, tolerance=1e-8))
    world.set_parameter("conductivity", conductivity)
    world.step(source)
    return world.state("u")


def test_two_parts_have_a_system_each():
    conductivity, source = random_problem(SIZE, batch=1)
    parts = Poisson(SIZE, name="left"), Poisson(SIZE, name="right", precondition="passes")
    world = poisson_world(*parts)
    world.set_parameter("right.conductivity", conductivity)
    world.step(np.concatenate([source, 2 * source], axis=1))
    np.testing.assert_allclose(world.state("left.u"), exact(0 * conductivity + 1, source), atol=1e-10)
    np.testing.assert_allclose(world.state("right.u"), exact(conductivity, 2 * source), atol=1e-10)
    world.close()


def test_too_few_rounds_are_a_failure_of_the_part(driver):
    world = poisson_world(Poisson(SIZE, most=3, name="room"), batch=2)
    source = np.zeros((2, SIZE**3))
    source[1, 0] = 1.0
    with pytest.raises(
        SimulationDiverged, match=r"in room: velocity of cell 0 of world 1: an iteration did not conver"
    ):
        world.step(source)
    world.close()


def test_what_is_not_finite_ends_the_loop_with_a_name(driver):
    for name, value, source in (("conductivity", 2e38, 1.0), ("u", 1e38, 3e38)):
        world = poisson_world(Poisson(SIZE, most=2**30), precision="f32")
        (world.set_parameter if name == "conductivity" else world.set_state)(name, value)
        with pytest.raises(SimulationDiverged, match=r"world 0: a value is not finite"):
            world.step(np.full((1, SIZE**3), source))
        world.close()


def test_a_matrix_that_is_not_definite_is_named(driver):
    """Negative definite, with and without a preconditioner of the same sign, and indefinite."""
    for precondition, conductivity in ((None, -1.0), ("jacobi", -1.0), (None, np.linspace(-1.0, 1.0, SIZE**3))):
        world = poisson_world(Poisson(SIZE, precondition=precondition, most=2**30))
        world.set_parameter("conductivity", conductivity)
        with pytest.raises(
            SimulationDiverged, match=r"substep 0 in .* of world 0: the matrix .* not positive definite"
        ):
            world.step(np.random.default_rng(0).standard_normal((1, SIZE**3)))
        world.close()


def test_an_adjoint_that_does_not_converge_is_a_failure_too(driver):
    """With a guess that is the solution there is nothing to iterate forward."""
    world = poisson_world(Poisson(SIZE, precondition="passes", is_warm=True, most=0), differentiable=True)
    solution = np.random.default_rng(2).standard_normal((1, SIZE**3))
    world.set_state("u", solution)
    world.step((laplacian(np.ones((SIZE,) * 3)) @ solution[0])[None] - solution)
    world.begin_adjoint()
    world.load_step(0)
    world.add_state_adjoint("u", np.ones((1, SIZE**3)))
    with pytest.raises(SimulationDiverged, match=r"step 0, substep 0 in gradient of velocity .* did not converge"):
        world.step_adjoint(0)
    world.close()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"unknowns": 0}, "unknowns=0 must be an integer in 1.."),
        ({"unknowns": 2.0}, "unknowns=2.0 must be an integer"),
        ({"most": -1}, "most=-1 must be an integer >= 0"),
        ({"batch": 0}, "batch=0 must be an integer >= 1"),
        ({"tolerance": 0.0}, "tolerance=0.0 must be a finite number > 0"),
        ({"tolerance": 1.0}, "tolerance=1.0 must be"),
        ({"tolerance": float("nan")}, "tolerance=nan must be"),
    ],
)
def test_numbers_out_of_range_are_refused(changed, message):
    settings = {"unknowns": 8, "batch": 1, "tolerance": 1e-6, "most": 10} | changed
    with pytest.raises(ValueError, match=message):
        conjugate_gradient_needs("heat", settings.pop("unknowns"), **settings)


@pytest.mark.slow
@needs_two
def test_two_threads_are_faster_than_one(monkeypatch):
    """On 64^3 cells; on a machine with nothing else to do."""
    repeats, size = 7, 64
    source = np.random.default_rng(0).standard_normal((1, size**3))
    worlds = []
    for members in (1, 2):
        part = Poisson(size, tolerance=1e-5)
        worlds.append(forced_team(monkeypatch, members, part, precision="f32"))
        worlds[-1].step(source)
    seconds = [[], []]
    for _ in range(repeats):
        for world, own in zip(worlds, seconds, strict=True):
            world.reset()
            began = time.perf_counter()
            world.step(source)
            own.append(time.perf_counter() - began)
    np.testing.assert_array_equal(worlds[0].state("u"), worlds[1].state("u"))
    one, two = map(statistics.median, seconds)
    print(f"one thread {1e3 * one:.0f} ms, two {1e3 * two:.0f} ms, load {os.getloadavg()[0]:.1f}, {seconds}")
    assert one / two >= 1.5
    for world in worlds:
        world.close()
