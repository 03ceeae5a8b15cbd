"""Elasticity and plasticity against closed forms: beams, vibrations, Hooke's law, yield in simple shear."""

import functools

import numpy as np
import pytest
from physics import block, frequency, idle, lame, of, settle

from pliant.sims.mpm.bodies import Body
from pliant.sims.mpm.laws.laws import MATERIALS, material_functions
from pliant.sims.mpm.laws.yielding import law_size
from pliant.sims.mpm.scene import Scene
from pliant.sims.mpm.solver import largest_substep
from pliant.sims.robot.effector import Effector
from pliant.sims.runtime import float_type, numpy_type, ti
from pliant.sims.shapes.shapes import Box
from pliant.sims.world import World

YOUNG, POISSON, DENSITY = 1e5, 0.3, 1e3


def substep(cell, poisson=POISSON):
    """Half the longest stable substep [s]."""
    return largest_substep(cell, YOUNG, poisson, DENSITY) / 2


@functools.cache
def deflection_error(cells):
    """Error of a cantilever's tip deflection under its weight, relative to the closed form, ``cells`` across it.

    Plane strain, length to height 4, deflection 1 % of the length: q L^4 / (8 E' I) + q L^2 / (2 k G H) with
    E' = E / (1 - nu^2), I = H^3 / 12, k = 5/6 (Timoshenko). The beam sticks to a box whose face is a row of nodes; the
    length counts from there. (With quadratic splines those nodes hold deflections up to half a cell inside the face and
    axial displacements up to the face, so the length is uncertain by half a cell, 1/16 to 1/64 of it here.)
    """
    length, height = 1.0, 0.25
    cell, clamped = height / cells, 4
    stiffness = YOUNG / (1 - POISSON**2) * height**3 / 12
    shear = 5 / 6 * lame(YOUNG, POISSON)[0] * height
    deflection = 0.01 * length
    load = deflection / (length**4 / (8 * stiffness) + length**2 / (2 * shear))  # weight a length [N/m]
    face = (4 + clamped) * cell  # walls and what is near them are out of reach
    low = 3 + 2 * cells
    position, volume = block([4 * cell, low * cell], [clamped * cell + length, height], cell / 2)
    body = Body("beam", position, volume, youngs_modulus=YOUNG, poissons_ratio=POISSON, density=DENSITY)
    # A little more than the face: its row of nodes is inside whatever the rounding.
    box = Effector("clamp", Box((face * (1 + 1e-6), 9, 9)), (0, 0), contact="sticky")
    gravity = load / (DENSITY * height)
    scene = Scene(2, (4 + clamped + 4 * cells + 6, low + cells + 6), cell, [body], [box], gravity=(0, -gravity))
    world = World(scene, substeps=10, dt=substep(cell), precision="f64", soft_contact=False)
    first = 3.516 * np.sqrt(stiffness / (DENSITY * height)) / length**2  # [1/s], of the first bending mode
    settle(world, rate=2 * first, duration=16 / first)
    weight = gravity * DENSITY * volume * len(position)
    assert (
        abs(world.output("effector_force")[0, 0, 1] + weight) <= 1e-3 * weight
    )  # at rest: the clamp carries everything
    tip = position[:, 0] > position[:, 0].max() - cell / 4
    sunk = (position - of(world, "position"))[tip, 1].mean()
    return abs(sunk / deflection - 1)


def test_cantilever_bends_as_beam_theory_says():
    """Tip deflection on three grids (2, 4, 8 cells across): the error halves at least with each, to 1 % at last."""
    coarse, middle, fine = (deflection_error(cells) for cells in (2, 4, 8))
    assert fine <= middle / 2 <= coarse / 4
    assert fine <= 0.01


@pytest.mark.slow
def test_cantilever_stays_within_one_percent_on_a_fine_grid():
    """Tip deflection with 16 cells across within 1 %: what is left is that of beam theory at the clamp."""
    assert deflection_error(16) <= 0.01


