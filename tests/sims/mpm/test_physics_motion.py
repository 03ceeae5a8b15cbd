"""Motion of bodies of the material point method: flight, momentum, energy, against closed forms."""

import numpy as np
import pytest
from physics import angular_momentum, block, idle, kinetic_energy, lame, masses, momentum, of

from pliant.sims.mpm.bodies import Body
from pliant.sims.mpm.scene import Scene
from pliant.sims.world import World

CELL = 1 / 16
GRAVITY = 9.81


@pytest.mark.parametrize("precision", ["f32", "f64"])
@pytest.mark.parametrize("dim", [2, 3])
def test_ballistic_flight_is_exact_to_rounding(dim, precision):
    """x_n = x_0 + n dt v_0 + dt^2 g n (n + 1) / 2 for every particle; as many roundings as substeps are allowed."""
    n, dt = 300, 1e-3
    start = np.array([0.6, -0.4][: dim - 1] + [1.5])
    gravity = np.array([0.0] * (dim - 1) + [-GRAVITY])
    position, volume = block([0.3, 0.4, 0.3][:dim], [0.25] * dim, CELL / 2)
    body = Body("body", position, volume, "fixed_corotated", velocity=start, youngs_modulus=1e4)
    world = World(Scene(dim, (16,) * dim, CELL, [body], gravity=gravity), substeps=n, dt=dt, precision=precision)
    world.step(idle(world))
    rounding = n * np.finfo(world.dtype).eps
    expected = position + n * dt * start + dt**2 * gravity * n * (n + 1) / 2
    np.testing.assert_allclose(of(world, "position"), expected, rtol=0, atol=rounding)
    np.testing.assert_allclose(
        of(world, "velocity"), np.broadcast_to(start + n * dt * gravity, position.shape), rtol=0, atol=2 * rounding
    )
    np.testing.assert_allclose(
        of(world, "deformation_gradient"),
        np.broadcast_to(np.eye(dim), (len(position), dim, dim)),
        rtol=0,
        atol=rounding,
    )


def tumbling(dim, material, *, substeps):
    """A soft block, neither square nor centred, that drifts, spins and vibrates by some 7 % of its size."""
    position, volume = block([0.375] * dim, [0.25, 0.1875, 0.125][:dim], CELL / 2)
    r = position - position.mean(0)
    velocity = np.array([0.05, 0.08, -0.06])[:dim] + 3 * r * np.array([1, -1, 0.5])[:dim]
    velocity[:, :2] += 2 * np.stack([-r[:, 1], r[:, 0]], axis=1)
    if dim == 3:
        velocity += np.cross([1.0, -0.5, 0.0], r)
    body = Body("body", position, volume, material, velocity=velocity, youngs_modulus=1e4, poissons_ratio=0.3)
    return World(Scene(dim, (16,) * dim, CELL, [body], gravity=(0,) * dim), substeps=substeps, dt=1e-3)


@pytest.mark.parametrize("material", ["neo_hookean", "fixed_corotated"])
@pytest.mark.parametrize("dim", [2, 3])
def test_momentum_is_conserved_without_gravity_and_walls(dim, material):
    """Linear and angular momentum of a body that spins and vibrates: 1e-5 relative, float32, over 1,000 substeps."""
    world = tumbling(dim, material, substeps=100)
    linear, angular = momentum(world), angular_momentum(world)
    strain = 0.0
    for _ in range(10):
        world.step(idle(world))
        assert np.linalg.norm(momentum(world) - linear) <= 1e-5 * np.linalg.norm(linear)
        assert np.linalg.norm(angular_momentum(world) - angular) <= 1e-5 * np.linalg.norm(angular)
        stretches = np.linalg.svd(of(world, "deformation_gradient"), compute_uv=False)
        strain = max(strain, float(abs(stretches - 1).max()))
    assert strain > 0.05  # it did vibrate


def energy(world, young, poisson):
    """Kinetic, elastic (neo-Hookean) and potential energy [J] of world 0, to second order in dt.

    Velocities live halfway between the positions before and after; the stored deformation gradient is that before the
    last velocities, which act on it in the next substep.
    """
    mu, lam = lame(young, poisson)
    before, affine = of(world, "deformation_gradient"), of(world, "affine_velocity")
    middle = of(world, "position") - world.dt / 2 * of(world, "velocity")
    total = kinetic_energy(world) - masses(world) @ middle @ np.asarray(world.scene.gravity, float)
    volume = np.concatenate([body.column("volume") for body in world.scene.bodies])
    for F in (before, before + world.dt * affine @ before):
        log_volume = np.log(np.linalg.det(F))
        density = mu / 2 * ((F**2).sum((1, 2)) - world.dim) - mu * log_volume + lam / 2 * log_volume**2
        total += volume @ density / 2
    return float(total)


@pytest.mark.parametrize("dim", [2, 3])
def test_a_bouncing_body_gains_no_energy(dim):
    """Total energy never rises by more than 1e-3 of that of the fall over two seconds of bouncing; some is lost."""
    young, poisson = 1e5, 0.3
    height = 0.2
    position, volume = block([0.375] * (dim - 1) + [3 * CELL + height], [0.25] * dim, CELL / 2)
    body = Body("body", position, volume, youngs_modulus=young, poissons_ratio=poisson)
    world = World(Scene(dim, (16,) * dim, CELL, [body]), substeps=5, dt=2.5e-3)
    fall = masses(world).sum() * GRAVITY * height
    energies = [energy(world, young, poisson)]
    for _ in range(160):
        world.step(idle(world))
        energies.append(energy(world, young, poisson))
    rise = energies - np.minimum.accumulate(energies)
    assert rise.max() <= 1e-3 * fall
    assert energies[-1] < energies[0] - 0.1 * fall


@pytest.mark.parametrize("dim", [2, 3])
def test_a_free_vibrating_body_gains_no_energy(dim):
    """Total energy of a body that spins and vibrates never rises by more than 1e-3 of itself over 1,000 substeps."""
    world = tumbling(dim, "neo_hookean", substeps=5)
    energies = [energy(world, 1e4, 0.3)]
    for _ in range(200):
        world.step(idle(world))
        energies.append(energy(world, 1e4, 0.3))
    rise = energies - np.minimum.accumulate(energies)
    assert rise.max() <= 1e-3 * energies[0]
