"""Table: bend a leg of a table of dough with a round manipulator."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pliant.envs import features as f
from pliant.envs.dough.dough_task import DoughConfig, PressingTask
from pliant.envs.task import Observed
from pliant.sims.mpm.scene import Scene
from pliant.sims.shapes.shapes import Sphere

TOP = np.array([0.048, 0.048, 0.012])  # edges of the table's top [m]
LEG, HEIGHT = 0.015, 0.021  # edge of a leg's square section, height of the legs [m]
MIDDLE = (0.063, 0.063)  # of the table of dough, on the table [m]
TOOL = 0.008  # radius of the manipulator [m]
GAP = 0.0005  # between manipulator and leg at the start [m]
SPEED = 0.1  # of the manipulator [m/s]
PUSH = (0.012, 0.016)  # of the manipulator into the leg along -x, in the demonstration [m]
SIDE = 0.004  # its largest motion along y [m]


@dataclass(frozen=True)
class Config(DoughConfig):
    yield_stress: float = 500.0  # [Pa]
    tool_friction: float = 0.5
    table_friction: float = 1.5
    density_weight: float = 10.0
    outside_weight: float = 10.0


class Table(PressingTask):
    """
    ## Description
    A small table of elastoplastic dough (top of 4.8 x 4.8 x 1.2 cm on four legs of 1.5 x 1.5 x 2.1 cm; von Mises)
    stands beside a round manipulator. The goal is to bend one of its legs inwards and leave the rest as it is. After
    the Table task of PlasticineLab (Huang et al. 2021), in SI units and at the size of a hand.

    ## Action Space
    `Box(-1, 1, (3,), float32)`

    | Num | Action | Min | Max | Unit |
    | --- | --- | --- | --- | --- |
    | 0-2 | velocity of the manipulator | -1 | 1 | 0.1 m/s |

    ## Observation Space
    `Box(-10, 10, (61,), float32)`; usual values lie within [-1, 1].

    | Num | Observation | Unit |
    | --- | --- | --- |
    | 0-2 | centre of the dough, relative to the point on which its middle stands | 5 cm |
    | 3-5 | mean velocity of the dough | 0.1 m/s |
    | 6-41 | twelve particles, relative to the same point | 5 cm |
    | 42-44 | position of the manipulator, relative to the same point | 5 cm |
    | 45-53 | three particles of the leg: foot, knee and hip, relative to the same point | 5 cm |
    | 54-55 | displacement of the foot in the target (x, y) | 5 cm |
    | 56-58 | previous action (the manipulator's velocity) | - |
    | 59-60 | sin and cos of pi t / T | - |

    ## Rewards
    - *density*: minus ten times the mismatch of densities, which is between 0 (target reached) and 1 (disjoint).
    - *outside*: minus ten times the mean distance of the dough from the target, in widths of a leg (1.5 cm).
    - *contact*: minus 0.1 times the distance of the manipulator from the leg, in widths of a leg.

    `info["reward_terms"]` holds them by name; the reward is their sum. `info["score"]` is the incremental soft
    intersection over union (IoU - IoU_0) / (1 - IoU_0) of dough and target, clipped to [0, 1].

    ## Starting State
    The table stands with the manipulator half a millimetre beside the lower end of a leg. The seed draws one of 16
    targets: what remains when the manipulator has pushed the leg inwards by 1.2 to 1.6 cm along x and up to 4 mm to
    either side, and gone back. Dough hardly moves (1 mm/s, at random, drawn from the seed).

    ## Episode End
    Truncation after 30 steps of 20 ms. No termination, but at a score of 0.75 with `terminate_on_success=True`.

    ## Arguments
    The common ones (`pliant.envs.base.TaskEnv`) and `youngs_modulus` [Pa], `poissons_ratio`, `density` [kg/m^3],
    `yield_stress` [Pa], `tool_friction`, `table_friction`, `density_weight`, `outside_weight`, `contact_weight`.

    ## Version History
    - v0: first version.
    """

    summary = "bend a leg of a table of dough with a round manipulator"
    success_score = 0.75
    horizon = 30
    Config = Config
    domain = (0.132, 0.126, 0.096)
    unit = LEG
    speed = SPEED

    def make_scene(self) -> Scene:
        self.origin = self.on_table(*MIDDLE)
        parts = [self.block(TOP, self.origin + [0.0, 0.0, HEIGHT])]
        corner = TOP / 2 - LEG / 2
        for x, y in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
            foot = self.origin + [x * corner[0], y * corner[1], 0.0]
            parts.append(self.block(np.array([LEG, LEG, HEIGHT]), foot))
        self.leg = np.arange(len(parts[1])) + len(parts[0])  # particles of the leg that is bent
        beside = self.origin + [TOP[0] / 2 + GAP + TOOL, corner[1], TOOL]
        return self.table_scene([self.dough(np.concatenate(parts))], [self.tool("ball", Sphere(TOOL), beside)])

    def make_observation(self) -> list[Observed]:
        middle = self.scene.position[self.leg].mean(axis=0)
        heights = ((middle - [0.0, 0.0, z]) for z in (HEIGHT / 2, 0.0, -HEIGHT / 2))
        distance = (np.linalg.norm(self.scene.position[self.leg] - point, axis=1) for point in heights)
        self.marks = self.leg[[d.argmin() for d in distance]]  # foot, knee and hip
        goal = [
            Observed(f.Rows("leg", "position", self.marks, 3), scale=self.scale, offset=np.tile(self.origin, 3)),
            Observed(f.GoalValue("bend", 2), scale=self.scale),
        ]
        return self.observe(goal, origin=self.origin, speed=SPEED)

    def pressed(self) -> np.ndarray:
        return self.leg

    def make_demonstration(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        push = np.array([-GAP - rng.uniform(*PUSH), rng.uniform(-SIDE, SIDE), 0.0])
        points = self.demonstrate([(push, 0.06), (-push, SPEED)])
        bend = (points - self.scene.position)[self.marks[0], :2]
        return {"bend": bend, "points": points, **self.target_shape(points)}

    def camera_box(self) -> tuple[np.ndarray, np.ndarray]:
        return self.origin - [0.032, 0.032, 0.0], self.origin + [0.045, 0.032, 0.038]
