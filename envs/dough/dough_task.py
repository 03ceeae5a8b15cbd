"""What the dough tasks share: a von Mises body on a table, the tools, the target as a density, observations."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from scipy.spatial import cKDTree

from pliant.envs import features as f
from pliant.envs.particles import agitation, fill_box, spread
from pliant.envs.task import Observed, Score, Task, Term, ratio
from pliant.sims.mpm.bodies import Body, Walls
from pliant.sims.mpm.scene import Scene
from pliant.sims.robot.effector import Effector

CELL = {"small": 0.006, "full": 0.003}  # [m]
TABLE = 0.018  # height of the table above the edge of the domain [m]
OFF_NODES = (0.0007, 0.0011)  # moves scenes along x and y, so that no surface or axis of a tool starts on nodes [m]
SAMPLES = 12  # particles that are observed
ALONG_X = (np.sqrt(0.5), 0.0, np.sqrt(0.5), 0.0)  # turns a tool's own z axis to x (a quarter turn about y)
ALONG_Y = (np.sqrt(0.5), np.sqrt(0.5), 0.0, 0.0)  # turns a tool's own z axis to y (a quarter turn about x)


@dataclass(frozen=True)
class DoughConfig:
    """The numbers of a dough task; tasks override the defaults."""

    youngs_modulus: float = 5e3  # of the dough [Pa]
    poissons_ratio: float = ratio(0.2)  # of the dough
    density: float = 300.0  # of the dough [kg/m^3]
    yield_stress: float = 200.0  # von Mises stress at which the dough flows [Pa]
    tool_friction: float = 0.9  # coefficient of friction of the tools
    table_friction: float = 0.2  # coefficient of friction of the table
    density_weight: float = 1.0  # weight of *density*
    outside_weight: float = 1.0  # weight of *outside*
    contact_weight: float = 0.1  # weight of *contact*


class DoughTask(Task):
    """A task with dough on a table; its methods are the words that the tasks are written in.

    Attributes:
        domain: edges of the domain [m].
        unit: length that distances are rewarded in [m].
        scale: length that observations are in [m].
        agitation: standard deviation of the velocities at the start [m/s] (`pliant.envs.particles.agitation`).
        variants: number of goals, for tasks whose goals are demonstrated.
        origin: middle of the dough on the table [m], shape (3,); `make_scene` sets it.
    """

    horizon = 50
    step_time = 0.02
    substeps = {"small": 20, "full": 40}
    Config = DoughConfig
    domain: ClassVar[tuple[float, float, float]]
    unit: ClassVar[float]
    scale: ClassVar[float] = 0.05
    agitation: ClassVar[float] = 0.001
    variants: ClassVar[int] = 16
    origin: np.ndarray

    def __init__(self, **options: Any) -> None:
        self._goals: dict[int, dict[str, np.ndarray]] = {}
        super().__init__(**options)

    @property
    def spacing(self) -> float:
        """Distance of neighbouring particles [m]."""
        return CELL[self.resolution] / 2

    def on_table(self, x: float, y: float) -> np.ndarray:
        """The point about (x, y) [m] on which dough rests: half a cell below the surface nodes of the table.

        A tool whose surface, seam or axis is exactly on nodes of the grid would start at a kink of the return.
        """
        return np.array([x + OFF_NODES[0], y + OFF_NODES[1], TABLE - CELL[self.resolution] / 2])

    def dough(self, position: np.ndarray, name: str = "dough", **look: Any) -> Body:
        """A body of dough with particles at ``position`` [m], shape (N, 3)."""
        config = self.config
        return Body(
            name=name,
            position=position,
            volume=self.spacing**3,
            material="von_mises",
            youngs_modulus=config.youngs_modulus,
            poissons_ratio=config.poissons_ratio,
            density=config.density,
            yield_stress=config.yield_stress,
            **look,
        )

    def tool(self, name: str, shape: Any, position: np.ndarray, **more: Any) -> Effector:
        """A manipulator with the friction of tools."""
        return Effector(name, shape, position=position.tolist(), friction=self.config.tool_friction, **more)

    def table_scene(self, bodies: list[Body], effectors: list[Effector]) -> Scene:
        """The domain with its table, dough and tools."""
        cell = CELL[self.resolution]
        walls = Walls(kind="separate", friction=self.config.table_friction, thickness=round(TABLE / cell))
        grid = [round(edge / cell) for edge in self.domain]
        return Scene(dim=3, grid=grid, cell=cell, bodies=bodies, effectors=effectors, walls=walls)

    @property
    def rows(self) -> np.ndarray:
        """Numbers of all particles."""
        return np.arange(len(self.scene.position))

    def make_initial_state(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        return {"velocity": agitation(self.scene, rng, self.agitation)}

    def observe(
        self, goal: Sequence[Observed], *, origin: np.ndarray, speed: float, tools: Sequence[int] = (0,)
    ) -> list[Observed]:
        """Centre and mean velocity of each body, sampled particles, tools, ``goal``, previous action, clock.

        Args:
            goal: what tells of the goal.
            origin: point that positions are relative to [m].
            speed: velocity that velocities are in [m/s].
            tools: numbers of the observed effectors.
        """
        scene, samples = self.scene, spread(len(self.scene.position), SAMPLES)
        bodies = [self.rows[scene.group(body.name)] for body in scene.bodies]
        return [
            *(Observed(f.centre(rows, 3), scale=self.scale, offset=origin) for rows in bodies),
            *(Observed(f.mean_velocity(rows, 3), scale=speed) for rows in bodies),
            Observed(f.Rows("samples", "position", samples, 3), scale=self.scale, offset=np.tile(origin, SAMPLES)),
            Observed(
                f.Rows("tools", "effector_position", tools, 3), scale=self.scale, offset=np.tile(origin, len(tools))
            ),
            *goal,
            Observed(f.Action(self.action_size)),
            Observed(f.Phase()),
        ]

    def density_grid(self) -> f.DensityGrid:
        """The volume fraction of all dough on the nodes of the domain."""
        return f.DensityGrid(
            lower=np.zeros(3), cell=self.scene.cell, counts=self.scene.grid, rows=self.rows, volume=self.spacing**3
        )

    def density_term(self) -> Term:
        """Mismatch of densities; makes ``self.grid``."""
        self.grid = self.density_grid()
        return Term(f.DensityMatch(self.grid, "target_density"), -self.config.density_weight)

    def target_terms(self) -> list[Term]:
        """Mismatch of densities and distance from the target, in units of `unit`; makes ``self.grid``."""
        return [
            self.density_term(),
            Term(f.TargetDistance(self.grid, "target_distance"), -self.config.outside_weight / self.unit),
        ]

    def contact_terms(self, tools: dict[int, np.ndarray]) -> list[Term]:
        """Distance of tools from dough, in units of `unit`: the particles that each effector is for, by its number."""
        terms = []
        for number, rows in tools.items():
            effector = self.scene.effectors[number]
            distance = f.SurfaceDistance(
                number,
                effector.shape,
                rows,
                sharpness=2.0 / self.scene.cell,
                smoothing=0.1 * self.unit,
                name=f"contact_{effector.name}" if len(tools) > 1 else "contact",
            )
            terms.append(Term(distance, -self.config.contact_weight / self.unit))
        return terms

    def make_score(self) -> Score:
        return Score(f.Overlap(self.grid, "target_density"), goal=1.0)

    def block(self, edges: np.ndarray, foot: np.ndarray | None = None) -> np.ndarray:
        """Particles [m], shape (N, 3), of an upright box; ``foot``: middle of its lower face, else ``self.origin``."""
        below = self.origin if foot is None else foot
        flat = np.array([0.5, 0.5, 0.0])
        return fill_box(below - edges * flat, below + edges * (1.0 - flat), self.spacing)

    def target_density(self, points: np.ndarray) -> np.ndarray:
        """The target as a density, shape (1, node count): the dough spread evenly over ``points`` [m], shape (n, 3)."""
        return self.grid.density(points[None]) * (len(self.scene.position) / len(points))

    def target_shape(self, points: np.ndarray) -> dict[str, np.ndarray]:
        """Goal arrays of `target_terms`: the density, and the distance [m] of each node from ``points``."""
        nodes = np.stack(np.meshgrid(*(np.arange(n) for n in self.scene.grid), indexing="ij"), axis=-1)
        beyond = cKDTree(points).query(nodes.reshape(-1, 3) * self.scene.cell)[0] - self.spacing
        return {"target_distance": np.maximum(beyond, 0.0), "target_density": self.target_density(points)[0]}

    def make_demonstrated_goal(
        self, rng: np.random.Generator, demonstrate: Callable[[np.random.Generator], dict[str, np.ndarray]]
    ) -> dict[str, np.ndarray]:
        """One of ``variants`` goals; each is made when it is first drawn, by ``demonstrate`` from its own generator."""
        variant = int(rng.integers(self.variants))
        if variant not in self._goals:
            self._goals[variant] = demonstrate(np.random.default_rng(variant))
        return dict(self._goals[variant])

    def demonstrate(self, path: Sequence[tuple[Sequence[float] | np.ndarray, float]]) -> np.ndarray:
        """The particles [m], shape (N, 3), that remain when the first tool has gone along a path.

        Goals of tasks that press dough are made this way: what dough does under a tool has no formula.

        Args:
            path: displacements [m] of the tool, one after the other, and the speed of each [m/s].
        """
        from pliant.sims.world import World

        substeps = self.substeps[self.resolution]
        world = World(self.scene, substeps=substeps, dt=self.dt, precision="f32")
        twist = np.zeros((1, world.control_size))
        at = world.control_layout["effector_twist"].start
        for displacement, speed in path:
            away = np.asarray(displacement, float)
            steps = max(round(float(np.linalg.norm(away)) / (speed * self.step_time)), 1)
            twist[0, at : at + 3] = away / (steps * self.step_time)
            for _ in range(steps):
                world.step(twist)
        position = world.state("position")[0].astype(float)
        world.close()
        return position


class PressingTask(DoughTask):
    """Dough under one tool that moves freely; the goal is what the tool leaves behind in a demonstration.

    Attributes:
        speed: largest velocity of the tool along each axis [m/s].
    """

    speed: ClassVar[float]

    @abstractmethod
    def make_demonstration(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Goal arrays of one variant: "points" (`demonstrate`), those of `target_shape`, and what is observed."""

    def pressed(self) -> np.ndarray:
        """Particles that the tool is for."""
        return self.rows

    def make_action(self) -> dict[str, np.ndarray]:
        return {"effector_twist": self.speed * np.eye(6, 3)}

    def make_reward(self) -> list[Term]:
        return [*self.target_terms(), *self.contact_terms({0: self.pressed()})]

    def make_goal(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        return self.make_demonstrated_goal(rng, self.make_demonstration)

    def picture(self, goal: Mapping[str, np.ndarray]) -> dict[str, Any]:
        return {"ghost": goal["points"]}
