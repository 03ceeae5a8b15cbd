"""Rigid effectors in a picture: each pixel walks along its ray by the signed distance until it meets a surface."""

from pliant.sims.camera.rays import (
    EFFECTOR,
    NEAR,
    key_depth,
    pack_key,
    pixel_ray,
    pixel_size,
    pixels_f32,
    pixels_i64,
    put_triple,
    triple,
    turn_to_world,
)
from pliant.sims.robot.shape_kernels import MESH, RECORD_SIZE, shape_functions
from pliant.sims.runtime import ti

# A row: rotation to the world (9, by rows), position (3) [m], bounding radius [m], left, top, right, bottom [pixels].
RADIUS, RECTANGLE, ROW_SIZE = 12, 13, 17
STEPS = 80

_shapes = shape_functions(ti.f32)


@ti.func
def solid_distance(rows: ti.template(), records: ti.template(), e, half_thickness, point):
    """Signed distance [m] and outward unit normal of effector ``e`` at a world point.

    With a ``half_thickness`` [m] the solid is its cross-section z = 0, extruded to that on both sides, edges rounded.
    """
    rotation = ti.Matrix([[rows[ROW_SIZE * e + 3 * i + j] for j in range(3)] for i in range(3)])
    r = point - triple(rows, ROW_SIZE * e + 9)
    if half_thickness > 0.0:
        r[2] = 0.0
    phi, local_normal = _shapes.distance(records, RECORD_SIZE * e, rotation.transpose() @ r)
    normal = rotation @ local_normal
    if half_thickness > 0.0:
        rounding = 0.8 * half_thickness
        side = 1.0 if point[2] > 0.0 else -1.0
        a, b = phi + rounding, side * point[2] - half_thickness + rounding
        phi = ti.sqrt(ti.max(a, 0.0) ** 2 + ti.max(b, 0.0) ** 2) + ti.min(ti.max(a, b), 0.0) - rounding
        normal = ti.max(a, 1e-6) * ti.Vector([normal[0], normal[1], 0.0]) + ti.Vector([0.0, 0.0, side * ti.max(b, 0.0)])
        normal = normal.normalized(1e-12)
    return phi, normal


@ti.kernel
def draw_solids(
    view: pixels_f32,
    width: int,
    height: int,
    count: int,
    rows: pixels_f32,
    records: pixels_f32,
    half_thickness: float,
    farthest: float,
    keys: pixels_i64,
    keeps_normals: int,
    normal: pixels_f32,
):
    """Draw ``count`` effectors over what the keys show, up to a depth of ``farthest`` [m].

    ``normal`` takes their world normals where they are seen, if ``keeps_normals``.
    """
    for p in range(width * height):
        x, y = p % width, p // width
        for e in range(count):
            at = ROW_SIZE * e + RECTANGLE
            if rows[at] <= x <= rows[at + 2] and rows[at + 1] <= y <= rows[at + 3]:
                start, direction = pixel_ray(view, x, y)
                origin = triple(view, 0) + turn_to_world(view, start)
                ray = turn_to_world(view, direction)
                stretch = ray.norm()  # metres along the ray per metre of depth
                bound = rows[ROW_SIZE * e + RADIUS]
                # Depths between which the ray is inside the bounding ball.
                to_centre = triple(rows, ROW_SIZE * e + 9) - origin
                middle = to_centre.dot(ray) / (stretch * stretch)
                rest = bound * bound - (to_centre - middle * ray).norm_sqr()
                half = ti.sqrt(ti.max(rest, 0.0)) / stretch
                z, last = ti.max(middle - half, NEAR), ti.min(middle + half, farthest, key_depth(keys[p]))
                step = 0
                while step < STEPS and z < last and rest > 0.0:
                    step += 1
                    phi, n = solid_distance(rows, records, e, half_thickness, origin + z * ray)
                    if phi < 0.25 * pixel_size(view, z):
                        key = pack_key(z, EFFECTOR + e)
                        if key < keys[p]:
                            keys[p] = key
                            if keeps_normals != 0:
                                put_triple(normal, 3 * p, n)
                        step = STEPS
                    # A mesh's distance beyond its samples is an upper bound only: walk with care.
                    z += phi / stretch * (0.6 if records[RECORD_SIZE * e] == MESH else 1.0)
