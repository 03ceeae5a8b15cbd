"""Points on the surfaces of gels and bodies in a step: where they are, and what all the shapes do to each of them.

A point of a gel is one of its nodes and moves with its mount by R (u - u_0); a point of a body moves by d + theta x r.
"""

from functools import cache
from types import SimpleNamespace

from pliant.sims.fem import places
from pliant.sims.fem.frames import frame_functions
from pliant.sims.fem.nodes import node_functions
from pliant.sims.fem.outputs import output_functions
from pliant.sims.fem.pairs import pair_functions
from pliant.sims.fem.places import Setup
from pliant.sims.math.access import access_functions
from pliant.sims.math.turning import turning_functions
from pliant.sims.runtime import ti


@cache
def point_functions(setup: Setup) -> SimpleNamespace:
    """Taichi functions of point i of world b: ``locate``, ``evaluate``, ``conclude``; ``seed`` and ``pull``, the
    adjoint."""
    at, fp, eff = setup.at, setup.fp, setup.eff
    vec = ti.types.vector(3, fp)
    mat = ti.types.matrix(3, 3, fp)
    access = access_functions(fp)
    load3, store3 = access.load3, access.store3
    turn = turning_functions(fp)
    frames, pairs, outputs, nodes = (
        frame_functions(setup),
        pair_functions(setup),
        output_functions(setup),
        node_functions(setup),
    )
    work_of = nodes.point_work_of

    @ti.func
    def owner_of(mem: ti.template(), i):
        """Node or body of point i, whether it is a gel's, and the frame that carries it."""
        h = ti.static(mem.integers)
        owner, is_gel = h[h[at.point_owners] + i], True
        f = owner
        if ti.static(setup.has_bodies):
            is_gel = i < h[at.gel_points]
            f += h[eff.count]
        if is_gel:
            f = nodes.mount_of(mem, owner)
        return owner, is_gel, f

    @ti.func
    def place_in_frame(mem: ti.template(), row_in, i, owner, is_gel):
        """Where point i is at the start in the frame that carries it."""
        x = vec(0)
        if is_gel:
            x = nodes.rest_of(mem, owner) + load3(mem.frames, nodes.state_of(mem, row_in, owner) + places.DISPLACEMENT)
        else:
            x = load3(mem.constants, mem.integers[at.body_points] + 3 * (i - mem.integers[at.gel_points]))
        return x

    @ti.func
    def move_of(mem: ti.template(), b, i, row_in, row_out):
        """What the unknowns add to the displacement of point i; where it is carried."""
        owner, is_gel, f = owner_of(mem, i)
        carried = load3(mem.scratch, work_of(mem, b, i) + places.POINT_CARRIED)
        move = vec(0)
        if is_gel:
            _p, R = frames.end(mem, b, row_out, f)
            u = load3(mem.frames, nodes.state_of(mem, row_out, owner) + places.DISPLACEMENT)
            move = turn.forth(R, u - load3(mem.frames, nodes.state_of(mem, row_in, owner) + places.DISPLACEMENT))
        else:
            move, _arm = nodes.frame_move(mem, b, f, carried)
        return move, carried

    @ti.func
    def locate(mem: ti.template(), b, i, row_in, row_out):
        """Where a point starts and is carried, and what its pairs look like there."""
        owner, is_gel, f = owner_of(mem, i)
        x = place_in_frame(mem, row_in, i, owner, is_gel)
        p, R = frames.end(mem, b, row_out, f)
        p_start, R_start = frames.start(mem, b, row_in, f)
        start, carried = p_start + turn.forth(R_start, x), p + turn.forth(R, x)
        o = work_of(mem, b, i)
        store3(mem.scratch, o + places.POINT_START, start)
        store3(mem.scratch, o + places.POINT_CARRIED, carried)
        for k in range(mem.integers[at.shapes]):
            pairs.locate(mem, b, i, k, row_in, row_out, start, carried)

    @ti.func
    def evaluate(mem: ti.template(), b, i, row_in, row_out):
        """Force on a point and minus its derivative, of all its pairs."""
        s = ti.static(mem.scratch)
        force, K = vec(0), mat(0)
        own, carried = move_of(mem, b, i, row_in, row_out)
        for k in range(mem.integers[at.shapes]):
            if s[pairs.work_of(mem, b, i, k) + places.PAIR_NEAR] > 0:
                shift, _arm = nodes.frame_move(mem, b, pairs.frame_of(mem, k), carried)
                if pairs.evaluate(mem, b, i, k, row_in, own - shift):
                    pair = pairs.work_of(mem, b, i, k)
                    force += load3(s, pair + places.PAIR_FORCE)
                    K += turn.load33(s, pair + places.PAIR_STIFFNESS)
        o = work_of(mem, b, i)
        _owner, is_gel, f = owner_of(mem, i)
        if is_gel and K[0, 0] + K[1, 1] + K[2, 2] > 0:
            _p, R = frames.end(mem, b, row_out, f)
            force = turn.back(R, force)
            K = turn.around(R, K)
        store3(s, o + places.POINT_FORCE, force)
        turn.store33(s, o + places.POINT_STIFFNESS, K)

    @ti.func
    def conclude(mem: ti.template(), b, c, i, row_in, row_out):
        """The new state of contact of a point, and its share of its gel's force."""
        h = ti.static(mem.integers)
        owner, is_gel, f = owner_of(mem, i)
        o = work_of(mem, b, i)
        for k in range(h[at.shapes]):
            pairs.conclude(mem, b, i, k, row_out)
        if is_gel:
            p, R = frames.end(mem, b, row_out, f)
            force = turn.forth(R, load3(mem.scratch, o + places.POINT_FORCE))
            arm = load3(mem.scratch, o + places.POINT_CARRIED) - p
            outputs.add_force(mem, b, c, h[h[at.node_gels] + owner], arm, force)

    @ti.func
    def output_bar(mem: ti.template(), b, i, row_out, force):
        """Cotangents of the force on a point and of its arm, of the force and torque of its gel."""
        h = ti.static(mem.integers)
        owner, is_gel, f = owner_of(mem, i)
        force_bar, arm_bar = vec(0), vec(0)
        if is_gel:
            p, _R = frames.end(mem, b, row_out, f)
            arm = load3(mem.scratch, work_of(mem, b, i) + places.POINT_CARRIED) - p
            force_bar, arm_bar = outputs.force_bar(mem, b, h[h[at.node_gels] + owner], arm, force)
        return force_bar, arm_bar

    @ti.func
    def seed(mem: ti.template(), b, i, row_out):
        """Cotangent of a point's displacement."""
        s = ti.static(mem.scratch)
        total = vec(0)
        force_bar, _arm_bar = output_bar(mem, b, i, row_out, vec(0))
        for k in range(mem.integers[at.shapes]):
            total += pairs.seed(mem, b, i, k, row_out, force_bar)
        store3(s, work_of(mem, b, i) + places.POINT_MOVE_BAR, total)

    @ti.func
    def pull(mem: ti.template(), b, c, i, row_in, row_out):
        """Once the multipliers are known: cotangents of a point's places and displacement, of all its pairs; of a
        body's point those of the body's poses."""
        h = ti.static(mem.integers)
        s = ti.static(mem.scratch)
        owner, is_gel, f_own = owner_of(mem, i)
        o = work_of(mem, b, i)
        own, carried = move_of(mem, b, i, row_in, row_out)
        start = load3(s, o + places.POINT_START)
        own_l, own_torque = vec(0), vec(0)
        if is_gel:
            _p, R = frames.end(mem, b, row_out, f_own)
            own_l = turn.forth(R, load3(s, nodes.solution_at(mem, b) + 3 * owner))
        else:
            l_own, own_torque = nodes.body_multiplier(mem, b, f_own)
            _own, own_arm = nodes.frame_move(mem, b, f_own, carried)
            own_l = l_own + own_torque.cross(own_arm)
        start_bar, carried_bar, move_bar, out_arm_bar, force_sum = vec(0), vec(0), vec(0), vec(0), vec(0)
        for k in range(h[at.shapes]):
            pair = pairs.work_of(mem, b, i, k)
            f = pairs.frame_of(mem, k)
            shift, arm = nodes.frame_move(mem, b, f, carried)
            force = vec(0)
            if s[pair + places.PAIR_ACTIVE] > 0:
                force = load3(s, pair + places.PAIR_FORCE)
            force_bar, arm_bar = output_bar(mem, b, i, row_out, force)
            l, l_torque = nodes.body_multiplier(mem, b, f)
            total = force_bar + own_l - l - l_torque.cross(arm)
            from_start, from_carried, W_bar = pairs.pull_back(
                mem, b, c, i, k, row_in, row_out, start, carried, own - shift, total
            )
            start_bar += from_start
            carried_bar += from_carried + arm_bar
            move_bar += W_bar
            out_arm_bar += arm_bar
            force_sum += force
            if ti.static(setup.has_bodies):
                if f >= h[eff.count]:
                    # W has -theta x r, the torque's balance r x F, with r = x* - p of the body
                    theta = load3(s, frames.work_of(mem, b, f - h[eff.count]) + places.INCREMENT + 3)
                    r_bar = theta.cross(W_bar) - force.cross(l_torque)
                    carried_bar += r_bar
                    frames.add_end(mem, b, c, f, -r_bar, mat(0))
        store3(s, o + places.POINT_START_BAR, start_bar)
        store3(s, o + places.POINT_CARRIED_BAR, carried_bar)
        store3(s, o + places.POINT_MOVE_BAR, move_bar)
        store3(s, o + places.POINT_ARM_BAR, out_arm_bar)
        if ti.static(setup.has_bodies):
            if not is_gel:
                theta = load3(s, frames.work_of(mem, b, owner) + places.INCREMENT + 3)
                arm_bar = move_bar.cross(theta) + force_sum.cross(own_torque)
                place = place_in_frame(mem, row_in, i, owner, is_gel)
                frames.add_end(mem, b, c, f_own, carried_bar, (carried_bar + arm_bar).outer_product(place))
                frames.add_start(mem, b, c, f_own, start_bar, start_bar.outer_product(place))

    return SimpleNamespace(locate=locate, evaluate=evaluate, conclude=conclude, seed=seed, pull=pull)