@functools.cache
def stretch_error(cells):
    """Error of a free bar's first longitudinal frequency in plane strain, relative to c / (2 L), ``cells`` along it.

    c^2 = E / ((1 - nu^2) rho), less lateral inertia: 1 - (nu' pi H / L)^2 / 24 with nu' = nu / (1 - nu), H / L = 1/4.
    """
    length = 0.5
    cell = length / cells
    low = np.array([5.0, 5.0]) * cell
    position, volume = block(low, [length, length / 4], cell / 2)
    shape = np.cos(np.pi * (position[:, 0] - low[0]) / length)
    velocity = np.stack([1e-3 * shape, 0 * shape], axis=1)
    body = Body("bar", position, volume, "fixed_corotated", YOUNG, POISSON, DENSITY, velocity=velocity)
    scene = Scene(2, (cells + 10, cells // 4 + 10), cell, [body], gravity=(0, 0))
    world = World(scene, substeps=1, dt=substep(cell), precision="f64")
    measured = frequency(world, lambda w: float(of(w, "velocity")[:, 0] @ shape), crossings=5)
    lateral = 1 - (POISSON / (1 - POISSON) * np.pi / 4) ** 2 / 24
    return abs(measured / (lateral * np.sqrt(YOUNG / (1 - POISSON**2) / DENSITY) / (2 * length)) - 1)


def test_bar_vibrates_lengthwise_at_its_frequency():
    """First longitudinal frequency on three grids (8, 16, 32 cells a length): second order, 0.2 % at last."""
    coarse, middle, fine = (stretch_error(cells) for cells in (8, 16, 32))
    assert fine <= 0.3 * middle <= 0.3**2 * coarse
    assert fine <= 2e-3


@functools.cache
def cube_error(mode, cells):
    """Error of a frequency of a free cube of edge a, relative to the closed form, with ``cells`` along the edge.

    X = pi x / a, Y = pi y / a. "stretch", the first longitudinal mode for nu = 0: u = (cos X, 0, 0), c / (2 a) with
    c^2 = E / rho. "lame", the first of Lame's modes: u = (cos X sin Y, -sin X cos Y, 0), c / (sqrt(2) a) with
    c^2 = mu / rho; it leaves all faces without stress whatever Poisson's ratio is.
    """
    edge = 0.5
    cell = edge / cells
    position, volume = block([5 * cell] * 3, [edge] * 3, cell / 2)
    x, y, _ = np.pi * (position.T - 5 * cell) / edge
    if mode == "stretch":
        poisson, shape = 0.0, np.stack([np.cos(x), 0 * x, 0 * x], axis=1)
        exact = np.sqrt(YOUNG / DENSITY) / (2 * edge)
    else:
        poisson, shape = POISSON, np.stack([np.cos(x) * np.sin(y), -np.sin(x) * np.cos(y), 0 * x], axis=1)
        exact = np.sqrt(lame(YOUNG, POISSON)[0] / DENSITY / 2) / edge
    body = Body("cube", position, volume, "neo_hookean", YOUNG, poisson, DENSITY, velocity=1e-2 * shape)
    scene = Scene(3, (cells + 10,) * 3, cell, [body], gravity=(0, 0, 0))
    world = World(scene, substeps=2, dt=substep(cell, poisson))
    measured = frequency(world, lambda w: float((of(w, "velocity") * shape).sum()), crossings=5)
    return abs(measured / exact - 1)


def test_cube_stretches_at_its_first_frequency():
    """First longitudinal frequency: within 2 % with 8 cells an edge, the error of 4 cells more than halved."""
    assert cube_error("stretch", 8) <= 0.02
    assert cube_error("stretch", 8) <= 0.5 * cube_error("stretch", 4)


def test_cube_shears_at_its_first_frequency():
    """First of Lame's frequencies: within 5 % with 8 cells an edge, 2 % with 12."""
    assert cube_error("lame", 8) <= 0.05
    assert cube_error("lame", 12) <= 0.02


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "coarse", "fine"), [("stretch", 8, 16), ("lame", 12, 24)])
def test_cube_frequencies_converge_at_second_order(mode, coarse, fine):
    """Cells halved: the error falls to 0.3 or less, below 0.5 %."""
    assert cube_error(mode, fine) <= 0.3 * cube_error(mode, coarse)
    assert cube_error(mode, fine) <= 0.005


@functools.cache
def material_kernel(dim, precision, kind):
    fp = float_type(precision)
    functions = material_functions(dim, fp, (kind,))
    array = ti.types.ndarray(fp, 1)
    size = law_size((kind,))

    @ti.kernel
    def update(trial: array, constants: array, dt: fp, stored: array, stress: array):
        F = ti.Matrix.zero(fp, dim, dim)
        for i in ti.static(range(dim)):
            for j in ti.static(range(dim)):
                F[i, j] = trial[i * dim + j]
        law = ti.Vector.zero(fp, size)
        for i in ti.static(range(size)):
            law[i] = constants[i]
        kept, tau = functions.update(kind, F, ti.Matrix.zero(fp, dim, dim), law, dt)
        for i in ti.static(range(dim)):
            for j in ti.static(range(dim)):
                stored[i * dim + j] = kept[i, j]
                stress[i * dim + j] = tau[i, j]

    return update


