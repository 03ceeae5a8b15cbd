"""Fields of the nodes for surface tension: where they are, and the operators that act on them."""

from functools import cache
from types import SimpleNamespace

from pliant.sims.fields import DT, PARAMETER, PARTIAL, PARTIAL_OFFSET, TEAM
from pliant.sims.mpm import places
from pliant.sims.mpm.places import Setup
from pliant.sims.mpm.stencil import stencil_functions
from pliant.sims.mpm.tension.energy import REACH, SHARE, field_count
from pliant.sims.runtime import ti

# Fields: k, c_s, f(c_s), D . q, two to work on, and a vector from UNIT on.
CURVATURE, SMOOTH, PHASE, TURN, WORK, OTHER, UNIT = range(7)


@cache
def operator_functions(setup: Setup) -> SimpleNamespace:
    """Where the fields of the nodes are, the mean S and the difference D of them, and constants.

    ``low``, ``high``: lowest and highest node of a box outside which a field is zero; ``n``: index of the node at which
    a value is wanted; ``place``: first node of the field.
    """
    at, dim, fp = setup.at, setup.dim, setup.fp
    vec = ti.types.vector(dim, fp)
    ivec = ti.types.vector(dim, ti.i32)
    stencil = stencil_functions(setup)
    sums = places.world_sums(dim)

    @ti.func
    def colour_at(mem: ti.template(), b, c):
        """First node of member c's copy of the colours; copy 0 holds their sum once they are collected."""
        h = ti.static(mem.integers)
        return h[at.colour] + (b * h[TEAM] + c) * h[at.nodes]

    @ti.func
    def field_at(mem: ti.template(), b, k):
        """First node of field k of world b."""
        h = ti.static(mem.integers)
        return h[at.fields] + (b * ti.static(field_count(dim)) + k) * h[at.nodes]

    @ti.func
    def partial_at(mem: ti.template(), b, c):
        """Where member c sums up the cotangent of the surface tension."""
        h = ti.static(mem.integers)
        return h[PARTIAL_OFFSET] + (b * h[TEAM] + c) * h[PARTIAL] + h[at.partial] + sums + h[at.groups]

    @ti.func
    def grown(mem: ti.template(), low, high):
        """The box grown by ``REACH``, as far as the grid goes."""
        wide_low, wide_high = low, high
        for d in ti.static(range(dim)):
            wide_low[d] = ti.max(low[d] - REACH, 0)
            wide_high[d] = ti.min(high[d] + REACH, mem.integers[at.extent + d] - 1)
        return wide_low, wide_high

    @ti.func
    def weight(i):
        """(1, 4, 6, 4, 1) / 16, from -2 to 2: the mean of (1, 2, 1) / 4 taken twice."""
        return fp(0.375) - fp(0.09375) * ti.abs(i) - fp(0.03125) * i * i

    @ti.func
    def mean(mem: ti.template(), place, low, high, node, n):
        """S of a scalar, 0 outside the box; the node may lie outside too."""
        first, beyond = ivec(-2), ivec(3)
        for d in ti.static(range(dim)):
            first[d] = ti.max(-2, low[d] - node[d])
            beyond[d] = ti.min(3, high[d] - node[d] + 1)
        total = fp(0.0)
        stride_i, stride_j = stencil.strides(mem)
        for i in range(first[0], beyond[0]):
            over = fp(0.0)
            start = place + n + i * stride_i
            if ti.static(dim == 3):
                for j in range(first[1], beyond[1]):
                    row = fp(0.0)
                    for l in range(first[2], beyond[2]):
                        row += weight(l) * mem.scratch[start + j * stride_j + l]
                    over += weight(j) * row
            else:
                for l in range(first[1], beyond[1]):
                    over += weight(l) * mem.scratch[start + l]
            total += weight(i) * over
        return total

    @ti.func
    def difference(mem: ti.template(), place, low, high, node, n, d: ti.template()):
        """D along axis d of a scalar, 0 outside the box, at a node inside."""
        step = 1
        for e in ti.static(range(d + 1, dim)):
            step *= mem.integers[at.extent + e]
        total = fp(0.0)
        if node[d] < high[d]:
            total += fp(0.5) * mem.scratch[place + n + step]
        if node[d] > low[d]:
            total -= fp(0.5) * mem.scratch[place + n - step]
        return total

    @ti.func
    def slope(mem: ti.template(), place, low, high, node, n):
        """D of a scalar."""
        g = vec(0.0)
        for d in ti.static(range(dim)):
            g[d] = difference(mem, place, low, high, node, n, d)
        return g

    @ti.func
    def divergence(mem: ti.template(), b, low, high, node, n):
        """D . of the vector field."""
        total = fp(0.0)
        place = field_at(mem, b, UNIT)
        for d in ti.static(range(dim)):
            total += difference(mem, place + d * mem.integers[at.nodes], low, high, node, n, d)
        return total

    @ti.func
    def store_vector(mem: ti.template(), b, n, v):
        """Writes v to the vector field at node n."""
        place = field_at(mem, b, UNIT) + n
        for d in ti.static(range(dim)):
            mem.scratch[place + d * mem.integers[at.nodes]] = v[d]

    @ti.func
    def scale(mem: ti.template()):
        """a over the surface tension: dt cell^(dim - 2) / share."""
        a = mem.constants[DT] * fp(1.0 / SHARE)
        if ti.static(dim == 3):
            a *= mem.constants[at.cell]
        return a

    @ti.func
    def tension(mem: ti.template(), b):
        """The surface tension gamma of world b [N/m]."""
        h = ti.static(mem.integers)
        return mem.parameters[b * h[PARAMETER] + h[at.surface_tension]]

    @ti.func
    def phase_slope(mem: ti.template(), b, n):
        """f'(c_s)"""
        x = ti.min(mem.scratch[field_at(mem, b, SMOOTH) + n], fp(1.0))
        return fp(6.0) * x * (fp(1.0) - x)

    return SimpleNamespace(
        colour_at=colour_at,
        field_at=field_at,
        partial_at=partial_at,
        grown=grown,
        mean=mean,
        slope=slope,
        divergence=divergence,
        store_vector=store_vector,
        scale=scale,
        tension=tension,
        phase_slope=phase_slope,
    )
