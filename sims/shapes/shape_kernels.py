"""Signed distance, normal and their adjoint for every shape, as Taichi functions on a flat array of shape records.

Solids are negative inside. Spheres, capsules, tori, cylinders and profiles are solids of revolution about z: their
distance is a profile f(rho, z) with rho = |(x, y)| and, e_r = (x, y, 0)/rho,

    gradient  f_r e_r + f_z e_z
    Hessian   f_rr e_r e_r^T + f_rz (e_r e_z^T + e_z e_r^T) + f_zz e_z e_z^T + f_r/rho e_t e_t^T.

A record has RECORD_SIZE floats: the kind, then

    ROUND       ring radius, half length, radius: all within `radius` of a circle or a segment (sphere, torus, capsule)
    CYLINDER    radius, half length
    BOX         half extents (3) of the sharp core, rounding
    HALF_SPACE  nothing
    MESH        nx, ny, nz, origin (3), spacing, start of its spline coefficients counted from that of the record
    PROFILE     a polygon, see ``profile_kernels.py``
"""
# mypy: disable-error-code="valid-type"

import functools
from types import SimpleNamespace

from pliant.sims.runtime import ti
from pliant.sims.shapes.profile_kernels import DENSITY_AT, profile_functions

ROUND, CYLINDER, BOX, HALF_SPACE, MESH, PROFILE = KINDS = tuple(range(6))
SOLIDS = (ROUND, CYLINDER, BOX, HALF_SPACE)
RECORD_SIZE = 16


def flatness(fp) -> float:
    """Length of a gradient below which it has no direction."""
    return 1e-12 if fp == ti.f32 else 1e-30


@functools.cache
def solid_functions(fp) -> SimpleNamespace:
    """``round_solid``, ``cylinder``, ``profile_solid`` and ``box``: (shapes, o, q, m) -> (distance, its gradient, its
    Hessian times m)."""
    vector = ti.types.vector(3, fp)
    polygon = profile_functions(fp)

    @ti.func
    def polar(q):
        """rho and the unit vector e_r; on the axis any direction serves."""
        rho = ti.sqrt(q[0] * q[0] + q[1] * q[1])
        e = vector([1, 0, 0])
        if rho > 0:
            e = vector([q[0] / rho, q[1] / rho, 0])
        return rho, e

    @ti.func
    def revolve(rho, e, f_r, f_z, f_rr, f_rz, f_zz, m):
        """Gradient, and Hessian times m, from the derivatives of the profile."""
        m_r = e.dot(m)
        m_t = m - m_r * e
        m_t[2] = 0
        turning = f_rr  # the limit on the axis of a smooth solid
        if rho > 0:
            turning = f_r / rho
        product = (f_rr * m_r + f_rz * m[2]) * e + turning * m_t
        product[2] += f_rz * m_r + f_zz * m[2]
        gradient = f_r * e
        gradient[2] += f_z
        return gradient, product

    @ti.func
    def round_solid(shapes: ti.template(), o, q, m):
        """Distance, gradient, and Hessian times m of a sphere, capsule or torus."""
        # distance to the point (ring, clamp(z)) of the half plane, less the radius
        rho, e = polar(q)
        half_length = shapes[o + 2]
        a = rho - shapes[o + 1]
        b = q[2] - ti.min(ti.max(q[2], -half_length), half_length)
        # ">=": without a length (sphere, torus) all of the plane z = 0 lies between two caps, none on a straight part
        beyond = fp(1.0) if ti.abs(q[2]) >= half_length else fp(0.0)
        d = ti.sqrt(a * a + b * b)
        f_r, f_z, curvature = fp(1.0), fp(0.0), fp(0.0)
        if d > 0:
            curvature = 1 / d
            f_r = a * curvature
            f_z = b * curvature
        gradient, product = revolve(
            rho, e, f_r, f_z, curvature * f_z * f_z, -curvature * f_r * f_z, curvature * beyond * f_r * f_r, m
        )
        return d - shapes[o + 3], gradient, product

    @ti.func
    def cylinder(shapes: ti.template(), o, q, m):
        """Distance, gradient, and Hessian times m of a cylinder."""
        # the rectangle |rho| <= radius, |z| <= half length of the half plane
        rho, e = polar(q)
        a = rho - shapes[o + 1]
        b = ti.abs(q[2]) - shapes[o + 2]
        side = fp(1.0) if q[2] >= 0 else fp(-1.0)
        phi, f_r, f_z, curvature = a, fp(1.0), fp(0.0), fp(0.0)
        if a > 0 and b > 0:
            phi = ti.sqrt(a * a + b * b)
            curvature = 1 / phi
            f_r = a * curvature
            f_z = side * b * curvature
        elif b > a:
            phi = b
            f_r = fp(0.0)
            f_z = side
        gradient, product = revolve(
            rho, e, f_r, f_z, curvature * f_z * f_z, -curvature * f_r * f_z, curvature * f_r * f_r, m
        )
        return phi, gradient, product

    @ti.func
    def profile_solid(shapes: ti.template(), o, q, m):
        """Distance, gradient, and Hessian times m of a polygon turned about z."""
        rho, e = polar(q)
        f, f_r, f_z, curvature = polygon.profile(shapes, o, rho, q[2])
        # Where walls are the nearest on the axis the direction to them is anyone's: no derivative of rounding errors.
        if rho * shapes[o + DENSITY_AT] < fp(1e-4):
            rho = fp(0.0)
        gradient, product = revolve(
            rho, e, f_r, f_z, curvature * f_z * f_z, -curvature * f_r * f_z, curvature * f_r * f_r, m
        )
        return f, gradient, product

    @ti.func
    def box(shapes: ti.template(), o, q, m):
        """Distance, gradient, and Hessian times m of a box with rounded edges."""
        # outside: |max(|q| - h, 0)|, Hessian (I - n n^T)/d over the axes beyond h; inside: the nearest face
        sign = vector([1, 1, 1])
        over = vector(0)
        reach = ti.abs(q) - vector([shapes[o + 1], shapes[o + 2], shapes[o + 3]])
        m_over = vector(0)
        for k in ti.static(range(3)):
            if q[k] < 0:
                sign[k] = -1
            if reach[k] > 0:
                over[k] = reach[k]
                m_over[k] = m[k]
        phi = ti.sqrt(over.dot(over))
        gradient = vector(0)
        product = vector(0)
        if phi > 0:
            gradient = sign * over / phi
            product = (m_over - gradient * gradient.dot(m_over)) / phi
        else:
            phi = reach.max()
            if reach[0] == phi:
                gradient[0] = sign[0]
            elif reach[1] == phi:
                gradient[1] = sign[1]
            else:
                gradient[2] = sign[2]
        return phi - shapes[o + 4], gradient, product

    return SimpleNamespace(round_solid=round_solid, cylinder=cylinder, profile_solid=profile_solid, box=box)


