"""When a body is torn or has collapsed, and when it is only stretched or squeezed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pliant.sims.mpm.bodies import Body, Walls
from pliant.sims.mpm.scene import Scene
from pliant.sims.mpm.solver import largest_substep, wave_speed
from pliant.sims.mpm.tearing.inspection import GAP, LEAST_VOLUME, largest_gap, largest_stretch, neighbours
from pliant.sims.robot.effector import Effector
from pliant.sims.shapes.shapes import Box
from pliant.sims.world import SimulationDiverged, World

CELL = 0.02
LAWS = ("neo_hookean", "fixed_corotated", "hencky")


def lattice(counts: Any, spacing: float) -> np.ndarray:
    axes = [(np.arange(n) + 0.5) * spacing for n in counts]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(axes))


def bar_between_grips(dim: int, material: str = "neo_hookean", batch: int = 1, **options: Any) -> World:
    """A soft bar of 12 cells between two grips that hold two cells more at each end."""
    spacing = CELL / 2
    position = lattice([32] + [8] * (dim - 1), spacing) + CELL * np.array([20.0] + [6.03] * (dim - 1))
    bar = Body("bar", position, spacing**dim, material, youngs_modulus=2e3, poissons_ratio=0.3)
    height = [8.03 * CELL] * (dim - 1) + [0.0] * (3 - dim)
    grips = [
        Effector(name, Box((2 * CELL, 4 * CELL, 4 * CELL)), (x * CELL, *height), contact="sticky")
        for name, x in (("left", 21), ("right", 35))
    ]
    scene = Scene(dim, [56] + [16] * (dim - 1), CELL, [bar], grips, gravity=[0.0] * dim)
    return World(scene, batch=batch, substeps=25, dt=4e-4, **options)


def pull(world: World, speeds: Any, steps: int) -> None:
    """Moves the grips apart, each at a speed of the world's own [m/s]."""
    controls = np.zeros((world.batch, world.control_size))
    start = world.control_layout["effector_twist"].start
    controls[:, start], controls[:, start + 6] = -np.asarray(speeds), np.asarray(speeds)
    for _ in range(steps):
        world.step(controls)


@pytest.mark.parametrize("material", LAWS)
def test_a_bar_that_is_stretched_to_twice_its_length_is_whole(material: str) -> None:
    world = bar_between_grips(2, material)
    pull(world, 0.4, 30)  # from 12 to 24 cells
    assert 1.8 < largest_stretch(world)["bar"][0] < 2.6
    assert largest_gap(world)["bar"][0] < 0.65 * GAP
    world.close()


@pytest.mark.parametrize(("dim", "precision"), [(2, "f32"), (2, "f64"), (3, "f32")])
def test_a_bar_that_is_pulled_in_two_is_torn(dim: int, precision: str) -> None:
    world = bar_between_grips(dim, precision=precision)
    with pytest.raises(
        SimulationDiverged, match=r"position of particles \d+ and \d+ of world 0: an elastic body is torn"
    ):
        pull(world, 0.4, 60)
    world.close()


def test_the_torn_world_of_a_batch_and_the_pair_are_named() -> None:
    world = bar_between_grips(2, batch=3)
    pull(world, [0.1, 0.4, 0.0], 30)
    assert (largest_gap(world)["bar"] < GAP).all()
    with pytest.raises(SimulationDiverged) as caught:
        pull(world, [0.1, 0.4, 0.0], 30)
    assert caught.value.world == 1
    words = caught.value.array.split()
    first, second = int(words[3]), int(words[5])
    assert [first, second] in neighbours(world.scene).tolist()  # type: ignore[arg-type]
    world.close()


def test_looking_for_tears_leaves_recordings_and_gradients_alone() -> None:
    found = {}
    for memory in ("2GiB", "1500kB"):
        world = bar_between_grips(2, differentiable=True, memory=memory, precision="f64")
        pull(world, 0.4, 6)
        world.begin_adjoint()
        for step in reversed(range(6)):
            world.load_step(step)
            if step == 5:
                world.add_state_adjoint("position", np.ones(world.state("position").shape))
            world.step_adjoint(step)
        found[memory] = world.state_adjoint("velocity")
        world.close()
    np.testing.assert_array_equal(found["2GiB"], found["1500kB"])
    assert np.abs(found["2GiB"]).max() > 0


def test_bodies_apart_and_matter_without_a_shape_have_no_neighbours_to_lose() -> None:
    position = lattice([4, 4], CELL / 2)
    at = {"jelly": 5, "other": 7.0, "dough": 12, "water": 12}
    laws = {"jelly": "hencky", "other": "neo_hookean", "dough": "von_mises", "water": "liquid"}
    bodies = [
        Body(name, position + CELL * np.array([x, 5 + 5 * (name == "water")]), (CELL / 2) ** 2, laws[name])
        for name, x in at.items()
    ]
    pairs = neighbours(Scene(2, (24, 24), CELL, bodies))
    assert len(pairs) == 2 * (2 * 4 * 3 + 2 * 9)  # along both axes and diagonals, within the two elastic bodies
    assert ((pairs < 16).all(axis=1) | ((pairs >= 16) & (pairs < 32)).all(axis=1)).all()
    assert (pairs[:, 0] < pairs[:, 1]).all()


