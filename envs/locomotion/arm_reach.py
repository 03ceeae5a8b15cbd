"""ArmReach: a soft arm of three segments that hangs from the ceiling and reaches for a point in space."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pliant.envs import features as f
from pliant.envs.particles import fill_cylinder, nearest
from pliant.envs.task import Design, Observed, Score, Task, Term, ratio
from pliant.sims.mpm.bodies import Body, Walls
from pliant.sims.mpm.scene import Scene

CELL = {"small": 0.02, "full": 0.01}  # [m]
RADIUS, LENGTH, CLAMP = 0.03, 0.24, 0.04  # of the arm; CLAMP is the stretch held by the ceiling [m]
DOMAIN = (0.56, 0.56, 0.44)  # [m]
CEILING = 0.36  # underside of the ceiling [m]
BASE = np.array([DOMAIN[0] / 2, DOMAIN[1] / 2, CEILING])
SEGMENTS = 3
MUSCLES = 4
BEND = (0.25, 0.55)  # bending angle at the target [rad]
STRETCH = (0.98, 1.06)  # length of the arm at the target, relative to rest


@dataclass(frozen=True)
class Config:
    youngs_modulus: float = 1.5e5  # of every segment; a design parameter of each [Pa]
    poissons_ratio: float = ratio(0.3)  # of the arm
    density: float = 1000.0  # of the arm [kg/m^3]
    muscle_strength: float = 2e4  # stress at full activation [Pa]
    activation_time: float = 0.05  # time constant of the muscles; 0: they obey at once [s]
    damping: float = 10.0  # of all motion, what air and material take from it [1/s]
    target_speed: float = 0.0  # 0: the target stands still [m/s]
    speed_weight: float = 0.2  # weight of *tip_speed*
    action_weight: float = 0.01  # weight of *action_cost*


class ArmReach(Task):
    """
    ## Description
    A soft arm (a neo-Hookean cylinder, 24 cm long, 6 cm thick) hangs from the ceiling, which clamps its upper end. Four
    muscles run along it, one in each quadrant of its section. They follow their excitation, the action, with a delay:
    da/dt = (u - a) / `activation_time` for the activation a. The goal is to bring the tip to a point drawn from the
    seed and to hold it there. The Young's moduli of three equal segments are design parameters:
    `segment_youngs_modulus` can be set, has a gradient, and so can be optimised together with the motion. After the
    soft arm of ChainQueen (Hu et al. 2019), in SI units.

    ## Action Space
    `Box(-1, 1, (4,), float32)`

    | Num | Action | Min | Max | Unit |
    | --- | --- | --- | --- | --- |
    | 0 | excitation of the muscle on the +x side (positive contracts) | -1 | 1 | muscle strength |
    | 1 | +y side | -1 | 1 | muscle strength |
    | 2 | -x side | -1 | 1 | muscle strength |
    | 3 | -y side | -1 | 1 | muscle strength |

    ## Observation Space
    `Box(-10, 10, (51,), float32)`; usual values lie within [-1, 1].

    | Num | Observation | Unit |
    | --- | --- | --- |
    | 0-2 | tip position relative to the base | arm length |
    | 3-5 | tip velocity | 1 m/s |
    | 6-41 | twelve particles on the surface, four at the end of each segment, relative to the base | arm length |
    | 42-44 | from tip to target | arm length |
    | 45-48 | activation of the muscles | muscle strength |
    | 49-50 | sin and cos of pi t / T | - |

    With a target that moves (`target_speed` above 0) its velocity [m/s] follows, 51-53.

    ## Rewards
    - *distance*: minus the distance of the tip from the target in arm lengths.
    - *tip_speed*: minus 0.2 times the mean square of the tip's velocity components [m^2/s^2].
    - *action_cost*: minus 0.01 times the mean square of the action.

    `info["reward_terms"]` holds them by name; the reward is their sum. `info["score"]` is the share of the initial
    distance that has been closed; with a target that moves, one minus the mean distance so far relative to that of an
    arm that hangs still, and `info["measures"]` has the present *distance* [m].

    ## Starting State
    The arm hangs straight, at rest, no muscle activated. The target lies where the tip of an arm of constant curvature
    would be that is bent by 0.25 to 0.55 rad in any direction and stretched by -2 % to 6 %. With `target_speed` above 0
    it then circles the arm's axis at that speed, in a sense drawn from the seed.

    ## Episode End
    Truncation after 50 steps of 20 ms. No termination, but at a score of 0.7 with `terminate_on_success=True`.

    ## Arguments
    The common ones (`pliant.envs.base.TaskEnv`) and `youngs_modulus` [Pa], `poissons_ratio`, `density` [kg/m^3],
    `muscle_strength` [Pa], `activation_time` [s], `damping` [1/s], `target_speed` [m/s], `speed_weight`,
    `action_weight`.

    ## Version History
    - v0: first version.
    """

    summary = "bend a soft arm with four muscles until its tip reaches a point and stays there"
    success_score = 0.7
    horizon = 50
    step_time = 0.02
    substeps = {"small": 32, "full": 64}
    Config = Config

    def make_scene(self) -> Scene:
        config, cell = self.config, CELL[self.resolution]
        self.activation_time = config.activation_time
        spacing = cell / 2
        position = fill_cylinder(BASE - [0.0, 0.0, LENGTH], RADIUS, LENGTH + CLAMP, spacing)
        around = np.arctan2(position[:, 1] - BASE[1], position[:, 0] - BASE[0])
        arm = Body(
            name="arm",
            position=position,
            volume=spacing**3,
            material="neo_hookean",
            youngs_modulus=config.youngs_modulus,
            poissons_ratio=config.poissons_ratio,
            density=config.density,
            muscle_group=np.round(around / (np.pi / 2)).astype(int) % MUSCLES,
            fibre_direction=(0.0, 0.0, 1.0),
            muscle_strength=config.muscle_strength,
        )
        rim = round((DOMAIN[2] - CEILING) / cell)
        walls = Walls(kind=["slip"] * 5 + ["sticky"], thickness=rim)
        grid = [round(edge / cell) for edge in DOMAIN]
        return Scene(dim=3, grid=grid, cell=cell, bodies=[arm], walls=walls, damping=config.damping)

    def make_action(self) -> dict[str, np.ndarray]:
        return {"muscle_activation": np.eye(MUSCLES)}

    def make_designs(self) -> dict[str, Design]:
        below = (CEILING - self.scene.position[:, 2]) / LENGTH
        segment = np.clip(np.floor(below * SEGMENTS), 0, SEGMENTS - 1).astype(int)
        return {"segment_youngs_modulus": Design("youngs_modulus", segment)}

    def make_observation(self) -> list[Observed]:
        position = self.scene.position
        tip = np.flatnonzero(position[:, 2] < CEILING - 0.9 * LENGTH)
        around = [(RADIUS, 0.0), (0.0, RADIUS), (-RADIUS, 0.0), (0.0, -RADIUS)]
        points = [(x, y, -LENGTH * (k + 1) / SEGMENTS) for k in range(SEGMENTS) for x, y in around]
        samples = nearest(position, BASE + np.array(points))
        follow = f.PathOffset if self.config.target_speed else f.Offset
        self.offset: f.Feature = follow("offset", f.centre(tip, 3, name="tip"), "target")
        self.rest = position[tip].mean(axis=0)
        self.tip_velocity = f.mean_velocity(tip, 3)
        moving = [Observed(f.PathValue("target_velocity", 3))] if self.config.target_speed else []
        return [
            Observed(f.centre(tip, 3, name="tip"), scale=LENGTH, offset=BASE),
            Observed(self.tip_velocity),
            Observed(f.Rows("samples", "position", samples, 3), scale=LENGTH, offset=np.tile(BASE, len(samples))),
            Observed(self.offset, scale=LENGTH),
            Observed(f.Rows("activation", "activation", range(MUSCLES), 1)),
            Observed(f.Phase()),
            *moving,
        ]

    def make_reward(self) -> list[Term]:
        return [
            Term(f.Distance("distance", self.offset), -1.0 / LENGTH),
            Term(f.SquaredNorm("tip_speed", self.tip_velocity), -self.config.speed_weight),
            Term(f.action_cost(MUSCLES), -self.config.action_weight),
        ]

    def make_score(self) -> Score:
        distance = f.Distance("distance", self.offset)
        if not self.config.target_speed:
            return Score(distance, goal=0.0)
        return Score(distance, goal=0.0, relative_to=f.Distance("from_rest", f.PathValue("from_rest", 3)))

    def make_measures(self) -> list[f.Feature]:
        return [f.Distance("distance", self.offset)] if self.config.target_speed else []

    def make_goal(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        angle, direction = rng.uniform(*BEND), rng.uniform(0.0, 2.0 * np.pi)
        length = 0.95 * LENGTH * rng.uniform(*STRETCH)  # the tip's centre lies half a tip above the end
        radius, down = length * (1.0 - np.cos(angle)) / angle, length * np.sin(angle) / angle
        speed = self.config.target_speed
        if not speed:
            return {"target": BASE + np.array([radius * np.cos(direction), radius * np.sin(direction), -down])}
        rate = rng.choice([-1.0, 1.0]) * speed / radius  # [rad/s]
        turned = direction + rate * self.step_time * np.arange(self.horizon + 1)
        across = np.stack([np.cos(turned), np.sin(turned), np.zeros_like(turned)], axis=1)
        along = np.stack([-np.sin(turned), np.cos(turned), np.zeros_like(turned)], axis=1)
        target = BASE + [0.0, 0.0, -down] + radius * across
        return {"target": target, "target_velocity": rate * radius * along, "from_rest": target - self.rest}

    def picture(self, goal: Mapping[str, np.ndarray]) -> dict[str, Any]:
        target = goal["target"]
        if self.config.target_speed:
            target = target[min(int(goal["step"]), self.horizon)]
        return {"markers": [(target, 0.02, (0.2, 0.6, 0.3))]}
