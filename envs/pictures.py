"""Pictures of a rollout: bodies, manipulators and the goal of one world, drawn by `pliant.sims.camera`."""

from __future__ import annotations

import numpy as np

from pliant.envs.rollout import Rollout
from pliant.envs.task import Task
from pliant.sims.camera.camera import Camera
from pliant.sims.camera.renderer import Renderer


class Pictures:
    """Draws worlds of one task; keeps the renderer's buffers between pictures."""

    def __init__(self, task: Task) -> None:
        scene = task.scene
        width, height = task.picture_size
        self._task = task
        self._renderer = Renderer(width, height)
        low, high = task.camera_box()
        self._camera = Camera.frame_scene(low.tolist(), high.tolist(), scene.dim, aspect=width / height)
        colors = [np.broadcast_to(np.asarray(body.color, float), (len(body), 3)) for body in scene.bodies]
        self._colors = np.concatenate(colors)
        volume = np.mean(np.concatenate([body.column("volume") for body in scene.bodies]))
        self._radius = 0.6 * float(volume) ** (1.0 / scene.dim)

    def draw(self, rollout: Rollout, world: int) -> np.ndarray:
        """World number ``world`` as it is now, uint8, shape (height, width, 3)."""
        scene, state = self._task.scene, rollout.world.state
        surfaces = []
        if scene.effectors:
            positions, orientations = state("effector_position")[world], state("effector_orientation")[world]
            for effector, position, orientation in zip(scene.effectors, positions, orientations, strict=True):
                surfaces.append((effector.shape, position, orientation, effector.color))
        goal = {name: value[world] for name, value in rollout.goal.items()}
        return self._renderer.render(
            state("position")[world],
            self._colors,
            self._radius,
            self._camera,
            surfaces=surfaces,
            ground=scene.walls.thickness * scene.cell,
            **self._task.picture(goal),
        )
