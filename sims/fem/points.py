"""Points on the surfaces of gels and bodies in a step: where they are, and what all the shapes do to each of them.

A point of a gel has the displacement u of a weighted mean of its nodes (``skin.py``) and moves with its mount by R (u -
u_0); a point of a body moves by d + theta x r.
"""

from collections.abc import Callable
from functools import cache
from types import SimpleNamespace
from typing import Any

from pliant.sims.fem import places
from pliant.sims.fem.frames import frame_functions
from pliant.sims.fem.nodes import node_functions
from pliant.sims.fem.outputs import output_functions
from pliant.sims.fem.pairs import pair_functions
from pliant.sims.fem.places import Setup
from pliant.sims.fem.skin import CORNERS
from pliant.sims.math.access import access_functions
from pliant.sims.math.turning import turning_functions
from pliant.sims.runtime import ti


@cache
def mean_functions(setup: Setup) -> SimpleNamespace:
    """``mean(mem, i, array, o, stride)``: of the vectors of the nodes of point i of a gel, that of node n being at o +
    stride * n.  ``displacement(mem, row, i)``: from its place at rest, in the frame of its mount."""
    at, fp = setup.at, setup.fp
    load3, nodes = access_functions(fp).load3, node_functions(setup)

    @ti.func
    def mean(mem: ti.template(), i, array: ti.template(), o, stride):
        """Weighted mean; mounted nodes count as 0."""
        h = ti.static(mem.integers)
        total = ti.Vector.zero(fp, 3)
        for code in range(CORNERS * i, CORNERS * (i + 1)):
            node = h[h[at.point_nodes] + code]
            if node >= 0:
                total += mem.constants[h[at.point_weights] + code] * load3(array, o + stride * node)
        return total

    @ti.func
    def displacement(mem: ti.template(), row, i):
        """Mean displacement."""
        return mean(mem, i, mem.frames, nodes.state_of(mem, row, 0) + places.DISPLACEMENT, places.NODE_STATE)

    return SimpleNamespace(mean=mean, displacement=displacement)


@cache
def implicit_motion(setup: Setup) -> SimpleNamespace:
    """How points of gels move in an implicit step: W = R (u - u_0).

    ``move(mem, b, i, row_in, row_out, R)``: W of point i, in the world's axes, R being the pose of its mount at the
    end.  ``multiplier(mem, b, i, R)``: the cotangent of a force on it.  ``turned(mem, b, i, row_in, row_out, R, bar)``:
    the cotangent of R, for that of W and the multiplier.
    """
    fp = setup.fp
    load3, turn = access_functions(fp).load3, turning_functions(fp)
    nodes, means = node_functions(setup), mean_functions(setup)

    @ti.func
    def shift(mem: ti.template(), i, row_in, row_out):
        """u - u_0"""
        return means.displacement(mem, row_out, i) - means.displacement(mem, row_in, i)

    @ti.func
    def move(mem: ti.template(), b, i, row_in, row_out, R):
        """R (u - u_0)"""
        return turn.forth(R, shift(mem, i, row_in, row_out))

    @ti.func
    def own_multiplier(mem: ti.template(), b, i):
        """In the frame of the mount."""
        return means.mean(mem, i, mem.scratch, nodes.solution_at(mem, b), 3)

    @ti.func
    def multiplier(mem: ti.template(), b, i, R):
        """In the world's axes."""
        return turn.forth(R, own_multiplier(mem, b, i))

    @ti.func
    def turned(mem: ti.template(), b, i, row_in, row_out, R, bar):
        """Of W, and of the force that enters the balance as -R^T F."""
        force = turn.forth(R, load3(mem.scratch, nodes.point_work_of(mem, b, i) + places.POINT_FORCE))
        found = bar.outer_product(shift(mem, i, row_in, row_out))
        return found + force.outer_product(own_multiplier(mem, b, i))

    return SimpleNamespace(move=move, multiplier=multiplier, turned=turned)


