"""Injectors and drains as a part of a World."""

from __future__ import annotations

from typing import Any

import numpy as np

from pliant.sims.fields import Field, Needs, Places
from pliant.sims.inputs import shown
from pliant.sims.mpm.supply.nozzles import Injector
from pliant.sims.mpm.supply.places import (
    COUNT,
    DRAIN_AT,
    DRAINS,
    EFFECTOR_AT,
    ENTRY_AT,
    FLOW_AT,
    INJECTOR_AT,
    INJECTOR_SIZE,
    NO_POOL,
    OWNER_AT,
    P_SIZE,
    PARTIAL_AT,
    PARTICLE_AT,
    POOL,
    POOL_AT,
    POOL_SIZE,
    RIGID,
    STATE_AT,
)
from pliant.sims.part import Part, Passes, Phases


def injected_volume(world: Any) -> np.ndarray:
    """Volume that each injector of a World has let in up to the current (or loaded) state, (B, injectors) [m^dim]."""
    volumes = {body.name: body.column("volume") for body in world.scene.bodies}
    quanta = [volumes[injector.body].mean() for injector in world.scene.injectors]
    return world.state("injected_quanta").astype(float) * quanta + world.state("injected_remainder")


class InjectorPart(Part):
    """The injectors and drains of a scene as a part of a World."""

    key: tuple[Any, ...] = ("injectors",)

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
        self.state_size, self.control_size, self.partial_size = 2 * self.count, self.count, P_SIZE * self.count
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

    def lay_out(self, state: int, parameter: int, control: int, output: int) -> None:
        """Take the stretches that start at these offsets of each row."""
        self.state_at, self.control_at = state, control
        if self.count:
            self.state_fields = [
                Field("injected_quanta", state, (), self.count, 2),
                Field("injected_remainder", state + 1, (), self.count, 2),
            ]
            self.control_fields = [Field("injector_flow", control, (self.count,))]

    def initial_state(self) -> np.ndarray:
        """Nothing is injected yet, shape (2 * count,)."""
        return np.zeros(self.state_size)

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
        effectors = np.array([names.index(injector.effector) for injector in self.injectors], np.int32)
        return Needs(
            constants=np.concatenate([*injectors, pool.ravel(), *drains]),
            integers={"effectors": effectors, "entries": entries, "particles": self.particles, "owners": self.owner},
        )

    def write_header(self, header: np.ndarray, places: Places) -> None:
        """Fill this part's stretch of the integer header."""
        pool_at = places.constants + self.count * INJECTOR_SIZE
        for at, value in (
            (COUNT, self.count),
            (POOL, len(self.particles)),
            (STATE_AT, self.state_at),
            (FLOW_AT, self.control_at),
            (INJECTOR_AT, places.constants),
            (POOL_AT, pool_at),
            (EFFECTOR_AT, places.integers["effectors"]),
            (ENTRY_AT, places.integers["entries"]),
            (PARTICLE_AT, places.integers["particles"]),
            (OWNER_AT, places.integers["owners"]),
            (DRAINS, len(self.scene.drains)),
            (DRAIN_AT, pool_at + len(self.particles) * POOL_SIZE),
            (PARTIAL_AT, places.partial),
        ):
            header[at] = value

    def phases(self, dim: int, fp: Any) -> Phases:
        """Flow, emission, and back."""
        from pliant.sims.mpm.supply.kernels import injector_functions

        return injector_functions(dim, fp, False).phases

    def passes(self, dim: int, fp: Any) -> Passes:
        """The same with a thread for each particle of a pool."""
        from pliant.sims.mpm.supply.kernels import injector_functions

        return injector_functions(dim, fp, True).passes

    def check_state(self, name: str, values: np.ndarray) -> None:
        """Quanta are counts; remainders are shares of a quantum."""
        if name == "injected_quanta" and ((values < 0) | (values != np.floor(values))).any():
            raise ValueError("injected_quanta must be whole numbers >= 0")
        if name == "injected_remainder" and ((values < 0) | (values > self.quanta * (1 + 1e-6))).any():
            raise ValueError(
                f"injected_remainder must lie in 0..{self.quanta.tolist()} [m^{self.dim}], a quantum of each injector"
            )

    def check_controls(self, controls: np.ndarray) -> None:
        """Flows lie between 0 and ``max_flow``."""
        for j, injector in enumerate(self.injectors):
            flow = controls[:, self.control_at + j]
            if flow.min() < 0 or flow.max() > injector.max_flow * (1 + 1e-6):
                worst = float(flow.min() if flow.min() < 0 else flow.max())
                raise ValueError(
                    f"injector_flow={worst:.6g} of injector {injector.name!r} must lie in 0..{injector.max_flow} "
                    f"m^{self.dim}/s"
                )

    def idle(self, state: np.ndarray, position: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which particles wait in a pool and which lie in a drain, (B, N) booleans each: as the kernels decide it."""
        waiting = np.zeros(position.shape[:2], bool)
        own = state[:, self.state_at : self.state_at + self.state_size].reshape(len(state), self.count, 2)
        whole, rest = own[:, self.owner, 0], own[:, self.owner, 1]
        quanta, remainder = self.ranks.astype(state.dtype).T
        waiting[:, self.particles] = ~((whole > quanta) | ((whole == quanta) & (rest > remainder)))
        drained = np.zeros_like(waiting)
        for drain in self.scene.drains:
            low, high = np.asarray(drain.low, state.dtype), np.asarray(drain.high, state.dtype)
            drained |= ((position > low) & (position < high)).all(-1)
        for body in self.scene.bodies:
            if body.material == "rigid":
                drained[:, self.scene.group(body.name)] = False
        return waiting, drained & ~waiting
