"""Kernels that draw a gel's skin as the camera sees it, pixel by pixel, and their adjoints.

Vertices a, b, c of a triangle are in the camera's frame. The ray of a pixel is d = (x, y, 1), x and y its slopes (exact
for any lens); it meets the triangle's plane at depth s, at the point s d = beta_a a + beta_b b + beta_c c, with

    w_a = d . (b x c),  w_b = d . (c x a),  w_c = d . (a x b),     beta_i = w_i / (w_a + w_b + w_c),
    s = beta_a a_z + beta_b b_z + beta_c c_z,                      inside where no beta is negative.

The w are linear in d. They are taken about a ray through the triangle, in coordinates sheared so that this ray is the
axis: without that their digits cancel in float32.

A thread draws all triangles of a band of lines in their order, and in the adjoint sums all pixels of a triangle, then
all triangles of a vertex: nothing is added by two threads, and no result depends on how many there are.
"""
# mypy: disable-error-code="valid-type,attr-defined,index"

from functools import cache
from types import SimpleNamespace

from pliant.sims.runtime import float_type, ti

PLANE = 20
"""Numbers of a triangle: three of each w (by x, by y, constant), the slopes of the ray that they are taken about, and
nine of the normal m = sum w_i N_i, which is linear in d, too."""

SUMS = 18
"""Cotangents of a triangle's corners: of position and unit normal of each."""

NOTHING = -1
"""Number of the triangle in a pixel that shows none."""


