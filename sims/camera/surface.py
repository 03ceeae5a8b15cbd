"""From spheres to a soft surface: depths and colours smoothed on the picture, normals taken from them.

Drawn sphere by sphere a body looks like a heap of beads. A bilateral filter along rows and columns, which never mixes
across a jump in depth, turns the front of the heap into one skin (screen-space smoothing as for fluids).
"""

from pliant.sims.camera.rays import (
    CHAIN,
    EFFECTOR,
    EMPTY,
    FAR,
    column_row,
    key_depth,
    key_number,
    pixel_point,
    pixel_size,
    pixels_f32,
    pixels_i32,
    pixels_i64,
    put_triple,
    to_view,
    triple,
    turn_to_world,
)
from pliant.sims.camera.tiles import OCCUPIED, SHIFT, tile_count
from pliant.sims.runtime import ti

NOTHING, GROUND, PARTICLE, SURFACE = 0, 1, 2, 3  # what a pixel shows
WIDEST = 20  # the filter reaches at most one in so many of the picture's height on each side


@ti.kernel
def draw_resolved(
    width: int,
    height: int,
    tiles: pixels_i32,
    keys: pixels_i64,
    colors: pixels_f32,
    solid_colors: pixels_f32,
    backdrop_depth: pixels_f32,
    kind: pixels_i32,
    depth: pixels_f32,
    albedo: pixels_f32,
):
    """What each pixel shows: its kind and depth [m], of particles and effectors also the linear colour.

    ``backdrop_depth`` is the ground's, FAR where there is none. Colours are squared: gamma 2, close to sRGB, and a
    square root on the way out.
    """
    columns = tile_count(width, SHIFT)
    for s in range(columns * height):
        tile, y = column_row(s, columns)
        occupied = tiles[(y >> SHIFT) * columns + tile] & OCCUPIED
        for x in range(tile << SHIFT, ti.min((tile + 1) << SHIFT, width)):
            p = y * width + x
            z = backdrop_depth[p]
            seen = GROUND if z < FAR else NOTHING
            if occupied != 0:
                key = keys[p]
                if key < ti.i64(EMPTY) and key_depth(key) < z:
                    z = key_depth(key)
                    number = key_number(key)
                    seen = PARTICLE if number < EFFECTOR else SURFACE
                    if number < CHAIN:
                        color = ti.Vector([0.0, 0.0, 0.0])
                        if number < EFFECTOR:
                            color = triple(colors, 3 * number)
                        else:
                            color = triple(solid_colors, 3 * (number - EFFECTOR))
                        put_triple(albedo, 3 * p, color * color)
            kind[p] = seen
            depth[p] = z


@ti.kernel
def draw_smoothed(
    view: pixels_f32,
    width: int,
    height: int,
    step: int,
    reach: float,
    tiles: pixels_i32,
    kind: pixels_i32,
    depth: pixels_f32,
    keeps_colors: int,
    albedo: pixels_f32,
    smooth_depth: pixels_f32,
    smooth_albedo: pixels_f32,
):
    """One pass of the filter over particles: along rows (``step`` 1) or columns (``step`` = width).

    ``reach`` [m] is how far the filter reaches on the surface, and half the jump in depth that it respects. Without
    ``keeps_colors`` it leaves ``smooth_albedo`` as it is. Pixels of other kinds are left alone.
    """
    columns = tile_count(width, SHIFT)
    for s in range(columns * height):
        tile, y = column_row(s, columns)
        if tiles[(y >> SHIFT) * columns + tile] & OCCUPIED:
            for x in range(tile << SHIFT, ti.min((tile + 1) << SHIFT, width)):
                p = y * width + x
                if kind[p] == PARTICLE:
                    here = depth[p]
                    total, total_depth = 1.0, here
                    total_albedo = triple(albedo, 3 * p)
                    along, last = (x, width - 1) if step == 1 else (y, height - 1)
                    n = ti.min(
                        ti.cast(reach / pixel_size(view, here) + 0.5, int), height // WIDEST, along, last - along
                    )
                    stride = 1 + n // 8  # a wide filter skips pixels: what it averages is smooth
                    for i in range(1, n // stride + 1):
                        k = i * stride
                        before, after = p - k * step, p + k * step
                        # Neighbours count in pairs: one alone would tilt the skin towards it at a silhouette.
                        if kind[before] == PARTICLE and kind[after] == PARTICLE:
                            jump = ti.max(ti.abs(depth[before] - here), ti.abs(depth[after] - here)) / (2.0 * reach)
                            if jump < 1.0:
                                far = k / (n + 1.0)
                                weight = (1.0 - far * far) ** 2 * (1.0 - jump * jump) ** 2
                                total += 2.0 * weight
                                total_depth += weight * (depth[before] + depth[after])
                                if keeps_colors != 0:
                                    total_albedo += weight * (triple(albedo, 3 * before) + triple(albedo, 3 * after))
                    smooth_depth[p] = total_depth / total
                    if keeps_colors != 0:
                        put_triple(smooth_albedo, 3 * p, total_albedo / total)


@ti.kernel
def draw_normals(
    view: pixels_f32,
    width: int,
    height: int,
    reach: float,
    bead: float,
    centres: pixels_f32,
    tiles: pixels_i32,
    keys: pixels_i64,
    kind: pixels_i32,
    depth: pixels_f32,
    normal: pixels_f32,
):
    """Unit normals, in the world, of the particles' skin; ``bead`` in 0..1 is the share of the single sphere's."""
    columns = tile_count(width, SHIFT)
    for s in range(columns * height):
        tile, y = column_row(s, columns)
        if tiles[(y >> SHIFT) * columns + tile] & OCCUPIED:
            for x in range(tile << SHIFT, ti.min((tile + 1) << SHIFT, width)):
                p = y * width + x
                if kind[p] == PARTICLE:
                    z = depth[p]
                    here = pixel_point(view, x, y, z)
                    # Change of position per pixel along the row, then along the column; 0 where no neighbour is on
                    # the skin.
                    across, down = ti.Vector([0.0, 0.0, 0.0]), ti.Vector([0.0, 0.0, 0.0])
                    for k in range(4):
                        axis, side = k // 2, 2 * (k % 2) - 1
                        px, py = x + side * (1 - axis), y + side * axis
                        if 0 <= px < width and 0 <= py < height:
                            q = py * width + px
                            if kind[q] == PARTICLE and ti.abs(depth[q] - z) < reach:
                                change = side * (pixel_point(view, px, py, depth[q]) - here)
                                if axis == 0:
                                    across += change
                                else:
                                    down += change
                    front = pixel_point(view, x, y, key_depth(keys[p]))
                    n = (front - to_view(view, triple(centres, 3 * key_number(keys[p])))).normalized(1e-12)
                    skin = across.cross(down)  # towards the camera: right, up, forward is a left-handed frame
                    if skin.norm_sqr() > 0.0:
                        n = (skin.normalized() * (1.0 - bead) + n * bead).normalized(1e-12)
                    put_triple(normal, 3 * p, turn_to_world(view, n))
