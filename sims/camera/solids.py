"""Rigid effectors in a picture: each pixel walks along its ray by the signed distance until it meets a surface.

Where a formula tells how a ray enters a solid, the walk begins there and ends at once, and rays that miss never begin.

The upright outside of a container is see-through: a walk that meets it goes on through the wall, and what it meets next
is seen, the content or the inside of the container. Where nothing more is met the outside is, so that the wall's edges
and its rim show what it is.
"""

import functools

from pliant.sims.camera.rays import (
    EFFECTOR,
    FAR,
    NEAR,
    capsule_depth,
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
from pliant.sims.runtime import ti
from pliant.sims.shapes.profile_kernels import BOTTOM_AT, CLEAR_AT, RHO_AT, TOP_AT
from pliant.sims.shapes.shape_kernels import BOX, CYLINDER, MESH, PROFILE, RECORD_SIZE, ROUND, shape_functions

# A row: rotation to the world (9, by rows), position (3) [m], bounding radius [m], left, top, right, bottom [pixels].
POSITION, RADIUS, RECTANGLE, ROW_SIZE = 9, 12, 13, 17
STEPS = 80
UPRIGHT = 0.6  # outer faces whose normal rises less are see-through


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


@ti.func
def slab_span(origin, slope, half):
    """Depths [m] at which a ray enters and leaves the slab from -half to half, along one axis."""
    inverse = 1.0 / (slope if ti.abs(slope) > 1e-12 else 1e-12)
    a, b = (-half - origin) * inverse, (half - origin) * inverse
    return ti.min(a, b), ti.max(a, b)


@ti.func
def cylinder_span(origin, ray, radius, half_length):
    """Depths [m] at which a ray enters and leaves a cylinder about z, from -half_length to half_length."""
    first, last = slab_span(origin[2], ray[2], half_length)
    # Across the axis it is a disc, which the ray passes nearest at b, by (x, y).
    square = ti.max(ray[0] * ray[0] + ray[1] * ray[1], 1e-9)
    b = -(origin[0] * ray[0] + origin[1] * ray[1]) / square
    x, y = origin[0] + b * ray[0], origin[1] + b * ray[1]
    rest = radius * radius - x * x - y * y
    half = ti.sqrt(ti.max(rest, 0.0) / square)
    first, last = ti.max(first, b - half), ti.min(last, b + half)
    if rest <= 0.0:
        first = FAR
    return first, last


@functools.cache
def solid_kernel(kinds: tuple[int, ...]):
    """The kernel ``draw_solids`` for the ``kinds`` of shapes that occur: fewer compile and run faster."""
    shapes = shape_functions(ti.f32, kinds)

    @ti.func
    def solid_span(records: ti.template(), o, origin, ray):
        """Depths [m] between which a ray, in the frame of the shape, may be inside; a ray that misses has none.

        Of capsules, spheres, cylinders and boxes the first is where the surface is, but for a box's rounded edges.
        """
        kind = int(records[o])
        first, last = -FAR, FAR
        if ti.static(ROUND in kinds):
            if kind == ROUND and records[o + 1] == 0.0:
                up = ti.Vector([0.0, 0.0, 1.0])
                first = capsule_depth(origin, ray, ti.Vector([0.0, 0.0, 0.0]), up, records[o + 2], records[o + 3])
        if ti.static(BOX in kinds):
            if kind == BOX:
                for k in ti.static(range(3)):
                    enter, leave = slab_span(origin[k], ray[k], records[o + 1 + k] + records[o + 4])
                    first, last = ti.max(first, enter), ti.min(last, leave)
        if ti.static(CYLINDER in kinds):
            if kind == CYLINDER:
                first, last = cylinder_span(origin, ray, records[o + 1], records[o + 2])
        if ti.static(PROFILE in kinds):
            if kind == PROFILE:
                low, high = records[o + BOTTOM_AT], records[o + TOP_AT]
                middle = ti.Vector([0.0, 0.0, 0.5 * (low + high)])
                first, last = cylinder_span(origin - middle, ray, records[o + RHO_AT], 0.5 * (high - low))
        return first, last

    @ti.func
    def is_clear(records: ti.template(), o, point, normal):
        """Whether a surface point of a shape is see-through, all in its frame: on the outside of a container."""
        clear = False
        if ti.static(PROFILE in kinds):
            if int(records[o]) == PROFILE and records[o + CLEAR_AT] >= 0.0:
                rho = ti.sqrt(point[0] * point[0] + point[1] * point[1])
                outwards = point[0] * normal[0] + point[1] * normal[1]
                clear = rho > records[o + CLEAR_AT] and outwards > 0.05 * rho and normal[2] < UPRIGHT
        return clear

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
                    z, end = ti.max(middle - half, NEAR), ti.min(middle + half, farthest)
                    last = ti.min(end, key_depth(keys[p]))
                    if z < last and rest > 0.0:
                        rotation = ti.Matrix([[rows[at + 3 * i + j] for j in range(3)] for i in range(3)])
                        # A solid of a two-dimensional scene is the same all along z: a point is as far as its foot.
                        keep_z = 0.0 if half_thickness > 0.0 else 1.0
                        local_origin = rotation.transpose() @ (origin * ti.Vector([1.0, 1.0, keep_z]))
                        local_ray = rotation.transpose() @ (ray * ti.Vector([1.0, 1.0, keep_z]))
                        if half_thickness == 0.0:
                            enter, leave = solid_span(records, RECORD_SIZE * e, local_origin, local_ray)
                            z, end = ti.max(z, enter), ti.min(end, leave)
                            last = ti.min(last, end)
                        # A mesh's distance beyond its samples is an upper bound only: walk with care.
                        pace = (0.6 if records[RECORD_SIZE * e] == MESH else 1.0) / ti.sqrt(square)
                        # 0: before the solid, 1: within a wall that is see-through, 2: beyond it
                        phase, step, steps = 0, 0, STEPS
                        front, seen = FAR, ti.Vector([0.0, 0.0, 1.0])
                        while step < steps and z < last:
                            step += 1
                            point = local_origin + z * local_ray
                            phi, local_normal = shapes.distance(records, RECORD_SIZE * e, point)
                            n = rotation @ local_normal
                            if half_thickness > 0.0:
                                phi, n = extrude(phi, n, origin[2] + z * ray[2], half_thickness)
                            near = 0.25 * pixel_size(view, z)
                            if phase == 1:
                                if phi > 1.5 * near:
                                    phase = 2
                            elif phi < near:
                                front = z
                                seen = n
                                steps = 0
                                if phase == 0 and half_thickness == 0.0:
                                    if is_clear(records, RECORD_SIZE * e, point, local_normal):
                                        phase = 1
                                        steps = step + STEPS
                            z += (ti.max(ti.abs(phi), near) if phase == 1 else phi) * pace
                        # What was drawn before is seen through a wall.
                        if front < FAR and (steps == 0 or keys[p] > pack_key(end, 0)):
                            key = pack_key(front, EFFECTOR + e)
                            if key < keys[p]:
                                keys[p] = key
                                if keeps_normals != 0:
                                    put_triple(normal, 3 * p, seen.normalized(1e-12))

    return draw_solids