@cache
def raster_kernels(precision: str) -> SimpleNamespace:
    """Kernels ``place``, ``smooth_normals``, ``planes``, ``draw``, and backwards ``gather``, ``collect``, ``put_back``.

    All arrays are flat; worlds come first in them. V vertices, T triangles, N nodes of the gel, W x H pixels.
    """
    fp = float_type(precision)
    floats = ti.types.ndarray(fp, 1)
    whole = ti.types.ndarray(ti.i32, 1)
    slack = 1e-5 if precision == "f32" else 1e-12  # neighbours overlap by so much of a triangle: no gaps by rounding
    far, tiny = 1e30, 1e-30

    @ti.func
    def triple(a: ti.template(), at):
        """Three neighbouring entries as a vector."""
        return ti.Vector([a[at], a[at + 1], a[at + 2]], dt=fp)

    @ti.func
    def put_triple(a: ti.template(), at, v):
        """Write a vector into three neighbouring entries."""
        a[at] = v[0]
        a[at + 1] = v[1]
        a[at + 2] = v[2]

    @ti.func
    def corners(placed: ti.template(), faces: ti.template(), first, t):
        """The corners of triangle t of a world whose vertices begin with number ``first``."""
        a, b, c = first + faces[3 * t], first + faces[3 * t + 1], first + faces[3 * t + 2]
        return triple(placed, 3 * a), triple(placed, 3 * b), triple(placed, 3 * c)

    @ti.kernel
    def place(nodes: floats, numbers: whole, pose: floats, batch: int, n: int, v_count: int, placed: floats):
        """Vertices in the camera's frame; pose: rotation (9, by rows), position (3)."""
        for i in range(batch * v_count):
            b = i // v_count
            v = triple(nodes, 3 * (b * n + numbers[i - b * v_count])) - triple(pose, 9)
            placed[3 * i] = triple(pose, 0).dot(v)
            placed[3 * i + 1] = triple(pose, 3).dot(v)
            placed[3 * i + 2] = triple(pose, 6).dot(v)

    @ti.kernel
    def smooth_normals(
        placed: floats,
        faces: whole,
        starts: whole,
        incident: whole,
        batch: int,
        v_count: int,
        normals: floats,
        lengths: floats,
    ):
        """N = M / |M| and |M| of each vertex: M is the sum of (b - a) x (c - a) over its triangles.

        Corners 3 t + k at vertex v are ``incident[starts[v]]`` up to ``starts[v + 1]``.
        """
        for i in range(batch * v_count):
            world = i // v_count
            v = i - world * v_count
            total = ti.Vector.zero(fp, 3)
            for j in range(starts[v], starts[v + 1]):
                a, b, c = corners(placed, faces, world * v_count, incident[j] // 3)
                total += (b - a).cross(c - a)
            length = ti.max(total.norm(), fp(tiny))
            lengths[i] = length
            put_triple(normals, 3 * i, total / length)

    @ti.kernel
    def planes(
        placed: floats,
        normals: floats,
        faces: whole,
        grid: floats,
        cells: whole,
        batch: int,
        v_count: int,
        t_count: int,
        columns: int,
        rows: int,
        plane: floats,
        boxes: whole,
    ):
        """The w of each triangle, positive inside of it, and a box of pixels (x, x, y, y) that holds all it covers.

        Cells divide the slopes: cell (i, j) begins ``grid[:2]`` + (i, j) / ``grid[2:]``, and ``cells`` are the boxes
        of the pixels whose rays are in each.
        """
        for i in range(batch * t_count):
            world = i // t_count
            first, t = world * v_count, i - world * t_count
            a, b, c = corners(placed, faces, first, t)
            n_a, n_b, n_c = corners(normals, faces, first, t)
            ax, ay, bx, by, cx, cy = a[0] / a[2], a[1] / a[2], b[0] / b[2], b[1] / b[2], c[0] / c[2], c[1] / c[2]
            x, y = (ax + bx + cx) / 3, (ay + by + cy) / 3
            shear = ti.Vector([x, y, 0], dt=fp)
            a, b, c = a - shear * a[2], b - shear * b[2], c - shear * c[2]
            w_a, w_b, w_c = b.cross(c), c.cross(a), a.cross(b)
            total = w_a[2] + w_b[2] + w_c[2]
            sign = fp(1.0) if total > 0 else fp(-1.0)
            w_a, w_b, w_c = w_a * sign, w_b * sign, w_c * sign
            put_triple(plane, PLANE * i, w_a)
            put_triple(plane, PLANE * i + 3, w_b)
            put_triple(plane, PLANE * i + 6, w_c)
            for k in ti.static(range(3)):
                put_triple(plane, PLANE * i + 11 + 3 * k, n_a * w_a[k] + n_b * w_b[k] + n_c * w_c[k])
            plane[PLANE * i + 9] = x
            plane[PLANE * i + 10] = y
            left, right, top, bottom = 1 << 30, -1, 1 << 30, -1
            if total != 0:
                # A hundredth of a cell more: rounding must lose no pixel at a cell's edge.
                low_x, high_x = (ti.min(ax, bx, cx) - grid[0]) * grid[2], (ti.max(ax, bx, cx) - grid[0]) * grid[2]
                low_y, high_y = (ti.min(ay, by, cy) - grid[1]) * grid[3], (ti.max(ay, by, cy) - grid[1]) * grid[3]
                if low_x < columns + 1 and high_x > -1 and low_y < rows + 1 and high_y > -1:
                    i0 = ti.floor(ti.max(low_x - fp(0.01), fp(0.0)), ti.i32)
                    i1 = ti.floor(ti.min(high_x + fp(0.01), columns - fp(1.0)), ti.i32)
                    j0 = ti.floor(ti.max(low_y - fp(0.01), fp(0.0)), ti.i32)
                    j1 = ti.floor(ti.min(high_y + fp(0.01), rows - fp(1.0)), ti.i32)
                    for row in range(ti.min(j0, rows - 1), j1 + 1):
                        for column in range(ti.min(i0, columns - 1), i1 + 1):
                            at = 4 * (row * columns + column)
                            left, right = ti.min(left, cells[at]), ti.max(right, cells[at + 1])
                            top, bottom = ti.min(top, cells[at + 2]), ti.max(bottom, cells[at + 3])
            boxes[4 * i] = left
            boxes[4 * i + 1] = right
            boxes[4 * i + 2] = top
            boxes[4 * i + 3] = bottom

    @ti.kernel
    def draw(
        placed: floats,
        faces: whole,
        plane: floats,
        boxes: whole,
        slopes: floats,
        batch: int,
        v_count: int,
        t_count: int,
        width: int,
        height: int,
        bands: int,
        stride: int,
        found: whole,
        depth: floats,
        shown: floats,
    ):
        """The nearest triangle of each pixel, its depth there and the unit normal; 0 and (0, 0, 1) where there is none.

        Of triangles at one depth the first counts. One of ``stride`` iterations draws a band.
        """
        for task in range(batch * bands * stride):
            if task % stride == 0:
                item = task // stride
                world = item // bands
                band = item - world * bands
                begin, end = band * height // bands, (band + 1) * height // bands
                skip, first = world * width * height, world * v_count
                for p in range(skip + begin * width, skip + end * width):
                    found[p] = NOTHING
                    depth[p] = fp(far)
                for t in range(t_count):
                    i = world * t_count + t
                    y0, y1 = ti.max(boxes[4 * i + 2], begin), ti.min(boxes[4 * i + 3] + 1, end)
                    if y0 < y1:
                        x0, x1 = boxes[4 * i], boxes[4 * i + 1] + 1
                        a_z = placed[3 * (first + faces[3 * t]) + 2]
                        b_z = placed[3 * (first + faces[3 * t + 1]) + 2]
                        c_z = placed[3 * (first + faces[3 * t + 2]) + 2]
                        at = PLANE * i
                        p_ax, p_ay, p_a = plane[at], plane[at + 1], plane[at + 2]
                        p_bx, p_by, p_b = plane[at + 3], plane[at + 4], plane[at + 5]
                        p_cx, p_cy, p_c = plane[at + 6], plane[at + 7], plane[at + 8]
                        middle_x, middle_y = plane[at + 9], plane[at + 10]
                        for y in range(y0, y1):
                            for x in range(x0, x1):
                                q = y * width + x
                                u, v = slopes[2 * q] - middle_x, slopes[2 * q + 1] - middle_y
                                w_a = p_ax * u + p_ay * v + p_a
                                w_b = p_bx * u + p_by * v + p_b
                                w_c = p_cx * u + p_cy * v + p_c
                                total = w_a + w_b + w_c
                                if ti.min(w_a, w_b, w_c) >= -fp(slack) * total and total > 0:
                                    z = (w_a * a_z + w_b * b_z + w_c * c_z) / total
                                    if z < depth[skip + q]:
                                        depth[skip + q] = z
                                        found[skip + q] = t
                for p in range(skip + begin * width, skip + end * width):
                    t = found[p]
                    n = ti.Vector([0, 0, 1], dt=fp)
                    if t == NOTHING:
                        depth[p] = fp(0.0)
                    else:
                        at, q = PLANE * (world * t_count + t), 2 * (p - skip)
                        u, v = slopes[q] - plane[at + 9], slopes[q + 1] - plane[at + 10]
                        n = triple(plane, at + 11) * u + triple(plane, at + 14) * v + triple(plane, at + 17)
                        n *= 1 / ti.max(n.norm(), fp(tiny))
                    put_triple(shown, 3 * p, n)

    @ti.kernel
    def gather(
        placed: floats,
        normals: floats,
        faces: whole,
        plane: floats,
        boxes: whole,
        slopes: floats,
        found: whole,
        order: whole,
        depth_bar: floats,
        shown_bar: floats,
        batch: int,
        v_count: int,
        t_count: int,
        width: int,
        height: int,
        groups: int,
        stride: int,
        sums: floats,
    ):
        """Cotangents of corners and of their unit normals, summed over the pixels that show the triangle.

        The ray is fixed. Where corners move by da, db, dc, with n = (b - a) x (c - a), the depth changes by
        ds = n . (sum beta_i dv_i) / (n . d), and the point moves over the triangle by u = ds d - sum beta_i dv_i, so
        that dbeta_i = g_i . u, g_a = n x (c - b) / |n|^2. The normal is m / |m|, m = sum beta_i N_i:

            m_bar = (n_bar - n (n . n_bar)) / |m|,    N_i_bar += beta_i m_bar,    u_bar = G m_bar, G = sum g_i N_i^T,
            s_bar += u_bar . d,                       v_i_bar += beta_i (s_bar n / (n . d) - u_bar).

        All pixels of a triangle share n and G, and n . d = +-(w_a + w_b + w_c); so only sigma = s_bar / (n . d) and
        m_bar are summed, times the w, which are linear in the slopes.
        """
        for task in range(groups * stride):
            if task % stride == 0:
                group = task // stride
                count = batch * t_count
                share_of_group = (count + groups - 1) // groups
                for j in range(group * share_of_group, ti.min((group + 1) * share_of_group, count)):
                    world = j // t_count
                    t = order[j - world * t_count]
                    i = world * t_count + t
                    skip, first = world * width * height, world * v_count
                    a, b, c = corners(placed, faces, first, t)
                    n_a, n_b, n_c = corners(normals, faces, first, t)
                    n = (b - a).cross(c - a)
                    area = 1 / ti.max(n.norm_sqr(), fp(tiny))
                    g_a, g_b, g_c = n.cross(c - b) * area, n.cross(a - c) * area, n.cross(b - a) * area
                    turn = g_a.outer_product(n_a) + g_b.outer_product(n_b) + g_c.outer_product(n_c)
                    at = PLANE * i
                    p_a, p_b, p_c = triple(plane, at), triple(plane, at + 3), triple(plane, at + 6)
                    p_m, q_m, r_m = triple(plane, at + 11), triple(plane, at + 14), triple(plane, at + 17)
                    total = p_a + p_b + p_c
                    middle_x, middle_y = plane[at + 9], plane[at + 10]
                    d = ti.Vector([middle_x, middle_y, 1], dt=fp)
                    sign = fp(1.0) if n.dot(d) > 0 else fp(-1.0)
                    # G^T d, linear in the slopes as well
                    back = turn.transpose() @ d
                    back_u = ti.Vector([turn[0, 0], turn[0, 1], turn[0, 2]])
                    back_v = ti.Vector([turn[1, 0], turn[1, 1], turn[1, 2]])
                    zero = ti.Vector.zero(fp, 3)
                    sigma, sigma_u, sigma_v, m_bar, m_bar_u, m_bar_v = fp(0.0), fp(0.0), fp(0.0), zero, zero, zero
                    for y in range(boxes[4 * i + 2], boxes[4 * i + 3] + 1):
                        for x in range(boxes[4 * i], boxes[4 * i + 1] + 1):
                            q = y * width + x
                            p = skip + q
                            if found[p] == t:
                                bar, far_bar = triple(shown_bar, 3 * p), depth_bar[p]
                                # most pixels count for nothing where only what is touched does
                                if ti.abs(bar[0]) + ti.abs(bar[1]) + ti.abs(bar[2]) + ti.abs(far_bar) > 0:
                                    u, v = slopes[2 * q] - middle_x, slopes[2 * q + 1] - middle_y
                                    share = 1 / (total[0] * u + total[1] * v + total[2])
                                    m = p_m * u + q_m * v + r_m
                                    inverse = ti.rsqrt(ti.max(m.norm_sqr(), fp(tiny)))
                                    m *= inverse
                                    # both times 1 / (w_a + w_b + w_c), as the betas have it
                                    bar = (bar - m * m.dot(bar)) * inverse
                                    s_bar = share * share * far_bar + share * bar.dot(back + back_u * u + back_v * v)
                                    sigma += s_bar
                                    sigma_u += s_bar * u
                                    sigma_v += s_bar * v
                                    m_bar += bar
                                    m_bar_u += bar * u
                                    m_bar_v += bar * v
                    for k in ti.static(range(3)):
                        w = (p_a, p_b, p_c)[k]
                        corner_bar = m_bar_u * w[0] + m_bar_v * w[1] + m_bar * w[2]
                        along = (sigma_u * w[0] + sigma_v * w[1] + sigma * w[2]) * sign
                        put_triple(sums, SUMS * i + 6 * k, n * along - turn @ corner_bar)
                        put_triple(sums, SUMS * i + 6 * k + 3, corner_bar)

    @ti.kernel
    def collect(
        normals: floats,
        lengths: floats,
        starts: whole,
        incident: whole,
        sums: floats,
        batch: int,
        v_count: int,
        t_count: int,
        placed_bar: floats,
        normals_bar: floats,
    ):
        """Cotangents of the vertices by what was drawn, and of M: M_bar = (N_bar - N (N . N_bar)) / |M|."""
        for i in range(batch * v_count):
            world = i // v_count
            v = i - world * v_count
            v_bar, n_bar = ti.Vector.zero(fp, 3), ti.Vector.zero(fp, 3)
            for j in range(starts[v], starts[v + 1]):
                at = SUMS * world * t_count + 6 * incident[j]
                v_bar += triple(sums, at)
                n_bar += triple(sums, at + 3)
            n = triple(normals, 3 * i)
            put_triple(placed_bar, 3 * i, v_bar)
            put_triple(normals_bar, 3 * i, (n_bar - n * n.dot(n_bar)) / lengths[i])

    @ti.kernel
    def put_back(
        placed: floats,
        faces: whole,
        starts: whole,
        incident: whole,
        numbers: whole,
        pose: floats,
        placed_bar: floats,
        normals_bar: floats,
        batch: int,
        n: int,
        v_count: int,
        nodes_bar: floats,
    ):
        """Cotangents of the nodes, in the mount's frame.

        M sums f = (b - a) x (c - a): f_bar is the sum of the corners' M_bar, and a_bar += (b - c) x f_bar, in turn.
        """
        for i in range(batch * v_count):
            world = i // v_count
            v = i - world * v_count
            first = world * v_count
            bar = triple(placed_bar, 3 * i)
            for j in range(starts[v], starts[v + 1]):
                t = incident[j] // 3
                k = incident[j] - 3 * t
                f_a, f_b, f_c = corners(normals_bar, faces, first, t)
                ahead, behind = first + faces[3 * t + (k + 1) % 3], first + faces[3 * t + (k + 2) % 3]
                bar += (triple(placed, 3 * ahead) - triple(placed, 3 * behind)).cross(f_a + f_b + f_c)
            back = triple(pose, 0) * bar[0] + triple(pose, 3) * bar[1] + triple(pose, 6) * bar[2]
            put_triple(nodes_bar, 3 * (world * n + numbers[v]), back)

    return SimpleNamespace(
        place=place,
        smooth_normals=smooth_normals,
        planes=planes,
        draw=draw,
        gather=gather,
        collect=collect,
        put_back=put_back,
    )
