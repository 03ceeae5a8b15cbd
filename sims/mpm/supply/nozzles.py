"""Injectors (faucets, bottles, jets) that let particles of a pool into the scene one by one, and drains.

The pool is a body whose particles wait, each with a rank; the nozzle rides on an effector, whose twist is a control.
With the control Q, the flow [m^dim/s], the injected volume grows by dt Q a substep; the particle of rank k is emitted
in the substep in which that volume W passes w_k, the volume of all particles of lower rank and half its own. At the end
of the substep it is where it has come since, and as fast as the jet in the moving nozzle's frame:

    x = p + R (a_k + d (W - w_k) / area) + T (T + dt) g / 2,   T = (W - w_k) / Q
    v = v_n + omega x R a_k + R d Q / area + T g,   C = 0,   F = 1

with the nozzle's pose (p, R) and twist (v_n, omega), the direction d, a_k a point of the nozzle's disc (in 2-D segment)
and the time T since it left the opening. So x and v depend smoothly on flow, pose and gravity, and in free flight it
makes no difference in which substep the particle was emitted: derivatives are those of the smooth path.

What has no derivative here is which particles take part in the motion: that one more particle weighs and pushes, or one
fewer in a drain, as the flow grows. Differences over steps so wide that particles change sides see it, the adjoint not.

The injected volume is kept as a whole number of quanta (the pool's mean particle volume) and a remainder: a float32 sum
of dt Q would lose particles in a long episode.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pliant.sims.inputs import label, real, real_array, shown, whole
from pliant.sims.robot.effector import Effector

# Additive recurrences with the powers of 1/1.3247... (2 axes) or 1/1.618... (1): well spread for any number of points
# (Roberts 2018, "The unreasonable effectiveness of quasirandom sequences").
RATIOS = {1: (0.6180339887498949,), 2: (0.7548776662466927, 0.5698402909980532)}


@dataclass
class Injector:
    """A nozzle that lets the particles of a pool into the scene.

    name: of the injector.  body: the pool; its particles wait where the body puts them and have its material.
    effector: the effector that the nozzle rides on.  nozzle: centre of the opening in the effector's frame [m]; keep it
    off the effector's shape by a cell or more, or contact deflects the jet.  direction: of the jet in the same frame,
    normalised here.  radius: of the opening (in 2-D half its width) [m].  max_flow: the largest control [m^dim/s].
    seed: of the places in the opening.
    """

    name: str
    body: str
    effector: str
    radius: float
    max_flow: float
    nozzle: Sequence[float] = (0.0, 0.0, 0.0)
    direction: Sequence[float] = (0.0, -1.0, 0.0)
    seed: int = 0

    def area(self, dim: int) -> float:
        """Cross-section of the jet [m^(dim - 1)]."""
        return np.pi * self.radius**2 if dim == 3 else 2 * self.radius

    def vector(self, name: str, dim: int) -> np.ndarray:
        """``nozzle`` or ``direction``, shape (3,); a ``ValueError`` unless it lies in the space of the scene."""
        given = real_array(f"injector {self.name!r}: {name}", getattr(self, name)).ravel()
        wide = np.zeros(3)
        if given.size not in (dim, 3) or (dim == 2 and given[2:].any()):
            allowed = "3 finite numbers" if dim == 3 else "2 finite numbers, or 3 with a third of 0"
            raise ValueError(f"injector {self.name!r}: {name}={shown(getattr(self, name))} must be {allowed}")
        wide[: given.size] = given
        return wide

    def axis(self, dim: int) -> np.ndarray:
        """Unit vector of the jet in the effector's frame, shape (3,)."""
        direction = self.vector("direction", dim)
        length = np.linalg.norm(direction)
        if length < 1e-9:
            raise ValueError(f"injector {self.name!r}: direction={shown(self.direction)} must not be zero")
        return direction / length

    def nozzle_point(self, effectors: Sequence[Effector], dim: int) -> np.ndarray:
        """Where the nozzle is at reset, shape (dim,) [m]: a place for the pool to wait."""
        effector = next((e for e in effectors if e.name == self.effector), None)
        if effector is None:
            names = ", ".join(e.name for e in effectors) or "none"
            raise ValueError(f"injector {self.name!r}: effector={shown(self.effector)} is unknown; effectors: {names}")
        w, v, a = effector.pose[3], effector.pose[4:], self.vector("nozzle", dim)
        turned = a + 2 * np.cross(v, np.cross(v, a) + w * a)
        return (effector.pose[:3] + turned)[:dim]

    def arms(self, count: int, dim: int) -> np.ndarray:
        """Points of the opening in the effector's frame, a low-discrepancy sequence, shape (count, 3) [m]."""
        shift = np.random.default_rng(self.seed).random(dim - 1)
        u = (shift + np.arange(count)[:, None] * RATIOS[dim - 1]) % 1.0
        axis = self.axis(dim)
        if dim == 2:
            across = (2 * u - 1) * np.array([-axis[1], axis[0], 0.0])
        else:
            side = np.cross(axis, np.eye(3)[np.argmin(abs(axis))])
            side /= np.linalg.norm(side)
            angle = 2 * np.pi * u[:, 1:]
            across = np.sqrt(u[:, :1]) * (np.cos(angle) * side + np.sin(angle) * np.cross(axis, side))
        return self.vector("nozzle", dim) + self.radius * across


