"""Where the rod solver keeps things: header entries, records of a node's state, parameters and working memory.

Everything is counted by node. Node i is a vertex; with i > 0 it also stands for the edge that joins it to its parent,
and, if the parent has a parent, for the joint between the parent's edge and its own.
"""

from __future__ import annotations

from pliant.sims.solver import ROD_HEADER

(
    COUNT,
    STATE_AT,
    HISTORY_AT,
    NODE_AT,
    WORLD_AT,
    CONTROL_AT,
    PARENT_AT,
    GRIP_AT,
    LOCAL_AT,
    NUMBERS_AT,
    SYSTEM_AT,
    MAX_ITERATIONS,
    SECOND_ORDER,
    SCALED,
    SCALE_AT,
    FORCED,
    FORCE_AT,
) = range(ROD_HEADER, ROD_HEADER + 17)

# A node's state: position, velocity, first director of its edge; the same of the step before; strains of its joint
# (two curvatures and the twist) now and before.
POSITION, VELOCITY, DIRECTOR, OLD_POSITION, OLD_VELOCITY, STRAIN, OLD_STRAIN = range(0, 21, 3)
STATE_RECORD = 21

# A node's parameters.
REST_LENGTH, MASS, STRETCH, BEND, TWIST, CURVATURE, NATURAL_TWIST = 0, 1, 2, 3, 5, 6, 8
BEND_DAMPING, TWIST_DAMPING, DRAG, QUADRATIC_DRAG = 9, 10, 11, 12
NODE_PARAMETERS = 13
# Parameters of the whole world: gravity, stiffness of contact.
GRAVITY, CONTACT_STIFFNESS, WORLD_PARAMETERS = 0, 3, 4

# Factors of all parameters of a kind, less one: a control, if the scene is scaled.
BEND_SCALE, TWIST_SCALE, MASS_SCALE, DAMPING_SCALE, SCALES = 0, 1, 2, 3, 4

# Numbers that do not change, after the grips' local coordinates: radius, width of the contact's onset, friction speed,
# mean length of an edge, lengths in units of rest lengths at which an edge is torn.
RADIUS, ONSET, FRICTION_SPEED, EDGE_LENGTH, LONGEST_STRETCH = range(5)
LOCAL_RECORD = 6  # position and director in the frame of the effector

# How a node is held (``GRIP_AT``): by effector k >= 0, free, or driven by the control number DRIVEN - grip.
FREE, DRIVEN = -1, -2

# Working memory of a node: blocks of the linear system with itself, its parent and its grandparent, right-hand side,
# diagonal entries before elimination; for the adjoint a copy of these to be factored (its solution is the multiplier),
# derivatives of the strains, cotangents of the unknowns, cotangent of the old state.
BLOCK, PARENT_BLOCK, GRAND_BLOCK, RIGHT, SIZES, SYSTEM = 0, 16, 32, 48, 52, 56
FACTORS, DERIVATIVES, SEED, COTANGENT, WORK_RECORD = 56, 112, 136, 140, 161
MULTIPLIER = FACTORS + RIGHT
