"""Crawler3D: a soft table on four legs that runs along x."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pliant.envs import features as f
from pliant.envs.particles import fill_box, nearest
from pliant.envs.task import Observed, Score, Task, Term, ratio
from pliant.sims.mpm.bodies import Body, Walls
from pliant.sims.mpm.scene import Scene

CELL = {"small": 0.03, "full": 0.015}  # [m]
DOMAIN = (1.5, 0.54, 0.42)  # [m]
FLOOR = 0.09  # [m]
START = (0.15, 0.18)  # low corner of the body [m]
BODY = (0.24, 0.18, 0.06)  # [m]
LEG = (0.06, 0.06, 0.09)  # [m]
LEGS = 4
ACTIONS = 2 * LEGS
DISTANCE = 0.8  # travelled for a score of 1 [m]


@dataclass(frozen=True)
class Config:
    youngs_modulus: float = 7e4  # of the body [Pa]
    poissons_ratio: float = ratio(0.3)  # of the body
    density: float = 1000.0  # of the body [kg/m^3]
    muscle_strength: float = 1.35e4  # stress at full activation [Pa]
    activation_time: float = 0.035  # time constant of the muscles; 0: they obey at once [s]
    friction: float = 0.8  # of the floor
    drift_weight: float = 0.2  # weight of *drift*
    action_weight: float = 0.01  # weight of *action_cost*


class Crawler3D(Task):
    """
    ## Description
    A soft slab (24 x 18 x 6 cm, neo-Hookean) stands on four legs of 9 cm on a floor with friction. Each leg has a
    muscle along its front half and one along its rear half. They follow their excitation, the action, with a delay:
    da/dt = (u - a) / `activation_time` for the activation a. The goal is to run along +x as far as possible. After the
    soft robots on legs of ChainQueen (Hu et al. 2019) and DiffTaichi (Hu et al. 2020), in SI units.

    ## Action Space
    `Box(-1, 1, (8,), float32)`; legs 0 to 3 are rear right, rear left, front right, front left.

    | Num | Action | Min | Max | Unit |
    | --- | --- | --- | --- | --- |
    | 2k | excitation of the rear muscle of leg k (positive contracts) | -1 | 1 | muscle strength |
    | 2k + 1 | front muscle of leg k | -1 | 1 | muscle strength |

    ## Observation Space
    `Box(-10, 10, (52,), float32)`; usual values lie within [-1, 1].

    | Num | Observation | Unit |
    | --- | --- | --- |
    | 0-2 | centre of the body, relative to its start | body length |
    | 3-5 | mean velocity | 1 m/s |
    | 6-29 | positions of the front and rear end of each foot, relative to the start | body length |
    | 30-41 | positions of the upper corners of the slab, relative to the start | body length |
    | 42-49 | activation of the muscles | muscle strength |
    | 50-51 | sin and cos of pi t / T | - |

    ## Rewards
    - *forward*: mean velocity along x [m/s].
    - *drift*: minus 0.2 times the square of the mean velocity along y [m^2/s^2].
    - *action_cost*: minus 0.01 times the mean square of the action.

    `info["reward_terms"]` holds them by name; the reward is their sum. `info["score"]` is the distance that the
    centre of mass has travelled along x, over 0.8 m, clipped to [0, 1].

    ## Starting State
    The body stands on the floor and moves as a whole with a horizontal velocity of up to 2 cm/s along x and y, drawn
    from the seed. No muscle is activated.

    ## Episode End
    Truncation after 60 steps of 20 ms. No termination, but at a score of 0.7 with `terminate_on_success=True`.

    ## Arguments
    The common ones (`pliant.envs.base.TaskEnv`) and `youngs_modulus` [Pa], `poissons_ratio`, `density` [kg/m^3],
    `muscle_strength` [Pa], `activation_time` [s], `friction`, `drift_weight`, `action_weight`.

    ## Version History
    - v0: first version.
    """

    summary = "run along x on four soft legs"
    success_score = 0.7
    horizon = 60
    step_time = 0.02
    substeps = {"small": 20, "full": 40}
    Config = Config

    def make_scene(self) -> Scene:
        config, cell = self.config, CELL[self.resolution]
        self.activation_time = config.activation_time
        spacing = cell / 2
        low = np.array([*START, FLOOR + LEG[2]])
        parts = [fill_box(low, low + BODY, spacing)]
        groups = [np.full(len(parts[0]), -1)]
        reach = np.array(BODY[:2]) - LEG[:2]
        self.leg_corners = [
            np.array([*START, FLOOR]) + [a * reach[0], b * reach[1], 0.0] for a in (0, 1) for b in (0, 1)
        ]
        for k, corner in enumerate(self.leg_corners):
            leg = fill_box(corner, corner + LEG, spacing)
            parts.append(leg)
            groups.append(2 * k + (leg[:, 0] > corner[0] + LEG[0] / 2))
        crawler = Body(
            name="crawler",
            position=np.concatenate(parts),
            volume=spacing**3,
            material="neo_hookean",
            youngs_modulus=config.youngs_modulus,
            poissons_ratio=config.poissons_ratio,
            density=config.density,
            muscle_group=np.concatenate(groups),
            fibre_direction=(0.0, 0.0, 1.0),
            muscle_strength=config.muscle_strength,
        )
        walls = Walls(kind="separate", friction=config.friction, thickness=round(FLOOR / cell))
        return Scene(dim=3, grid=[round(edge / cell) for edge in DOMAIN], cell=cell, bodies=[crawler], walls=walls)

    def make_action(self) -> dict[str, np.ndarray]:
        return {"muscle_activation": np.eye(ACTIONS)}

    def make_observation(self) -> list[Observed]:
        position = self.scene.position
        everything = np.arange(len(position))
        feet = [corner + [x, LEG[1] / 2, 0.0] for corner in self.leg_corners for x in (0.0, LEG[0])]
        top = np.array([*START, FLOOR + LEG[2] + BODY[2]])
        corners = [top + [x, y, 0.0] for x in (0.0, BODY[0]) for y in (0.0, BODY[1])]
        self.middle = f.centre(everything, 3)
        self.velocity = f.mean_velocity(everything, 3)
        start = position.mean(axis=0)
        observed = [Observed(self.middle, scale=BODY[0], offset=start), Observed(self.velocity)]
        for name, points in (("feet", feet), ("corners", corners)):
            samples = nearest(position, np.array(points))
            offset = np.tile(start, len(samples))
            observed.append(Observed(f.Rows(name, "position", samples, 3), scale=BODY[0], offset=offset))
        return [*observed, Observed(f.Rows("activation", "activation", range(ACTIONS), 1)), Observed(f.Phase())]

    def make_reward(self) -> list[Term]:
        sideways = f.Linear("sideways", self.velocity, [0.0, 1.0, 0.0])
        return [
            Term(f.Linear("forward", self.velocity, [1.0, 0.0, 0.0]), 1.0),
            Term(f.SquaredNorm("drift", sideways), -self.config.drift_weight),
            Term(f.action_cost(ACTIONS), -self.config.action_weight),
        ]

    def make_score(self) -> Score:
        start = float(self.scene.position[:, 0].mean())
        return Score(f.Linear("travelled", self.middle, [1.0, 0.0, 0.0]), goal=start + DISTANCE)

    def make_initial_state(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        velocity = np.zeros((len(self.scene.position), 3))
        velocity[:, :2] = rng.uniform(-0.02, 0.02, 2)
        return {"velocity": velocity}

    def camera_box(self) -> tuple[np.ndarray, np.ndarray]:
        return np.array([START[0], START[1], FLOOR]), np.array([START[0] + BODY[0] + DISTANCE, START[1] + BODY[1], 0.3])
