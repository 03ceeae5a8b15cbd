"""Gels without contact: uniform states, moduli, sag, viscosity, and that they turn and fall as they must."""

import gel_scenes as scenes
import numpy as np
import pytest

from pliant.sims.fem.mesh import GelMesh
from pliant.sims.fem.pads import pad_mesh
from pliant.sims.fem.scene import Gel
from pliant.sims.robot.effector import Effector
from pliant.sims.shapes.shapes import Box

MODULUS, POISSON, DENSITY = 1e5, 0.45, 1100.0
SHEAR = MODULUS / 2 / (1 + POISSON)
LAME = MODULUS * POISSON / (1 + POISSON) / (1 - 2 * POISSON)


def free_world(mesh, *, gel=None, **options):
    """A gel that touches nothing."""
    others = scenes.idle("box", "sphere", "plane")
    return scenes.gel_world([Gel(mesh, "mount", **(gel or {}))], [scenes.mount(), *others], **options)


def jittered(mesh, share=0.2, seed=0):
    """The mesh with its inner nodes moved."""
    positions = mesh.positions.copy()
    on_surface = np.zeros(len(positions), bool)
    on_surface[mesh.surface] = True
    inner = ~on_surface & ~mesh.mounted
    assert inner.sum() > 5
    spacing = np.linalg.norm(positions[1:] - positions[:-1], axis=1).min()
    positions[inner] += share * spacing * np.random.default_rng(seed).uniform(-1, 1, (inner.sum(), 3))
    return GelMesh(positions, mesh.cells, mesh.cell_tetrahedra, mesh.mounted, mesh.surface)


def middle_of_the_top(mesh):
    """Weights of the free nodes for a mean over the middle of the surface: single nodes carry uneven shares of mass."""
    weights = np.zeros(len(mesh.positions))
    weights[mesh.surface_nodes] = mesh.surface_areas
    weights[np.linalg.norm(mesh.positions[:, :2], axis=1) > 0.25 * np.ptp(mesh.positions[:, 0])] = 0
    weights[mesh.positions[:, 2] < mesh.positions[:, 2].max() - 1e-9] = 0
    return (weights / weights.sum())[~mesh.mounted]


@pytest.fixture(scope="module")
def block():
    mesh = jittered(pad_mesh(size=(0.01, 0.01), thickness=0.006, cells=(4, 4, 3)))
    substep = 1e-8
    return mesh, free_world(mesh, gel={"viscosity": 0.0}, substep=substep), substep


@pytest.mark.parametrize("slope", [(0, 0, 5e-2), (5e-2, 0, 0), (0.1, -0.2, 0.15), (0.0, 0.3, -0.25)])
def test_a_uniform_state_is_uniform_in_every_mesh(block, slope):
    """The patch test: for u = z a the inner nodes feel nothing, those of the surface the traction P n (to 1e-5)."""
    mesh, world, substep = block
    slope = np.array(slope, float)
    rest = mesh.positions[~mesh.mounted]
    world.reset()
    world.set_state("gel_displacement", (rest[:, 2:] * slope)[None])
    world.step(np.zeros((1, world.control_size)))
    share = np.bincount(mesh.tetrahedra.ravel(), np.repeat(mesh.volumes / 4, 4), len(mesh.positions))
    mass = DENSITY * share[~mesh.mounted]
    found = mass[:, None] * world.state("gel_velocity")[0] / substep
    F = np.eye(3) + np.outer(slope, [0, 0, 1])
    J = np.linalg.det(F)
    lam = LAME + SHEAR
    P = SHEAR * F + (lam * (J - 1) - SHEAR) * J * np.linalg.inv(F).T
    corners = mesh.positions[mesh.surface]
    areas = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]) / 2
    wanted = np.zeros_like(mesh.positions)
    for k in range(3):
        np.add.at(wanted, mesh.surface[:, k], -(areas / 3) @ P.T)
    wanted = wanted[~mesh.mounted]
    assert abs(found - wanted).max() < 1e-5 * abs(wanted).max()


