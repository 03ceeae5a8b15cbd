"""Where the rod solver keeps things: records of a node's state, parameters and working memory.

Everything is counted by node. Node i is a vertex; with i > 0 it also stands for the edge that joins it to its parent,
and, if the parent has a parent, for the joint between the parent's edge and its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pliant.sims.fields import Entries

TORN, CROWDED, FOLDED, CUT_SHORT = 20, 21, 22, 23
"""Codes of the failures of a rod."""


@dataclass(frozen=True)
class Setup:
    """What the compiled functions of a rod depend on.

    Attributes:
        at: where the rod keeps things, see ``RodPart.needs``.
        fp: the floating-point type.
        eff: where the effectors keep things, or None.
        shape_kinds: kinds of the effectors' shapes.
        has_self_contact: whether the rod touches itself.
        push: header entries of the forces that another part leaves on the vertices before their step, three floats of
            scratch memory each, and of their cotangents, which the adjoint leaves; or None.
    """

    at: Entries
    fp: Any
    eff: Entries | None = None
    shape_kinds: tuple[int, ...] = ()
    has_self_contact: bool = False
    push: tuple[int, int] | None = None


# A node's state: position, velocity, first director of its edge; the same of the step before; strains of its joint
# (two curvatures and the twist) now and before.
POSITION, VELOCITY, DIRECTOR, OLD_POSITION, OLD_VELOCITY, STRAIN, OLD_STRAIN = range(0, 21, 3)
STATE_RECORD = 21

# A node's parameters.
REST_LENGTH, MASS, STRETCH, BEND, TWIST, CURVATURE, NATURAL_TWIST = 0, 1, 2, 3, 5, 6, 8
BEND_DAMPING, TWIST_DAMPING, DRAG, QUADRATIC_DRAG = 9, 10, 11, 12
NODE_PARAMETERS = 13
# Parameters of the whole world: gravity, stiffness of contact, stiffness and friction of self-contact.
GRAVITY, CONTACT_STIFFNESS, SELF_STIFFNESS, SELF_FRICTION = 0, 3, 4, 5

# Factors of all parameters of a kind, less one: a control, if the scene is scaled.
BEND_SCALE, TWIST_SCALE, MASS_SCALE, DAMPING_SCALE, SCALES = 0, 1, 2, 3, 4

# Numbers that do not change, after the grips' local coordinates: radius, width of the contact's onset, friction speed,
# mean length of an edge, lengths in units of rest lengths at which an edge is torn, width of the onset of self-contact
# in mean radii of two edges.
RADIUS, ONSET, FRICTION_SPEED, EDGE_LENGTH, LONGEST_STRETCH, SELF_ONSET, NUMBERS = range(7)
LOCAL_RECORD = 6  # position and director in the frame of the effector

# How a node is held (``grips``): by effector k >= 0, free, or driven by the control number DRIVEN - grip.
FREE, DRIVEN = -1, -2

# Working memory of a node: blocks of the linear system with itself, its parent and its grandparent, right-hand side,
# diagonal entries before elimination; for the adjoint a copy of these to be factored (its solution is the multiplier),
# derivatives of the strains, cotangents of the unknowns, cotangent of the old state.
BLOCK, PARENT_BLOCK, GRAND_BLOCK, RIGHT, SIZES, SYSTEM = 0, 16, 32, 48, 52, 56
FACTORS, DERIVATIVES, SEED, COTANGENT, WORK_RECORD = 56, 112, 136, 140, 161
MULTIPLIER = FACTORS + RIGHT

# Pairs of edges in contact (``pairs``, integers of each world): how many, 1 if there was no room for more, then
# the two nodes of each. Their floats (``self_work``, of each world): a record a pair (places s and t of the nearest
# points, distance less radii, normal, force, stiffness), the answers of the tree to a unit force on each pair along
# each axis (12 floats a node), the dense system of the pairs (three rows a pair) and its right-hand side.
PAIR_COUNT, PAIRS_LOST, PAIR_HEADER = 0, 1, 2
PLACE_S, PLACE_T, PAIR_GAP, PAIR_NORMAL, PAIR_FORCE, PAIR_STIFFNESS, PAIR_RECORD = 0, 1, 2, 3, 6, 9, 18


def self_contact_work(count: int, capacity: int) -> int:
    """Floats of a world's self-contact, of so many nodes and room for so many pairs."""
    return capacity * (PAIR_RECORD + 12 * count) + 3 * capacity * (3 * capacity + 1)
