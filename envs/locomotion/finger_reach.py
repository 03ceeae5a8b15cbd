"""FingerReach: a soft finger that hangs from the ceiling and bends towards a point."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pliant.envs import features as f
from pliant.envs.particles import fill_box, nearest
from pliant.envs.task import Observed, Score, Task, Term, ratio
from pliant.sims.mpm.bodies import Body, Walls
from pliant.sims.mpm.scene import Scene

CELL = {"small": 0.0125, "full": 0.00625}  # [m]
WIDTH, LENGTH, CLAMP = 0.05, 0.20, 0.025  # of the finger; CLAMP is the stretch held by the ceiling [m]
DOMAIN = (0.525, 0.3625)  # [m]
CEILING = 0.3125  # underside of the ceiling [m]
BASE = np.array([DOMAIN[0] / 2, CEILING])
BEND = (0.4, 0.8)  # bending angle at the target [rad]
STRETCH = (0.98, 1.08)  # length of the finger at the target, relative to rest


@dataclass(frozen=True)
class Config:
    youngs_modulus: float = 1e5  # of the finger [Pa]
    poissons_ratio: float = ratio(0.3)  # of the finger
    density: float = 1000.0  # of the finger [kg/m^2]
    muscle_strength: float = 1e4  # stress at full activation [Pa]
    activation_time: float = 0.05  # time constant of the muscles; 0: they obey at once [s]
    damping: float = 10.0  # of all motion, what air and material take from it [1/s]
    action_weight: float = 0.01  # weight of *action_cost*


class FingerReach(Task):
    """
    ## Description
    A two-dimensional soft finger (20 cm long, 5 cm wide, neo-Hookean) hangs from the ceiling, which clamps its upper
    end. Two muscles run along its left and right half. They follow their excitation, the action, with a delay:
    da/dt = (u - a) / `activation_time` for the activation a. The goal is to bring the tip to a point drawn from the
    seed, and to keep it there. After the soft fingers of ChainQueen (Hu et al. 2019), in SI units.

    ## Action Space
    `Box(-1, 1, (2,), float32)`

    | Num | Action | Min | Max | Unit |
    | --- | --- | --- | --- | --- |
    | 0 | excitation of the left muscle (positive contracts) | -1 | 1 | muscle strength |
    | 1 | excitation of the right muscle | -1 | 1 | muscle strength |

    ## Observation Space
    `Box(-10, 10, (26,), float32)`; usual values lie within [-1, 1].

    | Num | Observation | Unit |
    | --- | --- | --- |
    | 0-1 | tip position relative to the base | finger length |
    | 2-3 | tip velocity | 1 m/s |
    | 4-19 | eight particles along both sides, relative to the base | finger length |
    | 20-21 | from tip to target | finger length |
    | 22-23 | activation of the muscles | muscle strength |
    | 24-25 | sin and cos of pi t / T | - |

    ## Rewards
    - *distance*: minus the distance of the tip from the target in finger lengths.
    - *action_cost*: minus 0.01 times the mean square of the action.

    `info["reward_terms"]` holds them by name; the reward is their sum. `info["score"]` is the share of the initial
    distance that has been closed.

    ## Starting State
    The finger hangs straight, at rest, no muscle activated. The target lies where the tip of a finger of constant
    curvature would be that is bent by 0.4 to 0.8 rad to either side and stretched by -2 % to 8 %.

    ## Episode End
    Truncation after 80 steps of 10 ms. No termination, but at a score of 0.8 with `terminate_on_success=True`.

    ## Arguments
    The common ones (`pliant.envs.base.TaskEnv`) and `youngs_modulus` [Pa], `poissons_ratio`, `density` [kg/m^2],
    `muscle_strength` [Pa], `activation_time` [s], `damping` [1/s], `action_weight`.

    ## Version History
    - v0: first version.
    """

    summary = "bend a soft finger with two muscles until its tip reaches a point"
    success_score = 0.8
    horizon = 80
    step_time = 0.01
    substeps = {"small": 25, "full": 50}
    Config = Config

    def make_scene(self) -> Scene:
        config, cell = self.config, CELL[self.resolution]
        self.activation_time = config.activation_time
        spacing = cell / 3
        low, high = BASE - [WIDTH / 2, LENGTH], BASE + [WIDTH / 2, CLAMP]
        position = fill_box(low, high, spacing)
        finger = Body(
            name="finger",
            position=position,
            volume=float(np.prod(high - low)) / len(position),
            material="neo_hookean",
            youngs_modulus=config.youngs_modulus,
            poissons_ratio=config.poissons_ratio,
            density=config.density,
            muscle_group=(position[:, 0] > BASE[0]).astype(int),
            fibre_direction=(0.0, 1.0),
            muscle_strength=config.muscle_strength,
        )
        rim = round((DOMAIN[1] - CEILING) / cell)
        grid = [round(edge / cell) for edge in DOMAIN]
        walls = Walls(kind=("slip", "slip", "slip", "sticky"), thickness=rim)
        return Scene(dim=2, grid=grid, cell=cell, bodies=[finger], walls=walls, damping=config.damping)

    def make_action(self) -> dict[str, np.ndarray]:
        return {"muscle_activation": np.eye(2)}

    def make_observation(self) -> list[Observed]:
        position = self.scene.position
        tip = np.flatnonzero(position[:, 1] < BASE[1] - 0.9 * LENGTH)
        sides = [(side * WIDTH / 2, -part * LENGTH) for side in (-1, 1) for part in (0.25, 0.5, 0.75, 1.0)]
        samples = nearest(position, BASE + np.array(sides))
        self.tip = f.centre(tip, 2, name="tip")
        self.offset = f.Offset("offset", self.tip, "target")
        return [
            Observed(self.tip, scale=LENGTH, offset=BASE),
            Observed(f.mean_velocity(tip, 2)),
            Observed(f.Rows("samples", "position", samples, 2), scale=LENGTH, offset=np.tile(BASE, len(samples))),
            Observed(self.offset, scale=LENGTH),
            Observed(f.Rows("activation", "activation", range(2), 1)),
            Observed(f.Phase()),
        ]

    def make_reward(self) -> list[Term]:
        return [
            Term(f.Distance("distance", self.offset), -1.0 / LENGTH),
            Term(f.action_cost(2), -self.config.action_weight),
        ]

    def make_score(self) -> Score:
        return Score(f.Distance("distance", self.offset), goal=0.0)

    def make_goal(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        angle = rng.uniform(*BEND) * rng.choice([-1.0, 1.0])
        length = 0.95 * LENGTH * rng.uniform(*STRETCH)  # the tip's centre lies half a tip above the end
        arc = np.array([1.0 - np.cos(angle), -np.sin(angle)]) / angle
        return {"target": BASE + length * arc}

    def picture(self, goal: Mapping[str, np.ndarray]) -> dict[str, Any]:
        return {"markers": [(goal["target"], 0.012, (0.2, 0.6, 0.3))]}
