"""Rods in a picture: each edge of a chain or tree of vertices is a capsule, drawn where its rays enter it."""

from pliant.sims.camera.rays import (
    CHAIN,
    EMPTY,
    FAR,
    NEAR,
    TRIANGLE,
    ball_window,
    capsule_depth,
    column_row,
    key_depth,
    key_number,
    pack_key,
    pixel_point,
    pixel_ray,
    pixels_f32,
    pixels_i32,
    pixels_i64,
    put_triple,
    to_view,
    triple,
    turn_to_world,
)
from pliant.sims.camera.surface import SURFACE
from pliant.sims.camera.tiles import OCCUPIED, SHIFT, tile_count
from pliant.sims.runtime import ti

ROW_SIZE = 7  # floats of an edge: both ends (3 each) [m], radius [m]
BANDS = 8  # threads share the lines of an edge


@ti.func
def edge_ends(view: ti.template(), rows: ti.template(), e):
    """Both ends [m] of edge ``e`` in the view's frame."""
    return to_view(view, triple(rows, ROW_SIZE * e)), to_view(view, triple(rows, ROW_SIZE * e + 3))


@ti.kernel
def draw_chains(view: pixels_f32, width: int, height: int, count: int, rows: pixels_f32, keys: pixels_i64):
    """Draw ``count`` edges over what the keys show; those that reach behind the camera are left out."""
    for i in range(count * BANDS):
        e, band = i // BANDS, i % BANDS
        a, b = edge_ends(view, rows, e)
        radius = rows[ROW_SIZE * e + 6]
        front = ti.min(a[2], b[2]) - radius
        if front > NEAR:
            # The picture of a capsule lies in the hull of those of the balls at its ends: within `reach` of the line.
            ax, ay, reach_a = ball_window(view, a, radius)
            bx, by, reach_b = ball_window(view, b, radius)
            reach = ti.max(reach_a, reach_b)
            dx, dy = bx - ax, by - ay
            slant = dx / dy if ti.abs(dy) > 1.0 else 0.0
            half = reach * ti.sqrt(1.0 + slant * slant) if ti.abs(dy) > 1.0 else FAR
            x0, x1 = ti.max(ti.min(ax, bx) - reach, 0.0), ti.min(ti.max(ax, bx) + reach, width - 1.0)
            y0, y1 = ti.max(ti.min(ay, by) - reach, 0.0), ti.min(ti.max(ay, by) + reach, height - 1.0)
            middle, half_length = 0.5 * (a + b), 0.5 * (b - a).norm()
            axis = (b - a).normalized(1e-12)
            nearest = pack_key(front, 0)
            y = ti.ceil(y0, int) + band
            while y <= y1:
                on_line = ax + (y - ay) * slant
                begin, end = ti.ceil(ti.max(x0, on_line - half), int), ti.floor(ti.min(x1, on_line + half), int)
                for x in range(begin, end + 1):
                    p = y * width + x
                    if nearest < keys[p]:
                        origin, direction = pixel_ray(view, x, y)
                        z = capsule_depth(origin, direction, middle, axis, half_length, radius)
                        if NEAR < z < FAR:
                            ti.atomic_min(keys[p], pack_key(z, CHAIN + e))
                y += BANDS


@ti.kernel
def draw_chain_surfaces(
    view: pixels_f32,
    width: int,
    height: int,
    tiles: pixels_i32,
    keys: pixels_i64,
    kind: pixels_i32,
    rows: pixels_f32,
    colors: pixels_f32,
    albedo: pixels_f32,
    normal: pixels_f32,
):
    """Linear colour and unit normal, in the world, of the pixels that show an edge; ``colors`` are 3 for each edge."""
    columns = tile_count(width, SHIFT)
    for s in range(columns * height):
        tile, y = column_row(s, columns)
        if tiles[(y >> SHIFT) * columns + tile] & OCCUPIED:
            for x in range(tile << SHIFT, ti.min((tile + 1) << SHIFT, width)):
                p = y * width + x
                key = keys[p]
                e = key_number(key) - CHAIN
                if key < ti.i64(EMPTY) and kind[p] == SURFACE and 0 <= e < TRIANGLE - CHAIN:
                    a, b = edge_ends(view, rows, e)
                    from_a, along = pixel_point(view, x, y, key_depth(key)) - a, b - a
                    share = ti.min(1.0, ti.max(0.0, from_a.dot(along) / ti.max(along.norm_sqr(), 1e-12)))
                    put_triple(normal, 3 * p, turn_to_world(view, (from_a - share * along).normalized(1e-12)))
                    color = triple(colors, 3 * e)
                    put_triple(albedo, 3 * p, color * color)
