"""Cables that hang at rest between grippers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from pliant.sims.math.rotation_host import matrix_of_quaternion
from pliant.sims.robot.twists import twist_between
from pliant.sims.rod.scene import RodScene


class Settler:
    """Finds shapes at rest of a scene's rod by simulating it with long, strongly damped steps until it stands still.

    Args:
        scene: its effectors hold the rod.
        substep: duration of a substep [s].
        substeps: in the motion from the scene's poses to the wanted ones.
    """

    PATIENCE = 12  # times ``substeps`` to come to rest
    SPEED = 3e-4  # that counts as rest [m/s]

    def __init__(self, scene: RodScene, *, substep: float = 0.05, substeps: int = 16) -> None:
        self._scene = replace(scene, integrator="backward_euler")
        self._substep, self._substeps = substep, substeps
        self._world: Any = None
        self._found: dict[bytes, dict[str, np.ndarray]] = {}

    def settle(self, position: np.ndarray, orientation: np.ndarray) -> Mapping[str, np.ndarray]:
        """State arrays at rest with the effectors at ``position`` (M, 3) [m] and ``orientation`` (M, 4).

        They are "position" [m] and "director", (n, 3) each. The same poses give the same arrays, whatever was asked
        before.
        """
        key = np.concatenate([position, orientation], axis=1).tobytes()
        if key not in self._found:
            self._found[key] = self._simulate(position, orientation)
        return self._found[key]

    def _simulate(self, position: np.ndarray, orientation: np.ndarray) -> dict[str, np.ndarray]:
        from pliant.sims.world import World

        if self._world is None:  # not before the first reset, when the device has been chosen
            self._world = World(self._scene, substeps=self._substeps, dt=self._substep, precision="f32")
        world = self._world
        world.reset()
        start = np.array([effector.pose for effector in self._scene.effectors])
        before, after = matrix_of_quaternion(start[:, 3:]), matrix_of_quaternion(orientation)
        twist = twist_between(start[:, :3], before, position, after, world.time_step, world.substeps)
        world.step(twist.reshape(1, -1))
        for _ in range(self.PATIENCE):
            world.step(np.zeros((1, twist.size)))
            if np.abs(world.state("velocity")).max() < self.SPEED:
                break
        return {name: world.state(name)[0].astype(np.float64) for name in ("position", "director")}
