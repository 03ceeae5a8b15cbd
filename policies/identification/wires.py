"""From a wire's parameters to a prediction of a recording, and back from errors to gradients of the parameters.

A wire is a tree of edges (`pliant.sims.rod`) of unit mean density: recordings of motion tell stiffness by mass only.
Its clamped vertices follow the recording; frames 0 and 1 give position and velocity, and, as all that is known of how
this wire lies this time (markers that have slid, a set that it has taken), part of its rest lengths and natural
curvatures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np

from pliant.envs.rods.grips import check_grip, held_neighbours
from pliant.envs.rods.wires.parameter_files import REFERENCE, RodParameters, Setup, across
from pliant.envs.rods.wires.recordings import Recording, mean_lengths
from pliant.sims.rod.rod import Grip, Rod
from pliant.sims.rod.scene import RodScene
from pliant.sims.rod.solver import LONGEST_STRETCH
from pliant.sims.rod.topology import carried_directors, check_folds, edges, joint_lengths, strains, vertex_shares
from pliant.sims.world import World

GRAVITY = 9.81


def initial_parameters(recordings: Sequence[Recording], grip: str = "direction") -> RodParameters:
    """Where a fit begins: a straight wire of middling stiffness with the mean edge lengths of the recordings.

    Args:
        recordings: of one wire.
        grip: what a gripper with a single clamped vertex holds, one of ``grips.GRIPS``.
    """
    first = recordings[0]
    n = len(first.parents)
    lengths = mean_lengths(recordings)
    return RodParameters(
        first.object,
        {
            "bend_stiffness": np.full(n, 0.02),
            "twist_stiffness": np.full(n, 0.02),
            "stretch_stiffness": 2e3,
            "bend_damping": 0.06,
            "twist_damping": 0.06,
            "drag": 0.2,
            "quadratic_drag": 0.02,
            "rest_length": lengths,
            "natural_curvature": np.zeros((n, 2)),
            "natural_twist": np.zeros(n),
            "mass_factor": np.ones(n),
            "gravity": np.array([0.0, 0.0, -GRAVITY]),
            "length_memory": 0.0,
            "shape_memory": np.zeros(n),
        },
        setup=setup_of(recordings, grip),
    )


def setup_of(recordings: Sequence[Recording], grip: str) -> Setup:
    """How recordings of one wire were made.

    Raises:
        ValueError: ``grip`` is unknown.
    """
    first = recordings[0]
    assert first.branch is not None
    shapes, parents = np.stack([r.positions[:2] for r in recordings]), first.parents
    director = carried_directors(shapes[:, 1], parents, REFERENCE)
    tangent = edges(shapes[:, 1], parents)[0][:, 1]
    turns = []
    for shape, t, m in zip(shapes[:, 1], tangent, director[:, 1], strict=True):
        side = across(t, shape[first.clamped[-1]] - shape[0])
        turns.append(np.arctan2(np.cross(side, m) @ t, side @ m))
    length = first_lengths(shapes, parents).mean(axis=0)
    bend = strains(shapes[:, 1], director, parents)[..., :2].mean(axis=0)
    return Setup(
        parents,
        first.branch,
        first.clamped,
        check_grip(grip),
        roll=float(np.angle(np.mean(np.exp(1j * np.array(turns))))),
        curvature=bend / joint_lengths(mean_lengths(recordings), parents)[:, None],
        length=length,
    )


def check_start(recordings: Sequence[Recording], parameters: RodParameters) -> None:
    """Raise ``ValueError`` if recordings are not of one wire held in one way, or a wire with these parameters cannot
    start as a recording does; the message names the recording. Nothing is simulated."""
    first = recordings[0]
    for other in recordings[1:]:
        alike = np.array_equal(other.parents, first.parents) and np.array_equal(other.clamped, first.clamped)
        if not alike or other.dt != first.dt:
            raise ValueError(f"recordings {first.name!r} and {other.name!r} are not of one wire held in one way")
    rest, n = np.asarray(parameters.values.get("rest_length", ()), float), len(first.parents)
    if rest.size and rest.shape != (n,):
        raise ValueError(f"parameters are of {rest.size} vertices, the recording has {n}")
    parameters.check_complete()
    if parameters.setup is not None:
        parameters.setup.check_same_wire(first)
    memory = float(parameters.values["length_memory"])
    for recording in recordings:
        found = first_lengths(recording.positions[None], recording.parents)[0]
        now = edges(recording.positions[1], recording.parents)[1]
        stretched = np.flatnonzero(now[1:] > LONGEST_STRETCH * ((1 - memory) * rest + memory * found)[1:]) + 1
        if len(stretched):
            i = int(stretched[0])
            raise ValueError(
                f"recording {recording.name}: vertices {recording.parents[i]} and {i} are {now[i]:.3g} m apart in "
                f"frame 1; the edge between them has rest length {rest[i]:.3g} m and may stretch "
                f"{LONGEST_STRETCH:g}-fold"
            )
        check_folds(f"recording {recording.name}, frame 1", recording.positions[1], recording.parents)


def first_lengths(positions: np.ndarray, parents: np.ndarray) -> np.ndarray:
    """Mean lengths of the edges in frames 0 and 1 of positions (B, T, n, 3), (B, n) [m]; the first as the second."""
    lengths = edges(positions[:, :2], parents)[1].mean(axis=1)
    lengths[:, 0] = lengths[:, 1]
    return lengths


def predict(recordings: Sequence[Recording], parameters: RodParameters, *, precision: str = "f32") -> list[np.ndarray]:
    """Open-loop predictions of recordings of one wire, each (T, n, 3) [m]; frames 0 and 1 are the recording's.

    Raises:
        ValueError: see `check_start`.
        SimulationDiverged: the step does not converge with these parameters.
    """
    check_start(recordings, parameters)
    longest = max(len(r.positions) for r in recordings)
    predictor = Predictor(recordings, grip=parameters.grip, precision=precision)
    positions = predictor.run(parameters.values, longest)
    return [positions[k, : len(r.positions)].copy() for k, r in enumerate(recordings)]


class Predictor:
    """Predicts recordings of one wire, side by side in one World, and goes back from errors to the parameters.

    Args:
        recordings: of one wire, held in one way.
        grip: what a gripper with a single clamped vertex holds, one of ``grips.GRIPS``.

    Attributes:
        recorded: (B, T, n, 3) [m], the last frame repeated after the end of shorter recordings.
        known: where ``recorded`` was measured, (B, T, n).
        held: vertices that move as given: those clamped, and those that move along with one of these.
    """

    def __init__(
        self,
        recordings: Sequence[Recording],
        *,
        grip: str = "direction",
        precision: str = "f32",
        differentiable: bool = False,
    ) -> None:
        first = recordings[0]
        self.parents, self.clamped, self.dt = first.parents, first.clamped, first.dt
        longest = max(len(r.positions) for r in recordings)
        ends = [(0, longest - len(r.positions)) for r in recordings]
        self.recorded = np.stack(
            [np.pad(r.positions, (end, (0, 0), (0, 0)), "edge") for r, end in zip(recordings, ends, strict=True)]
        )
        self.known = np.stack([np.pad(r.known, (end, (0, 0))) for r, end in zip(recordings, ends, strict=True)])
        batch = len(self.recorded)
        self.held, self.driven = self._grips(grip)
        self.director = carried_directors(self.recorded[:, 1], self.parents, REFERENCE)
        self.first_lengths = first_lengths(self.recorded, self.parents)
        self.first_strains = strains(self.recorded[:, 1], self.director, self.parents)[:, :, :2]
        # Worlds are kept, by the scale of their edges among others, which the solver's tolerance is in proportion to
        scale = round(float(np.log2(mean_lengths(recordings)[1:].mean() / EDGE)))
        self.world = _world(
            tuple(self.parents.tolist()), tuple(self.held.tolist()), batch, self.dt, scale, precision, differentiable
        )

    def _grips(self, grip: str) -> tuple[np.ndarray, np.ndarray]:
        """Vertices that move as given, (h,), and their positions, (B, T, 3 h): those clamped, and, as far from them
        as in frame 1, their `held_neighbours`."""
        positions = {int(v): self.recorded[:, :, v] for v in self.clamped}
        for v, neighbour in held_neighbours(self.parents, self.clamped, grip):
            apart = self.recorded[:, 1, neighbour] - self.recorded[:, 1, v]
            positions[neighbour] = self.recorded[:, :, v] + apart[:, None]
        held = np.array(list(positions))
        return held, np.stack(list(positions.values()), axis=2).reshape(*self.recorded.shape[:2], -1)

    def can_start(self, values: Mapping[str, np.ndarray | float]) -> bool:
        """Whether no edge is torn with these values before the first step."""
        rest = np.asarray(self.physical(values)["rest_length"])
        lengths = edges(self.recorded[:, 1], self.parents)[1]
        return not (lengths[:, 1:] > LONGEST_STRETCH * rest[..., 1:]).any()

    def physical(self, values: Mapping[str, np.ndarray | float]) -> dict[str, np.ndarray]:
        """The World's parameters, each (B, n, ...) or broadcasting to it.

        With w the length memory and a_j the shape memory of joint j: rest lengths are (1 - w) L + w L_first, natural
        curvatures (1 - a_j) k + a_j k_first.
        """
        v = {name: np.asarray(value, float) for name, value in values.items()}
        length, w, a = v["rest_length"], v["length_memory"], v["shape_memory"][:, None]
        share = vertex_shares(length, self.parents)
        first = self.first_strains / joint_lengths(length, self.parents)[:, None]
        return {
            "rest_length": (1 - w) * length + w * self.first_lengths,
            "mass": share * v["mass_factor"],
            "stretch_stiffness": v["stretch_stiffness"],
            "bend_stiffness": v["bend_stiffness"][:, None],
            "twist_stiffness": v["twist_stiffness"],
            "natural_curvature": (1 - a) * v["natural_curvature"] + a * first,
            "natural_twist": v["natural_twist"],
            "bend_damping": v["bend_damping"],
            "twist_damping": v["twist_damping"],
            "drag": v["drag"] * share,
            "quadratic_drag": v["quadratic_drag"] * share,
            "gravity": v["gravity"],
        }

    def run(self, values: Mapping[str, np.ndarray | float], frames: int) -> np.ndarray:
        """Positions (B, frames, n, 3) [m] from frames 0 and 1 on."""
        world = self.world
        world.reset()
        for name, value in self.physical(values).items():
            world.set_parameter(name, value)
        world.set_state("position", self.recorded[:, 1])
        world.set_state("velocity", (self.recorded[:, 1] - self.recorded[:, 0]) / self.dt)
        world.set_state("director", self.director)
        positions = self.recorded[:, :frames].copy()
        for t in range(2, frames):
            world.step(self.driven[:, t])
            positions[:, t] = world.state("position")
        return positions

    def pull_back(self, values: Mapping[str, np.ndarray | float], position_bar: np.ndarray) -> dict[str, np.ndarray]:
        """Cotangents of the values from those of the positions of the last ``run``, (B, frames, n, 3); frames 0 and 1
        are given and have none."""
        world = self.world
        world.begin_adjoint()
        for t in reversed(range(2, position_bar.shape[1])):
            world.load_step(t - 2)
            world.add_state_adjoint("position", position_bar[:, t])
            world.step_adjoint(t - 2)
        world.load_initial()
        bar = {name: world.parameter_adjoint(name).astype(float) for name in self.physical(values)}
        world.end_adjoint()
        return self._chain({name: np.asarray(value, float) for name, value in values.items()}, bar)

    def _chain(self, v: dict[str, np.ndarray], bar: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The adjoint of ``physical``."""
        length, w, a = v["rest_length"], v["length_memory"], v["shape_memory"][:, None]
        share = vertex_shares(length, self.parents)
        joints = joint_lengths(length, self.parents)
        first = self.first_strains / joints[:, None]
        total = {name: b.sum(axis=0) for name, b in bar.items()}
        share_bar = (
            total["mass"] * v["mass_factor"] + total["drag"] * v["drag"] + total["quadratic_drag"] * v["quadratic_drag"]
        )
        joint_bar = -(bar["natural_curvature"] * a * first).sum(axis=(0, 2)) / joints
        length_bar = (1 - w) * total["rest_length"]
        for i in range(1, len(length)):
            p = self.parents[i]
            length_bar[i] += (share_bar[i] + share_bar[p]) / 2
            if p > 0:
                length_bar[i] += joint_bar[i] / 2
                length_bar[p] += joint_bar[i] / 2
        return {
            "bend_stiffness": total["bend_stiffness"].sum(axis=1),
            "twist_stiffness": total["twist_stiffness"],
            "stretch_stiffness": total["stretch_stiffness"].sum(),
            "bend_damping": total["bend_damping"].sum(),
            "twist_damping": total["twist_damping"].sum(),
            "drag": (total["drag"] * share).sum(),
            "quadratic_drag": (total["quadratic_drag"] * share).sum(),
            "rest_length": length_bar,
            "natural_curvature": (1 - a) * total["natural_curvature"],
            "natural_twist": total["natural_twist"],
            "mass_factor": total["mass"] * share,
            "gravity": total["gravity"],
            "length_memory": (bar["rest_length"] * (self.first_lengths - length)).sum(),
            "shape_memory": (bar["natural_curvature"] * (first - v["natural_curvature"])).sum(axis=(0, 2)),
        }


EDGE = 0.1
"""Length of the edges of a World of wires [m], times a power of two near that of the wire; see ``_world``."""


@lru_cache(maxsize=4)
def _world(
    parents: tuple[int, ...],
    clamped: tuple[int, ...],
    batch: int,
    dt: float,
    scale: int,
    precision: str,
    differentiable: bool,
) -> World:
    """A World of such wires; what it is made of is replaced by every ``run``."""
    position = np.zeros((len(parents), 3))
    for i, p in enumerate(parents[1:], start=1):
        position[i] = position[p] + [EDGE * 2.0**scale, 0.0, 0.0]
    rod = Rod(position, parents=np.array(parents))
    scene = RodScene(rod, grips=[Grip(clamped)])
    return World(scene, batch=batch, substeps=1, dt=dt, precision=precision, differentiable=differentiable)
