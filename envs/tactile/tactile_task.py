"""What the tasks of tactile sensors share: gels, what is observed of them, and which terms of the reward count."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from pliant.envs import features as f
from pliant.envs.features.tactile import GelSkin, TactileReadout, gel_force
from pliant.envs.task import Observed, Task, Term, positive, ratio
from pliant.sims.fem.domes import dome_mesh
from pliant.sims.fem.mesh import GelMesh
from pliant.sims.fem.scene import Gel
from pliant.sims.inputs import shown
from pliant.sims.math.rotation_host import quaternion_of_matrix
from pliant.sims.robot.effector import Effector
from pliant.sims.sensor.camera import CalibratedCamera
from pliant.sims.sensor.markers import marker_disc
from pliant.sims.sensor.reading import TactileSensor
from pliant.sims.sensor.surface import skin_triangles
from pliant.sims.shapes.shapes import Cylinder

MODES = ("state", "markers", "image", "force")
REWARDS = ("state", "tactile", "both")
RADIUS = 0.015  # of a dome [m]
MARKERS, MARKER_REACH = 136, 0.7  # of a dome: how many, and the radius of the disc that they fill, in radii of the dome
SHOWN = 1.3  # width of what the camera shows, in diameters of that disc
PICTURE = (64, 48)  # width, height of observed pictures [pixels]
PIXELS = 5.0  # usual motion of a marker [pixels]
CAMERA = (320, 240)  # width, height of the camera that sees the markers [pixels]
MOUNT_COLOR = (0.25, 0.27, 0.30)


@dataclass(frozen=True)
class TactileConfig:
    """Numbers of all tactile tasks."""

    observe: str = "state"  # "state", "markers", "image", "force", or several joined by "+"
    reward: str = field(default="both", metadata={"allowed": REWARDS})  # which terms count beside *action_cost*
    gel_youngs_modulus: float = positive(1e5)  # of the gels [Pa]
    gel_poisson_ratio: float = ratio(0.45)  # of the gels
    gel_viscosity: float = 20.0  # of the gels [Pa s]
    contact_stiffness: float = positive(2e8)  # pressure per depth [Pa/m]
    state_weight: float = 1.0  # weight of the terms of the state
    tactile_weight: float = 0.3  # weight of the terms of touch
    effort_weight: float = 0.01  # weight of *action_cost*


class TactileTask(Task):
    """A task of one or two gels. A subclass makes the scene and says what its state, touch and reward are.

    Attributes:
        nodes: about how many nodes a gel has, by resolution.
        force_unit, torque_unit: usual contact force [N] and torque [N m], the scales of the observed ones.
    """

    Config: ClassVar[type] = TactileConfig
    nodes: ClassVar[dict[str, int]] = {"small": 400, "full": 2000}
    force_unit: ClassVar[float] = 1.0
    torque_unit: ClassVar[float] = 0.01

    def make_mesh(self) -> GelMesh:
        """The mesh of each gel: a dome."""
        return dome_mesh(RADIUS, nodes=self.nodes[self.resolution])

    def make_gel(self, mount: str, mesh: GelMesh) -> Gel:
        """A gel with the numbers of the configuration."""
        config = self.config
        return Gel(
            mesh,
            mount,
            youngs_modulus=config.gel_youngs_modulus,
            poisson_ratio=config.gel_poisson_ratio,
            viscosity=config.gel_viscosity,
        )

    @property
    def modes(self) -> list[str]:
        """What is observed, of `MODES`, in their order.

        Raises:
            ValueError: ``observe`` names something else, or one twice.
        """
        asked = self.config.observe.split("+")
        if not asked or len(set(asked)) != len(asked) or any(mode not in MODES for mode in asked):
            raise ValueError(
                f"observe={shown(self.config.observe)} must be one of {', '.join(MODES)}, or several joined by '+'"
            )
        return [mode for mode in MODES if mode in asked]

    @abstractmethod
    def make_state_observation(self) -> list[Observed]:
        """What "state" observes."""

    @abstractmethod
    def make_state_reward(self) -> list[Term]:
        """Terms of the state, for the rewards "state" and "both"."""

    @abstractmethod
    def make_tactile_reward(self) -> list[Term]:
        """Terms of touch, for the rewards "tactile" and "both"."""

    def make_observation(self) -> list[Observed]:
        observed: list[Observed] = []
        for mode in self.modes:
            observed += self.make_state_observation() if mode == "state" else self._make_readings(mode)
        return observed

    def make_reward(self) -> list[Term]:
        config, terms = self.config, list[Term]()
        for kind, weight, make in (
            ("state", config.state_weight, self.make_state_reward),
            ("tactile", config.tactile_weight, self.make_tactile_reward),
        ):
            if config.reward in (kind, "both"):
                terms += [Term(term.feature, weight * term.weight) for term in make()]
        return [*terms, Term(f.action_cost(self.action_size), -config.effort_weight)]

    def force(self, gel: int, *, torque: bool = False) -> f.Feature:
        """Force of contact on a gel in its mount's frame [N], and with ``torque`` the torque [N m]."""
        names = [effector.name for effector in self.scene.effectors]
        name = "gel_force" if len(self.scene.gels) == 1 else f"gel_force_{gel}"
        return gel_force(gel, names.index(self.scene.gels[gel].mount), torque=torque, name=name)

    def _make_readings(self, mode: str) -> list[Observed]:
        """What a mode of touch observes of each gel."""
        count = len(self.scene.gels)
        if mode == "force":
            scale = np.repeat([self.force_unit, self.torque_unit], 3)
            return [Observed(self.force(g, torque=True), scale=scale, part=mode) for g in range(count)]
        skins = [self._make_skin(g, mode) for g in range(count)]
        if mode == "markers":
            names = [mode if count == 1 else f"{mode}_{g}" for g in range(count)]
            return [
                Observed(TactileReadout(skin, mode, name), scale=PIXELS, part=mode)
                for skin, name in zip(skins, names, strict=True)
            ]
        names = [mode if count == 1 else f"{mode}_{g}" for g in range(count)]
        picture = (PICTURE[1], PICTURE[0], 3)
        return [
            Observed(TactileReadout(skin, mode, name), scale=255.0, part=name, picture=picture)
            for skin, name in zip(skins, names, strict=True)
        ]

    def _make_skin(self, gel: int, mode: str) -> GelSkin:
        """A gel with the sensor that a mode needs."""
        mesh = self.scene.gels[gel].mesh
        first = sum(other.mesh.free_count for other in self.scene.gels[:gel])
        return GelSkin(
            make_sensor(mesh, picture=mode == "image"), mesh.positions, slice(first, first + mesh.free_count)
        )


