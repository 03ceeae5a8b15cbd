"""Pictures of a rollout: bodies, rods, manipulators and the goal of one world, drawn by `pliant.sims.camera`."""

from __future__ import annotations

from typing import Any

import numpy as np

from pliant.envs.arms.pictures import ArmPictures
from pliant.envs.rollout import Rollout
from pliant.envs.task import Task
from pliant.sims.camera.camera import Camera
from pliant.sims.camera.meshes import TriangleMesh
from pliant.sims.camera.renderer import Renderer
from pliant.sims.fem.grip import GripScene
from pliant.sims.fem.scene import GelScene
from pliant.sims.rod.scene import RodScene
from pliant.sims.world import World

HAND = 0.15  # height that pictures show beyond the scene where arms reach into it [m]


class Pictures:
    """Draws worlds of one task; keeps the renderer's buffers between pictures."""

    def __init__(self, task: Task) -> None:
        width, height = task.picture_size
        self._task = task
        self._renderer = Renderer(width, height)
        self._arms = ArmPictures(task.arms) if task.arms else None
        low, high = task.camera_box()
        if self._arms:  # with room for the hands above
            high = high + [0.0, 0.0, HAND]
        self._camera = Camera.frame_scene(low.tolist(), high.tolist(), task.scene.dim, aspect=width / height)
        looks: list[tuple[type, Any]] = [(RodScene, _RodLook), (GelScene, _GelLook), (GripScene, _GripLook)]
        look = next((own for kind, own in looks if isinstance(task.scene, kind)), _BodyLook)
        self._look = look(task.scene)

    def draw(self, rollout: Rollout, world: int) -> np.ndarray:
        """World number ``world`` as it is now, uint8, shape (height, width, 3)."""
        scene, state = self._task.scene, rollout.world.state
        surfaces = []
        if scene.effectors:
            positions, orientations = state("effector_position")[world], state("effector_orientation")[world]
            for effector, position, orientation in zip(scene.effectors, positions, orientations, strict=True):
                surfaces.append((effector.shape, position, orientation, effector.color))
        goal = {name: value[world] for name, value in rollout.goal.items()} | {"step": rollout.elapsed[world]}
        shown = self._look.of(rollout.world, world) | self._task.picture(goal)
        surfaces += shown.pop("surfaces", [])
        if self._arms:
            angle = rollout.state("joint_angle")[world]
            shown["meshes"] = [*shown.get("meshes", []), *self._arms.meshes(angle)]
            surfaces += self._arms.sticks(angle)
        return self._renderer.render(camera=self._camera, surfaces=surfaces, **shown)


class _BodyLook:
    """Particles of bodies, but for those that wait in a pool, over the lower wall."""

    def __init__(self, scene: Any) -> None:
        colors = [np.broadcast_to(np.asarray(body.color, float), (len(body), 3)) for body in scene.bodies]
        volume = np.mean(np.concatenate([body.column("volume") for body in scene.bodies]))
        radius = 0.6 * float(volume) ** (1.0 / scene.dim)
        ground = scene.walls.thickness * scene.cell
        self._colors, self._fixed = np.concatenate(colors), {"radius": radius, "ground": ground}

    def of(self, world: World, number: int) -> dict[str, Any]:
        """What the renderer takes of the particles of world ``number``."""
        waiting = world.derived("waiting")
        out = ~waiting[number]
        return {"positions": world.state("position")[number][out], "colors": self._colors[out], **self._fixed}


class _RodLook:
    """The edges of a rod, over a floor at z = 0."""

    def __init__(self, scene: RodScene) -> None:
        rod = scene.rod
        self._edges = np.stack([rod.tree[1:], np.arange(1, len(rod))], axis=1)
        self._radius, self._color = rod.radius, rod.color

    def of(self, world: World, number: int) -> dict[str, Any]:
        """What the renderer takes of the rod of world ``number``."""
        chain = (world.state("position")[number], self._edges, self._radius, self._color)
        return {"positions": np.zeros((0, 3)), "colors": self._color, "radius": self._radius, "chains": [chain]}


GEL_COLOR = (0.78, 0.80, 0.84)


class _GelLook:
    """The skins of gels, and rigid bodies."""

    def __init__(self, scene: GelScene | GripScene) -> None:
        self._scene, self._bodies = scene, scene.bodies if isinstance(scene, GelScene) else []
        names = [effector.name for effector in scene.effectors]
        self._mounts = [names.index(gel.mount) for gel in scene.gels]

    def of(self, world: World, number: int) -> dict[str, Any]:
        """What the renderer takes of the gels and bodies of world ``number``."""
        displacement = world.state("gel_displacement")[number]
        positions, orientations = (world.state(f"effector_{part}")[number] for part in ("position", "orientation"))
        meshes, first = [], 0
        for gel, mount in zip(self._scene.gels, self._mounts, strict=True):
            places = gel.mesh.positions.copy()
            places[: gel.mesh.free_count] += displacement[first : first + gel.mesh.free_count]
            first += gel.mesh.free_count
            skin = TriangleMesh(places, gel.mesh.surface)
            meshes.append((skin, positions[mount], orientations[mount], GEL_COLOR))
        surfaces = []
        if self._bodies:
            places, turns = (world.state(f"body_{part}")[number] for part in ("position", "orientation"))
            for body, place, turn in zip(self._bodies, places, turns, strict=True):
                surfaces.append((body.shape, place, turn, body.color))
        none = {"positions": np.zeros((0, 3)), "colors": GEL_COLOR, "radius": 0.001}
        return {**none, "meshes": meshes, "surfaces": surfaces}


class _GripLook:
    """Gels, and the particles or the rod that they hold."""

    def __init__(self, scene: GripScene) -> None:
        matter = scene.matter
        self._matter = _RodLook(matter) if isinstance(matter, RodScene) else _BodyLook(matter)
        self._gels = _GelLook(scene)

    def of(self, world: World, number: int) -> dict[str, Any]:
        """What the renderer takes of the gels and of what they hold."""
        return self._matter.of(world, number) | {"meshes": self._gels.of(world, number)["meshes"]}
