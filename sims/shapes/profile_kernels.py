"""Signed distance of a closed polygon in the half plane (rho, z) with its derivatives, as Taichi functions.

The surface is the polygon's segments but for those on the axis. Around an edge the distance is that to a line, around a
corner v, with d = |p - v| and sign s (+1 where the solid is convex, -1 where it is not),

    f = s d,   gradient s (p - v)/d,   Hessian s (I - m m^T)/d,   m = (p - v)/d.

Which segment is the nearest is looked up: each cell of a table over (rho, z) lists all segments that are the nearest
somewhere in it (``profile.py``), so that the distance is exact and its cost grows little with the number of segments.

After the kind a record (``shape_kernels.py``) has: number of segments, start of the data counted from that of the
record, low z of the table, cells per metre, cells along rho and z, largest rho, low and high z of the solid, and the
rho beyond which its upright outer faces are see-through in pictures (negative: none). The data are the segments (start,
unit tangent with the solid on its left, length, sign of the corner at the start and at the end; 0: no corner), where
the list of each cell begins and the last ends, and the lists.
"""
# mypy: disable-error-code="valid-type"

import functools
from types import SimpleNamespace

from pliant.sims.runtime import ti

(COUNT_AT, DATA_AT, LOW_AT, DENSITY_AT, COLUMNS_AT, LINES_AT, RHO_AT, BOTTOM_AT, TOP_AT, CLEAR_AT) = range(1, 11)
SEGMENT_SIZE = 7


@functools.cache
def profile_functions(fp) -> SimpleNamespace:
    """Taichi functions of one floating-point type; ``o`` is where a record begins in the flat array ``shapes``.

    ``profile(shapes, o, rho, z) -> (f, f_r, f_z, curvature)``: signed distance [m], its gradient, and the nonzero
    eigenvalue of its Hessian (across the gradient).
    """

    @ti.func
    def offset(shapes: ti.template(), s, rho, z):
        """(rho, z) from the start of a segment, by its tangent and its outward normal."""
        a, b, tr, tz = rho - shapes[s], z - shapes[s + 1], shapes[s + 2], shapes[s + 3]
        return a * tr + b * tz, a * tz - b * tr

    @ti.func
    def nearest(shapes: ti.template(), o, rho, z):
        """Where the record of the nearest segment begins."""
        count = ti.cast(shapes[o + COUNT_AT], ti.i32)
        data = o + ti.cast(shapes[o + DATA_AT], ti.i32)
        columns, lines = shapes[o + COLUMNS_AT], shapes[o + LINES_AT]
        i, k = rho * shapes[o + DENSITY_AT], (z - shapes[o + LOW_AT]) * shapes[o + DENSITY_AT]
        cells = data + SEGMENT_SIZE * count
        begin = 0
        end = count
        is_listed = i < columns and 0 <= k < lines  # not so beyond the table, nor for what is not a number
        if is_listed:
            at = cells + ti.cast(k, ti.i32) * ti.cast(columns, ti.i32) + ti.cast(i, ti.i32)
            begin = ti.cast(shapes[at], ti.i32)
            end = ti.cast(shapes[at + 1], ti.i32)
        best = data
        least = fp(1e30)
        for n in range(begin, end):
            s = data + SEGMENT_SIZE * n
            if is_listed:
                s = data + SEGMENT_SIZE * ti.cast(shapes[data + n], ti.i32)
            along, across = offset(shapes, s, rho, z)
            over = ti.max(-along, along - shapes[s + 4], fp(0.0))
            square = across * across + over * over
            if square < least:
                least = square
                best = s
        return best

    @ti.func
    def profile(shapes: ti.template(), o, rho, z):
        """Signed distance f of (rho, z) from the polygon, f_rho, f_z, and the curvature of its level line."""
        s = nearest(shapes, o, rho, z)
        tr, tz, length = shapes[s + 2], shapes[s + 3], shapes[s + 4]
        along, across = offset(shapes, s, rho, z)
        f, f_r, f_z, curvature = across, tz, -tr, fp(0.0)
        sign = fp(0.0)
        over = along
        if along < 0:
            sign = shapes[s + 5]
        elif along > length:
            sign = shapes[s + 6]
            over = along - length
        d = ti.sqrt(over * over + across * across)
        if sign != 0 and d > 0:
            f = sign * d
            curvature = 1 / f
            f_r = curvature * (over * tr + across * tz)
            f_z = curvature * (over * tz - across * tr)
        return f, f_r, f_z, curvature

    return SimpleNamespace(profile=profile)
