"""Poses of what gels are mounted on and touch: effectors, and rigid bodies as their velocities would carry them."""

from functools import cache
from types import SimpleNamespace

from pliant.sims.fem import places
from pliant.sims.fem.places import Setup
from pliant.sims.fields import PARTIAL, PARTIAL_OFFSET, STATE, TEAM
from pliant.sims.math.access import access_functions
from pliant.sims.math.rotation import rotation_functions
from pliant.sims.robot.effector_places import P_POSE, P_SIZE, POSE
from pliant.sims.runtime import ti


@cache
def frame_functions(setup: Setup) -> SimpleNamespace:
    """Taichi functions of a frame f: effector f, or body f - (number of effectors).

    ``end(mem, b, row_out, f)``, ``start(mem, b, row_in, f)``: position and rotation matrix at the end of a step (of a
    body: predicted) and at its start.  ``add_end``, ``add_start``: add to their cotangents, in member c's sums.
    ``work_of(mem, b, k)``: where body k's scratch begins.
    """
    at, fp, eff = setup.at, setup.fp, setup.eff
    access = access_functions(fp, setup.device)
    load3, load4, add3, add = access.load3, access.load4, access.add3, access.add
    rotation = rotation_functions(fp)

    @ti.func
    def work_of(mem: ti.template(), b, k):
        """Where the scratch of body k begins."""
        h = ti.static(mem.integers)
        return h[at.body_work] + (b * h[at.bodies] + k) * places.BODY_WORK

    @ti.func
    def pose_at(mem: ti.template(), row, f):
        """Where the pose of frame f begins in a row of the state."""
        h = ti.static(mem.integers)
        o = row * h[STATE] + h[eff.pose] + f * POSE
        if f >= h[eff.count]:
            o = row * h[STATE] + h[at.body_state] + (f - h[eff.count]) * places.BODY_STATE
        return o

    @ti.func
    def start(mem: ti.template(), b, row_in, f):
        """Position and rotation matrix at the start of the step."""
        o = pose_at(mem, row_in, f)
        return load3(mem.frames, o), rotation.matrix(load4(mem.frames, o + 3))

    @ti.func
    def end(mem: ti.template(), b, row_out, f):
        """Position and rotation matrix at the end of the step; of a body as its velocities would carry it."""
        h = ti.static(mem.integers)
        o = pose_at(mem, row_out, f)
        p = load3(mem.frames, o)
        q = load4(mem.frames, o + 3)
        if ti.static(setup.has_bodies):
            if f >= h[eff.count]:
                w = work_of(mem, b, f - h[eff.count]) + places.PREDICTED
                p, q = load3(mem.scratch, w), load4(mem.scratch, w + 3)
        return p, rotation.matrix(q)

    @ti.func
    def sums_of(mem: ti.template(), b, c, f):
        """Where member c's sums of frame f begin."""
        h = ti.static(mem.integers)
        return h[PARTIAL_OFFSET] + (b * h[TEAM] + c) * h[PARTIAL] + h[at.frame_sums] + f * places.FRAME_SUMS

    @ti.func
    def add_pose(mem: ti.template(), o, p_bar, R_bar):
        """Adds cotangents of a position and a matrix to the sums at o."""
        add3(mem.scratch, o, p_bar)
        for i in ti.static(range(3)):
            for j in ti.static(range(3)):
                add(mem.scratch, o + 3 + 3 * i + j, R_bar[i, j])

    @ti.func
    def add_end(mem: ti.template(), b, c, f, p_bar, R_bar):
        """Adds to the cotangents of a frame at the end of the step."""
        add_pose(mem, sums_of(mem, b, c, f) + places.END_POSITION, p_bar, R_bar)

    @ti.func
    def add_start(mem: ti.template(), b, c, f, p_bar, R_bar):
        """Adds to the cotangents of a frame at the start of the step."""
        add_pose(mem, sums_of(mem, b, c, f) + places.START_POSITION, p_bar, R_bar)

    @ti.func
    def take(mem: ti.template(), b, f, which):
        """The cotangents of a frame, of all members, which are emptied."""
        h = ti.static(mem.integers)
        p_bar = ti.Vector.zero(fp, 3)
        R_bar = ti.Matrix.zero(fp, 3, 3)
        for m in range(h[TEAM]):
            o = sums_of(mem, b, m, f) + which
            p_bar += load3(mem.scratch, o)
            for i in ti.static(range(3)):
                mem.scratch[o + i] = fp(0.0)
                for j in ti.static(range(3)):
                    R_bar[i, j] += mem.scratch[o + 3 + 3 * i + j]
                    mem.scratch[o + 3 + 3 * i + j] = fp(0.0)
        return p_bar, R_bar

    @ti.func
    def settle_effectors(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """Gives effectors first to stop - 1 the cotangents of their poses: at the end to the state's, at the start to
        their own partial sums."""
        h = ti.static(mem.integers)
        for f in range(first, stop):
            p_bar, R_bar = take(mem, b, f, places.END_POSITION)
            q_bar = rotation.matrix_adjoint(load4(mem.frames, pose_at(mem, row_out, f) + 3), R_bar)
            o = b * h[STATE] + h[eff.pose] + f * POSE
            add3(mem.adjoint, o, p_bar)
            for d in ti.static(range(4)):
                mem.adjoint[o + 3 + d] = mem.adjoint[o + 3 + d] + q_bar[d]
            p_bar, R_bar = take(mem, b, f, places.START_POSITION)
            q_bar = rotation.matrix_adjoint(load4(mem.frames, pose_at(mem, row_in, f) + 3), R_bar)
            o = h[PARTIAL_OFFSET] + b * h[TEAM] * h[PARTIAL] + h[eff.partial] + f * P_SIZE + P_POSE
            add3(mem.scratch, o, p_bar)
            for d in ti.static(range(4)):
                mem.scratch[o + 3 + d] = mem.scratch[o + 3 + d] + q_bar[d]

    @ti.func
    def clear(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """Empties member c's sums of frames first to stop - 1."""
        for f in range(first, stop):
            o = sums_of(mem, b, c, f)
            for k in range(places.FRAME_SUMS):
                mem.scratch[o + k] = fp(0.0)

    return SimpleNamespace(
        work_of=work_of,
        pose_at=pose_at,
        start=start,
        end=end,
        add_end=add_end,
        add_start=add_start,
        take=take,
        settle_effectors=settle_effectors,
        clear=clear,
    )
