"""What both ice-cream tasks share: a cone, a dispenser, a paste that flows at a fixed rate, the swirl it should be."""

from __future__ import annotations

import functools
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial import KDTree

from pliant.envs import features as f
from pliant.envs.fluids.fluid_task import FluidConfig, FluidTask
from pliant.envs.particles import fill_box
from pliant.envs.task import Observed, Score, Term
from pliant.sims.mpm.scene import Scene
from pliant.sims.mpm.supply.nozzles import Injector
from pliant.sims.robot.effector import Effector
from pliant.sims.shapes.containers import Cone
from pliant.sims.shapes.shapes import Cylinder

CREAM, WAFER = (0.97, 0.80, 0.78), (0.80, 0.60, 0.36)
CONE = Cone(radius=0.027, depth=0.039, wall=0.012)
RIM_HEIGHT = CONE.height / 2  # of the cone's rim above its position [m]
NOZZLE = Cylinder(0.008, 0.012)
OPENING = 0.021  # of the dispenser below its position, clear of the solid by a cell and a half [m]
BORE = 0.008  # radius of the opening [m]
GAP = 0.009  # between rim and opening, at least [m]
SLACK = 0.001  # of the gap at the start [m]
RISE = 0.036  # by how much the gap can grow [m]
SPEED = 0.25  # of what moves [m/s]
OPENS, CLOSES = 2, 52  # steps between which the dispenser is open
TURNS, PITCH, TUBE = 1.25, 0.013, 0.0075  # of the swirl: coils, rise of a coil and radius of the strand [m]
COILS = (0.018, 0.006)  # radius of the strand's middle line at the lower and at the upper end [m]
TOP = RIM_HEIGHT + PITCH * TURNS + 1.5 * TUBE  # of the swirl above the cone's position [m]
SECTION = 40  # particles that leave the opening together and may take each other's places
LINE_POINTS = 600  # that the middle line is sampled at
VIEW = 0.024  # spacing of the nodes of an observed view [m]
GRAIN = 0.009  # spacing of the nodes on which the shape is compared [m]
SIDE = 0.03  # what the axis that a side view leaves out stands for [m]


@dataclass(frozen=True)
class IceCreamConfig(FluidConfig):
    """The numbers of both tasks: the paste's flow law and the weights of the reward."""

    tank_friction: float = 0.5
    yield_stress: float = 150.0  # stress at which the paste flows [Pa]
    consistency: float = 2.0  # of the Herschel-Bulkley law [Pa s^n]
    flow_index: float = 0.8  # of the Herschel-Bulkley law; below 1 the paste thins as it is sheared
    matched_weight: float = 1.0  # weight of *matched*
    density_weight: float = 1.0  # weight of *density*


@functools.cache
def _upright_swirl(spacing: float) -> np.ndarray:
    """`swirl` of phase 0 and hand 1."""
    edge = CONE.radius + spacing
    lattice = fill_box([-edge, -edge, CONE.floor], [edge, edge, RIM_HEIGHT], spacing)
    lattice = lattice[CONE.holds(lattice)]
    # coils of a spiral that ends where the strand begins; layer by layer, the paste would have to spread by itself
    turned = np.round(np.arctan2(lattice[:, 1], lattice[:, 0]) / (2 * np.pi) % 1.0, 9)
    coil = np.floor(np.round((lattice[:, 2] - RIM_HEIGHT) / PITCH - turned, 9))
    lattice = lattice[np.lexsort((turned, coil))]

    along = np.linspace(0.0, 1.0, LINE_POINTS)
    angle = 2 * np.pi * TURNS * along
    radius = COILS[0] + (COILS[1] - COILS[0]) * along
    line = np.stack([radius * np.cos(angle), radius * np.sin(angle), RIM_HEIGHT + TUBE / 2 + PITCH * TURNS * along], 1)
    wide, top = COILS[0] + TUBE, line[-1, 2] + TUBE
    strand = fill_box([-wide, -wide, RIM_HEIGHT], [wide, wide, top], spacing)
    distance, nearest = KDTree(line).query(strand)
    inside = distance < TUBE
    return np.concatenate([lattice, strand[inside][np.argsort(nearest[inside], kind="stable")]])


def swirl(spacing: float, *, phase: float, hand: float) -> np.ndarray:
    """Places [m], shape (N, 3), of a full cone with a spiral on it, in the cone's frame, in the order of dispensing.

    The order is that of a path that an opening can follow: it winds up in the cone, coil upon coil, and goes on above.

    Args:
        spacing: of the places [m]; their number depends on it alone.
        phase: angle at which the spiral begins [rad].
        hand: 1 for a spiral that rises counter-clockwise, -1 for a clockwise one.
    """
    turn = np.array([[np.cos(phase), np.sin(phase), 0.0], [-np.sin(phase), np.cos(phase), 0.0], [0.0, 0.0, 1.0]])
    return _upright_swirl(spacing) * [1.0, hand, 1.0] @ turn


