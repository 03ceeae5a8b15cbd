"""Nodes and rigid bodies in an implicit step: where they start, what is left of their balance, their new velocities.

The unknowns are displacements u of nodes in the frame of their mount, and of each body a displacement d and a turn
theta beyond where its velocities would carry it. With R, p the mount's pose at the end of the step, x the rest place of
a node, X_0 its place at the start,

    node    m/dt^2 (u - u^) + f(u) - R^T F = 0,   u^ = R^T (X_0 + dt V_0 + dt^2 g - p) - x
    body    m d/dt^2 - m g - sum F = 0,   I theta/dt^2 + omega x I omega - sum r x F = 0

f being the elastic and viscous forces, F those of contact. That is backward Euler; turns in a step are small, so that I
and the arms r are those of the predicted pose, and contact sees d + theta x r.
"""

from functools import cache
from types import SimpleNamespace

from pliant.sims.fem import places
from pliant.sims.fem.elements import element_functions
from pliant.sims.fem.frames import frame_functions
from pliant.sims.fem.pairs import pair_functions
from pliant.sims.fem.places import Setup
from pliant.sims.fem.skin import CORNERS
from pliant.sims.fields import DT, PARAMETER, STATE
from pliant.sims.math.access import access_functions
from pliant.sims.math.products import product_functions
from pliant.sims.math.rotation import rotation_functions
from pliant.sims.math.turning import turning_functions
from pliant.sims.runtime import ti


