"""Walker2D: a soft body on four legs that runs to the right."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pliant.envs import features as f
from pliant.envs.particles import fill_box, nearest
from pliant.envs.task import Observed, Score, Task, Term, ratio
from pliant.sims.mpm.bodies import Body, Walls
from pliant.sims.mpm.scene import Scene

CELL = {"small": 0.03, "full": 0.015}  # [m]
DOMAIN = (1.8, 0.48)  # [m]
FLOOR = 0.09  # [m]
START = 0.14  # left end of the body [m]
BODY = (0.42, 0.09)  # [m]
LEG = (0.06, 0.09)  # [m]
LEGS = 4
ACTIONS = 2 * LEGS
DISTANCE = 0.7  # travelled for a score of 1 [m]


@dataclass(frozen=True)
class Config:
    youngs_modulus: float = 7e4  # of the body [Pa]
    poissons_ratio: float = ratio(0.3)  # of the body
    density: float = 1000.0  # of the body [kg/m^2]
    muscle_strength: float = 1.1e4  # stress at full activation [Pa]
    activation_time: float = 0.04  # time constant of the muscles; 0: they obey at once [s]
    friction: float = 0.8  # of the floor
    action_weight: float = 0.01  # weight of *action_cost*


class Walker2D(Task):
    """
    ## Description
    A two-dimensional soft body (a bar of 42 cm on four legs of 9 cm, neo-Hookean) stands on a floor with friction. Each
    leg has a muscle along its front half and one along its rear half. They follow their excitation, the action, with a
    delay: da/dt = (u - a) / `activation_time` for the activation a. The goal is to run to the right as far as possible.
    After the soft robots on legs of ChainQueen (Hu et al. 2019) and DiffTaichi (Hu et al. 2020), in SI units.

    ## Action Space
    `Box(-1, 1, (8,), float32)`

    | Num | Action | Min | Max | Unit |
    | --- | --- | --- | --- | --- |
    | 2k | rear muscle of leg k from the left (positive contracts) | -1 | 1 | muscle strength |
    | 2k + 1 | front muscle of leg k | -1 | 1 | muscle strength |

    ## Observation Space
    `Box(-10, 10, (42,), float32)`; usual values lie within [-1, 1].

    | Num | Observation | Unit |
    | --- | --- | --- |
    | 0-1 | centre of the body, relative to its start | body length |
    | 2-3 | mean velocity | 1 m/s |
    | 4-19 | positions of both corners of each foot, relative to the start | body length |
    | 20-31 | positions of six points of the bar, relative to the start | body length |
    | 32-39 | activation of the muscles | muscle strength |
    | 40-41 | sin and cos of pi t / T | - |

    ## Rewards
    - *forward*: mean velocity to the right [m/s].
    - *action_cost*: minus 0.01 times the mean square of the action.

    `info["reward_terms"]` holds them by name; the reward is their sum. `info["score"]` is the distance that the
    centre of mass has travelled to the right, over 0.7 m, clipped to [0, 1].

    ## Starting State
    The body stands on the floor and moves as a whole with a horizontal velocity of up to 2 cm/s, drawn from the seed.
    No muscle is activated.

    ## Episode End
    Truncation after 60 steps of 20 ms. No termination, but at a score of 0.7 with `terminate_on_success=True`.

    ## Arguments
    The common ones (`pliant.envs.base.TaskEnv`) and `youngs_modulus` [Pa], `poissons_ratio`, `density` [kg/m^2],
    `muscle_strength` [Pa], `activation_time` [s], `friction`, `action_weight`.

    ## Version History
    - v0: first version.
    """

    summary = "run to the right on four soft legs in the plane"
    success_score = 0.7
    horizon = 60
    step_time = 0.02
    substeps = {"small": 20, "full": 40}
    Config = Config
    picture_size = (768, 256)

    def make_scene(self) -> Scene:
        config, cell = self.config, CELL[self.resolution]
        self.activation_time = config.activation_time
        spacing = cell / 3
        top = FLOOR + LEG[1]
        parts, groups = [fill_box((START, top), (START + BODY[0], top + BODY[1]), spacing)], []
        groups.append(np.full(len(parts[0]), -1))
        self.left_ends = START + (BODY[0] - LEG[0]) * np.arange(LEGS) / (LEGS - 1)
        for k, left in enumerate(self.left_ends):
            leg = fill_box((left, FLOOR), (left + LEG[0], top), spacing)
            parts.append(leg)
            groups.append(2 * k + (leg[:, 0] > left + LEG[0] / 2))
        walker = Body(
            name="walker",
            position=np.concatenate(parts),
            volume=spacing**2,
            material="neo_hookean",
            youngs_modulus=config.youngs_modulus,
            poissons_ratio=config.poissons_ratio,
            density=config.density,
            muscle_group=np.concatenate(groups),
            fibre_direction=(0.0, 1.0),
            muscle_strength=config.muscle_strength,
        )
        walls = Walls(kind="separate", friction=config.friction, thickness=round(FLOOR / cell))
        return Scene(dim=2, grid=[round(edge / cell) for edge in DOMAIN], cell=cell, bodies=[walker], walls=walls)

    def make_action(self) -> dict[str, np.ndarray]:
        return {"muscle_activation": np.eye(ACTIONS)}

    def make_observation(self) -> list[Observed]:
        position = self.scene.position
        everything = np.arange(len(position))
        feet = [(x, FLOOR) for left in self.left_ends for x in (left, left + LEG[0])]
        heights = (FLOOR + LEG[1], FLOOR + LEG[1] + BODY[1])
        bar = [(START + part * BODY[0], y) for part in (0.0, 0.5, 1.0) for y in heights]
        self.middle = f.centre(everything, 2)
        self.velocity = f.mean_velocity(everything, 2)
        start = position.mean(axis=0)
        observed = [Observed(self.middle, scale=BODY[0], offset=start), Observed(self.velocity)]
        for name, points in (("feet", feet), ("bar", bar)):
            samples = nearest(position, points)
            offset = np.tile(start, len(samples))
            observed.append(Observed(f.Rows(name, "position", samples, 2), scale=BODY[0], offset=offset))
        return [*observed, Observed(f.Rows("activation", "activation", range(ACTIONS), 1)), Observed(f.Phase())]

    def make_reward(self) -> list[Term]:
        return [
            Term(f.Linear("forward", self.velocity, [1.0, 0.0]), 1.0),
            Term(f.action_cost(ACTIONS), -self.config.action_weight),
        ]

    def make_score(self) -> Score:
        start = float(self.scene.position[:, 0].mean())
        return Score(f.Linear("travelled", self.middle, [1.0, 0.0]), goal=start + DISTANCE)

    def make_initial_state(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        velocity = np.zeros((len(self.scene.position), 2))
        velocity[:, 0] = rng.uniform(-0.02, 0.02)
        return {"velocity": velocity}
