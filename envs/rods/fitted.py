"""Fitted wires in tasks: the rod that parameters from recordings describe, hung up between two grippers."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np

from pliant.envs.rods.cables import hanging_shape
from pliant.envs.rods.wires.parameter_files import REFERENCE, RodParameters, Setup, across, load_parameters
from pliant.sims.rod.rod import Rod
from pliant.sims.rod.topology import edges, vertex_shares

SHORTEST = 5  # vertices of a cable that two grippers hold by an edge each, with one between them
RADIUS = 0.005  # of a wire [m], or a fifth of its shortest edge
LEAN, TURN = 0.3, 2.4  # of a branch from the vertical, and from one branch to the next about it [rad]
FITTED = ("bend_stiffness", "twist_stiffness", "relaxation_time", "drag")
"""What a fitted wire brings of a `CableConfig`."""


def load_wire(path_or_name: str, config: Any) -> tuple[RodParameters, Setup]:
    """The parameters that a task's keyword ``wire`` names, and how the wire was recorded.

    Raises:
        ValueError: there are none, they are not complete, or ``config`` has another value for one of them.
    """
    try:
        parameters = load_parameters(path_or_name)
        parameters.check_complete()
        if parameters.setup is None:
            raise ValueError(f"the file does not say what {parameters.object!r} is made of: fit the wire anew")
    except ValueError as error:
        raise ValueError(f"wire={path_or_name!r}: {error}") from error
    defaults = {field.name: field.default for field in fields(type(config))}
    for name in FITTED:
        if getattr(config, name, None) != defaults.get(name):
            raise ValueError(f"{name}={getattr(config, name)!r}: wire={path_or_name!r} brings its own; leave it out")
    return parameters, parameters.setup


def trunk_length(setup: Setup, wire: str) -> int:
    """Number of vertices of the rod that the grippers hold; they are the first ones of the wire.

    Raises:
        ValueError: they are not the first ones, or there are too few of them.
    """
    trunk = np.flatnonzero(setup.branch == 0)
    count = len(trunk)
    if not np.array_equal(trunk, np.arange(count)) or not np.array_equal(setup.parents[:count], trunk - 1):
        raise ValueError(f"wire={wire!r}: the vertices of its first rod must come first, from end to end")
    if count < SHORTEST:
        raise ValueError(f"wire={wire!r}: {count} vertices between the grippers; at least {SHORTEST} are needed")
    return count


def hanging_wire(parameters: RodParameters, setup: Setup, count: int, span: float, height: float) -> np.ndarray:
    """Vertices (n, 3) [m] of a wire that hangs between two grippers.

    The first ``count`` vertices lie in a bow along x, whose ends are ``span`` apart at z = ``height`` [m]. Branches
    hang down, each tilted in another direction.
    """
    lengths = np.asarray(parameters.values["rest_length"])
    position = np.zeros((len(lengths), 3))
    position[:count] = hanging_shape(count, lengths[1:count], span, height)
    for i in range(count, len(lengths)):
        turn = TURN * setup.branch[i]
        way = [np.sin(LEAN) * np.cos(turn), np.sin(LEAN) * np.sin(turn), -np.cos(LEAN)]
        position[i] = position[setup.parents[i]] + lengths[i] * np.array(way)
    return position


def fitted_rod(
    parameters: RodParameters, setup: Setup, position: np.ndarray, density: float, *, as_recorded: bool = False
) -> Rod:
    """The rod that fitted parameters describe, at ``position`` (n, 3) [m].

    From recordings all stiffnesses, masses and drags are known up to one factor only, the wire's mean mass per length,
    ``density`` [kg/m]. Gravity is vertical. Where rest lengths and natural curvatures differ from recording to
    recording, their mean is taken.

    Args:
        as_recorded: the director of the first edge is that of the recordings, for a wire that lies as it did there;
            otherwise it is turned with the wire, which lies along x.
    """
    v = {name: np.asarray(value, float) for name, value in parameters.values.items()}
    length, curvature = v["rest_length"], v["natural_curvature"]
    share = vertex_shares(length, setup.parents)
    if setup.length is not None:
        length = length + v["length_memory"] * (setup.length - length)
    if setup.curvature is not None:
        curvature = curvature + v["shape_memory"][:, None] * (setup.curvature - curvature)
    director: Any = REFERENCE
    if not as_recorded:
        tangent = edges(position, setup.parents)[0][1]
        side = across(tangent, np.array([1.0, 0.0, 0.0]))
        director = np.cos(setup.roll) * side + np.sin(setup.roll) * np.cross(tangent, side)
    return Rod(
        position,
        parents=setup.parents,
        mass=density * share * v["mass_factor"],
        bend_stiffness=density * v["bend_stiffness"],
        twist_stiffness=density * v["twist_stiffness"],
        stretch_stiffness=density * float(v["stretch_stiffness"]),
        rest_length=length,
        natural_strain=np.concatenate([curvature, v["natural_twist"][:, None]], axis=1),
        bend_damping=float(v["bend_damping"]),
        twist_damping=float(v["twist_damping"]),
        drag=density * float(v["drag"]) * share,
        quadratic_drag=density * float(v["quadratic_drag"]) * share,
        radius=min(RADIUS, float(v["rest_length"][1:].min()) / 5),
        director=director,
    )