@cache
def node_functions(setup: Setup) -> SimpleNamespace:
    """Taichi functions of one node or body; passes call them. See the module."""
    at, fp, eff = setup.at, setup.fp, setup.eff
    vec = ti.types.vector(3, fp)
    mat = ti.types.matrix(3, 3, fp)
    access = access_functions(fp)
    load3, load4, store3 = access.load3, access.load4, access.store3
    rotation, turn, products = rotation_functions(fp), turning_functions(fp), product_functions(3, fp)
    elements, frames, pairs = element_functions(setup), frame_functions(setup), pair_functions(setup)

    @ti.func
    def work_of(mem: ti.template(), b, i):
        """Where the scratch of node i begins."""
        h = ti.static(mem.integers)
        return h[at.node_work] + (b * h[at.count] + i) * places.NODE_WORK

    @ti.func
    def point_work_of(mem: ti.template(), b, i):
        """Where the scratch of point i begins."""
        h = ti.static(mem.integers)
        return h[at.point_work] + (b * h[at.points] + i) * places.POINT_WORK

    @ti.func
    def touch_of(mem: ti.template(), n):
        """Entry n of the nodes' lists of points: the point, and the node's weight in it."""
        h = ti.static(mem.integers)
        code = h[h[at.node_points] + n]
        return code // CORNERS, mem.constants[h[at.point_weights] + code]

    @ti.func
    def state_of(mem: ti.template(), row, i):
        """Where the state of node i begins in a row."""
        h = ti.static(mem.integers)
        return row * h[STATE] + h[at.nodes] + i * places.NODE_STATE

    @ti.func
    def mount_of(mem: ti.template(), i):
        """The frame that node i moves with."""
        h = ti.static(mem.integers)
        return h[h[at.gel_mounts] + h[h[at.node_gels] + i]]

    @ti.func
    def rest_of(mem: ti.template(), i):
        """Where node i is at rest, in the frame of its mount."""
        return load3(mem.constants, mem.integers[at.rest] + 3 * i)

    @ti.func
    def mass_of(mem: ti.template(), b, i):
        """Mass of node i [kg], and where its gel's density lies."""
        h = ti.static(mem.integers)
        o = b * h[PARAMETER] + h[at.gel_parameters] + h[h[at.node_gels] + i] * places.GEL_PARAMETERS + places.DENSITY
        return mem.parameters[o] * mem.constants[h[at.node_volumes] + i], o

    @ti.func
    def gravity_of(mem: ti.template(), b):
        """Acceleration of free fall."""
        h = ti.static(mem.integers)
        return load3(mem.parameters, b * h[PARAMETER] + h[at.world] + places.GRAVITY)

    @ti.func
    def solution_at(mem: ti.template(), b):
        """Where the last solution of the linear system begins: a direction, in reverse the multipliers."""
        return mem.integers[at.direction] + b * mem.integers[at.unknowns]

    @ti.func
    def body_multiplier(mem: ti.template(), b, f):
        """The multiplier of frame f's balance of forces, and of its torques; 0 if it is no body."""
        h = ti.static(mem.integers)
        force, torque = vec(0), vec(0)
        if ti.static(setup.has_bodies):
            if f >= h[eff.count]:
                o = solution_at(mem, b) + 3 * h[at.count] + 6 * (f - h[eff.count])
                force, torque = load3(mem.scratch, o), load3(mem.scratch, o + 3)
        return force, torque

    @ti.func
    def predict_node(mem: ti.template(), b, i, row_in, row_out):
        """Places of a node that do not change during the iteration."""
        dt = mem.constants[DT]
        m = mount_of(mem, i)
        p_start, R_start = frames.start(mem, b, row_in, m)
        p, R = frames.end(mem, b, row_out, m)
        o, x = state_of(mem, row_in, i), rest_of(mem, i)
        start = p_start + turn.forth(R_start, x + load3(mem.frames, o + places.DISPLACEMENT))
        free = start + dt * load3(mem.frames, o + places.VELOCITY) + dt * dt * gravity_of(mem, b)
        w = work_of(mem, b, i)
        store3(mem.scratch, w + places.START, start)
        store3(mem.scratch, w + places.FREE_GOAL, turn.back(R, free - p) - x)

    @ti.func
    def guess(mem: ti.template(), b, i, row_out):
        """Begins the iteration where a node's inertia alone, without gravity, would take it."""
        dt = mem.constants[DT]
        _p, R = frames.end(mem, b, row_out, mount_of(mem, i))
        u = load3(mem.scratch, work_of(mem, b, i) + places.FREE_GOAL) - dt * dt * turn.back(R, gravity_of(mem, b))
        store3(mem.frames, state_of(mem, row_out, i) + places.DISPLACEMENT, u)

    @ti.func
    def body_parameters(mem: ti.template(), b, k):
        """Where the parameters of body k begin."""
        h = ti.static(mem.integers)
        return b * h[PARAMETER] + h[at.body_parameters] + k * places.BODY_PARAMETERS

    @ti.func
    def body_state(mem: ti.template(), row, k):
        """Where the state of body k begins in a row."""
        h = ti.static(mem.integers)
        return row * h[STATE] + h[at.body_state] + k * places.BODY_STATE

    @ti.func
    def predict_body(mem: ti.template(), b, k, row_in):
        """The pose to which a body's velocities carry it; its increments begin at 0."""
        dt = mem.constants[DT]
        o, w = body_state(mem, row_in, k), frames.work_of(mem, b, k)
        p = load3(mem.frames, o) + dt * load3(mem.frames, o + places.BODY_VELOCITY)
        q = rotation.integrate(
            load4(mem.frames, o + places.BODY_ORIENTATION), load3(mem.frames, o + places.BODY_SPIN), dt
        )
        store3(mem.scratch, w + places.PREDICTED, p)
        for d in ti.static(range(4)):
            mem.scratch[w + places.PREDICTED + 3 + d] = q[d]
        for d in ti.static(range(6)):
            mem.scratch[w + places.INCREMENT + d] = fp(0.0)

    @ti.func
    def frame_move(mem: ti.template(), b, f, x):
        """What the unknowns add to the displacement of the point x of frame f, and the arm to it (0 if no body)."""
        h = ti.static(mem.integers)
        move, arm = vec(0), vec(0)
        if ti.static(setup.has_bodies):
            if f >= h[eff.count]:
                w = frames.work_of(mem, b, f - h[eff.count])
                arm = x - load3(mem.scratch, w + places.PREDICTED)
                d, theta = load3(mem.scratch, w + places.INCREMENT), load3(mem.scratch, w + places.INCREMENT + 3)
                move = d + theta.cross(arm)
        return move, arm

    @ti.func
    def balance_node(mem: ti.template(), b, i, row_in, row_out):
        """What is left of a node's balance of forces, and the scale of its unknowns, to its scratch."""
        h = ti.static(mem.integers)
        s = ti.static(mem.scratch)
        w = work_of(mem, b, i)
        mass, _at = mass_of(mem, b, i)
        stiffness = mass / (mem.constants[DT] * mem.constants[DT])
        u = load3(mem.frames, state_of(mem, row_out, i) + places.DISPLACEMENT)
        residual = stiffness * (u - load3(s, w + places.FREE_GOAL))
        diagonal = vec(stiffness)
        first = h[at.node_cells_start] + i
        for n in range(h[first], h[first + 1]):
            code = h[h[at.node_cells] + n]
            cell = elements.work_of(mem, b, code // places.CELL_NODES)
            a = code % places.CELL_NODES
            residual += load3(s, cell + places.CELL_FORCE + 3 * a)
            block = cell + places.CELL_BLOCKS + 9 * (places.CELL_NODES + 1) * a
            diagonal += vec([s[block], s[block + 4], s[block + 8]])
        touched = h[at.node_points_start] + i
        for n in range(h[touched], h[touched + 1]):
            point, weight = touch_of(mem, n)
            o = point_work_of(mem, b, point)
            residual -= weight * load3(s, o + places.POINT_FORCE)
            o += places.POINT_STIFFNESS
            diagonal += weight * weight * vec(s[o], s[o + 4], s[o + 8])
        store3(s, w + places.RESIDUAL, residual)
        for d in ti.static(range(3)):
            s[w + places.SCALE + d] = 1 / ti.sqrt(diagonal[d])

    @ti.func
    def inertia_of(mem: ti.template(), b, k):
        """Inertia of a body in the world's axes at its predicted pose, and the matrix of that."""
        o = body_parameters(mem, b, k) + places.INERTIA
        R = rotation.matrix(load4(mem.scratch, frames.work_of(mem, b, k) + places.PREDICTED + 3))
        D = mat(0)
        for d in ti.static(range(3)):
            D[d, d] = mem.parameters[o + d]
        return products.multiply_transposed(products.multiply(R, D), R), R

    @ti.func
    def side_of(mem: ti.template(), k, i, j):
        """Sign of the force of point i and shape j on body k: 1 of its own point, -1 of its shape, 0 of neither."""
        h = ti.static(mem.integers)
        sign = 0
        if i >= h[at.gel_points]:
            if h[h[at.point_bodies] + i - h[at.gel_points]] == k:
                sign = 1
        elif pairs.frame_of(mem, j) == h[eff.count] + k:
            sign = -1
        return sign

    @ti.func
    def cross_matrix(r):
        """[r]x, so that [r]x v = r x v."""
        return mat([[0, -r[2], r[1]], [r[2], 0, -r[0]], [-r[1], r[0], 0]])

    @ti.func
    def attachment(mem: ti.template(), b, n):
        """Body of attachment n, its stiffness, its anchor in the world, arm of its point at the predicted pose."""
        h = ti.static(mem.integers)
        k = h[h[at.attached] + n]
        o = h[at.attachments] + 6 * n
        R = rotation.matrix(load4(mem.scratch, frames.work_of(mem, b, k) + places.PREDICTED + 3))
        stiffness = mem.parameters[b * h[PARAMETER] + h[at.attachment_stiffness] + n]
        return k, stiffness, load3(mem.constants, o + 3), R @ load3(mem.constants, o), load3(mem.constants, o)

    @ti.func
    def balance_body(mem: ti.template(), b, k, row_in):
        """What is left of a body's balance of forces and torques, its block of the matrix and the scales of its
        unknowns, to its scratch."""
        h = ti.static(mem.integers)
        s = ti.static(mem.scratch)
        w = frames.work_of(mem, b, k)
        rate = 1 / (mem.constants[DT] * mem.constants[DT])
        o = body_parameters(mem, b, k)
        mass = mem.parameters[o + places.MASS]
        I, _R = inertia_of(mem, b, k)
        d, theta = load3(s, w + places.INCREMENT), load3(s, w + places.INCREMENT + 3)
        omega = load3(mem.frames, body_state(mem, row_in, k) + places.BODY_SPIN)
        force = mass * (rate * d - gravity_of(mem, b))
        torque = rate * (I @ theta) + omega.cross(I @ omega)
        A = mat(0)
        for e in ti.static(range(3)):
            A[e, e] = mass * rate
        B = mat(0)
        D = rate * I
        center = load3(s, w + places.PREDICTED)
        for i in range(h[at.points]):
            for j in range(h[at.shapes]):
                pair = pairs.work_of(mem, b, i, j)
                if s[pair + places.PAIR_ACTIVE] > 0:
                    sign = side_of(mem, k, i, j)
                    if sign != 0:
                        arm = load3(s, point_work_of(mem, b, i) + places.POINT_CARRIED) - center
                        F = sign * load3(s, pair + places.PAIR_FORCE)
                        K = turn.load33(s, pair + places.PAIR_STIFFNESS)
                        X = cross_matrix(arm)
                        force -= F
                        torque -= arm.cross(F)
                        KX = products.multiply(K, X)
                        A += K
                        B -= KX
                        D -= products.multiply(X, KX)
        for n in range(h[at.attachment_count]):
            owner, stiffness, anchor, arm, _c = attachment(mem, b, n)
            if owner == k:
                F = stiffness * (anchor - center - arm - d - theta.cross(arm))
                X = cross_matrix(arm)
                force -= F
                torque -= arm.cross(F)
                for e in ti.static(range(3)):
                    A[e, e] += stiffness
                B -= stiffness * X
                D -= stiffness * (X @ X)
        store3(s, w + places.BODY_RESIDUAL, force)
        store3(s, w + places.BODY_RESIDUAL + 3, torque)
        for e in ti.static(range(3)):
            s[w + places.BODY_SCALE + e] = 1 / ti.sqrt(A[e, e])
            s[w + places.BODY_SCALE + 3 + e] = 1 / ti.sqrt(D[e, e])
            for r in ti.static(range(3)):
                s[w + places.BODY_BLOCK + 6 * e + r] = A[e, r]
                s[w + places.BODY_BLOCK + 6 * e + 3 + r] = B[e, r]
                s[w + places.BODY_BLOCK + 6 * (3 + e) + r] = B[r, e]
                s[w + places.BODY_BLOCK + 6 * (3 + e) + 3 + r] = D[e, r]

    return SimpleNamespace(
        work_of=work_of,
        state_of=state_of,
        mount_of=mount_of,
        rest_of=rest_of,
        mass_of=mass_of,
        gravity_of=gravity_of,
        solution_at=solution_at,
        body_multiplier=body_multiplier,
        predict_node=predict_node,
        guess=guess,
        body_parameters=body_parameters,
        body_state=body_state,
        predict_body=predict_body,
        frame_move=frame_move,
        point_work_of=point_work_of,
        touch_of=touch_of,
        balance_node=balance_node,
        side_of=side_of,
        inertia_of=inertia_of,
        cross_matrix=cross_matrix,
        attachment=attachment,
        balance_body=balance_body,
    )
