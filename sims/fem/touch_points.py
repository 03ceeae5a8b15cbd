"""The points of gels that particles or a rod touch: where they are, their normals, the force of contact on one.

Points are the free nodes of the gels' surfaces at the start of a substep: X = p + R y, y = x + u. Their normal is that
of the triangles around, weighted by their areas: n = R N / |N|, N = sum (y_b - y) x (y_c - y) over the triangles (y,
y_b, y_c) at the node. What touches a point is a surface with a gap g and a normal m that looks at the gel, and with a
velocity v; the law is that of ``contact_law.py``, in the frame of the mount, with the move dt (V - v), so that it acts
at the gap to which the velocities lead.
"""

from functools import cache
from types import SimpleNamespace

from pliant.sims.fem import places
from pliant.sims.fem import touch_places as own
from pliant.sims.fem.contact_law import law_functions
from pliant.sims.fem.frames import frame_functions
from pliant.sims.fem.nodes import node_functions
from pliant.sims.fem.touch_places import TouchSetup
from pliant.sims.fields import DT, PARAMETER, PARTIAL, PARTIAL_OFFSET, STATE, TEAM
from pliant.sims.math.access import access_functions
from pliant.sims.runtime import ti


@cache
def point_functions(setup: TouchSetup) -> SimpleNamespace:
    """Taichi functions of point i of world b.

    ``work_of``, ``state_of``: where its scratch and its state begin.  ``node_of``, ``mount_of``, ``gel_of``.
    ``locate(mem, b, i, row_in)``: place, velocity and normal, to its scratch.
    ``respond(mem, b, i, row_in, row_out, gap, m, v)``: force on the gel; its new state; whether it may be touched,
    which is told by the scratch, too.  ``release``: as without contact.
    ``respond_back(mem, b, c, i, row_in, gap, m, v, force, force_bar)``: cotangents of gap, m and v; that of V is
    stored.
    ``release_back``: that of ``release``.  ``settle(mem, b, c, i, row_in, has_normals)``: what the sums of place,
    velocity and normal leave to the nodes and mounts.
    """
    at, gel, fp = setup.at, setup.gel.at, setup.fp
    vec = ti.types.vector(3, fp)
    access = access_functions(fp)
    load3, store3, add3 = access.load3, access.store3, access.add3
    add_shared = access_functions(fp, setup.device).add
    frames, nodes, law = frame_functions(setup.gel), node_functions(setup.gel), law_functions(fp)

    @ti.func
    def work_of(mem: ti.template(), b, i):
        """Where the scratch of point i begins."""
        h = ti.static(mem.integers)
        return h[at.point_work] + (b * h[at.points] + i) * own.POINT_WORK

    @ti.func
    def state_of(mem: ti.template(), row, i):
        """Where the state of point i begins in a row."""
        h = ti.static(mem.integers)
        return row * h[STATE] + h[at.stick] + i * own.POINT_STATE

    @ti.func
    def node_of(mem: ti.template(), i):
        """The node that is point i."""
        h = ti.static(mem.integers)
        return h[h[gel.pressed_nodes] + i]

    @ti.func
    def gel_of(mem: ti.template(), i):
        """The gel of point i."""
        h = ti.static(mem.integers)
        return h[h[gel.node_gels] + node_of(mem, i)]

    @ti.func
    def mount_of(mem: ti.template(), i):
        """The mount of point i."""
        return nodes.mount_of(mem, node_of(mem, i))

    @ti.func
    def vertex_place(mem: ti.template(), row, v):
        """Place of a vertex of the surfaces in the frame of its mount."""
        h = ti.static(mem.integers)
        y = load3(mem.constants, h[at.vertex_rest] + 3 * v)
        node = h[h[at.vertex_nodes] + v]
        if node >= 0:
            y += load3(mem.frames, nodes.state_of(mem, row, node) + places.DISPLACEMENT)
        return y

    @ti.func
    def own_place(mem: ti.template(), row, i):
        """Place of point i in the frame of its mount."""
        node = node_of(mem, i)
        return nodes.rest_of(mem, node) + load3(mem.frames, nodes.state_of(mem, row, node) + places.DISPLACEMENT)

    @ti.func
    def locate(mem: ti.template(), b, i, row_in):
        """Place, velocity and normal of point i."""
        h = ti.static(mem.integers)
        w = work_of(mem, b, i)
        p, R = frames.start(mem, b, row_in, mount_of(mem, i))
        y = own_place(mem, row_in, i)
        total = vec(0)
        for f in range(h[h[at.fan_starts] + i], h[h[at.fan_starts] + i + 1]):
            one = vertex_place(mem, row_in, h[h[at.fans] + 2 * f]) - y
            other = vertex_place(mem, row_in, h[h[at.fans] + 2 * f + 1]) - y
            total += one.cross(other)
        length = ti.sqrt(total.dot(total))
        store3(mem.scratch, w + own.PLACE, p + R @ y)
        store3(
            mem.scratch,
            w + own.VELOCITY,
            load3(mem.frames, nodes.state_of(mem, row_in, node_of(mem, i)) + places.VELOCITY),
        )
        store3(mem.scratch, w + own.NORMAL, R @ (total / length))
        mem.scratch[w + own.LENGTH] = length

    @ti.func
    def coefficients(mem: ti.template(), b, i):
        """k A, k_t A, mu, c and A of point i."""
        h = ti.static(mem.integers)
        o = b * h[PARAMETER] + h[at.world]
        area = mem.constants[h[gel.pressed_areas] + i]
        return (
            area * mem.parameters[o + own.STIFFNESS],
            area * mem.parameters[o + own.TANGENT],
            mem.parameters[b * h[PARAMETER] + h[at.friction] + gel_of(mem, i)],
            mem.parameters[o + own.DAMPING],
            area,
        )

    @ti.func
    def respond(mem: ti.template(), b, i, row_in, row_out, gap, m, v):
        """Force on the gel; new stretch and normal force to the state."""
        h = ti.static(mem.integers)
        _p, R = frames.start(mem, b, row_in, mount_of(mem, i))
        k_area, k_t_area, mu, damping, _area = coefficients(mem, b, i)
        dt = mem.constants[DT]
        old, new = state_of(mem, row_in, i), state_of(mem, row_out, i)
        w = work_of(mem, b, i)
        W = dt * (load3(mem.scratch, w + own.VELOCITY) - v)
        f, stretch, normal, _K = law.respond(
            gap,
            R.transpose() @ m,
            gap,
            load3(mem.frames, old + own.STRETCH),
            mem.frames[old + own.NORMAL_FORCE],
            R.transpose() @ W,
            k_area,
            k_t_area,
            mu,
            damping,
            mem.constants[at.onset],
            dt,
        )
        store3(mem.frames, new + own.STRETCH, stretch)
        mem.frames[new + own.NORMAL_FORCE] = normal
        # beyond the layer, and without friction from the substep before, all derivatives are 0
        is_active = gap + m.dot(W) < mem.constants[at.onset] or mem.frames[old + own.NORMAL_FORCE] > 0
        mem.scratch[w + own.GAP] = gap
        mem.scratch[w + own.ACTIVE] = ti.cast(is_active, fp)
        force = R @ f
        store3(mem.scratch, w + own.MEAN, v)
        store3(mem.scratch, w + own.FORCE, force)
        store3(mem.scratch, h[gel.push] + 3 * (b * h[gel.count] + node_of(mem, i)), force)
        return force

    @ti.func
    def release(mem: ti.template(), b, i, row_out):
        """The state of a point that nothing touches."""
        h = ti.static(mem.integers)
        new, w = state_of(mem, row_out, i), work_of(mem, b, i)
        mem.scratch[w + own.ACTIVE] = fp(0.0)
        store3(mem.scratch, w + own.FORCE, vec(0))
        store3(mem.scratch, h[gel.push] + 3 * (b * h[gel.count] + node_of(mem, i)), vec(0))
        store3(mem.frames, new + own.STRETCH, vec(0))
        mem.frames[new + own.NORMAL_FORCE] = fp(0.0)

    @ti.func
    def sums_of(mem: ti.template(), b, c):
        """Where member c's sums of parameters begin."""
        h = ti.static(mem.integers)
        return h[PARTIAL_OFFSET] + (b * h[TEAM] + c) * h[PARTIAL] + h[at.sums]

    @ti.func
    def respond_back(mem: ti.template(), b, c, i, row_in, gap, m, v, force, force_bar):
        """Cotangents of gap, m and v, for that of the force and those of the new state, whose place those of the old
        state take; that of the point's velocity is stored."""
        f = mount_of(mem, i)
        _p, R = frames.start(mem, b, row_in, f)
        k_area, k_t_area, mu, damping, area = coefficients(mem, b, i)
        dt = mem.constants[DT]
        old, a, w = state_of(mem, row_in, i), state_of(mem, b, i), work_of(mem, b, i)
        W = dt * (load3(mem.scratch, w + own.VELOCITY) - v)
        gap_bar, m_local_bar, before_bar, stretch_bar, last_bar, W_local_bar, values_bar = law.respond_adjoint(
            gap,
            R.transpose() @ m,
            gap,
            load3(mem.frames, old + own.STRETCH),
            mem.frames[old + own.NORMAL_FORCE],
            R.transpose() @ W,
            k_area,
            k_t_area,
            mu,
            damping,
            mem.constants[at.onset],
            dt,
            R.transpose() @ force_bar,
            load3(mem.adjoint, a + own.STRETCH),
            mem.adjoint[a + own.NORMAL_FORCE],
        )
        store3(mem.adjoint, a + own.STRETCH, stretch_bar)
        mem.adjoint[a + own.NORMAL_FORCE] = last_bar
        W_bar = R @ W_local_bar
        store3(mem.scratch, w + own.VELOCITY_BAR, dt * W_bar)
        R_bar = force_bar.outer_product(R.transpose() @ force) + W.outer_product(W_local_bar)
        frames.add_start(mem, b, c, f, vec(0), R_bar + m.outer_product(m_local_bar))
        sums = sums_of(mem, b, c)
        add_shared(mem.scratch, sums + own.STIFFNESS, area * values_bar[0])
        add_shared(mem.scratch, sums + own.TANGENT, area * values_bar[1])
        add_shared(mem.scratch, sums + own.DAMPING, values_bar[3])
        add_shared(mem.scratch, sums + own.WORLD_PARAMETERS + gel_of(mem, i), values_bar[2])
        return gap_bar + before_bar, R @ m_local_bar, -dt * W_bar

    @ti.func
    def release_back(mem: ti.template(), b, i):
        """A point that nothing touches leaves nothing to its old state, nor to anything else."""
        a, w = state_of(mem, b, i), work_of(mem, b, i)
        store3(mem.adjoint, a + own.STRETCH, vec(0))
        mem.adjoint[a + own.NORMAL_FORCE] = fp(0.0)
        for o in ti.static((own.NORMAL_BAR, own.PLACE_BAR, own.VELOCITY_BAR)):
            store3(mem.scratch, w + o, vec(0))

    @ti.func
    def push_bar_of(mem: ti.template(), b, i):
        """The cotangent that the gels' step has left to the force on point i."""
        h = ti.static(mem.integers)
        return load3(mem.scratch, h[gel.push_bar] + 3 * (b * h[gel.count] + node_of(mem, i)))

    @ti.func
    def keep_normal_bar(mem: ti.template(), b, c, i, row_in, n_bar):
        """The cotangent of the sum that is the normal of point i, from that of the normal in the world."""
        w, f = work_of(mem, b, i), mount_of(mem, i)
        _p, R = frames.start(mem, b, row_in, f)
        n = R.transpose() @ load3(mem.scratch, w + own.NORMAL)
        bar = R.transpose() @ n_bar
        store3(mem.scratch, w + own.NORMAL_BAR, (bar - n * n.dot(bar)) / mem.scratch[w + own.LENGTH])
        frames.add_start(mem, b, c, f, vec(0), n_bar.outer_product(n))

    @ti.func
    def normal_bar_of(mem: ti.template(), b, v):
        """The cotangent of the sum that is the normal of a vertex; 0 if it is no point."""
        h = ti.static(mem.integers)
        bar = vec(0)
        i = h[h[at.vertex_points] + v]
        if i >= 0:
            bar = load3(mem.scratch, work_of(mem, b, i) + own.NORMAL_BAR)
        return bar

    @ti.func
    def settle(mem: ti.template(), b, c, i, row_in, has_normals: ti.template()):
        """Adds what is stored of point i, and the normals around it, to the cotangents of node and mount."""
        h = ti.static(mem.integers)
        w, f, node = work_of(mem, b, i), mount_of(mem, i), node_of(mem, i)
        _p, R = frames.start(mem, b, row_in, f)
        y = own_place(mem, row_in, i)
        bar = load3(mem.scratch, w + own.PLACE_BAR)
        y_bar = R.transpose() @ bar
        if ti.static(has_normals):
            mine = load3(mem.scratch, w + own.NORMAL_BAR)
            for n in range(h[h[at.fan_starts] + i], h[h[at.fan_starts] + i + 1]):
                one, other = h[h[at.fans] + 2 * n], h[h[at.fans] + 2 * n + 1]
                area_bar = mine + normal_bar_of(mem, b, one) + normal_bar_of(mem, b, other)
                y_bar += (vertex_place(mem, row_in, one) - vertex_place(mem, row_in, other)).cross(area_bar)
        a = nodes.state_of(mem, b, node)
        add3(mem.adjoint, a + places.DISPLACEMENT, y_bar)
        add3(mem.adjoint, a + places.VELOCITY, load3(mem.scratch, w + own.VELOCITY_BAR))
        frames.add_start(mem, b, c, f, bar, bar.outer_product(y))

    @ti.func
    def clear_sums(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """Empties member c's sums of parameters."""
        for k in range(first, stop):
            mem.scratch[sums_of(mem, b, c) + k] = fp(0.0)

    @ti.func
    def add_sums(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """Adds the sums of all members to the cotangents of the parameters."""
        h = ti.static(mem.integers)
        for _ in range(first, stop):
            for m in range(h[TEAM]):
                o = sums_of(mem, b, m)
                for k in range(own.WORLD_PARAMETERS):
                    e = b * h[PARAMETER] + h[at.world] + k
                    mem.parameter_adjoint[e] = mem.parameter_adjoint[e] + mem.scratch[o + k]
                for g in range(h[gel.gels]):
                    e = b * h[PARAMETER] + h[at.friction] + g
                    mem.parameter_adjoint[e] = mem.parameter_adjoint[e] + mem.scratch[o + own.WORLD_PARAMETERS + g]

    return SimpleNamespace(
        work_of=work_of,
        gel_of=gel_of,
        locate=locate,
        respond=respond,
        release=release,
        respond_back=respond_back,
        release_back=release_back,
        push_bar_of=push_bar_of,
        keep_normal_bar=keep_normal_bar,
        settle=settle,
        clear_sums=clear_sums,
        add_sums=add_sums,
        settle_effectors=frames.settle_effectors,
    )
