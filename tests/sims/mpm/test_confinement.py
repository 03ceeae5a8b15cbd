"""What tools press against the faces of the domain stays within it, and a squeezed liquid does not blow up."""

import numpy as np
import pytest
from physics import block, of

from pliant.sims.mpm.bodies import Body, Walls
from pliant.sims.mpm.laws.liquid import FASTEST, SQUEEZED, liquid_functions
from pliant.sims.mpm.laws.yielding import BULK
from pliant.sims.mpm.scene import Scene
from pliant.sims.robot.effector import Effector
from pliant.sims.runtime import ti
from pliant.sims.shapes.shapes import Box
from pliant.sims.world import World

CELL, GRID = 0.05, 20
FLOATS = ti.types.ndarray(ti.f64, 1)


def pressed(dim, axis, sign, material="von_mises"):
    """The World of a block that a plate has pressed into a face of the domain and followed a cell beyond it."""
    middle = np.full(dim, GRID / 2 * CELL)
    size = np.full(dim, 4 * CELL)
    low = middle - size / 2
    low[axis] = middle[axis] + (0.0 if sign > 0 else -size[axis])
    position, volume = block(low, size, CELL / 2)
    body = Body("block", position, volume, material, youngs_modulus=5e3, density=300.0, yield_stress=200.0)
    half = np.full(3, 4.3 * CELL)
    half[axis] = 1.6 * CELL
    start = middle.copy()
    start[axis] -= sign * 1.7 * CELL
    plate = Effector("plate", Box(tuple(half)), start.tolist(), friction=0.5)
    walls = Walls("separate", friction=0.3, thickness=3)
    scene = Scene(dim, [GRID] * dim, CELL, [body], [plate], walls, gravity=[0.0] * dim)
    world = World(scene, substeps=10, dt=2e-3, precision="f64")
    controls = np.zeros((1, world.control_size))
    controls[0, world.control_layout["effector_twist"].start + axis] = sign * 1.0
    for _ in range(round(9 * CELL / world.time_step)):
        world.step(controls)
    return world


@pytest.mark.parametrize(("dim", "axis"), [(2, 0), (2, 1), (3, 0), (3, 2)])
def test_a_plate_presses_no_particle_out_of_the_domain_and_all_faces_are_alike(dim, axis):
    """Low and high face mirror each other: the wall's surface is as far from the edge, and so is what it holds."""
    reach = []
    for sign in (-1, 1):
        world = pressed(dim, axis, sign)
        along = of(world, "position")[:, axis]
        reach.append(np.sort(along if sign < 0 else GRID * CELL - along))
        world.close()
    assert np.allclose(*reach, atol=1e-3 * CELL)
    assert reach[0][0] > 1.5 * CELL
    assert np.median(reach[0]) < 2.5 * CELL  # nothing has slipped past the plate


@pytest.mark.parametrize("precision", ["f32", "f64"])
def test_a_liquid_squeezed_without_a_way_out_does_not_blow_up(precision):
    """A plate as wide as the tank comes down on it, to half a cell above the floor."""
    speed, sound, depth, width = 0.3, 2.0, 4, 10
    position, volume = block([2 * CELL] * 2, [width * CELL, depth * CELL], CELL / 2)
    body = Body("water", position, volume, "liquid", bulk_modulus=1e3 * sound**2)
    start = [(2 + width / 2) * CELL, (2 + depth + 2.1) * CELL]
    plate = Effector("plate", Box(((width / 2 + 0.3) * CELL, 2 * CELL, CELL)), start, contact="sticky")
    scene = Scene(2, [width + 4, GRID], CELL, [body], [plate], Walls("separate", 0.0, thickness=3))
    world = World(scene, substeps=5, dt=0.66 * CELL / sound, precision=precision)
    controls = np.zeros((1, world.control_size))
    controls[0, world.control_layout["effector_twist"].start + 1] = -speed
    for _ in range(round((depth - 0.4) * CELL / speed / world.time_step)):
        world.step(controls)
    volumes = np.linalg.det(of(world, "deformation_gradient"))
    assert np.median(volumes) < 0.5
    assert np.linalg.norm(of(world, "velocity"), axis=1).max() < sound
    world.close()


@pytest.fixture(scope="module")
def pressures():
    """p(J) [Pa] for J of shape (n,) and a bulk modulus of 7 Pa."""
    law_of = liquid_functions(3, ti.f64, 7)

    @ti.kernel
    def evaluate(J: FLOATS, p: FLOATS):
        for i in range(J.shape[0]):
            law = ti.Vector.zero(ti.f64, 7)
            law[BULK] = 7.0
            _stored, tau = law_of.respond(ti.Matrix.identity(ti.f64, 3), J[i], ti.Matrix.zero(ti.f64, 3, 3), law)
            p[i] = -tau[0, 0] / J[i]

    def pressure(J):
        p = np.zeros_like(J)
        evaluate(J, p)
        return p

    return pressure


def test_a_liquid_follows_tait_and_then_answers_linearly_in_its_density(pressures):
    slight = np.linspace(SQUEEZED, 1.2, 50)
    assert np.allclose(pressures(slight), slight**-7 - 1, rtol=1e-12, atol=1e-14)
    density = np.linspace(1 / SQUEEZED, 10.0, 50)
    slopes = np.diff(pressures(1 / density)) / np.diff(density)
    assert np.allclose(slopes, 7.0 * FASTEST**2, rtol=1e-9)  # dp / drho = c^2, at K / rho_0 = 7


def test_a_particle_can_be_set_to_where_tools_can_press_one():
    """That is half a cell further into a wall of three cells than where particles may start."""
    world = pressed(2, 1, 1)
    position = world.state("position")
    world.reset()
    for along in (1.5 * CELL, (GRID - 1.5) * CELL):
        position[0, 0] = along
        world.set_state("position", position)
        assert np.array_equal(world.state("position"), position)
    for along in (0.99 * CELL, (GRID - 0.99) * CELL):
        position[0, 0] = along
        with pytest.raises(ValueError, match=r"position of particle 0 is .*; allowed: strictly between"):
            world.set_state("position", position)
    world.close()
