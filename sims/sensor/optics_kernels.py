"""From normals to colours, pixel by pixel, and back: the kernels of the tactile image.

A pixel p with the normal n shows, in channel c,

    m = (n_x, n_y) / (1 + n_z),   raw_c = background_c(p) + w sum_k factor_ck(p) T_ck(m),
    image_c = clip(raw_c, 0, 255)

with the share w = t^2 (3 - 2 t), t = clip(depth / full depth, 0, 1), of a dent of that depth, or a given one.

T is a table of quadratic B-splines over m: nodes i, j = 0 .. N - 1, N - 2 cells on each axis of the square |m_x|,
|m_y| <= 1. In the cell (i, j), at (a, b) of it, T(m) = sum over r, s = 0, 1, 2 of B_r(a) B_s(b) table[i + r, j + s],
with B(a) = ((1 - a)^2 / 2, 1/2 + a - a^2, a^2 / 2). T and its first derivatives are continuous. Outside the square it
is as on its edge.
"""

import functools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from pliant.sims.runtime import float_type, ti

SPLINE = 3
"""Nodes along an axis that a point sees."""


def _lookup_functions(fp: Any, terms: int) -> SimpleNamespace:
    """Functions of a point of the table, for one precision and number of terms."""

    @ti.func
    def weights(a):
        """B(a) of the three nodes, 0 <= a <= 1."""
        return ti.Vector([0.5 * (1 - a) * (1 - a), fp(0.5) + a * (1 - a), 0.5 * a * a])

    @ti.func
    def slopes(a):
        """dB/da of the three nodes."""
        return ti.Vector([a - 1, 1 - 2 * a, a])

    @ti.func
    def cell_of(m, cells):
        """The cell on an axis, the place in it, and 0 where m was moved onto the edge of the table, else 1."""
        at = fp(0.5) * (m + 1) * cells
        inside = ti.cast(0, fp)
        if 0 < at < cells:
            inside = ti.cast(1, fp)
        at = ti.min(ti.max(at, ti.cast(0, fp)), ti.cast(cells, fp))
        cell = ti.min(ti.cast(ti.floor(at), ti.i32), cells - 1)
        return cell, at - cell, inside

    @ti.func
    def change(nodes, i, j, wx, wy, p, factor: ti.template(), table: ti.template()):
        """sum_k factor_ck(p) T_ck of the three channels."""
        # All T_ck side by side: a node's numbers lie in a row, which the processor adds up several at a time.
        values = ti.Vector([ti.cast(0, fp)] * (3 * terms))
        for r in ti.static(range(SPLINE)):
            for s in ti.static(range(SPLINE)):
                node, weight = (i + r) * nodes + j + s, wx[r] * wy[s]
                for l in ti.static(range(3 * terms)):
                    values[l] += weight * table[node * 3 * terms + l]
        total = ti.Vector([ti.cast(0, fp)] * 3)
        for c in ti.static(range(3)):
            for k in ti.static(range(terms)):
                total[c] += values[c * terms + k] * factor[p * 3 * terms + c * terms + k]
        return total

    @ti.func
    def weighted_node(node, gain, table: ti.template()):
        """sum_ck gain_ck table_ck of one node."""
        value = ti.cast(0, fp)
        for j in ti.static(range(3 * terms)):
            value += gain[j] * table[node * 3 * terms + j]
        return value

    @ti.func
    def share(depth, full_depth):
        """w of a depth; the number itself where the full depth is not above 0."""
        w = depth
        if full_depth > 0:
            t = ti.min(ti.max(depth / full_depth, ti.cast(0, fp)), ti.cast(1, fp))
            w = t * t * (3 - 2 * t)
        return w

    @ti.func
    def share_slope(depth, full_depth):
        """dw/ddepth = 6 t (1 - t) / full depth; 1 of a share, or 0 where the full depth is negative."""
        slope = ti.cast(1, fp)
        if full_depth < 0:
            slope = ti.cast(0, fp)
        if full_depth > 0:
            t = ti.min(ti.max(depth / full_depth, ti.cast(0, fp)), ti.cast(1, fp))
            slope = 6 * t * (1 - t) / full_depth
        return slope

    return SimpleNamespace(
        share=share,
        share_slope=share_slope,
        weights=weights,
        slopes=slopes,
        cell_of=cell_of,
        change=change,
        weighted_node=weighted_node,
    )


