"""How held nodes of a rod move: with an effector, as parts of its rigid body, or along positions given as a control."""

from functools import cache
from types import SimpleNamespace
from typing import Any

from pliant.sims.fields import CONTROL, STATE, SUBSTEPS
from pliant.sims.math.access import access_functions
from pliant.sims.math.rotation import rotation_functions
from pliant.sims.robot.effector_places import POSE
from pliant.sims.rod import places
from pliant.sims.rod.places import Setup
from pliant.sims.runtime import ti


@cache
def clamp_functions(setup: Setup) -> SimpleNamespace:
    """Taichi functions of one floating-point type.

    ``target(mem, b, r_out, i, x, substep)``: where held node i, now at x, is at the end of the substep: with effector
    k at p + R r, a driven one a straight way towards its control, which it reaches at the end of the step.
    ``target_adjoint(..., x_bar)``: hands the cotangent on to the pose or the control and returns that of x.
    ``held_director(mem, r_out, i)``: R m of an edge that effector k holds at both ends; ``held_director_adjoint``.
    """
    at, fp, has_effectors = setup.at, setup.fp, setup.eff is not None
    eff: Any = setup.eff
    vec3 = ti.types.vector(3, fp)
    rotation = rotation_functions(fp)
    access = access_functions(fp)
    load3, load4, add3 = access.load3, access.load4, access.add3

    @ti.func
    def grip(mem: ti.template(), i):
        """What holds node i: an effector's number, FREE, or DRIVEN and below for the driven ones."""
        return mem.integers[mem.integers[at.grips] + i]

    @ti.func
    def turns_with_effector(mem: ti.template(), i):
        """Whether one effector holds both ends of node i's edge."""
        return grip(mem, i) >= 0 and grip(mem, i) == grip(mem, mem.integers[mem.integers[at.parents] + i])

    @ti.func
    def pose_of(mem: ti.template(), row, i):
        """Where the pose of the effector that holds node i starts in a row."""
        return row * mem.integers[STATE] + mem.integers[eff.pose] + grip(mem, i) * POSE

    @ti.func
    def orientation(mem: ti.template(), pose):
        """Quaternion of the pose that starts at ``pose``."""
        return load4(mem.frames, pose + 3)

    @ti.func
    def local(mem: ti.template(), i):
        """Where node i's place and director in its effector's frame are."""
        return mem.integers[at.local] + i * places.LOCAL_RECORD

    @ti.func
    def control_of(mem: ti.template(), b, i):
        """Where the target of driven node i is among the controls."""
        return b * mem.integers[CONTROL] + mem.integers[at.driven] + 3 * (places.DRIVEN - grip(mem, i))

    @ti.func
    def share(mem: ti.template(), substep):
        """Part of what is left of the way that a substep covers."""
        return 1 / ti.cast(mem.integers[SUBSTEPS] - substep, fp)

    @ti.func
    def target(mem: ti.template(), b, r_out, i, x, substep):
        """Position at the end of the substep: p + R r with an effector, x + share (control - x) if driven, else x."""
        result = x
        if grip(mem, i) <= places.DRIVEN:
            result += share(mem, substep) * (load3(mem.controls, control_of(mem, b, i)) - x)
        if ti.static(has_effectors):
            if grip(mem, i) >= 0:
                pose = pose_of(mem, r_out, i)
                R = rotation.matrix(orientation(mem, pose))
                result = load3(mem.frames, pose) + R @ load3(mem.constants, local(mem, i))
        return result

    @ti.func
    def turn_pose(mem: ti.template(), b, r_out, i, R_bar):
        """Adds (dR/dq)^T R_bar to the cotangent of the pose that holds node i."""
        q_bar = rotation.matrix_adjoint(orientation(mem, pose_of(mem, r_out, i)), R_bar)
        pose_bar = pose_of(mem, b, i)
        for d in ti.static(range(4)):
            mem.adjoint[pose_bar + 3 + d] = mem.adjoint[pose_bar + 3 + d] + q_bar[d]

    @ti.func
    def target_adjoint(mem: ti.template(), b, r_out, i, substep, x_bar):
        """Adds to the cotangents of pose or control; returns that of x."""
        # x' = x + a (c - x);  or x' = p + R(q) r: p_bar = x'_bar, R_bar = x'_bar r'
        result = vec3(0)
        if grip(mem, i) <= places.DRIVEN:
            part = share(mem, substep)
            add3(mem.control_adjoint, control_of(mem, b, i), part * x_bar)
            result = (1 - part) * x_bar
        if ti.static(has_effectors):
            if grip(mem, i) >= 0:
                add3(mem.adjoint, pose_of(mem, b, i), x_bar)
                turn_pose(mem, b, r_out, i, x_bar.outer_product(load3(mem.constants, local(mem, i))))
        return result

    @ti.func
    def held_director(mem: ti.template(), r_out, i):
        """Director R m of the edge of node i that an effector holds at both ends."""
        return rotation.matrix(orientation(mem, pose_of(mem, r_out, i))) @ load3(mem.constants, local(mem, i) + 3)

    @ti.func
    def held_director_adjoint(mem: ti.template(), b, r_out, i, m_bar):
        """Adds m_bar's share, R_bar = m_bar m^T, to the cotangent of the pose."""
        turn_pose(mem, b, r_out, i, m_bar.outer_product(load3(mem.constants, local(mem, i) + 3)))

    return SimpleNamespace(
        turns_with_effector=turns_with_effector,
        target=target,
        target_adjoint=target_adjoint,
        held_director=held_director,
        held_director_adjoint=held_director_adjoint,
    )
