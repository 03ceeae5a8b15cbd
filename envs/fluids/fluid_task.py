"""What the fluid tasks share: liquids in a tank or in containers, what moves in them, observations.

A new task is a subclass of `FluidTask` that lays out its scene from these words:

    fill(low, high)              lattice of particles, clear of the tank's faces if low lies on them
    liquid(...), paste(...)      bodies: a Newtonian liquid, a Herschel-Bulkley paste
    tool(...)                    effectors: stirrers, paddles, containers; fixed ones come last
    tank_scene(...)              the domain, a rectangular tank, with injectors and drains
    levels = {name: height}      liquids that stand at the start, with the pressure of what is above them
    keep_inside(number, ...)     where actions can take an effector
    twist_matrix(matrix, number) the matrix of "effector_twist" for one effector
    observe(...)                 the compact observation
    surface(rows, depth)         a `GroupDensity` seen from above, for patterns; surface_map(...) a coarse one

and rewards with features of `pliant.envs.features.groups`, which leave out particles that wait in a pool.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from pliant.envs import features as f
from pliant.envs.particles import agitation, fill_box
from pliant.envs.task import Observed, Task, positive
from pliant.sims.mpm.bodies import Body, Walls
from pliant.sims.mpm.scene import Scene
from pliant.sims.mpm.supply.nozzles import Drain, Injector
from pliant.sims.robot.effector import Effector

COFFEE, MILK, WATER = (0.35, 0.22, 0.14), (0.95, 0.90, 0.80), (0.35, 0.60, 0.85)
RIM = 0.018  # from the edge of the domain to the faces of the tank, a cell more than the grid needs [m]
MAP_CELLS = 3  # of an observed map along the longer side of the tank


@dataclass(frozen=True)
class FluidConfig:
    """The numbers of a fluid task; tasks add their own and override the defaults."""

    sound_speed: float = positive(2.0)  # of the weakly compressible liquids, some ten times the fastest flow [m/s]
    tank_friction: float = 0.0  # coefficient of friction of the tank's walls
    tool_friction: float = 0.5  # coefficient of friction of tools and containers


class FluidTask(Task):
    """A task with liquids in a rectangular tank; its methods are the words that the tasks are written in.

    Attributes:
        cell: edge of a grid cell by resolution [m]; `RIM` and `domain` are multiples of both.
        domain: edges of the domain [m]; the tank is `RIM` smaller on each side.
        scale: length that observations are in [m].
        tool_speed: velocity that observed velocities are in [m/s], by default also the largest of the tool along each
            axis.
        agitation: standard deviation of the velocities at the start [m/s] (`pliant.envs.particles.agitation`).
        levels: height of the surface [m] of liquids that stand at the start, by body; `make_scene` sets it.
        picture_top: height [m] up to which pictures show the tank, or None for all of it.
        ghost_count: about how many places of the `ghost` pictures show.
    """

    horizon = 50
    step_time = 0.02
    substeps = {"small": 10, "full": 30}
    Config: ClassVar[type] = FluidConfig
    cell: ClassVar[Mapping[str, float]] = {"small": 0.006, "full": 0.002}
    domain: ClassVar[tuple[float, float, float]]
    scale: ClassVar[float] = 0.05
    tool_speed: ClassVar[float] = 0.2
    agitation: ClassVar[float] = 0.001
    levels: Mapping[str, float] = {}
    picture_top: float | None = None
    ghost_count: ClassVar[int] = 400

    @property
    def spacing(self) -> float:
        """Distance of neighbouring particles [m], half a cell."""
        return self.cell[self.resolution] / 2

    @property
    def middle(self) -> np.ndarray:
        """Middle of the tank's floor [m], shape (3,)."""
        return np.array([self.domain[0] / 2, self.domain[1] / 2, RIM])

    def fill(self, low: Sequence[float] | np.ndarray, high: Sequence[float] | np.ndarray) -> np.ndarray:
        """A lattice of particles [m], shape (N, 3), in a box from ``low`` to ``high`` [m]."""
        return fill_box(low, high, self.spacing)

    def fill_tank(self, depth: float) -> np.ndarray:
        """A lattice of particles [m], shape (N, 3), of all the tank up to ``depth`` [m]."""
        edge = np.array(self.domain)
        return self.fill([RIM, RIM, RIM], [edge[0] - RIM, edge[1] - RIM, RIM + depth])

    def liquid(
        self, name: str, position: np.ndarray, *, density: float = 1000.0, viscosity: float = 1e-3, **look: Any
    ) -> Body:
        """A body of a Newtonian liquid: ``position`` [m], shape (N, 3), ``density`` [kg/m^3], ``viscosity`` [Pa s]."""
        return Body(
            name=name,
            position=position,
            volume=self.spacing**3,
            material="liquid",
            density=density,
            viscosity=viscosity,
            bulk_modulus=density * self.config.sound_speed**2,
            **look,
        )

    def at_rest(self, position: np.ndarray) -> dict[str, np.ndarray]:
        """Initial state of particles at ``position`` [m], shape (N, 3): liquids of `levels` bear what stands above.

        The pressure rho g d at depth d makes det F = (1 + 7 g d / c^2)^(-1/7) (`pliant.sims.mpm.laws.liquid`).
        Without it liquids would first sink, and would not press on the sides of what holds them.
        """
        gradient = np.tile(np.eye(3), (len(position), 1, 1))
        for name, level in self.levels.items():
            depth = np.maximum(level - position[self.scene.group(name), 2], 0.0)
            gradient[self.scene.group(name), 0, 0] = (1 + 7 * 9.81 * depth / self.config.sound_speed**2) ** (-1 / 7)
        return {"deformation_gradient": gradient}

    def at_start(self, position: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Initial state of particles at ``position`` [m], shape (N, 3): `at_rest` but for `agitation`."""
        rest = self.at_rest(position) if self.levels else {}
        return {**rest, "velocity": agitation(self.scene, rng, self.agitation)}

    def make_initial_state(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        return self.at_start(self.scene.position, rng)

    def paste(
        self,
        name: str,
        position: np.ndarray,
        *,
        yield_stress: float,
        consistency: float,
        flow_index: float = 1.0,
        youngs_modulus: float = 5e3,
        density: float = 1000.0,
        **look: Any,
    ) -> Body:
        """A body of a Herschel-Bulkley paste: ``yield_stress`` [Pa], ``consistency`` [Pa s^n], ``flow_index`` n."""
        return Body(
            name=name,
            position=position,
            volume=self.spacing**3,
            material="viscoplastic",
            youngs_modulus=youngs_modulus,
            poissons_ratio=0.3,
            density=density,
            yield_stress=yield_stress,
            viscosity=consistency,
            flow_index=flow_index,
            **look,
        )

    def tool(self, name: str, shape: Any, position: Sequence[float] | np.ndarray, **more: Any) -> Effector:
        """A stirrer, paddle or container [m] with the friction of tools."""
        given = {"friction": self.config.tool_friction, **more}
        return Effector(name, shape, position=np.asarray(position, float).tolist(), **given)

    def tank_scene(
        self,
        bodies: list[Body],
        effectors: list[Effector],
        *,
        injectors: Sequence[Injector] = (),
        drains: Sequence[Drain] = (),
    ) -> Scene:
        """The domain with its tank and all that is in it."""
        cell = self.cell[self.resolution]
        return Scene(
            dim=3,
            grid=[round(edge / cell) for edge in self.domain],
            cell=cell,
            bodies=bodies,
            effectors=effectors,
            walls=Walls(kind="separate", friction=self.config.tank_friction, thickness=round(RIM / cell) + 1),
            injectors=list(injectors),
            drains=list(drains),
        )

    def keep_inside(self, number: int, reach: float | np.ndarray, low: float, high: float) -> None:
        """Keep an effector from squeezing liquid against the tank, which kinematic tools could without limit.

        Args:
            number: of the effector.
            reach: distance [m] that its position keeps from the tank's sides, one or one each for x and y; surfaces
                should end about two cells off, and not on nodes of the grid: rotations have a kink there.
            low, high: heights [m] between which its position stays.
        """
        near = RIM + np.broadcast_to(reach, (2,))
        far = np.array(self.domain[:2]) - near
        self.workspace = {**self.workspace, number: ([*near.tolist(), low], [*far.tolist(), high])}

    def twist_matrix(self, matrix: np.ndarray, number: int = 0) -> np.ndarray:
        """The matrix of "effector_twist" that moves one effector: ``matrix`` has shape (6 or less, action size)."""
        moving = sum(not effector.fixed for effector in self.scene.effectors)
        whole = np.zeros((moving, 6, matrix.shape[1]))
        whole[number, : len(matrix)] = matrix
        return whole.reshape(6 * moving, -1)

    def make_action(self) -> dict[str, np.ndarray]:
        """The velocity of the first effector; tasks that also turn it say so themselves."""
        return {"effector_twist": self.twist_matrix(self.tool_speed * np.eye(6, 3))}

    def camera_box(self) -> tuple[np.ndarray, np.ndarray]:
        upper = np.array(self.domain) - RIM
        if self.picture_top is not None:
            upper[2] = self.picture_top
        return np.full(3, RIM), upper

    def ghost(self, goal: Mapping[str, np.ndarray]) -> np.ndarray | None:
        """Places [m], shape (N, 3), of what the goal looks like in the world, or None."""
        return None

    def picture(self, goal: Mapping[str, np.ndarray]) -> dict[str, Any]:
        places = self.ghost(goal)
        return {} if places is None else {"ghost": places[:: max(len(places) // self.ghost_count, 1)]}

    def rows(self, *bodies: str) -> np.ndarray:
        """Numbers of the particles of some bodies, or of all."""
        names = bodies or [body.name for body in self.scene.bodies]
        everything = np.arange(len(self.scene.position))
        return np.concatenate([everything[self.scene.group(name)] for name in names])

    def surface(self, rows: np.ndarray, depth: float, cell: float | None = None) -> f.GroupDensity:
        """How much of ``depth`` [m] particles take up, seen from above, on nodes over the tank.

        Args:
            rows: the particles.
            depth: what counts as 1 [m].
            cell: spacing of the nodes [m], a whole fraction of the tank's edges; that of the grid by default.
        """
        cell = self.cell[self.resolution] if cell is None else cell
        counts = [round((edge - 2 * RIM) / cell) + 3 for edge in self.domain[:2]]
        group = f.Group(rows, axes=(0, 1))
        return f.GroupDensity(
            group, lower=np.full(2, RIM - cell), cell=cell, counts=counts, volume=self.spacing**3, depth=depth
        )

    def surface_map(self, rows: np.ndarray, depth: float) -> f.GroupDensity:
        """`surface` on few nodes, 6 x 6 over a square tank: what is observed of a pattern."""
        return self.surface(rows, depth, (max(self.domain[:2]) - 2 * RIM) / MAP_CELLS)

    def observe(
        self,
        matter: Sequence[Observed],
        goal: Sequence[Observed],
        *,
        origin: np.ndarray,
        tools: Sequence[int] = (0,),
        turns: bool = False,
    ) -> list[Observed]:
        """``matter``, positions of effectors (with ``turns`` their quaternions too), ``goal``, previous action, clock.

        Args:
            matter: what tells of the liquids.
            goal: what tells of the goal.
            origin: point that positions are relative to [m].
            tools: numbers of the observed effectors.
            turns: whether their orientations are observed.
        """
        place = f.Rows("tools", "effector_position", tools, 3)
        return [
            *matter,
            Observed(place, scale=self.scale, offset=np.tile(origin, len(tools))),
            *([Observed(f.Rows("turns", "effector_orientation", tools, 4))] if turns else []),
            *goal,
            Observed(f.Action(self.action_size)),
            Observed(f.Phase()),
        ]

    def body_motion(self, name: str, origin: np.ndarray) -> list[Observed]:
        """Centre relative to ``origin`` [m] and mean velocity of a body's active particles."""
        group = f.Group(self.rows(name))
        return [
            Observed(f.GroupCentre(f"{name}_centre", group), scale=self.scale, offset=origin),
            Observed(f.GroupVelocity(f"{name}_velocity", group), scale=self.tool_speed),
        ]
