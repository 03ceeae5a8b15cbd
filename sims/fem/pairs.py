"""Points and the shapes that they may touch: forces in a step, and their adjoint.

Points are the nodes of the gels' surfaces, then points on the surfaces of rigid bodies; shapes are effectors, then
rigid bodies. A pair's geometry is taken where the point is carried by its mount or its body, in the frame of the shape:

    y = R_e^T (x* - p_e),  y_0 = R_0^T (x_0 - p_0),  phi(y), n(y),  g_0 = phi(y_0),  s_0 + y - y_0.

It does not change during the iteration. Normal and stretch are turned into the world's axes, in which the law of
``contact_law.py`` is evaluated for W, what the unknowns of the step add to the relative displacement: R_m (u - u_0) of
a node, d + theta x r of a body, r being the arm from its centre to x*. The force acts on the point and, reversed, on
the shape at x*: equal and opposite, with one line of action.
"""

from functools import cache
from types import SimpleNamespace

from pliant.sims.fem import places
from pliant.sims.fem.contact_law import law_functions
from pliant.sims.fem.frames import frame_functions
from pliant.sims.fem.places import Setup
from pliant.sims.fields import DT, PARAMETER, PARTIAL, PARTIAL_OFFSET, STATE, TEAM
from pliant.sims.math.access import access_functions
from pliant.sims.math.turning import turning_functions
from pliant.sims.runtime import ti
from pliant.sims.shapes.shape_kernels import RECORD_SIZE, shape_functions