def test_particles_more_than_a_cell_apart_are_no_neighbours() -> None:
    sparse = Body("sparse", lattice([4, 4], 1.2 * CELL) + 5 * CELL, (1.2 * CELL) ** 2)
    scene = Scene(2, (24, 24), CELL, [sparse])
    assert len(neighbours(scene)) == 0
    world = World(scene, substeps=1, dt=1e-4)
    assert largest_stretch(world)["sparse"].tolist() == [1.0] and largest_gap(world)["sparse"].tolist() == [0.0]
    world.close()


# ---------------------------------------------------------------------- collapse


def thrown_block(material: str, dim: int, speed: float, seed: int, precision: str = "f32") -> World:
    """A block, turned at random, about to hit the floor at ``speed`` times its wave speed."""
    cell, young, nu = 0.05, 2e4, 0.3
    position = lattice([8] * dim, cell / 2) - 2 * cell
    turn = np.linalg.qr(np.random.default_rng(seed).standard_normal((dim, dim)))[0]
    position = position @ (turn * np.sign(np.linalg.det(turn)) if dim == 3 else turn) + 12 * cell
    position[:, -1] += 3.4 * cell - position[:, -1].min()
    fast = speed * float(wave_speed(np.array(young), np.array(nu), np.array(1e3)))
    block = Body(
        "block", position, (cell / 2) ** dim, material, youngs_modulus=young, poissons_ratio=nu,
        yield_stress=1e4, viscosity=50.0, velocity=[0.0] * (dim - 1) + [-fast],
    )  # fmt: skip
    dt = 0.5 * largest_substep(cell, np.array(young), np.array(nu), np.array(1e3)) / (1 + speed)
    scene = Scene(dim, (24,) * dim, cell, [block], walls=Walls("separate"))
    return World(scene, substeps=10, dt=dt, precision=precision)


def least_volume_after(world: World, steps: int) -> float:
    for _ in range(steps):
        world.step(np.zeros((1, 0)))
    return float(np.linalg.det(world.state("deformation_gradient").astype(float)).min())


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("speed", [1.2, 2.0, 4.0])
def test_a_corotated_block_thrown_too_fast_is_said_to_have_collapsed(dim: int, speed: float) -> None:
    world = thrown_block("fixed_corotated", dim, speed, seed=0)
    with pytest.raises(
        SimulationDiverged, match=r"deformation_gradient of particle \d+ of world 0: a body has collapsed"
    ):
        least_volume_after(world, 30)
    world.close()


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize(("material", "speed"), [("neo_hookean", 2.0), ("hencky", 2.0), ("fixed_corotated", 0.8)])
def test_a_block_that_is_squeezed_hard_recovers(material: str, speed: float, dim: int) -> None:
    world = thrown_block(material, dim, speed, seed=1)
    squeezed = least_volume_after(world, 2)
    assert LEAST_VOLUME < squeezed < 0.3
    assert least_volume_after(world, 60) > 2 * squeezed
    world.close()


def test_an_inverted_start_is_said_to_have_collapsed() -> None:
    world = thrown_block("fixed_corotated", 2, 0.0, seed=0)
    gradient = world.state("deformation_gradient")
    gradient[0, 17] = np.diag([1.0, -0.2])
    world.set_state("deformation_gradient", gradient)
    with pytest.raises(SimulationDiverged, match="deformation_gradient of particle 17"):
        least_volume_after(world, 1)
    world.close()


# ---------------------------------------------------------------------- damping


def test_damping_slows_free_motion_at_its_rate() -> None:
    position = lattice([6, 6], CELL / 2) + 10 * CELL
    block = Body("block", position, (CELL / 2) ** 2, velocity=(0.3, -0.2))
    world = World(Scene(2, (32, 32), CELL, [block], gravity=(0, 0), damping=4.0), substeps=20, dt=1e-4, precision="f64")
    for _ in range(100):
        world.step(np.zeros((1, 0)))
    slowed = (1 + 4.0 * 1e-4) ** -2000
    np.testing.assert_allclose(world.state("velocity")[0].mean(axis=0), slowed * np.array([0.3, -0.2]), rtol=1e-9)
    assert abs(slowed / np.exp(-0.8) - 1) < 1e-3
    world.close()


@pytest.mark.parametrize("damping", [-1.0, np.nan, np.inf])
def test_damping_out_of_range_is_refused(damping: float) -> None:
    with pytest.raises(ValueError, match="damping"):
        Scene(2, (16, 16), CELL, [Body("b", np.full((1, 2), 0.16), CELL**2)], damping=damping)
