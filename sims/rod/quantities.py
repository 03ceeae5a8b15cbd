"""Quantities of a rod: where they are in memory, and what follows from a state: edges, frames, strains, moments."""

from functools import cache
from types import SimpleNamespace

from pliant.sims.fields import CONTROL, DT, PARAMETER, STATE
from pliant.sims.math.access import access_functions
from pliant.sims.rod import places
from pliant.sims.rod.energies import joint_functions
from pliant.sims.rod.places import Setup
from pliant.sims.runtime import ti


@cache
def quantity_functions(setup: Setup) -> SimpleNamespace:
    """Taichi functions of one floating-point type; symbols as in ``assembly.py``.

    ``start`` is where a rod's state starts in the row that is asked, ``params`` where its parameters start.
    """
    at, fp, push, is_pushed = setup.at, setup.fp, setup.push, setup.push is not None
    forces_at = -1 if push is None else push[0]
    vec3 = ti.types.vector(3, fp)
    vec4 = ti.types.vector(4, fp)
    joint = joint_functions(fp)
    access = access_functions(fp)
    load3, store3 = access.load3, access.store3

    @ti.func
    def parent_of(mem: ti.template(), i):
        """Parent of node i; -1 for the root and for what does not exist."""
        result = -1
        if i >= 0:
            result = mem.integers[mem.integers[at.parents] + i]
        return result

    @ti.func
    def starts(mem: ti.template(), b, r_in, r_out):
        """Where old state, new state, parameters and working memory of world b start."""
        h = ti.static(mem.integers)
        old = r_in * h[STATE] + h[at.state]
        new = r_out * h[STATE] + h[at.state]
        params = b * h[PARAMETER] + h[at.properties]
        work = h[at.system] + b * h[at.count] * places.WORK_RECORD
        return old, new, params, work

    @ti.func
    def field(start, i, k):
        """Index of entry k of node i in a state that starts at ``start``."""
        return start + i * places.STATE_RECORD + k

    @ti.func
    def parameter(params, i, k):
        """Index of parameter k of node i."""
        return params + i * places.NODE_PARAMETERS + k

    @ti.func
    def is_second_order(mem: ti.template(), r_in):
        """1 if the step from this row has a step before it to build on."""
        h = ti.static(mem.integers)
        result = 0
        if h[at.second_order] != 0 and mem.frames[r_in * h[STATE] + h[at.history]] > 0.5:
            result = 1
        return result

    @ti.func
    def scheme(mem: ti.template(), second):
        """s, and the shares of the last and the last but one value in z_o."""
        s = 1 / mem.constants[DT]
        last = fp(1.0)
        before = fp(0.0)
        if second != 0:
            s *= fp(1.5)
            last = fp(4.0 / 3.0)
            before = fp(-1.0 / 3.0)
        return s, last, before

    @ti.func
    def edge(mem: ti.template(), start, i):
        """Unit tangent and length of node i's edge."""
        a = ti.static(mem.frames)
        e = load3(a, field(start, i, places.POSITION)) - load3(a, field(start, parent_of(mem, i), places.POSITION))
        length = ti.sqrt(e.dot(e))
        return e / length, length

    @ti.func
    def director(mem: ti.template(), start, i, t):
        """First director of node i's edge, made normal to the tangent t; and its length before normalisation."""
        m = load3(mem.frames, field(start, i, places.DIRECTOR))
        m -= t * t.dot(m)
        length = ti.sqrt(m.dot(m))
        return m / length, length

    @ti.func
    def measure(mem: ti.template(), start):
        """Writes the strains of all joints into the row itself."""
        for i in range(1, mem.integers[at.count]):
            p = parent_of(mem, i)
            if parent_of(mem, p) >= 0:
                t, _eps = edge(mem, start, p)
                u, _eps_f = edge(mem, start, i)
                m1, _m = director(mem, start, p, t)
                n1, _n = director(mem, start, i, u)
                store3(mem.frames, field(start, i, places.STRAIN), joint.strains(t, u, m1, n1))

    @ti.func
    def scales(mem: ti.template(), b):
        """Factors of bend stiffness, twist stiffness, mass and damping in this step."""
        h = ti.static(mem.integers)
        result = vec4(1)
        if h[at.scaled] != 0:
            for k in ti.static(range(4)):
                result[k] += mem.controls[b * h[CONTROL] + h[at.scale] + k]
        return result

    @ti.func
    def applied(mem: ti.template(), b, i):
        """Force on vertex i that is a control, or that another part has left [N]."""
        h = ti.static(mem.integers)
        result = vec3(0)
        if h[at.forced] != 0:
            result = load3(mem.controls, b * h[CONTROL] + h[at.vertex_force] + 3 * i)
        if ti.static(is_pushed):
            result += load3(mem.scratch, h[forces_at] + 3 * (b * h[at.count] + i))
        return result

    @ti.func
    def moments(mem: ti.template(), params, i, p, s, strain, earlier, scale):
        """Moments w conjugate to the strains of node i's joint (bend, bend, twist), their elastic stiffness, viscous
        share and the joint's length."""
        a = ti.static(mem.parameters)
        length = (a[parameter(params, i, places.REST_LENGTH)] + a[parameter(params, p, places.REST_LENGTH)]) / 2
        stiffness = load3(a, parameter(params, i, places.BEND)) / length
        stiffness *= vec3(scale[places.BEND_SCALE], scale[places.BEND_SCALE], scale[places.TWIST_SCALE])
        s_damping = s * scale[places.DAMPING_SCALE]
        natural = load3(a, parameter(params, i, places.CURVATURE)) * length
        bend = s_damping * a[parameter(params, i, places.BEND_DAMPING)]
        viscous = vec3(bend, bend, s_damping * a[parameter(params, i, places.TWIST_DAMPING)])
        w = stiffness * (strain - natural + viscous * (strain - earlier))
        return w, stiffness, viscous, natural, length

    return SimpleNamespace(
        parent_of=parent_of,
        starts=starts,
        field=field,
        parameter=parameter,
        is_second_order=is_second_order,
        scheme=scheme,
        edge=edge,
        director=director,
        measure=measure,
        scales=scales,
        applied=applied,
        moments=moments,
    )
