"""Kernels that measure distances to triangles, and find triangles that cross each other."""
# mypy: disable-error-code="valid-type,attr-defined,index"

import functools

from pliant.sims.runtime import ti


@functools.cache
def nearest_kernel():
    """``nearest(points, upper, corners, balls, normals, distance)`` writes exact signed distances, shape (n,) [m].

    points: (n, 3) [m].  upper: upper bounds of the distances, (n,) [m].  corners: of the triangles, (f, 3, 3) [m].
    balls: centre and radius of a ball around each triangle, (f, 4) [m]; triangles whose ball lies beyond the nearest so
    far are skipped.  normals: of face, corners and edges of each triangle, (f, 7, 3), any length.
    """
    fp = ti.f64
    matrix = ti.types.ndarray(fp, 2)
    stack = ti.types.ndarray(fp, 3)
    array = ti.types.ndarray(fp, 1)

    @ti.func
    def row(a: ti.template(), i):
        """First three entries of row i as a vector."""
        return ti.Vector([a[i, 0], a[i, 1], a[i, 2]], dt=fp)

    @ti.func
    def entry(a: ti.template(), i, j):
        """Entry (i, j) of an array of 3-vectors."""
        return ti.Vector([a[i, j, 0], a[i, j, 1], a[i, j, 2]], dt=fp)

    @ti.func
    def on_triangle(p, a, b, c):
        """Nearest point of a triangle and its feature: 0 face, 1 to 3 corners, 4 to 6 edges."""
        ab, bc, ca = b - a, c - b, a - c
        normal = ab.cross(c - a)
        # p lies beyond an edge where the edge's outward normal in the plane, edge x normal, has it on its far side
        best = p - normal * (normal.dot(p - a) / normal.dot(normal))
        feature = 0
        least = fp(1e300)
        for k in ti.static(range(3)):
            origin, edge = (a, b, c)[k], (ab, bc, ca)[k]
            if (p - origin).dot(edge.cross(normal)) > 0:
                s = (p - origin).dot(edge) / edge.dot(edge)
                candidate = origin + edge * ti.min(ti.max(s, fp(0.0)), fp(1.0))
                d = (p - candidate).norm_sqr()
                if d < least:
                    least = d
                    best = candidate
                    feature = 4 + k
                    if s <= 0:
                        feature = 1 + k
                    elif s >= 1:
                        feature = 1 + (k + 1) % 3
        return best, feature

    @ti.kernel
    def nearest(points: matrix, upper: array, corners: stack, balls: matrix, normals: stack, distance: array):
        """Signed distance [m] of each point: nearest triangle, and the side by the normal of its nearest feature."""
        for i in range(points.shape[0]):
            p = row(points, i)
            bound = upper[i] * fp(1.0000001) + fp(1e-300)
            least = fp(1e300)
            side = fp(1.0)
            for t in range(corners.shape[0]):
                gap = bound + balls[t, 3]
                if (p - row(balls, t)).norm_sqr() <= gap * gap:
                    q, feature = on_triangle(p, entry(corners, t, 0), entry(corners, t, 1), entry(corners, t, 2))
                    d = (p - q).norm_sqr()
                    if d < least:
                        least = d
                        bound = ti.min(bound, ti.sqrt(d) * fp(1.0000001))
                        side = (p - q).dot(entry(normals, t, feature))
            distance[i] = ti.sqrt(least) * (-1 if side < 0 else 1)

    return nearest


@functools.cache
def crossing_kernel():
    """``crossings(corners, boxes, vertices, part, table)``: writes which parts of a surface cross others or themselves.

    corners: of the triangles, (f, 3, 3) [m].  boxes: the lowest and highest corner of the box around each, (f, 6), in
    ascending order of the first number.  vertices: their numbers, (f, 3); triangles that share one do not count.
    part: of each triangle, (f,).  table: (p, p), zeros; at [a, b] the highest number, counted from one, of a triangle
    of part a that crosses a later one of part b. Triangles in one plane, or that only touch, do not cross.
    """
    fp = ti.f64
    stack = ti.types.ndarray(fp, 3)
    matrix = ti.types.ndarray(fp, 2)
    numbers = ti.types.ndarray(ti.i32, 2)
    kinds = ti.types.ndarray(ti.i32, 1)
    slight = 1e-9

    @ti.func
    def corner(a: ti.template(), i, j):
        """Corner j of triangle i."""
        return ti.Vector([a[i, j, 0], a[i, j, 1], a[i, j, 2]], dt=fp)

    @ti.func
    def pierces(p, q, a, b, c):
        """Whether the segment pq goes through the inside of the triangle abc."""
        normal = (b - a).cross(c - a)
        area = normal.norm()
        above, below = normal.dot(p - a), normal.dot(q - a)
        margin = slight * area * ((q - p).norm() + ti.sqrt(area))
        found = False
        if (above > margin and below < -margin) or (above < -margin and below > margin):
            x = p + (q - p) * (above / (above - below))
            found = True
            for k in ti.static(range(3)):
                start, end = (a, b, c)[k], (b, c, a)[k]
                if normal.dot((end - start).cross(x - start)) <= slight * area * area:
                    found = False
        return found

    @ti.kernel
    def crossings(corners: stack, boxes: matrix, vertices: numbers, part: kinds, table: numbers):
        """table[a, b] = 1 + the last triangle of part a that crosses a later one of part b; see ``crossing_kernel``."""
        for i in range(corners.shape[0]):
            a, b, c = corner(corners, i, 0), corner(corners, i, 1), corner(corners, i, 2)
            j = i + 1
            while j < corners.shape[0] and boxes[j, 0] <= boxes[i, 3]:
                near = True
                for k in ti.static(range(1, 3)):
                    if boxes[i, k] > boxes[j, k + 3] or boxes[i, k + 3] < boxes[j, k]:
                        near = False
                if near:
                    for m in range(3):
                        for n in range(3):
                            if vertices[i, m] == vertices[j, n]:
                                near = False
                if near:
                    d, e, f = corner(corners, j, 0), corner(corners, j, 1), corner(corners, j, 2)
                    crosses = pierces(a, b, d, e, f) or pierces(b, c, d, e, f) or pierces(c, a, d, e, f)
                    crosses = crosses or pierces(d, e, a, b, c) or pierces(e, f, a, b, c) or pierces(f, d, a, b, c)
                    if crosses:
                        ti.atomic_max(table[part[i], part[j]], i + 1)
                j += 1

    return crossings
