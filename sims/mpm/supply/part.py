"""Injectors and drains as a part of a World."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from pliant.sims.fields import Needs, Quantity, Record, numbers
from pliant.sims.inputs import shown
from pliant.sims.mpm.places import Setup
from pliant.sims.mpm.supply.nozzles import Injector
from pliant.sims.mpm.supply.places import NO_POOL, P_SIZE, RIGID
from pliant.sims.part import Part, Read, Stages


def injected_volume(world: Any) -> np.ndarray:
    """Volume that each injector of a World has let in up to the current (or loaded) state, (B, injectors) [m^dim]."""
    volumes = {body.name: body.column("volume") for body in world.scene.bodies}
    quanta = [volumes[injector.body].mean() for injector in world.scene.injectors]
    return world.state("injected_quanta").astype(float) * quanta + world.state("injected_remainder")


class InjectorPart(Part):
    """The injectors and drains of a scene as a part of a World.

    Args:
        scene: with injectors or drains.
        dt: duration of a substep [s].

    Attributes:
        setup: of the scene's bodies, given (dim, fp, device); the scene sets it.

    Raises:
        ValueError: what an injector lets in could cross more than a cell in a substep.
    """

    key: tuple[Any, ...] = ("injectors",)
    setup: Callable[[int, Any, bool], Setup]

    def __init__(self, scene: Any, dt: float) -> None:
        self.scene = scene
        self.injectors: list[Injector] = scene.injectors
        self.dim = scene.dim
        self.count = len(self.injectors)
        for injector in self.injectors:
            fastest = scene.cell / dt * injector.area(self.dim)
            if injector.max_flow > fastest:
                raise ValueError(
                    f"injector {injector.name!r}: max_flow={shown(injector.max_flow)} would cross more than a cell in "
                    f"dt={dt!r} s; through this opening it may be at most {fastest:.3g} m^{self.dim}/s"
                )
        pools = [scene.group(injector.body) for injector in self.injectors]
        none = np.zeros(0, np.int32)
        self.particles = np.concatenate([none, *(np.arange(pool.start, pool.stop, dtype=np.int32) for pool in pools)])
        self.owner = np.repeat(np.arange(self.count, dtype=np.int32), [pool.stop - pool.start for pool in pools])
        columns = {body.name: body.column("volume") for body in scene.bodies}
        self.volumes = [columns[injector.body] for injector in self.injectors]
        self.quanta = np.array([volume.mean() for volume in self.volumes])
        self.ranks = self._ranks()

    def _ranks(self) -> np.ndarray:
        """Quanta and remainder [m^dim] of w_k of all pools' particles, shape (M, 2)."""
        ranks = [np.zeros((0, 2))]
        for volume, quantum in zip(self.volumes, self.quanta, strict=True):
            if np.ptp(volume) == 0:
                whole, rest = np.arange(len(volume)), np.full(len(volume), 0.5 * quantum)
            else:
                passed = np.cumsum(volume) - 0.5 * volume
                whole = np.floor(passed / quantum)
                rest = passed - whole * quantum
            ranks.append(np.stack([whole, rest], 1))
        return np.concatenate(ranks)

    def needs(self, *, batch: int, team: int, differentiable: bool) -> Needs:
        """Records of injectors, pools and drains; which particle is which."""
        d, scene = self.dim, self.scene
        injectors = [
            np.concatenate([injector.axis(d), [injector.area(d), quantum]])
            for injector, quantum in zip(self.injectors, self.quanta, strict=True)
        ]
        arms = [injector.arms(len(volume), d) for injector, volume in zip(self.injectors, self.volumes, strict=True)]
        pool = np.concatenate([self.ranks, np.concatenate([np.zeros((0, 3)), *arms])], 1)
        drains = [
            np.concatenate([np.asarray(drain.low, float), np.asarray(drain.high, float)]) for drain in scene.drains
        ]
        entries = np.concatenate(
            [np.full(len(body), RIGID if body.material == "rigid" else NO_POOL, np.int32) for body in scene.bodies]
        )
        entries[self.particles] = np.arange(len(self.particles))
        names = [effector.name for effector in scene.effectors]
        none, volume = np.zeros(0), f"m^{d}"
        injected = [Quantity("injected_quanta"), Quantity("injected_remainder", (), volume)]
        return Needs(
            state=[Record("injected", injected, self.count)] if self.count else [],
            controls=[numbers("flow", self.count, f"{volume}/s", "injector_flow")] if self.count else [],
            counts={"count": self.count, "pool_size": len(self.particles), "drain_count": len(scene.drains)}
            | ({} if self.count else {"injected": 0, "flow": 0}),
            constants={
                "injectors": np.concatenate([none, *injectors]),
                "pool": pool.ravel(),
                "drains": np.concatenate([none, *drains]),
            },
            integers={
                "effectors": np.array([names.index(injector.effector) for injector in self.injectors], np.int32),
                "entries": entries,
                "particles": self.particles,
                "owners": self.owner,
            },
            partial={"partial": P_SIZE * self.count},
        )

    def initial(self) -> Mapping[str, Any]:
        """Nothing is injected yet."""
        return {}

    def stages(self, dim: int, fp: Any, device: bool) -> Stages:
        """Flow, and emission when all else has moved."""
        if not self.count:
            return Stages([])
        from pliant.sims.mpm.supply.stages import injector_stages

        return injector_stages(self.setup(dim, fp, device))

    def check_state(self, name: str, values: np.ndarray) -> None:
        """Quanta are counts; remainders are shares of a quantum."""
        if name == "injected_quanta" and ((values < 0) | (values != np.floor(values))).any():
            raise ValueError("injected_quanta must be whole numbers >= 0")
        if name == "injected_remainder" and ((values < 0) | (values > self.quanta * (1 + 1e-6))).any():
            raise ValueError(
                f"injected_remainder must lie in 0..{self.quanta.tolist()} [m^{self.dim}], a quantum of each injector"
            )

    def check_controls(self, values: dict[str, np.ndarray]) -> None:
        """Flows lie between 0 and ``max_flow``."""
        for j, injector in enumerate(self.injectors):
            flow = values["injector_flow"][:, j]
            if flow.min() < 0 or flow.max() > injector.max_flow * (1 + 1e-6):
                worst = float(flow.min() if flow.min() < 0 else flow.max())
                raise ValueError(
                    f"injector_flow={worst:.6g} of injector {injector.name!r} must lie in 0..{injector.max_flow} "
                    f"m^{self.dim}/s"
                )

    def waiting(self, read: Read) -> np.ndarray:
        """Which particles wait in a pool, (B, N) booleans: as the kernels decide it."""
        position = read("position")
        waiting = np.zeros(position.shape[:2], bool)
        if self.count:
            whole, rest = read("injected_quanta")[:, self.owner], read("injected_remainder")[:, self.owner]
            quanta, remainder = self.ranks.astype(position.dtype).T
            waiting[:, self.particles] = ~((whole > quanta) | ((whole == quanta) & (rest > remainder)))
        return waiting

    def drained(self, read: Read) -> np.ndarray:
        """Which particles lie in a drain, (B, N) booleans."""
        position = read("position")
        drained = np.zeros(position.shape[:2], bool)
        for drain in self.scene.drains:
            low, high = np.asarray(drain.low, position.dtype), np.asarray(drain.high, position.dtype)
            drained |= ((position > low) & (position < high)).all(-1)
        for body in self.scene.bodies:
            if body.material == "rigid":
                drained[:, self.scene.group(body.name)] = False
        return drained & ~self.waiting(read)