@cache
def pair_functions(setup: Setup) -> SimpleNamespace:
    """Taichi functions of point i and shape k of world b.

    ``work_of``, ``state_of``: where a pair's scratch and its state begin.  ``frame_of(mem, k)``: the shape's frame.
    ``locate(mem, b, i, k, row_in, row_out, x_start, x_carried)``: the pair's geometry, to its scratch; then
    ``evaluate(mem, b, i, k, row_in, W)``: the law's answer, to its scratch; then ``conclude(mem, b, i, k, row_out)``:
    the pair's new state; ``seed(...)`` and ``pull_back(...)``, or ``forget`` of one that is far: the adjoint.
    """
    at, fp, eff = setup.at, setup.fp, setup.eff
    vec = ti.types.vector(3, fp)
    access = access_functions(fp, setup.device)
    load3, store3, add = access.load3, access.store3, access.add
    turn = turning_functions(fp)
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
    def locate(mem: ti.template(), b, i, k, row_in, row_out, x_start, x_carried):
        """The geometry of a pair."""
        h = ti.static(mem.integers)
        s = ti.static(mem.scratch)
        o = work_of(mem, b, i, k)
        s[o + places.PAIR_NEAR] = fp(0.0)
        s[o + places.PAIR_ACTIVE] = fp(0.0)
        if h[h[at.allowed] + i * h[at.shapes] + k] == 1:
            f = frame_of(mem, k)
            p, R = frames.end(mem, b, row_out, f)
            y = turn.back(R, x_carried - p)
            record, radius = record_of(mem, k)
            near = mem.constants[at.reach]
            if y.dot(y) < (radius + near) * (radius + near):
                p_start, R_start = frames.start(mem, b, row_in, f)
                y_start = turn.back(R_start, x_start - p_start)
                for which in range(2):  # the second only of a point that is near
                    if which == 0 or s[o + places.PAIR_NEAR] > 0:
                        q = y
                        if which == 1:
                            q = y_start
                        gap, n = shapes.distance(mem.constants, record, q)
                        s[o + places.PAIR_GAP_BEFORE] = gap
                        if which == 0 and gap < near:
                            s[o + places.PAIR_NEAR] = fp(1.0)
                            s[o + places.PAIR_GAP] = gap
                            store3(s, o + places.PAIR_NORMAL, turn.forth(R, n))
                stretch = load3(mem.frames, state_of(mem, row_in, i, k) + places.STRETCH)
                store3(s, o + places.PAIR_CARRIED_STRETCH, turn.forth(R, stretch + y - y_start))

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
    def evaluate(mem: ti.template(), b, i, k, row_in, W):
        """What the law answers to a pair whose geometry is known; whether there is a force or a stiffness."""
        s = ti.static(mem.scratch)
        o = work_of(mem, b, i, k)
        is_active = False
        if s[o + places.PAIR_NEAR] > 0:
            k_area, k_t_area, mu, damping, _area = coefficients(mem, b, i, k)
            before = mem.frames[state_of(mem, row_in, i, k) + places.NORMAL_FORCE]
            n = load3(s, o + places.PAIR_NORMAL)
            force, stretch, kept, K = law.respond(
                s[o + places.PAIR_GAP],
                n,
                s[o + places.PAIR_GAP_BEFORE],
                load3(s, o + places.PAIR_CARRIED_STRETCH),
                before,
                W,
                k_area,
                k_t_area,
                mu,
                damping,
                mem.constants[at.onset],
                mem.constants[DT],
            )
            store3(s, o + places.PAIR_FORCE, force)
            turn.store33(s, o + places.PAIR_STIFFNESS, K)
            store3(s, o + places.PAIR_STRETCH, stretch)
            s[o + places.PAIR_KEPT] = kept
            _kept, _by_before, by_normal = law.blend(before, n.dot(force))
            s[o + places.PAIR_KEPT_SLOPE] = by_normal
            is_active = K[0, 0] + K[1, 1] + K[2, 2] > 0 or kept > 0
            s[o + places.PAIR_ACTIVE] = ti.cast(is_active, fp)
        return is_active

    @ti.func
    def conclude(mem: ti.template(), b, i, k, row_out):
        """The pair's new state, from what the law has answered."""
        s = ti.static(mem.scratch)
        a, o = state_of(mem, row_out, i, k), work_of(mem, b, i, k)
        stretch, normal = vec(0), fp(0.0)
        if s[o + places.PAIR_ACTIVE] > 0:
            _p, R = frames.end(mem, b, row_out, frame_of(mem, k))
            stretch, normal = turn.back(R, load3(s, o + places.PAIR_STRETCH)), s[o + places.PAIR_KEPT]
        store3(mem.frames, a + places.STRETCH, stretch)
        mem.frames[a + places.NORMAL_FORCE] = normal

    @ti.func
    def seed(mem: ti.template(), b, i, k, row_out, force_bar):
        """Cotangent of W, for that of the force and those of the pair's new state; also to its scratch.

        With K = k_n n n^T + k_t A S the stretch has the derivative S, the normal force -k_n n, of which a share is
        kept.
        """
        s = ti.static(mem.scratch)
        o, a = work_of(mem, b, i, k), state_of(mem, b, i, k)
        W_bar = vec(0)
        if s[o + places.PAIR_ACTIVE] > 0:
            _p, R = frames.end(mem, b, row_out, frame_of(mem, k))
            _k_area, k_t_area, _mu, _damping, _area = coefficients(mem, b, i, k)
            K, n = turn.load33(s, o + places.PAIR_STIFFNESS), load3(s, o + places.PAIR_NORMAL)
            stretch_bar = turn.forth(R, load3(mem.adjoint, a + places.STRETCH)) / k_t_area
            stretch_bar -= n * n.dot(stretch_bar)
            normal_stiffness = n.dot(turn.forth(K, n)) * s[o + places.PAIR_KEPT_SLOPE]
            W_bar = (
                turn.forth(K, stretch_bar - force_bar) - (normal_stiffness * mem.adjoint[a + places.NORMAL_FORCE]) * n
            )
        store3(s, o + places.PAIR_SEED, W_bar)
        return W_bar

    @ti.func
    def sums_of(mem: ti.template(), b, c):
        """Where member c's sums of parameters begin."""
        h = ti.static(mem.integers)
        return h[PARTIAL_OFFSET] + (b * h[TEAM] + c) * h[PARTIAL] + h[at.contact_sums]

    @ti.func
    def pull_back(mem: ti.template(), b, c, i, k, row_in, row_out, x_start, x_carried, W, force_bar):
        """Cotangents of x_start, x_carried and W, for that of the force and those of the pair's new state.

        Those of the shape's poses and of the parameters go to the sums of member c, and those of the pair's state at
        the start take the place of those of the new one.
        """
        s = ti.static(mem.scratch)
        start_bar, carried_bar, W_bar = vec(0), vec(0), vec(0)
        a, o = state_of(mem, b, i, k), work_of(mem, b, i, k)
        stretch_bar, last_bar = vec(0), fp(0.0)
        if s[o + places.PAIR_NEAR] > 0:
            f = frame_of(mem, k)
            p, R = frames.end(mem, b, row_out, f)
            p_start, R_start = frames.start(mem, b, row_in, f)
            k_area, k_t_area, mu, damping, area = coefficients(mem, b, i, k)
            n, stretch = load3(s, o + places.PAIR_NORMAL), load3(s, o + places.PAIR_CARRIED_STRETCH)
            new_bar = load3(mem.adjoint, a + places.STRETCH)
            phi_bar, n_bar, before_bar, carried_stretch_bar, last_bar_, W_bar_, values_bar = law.respond_adjoint(
                s[o + places.PAIR_GAP],
                n,
                s[o + places.PAIR_GAP_BEFORE],
                stretch,
                mem.frames[state_of(mem, row_in, i, k) + places.NORMAL_FORCE],
                W,
                k_area,
                k_t_area,
                mu,
                damping,
                mem.constants[at.onset],
                mem.constants[DT],
                force_bar,
                turn.forth(R, new_bar),
                mem.adjoint[a + places.NORMAL_FORCE],
            )
            W_bar, last_bar = W_bar_, last_bar_
            stretch_bar = turn.back(R, carried_stretch_bar)
            R_bar = n_bar.outer_product(turn.back(R, n)) + carried_stretch_bar.outer_product(turn.back(R, stretch))
            R_bar += load3(s, o + places.PAIR_STRETCH).outer_product(new_bar)
            record, _radius = record_of(mem, k)
            for which in range(2):  # at the end, then at the start
                x, place, turned = x_carried, p, R
                bar, normal_bar, sign = phi_bar, turn.back(R, n_bar), fp(1.0)
                if which == 1:
                    x, place, turned = x_start, p_start, R_start
                    bar, normal_bar, sign = before_bar, vec(0), fp(-1.0)
                y_bar = shapes.distance_adjoint(mem.constants, record, turn.back(turned, x - place), bar, normal_bar)
                y_bar += sign * stretch_bar
                x_bar = turn.forth(turned, y_bar)
                moment = (x - place).outer_product(y_bar)
                if which == 0:
                    carried_bar = x_bar
                    frames.add_end(mem, b, c, f, -x_bar, moment + R_bar)
                else:
                    start_bar = x_bar
                    frames.add_start(mem, b, c, f, -x_bar, moment)
            sums = sums_of(mem, b, c)
            add(mem.scratch, sums, area * values_bar[0])
            add(mem.scratch, sums + 1, area * values_bar[1])
            add(mem.scratch, sums + 2, values_bar[3])
            add(mem.scratch, sums + places.SUM_FRICTION + k, values_bar[2])
        store3(mem.adjoint, a + places.STRETCH, stretch_bar)
        mem.adjoint[a + places.NORMAL_FORCE] = last_bar
        return start_bar, carried_bar, W_bar

    @ti.func
    def forget(mem: ti.template(), b, i, k):
        """Of a pair that is far: its state at the start has no effect."""
        a = state_of(mem, b, i, k)
        store3(mem.adjoint, a + places.STRETCH, vec(0))
        mem.adjoint[a + places.NORMAL_FORCE] = fp(0.0)

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
        for _ in range(first, stop):  # one member does it
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
        locate=locate,
        evaluate=evaluate,
        conclude=conclude,
        seed=seed,
        pull_back=pull_back,
        forget=forget,
        add_gravity=add_gravity,
        clear=clear,
        settle=settle,
    )
