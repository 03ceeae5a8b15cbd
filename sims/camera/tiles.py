"""Which tiles of a picture are busy, so that the passes over its pixels skip the rest.

Bodies fill a small part of most pictures; all else looks as the backdrop does, which is drawn once. A tile is a
square of 2^SHIFT pixels; passes go over strips, the rows of pixels of a tile, with one look at the tile's marks each.
"""

from pliant.sims.camera.rays import EMPTY, column_row, pixels_i32, pixels_i64
from pliant.sims.runtime import ti

SHIFT, LIGHT_SHIFT = 4, 3  # of the picture's and of the shadow map's tiles
# Marks of a tile: it shows a body; one is close enough to darken it; a shadow, the ghost, a marker may fall on it.
OCCUPIED, CLOSE, SHADOW, GHOST, MARKER = 1, 2, 4, 8, 16


@ti.func
def tile_count(size, shift):
    """Tiles along a side of ``size`` pixels."""
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