@functools.cache
def spline_function(fp):
    """``spline(shapes, o, q, m, second)``: distance of a mesh, its gradient and, if ``second``, the adjoint of the
    normal applied to m."""
    vector = ti.types.vector(3, fp)
    flat = flatness(fp)

    @ti.func
    def spline(shapes: ti.template(), o, q, m, second: ti.template()):
        """Quadratic B-spline; outside its grid the value at the nearest border point plus the distance to that."""
        size = vector([shapes[o + 1], shapes[o + 2], shapes[o + 3]])
        spacing = shapes[o + 7]
        xi = (q - vector([shapes[o + 4], shapes[o + 5], shapes[o + 6]])) / spacing
        inside = vector([0.5, 0.5, 0.5])
        for d in ti.static(range(3)):
            if xi[d] > fp(0.5):  # a NaN stays out of the indices and reaches phi by way of `far`
                inside[d] = ti.min(xi[d], size[d] - fp(1.5))
        base = ti.min(ti.floor(inside - fp(0.5)), size - 3)
        f = inside - base
        weight = ti.Matrix.zero(fp, 3, 3)  # [tap, axis]
        slope = ti.Matrix.zero(fp, 3, 3)
        bend = vector([1, -2, 1])
        for d in ti.static(range(3)):
            weight[0, d] = fp(0.5) * (fp(1.5) - f[d]) ** 2
            weight[1, d] = fp(0.75) - (f[d] - 1) ** 2
            weight[2, d] = fp(0.5) * (f[d] - fp(0.5)) ** 2
            slope[0, d] = f[d] - fp(1.5)
            slope[1, d] = 2 - 2 * f[d]
            slope[2, d] = f[d] - fp(0.5)
        ny = ti.cast(size[1], ti.i32)
        nz = ti.cast(size[2], ti.i32)
        start = o + ti.cast(shapes[o + 8], ti.i32)
        corner = start + (ti.cast(base[0], ti.i32) * ny + ti.cast(base[1], ti.i32)) * nz + ti.cast(base[2], ti.i32)
        phi = fp(0.0)
        gradient = vector(0)
        along = vector(0)  # second derivatives xx, yy, zz
        across = vector(0)  # yz, xz, xy
        tap = 0
        while tap < 9:
            i = tap // 3
            j = tap - 3 * i
            row = corner + (i * ny + j) * nz
            c0, c1, c2 = shapes[row], shapes[row + 1], shapes[row + 2]
            w = weight[0, 2] * c0 + weight[1, 2] * c1 + weight[2, 2] * c2
            s = slope[0, 2] * c0 + slope[1, 2] * c1 + slope[2, 2] * c2
            wx, wy, sx, sy = weight[i, 0], weight[j, 1], slope[i, 0], slope[j, 1]
            phi += wx * wy * w
            gradient += vector([sx * wy * w, wx * sy * w, wx * wy * s])
            if ti.static(second):
                along += vector([bend[i] * wy * w, wx * bend[j] * w, wx * wy * (c0 - 2 * c1 + c2)])
                across += vector([wx * sy * s, sx * wy * s, sx * sy * w])
            tap += 1
        gradient /= spacing
        away = (xi - inside) * spacing
        far = ti.sqrt(away.dot(away))
        e = vector(0)
        free = vector([1, 1, 1])  # axes along which the border point follows q
        phi += far
        if far > 0:
            e = away / far
            for d in ti.static(range(3)):
                if away[d] != 0:
                    free[d] = 0
            gradient = gradient * free + e
        product = vector(0)
        if ti.static(second):
            # gradient_bar = (I - n n^T) m / |gradient|
            length = ti.max(ti.sqrt(gradient.dot(gradient)), fp(flat))
            n = gradient / length
            g_bar = (m - n * n.dot(m)) / length
            p = g_bar * free
            product = vector(
                [
                    along[0] * p[0] + across[2] * p[1] + across[1] * p[2],
                    across[2] * p[0] + along[1] * p[1] + across[0] * p[2],
                    across[1] * p[0] + across[0] * p[1] + along[2] * p[2],
                ]
            ) * (free / (spacing * spacing))
            if far > 0:
                product += ((1 - free) * g_bar - e * e.dot(g_bar)) / far
        return phi, gradient, product

    return spline


