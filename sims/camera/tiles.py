"""Which tiles of a picture are busy, so that the passes over its pixels skip the rest.

Bodies fill a small part of most pictures; all else looks as the empty stage does, which is drawn once. A tile is a
square of 2^SHIFT pixels; passes go over strips, the rows of pixels of a tile, with one look at the tile's marks each.
"""

from pliant.sims.camera.rays import (
    EMPTY,
    FAR,
    NEAR,
    ball_window,
    column_row,
    pixel_point,
    pixels_f32,
    pixels_i32,
    pixels_i64,
    project,
    to_view,
    triple,
    turn_to_world,
)
from pliant.sims.runtime import ti

SHIFT, LIGHT_SHIFT = 4, 3  # of the picture's and of the shadow map's tiles
# Marks of a tile: it shows a body; one is close enough to darken it; a shadow, the ghost, a marker may fall on it.
OCCUPIED, CLOSE, SHADOW, GHOST, MARKER = 1, 2, 4, 8, 16


@ti.func
def tile_count(size, shift):
    return (size + (1 << shift) - 1) >> shift


@ti.func
def is_close(width, shift, tiles: ti.template(), x, y):
    """Whether a surface is in or near the tile of pixel (x, y)."""
    return tiles[(y >> shift) * tile_count(width, shift) + (x >> shift)] != 0


@ti.kernel
def draw_tiles(width: int, height: int, shift: int, spread: int, keys: pixels_i64, tiles: pixels_i32):
    """Mark the tiles in which the keys show a surface OCCUPIED, and those at most ``spread`` tiles from there CLOSE.

    ``tiles`` has one entry per tile, row by row, and as many again behind, used in between.
    """
    columns, rows = tile_count(width, shift), tile_count(height, shift)
    for i in range(columns * rows):
        x, y = column_row(i, columns)
        mark = 0
        for py in range(y << shift, ti.min((y + 1) << shift, height)):
            for px in range(x << shift, ti.min((x + 1) << shift, width)):
                if keys[py * width + px] < ti.i64(EMPTY):
                    mark = OCCUPIED
        tiles[columns * rows + i] = mark
    for i in range(columns * rows):
        x, y = column_row(i, columns)
        mark = tiles[columns * rows + i]
        for ty in range(ti.max(y - spread, 0), ti.min(y + spread + 1, rows)):
            for tx in range(ti.max(x - spread, 0), ti.min(x + spread + 1, columns)):
                if tiles[columns * rows + ty * columns + tx] != 0:
                    mark |= CLOSE
        tiles[i] = mark


@ti.func
def may_be_shadowed(
    view: ti.template(),
    width,
    x0,
    y0,
    x1,
    y1,
    stage_depth: ti.template(),
    ledge,
    light_view: ti.template(),
    light_width,
    light_tiles: ti.template(),
):
    """Whether the ground seen between pixels (x0, y0) and (x1, y1) meets close tiles of the shadow map."""
    left, top, right, bottom = FAR, FAR, -FAR, -FAR
    near, far = FAR, 0.0
    for k in range(4):
        x, y = (x1 if k % 2 == 1 else x0), (y1 if k > 1 else y0)
        z = stage_depth[y * width + x]
        near, far = ti.min(near, z), ti.max(far, z)
        point = triple(view, 0) + turn_to_world(view, pixel_point(view, x, y, z))
        column, row = project(light_view, to_view(light_view, point))
        left, right = ti.min(left, column), ti.max(right, column)
        top, bottom = ti.min(top, row), ti.max(bottom, row)
    found = 0
    if near < FAR:
        if far - near > ledge:
            found = 1  # the corners lie on different planes, or some beyond the horizon: they tell nothing
        elif right >= 0.0 and bottom >= 0.0 and left < light_width and top < light_width:
            last = light_width - 1.0
            columns = tile_count(light_width, LIGHT_SHIFT)
            for ty in range(int(ti.max(top, 0.0)) >> LIGHT_SHIFT, (int(ti.min(bottom, last)) >> LIGHT_SHIFT) + 1):
                for tx in range(int(ti.max(left, 0.0)) >> LIGHT_SHIFT, (int(ti.min(right, last)) >> LIGHT_SHIFT) + 1):
                    found |= light_tiles[ty * columns + tx]
    return found != 0


@ti.kernel
def draw_busy_tiles(
    view: pixels_f32,
    width: int,
    height: int,
    stage_depth: pixels_f32,
    ledge: float,
    light_view: pixels_f32,
    light_width: int,
    light_tiles: pixels_i32,
    has_ghost: int,
    ghost_tiles: pixels_i32,
    marker_count: int,
    markers: pixels_f32,
    tiles: pixels_i32,
):
    """Add the marks SHADOW, GHOST and MARKER to the tiles that lie, or have a neighbouring pixel, under such.

    ``ledge`` [m]: corners of a tile that differ more in depth are not on one plane of the ground. Markers are those of
    ``shading.draw_shaded``. A tile without any mark looks like the empty stage, to the last bit.
    """
    columns, rows = tile_count(width, SHIFT), tile_count(height, SHIFT)
    for i in range(columns * rows):
        tx, ty = column_row(i, columns)
        x0, y0 = ti.max((tx << SHIFT) - 1, 0), ti.max((ty << SHIFT) - 1, 0)
        x1, y1 = ti.min((tx + 1) << SHIFT, width - 1), ti.min((ty + 1) << SHIFT, height - 1)
        marks = tiles[i]
        if may_be_shadowed(view, width, x0, y0, x1, y1, stage_depth, ledge, light_view, light_width, light_tiles):
            marks |= SHADOW
        if has_ghost != 0:
            if ghost_tiles[i] != 0:
                marks |= GHOST
        for m in range(marker_count):
            centre, radius = to_view(view, triple(markers, 7 * m)), markers[7 * m + 3]
            if centre[2] <= radius + NEAR:
                marks |= MARKER  # the camera is inside, or nearly so
            else:
                x, y, reach = ball_window(view, centre, radius)
                if x0 <= x + reach and x - reach <= x1 and y0 <= y + reach and y - reach <= y1:
                    marks |= MARKER
        tiles[i] = marks