def respond(material, F, yield_stress=0.0, precision="f64", *, dt=1.0, viscosity=1.0, flow_index=1.0, angle=0.5):
    """Stored deformation gradient and Kirchhoff stress [Pa] of a trial one, all (dim, dim)."""
    dim, dtype = len(F), numpy_type(precision)
    stored, stress = np.zeros(dim * dim, dtype), np.zeros(dim * dim, dtype)
    constants = np.array([*lame(YOUNG, POISSON), yield_stress, 1.0, viscosity, flow_index, angle], dtype)
    material_kernel(dim, precision, MATERIALS[material])(F.astype(dtype).ravel(), constants, dt, stored, stress)
    return stored.reshape(dim, dim).astype(float), stress.reshape(dim, dim).astype(float)


@pytest.mark.parametrize("material", ["neo_hookean", "fixed_corotated", "hencky", "von_mises", "viscoplastic"])
@pytest.mark.parametrize("dim", [2, 3])
def test_small_strains_obey_hookes_law(dim, material):
    """tau = 2 mu e + lambda tr(e) 1 up to terms of second order, for a strain of 1e-6 and a rotation of 1e-6."""
    gradient = 1e-6 * np.random.default_rng(1).standard_normal((dim, dim))
    strain = (gradient + gradient.T) / 2
    mu, lam = lame(YOUNG, POISSON)
    _, stress = respond(material, np.eye(dim) + gradient, yield_stress=YOUNG)
    expected = 2 * mu * strain + lam * np.trace(strain) * np.eye(dim)
    np.testing.assert_allclose(stress, expected, rtol=0, atol=1e-4 * abs(expected).max())


YIELD_STRESS = 100.0
YIELD_STRAIN = YIELD_STRESS / np.sqrt(3) / lame(YOUNG, POISSON)[0]


def shear(dim, increments, precision="f64"):
    """Shear stress [Pa] after each increment of a simple shear, (n,), and the last elastic deformation gradient."""
    F, stresses = np.eye(dim), []
    for increment in increments:
        step = np.eye(dim)
        step[0, 1] = increment
        F, stress = respond("von_mises", step @ F, YIELD_STRESS, precision)
        stresses.append(stress[0, 1])
    return np.array(stresses), F


@pytest.mark.parametrize("precision", ["f32", "f64"])
@pytest.mark.parametrize("dim", [2, 3])
def test_von_mises_yields_in_simple_shear(dim, precision):
    """Shear stress within 1 %: G gamma up to gamma_y = yield stress / (sqrt(3) G), then G gamma_y up to 20 gamma_y."""
    steps = np.full(1000, YIELD_STRAIN / 50)
    stress, F = shear(dim, steps, precision)
    strain, plateau = np.cumsum(steps), YIELD_STRESS / np.sqrt(3)
    below, above = strain < 0.99 * YIELD_STRAIN, strain > 1.01 * YIELD_STRAIN
    np.testing.assert_allclose(stress[below], lame(YOUNG, POISSON)[0] * strain[below], rtol=0, atol=0.01 * plateau)
    np.testing.assert_allclose(stress[above], plateau, rtol=0.01)
    assert abs(np.linalg.det(F) - 1) <= 1000 * np.finfo(numpy_type(precision)).eps  # plastic flow keeps volume


@pytest.mark.parametrize("dim", [2, 3])
def test_von_mises_is_elastic_below_its_yield_stress(dim):
    """Sheared to 0.95 of the yield strain and back, stress (1e-9 of the yield stress) and strain (1e-12) are gone."""
    there = np.full(50, 0.95 * YIELD_STRAIN / 50)
    stress, F = shear(dim, np.concatenate([there, -there]))
    assert abs(stress[-1]) <= 1e-9 * YIELD_STRESS
    np.testing.assert_allclose(F, np.eye(dim), rtol=0, atol=1e-12)