def assign_places(places: np.ndarray, across: np.ndarray) -> np.ndarray:
    """``places`` (N, 3) in an order that a strand can keep, as it leaves the opening and as it lies.

    Particles that leave the opening one after the other, `SECTION` of them, share as many places. Who leaves it on one
    side gets a place on that side: the assignment with the largest sum of products of both offsets.

    Args:
        places: where the ice cream belongs, in the order of dispensing, shape (N, 3) [m].
        across: where in the opening each particle leaves it, shape (N, 2) [m].
    """
    assigned = np.empty_like(places)
    for part in np.array_split(np.arange(len(places)), max(len(places) // SECTION, 1)):
        offset = places[part, :2] - places[part, :2].mean(axis=0)
        place, particle = linear_sum_assignment(offset @ across[part].T, maximize=True)
        assigned[part[particle]] = places[part[place]]
    return assigned


class IceCream(FluidTask):
    """A task with a cone and a dispenser; subclasses say which of them moves.

    Attributes:
        cone_number, dispenser_number: of the effectors.
        cone_start, opening_start: their places at the start [m], shape (3,).
        flow: of the open dispenser [m^3/s]: all the ice cream is out when it closes.
    """

    Config: ClassVar[type] = IceCreamConfig
    horizon = 60
    step_time = 0.024
    substeps: ClassVar = {"small": 20, "full": 60}
    tool_speed = SPEED
    exogenous: ClassVar = {"injector_flow": "flow"}
    cone_number: ClassVar[int]
    dispenser_number: ClassVar[int]
    cone_start: np.ndarray
    opening_start: np.ndarray

    @abstractmethod
    def place(self) -> None:
        """Set ``cone_start``, ``opening_start`` and the workspace."""

    def make_scene(self) -> Scene:
        self.place()
        config = self.config
        count = len(swirl(self.spacing, phase=0.0, hand=1.0))
        self.flow = count * self.spacing**3 / ((CLOSES - OPENS) * self.step_time)
        hidden = self.cone_start - [0.0, 0.0, RIM_HEIGHT - CONE.wall / 2]  # within the cone's tip
        cream = self.paste(
            "cream",
            np.tile(hidden, (count, 1)),
            yield_stress=config.yield_stress,
            consistency=config.consistency,
            flow_index=config.flow_index,
            youngs_modulus=1e4,
            color=CREAM,
        )
        injector = Injector(
            "dispenser",
            body="cream",
            effector="dispenser",
            radius=BORE,
            max_flow=self.flow,
            nozzle=(0.0, 0.0, -OPENING),
            direction=(0.0, 0.0, -1.0),
        )
        return self.tank_scene([cream], self.two_effectors(), injectors=[injector])

    def two_effectors(self) -> list[Effector]:
        """Cone and dispenser in their order; the second one is fixed."""
        softness = 2.0 / self.cell[self.resolution]
        above = self.opening_start + [0.0, 0.0, OPENING]
        numbers = {self.cone_number: "cone", self.dispenser_number: "dispenser"}
        shapes = {"cone": (CONE, self.cone_start, WAFER), "dispenser": (NOZZLE, above, (0.6, 0.62, 0.65))}
        made = []
        for number in (0, 1):
            shape, position, color = shapes[numbers[number]]
            made.append(self.tool(numbers[number], shape, position, softness=softness, color=color, fixed=number == 1))
        return made

    def view_from(self, axes: Sequence[int]) -> f.GroupDensity:
        """The ice cream in the cone's frame on nodes `VIEW` apart, seen along the axis that ``axes`` leave out."""
        group = f.Group(self.rows("cream"), axes=axes, effector=self.cone_number)
        counts = [5 if axis < 2 else 6 for axis in axes]
        lower = [-2 * VIEW if axis < 2 else -RIM_HEIGHT - VIEW / 4 for axis in axes]
        return f.GroupDensity(group, lower=lower, cell=VIEW, counts=counts, volume=self.spacing**3, depth=SIDE)

    def make_observation(self) -> list[Observed]:
        origin = self.opening_start
        matter = [
            *self.body_motion("cream", origin),
            Observed(f.DensityMap("front", self.view_from((0, 2)))),
            Observed(f.DensityMap("side", self.view_from((1, 2)))),
        ]
        goal = [Observed(f.PathValue("course", 3), scale=self.scale), Observed(f.GoalValue("begin", 3))]
        return self.observe(matter, goal, origin=origin)

    def make_reward(self) -> list[Term]:
        group = f.Group(self.rows("cream"), effector=self.cone_number)
        low = np.array([-CONE.radius, -CONE.radius, CONE.floor]) - 2 * GRAIN
        high = np.array([CONE.radius, CONE.radius, TOP]) + 2 * GRAIN
        counts = np.ceil((high - low) / GRAIN).astype(int) + 1
        self.grid = f.GroupDensity(group, lower=low, cell=GRAIN, counts=counts.tolist(), volume=self.spacing**3)
        self.overlap = f.Overlap(self.grid, "target_density")
        config = self.config
        return [
            Term(f.MatchedDistance("matched", group, "target", smoothing=0.002), -config.matched_weight / CONE.radius),
            Term(f.DensityMatch(self.grid, "target_density"), -config.density_weight),
        ]

    def make_score(self) -> Score:
        return Score(self.overlap, goal=1.0)

    def make_goal(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        phase, hand = rng.uniform(-np.pi, np.pi), rng.choice([-1.0, 1.0])
        places = swirl(self.spacing, phase=phase, hand=hand)
        target = assign_places(places, self.scene.injectors[0].arms(len(places), 3)[:, :2])
        flow = np.zeros((self.horizon, 1))
        flow[OPENS:CLOSES] = self.flow
        middles = np.stack([part.mean(axis=0) for part in np.array_split(places, CLOSES - OPENS)])
        course = middles[np.clip(np.arange(self.horizon + 1) - OPENS, 0, len(middles) - 1)]
        return {
            "target": target,
            "target_density": self.grid.density(target[None])[0],
            "course": course,
            "begin": np.array([np.cos(phase), np.sin(phase), hand]),
            "flow": flow,
        }
