"""What the gathering tasks share: floats on water, a paddle that reaches the water behind them only, observations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pliant.envs import features as f
from pliant.envs.fluids.fluid_task import RIM, WATER, FluidConfig, FluidTask
from pliant.envs.particles import fill_cylinder
from pliant.envs.task import Observed, Score, Term, positive
from pliant.sims.mpm.bodies import Body
from pliant.sims.shapes.shapes import Box

FLOATS = ("first", "second")
FLOAT_COLORS = ((0.95, 0.78, 0.20), (0.90, 0.45, 0.25))
RADIUS, HEIGHT = 0.009, 0.012  # of a float [m]
DEPTH = 0.015  # of the water [m]
CLEARANCE = 0.0033  # of the paddle above the floor at the start [m]
NEAR, SOFTNESS = 0.004, 0.001  # distance from the paddle within which floats count as touched, its border [m]


@dataclass(frozen=True)
class GatheringConfig(FluidConfig):
    """The numbers of a gathering task; ``float_modulus`` is that of their skin (`pliant.sims.mpm.bodies.Body`)."""

    viscosity: float = 0.001  # of the water [Pa s]
    float_density: float = positive(500.0)  # of the floats [kg/m^3]
    float_modulus: float = positive(2000.0)  # Young's modulus of the floats' skin [Pa]
    distance_weight: float = 1.0  # weight of *distance*
    touch_weight: float = 2.0  # weight of *touched*


class GatheringTask(FluidTask):
    """Two rigid floats on water that a paddle moves; the goal array "place" is where to bring them, shape (d,) [m].

    Attributes:
        paddle: the paddle; it stands in the water at the start.
        unit: length that distances are rewarded in [m].
        axes: the axes along which floats have a place to go to, d of them.
        floor: height of the tank's floor above the edge of the domain [m].
        reached: mean distance of the floats' middles from the place that is a score of 1 [m].
        origin: point on the water's surface that positions are relative to [m], shape (3,); `make_scene` sets it.
    """

    Config: ClassVar[type] = GatheringConfig
    horizon = 60
    substeps: ClassVar = {"small": 16, "full": 48}
    agitation: ClassVar[float] = 0.005
    paddle: ClassVar[Box]
    unit: ClassVar[float]
    axes: ClassVar[tuple[int, ...]]
    floor: ClassVar[float] = RIM
    reached: ClassVar[float] = 0.0
    origin: np.ndarray

    @property
    def paddle_height(self) -> float:
        """Of the paddle's middle at the start [m]."""
        return self.floor + CLEARANCE + float(self.paddle.half_extents[2])

    def afloat(self, water: np.ndarray, paddle: np.ndarray, places: np.ndarray) -> list[Body]:
        """Water and floats at rest.

        Args:
            water: particles that fill the tank to `DEPTH` [m], shape (N, 3); those in floats and paddle go.
            paddle: position of the paddle [m], shape (3,).
            places: of the floats' middles, from above [m], shape (2, 2).
        """
        config = self.config
        low = self.floor + DEPTH - HEIGHT * config.float_density / 1000.0  # Archimedes
        free = self.paddle.signed_distance(water - paddle) > self.spacing / 2
        floats = []
        for name, color, place in zip(FLOATS, FLOAT_COLORS, places, strict=True):
            foot = [*place, low]
            away = np.hypot(*(water[:, :2] - place).T)
            free &= (away > RADIUS + self.spacing / 4) | (water[:, 2] < low)
            body = Body(
                name=name,
                position=fill_cylinder(foot, RADIUS, HEIGHT, self.spacing),
                volume=self.spacing**3,
                material="rigid",
                youngs_modulus=config.float_modulus,
                density=config.float_density,
                color=color,
            )
            floats.append(body)
        return [self.liquid("water", water[free], viscosity=config.viscosity, color=WATER), *floats]

    def make_observation(self) -> list[Observed]:
        matter = [part for name in (*FLOATS, "water") for part in self.body_motion(name, self.origin)]
        place = Observed(f.GoalValue("place", len(self.axes)), scale=self.scale, offset=self.origin[list(self.axes)])
        return self.observe(matter, [place], origin=self.origin)

    def make_reward(self) -> list[Term]:
        distances = []
        for name in FLOATS:
            centre = f.GroupCentre(f"{name}_place", f.Group(self.rows(name), axes=self.axes))
            distances.append((0.5, f.Distance(f"{name}_distance", f.Offset(f"{name}_offset", centre, "place"))))
        self.distance = f.WeightedSum("distance", distances)
        both = f.Group(np.concatenate([self.rows(name) for name in FLOATS]), effector=0)
        touched = f.ShareInside("touched", both, self.paddle, softness=SOFTNESS, margin=NEAR)
        return [
            Term(self.distance, -self.config.distance_weight / self.unit),
            Term(touched, -self.config.touch_weight),
        ]

    def make_score(self) -> Score:
        return Score(self.distance, goal=self.reached)
