"""Where the gel solver keeps things: records of nodes, cells, frames, pairs and bodies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pliant.sims.fields import Entries

TOO_DEEP, TOO_CLOSE, COLLAPSED = 20, 21, 22
"""Codes of the failures of gels."""

MOST_POISSON = 0.495
"""Largest Poisson ratio: at 0.5 Lame's constants are infinite."""

FORWARD, ADJOINT = "newton", "multiplier"
"""Names of the two linear systems: of a step of Newton's iteration, and of the adjoint. They share the matrix."""


@dataclass(frozen=True)
class Setup:
    """What the compiled functions of gels depend on.

    Attributes:
        at: where the gels keep things, see ``GelPart.needs``.
        fp: the floating-point type.
        eff: where the effectors keep things.
        kinds: kinds of the shapes that occur, of effectors and bodies.
        has_bodies: whether there are rigid bodies.
        has_others: whether there are several gels.
        device: many threads share sums (a GPU).
    """

    at: Entries
    fp: Any
    eff: Entries
    kinds: tuple[int, ...]
    has_bodies: bool
    has_others: bool
    device: bool


# A node's state: displacement from its place at rest, in the frame of its mount; velocity in the world's axes.
DISPLACEMENT, VELOCITY, NODE_STATE = 0, 3, 6

# A body's state: position, quaternion, velocity, angular velocity.
BODY_POSITION, BODY_ORIENTATION, BODY_VELOCITY, BODY_SPIN, BODY_STATE = 0, 3, 7, 10, 13

# A gel's parameters, a body's, and those of the contact of the whole world.
YOUNG, POISSON, DENSITY, VISCOSITY, GEL_PARAMETERS = 0, 1, 2, 3, 4
MASS, INERTIA, BODY_FRICTION, BODY_PARAMETERS = 0, 1, 4, 5
GRAVITY, STIFFNESS, TANGENT, DAMPING, WORLD_PARAMETERS = 0, 3, 4, 5, 6

# Constants of a tetrahedron: gradients of its four shape functions, volume.
GRADIENTS, VOLUME, TET_RECORD = 0, 12, 13
CELL_NODES, CELL_TETS = 8, 6

# Scratch of a node: place at the start of the step in the world, place where inertia would take it (a displacement);
# residual; scale of its unknowns.
START, FREE_GOAL, RESIDUAL, SCALE, NODE_WORK = 0, 3, 6, 9, 12

# Scratch of a cell: forces on its nodes, cofactor sums, second derivatives (8 x 8 blocks of 3 x 3, those on and above
# the diagonal), strains of its tetrahedra at the start of the step, their deformation gradients.
CELL_FORCE, CELL_SPREAD, CELL_BLOCKS, CELL_BEFORE, CELL_NOW, CELL_WORK = 0, 24, 48, 624, 678, 732

# Scratch of a pair of a point and a shape. Its geometry, in the world's axes: whether it is near, gap, normal, gap at
# the start, stretch of the stick spring as it is carried along. What the law answers: whether there is a force or a
# stiffness, force on the point, minus its derivative by the relative displacement, new stretch, what is kept of the
# normal force and its derivative by that; cotangent of the relative displacement.
PAIR_NEAR, PAIR_GAP, PAIR_NORMAL, PAIR_GAP_BEFORE, PAIR_CARRIED_STRETCH = 0, 1, 2, 5, 6
PAIR_ACTIVE, PAIR_FORCE, PAIR_STIFFNESS, PAIR_STRETCH, PAIR_KEPT, PAIR_KEPT_SLOPE = 9, 10, 13, 22, 25, 26
PAIR_SEED, PAIR_WORK = 27, 30

# Coupling of a node of the surface with the unknowns of a body: whether there is one, 3 x 6 numbers.
IS_COUPLED, COUPLING, COUPLING_WORK = 0, 1, 19

# Scratch of a point: place at the start and where its mount or body carries it (in the world); force on it, and minus
# its derivative, in the axes of its mount (of a body's point: of the world). In a reverse sweep cotangents: of the
# place at the start, of where it is carried, and of its displacement. Whether any shape is near it.
POINT_START, POINT_CARRIED, POINT_FORCE, POINT_STIFFNESS = 0, 3, 6, 9
POINT_START_BAR, POINT_CARRIED_BAR, POINT_MOVE_BAR, POINT_NEAR, POINT_WORK = 18, 21, 24, 27, 28

# Scratch of a body: predicted pose, increments (displacement and turn), residual, scales, dense block, multiplier.
PREDICTED, INCREMENT, BODY_RESIDUAL, BODY_SCALE, BODY_BLOCK, BODY_WORK = 0, 7, 13, 19, 25, 61
UNKNOWNS_OF_BODY = 6

# State of a pair: stretch of the stick spring in the frame of the shape, what is kept of the normal force.
STRETCH, NORMAL_FORCE, PAIR_STATE = 0, 3, 4

# Partial sums: cotangents of a frame's pose at the end (or predicted) and at the start: position, matrix each.
END_POSITION, END_MATRIX, START_POSITION, START_MATRIX, FRAME_SUMS = 0, 3, 12, 15, 24
# Partial sums of parameters: stiffnesses and damping of contact, gravity, then the friction of each shape.
SUM_STIFFNESS, SUM_GRAVITY, SUM_FRICTION = 0, 3, 6
# Partial sums of a gel: force and torque of a step.
GEL_SUMS = 6

# Newton's iteration of a world: its mode, rounds, whether the exact matrix is used, how often the length of a step was
# changed, the share of the direction that is to be kept, the share that was taken, the slope along it and what is
# wished of it; the shares between which the right one lies, and the slopes there (HIGH is 0 where none was too long).
MODE, ROUNDS, EXACT, RETREATS, KEPT, SHARE, SLOPE, WISH = range(8)
LOW, HIGH, LOW_SLOPE, HIGH_SLOPE, NEWTON_WORK = range(8, 13)
SOLVING, RETREATING, DONE = 0, 1, 2