def test_small_strains_see_the_moduli_of_linear_elasticity(block):
    """P = (lambda + 2 mu) e under uniaxial strain and mu g in shear, to the size of the strain."""
    mesh, world, substep = block
    rest = mesh.positions[~mesh.mounted]
    top = np.isclose(rest[:, 2], rest[:, 2].max())
    share = np.bincount(mesh.tetrahedra.ravel(), np.repeat(mesh.volumes / 4, 4), len(mesh.positions))
    mass = DENSITY * share[~mesh.mounted]
    area = 0.01**2
    for axis, modulus in ((2, LAME + 2 * SHEAR), (0, SHEAR)):
        slope = np.zeros(3)
        slope[axis] = 1e-3
        world.reset()
        world.set_state("gel_displacement", (rest[:, 2:] * slope)[None])
        world.step(np.zeros((1, world.control_size)))
        force = (mass * world.state("gel_velocity")[0, :, axis] / substep)[top].sum()
        assert -force / area == pytest.approx(modulus * 1e-3, rel=3e-3)


def test_a_column_has_youngs_modulus():
    """A slender column under a plate without friction: E A strain, 4 % for its bonded foot."""
    mesh = pad_mesh(size=(0.004, 0.004), thickness=0.02, cells=(4, 4, 16), grading=(1.0, 1.0))
    plate = Effector("tool", Box((0.01, 0.01, 0.002)), (0, 0, 0.022), friction=0.0)
    gel = {"youngs_modulus": MODULUS, "poisson_ratio": POISSON}
    world = scenes.pressed_world(mesh, plate, gel=gel, substep=scenes.STATIC, contact_stiffness=1e11, onset=1e-7)
    scenes.move(world, "tool", (0, 0, -1e-4 / scenes.STATIC), 2)
    assert -scenes.force(world)[2] == pytest.approx(MODULUS * 0.004**2 * 2e-4 / 0.02, rel=0.04)


@pytest.mark.parametrize("axis", [2, 0])
def test_a_wide_layer_sags_and_shears_under_its_weight(axis):
    """rho g h^2 / (2 M) in the middle of a layer ten times as wide as thick, to 4 %; Poisson's ratio 0.3."""
    shear = MODULUS / 2.6
    modulus = shear if axis == 0 else shear * 2 * 0.7 / 0.4
    mesh = pad_mesh(size=(0.04, 0.04), thickness=0.004, cells=(12, 12, 6), grading=(1.0, 1.0))
    gravity = np.zeros(3)
    gravity[axis] = -9.81
    world = free_world(mesh, gel={"poisson_ratio": 0.3}, substep=scenes.STATIC, gravity=gravity)
    world.step(np.zeros((1, world.control_size)))
    sag = (world.state("gel_displacement")[0, :, axis] * middle_of_the_top(mesh)).sum()
    assert sag == pytest.approx(-DENSITY * 9.81 * 0.004**2 / (2 * modulus), rel=0.04)


def test_viscosity_slows_the_return_by_its_own_time():
    """A sheared layer without inertia follows exp(-t mu / (eta / 2)): the stress is eta dE/dt, E_xz = g / 2; to 2 %."""
    mesh = pad_mesh(size=(0.04, 0.04), thickness=0.004, cells=(10, 10, 2), grading=(1.0, 1.0))
    viscosity = 2000.0
    time = viscosity / 2 / SHEAR
    steps = 50
    world = free_world(mesh, gel={"viscosity": viscosity, "density": 1e-3}, substep=time / steps)
    rest = mesh.positions[~mesh.mounted]
    middle = middle_of_the_top(mesh)
    start = np.zeros_like(rest)
    start[:, 0] = 0.01 * rest[:, 2]
    world.set_state("gel_displacement", start[None])
    heights = []
    for _ in range(2 * steps):
        world.step(np.zeros((1, world.control_size)))
        heights.append((world.state("gel_displacement")[0, :, 0] * middle).sum())
    rate = np.log(heights[0] / heights[-1]) / (len(heights) - 1)
    # backward Euler takes log(1 + dt / time) off the logarithm in a step
    assert rate == pytest.approx(np.log1p(1 / steps), rel=0.02)


def test_a_gel_that_is_turned_evenly_only_feels_its_own_inertia():
    """A light gel on a mount that turns and moves keeps its shape, to 1e-6 of its size."""
    mesh = scenes.small_pad()
    others = scenes.idle("box", "sphere", "plane")
    world = scenes.gel_world([Gel(mesh, "mount", density=1e-6)], [scenes.mount(), *others], substep=0.01)
    for _ in range(20):
        world.step(np.array([[0.1, -0.2, 0.3, 2.0, -1.0, 3.0]]))
    assert abs(world.state("gel_displacement")).max() < 1e-6 * 0.02
