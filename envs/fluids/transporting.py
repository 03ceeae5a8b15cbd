"""Transporting: push a heavy cube across the floor with a water jet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pliant.envs import features as f
from pliant.envs.fluids.fluid_task import RIM, WATER, FluidConfig, FluidTask
from pliant.envs.task import Observed, Score, Term, positive
from pliant.sims.mpm.bodies import Body
from pliant.sims.mpm.scene import Scene
from pliant.sims.mpm.supply.nozzles import Injector
from pliant.sims.shapes.shapes import Sphere

EDGE = 0.024  # of the cube [m]
NOZZLE = 0.009  # radius of the nozzle [m]
OPENING = 0.018  # of the jet before the middle of the nozzle, clear of the solid by a cell and a half [m]
BORE = 0.004  # radius of the jet [m]
JET_HEIGHT = 0.014  # of the jet above the floor [m]
JET_SPEED = 1.0  # of the water at the opening [m/s]
FAR = 0.03  # from the opening to the cube's near face at the start [m]
SPEED, TURN = 0.15, 3.0  # of the nozzle [m/s], [rad/s]
ASIDE = (0.017, 0.021)  # of the nozzle from the cube's middle at the start, to either side [m]
AHEAD, SIDEWAYS = (0.045, 0.06), 0.012  # way of the cube along x and at most along y [m]


@dataclass(frozen=True)
class Config(FluidConfig):
    sound_speed: float = positive(5.0)
    tank_friction: float = 0.15
    cube_density: float = positive(1500.0)  # of the cube [kg/m^3]
    water_viscosity: float = 0.001  # of the water [Pa s]
    place_weight: float = 1.0  # weight of *distance*
    aim_weight: float = 0.2  # weight of *aim*


class Transporting(FluidTask):
    """
    ## Description
    A rigid cube of 2.4 cm, denser than water, lies on the floor of a tank before a nozzle that shoots a jet of water at
    a constant rate. The goal is to push the cube to a given place with the jet. After the Transporting task of FluidLab
    (Xian et al. 2023), in SI units.

    ## Action Space
    `Box(-1, 1, (2,), float32)`

    | Num | Action | Min | Max | Unit |
    | --- | --- | --- | --- | --- |
    | 0 | velocity of the nozzle along y | -1 | 1 | 0.15 m/s |
    | 1 | angular velocity of the nozzle about z | -1 | 1 | 3 rad/s |

    The nozzle stays within the tank. The flow is no action: it is 50 ml/s, at 1 m/s.

    ## Observation Space
    `Box(-10, 10, (31,), float32)`; usual values lie within [-1, 1].

    | Num | Observation | Unit |
    | --- | --- | --- |
    | 0-2 | centre of the cube, relative to where it is at the start | 5 cm |
    | 3-5 | mean velocity of the cube | 0.3 m/s |
    | 6-7 | from the middle of the cube's back to that of its front, along x and y: its heading | 2.4 cm |
    | 8-10 | centre of the water, relative to the cube's place at the start | 5 cm |
    | 11-13 | mean velocity of the water | 0.3 m/s |
    | 14-16 | position of the nozzle, relative to the cube's place at the start | 5 cm |
    | 17-20 | orientation of the nozzle (quaternion w, x, y, z) | - |
    | 21 | the cube's middle from the nozzle's along y | 5 cm |
    | 22-24 | from the cube's centre to the goal | 5 cm |
    | 25-26 | goal along x and y, relative to the cube's place at the start | 5 cm |
    | 27-28 | previous action | - |
    | 29-30 | sin and cos of pi t / T | - |

    ## Rewards
    - *distance*: minus the mean distance of the cube's particles from their places in the cube at the goal, in units of
      5 cm; it knows the heading of the cube.
    - *aim*: minus a fifth of the square of the distance of nozzle and cube along y, in units of 1.5 cm.

    `info["reward_terms"]` holds them by name; the reward is their sum. `info["score"]` is the share of the *distance*
    at the start that is gone, clipped to [0, 1].

    ## Starting State
    But for the cube the tank is empty. The nozzle stands 1.7 to 2.1 cm beside the cube's middle line, the jet passes
    it. The side and the distance are drawn from the seed, and the goal: 4.5 to 6 cm ahead and 1.2 cm aside at most. The
    cube hardly moves (1 mm/s, at random, drawn from the seed).

    ## Episode End
    Truncation after 40 steps of 20 ms. No termination, but at a score of 0.7 with `terminate_on_success=True`.

    ## Arguments
    The common ones (`pliant.envs.base.TaskEnv`) and `sound_speed` [m/s], `tank_friction`, `tool_friction`,
    `cube_density` [kg/m^3], `water_viscosity` [Pa s], `place_weight`, `aim_weight`.

    ## Version History
    - v0: first version.
    """

    summary = "push a heavy cube across the floor to a given place with a water jet"
    success_score = 0.7
    Config = Config
    horizon = 40
    substeps: ClassVar = {"small": 40, "full": 120}
    domain = (0.21, 0.144, 0.084)
    tool_speed = 0.3
    picture_top = RIM + 2 * EDGE
    exogenous: ClassVar = {"injector_flow": "flow"}

    def make_scene(self) -> Scene:
        config = self.config
        self.nozzle_start = np.array([RIM + 0.024, self.domain[1] / 2, RIM + JET_HEIGHT])
        self.origin = self.nozzle_start + [OPENING + FAR + EDGE / 2, 0.0, EDGE / 2 - JET_HEIGHT]  # the cube's middle
        cube = self.fill(self.origin - EDGE / 2, self.origin + EDGE / 2)
        self.flow = np.pi * BORE**2 * JET_SPEED
        self._check_length()
        count = round(self.flow * self.horizon * self.step_time / self.spacing**3)
        opening = self.nozzle_start + [OPENING, 0.0, 0.0]
        bodies = [
            Body(
                name="cube",
                position=cube,
                volume=self.spacing**3,
                material="rigid",
                density=config.cube_density,
                youngs_modulus=4e4,
                color=(0.80, 0.45, 0.30),
            ),
            self.liquid("water", np.tile(opening, (count, 1)), viscosity=config.water_viscosity, color=WATER),
        ]
        jet = Injector(
            "jet",
            body="water",
            effector="nozzle",
            radius=BORE,
            max_flow=self.flow,
            nozzle=(OPENING, 0.0, 0.0),
            direction=(1.0, 0.0, 0.0),
        )
        height = self.nozzle_start[2]
        self.keep_inside(0, 0.024, height, height)
        return self.tank_scene(bodies, [self.tool("nozzle", Sphere(NOZZLE), self.nozzle_start)], injectors=[jet])

    def _check_length(self) -> None:
        """Refuse episodes in which the jet would fill more than half of the tank."""
        inside = np.array(self.domain) - 2 * RIM
        steps = int(inside.prod() / 2 / (self.flow * self.step_time))
        if self.horizon > steps:
            raise ValueError(
                f"max_episode_steps={self.horizon} is too long: the jet would fill more than half of the tank; "
                f"allowed: 1..{steps}"
            )

    def make_action(self) -> dict[str, np.ndarray]:
        matrix = np.zeros((6, 2))
        matrix[1, 0], matrix[5, 1] = SPEED, TURN
        return {"effector_twist": self.twist_matrix(matrix)}

    def make_observation(self) -> list[Observed]:
        cube = self.rows("cube")
        across = self.scene.position[cube, 0] - self.origin[0]
        inner = EDGE / 2 - self.spacing
        front, back = (
            f.Mean(name, "position", cube[where], 3)
            for name, where in (("front", across > inner), ("back", across < -inner))
        )
        heading = f.Linear("heading", f.WeightedSum("heading", [(1.0, front), (-1.0, back)]), np.eye(2, 3))
        self.centre = f.centre(cube, 3, "cube_centre")
        nozzle = f.Rows("nozzle", "effector_position", [0], 3)
        self.beside = f.Linear(
            "beside", f.WeightedSum("from_nozzle", [(1.0, self.centre), (-1.0, nozzle)]), [0.0, 1.0, 0.0]
        )
        matter = [
            *self.body_motion("cube", self.origin),
            Observed(heading, scale=EDGE),
            *self.body_motion("water", self.origin),
        ]
        goal = [
            Observed(self.beside, scale=self.scale),
            Observed(f.Offset("to_goal", self.centre, "place"), scale=self.scale),
            Observed(f.GoalValue("way", 2), scale=self.scale),
        ]
        return self.observe(matter, goal, origin=self.origin, turns=True)

    def make_reward(self) -> list[Term]:
        cube = f.Group(self.rows("cube"))
        self.distance = f.MatchedDistance("distance", cube, "target", smoothing=0.002)
        config = self.config
        return [
            Term(self.distance, -config.place_weight / self.scale),
            Term(f.SquaredNorm("aim", self.beside), -config.aim_weight / 0.015**2),
        ]

    def make_score(self) -> Score:
        return Score(self.distance, goal=0.0)

    def make_goal(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        way = np.array([rng.uniform(*AHEAD), rng.uniform(-SIDEWAYS, SIDEWAYS), 0.0])
        return {
            "target": self.scene.position[self.rows("cube")] + way,
            "place": self.origin + way,
            "way": way[:2],
            "flow": np.full((self.horizon, 1), self.flow),
        }

    def make_initial_state(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        aside = rng.choice([-1.0, 1.0]) * rng.uniform(*ASIDE)
        return {
            "effector_position": (self.nozzle_start + [0.0, aside, 0.0])[None],
            **super().make_initial_state(rng),
        }

    def ghost(self, goal: Mapping[str, np.ndarray]) -> np.ndarray:
        return goal["target"]