@functools.cache
def shading_kernels(precision: str, terms: int) -> tuple[Callable[..., None], Callable[..., None]]:
    """The kernel that shades a batch of pictures, and its adjoint, for one precision and number of terms K.

    Arrays are flat. ``count`` pixels in all, ``pixels`` of a picture, ``nodes`` N along an axis of the table;
    ``full_depth`` [m], or 0 where ``depth`` holds shares, -1 where nobody asks for their cotangents; ``normals``
    (count * 3), ``depth`` (count), ``factor`` (pixels * 3 * K), ``background`` (pixels * 3), ``table`` (N * N * 3 * K),
    ``raw`` (count * 3).
    """
    fp = float_type(precision)
    look = _lookup_functions(fp, terms)
    array = ti.types.ndarray(fp, 1)

    @ti.kernel
    def shade(
        count: int,
        pixels: int,
        nodes: int,
        full_depth: fp,
        normals: array,
        depth: array,
        factor: array,
        background: array,
        table: array,
        raw: array,
    ):
        """raw = background + w sum_k factor_k T_k(m); pixels with a share of 0 cost nothing else."""
        for q in range(count):
            p = q % pixels
            colour = ti.Vector([background[3 * p], background[3 * p + 1], background[3 * p + 2]])
            w = look.share(depth[q], full_depth)
            if w != 0:
                scale = 1 / (1 + normals[3 * q + 2])
                i, a, _inside = look.cell_of(normals[3 * q] * scale, nodes - 2)
                j, b, _also = look.cell_of(normals[3 * q + 1] * scale, nodes - 2)
                colour += w * look.change(nodes, i, j, look.weights(a), look.weights(b), p, factor, table)
            for c in ti.static(range(3)):
                raw[3 * q + c] = colour[c]

    @ti.kernel
    def shade_adjoint(
        count: int,
        pixels: int,
        nodes: int,
        full_depth: fp,
        normals: array,
        depth: array,
        factor: array,
        table: array,
        raw: array,
        raw_bar: array,
        normals_bar: array,
        depth_bar: array,
    ):
        """Cotangents of the normals and depths from that of the image, 0 where ``raw`` was clipped.

        With gain_ck = image_bar_c factor_ck and v_rs = sum_ck gain_ck table_ck of the nine nodes:
        w_bar = sum_rs B_r(a) B_s(b) v_rs;  m_x_bar = w (N - 2) / 2 sum_rs B'_r(a) B_s(b) v_rs, and m_y_bar alike;
        m_x = n_x / (1 + n_z): n_x_bar = m_x_bar / (1 + n_z), n_z_bar = -(m_x m_x_bar + m_y m_y_bar) / (1 + n_z).
        """
        for q in range(count):
            p = q % pixels
            w, w_slope = look.share(depth[q], full_depth), look.share_slope(depth[q], full_depth)
            out = ti.Vector([ti.cast(0, fp)] * 3)
            w_bar = ti.cast(0, fp)
            if w != 0 or w_slope != 0:
                scale = 1 / (1 + normals[3 * q + 2])
                mx, my = normals[3 * q] * scale, normals[3 * q + 1] * scale
                i, a, x_inside = look.cell_of(mx, nodes - 2)
                j, b, y_inside = look.cell_of(my, nodes - 2)
                gain = ti.Vector([ti.cast(0, fp)] * (3 * terms))
                for c in ti.static(range(3)):
                    image_bar = raw_bar[3 * q + c]
                    if raw[3 * q + c] < 0 or raw[3 * q + c] > 255:
                        image_bar = ti.cast(0, fp)
                    for k in ti.static(range(terms)):
                        gain[c * terms + k] = image_bar * factor[p * 3 * terms + c * terms + k]
                wx, wy, dx, dy = look.weights(a), look.weights(b), look.slopes(a), look.slopes(b)
                mx_bar, my_bar = ti.cast(0, fp), ti.cast(0, fp)
                for r in ti.static(range(SPLINE)):
                    for s in ti.static(range(SPLINE)):
                        v = look.weighted_node((i + r) * nodes + j + s, gain, table)
                        w_bar += wx[r] * wy[s] * v
                        mx_bar += dx[r] * wy[s] * v
                        my_bar += wx[r] * dy[s] * v
                half = fp(0.5) * w * (nodes - 2) * scale
                out[0], out[1] = half * x_inside * mx_bar, half * y_inside * my_bar
                out[2] = -(mx * out[0] + my * out[1])
            for c in ti.static(range(3)):
                normals_bar[3 * q + c] = out[c]
            depth_bar[q] = w_slope * w_bar

    return shade, shade_adjoint
