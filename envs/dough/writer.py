"""Writer: draw a stroke into a sheet of dough with a vertical pen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pliant.envs import features as f
from pliant.envs.dough.dough_task import DoughConfig, PressingTask
from pliant.envs.task import Observed
from pliant.sims.mpm.scene import Scene
from pliant.sims.shapes.shapes import Capsule

SHEET = np.array([0.054, 0.042, 0.015])  # edges of the dough [m]
MIDDLE = (0.063, 0.057)  # of the sheet, on the table [m]
PEN, HALF_LENGTH = 0.008, 0.012  # radius and half length of the pen [m]
GAP = 0.0005  # between pen and dough at the start [m]
SPEED = 0.1  # of the pen [m/s]
START = np.array([-0.012, 0.0])  # of the stroke, relative to the middle [m]
LENGTH = (0.022, 0.026)  # of the stroke along x [m]
SIDE = 0.01  # largest distance of the stroke's middle and end from its start along y [m]
DEPTH = 0.011  # of the stroke [m]
PIECES = 5  # straight pieces of the demonstrated stroke


@dataclass(frozen=True)
class Config(DoughConfig):
    yield_stress: float = 100.0  # [Pa]
    tool_friction: float = 0.3
    table_friction: float = 0.9
    density_weight: float = 10.0
    outside_weight: float = 10.0


class Writer(PressingTask):
    """
    ## Description
    A sheet of elastoplastic dough (5.4 x 4.2 x 1.5 cm; von Mises) lies on a table under a vertical pen. The goal is to
    draw a curved stroke into it. After the Writer task of PlasticineLab (Huang et al. 2021), in SI units and at the
    size of a hand.

    ## Action Space
    `Box(-1, 1, (3,), float32)`

    | Num | Action | Min | Max | Unit |
    | --- | --- | --- | --- | --- |
    | 0-2 | velocity of the pen | -1 | 1 | 0.1 m/s |

    ## Observation Space
    `Box(-10, 10, (54,), float32)`; usual values lie within [-1, 1].

    | Num | Observation | Unit |
    | --- | --- | --- |
    | 0-2 | centre of the dough, relative to the point on the table below its start | 5 cm |
    | 3-5 | mean velocity of the dough | 0.1 m/s |
    | 6-41 | twelve particles, relative to the same point | 5 cm |
    | 42-44 | position of the pen's middle, relative to the same point | 5 cm |
    | 45-48 | middle and end of the stroke (x, y), relative to the same point | 5 cm |
    | 49-51 | previous action (the pen's velocity) | - |
    | 52-53 | sin and cos of pi t / T | - |

    ## Rewards
    - *density*: minus ten times the mismatch of densities, which is between 0 (target reached) and 1 (disjoint).
    - *outside*: minus ten times the mean distance of the dough from the target, in widths of the pen (1.6 cm).
    - *contact*: minus 0.1 times the distance of the pen from the dough, in its widths.

    `info["reward_terms"]` holds them by name; the reward is their sum. `info["score"]` is the incremental soft
    intersection over union (IoU - IoU_0) / (1 - IoU_0) of dough and target, clipped to [0, 1].

    ## Starting State
    The sheet lies on the table, the tip of the pen half a millimetre above the start of the stroke. The seed draws one
    of 16 targets: what remains when the pen has gone down 11 mm and along a parabola, 2.2 to 2.6 cm long in x, whose
    middle and end lie up to 1 cm to either side. Dough hardly moves (1 mm/s, at random, drawn from the seed).

    ## Episode End
    Truncation after 40 steps of 20 ms. No termination, but at a score of 0.75 with `terminate_on_success=True`.

    ## Arguments
    The common ones (`pliant.envs.base.TaskEnv`) and `youngs_modulus` [Pa], `poissons_ratio`, `density` [kg/m^3],
    `yield_stress` [Pa], `tool_friction`, `table_friction`, `density_weight`, `outside_weight`, `contact_weight`.

    ## Version History
    - v0: first version.
    """

    summary = "draw a stroke into a sheet of dough with a vertical pen"
    success_score = 0.75
    horizon = 40
    Config = Config
    domain = (0.126, 0.114, 0.108)
    unit = 2 * PEN
    speed = SPEED

    def make_scene(self) -> Scene:
        self.origin = self.on_table(*MIDDLE)
        dough = self.dough(self.block(SHEET))
        above = self.origin + [*START, SHEET[2] + GAP + PEN + HALF_LENGTH]
        return self.table_scene([dough], [self.tool("pen", Capsule(PEN, HALF_LENGTH), above)])

    def make_observation(self) -> list[Observed]:
        goal = Observed(f.GoalValue("stroke", 4), scale=self.scale)
        return self.observe([goal], origin=self.origin, speed=SPEED)

    def make_demonstration(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        length, (bend, side) = rng.uniform(*LENGTH), rng.uniform(-SIDE, SIDE, size=2)
        middle, end = START + [length / 2, bend], START + [length, side]
        t = np.linspace(0.0, 1.0, PIECES + 1)[:, None]  # the parabola through start, middle and end
        stroke = START * (1 - t) * (1 - 2 * t) + middle * 4 * t * (1 - t) + end * t * (2 * t - 1)
        down = ([0.0, 0.0, -GAP - DEPTH], 0.06)
        along = [([*piece, 0.0], 0.06) for piece in np.diff(stroke, axis=0)]
        points = self.demonstrate([down, *along, ([0.0, 0.0, 0.02], SPEED)])
        return {"stroke": np.concatenate([middle, end]), "points": points, **self.target_shape(points)}

    def camera_box(self) -> tuple[np.ndarray, np.ndarray]:
        return self.origin - [0.034, 0.03, 0.0], self.origin + [0.034, 0.03, 0.05]
