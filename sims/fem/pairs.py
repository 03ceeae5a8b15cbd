"""Points and the shapes that they may touch: forces in a step, and their adjoint.

Points are the nodes of the gels' surfaces, then points on the surfaces of rigid bodies; shapes are effectors, then rigid
bodies. A pair's geometry is taken where the point is carried by its mount or its body, in the frame of the shape:

    y = R_e^T (x* - p_e),  y_0 = R_0^T (x_0 - p_0),  phi(y), n(y),  g_0 = phi(y_0),  s_0 + y - y_0,  w = R_e^T W,

W being what the unknowns of the step add to the relative displacement: R_m (u - u_0) of a node, d + theta x r of a
body, r being the arm from its centre to x*. The force of ``contact_law.py`` acts on the point and, reversed, on the shape
at x*: equal and opposite, with one line of action.
"""

from functools import cache
from types import SimpleNamespace
from typing import Any

from pliant.sims.fem import places
from pliant.sims.fem.contact_law import law_functions
from pliant.sims.fem.frames import frame_functions
from pliant.sims.fem.places import Setup
from pliant.sims.fields import DT, PARAMETER, PARTIAL, PARTIAL_OFFSET, STATE, TEAM
from pliant.sims.math.access import access_functions
from pliant.sims.runtime import ti
from pliant.sims.shapes.shape_kernels import RECORD_SIZE, shape_functions


