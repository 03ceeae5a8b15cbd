"""Triangle meshes in a picture: each part is placed as a rigid body, its triangles drawn pixel by pixel.

A pose is the rotation to the world (9, by rows) and the position (3) [m]. Both sides of a triangle are seen.
"""

from pliant.sims.camera.rays import (
    EMPTY,
    NEAR,
    TRIANGLE,
    column_row,
    key_depth,
    key_number,
    pack_key,
    pixel_point,
    pixel_ray,
    pixels_f32,
    pixels_i32,
    pixels_i64,
    project,
    put_triple,
    to_view,
    triple,
    turn_to_world,
)
from pliant.sims.camera.surface import SURFACE
from pliant.sims.camera.tiles import OCCUPIED, SHIFT, tile_count
from pliant.sims.runtime import ti

POSE_SIZE = 12


@ti.func
def turn_part(poses: ti.template(), part, v):
    """A direction in the frame of a part, in the world."""
    at = POSE_SIZE * part
    return ti.Vector([triple(poses, at).dot(v), triple(poses, at + 3).dot(v), triple(poses, at + 6).dot(v)])


@ti.func
def corners(faces: ti.template(), placed: ti.template(), t):
    """The three corners [m] of a triangle."""
    a, b, c = 3 * faces[3 * t], 3 * faces[3 * t + 1], 3 * faces[3 * t + 2]
    return triple(placed, a), triple(placed, b), triple(placed, c)


@ti.func
def side_of(px, py, ax, ay, bx, by):
    """Twice the area of the triangle (p, a, b) in the picture: its sign tells on which side of a to b the point is."""
    return (ax - px) * (by - py) - (ay - py) * (bx - px)


@ti.kernel
def place_vertices(
    view: pixels_f32, count: int, vertices: pixels_f32, part_of: pixels_i32, poses: pixels_f32, placed: pixels_f32
):
    """Positions [m] of ``count`` vertices in the view's frame, from those in the frames of their parts."""
    for i in range(count):
        part = part_of[i]
        point = turn_part(poses, part, triple(vertices, 3 * i)) + triple(poses, POSE_SIZE * part + 9)
        put_triple(placed, 3 * i, to_view(view, point))


@ti.kernel
def draw_triangles(
    view: pixels_f32,
    width: int,
    height: int,
    bands: int,
    count: int,
    faces: pixels_i32,
    placed: pixels_f32,
    keys: pixels_i64,
):
    """Draw ``count`` triangles over what the keys show; those that reach behind the camera are left out.

    Threads share the lines of a triangle in ``bands``: more than one where triangles are few and large.
    """
    for i in range(count * bands):
        t = i // bands
        band = i - t * bands
        a, b, c = corners(faces, placed, t)
        front, back = ti.min(a[2], b[2], c[2]), ti.max(a[2], b[2], c[2])
        if front > NEAR:
            ax, ay = project(view, a)
            bx, by = project(view, b)
            cx, cy = project(view, c)
            x0, x1 = ti.max(ti.min(ax, bx, cx), 0.0), ti.min(ti.max(ax, bx, cx), width - 1.0)
            y0, y1 = ti.max(ti.min(ay, by, cy), 0.0), ti.min(ti.max(ay, by, cy), height - 1.0)
            turned = side_of(cx, cy, ax, ay, bx, by)
            sign = 1.0 if turned > 0.0 else -1.0
            # The depth along a ray is where it meets the plane; seen edge-on it is anywhere between the corners'.
            plane = (b - a).cross(c - a)
            above = plane.dot(a)
            nearest = pack_key(front, 0)
            begin, end = ti.ceil(x0, int), ti.floor(x1, int)
            y = ti.ceil(y0, int) + band
            while y <= y1 and turned != 0.0:
                for x in range(begin, end + 1):
                    p = y * width + x
                    if nearest < keys[p]:
                        inside = ti.min(
                            sign * side_of(x, y, ax, ay, bx, by),
                            sign * side_of(x, y, bx, by, cx, cy),
                            sign * side_of(x, y, cx, cy, ax, ay),
                        )
                        if inside >= 0.0:
                            origin, direction = pixel_ray(view, x, y)
                            slope = plane.dot(direction)
                            z = front
                            if slope != 0.0:
                                z = ti.min(ti.max((above - plane.dot(origin)) / slope, front), back)
                            key = pack_key(z, TRIANGLE + t)
                            if key < keys[p]:
                                ti.atomic_min(keys[p], key)
                y += bands


@ti.kernel
def draw_triangle_surfaces(
    view: pixels_f32,
    width: int,
    height: int,
    tiles: pixels_i32,
    keys: pixels_i64,
    kind: pixels_i32,
    faces: pixels_i32,
    placed: pixels_f32,
    corner_normals: pixels_f32,
    part_of: pixels_i32,
    poses: pixels_f32,
    colors: pixels_f32,
    albedo: pixels_f32,
    normal: pixels_f32,
):
    """Linear colour and unit normal, in the world, of the pixels that show a triangle.

    ``corner_normals`` are 9 for each triangle, in the frame of its part; ``colors`` are 3 for each part.
    """
    columns = tile_count(width, SHIFT)
    for s in range(columns * height):
        tile, y = column_row(s, columns)
        if tiles[(y >> SHIFT) * columns + tile] & OCCUPIED:
            for x in range(tile << SHIFT, ti.min((tile + 1) << SHIFT, width)):
                p = y * width + x
                key = keys[p]
                t = key_number(key) - TRIANGLE
                if key < ti.i64(EMPTY) and kind[p] == SURFACE and t >= 0:
                    a, b, c = corners(faces, placed, t)
                    part = part_of[faces[3 * t]]
                    # Shares of the corners, by the areas opposite to them.
                    plane, here = (b - a).cross(c - a), pixel_point(view, x, y, key_depth(key))
                    area = ti.max(plane.norm_sqr(), 1e-30)
                    share_b = ti.min(1.0, ti.max(0.0, (here - a).cross(c - a).dot(plane) / area))
                    share_c = ti.min(1.0 - share_b, ti.max(0.0, (b - a).cross(here - a).dot(plane) / area))
                    n = triple(corner_normals, 9 * t) * (1.0 - share_b - share_c)
                    n += triple(corner_normals, 9 * t + 3) * share_b + triple(corner_normals, 9 * t + 6) * share_c
                    n = turn_part(poses, part, n).normalized(1e-12)
                    _, ray = pixel_ray(view, x, y)
                    if n.dot(turn_to_world(view, ray)) > 0.0:
                        n = -n
                    put_triple(normal, 3 * p, n)
                    color = triple(colors, 3 * part)
                    put_triple(albedo, 3 * p, color * color)