def make_sensor(mesh: GelMesh, *, picture: bool = False, size: tuple[int, int] | None = None) -> TactileSensor:
    """The sensor behind a gel: 136 markers, or with ``picture`` the colours of a GelSight.

    Args:
        mesh: of the gel.
        picture: whether it takes pictures in place of reading markers.
        size: (width, height) of the camera's picture [pixels].
    """
    width, height = size or (PICTURE if picture else CAMERA)
    low, high = mesh.bounds
    reach = MARKER_REACH * (high - low)[:2].min()
    top = float(high[2])
    shown = SHOWN * reach  # a dome's rim is nearer to the camera than its apex, and looks larger
    camera = CalibratedCamera.behind_gel((shown, shown), width=width, height=height, top=top, fill=picture)
    optics: Any = None
    if picture:
        from pliant.sims.sensor.optics import Optics

        optics = Optics.load("gelsight", size=(width, height), precision="f64")
    places = None if picture else marker_disc(MARKERS, reach / 2)
    skin = skin_triangles(mesh.surface, mesh.positions)
    return TactileSensor(skin, mesh.positions, camera=camera, places=places, optics=optics, precision="f64")


def make_mount(
    name: str, position: Sequence[float] | np.ndarray, axis: Sequence[float] | np.ndarray, turn: float = 0.0
) -> Effector:
    """The rigid back of a dome: a disc behind it.

    Args:
        name: of the effector.
        position: of the middle of the gel's base [m].
        axis: (3,), where the gel looks.
        turn: about that axis [rad]; a mesh that mirrors itself is not to meet what it touches along its own lines.
    """
    return Effector(
        name,
        Cylinder(RADIUS, 0.002),
        np.asarray(position, float).tolist(),
        orientation=looking(axis, turn).tolist(),
        color=MOUNT_COLOR,
    )


def looking(axis: Sequence[float] | np.ndarray, turn: float = 0.0) -> np.ndarray:
    """The quaternion (4,) of a frame whose z is ``axis`` (3,), turned about it [rad]."""
    z = np.asarray(axis, float) / np.linalg.norm(axis)
    x = np.cross([0.0, 1.0, 0.0] if abs(z[1]) < 0.9 else [0.0, 0.0, 1.0], z)
    x /= np.linalg.norm(x)
    y = np.cross(z, x)
    c, s = np.cos(turn), np.sin(turn)
    return quaternion_of_matrix(np.stack([c * x + s * y, c * y - s * x, z], axis=1))


def twists(speed: float, spin: float, count: int = 1) -> np.ndarray:
    """The diagonal matrix of actions that are twists of so many effectors; others in the scene get rows of zeros."""
    return np.diag([*[speed] * 3, *[spin] * 3] * count)


def still(matrix: np.ndarray, effectors: int) -> np.ndarray:
    """``matrix`` (6 m, A) with rows of zeros for the effectors that stay where they are."""
    rows = np.zeros((6 * effectors, matrix.shape[1]))
    rows[: len(matrix)] = matrix
    return rows