@cache
def pair_functions(setup: Setup) -> SimpleNamespace:
    """Taichi functions of point i and shape k of world b.

    ``work_of``, ``state_of``: where a pair's scratch and its state begin.  ``frame_of(mem, k)``: the shape's frame.
    ``evaluate(mem, b, i, k, row_in, row_out, x_start, x_carried, W)``: force and stiffness, to the pair's scratch.
    ``conclude(...)``: the same, and the pair's new state.  ``pull_back(...)``: see there.
    """
    at, fp, eff = setup.at, setup.fp, setup.eff
    vec = ti.types.vector(3, fp)
    access = access_functions(fp, setup.device)
    load3, store3, add = access.load3, access.store3, access.add
    frames = frame_functions(setup)
    law = law_functions(fp)
    shapes = shape_functions(fp, setup.kinds)

    @ti.func
    def work_of(mem: ti.template(), b, i, k):
        """Where the scratch of a pair begins."""
        h = ti.static(mem.integers)
        return h[at.pair_work] + ((b * h[at.points] + i) * h[at.shapes] + k) * places.PAIR_WORK

    @ti.func
    def state_of(mem: ti.template(), row, i, k):
        """Where the state of a pair begins in a row."""
        h = ti.static(mem.integers)
        return row * h[STATE] + h[at.pair_state] + (i * h[at.shapes] + k) * places.PAIR_STATE

    @ti.func
    def frame_of(mem: ti.template(), k):
        """Which frame shape k moves with."""
        h = ti.static(mem.integers)
        return h[h[at.shape_frames] + k]

    @ti.func
    def record_of(mem: ti.template(), k):
        """Where the record of shape k begins, and its bounding radius."""
        h = ti.static(mem.integers)
        f = frame_of(mem, k)
        o = h[eff.shapes] + f * RECORD_SIZE
        radius_at = h[eff.shapes] + h[eff.count] * RECORD_SIZE + f
        if f >= h[eff.count]:
            o = h[at.body_shapes] + (f - h[eff.count]) * RECORD_SIZE
            radius_at = h[at.body_shapes] + h[at.bodies] * RECORD_SIZE + f - h[eff.count]
        return o, mem.constants[radius_at]

    @ti.func
    def friction_at(mem: ti.template(), b, k):
        """Where the friction coefficient of shape k lies."""
        h = ti.static(mem.integers)
        f = frame_of(mem, k)
        o = b * h[PARAMETER] + h[eff.friction] + f
        if f >= h[eff.count]:
            body = b * h[PARAMETER] + h[at.body_parameters] + (f - h[eff.count]) * places.BODY_PARAMETERS
            o = body + places.BODY_FRICTION
        return o

    @ti.func
    def surface(mem: ti.template(), b, i, k, row_in, row_out, x_start, x_carried):
        """Whether the pair can touch; place, gap, normal, gap before, stretch carried along, all in the shape's frame."""
        h = ti.static(mem.integers)
        is_near = h[h[at.allowed] + i * h[at.shapes] + k] == 1
        y, y_start, n = vec(0), vec(0), vec([0, 0, 1])
        phi, before = fp(1.0), fp(1.0)
        stretch = vec(0)
        if is_near:
            f = frame_of(mem, k)
            p, R = frames.end(mem, b, row_out, f)
            y = R.transpose() @ (x_carried - p)
            o, radius = record_of(mem, k)
            reach = radius + mem.constants[at.reach]
            is_near = y.dot(y) < reach * reach
            if is_near:
                phi, n = shapes.distance(mem.constants, o, y)
                is_near = phi < mem.constants[at.reach]
                if is_near:
                    p_start, R_start = frames.start(mem, b, row_in, f)
                    y_start = R_start.transpose() @ (x_start - p_start)
                    before, _n = shapes.distance(mem.constants, o, y_start)
                    stretch = load3(mem.frames, state_of(mem, row_in, i, k) + places.STRETCH) + y - y_start
        return is_near, y, y_start, phi, n, before, stretch

    @ti.func
    def coefficients(mem: ti.template(), b, i, k):
        """k A, k_t A, mu, c and the area of point i."""
        h = ti.static(mem.integers)
        world = b * h[PARAMETER] + h[at.world]
        area = mem.constants[h[at.areas] + i]
        return (
            area * mem.parameters[world + places.STIFFNESS],
            area * mem.parameters[world + places.TANGENT],
            mem.parameters[friction_at(mem, b, k)],
            mem.parameters[world + places.DAMPING],
            area,
        )

    @ti.func
    def answer(mem: ti.template(), b, i, k, row_in, row_out, x_start, x_carried, W):
        """Whether the pair can touch; force and stiffness in the world's axes, new stretch, normal force."""
        force, new_stretch, normal = vec(0), vec(0), fp(0.0)
        K = ti.Matrix.zero(fp, 3, 3)
        is_near, _y, _y_start, phi, n, before, stretch = surface(mem, b, i, k, row_in, row_out, x_start, x_carried)
        if is_near:
            _p, R = frames.end(mem, b, row_out, frame_of(mem, k))
            k_area, k_t_area, mu, damping, _area = coefficients(mem, b, i, k)
            last = mem.frames[state_of(mem, row_in, i, k) + places.NORMAL_FORCE]
            f, new_stretch, normal, K_local = law.respond(
                phi,
                n,
                before,
                stretch,
                last,
                R.transpose() @ W,
                k_area,
                k_t_area,
                mu,
                damping,
                mem.constants[at.onset],
                mem.constants[DT],
            )
            force = R @ f
            K = R @ K_local @ R.transpose()
        return is_near, force, K, new_stretch, normal

    @ti.func
    def evaluate(mem: ti.template(), b, i, k, row_in, row_out, x_start, x_carried, W):
        """Force on the point, minus its derivative by W; also to the pair's scratch."""
        s = ti.static(mem.scratch)
        is_near, force, K, _stretch, _normal = answer(mem, b, i, k, row_in, row_out, x_start, x_carried, W)
        o = work_of(mem, b, i, k)
        s[o + places.PAIR_ACTIVE] = ti.cast(is_near, fp)
        if is_near:
            store3(s, o + places.PAIR_FORCE, force)
            for r in ti.static(range(3)):
                for d in ti.static(range(3)):
                    s[o + places.PAIR_STIFFNESS + 3 * r + d] = K[r, d]
        return is_near, force, K

    @ti.func
    def conclude(mem: ti.template(), b, i, k, row_in, row_out, x_start, x_carried, W):
        """The pair's new state; returns the force on the point."""
        _near, force, _K, stretch, normal = answer(mem, b, i, k, row_in, row_out, x_start, x_carried, W)
        o = state_of(mem, row_out, i, k)
        store3(mem.frames, o + places.STRETCH, stretch)
        mem.frames[o + places.NORMAL_FORCE] = normal
        return force

    @ti.func
    def sums_of(mem: ti.template(), b, c):
        """Where member c's sums of parameters begin."""
        h = ti.static(mem.integers)
        return h[PARTIAL_OFFSET] + (b * h[TEAM] + c) * h[PARTIAL] + h[at.contact_sums]

    @ti.func
    def pull_back(
        mem: ti.template(), b, c, i, k, row_in, row_out, x_start, x_carried, W, force_bar, adds: ti.template()
    ):
        """Cotangents of x_start, x_carried and W, for that of the force and those of the pair's new state.

        With ``adds`` those of the shape's poses and of the parameters go to the sums of member c, and those of the
        pair's state at the start take the place of those of the new one.
        """
        h = ti.static(mem.integers)
        start_bar, carried_bar, W_bar = vec(0), vec(0), vec(0)
        is_near, y, y_start, phi, n, before, stretch = surface(mem, b, i, k, row_in, row_out, x_start, x_carried)
        a = state_of(mem, b, i, k)
        stretch_bar, last_bar = vec(0), fp(0.0)
        if is_near:
            f = frame_of(mem, k)
            p, R = frames.end(mem, b, row_out, f)
            k_area, k_t_area, mu, damping, area = coefficients(mem, b, i, k)
            last = mem.frames[state_of(mem, row_in, i, k) + places.NORMAL_FORCE]
            w = R.transpose() @ W
            phi_bar, n_bar, before_bar, stretch_bar, last_bar, w_bar, values_bar = law.respond_adjoint(
                phi,
                n,
                before,
                stretch,
                last,
                w,
                k_area,
                k_t_area,
                mu,
                damping,
                mem.constants[at.onset],
                mem.constants[DT],
                R.transpose() @ force_bar,
                load3(mem.adjoint, a + places.STRETCH),
                mem.adjoint[a + places.NORMAL_FORCE],
            )
            W_bar = R @ w_bar
            if ti.static(adds):
                o, _radius = record_of(mem, k)
                force, _s, _N, _K = law.respond(
                    phi,
                    n,
                    before,
                    stretch,
                    last,
                    w,
                    k_area,
                    k_t_area,
                    mu,
                    damping,
                    mem.constants[at.onset],
                    mem.constants[DT],
                )
                y_bar = shapes.distance_adjoint(mem.constants, o, y, phi_bar, n_bar) + stretch_bar
                y_start_bar = shapes.distance_adjoint(mem.constants, o, y_start, before_bar, vec(0)) - stretch_bar
                p_start, R_start = frames.start(mem, b, row_in, f)
                carried_bar = R @ y_bar
                start_bar = R_start @ y_start_bar
                R_bar = force_bar.outer_product(force) + W.outer_product(w_bar) + (x_carried - p).outer_product(y_bar)
                frames.add_end(mem, b, c, f, -carried_bar, R_bar)
                frames.add_start(mem, b, c, f, -start_bar, (x_start - p_start).outer_product(y_start_bar))
                sums = sums_of(mem, b, c)
                add(mem.scratch, sums, area * values_bar[0])
                add(mem.scratch, sums + 1, area * values_bar[1])
                add(mem.scratch, sums + 2, values_bar[3])
                add(mem.scratch, sums + places.SUM_FRICTION + k, values_bar[2])
        if ti.static(adds):
            store3(mem.adjoint, a + places.STRETCH, stretch_bar)
            mem.adjoint[a + places.NORMAL_FORCE] = last_bar
        return start_bar, carried_bar, W_bar

    @ti.func
    def add_gravity(mem: ti.template(), b, c, bar):
        """Adds to the cotangent of gravity."""
        for d in ti.static(range(3)):
            add(mem.scratch, sums_of(mem, b, c) + places.SUM_GRAVITY + d, bar[d])

    @ti.func
    def clear(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """Empties member c's sums of contact parameters."""
        for k in range(first, stop):
            mem.scratch[sums_of(mem, b, c) + k] = fp(0.0)

    @ti.func
    def settle(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """Adds the sums of all members to the cotangents of the parameters."""
        h = ti.static(mem.integers)
        world = b * h[PARAMETER] + h[at.world]
        for m in range(h[TEAM]):
            o = sums_of(mem, b, m)
            for d in ti.static(range(3)):
                e = world + places.STIFFNESS + d
                mem.parameter_adjoint[e] = mem.parameter_adjoint[e] + mem.scratch[o + places.SUM_STIFFNESS + d]
                e = world + places.GRAVITY + d
                mem.parameter_adjoint[e] = mem.parameter_adjoint[e] + mem.scratch[o + places.SUM_GRAVITY + d]
            for k in range(h[at.shapes]):
                e = friction_at(mem, b, k)
                mem.parameter_adjoint[e] = mem.parameter_adjoint[e] + mem.scratch[o + places.SUM_FRICTION + k]

    return SimpleNamespace(
        work_of=work_of,
        state_of=state_of,
        frame_of=frame_of,
        evaluate=evaluate,
        conclude=conclude,
        pull_back=pull_back,
        add_gravity=add_gravity,
        clear=clear,
        settle=settle,
    )
