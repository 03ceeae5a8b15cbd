"""The finished picture: display colours as bytes, with softened edges or as the mean of finer samples."""

from pliant.sims.camera.rays import column_row, pixels_f32, pixels_i32, triple
from pliant.sims.camera.shading import blend
from pliant.sims.camera.tiles import SHIFT, tile_count
from pliant.sims.runtime import ti


@ti.func
def softened(width, height, x, y, picture: ti.template()):
    """Colour of pixel (x, y), mixed with its neighbours' along an edge."""
    p = y * width + x
    color = triple(picture, 3 * p)
    if 0 < x < width - 1 and 0 < y < height - 1:
        # Contrast by green alone, which is most of what the eye calls bright.
        left, right = picture[3 * p - 2], picture[3 * p + 4]
        over, under = picture[3 * (p - width) + 1], picture[3 * (p + width) + 1]
        contrast = ti.max(left, right, over, under, color[1]) - ti.min(left, right, over, under, color[1])
        if contrast > 0.05:
            # Mix along the edge: left and right where it runs across, over and under where it stands.
            across, along = ti.abs(right - left), ti.abs(under - over)
            rows = triple(picture, 3 * (p - 1)) + triple(picture, 3 * (p + 1))
            columns = triple(picture, 3 * (p - width)) + triple(picture, 3 * (p + width))
            mean = 0.5 * (rows * along + columns * across) / (across + along + 1e-6)
            color = blend(color, mean, 0.5 * ti.min(1.0, contrast / 0.2))
    return color


@ti.kernel
def draw_image(
    width: int,
    height: int,
    samples: int,
    tiles: pixels_i32,
    picture: pixels_f32,
    image: ti.types.ndarray(ti.u8, 1),
):
    """Display colours 0..255, shape (height * width * 3,), from a picture ``samples`` times as fine on both axes.

    With one sample, jagged edges are softened along their direction, in the manner of FXAA, and tiles without a mark
    are left as they are in ``image``.
    """
    columns = tile_count(width, SHIFT)
    for s in range(columns * height):
        tile, y = column_row(s, columns)
        busy = samples > 1
        if samples == 1:
            busy = tiles[(y >> SHIFT) * columns + tile] != 0
        if busy:
            for x in range(tile << SHIFT, ti.min((tile + 1) << SHIFT, width)):
                p = y * width + x
                total = ti.Vector([0.0, 0.0, 0.0])
                if samples > 1:
                    for k in range(samples * samples):
                        column, row = column_row(k, samples)
                        at = (y * samples + row) * width * samples + x * samples + column
                        total += triple(picture, 3 * at)
                    total /= samples * samples
                else:
                    total = softened(width, height, x, y, picture)
                for k in ti.static(range(3)):
                    image[3 * p + k] = ti.cast(ti.min(ti.max(total[k], 0.0), 1.0) * 255.0 + 0.5, ti.u8)
