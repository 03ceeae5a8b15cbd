"""Bodies, integrals over particles and signals that tests of physics share. SI units throughout."""

from collections.abc import Callable, Sequence

import numpy as np

from pliant.sims.world import World


def block(low: Sequence[float], size: Sequence[float], spacing: float) -> tuple[np.ndarray, float]:
    """Particles at the centres of a lattice that fills a box, shape (N, dim) [m], and the volume of each [m^dim].

    low: lowest corner [m].  size: edges [m], multiples of ``spacing`` [m].
    """
    axes = [a + (np.arange(round(s / spacing)) + 0.5) * spacing for a, s in zip(low, size, strict=True)]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(axes)), spacing ** len(axes)


def cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cross products of vectors (..., dim): (..., 3), in 2-D (..., 1)."""
    if a.shape[-1] == 3:
        return np.cross(a, b)
    return (a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0])[..., None]


def axial(m: np.ndarray) -> np.ndarray:
    """sum over k of e_k x (column k of m), for matrices (..., dim, dim): (..., 3), in 2-D (..., 1)."""
    identity = np.eye(m.shape[-1])
    return sum(cross(np.broadcast_to(identity[k], m.shape[:-1]), m[..., :, k]) for k in range(m.shape[-1]))


def masses(world: World) -> np.ndarray:
    """Mass of each particle of world 0, shape (N,) [kg]."""
    volumes = np.concatenate([body.column("volume") for body in world.scene.bodies])
    return volumes * world.parameter("density")[0].astype(float)


def of(world: World, name: str) -> np.ndarray:
    """A quantity of the state of world 0 in double precision."""
    return world.state(name)[0].astype(float)


def momentum(world: World) -> np.ndarray:
    """Linear momentum of world 0, shape (dim,) [kg m/s]."""
    return masses(world) @ of(world, "velocity")


def angular_momentum(world: World) -> np.ndarray:
    """Angular momentum of world 0 about the origin with the part that APIC particles carry, shape (1,) or (3,).

    sum m x cross v + m (cell^2 / 4) axial(C): the second moment of quadratic spline weights is cell^2 / 4
    (Jiang et al. 2015).
    """
    inside = world.scene.cell**2 / 4 * axial(of(world, "affine_velocity"))
    return masses(world) @ (cross(of(world, "position"), of(world, "velocity")) + inside)


def kinetic_energy(world: World) -> float:
    """Kinetic energy of world 0 with the part that APIC particles carry [J]."""
    affine = (of(world, "affine_velocity") ** 2).sum((1, 2)) * world.scene.cell**2 / 4
    return float(masses(world) @ ((of(world, "velocity") ** 2).sum(1) + affine)) / 2


def lame(young: float, poisson: float) -> tuple[float, float]:
    """Lame constants (mu, lambda) [Pa]."""
    return young / (2 * (1 + poisson)), young * poisson / ((1 + poisson) * (1 - 2 * poisson))


def idle(world: World) -> np.ndarray:
    """Controls of zero, shape (B, C)."""
    return np.zeros((world.batch, world.control_size))


def settle(world: World, *, rate: float, duration: float) -> None:
    """Bring a world to rest: for ``duration`` [s] all velocities decay at ``rate`` [1/s] besides what the solver does.

    A mode of angular frequency w is damped critically by rate = 2 w.
    """
    keep = np.exp(-rate * world.time_step)
    for _ in range(round(duration / world.time_step)):
        world.step(idle(world))
        for name in ("velocity", "affine_velocity"):
            world.set_state(name, keep * world.state(name))


def frequency(world: World, signal: Callable[[World], float], *, crossings: int, limit: int = 100_000) -> float:
    """Frequency [Hz] of a signal from the mean gap between ``crossings`` changes of sign, found by interpolation."""
    times: list[float] = []
    before = signal(world)
    for n in range(1, limit):
        world.step(idle(world))
        now = signal(world)
        if before * now < 0:
            times.append((n - now / (now - before)) * world.time_step)
            if len(times) == crossings:
                return (crossings - 1) / (2 * (times[-1] - times[0]))
        before = now
    raise AssertionError(f"{limit} steps saw {len(times)} of {crossings} changes of sign")