@functools.cache
def shape_functions(fp, kinds: tuple[int, ...] = KINDS) -> SimpleNamespace:
    """Taichi functions of one floating-point type (ti.f32 or ti.f64) for the ``kinds`` of shapes that occur.

    ``shapes`` is a flat array (``ti.template()``), ``o`` where the shape's record begins, ``q`` (3,) a point in the
    frame of the shape [m]. Returns a namespace with

    ``distance(shapes, o, q) -> (phi, normal)``: signed distance [m] and its gradient, scaled to length one.

    ``distance_adjoint(shapes, o, q, phi_bar, normal_bar) -> q_bar``.
    """
    vector = ti.types.vector(3, fp)
    flat = flatness(fp)
    solids, spline = solid_functions(fp), spline_function(fp)
    round_solid, cylinder = solids.round_solid, solids.cylinder
    profile_solid, box = solids.profile_solid, solids.box

    @ti.func
    def evaluate(shapes: ti.template(), o, q, m, second: ti.template()):
        """Distance, its gradient, and the adjoint of the normal applied to m."""
        kind = ti.cast(shapes[o], ti.i32)
        phi = q[2]
        gradient = vector([0, 0, 1])
        product = vector(0)
        if ti.static(ROUND in kinds):
            if kind == ROUND:
                phi, gradient, product = round_solid(shapes, o, q, m)
        if ti.static(BOX in kinds):
            if kind == BOX:
                phi, gradient, product = box(shapes, o, q, m)
        if ti.static(CYLINDER in kinds):
            if kind == CYLINDER:
                phi, gradient, product = cylinder(shapes, o, q, m)
        if ti.static(PROFILE in kinds):
            if kind == PROFILE:
                phi, gradient, product = profile_solid(shapes, o, q, m)
        if ti.static(MESH in kinds):
            if kind == MESH:
                phi, gradient, product = spline(shapes, o, q, m, second)
        return phi, gradient, product

    @ti.func
    def distance(shapes: ti.template(), o, q):
        """Signed distance [m] and unit normal at q."""
        phi, gradient, _product = evaluate(shapes, o, q, vector(0), False)
        length = ti.sqrt(gradient.dot(gradient))
        normal = vector([0, 0, 1])
        if length > fp(flat):
            normal = gradient / length
        return phi, normal

    @ti.func
    def distance_adjoint(shapes: ti.template(), o, q, phi_bar, normal_bar):
        """q_bar from the cotangents of distance and normal."""
        # q_bar = phi_bar gradient + (d normal / d q)^T normal_bar; all but the mesh have gradients of length one
        _phi, gradient, product = evaluate(shapes, o, q, normal_bar, True)
        return phi_bar * gradient + product

    return SimpleNamespace(distance=distance, distance_adjoint=distance_adjoint)