@cache
def point_functions(setup: Setup, motion_of: Callable[[Any], SimpleNamespace]) -> SimpleNamespace:
    """Taichi functions of point i of world b: ``locate``, ``evaluate``, ``conclude``; ``seed`` and ``pull``, the
    adjoint. ``motion_of``: how points of gels move, such as ``implicit_motion``."""
    at, fp, eff = setup.at, setup.fp, setup.eff
    vec = ti.types.vector(3, fp)
    mat = ti.types.matrix(3, 3, fp)
    access = access_functions(fp)
    load3, store3 = access.load3, access.store3
    turn = turning_functions(fp)
    frames, pairs, outputs = frame_functions(setup), pair_functions(setup), output_functions(setup)
    nodes, means, motion = node_functions(setup), mean_functions(setup), motion_of(setup)
    work_of = nodes.point_work_of

    @ti.func
    def owner_of(mem: ti.template(), i):
        """Gel or body of point i, whether it is a gel's, and the frame that carries it."""
        h = ti.static(mem.integers)
        is_gel = True
        if ti.static(setup.has_bodies):
            is_gel = i < h[at.gel_points]
        owner, f = 0, 0
        if is_gel:
            owner = h[h[at.point_gels] + i]
            f = h[h[at.gel_mounts] + owner]
        if ti.static(setup.has_bodies):
            if not is_gel:
                owner = h[h[at.point_bodies] + i - h[at.gel_points]]
                f = h[eff.count] + owner
        return owner, is_gel, f

    @ti.func
    def place_in_frame(mem: ti.template(), row, i, is_gel):
        """Where point i is in the frame that carries it."""
        x = load3(mem.constants, mem.integers[at.point_places] + 3 * i)
        if is_gel:
            x += means.displacement(mem, row, i)
        return x

    @ti.func
    def move_of(mem: ti.template(), b, i, row_in, row_out):
        """What the unknowns add to the displacement of point i; where it is carried."""
        _owner, is_gel, f = owner_of(mem, i)
        carried = load3(mem.scratch, work_of(mem, b, i) + places.POINT_CARRIED)
        move = vec(0)
        if is_gel:
            _p, R = frames.end(mem, b, row_out, f)
            move = motion.move(mem, b, i, row_in, row_out, R)
        else:
            move, _arm = nodes.frame_move(mem, b, f, carried)
        return move, carried

    @ti.func
    def locate(mem: ti.template(), b, i, row_in, row_out):
        """Where a point starts and is carried, and what its pairs look like there."""
        _owner, is_gel, f = owner_of(mem, i)
        x = place_in_frame(mem, row_in, i, is_gel)
        p, R = frames.end(mem, b, row_out, f)
        p_start, R_start = frames.start(mem, b, row_in, f)
        start, carried = p_start + turn.forth(R_start, x), p + turn.forth(R, x)
        o = work_of(mem, b, i)
        store3(mem.scratch, o + places.POINT_START, start)
        store3(mem.scratch, o + places.POINT_CARRIED, carried)
        near = fp(0.0)
        for k in range(mem.integers[at.shapes]):
            pairs.locate(mem, b, i, k, row_in, row_out, start, carried)
            near = ti.max(near, mem.scratch[pairs.work_of(mem, b, i, k) + places.PAIR_NEAR])
        mem.scratch[o + places.POINT_NEAR] = near

    @ti.func
    def evaluate(mem: ti.template(), b, i, row_in, row_out):
        """Force on a point and minus its derivative, of all its pairs."""
        s = ti.static(mem.scratch)
        force, K = vec(0), mat(0)
        o = work_of(mem, b, i)
        if s[o + places.POINT_NEAR] > 0:
            own, carried = move_of(mem, b, i, row_in, row_out)
            for k in range(mem.integers[at.shapes]):
                if s[pairs.work_of(mem, b, i, k) + places.PAIR_NEAR] > 0:
                    shift, _arm = nodes.frame_move(mem, b, pairs.frame_of(mem, k), carried)
                    if pairs.evaluate(mem, b, i, k, row_in, own - shift):
                        pair = pairs.work_of(mem, b, i, k)
                        force += load3(s, pair + places.PAIR_FORCE)
                        K += turn.load33(s, pair + places.PAIR_STIFFNESS)
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
        if is_gel and mem.scratch[o + places.POINT_NEAR] > 0:
            p, R = frames.end(mem, b, row_out, f)
            force = turn.forth(R, load3(mem.scratch, o + places.POINT_FORCE))
            arm = load3(mem.scratch, o + places.POINT_CARRIED) - p
            outputs.add_force(mem, b, c, owner, arm, force)

    @ti.func
    def output_bar(mem: ti.template(), b, i, row_out, force):
        """Cotangents of the force on a point and of its arm, of the force and torque of its gel."""
        owner, is_gel, f = owner_of(mem, i)
        force_bar, arm_bar = vec(0), vec(0)
        if is_gel:
            p, _R = frames.end(mem, b, row_out, f)
            arm = load3(mem.scratch, work_of(mem, b, i) + places.POINT_CARRIED) - p
            force_bar, arm_bar = outputs.force_bar(mem, b, owner, arm, force)
        return force_bar, arm_bar

    @ti.func
    def seed(mem: ti.template(), b, i, row_out):
        """Cotangent of a point's displacement."""
        s = ti.static(mem.scratch)
        total = vec(0)
        if s[work_of(mem, b, i) + places.POINT_NEAR] > 0:
            force_bar, _arm_bar = output_bar(mem, b, i, row_out, vec(0))
            for k in range(mem.integers[at.shapes]):
                total += pairs.seed(mem, b, i, k, row_out, force_bar)
        store3(s, work_of(mem, b, i) + places.POINT_MOVE_BAR, total)

    @ti.func
    def pull_near(mem: ti.template(), b, c, i, row_in, row_out):
        """The same of a point that something is near."""
        h = ti.static(mem.integers)
        s = ti.static(mem.scratch)
        owner, is_gel, f_own = owner_of(mem, i)
        o = work_of(mem, b, i)
        own, carried = move_of(mem, b, i, row_in, row_out)
        start = load3(s, o + places.POINT_START)
        own_l, own_torque = vec(0), vec(0)
        if is_gel:
            _p, R = frames.end(mem, b, row_out, f_own)
            own_l = motion.multiplier(mem, b, i, R)
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
        place = place_in_frame(mem, row_in, i, is_gel)
        turned_bar = carried_bar.outer_product(place)
        if is_gel:
            _p, R = frames.end(mem, b, row_out, f_own)
            turned_bar += motion.turned(mem, b, i, row_in, row_out, R, move_bar)
        if ti.static(setup.has_bodies):
            if not is_gel:
                theta = load3(s, frames.work_of(mem, b, owner) + places.INCREMENT + 3)
                arm_bar = move_bar.cross(theta) + force_sum.cross(own_torque)
                turned_bar += arm_bar.outer_product(place)
        frames.add_end(mem, b, c, f_own, carried_bar - out_arm_bar, turned_bar)
        frames.add_start(mem, b, c, f_own, start_bar, start_bar.outer_product(place))

    @ti.func
    def pull(mem: ti.template(), b, c, i, row_in, row_out):
        """Once the multipliers are known: cotangents of a point's places and displacement, and of all poses, of all its
        pairs. Of a point that nothing is near they are 0."""
        s = ti.static(mem.scratch)
        o = work_of(mem, b, i)
        if s[o + places.POINT_NEAR] > 0:
            pull_near(mem, b, c, i, row_in, row_out)
        else:
            for d in range(places.POINT_START_BAR, places.POINT_NEAR):
                s[o + d] = fp(0.0)
            for k in range(mem.integers[at.shapes]):
                pairs.forget(mem, b, i, k)

    return SimpleNamespace(
        owner_of=owner_of,
        place_in_frame=place_in_frame,
        locate=locate,
        evaluate=evaluate,
        conclude=conclude,
        seed=seed,
        pull=pull,
    )