@dataclass
class Drain:
    """A box from ``low`` to ``high``, (dim,) [m] each, that takes the particles which enter it out of the motion.

    They keep place and deformation and bring no mass or momentum to the grid. Particles of rigid bodies pass through.
    """

    low: Sequence[float]
    high: Sequence[float]


def check_supply(scene: Any, edge: float) -> None:
    """Raise ``ValueError`` if the injectors and drains of a ``Scene`` do not fit it; particles keep ``edge`` off."""
    dim, size = scene.dim, scene.size
    for drain in scene.drains:
        low, high = real_array("drain: low", drain.low), real_array("drain: high", drain.high)
        if low.shape != (dim,) or high.shape != (dim,) or not (low < high).all():
            raise ValueError(
                f"drain: low={shown(drain.low)}, high={shown(drain.high)} must be {dim} numbers each, low < high [m]"
            )
        if (high <= 0).any() or (low >= size).any():
            raise ValueError(
                f"drain: low={shown(drain.low)}, high={shown(drain.high)} lies outside the domain, 0..{size.tolist()}"
            )
    names = [label("injector: name", injector.name) for injector in scene.injectors]
    if len(set(names)) != len(names):
        raise ValueError(f"injectors have the names {names}; each name may stand once")
    owners: dict[str, str] = {}
    for injector in scene.injectors:
        where = f"injector {injector.name!r}"
        for name in ("body", "effector"):
            label(f"{where}: {name}", getattr(injector, name))
        real(f"{where}: max_flow", injector.max_flow, above=0.0, unit=f"m^{dim}/s")
        radius = real(f"{where}: radius", injector.radius, unit="m")
        whole(f"{where}: seed", injector.seed, 0)
        try:
            scene.group(injector.body)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
        if injector.body in owners:
            raise ValueError(
                f"{where}: body={shown(injector.body)} is the pool of injector {owners[injector.body]!r} already; "
                "each injector needs a pool of its own"
            )
        owners[injector.body] = injector.name
        body = next(body for body in scene.bodies if body.name == injector.body)
        if body.material == "rigid":
            raise ValueError(f"{where}: body={shown(injector.body)} is rigid; a pool's particles are let in one by one")
        spacing = float(body.column("volume").max()) ** (1 / dim)
        if radius < spacing / 2:
            raise ValueError(
                f"{where}: radius={shown(injector.radius)} must be at least half the spacing of the pool's particles, "
                f"{spacing / 2:.3g} m"
            )
        injector.axis(dim)
        point = injector.nozzle_point(scene.effectors, dim)
        high = size - edge
        if not ((point > edge) & (point < high)).all():
            raise ValueError(
                f"{where}: the nozzle is at {point.tolist()}, outside the domain; allowed: strictly between "
                f"{[edge] * dim} and {high.tolist()} [m]"
            )
        for drain in scene.drains:
            if ((point > drain.low) & (point < drain.high)).all():
                raise ValueError(f"{where}: the nozzle is at {point.tolist()}, in the drain {drain.low}..{drain.high}")
