"""Rigid effectors in a picture: each pixel walks along its ray by the signed distance until it meets a surface."""

from pliant.sims.camera.rays import (
    EFFECTOR,
    NEAR,
    column_row,
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
POSITION, RADIUS, RECTANGLE, ROW_SIZE = 9, 12, 13, 17
STEPS = 80

_shapes = shape_functions(ti.f32)


@ti.func
def extrude(phi, normal, height, half_thickness):
    """Signed distance and unnormalised normal of a cross-section, given by its own, extruded along z; edges rounded.

    ``height`` is the point's z [m], counted from the middle of the solid.
    """
    rounding = 0.8 * half_thickness
    side = 1.0 if height > 0.0 else -1.0
    a, b = phi + rounding, side * height - half_thickness + rounding
    outside_a, outside_b = ti.max(a, 0.0), ti.max(b, 0.0)
    distance = ti.sqrt(outside_a * outside_a + outside_b * outside_b) + ti.min(ti.max(a, b), 0.0) - rounding
    return distance, (outside_a + 1e-6) * ti.Vector([normal[0], normal[1], 0.0]) + ti.Vector(
        [0.0, 0.0, side * outside_b]
    )


@ti.kernel
def draw_solids(
    view: pixels_f32,
    width: int,
    left: int,
    top: int,
    columns: int,
    lines: int,
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

    They lie in the part of the picture that begins at (left, top) [pixels] and has so many columns and lines.

    ``normal`` takes their world normals where they are seen, if ``keeps_normals``.
    """
    for i in range(columns * lines):
        dx, dy = column_row(i, columns)
        x, y = left + dx, top + dy
        p = y * width + x
        for e in range(count):
            at = ROW_SIZE * e
            if rows[at + RECTANGLE] <= x <= rows[at + RECTANGLE + 2] and (
                rows[at + RECTANGLE + 1] <= y <= rows[at + RECTANGLE + 3]
            ):
                start, direction = pixel_ray(view, x, y)
                ray = turn_to_world(view, direction)
                origin = triple(view, 0) + turn_to_world(view, start) - triple(rows, at + POSITION)
                # Depths between which the ray is inside the bounding ball.
                square = ray.norm_sqr()  # its root: metres along the ray per metre of depth
                middle, bound = -origin.dot(ray) / square, rows[at + RADIUS]
                rest = bound * bound - (origin + middle * ray).norm_sqr()
                half = ti.sqrt(ti.max(rest, 0.0) / square)
                z, last = ti.max(middle - half, NEAR), ti.min(middle + half, farthest, key_depth(keys[p]))
                if z < last and rest > 0.0:
                    rotation = ti.Matrix([[rows[at + 3 * i + j] for j in range(3)] for i in range(3)])
                    # A two-dimensional scene's solid is the same all along z: a point's distance is that of its foot.
                    keep_z = 0.0 if half_thickness > 0.0 else 1.0
                    local_origin = rotation.transpose() @ (origin * ti.Vector([1.0, 1.0, keep_z]))
                    local_ray = rotation.transpose() @ (ray * ti.Vector([1.0, 1.0, keep_z]))
                    # A mesh's distance beyond its samples is an upper bound only: walk with care.
                    pace = (0.6 if records[RECORD_SIZE * e] == MESH else 1.0) / ti.sqrt(square)
                    step = 0
                    while step < STEPS and z < last:
                        step += 1
                        phi, local_normal = _shapes.distance(records, RECORD_SIZE * e, local_origin + z * local_ray)
                        n = rotation @ local_normal
                        if half_thickness > 0.0:
                            phi, n = extrude(phi, n, origin[2] + z * ray[2], half_thickness)
                        if phi < 0.25 * pixel_size(view, z):
                            key = pack_key(z, EFFECTOR + e)
                            if key < keys[p]:
                                keys[p] = key
                                if keeps_normals != 0:
                                    put_triple(normal, 3 * p, n.normalized(1e-12))
                            step = STEPS
                        z += phi * pace