@pytest.mark.parametrize("dim", [2, 3])
def test_von_mises_unloads_elastically_after_yield(dim):
    """Reversed after 5 yield strains, the stress falls by G per strain; after 2 more it yields the other way (1 %)."""
    unit, plateau = YIELD_STRAIN / 50, YIELD_STRESS / np.sqrt(3)
    stress, _ = shear(dim, np.concatenate([np.full(250, unit), np.full(150, -unit)]))
    assert stress[250 + 49] == pytest.approx(0, abs=0.02 * plateau)
    np.testing.assert_allclose(stress[250 + 101 :], -plateau, rtol=0.01)


@pytest.mark.parametrize("dim", [2, 3])
def test_particles_of_a_world_flow_back_to_their_own_yield_stress(dim):
    """Sheared ten times too far, each keeps its yield stress / sqrt(3) (1 %) and its volume after a substep."""
    cell = 1 / 16
    position, volume = block([0.4375] * dim, [0.125] * dim, cell / 2)
    yield_stress = np.linspace(50, 200, len(position))
    body = Body("clay", position, volume, "von_mises", YOUNG, POISSON, DENSITY, yield_stress)
    world = World(
        Scene(dim, (16,) * dim, cell, [body], gravity=(0,) * dim), substeps=1, dt=substep(cell), precision="f64"
    )
    trial = np.eye(dim)
    trial[0, 1] = 10 * yield_stress.max() / YIELD_STRESS * YIELD_STRAIN
    world.set_state("deformation_gradient", trial)
    world.step(idle(world))
    F = of(world, "deformation_gradient")
    values, vectors = np.linalg.eigh(F @ F.transpose(0, 2, 1))
    stress = lame(YOUNG, POISSON)[0] * (vectors * np.log(values)[:, None]) @ vectors.transpose(0, 2, 1)  # 2 mu ln V
    np.testing.assert_allclose(stress[:, 0, 1], yield_stress / np.sqrt(3), rtol=0.01)
    np.testing.assert_allclose(np.linalg.det(F), 1, rtol=0, atol=1e-12)


@pytest.mark.parametrize("flow_index", [1.0, 0.5, 0.3])
@pytest.mark.parametrize("precision", ["f32", "f64"])
@pytest.mark.parametrize("dim", [2, 3])
def test_herschel_bulkley_in_steady_simple_shear(dim, precision, flow_index):
    """Shear stress tau_y + k rate^n within 1 % once the shear is steady, at two substeps; tau_y (2 %) once it stops."""
    consistency, plateau = 40.0, YIELD_STRESS / np.sqrt(3)
    constants = {"viscosity": consistency, "flow_index": flow_index}
    for rate, dt in ((1.0, 1e-3), (1.0, 2e-3), (5.0, 1e-3)):
        F, step = np.eye(dim), np.eye(dim)
        step[0, 1] = rate * dt
        for _ in range(round(0.4 / (rate * dt))):
            F, stress = respond("viscoplastic", step @ F, YIELD_STRESS, precision, dt=dt, **constants)
        assert stress[0, 1] == pytest.approx(plateau + consistency * rate**flow_index, rel=0.01)
    for _ in range(2000):
        F, stress = respond("viscoplastic", F, YIELD_STRESS, precision, dt=0.05, **constants)
    assert stress[0, 1] == pytest.approx(plateau, rel=0.02)


@pytest.mark.parametrize("dim", [2, 3])
def test_sand_yields_on_the_cone_of_mohr_and_coulomb(dim):
    """Squeezed along one axis, let out to the sides: (s_1 - s_3) / (s_1 + s_3) = sin(friction angle), 1e-6."""
    angle = np.radians(35)
    F = np.diag([0.9] + [1.03] * (dim - 1))
    F, stress = respond("sand", F, angle=angle)
    principal = np.sort(np.linalg.eigvalsh(-stress))
    ratio = (principal[-1] - principal[0]) / (principal[-1] + principal[0])
    assert ratio == pytest.approx(np.sin(angle), rel=1e-6)
    again, _ = respond("sand", F, angle=angle)
    np.testing.assert_allclose(again, F, rtol=0, atol=1e-9)  # what has yielded stays on the cone


@pytest.mark.parametrize("dim", [2, 3])
def test_sand_that_came_apart_bears_nothing_until_it_has_closed_up(dim):
    """Expanded by 20 % and pressed by 10 % of length in volume it has no stress, pressed beyond it has."""
    F, stress = respond("sand", 1.2 * np.eye(dim))
    assert not stress.any()
    F, stress = respond("sand", 0.9 * F)
    assert not stress.any()
    F, stress = respond("sand", 0.9 * F)
    assert (np.linalg.eigvalsh(stress) < 0).all()
