"""What the two grasping tasks share: a soft block on a table between the two fingers of a gripper, which lift it."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from pliant.envs import features as f
from pliant.envs.gripper import Gripper
from pliant.envs.particles import fill_box, nearest
from pliant.envs.tactile.tactile_task import TactileConfig, TactileTask, looking
from pliant.envs.task import Observed, Score, Term, positive
from pliant.sims.fem.grip import GripScene
from pliant.sims.fem.mesh import GelMesh
from pliant.sims.fem.pads import pad_mesh
from pliant.sims.mpm.bodies import Body, Walls
from pliant.sims.mpm.scene import Scene
from pliant.sims.robot.effector import Effector
from pliant.sims.shapes.shapes import Box

CELL = {"small": 0.004, "full": 0.002}  # [m]
PAD = {"small": (6, 6, 2), "full": (8, 8, 3)}  # cells of a pad along its sides and in depth
GRID = (0.096, 0.072, 0.096)  # [m]
FLOOR = 0.0125  # height of the table in the domain [m]; its wall is three cells and more
SIZE = np.array([0.020, 0.018, 0.022])  # of the block [m]
WIDTH, THICK = 0.018, 0.004  # of a pad [m]
OVERLAP = 2e-4  # of each pad and the block at the start [m]
SPEED, SPIN, CLOSING = 0.08, 1.0, 0.04  # [m/s], [rad/s], [m/s]
LIFT = 0.025  # to which the block is to be lifted [m]
SHIFT = 0.002  # of the block at the start, along y [m]


@dataclass(frozen=True)
class Config(TactileConfig):
    youngs_modulus: float = 2e4  # of the block [Pa]
    density: float = 400.0  # of the block [kg/m^3]
    gel_youngs_modulus: float = positive(3e4)  # of the gels [Pa]
    gel_viscosity: float = 2.0  # of the gels [Pa s]
    contact_stiffness: float = positive(1e7)  # pressure per depth between gels and the table [Pa/m]
    friction: float = 0.7  # of the gels against the block
    grip_stiffness: float = positive(1e7)  # pressure per depth between gels and block [Pa/m]
    force: float = positive(0.25)  # usual force on each gel [N]


class GraspTask(TactileTask):
    """A block, its material left to the subclass, between two pads."""

    step_time = 0.02
    substeps = {"small": 320, "full": 600}
    Config = Config
    material: ClassVar[str] = "neo_hookean"
    force_unit = 0.5
    torque_unit = 0.005

    def make_mesh(self) -> GelMesh:
        return pad_mesh((WIDTH, WIDTH), THICK, PAD[self.resolution], grading=(1.0, 1.0))

    @property
    def laws(self) -> dict[str, Any]:
        """Numbers of the block's material."""
        return {}

    def make_scene(self) -> GripScene:
        config, cell = self.config, CELL[self.resolution]
        grid = [round(edge / cell) for edge in GRID]
        thickness = int(FLOOR // cell)
        floor = thickness * cell
        middle = np.array([GRID[0] / 2 + 3e-4, GRID[1] / 2 + 2e-4, floor + SIZE[2] / 2 + 2e-4])
        self.middle = middle
        spacing = cell / 2
        position = fill_box(middle - SIZE / 2, middle + SIZE / 2, spacing)
        block = Body(
            "block",
            position,
            float(np.prod(SIZE)) / len(position),
            self.material,
            youngs_modulus=config.youngs_modulus,
            poissons_ratio=0.3,
            density=config.density,
            color=self.color,
            **self.laws,
        )
        out = SIZE[0] / 2 + THICK - OVERLAP
        height = middle[2] + 0.002
        fingers = [
            Effector(
                name,
                Box((WIDTH / 2, WIDTH / 2, 0.002)),
                (middle[0] - side * out, middle[1] + 1e-4, height),
                orientation=looking((side, 0.0, 0.0)).tolist(),
                color=(0.25, 0.27, 0.30),
            )
            for name, side in (("left", 1.0), ("right", -1.0))
        ]
        matter = Scene(3, grid, cell, [block], fingers, Walls(["slip"] * 4 + ["separate"] * 2, thickness=thickness))
        self.start = np.array([finger.pose for finger in fingers])
        self.gripper = Gripper(
            (0, 1),
            SPEED,
            SPIN,
            CLOSING,
            (2 * THICK + SIZE[0] - 0.006, 2 * THICK + 0.04),
            ((0.03, 0.02, floor + WIDTH / 2 + 0.001), (GRID[0] - 0.03, GRID[1] - 0.02, GRID[2] - 0.02)),
        )
        mesh = self.make_mesh()
        gels = [self.make_gel("left", mesh), self.make_gel("right", mesh)]
        return GripScene(
            matter,
            gels,
            stiffness=config.grip_stiffness,
            friction=config.friction,
            contact_stiffness=config.contact_stiffness,
        )

    @property
    @abstractmethod
    def color(self) -> tuple[float, float, float]:
        """Of the block."""

    def make_action(self) -> dict[str, np.ndarray]:
        return {"effector_twist": np.zeros((12, Gripper.action_size))}

    def make_state_observation(self) -> list[Observed]:
        position = self.scene.position
        corners = np.array([[i, j, k] for i in (-1, 1) for j in (-1, 1) for k in (-1, 1)]) * SIZE / 2
        self.rows = np.arange(len(position))
        samples = nearest(position, self.middle + 0.9 * corners)
        self.centre = f.centre(self.rows, 3)
        return [
            Observed(f.Rows("fingers", "effector_position", [0, 1], 3), scale=LIFT, offset=self.start[:, :3].ravel()),
            Observed(f.Rows("orientations", "effector_orientation", [0, 1], 4)),
            Observed(self.centre, scale=LIFT, offset=self.middle),
            Observed(f.mean_velocity(self.rows, 3), scale=0.1),
            Observed(f.Rows("corners", "position", samples, 3), scale=0.03, offset=np.tile(self.middle, 8)),
            Observed(f.Offset("to_goal", self.centre, "target"), scale=LIFT),
            Observed(self.force(0), scale=self.force_unit),
            Observed(self.force(1), scale=self.force_unit),
            Observed(f.Action(self.action_size)),
        ]

    def to_goal(self) -> f.Feature:
        """From the block's centre to where it is to be [m]."""
        centre = f.centre(np.arange(len(self.scene.position)), 3)
        return f.Offset("to_goal", centre, "target")

    def make_state_reward(self) -> list[Term]:
        scaled = f.Linear("lift", self.to_goal(), np.eye(3) / LIFT)
        return [Term(f.SquaredNorm("lift", scaled), -3.0)]

    def make_tactile_reward(self) -> list[Term]:
        terms = [f.Excess(f"grip_{g}", self.force(g), self.config.force) for g in (0, 1)]
        return [Term(term, -0.1) for term in terms]

    def make_score(self) -> Score:
        return Score(f.Distance("error", self.to_goal()), goal=0.0)

    def make_goal(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        return {"target": self.middle + [0.0, 0.0, LIFT]}

    def make_initial_state(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        shift = np.array([0.0, rng.uniform(-SHIFT, SHIFT), 0.0])
        return {"position": self.scene.position + shift}

    def make_parameters(self, rng: np.random.Generator) -> dict[str, Any]:
        factor = 1.0 + 0.15 * rng.uniform(-1.0, 1.0, 2)
        return {
            "youngs_modulus": self.config.youngs_modulus * factor[0],
            "grip_friction": np.full(2, self.config.friction * factor[1]),
        }

    def camera_box(self) -> tuple[np.ndarray, np.ndarray]:
        return self.middle - [0.04, 0.03, 0.02], self.middle + [0.04, 0.03, 0.045]
