"""Recordings to replay: chosen from the real ones, or made by code from a rod whose parameters are hidden."""

from __future__ import annotations

import functools
import os
from typing import Any

import numpy as np

from pliant.envs.rods.cables import turned
from pliant.envs.rods.wires.recordings import VARIABLE, Recording, recordings
from pliant.sims.math.rotation_host import matrix_of_quaternion
from pliant.sims.rod.scene import RodScene

TARGETS = ("auto", "code", "recorded")
AMPLITUDE = np.array([0.12, 0.18, 0.15])  # of an end's way along x, y and z [m]
SWING = 0.5  # of its turn about each axis [rad]
FREQUENCIES = (0.5, 2.0)  # [Hz]
FADE = 0.5  # time in which the motion sets in [s]
KEPT = 64  # recordings made by code that a `Player` keeps


def takes_recorded(targets: str) -> bool:
    """Whether targets, one of ``TARGETS``, are recorded ones; "auto": where the variable of the data folder is set."""
    return targets == "recorded" or (targets == "auto" and bool(os.environ.get(VARIABLE)))


@functools.lru_cache(maxsize=4)
def kept_recordings(name: str, split: str, folder: str | None) -> list[Recording]:
    """`recordings`, read once; ``folder`` is what the variable says, so that another one is not mistaken for it."""
    return recordings(name, split)


def draw_motion(
    rng: np.random.Generator, ends: list[np.ndarray], times: np.ndarray, *, reach: float = 1.0
) -> np.ndarray:
    """Ways of the ends of a cable, shape (len(times), vertices of all ends, 3) [m].

    Each end, vertices (k, 3) [m] at the start, moves as a rigid body: two sines along and about each axis, from rest.
    ``reach``: of the ways, relative to ``AMPLITUDE``.
    """
    fade = np.minimum(times / FADE, 1.0)[:, None]
    fade = fade * fade * (3.0 - 2.0 * fade)
    ways = []
    for vertices in ends:
        frequency, phase = rng.uniform(*FREQUENCIES, (2, 6)), rng.uniform(0.0, 2 * np.pi, (2, 6))
        amplitude = rng.uniform(0.2, 0.5, (2, 6)) * [*(reach * AMPLITUDE), SWING, SWING, SWING]
        angle = 2 * np.pi * frequency * times[:, None, None] + phase
        wave = fade * np.sum(amplitude * (np.sin(angle) - np.sin(phase)), axis=1)
        middle = vertices.mean(axis=0)
        rotation = matrix_of_quaternion(np.array([turned(np.array([1.0, 0.0, 0.0, 0.0]), w) for w in wave[:, 3:]]))
        ways.append(middle + wave[:, None, :3] + np.einsum("tij,kj->tki", rotation, vertices - middle))
    return np.concatenate(ways, axis=1)


class Player:
    """Simulates a scene with driven ends and scaled parameters, to make recordings by code.

    Args:
        scene: its rod is driven along given positions; its parameters are scaled by a control.
        substeps, dt: as in the environment.
    """

    REST = 0.05  # duration of the long, damped substeps that bring the rod to rest [s]

    def __init__(self, scene: RodScene, *, substeps: int, dt: float) -> None:
        self._scene, self._substeps, self._dt = scene, substeps, dt
        self._world: Any = None
        self._start: dict[str, np.ndarray] = {}
        self._made: dict[bytes, np.ndarray] = {}

    def start(self) -> dict[str, np.ndarray]:
        """State arrays "position" [m] and "director", (n, 3) each, of the rod at rest, its ends as in the scene."""
        from dataclasses import replace

        from pliant.sims.world import World

        if not self._start:
            still = replace(self._scene, integrator="backward_euler")
            world = World(still, substeps=20, dt=self.REST, precision="f32")
            for _ in range(5):
                world.step(self._controls(self._scene.position[self._scene.driven_vertices], np.zeros(4)))
            self._start = {name: world.state(name)[0].astype(np.float64) for name in ("position", "director")}
            world.close()
        return {name: value.copy() for name, value in self._start.items()}

    def play(self, ways: np.ndarray, scale: np.ndarray) -> np.ndarray:
        """Vertices at the start and after each step, shape (T + 1, n, 3) [m].

        ways: of the driven vertices at the end of each step, shape (T, c, 3) [m].  scale: factors less one, shape (4,).
        """
        from pliant.sims.world import World

        key = ways.tobytes() + scale.tobytes()
        if key not in self._made:
            if self._world is None:  # not before the first reset, when the device has been chosen
                self._world = World(self._scene, substeps=self._substeps, dt=self._dt, precision="f32")
            world = self._world
            world.reset()
            for name, value in self.start().items():
                world.set_state(name, value[None])
            frames = [world.state("position")[0]]
            for positions in ways:
                world.step(self._controls(positions, scale))
                frames.append(world.state("position")[0])
            while len(self._made) >= KEPT:
                del self._made[next(iter(self._made))]
            self._made[key] = np.array(frames, np.float64)
        return self._made[key]

    @staticmethod
    def _controls(driven: np.ndarray, scale: np.ndarray) -> np.ndarray:
        return np.concatenate([driven.ravel(), scale])[None]
