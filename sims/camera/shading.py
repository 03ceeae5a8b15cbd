"""Light on what the pixels show: the stage, shadows, ambient occlusion, translucent goals, and the finished picture."""

from pliant.sims.camera.rays import (
    EMPTY,
    FAR,
    column_row,
    key_depth,
    pixel_point,
    pixel_ray,
    pixel_size,
    pixels_f32,
    pixels_i32,
    pixels_i64,
    project,
    put_triple,
    sphere_depth,
    to_view,
    triple,
    turn_to_world,
)
from pliant.sims.camera.surface import GROUND, NOTHING, PARTICLE
from pliant.sims.runtime import ti

# Entries of the flat array `look`: what the light and the stage are like.
SUN = 0  # unit vector towards the light
STAGE = 3  # 0: no ground, 1: the plane z = height, 2: a wall behind a two-dimensional scene, floor below y = height
HEIGHT = 4  # of the ground [m]
WALL = 5  # two-dimensional scenes: the wall behind lies at z = -this, the floor's front at z = +this [m]
CHECK = 6  # edge of the ground's squares [m]
TARGET = 7  # what the camera looks at [m]
FRAME = 10  # height of the world that the picture shows there [m]
TOP, BOTTOM = 11, 14  # linear colours of the background
FLOOR = 17  # linear colour of the ground
SOFTNESS = 20  # radius over which a shadow's edge fades [m]
BIAS = 21  # a surface this little behind the light's first one is lit [m]
CORNER = 22  # radius of ambient occlusion [m]
GHOST, GHOST_ALPHA = 23, 26  # linear colour and opacity of the ghost particles; opacity 0: none
TAPS = 27  # (x, y) on the unit disc: first those of the shadow's edge, then those of ambient occlusion
SHADOW_TAPS, OCCLUSION_TAPS, FIRST_TAPS = 11, 9, 4
LOOK_SIZE = TAPS + 2 * (SHADOW_TAPS + OCCLUSION_TAPS)
WIDEST_CORNER = 0.0625  # ambient occlusion reaches at most this share of the picture's height


@ti.func
def square_wave_mean(s, width):
    """Mean over a window of the wave that is +1 on even unit intervals and -1 on odd ones."""
    # Its integral is the triangle wave |2 fract(s/2) - 1|, up to sign and a constant.
    w = ti.max(width, 1e-4)
    a, b = 0.5 * (s - 0.5 * w), 0.5 * (s + 0.5 * w)
    return (ti.abs(2.0 * (a - ti.floor(a)) - 1.0) - ti.abs(2.0 * (b - ti.floor(b)) - 1.0)) / w


@ti.func
def blend(below, above, alpha):
    return below + (above - below) * alpha


@ti.func
def world_point(view: ti.template(), x, y, z):
    """World position [m] of what pixel (x, y) shows at depth ``z`` [m]."""
    return triple(view, 0) + turn_to_world(view, pixel_point(view, x, y, z))


@ti.func
def ground_light(base, shadow, ambient):
    """Linear colour of ground of linear base colour ``base`` under a share of the sun and of the sky."""
    return base * (ti.Vector([0.58, 0.56, 0.53]) * shadow + ti.Vector([0.44, 0.46, 0.5]) * ambient)


@ti.func
def stage_share(look: ti.template(), point):
    """How much of the ground is seen at a point, 0..1: the stage of a three-dimensional scene fades out."""
    share = 1.0
    if look[STAGE] < 1.5:
        away = (point - triple(look, TARGET)).norm() / look[FRAME]
        share = ti.min(1.0, ti.max(0.0, (2.6 - away) / 1.9))
        share *= share * (3.0 - 2.0 * share)
    return share


@ti.kernel
def draw_stage(
    view: pixels_f32,
    width: int,
    height: int,
    look: pixels_f32,
    stage_depth: pixels_f32,
    stage_albedo: pixels_f32,
    stage_color: pixels_f32,
):
    """The empty stage: depth [m] and linear base colour of the ground, and what each pixel shows of it in full light.

    The ground's checker fades out where its squares are a pixel wide, the stage itself into the background.
    """
    for p in range(width * height):
        x, y = column_row(p, width)
        start, ray = pixel_ray(view, x, y)
        origin, direction = triple(view, 0) + turn_to_world(view, start), turn_to_world(view, ray)
        color = blend(triple(look, TOP), triple(look, BOTTOM), (y + 0.5) / height)
        base = triple(look, FLOOR)
        z = FAR
        if look[STAGE] > 0.5:
            below = origin[1] < look[HEIGHT]
            if look[STAGE] > 1.5:
                z = origin[2] - (look[WALL] if below else -look[WALL])
            elif direction[2] < -1e-4 and origin[2] > look[HEIGHT]:
                z = (look[HEIGHT] - origin[2]) / direction[2]
            if z < FAR:
                point = origin + z * direction
                foot = pixel_size(view, z) / (look[CHECK] * ti.max(ti.abs(direction[2]), 0.05))
                squares = square_wave_mean(point[0] / look[CHECK], foot) * square_wave_mean(
                    point[1] / look[CHECK], foot
                )
                if look[STAGE] > 1.5:
                    depth_below = ti.max(look[HEIGHT] - point[1], 0.0) / look[CHECK]
                    base *= 0.52 + 0.16 / (1.0 + depth_below) if below else 1.0 + 0.03 * squares
                else:
                    base *= 1.0 + 0.05 * squares
                color = blend(color, ground_light(base, 1.0, 1.0), stage_share(look, point))
        stage_depth[p] = z
        put_triple(stage_albedo, 3 * p, base)
        put_triple(stage_color, 3 * p, color)


@ti.func
def tile_count(size, shift):
    return (size + (1 << shift) - 1) >> shift


@ti.func
def is_marked(width, shift, tiles: ti.template(), x, y):
    """Whether the tile of pixel (x, y) is marked."""
    return tiles[(y >> shift) * tile_count(width, shift) + (x >> shift)] != 0


@ti.kernel
def draw_tiles(width: int, height: int, shift: int, keys: pixels_i64, tiles: pixels_i32):
    """Mark with 1 the tiles (squares of 2^shift pixels) in or next to which the keys show a surface, else with 0.

    ``tiles`` has one entry per tile, row by row, and as many again behind, used in between.
    """
    columns, rows = tile_count(width, shift), tile_count(height, shift)
    for i in range(columns * rows):
        x, y = column_row(i, columns)
        mark = 0
        for py in range(y << shift, ti.min((y + 1) << shift, height)):
            for px in range(x << shift, ti.min((x + 1) << shift, width)):
                if keys[py * width + px] < ti.i64(EMPTY):
                    mark = 1
        tiles[columns * rows + i] = mark
    for i in range(columns * rows):
        x, y = column_row(i, columns)
        mark = 0
        for ty in range(ti.max(y - 1, 0), ti.min(y + 2, rows)):
            for tx in range(ti.max(x - 1, 0), ti.min(x + 2, columns)):
                mark |= tiles[columns * rows + ty * columns + tx]
        tiles[i] = mark


@ti.func
def disc_sunlight(look: ti.template(), light_view: ti.template(), light_width, light_keys: ti.template(), x, y, z):
    """The part of the disc about pixel (x, y) of the shadow map in which nothing is much nearer than ``z`` [m]."""
    reach, fade, first = look[SOFTNESS] / light_view[12], 1.0 / look[BIAS], z - look[BIAS]
    lit = 0.0
    taps, k = SHADOW_TAPS, 0
    while k < taps:
        px = ti.floor(x + 0.5 + reach * look[TAPS + 2 * k], int)
        py = ti.floor(y + 0.5 + reach * look[TAPS + 2 * k + 1], int)
        clear = 1.0
        if 0 <= px < light_width and 0 <= py < light_width:
            key = light_keys[py * light_width + px]
            if key < ti.i64(EMPTY):
                clear = 1.0 - ti.min(1.0, ti.max(0.0, (first - key_depth(key)) * fade))
        lit += clear
        k += 1
        if k == FIRST_TAPS and (lit == 0.0 or lit == k):
            taps = k  # the outermost taps agree: no edge of a shadow is near
    return lit / taps


@ti.func
def sunlight(
    look: ti.template(),
    light_view: ti.template(),
    light_width,
    light_keys: ti.template(),
    light_shift,
    light_tiles: ti.template(),
    point,
):
    """Share of the light that reaches a point, 0..1: the part of a disc on the shadow map that is not nearer to it."""
    q = to_view(light_view, point)
    x, y = project(light_view, q)
    lit = 1.0
    if 0 <= x < light_width and 0 <= y < light_width:
        if is_marked(light_width, light_shift, light_tiles, int(x), int(y)):
            lit = disc_sunlight(look, light_view, light_width, light_keys, x, y, q[2])
    return lit


@ti.func
def openness(view: ti.template(), width, height, look: ti.template(), p, n, depth: ti.template()):
    """Ambient light that nearby surfaces leave, 0..1 (obscurance by points of the picture, McGuire et al. 2011)."""
    radius = look[CORNER]
    x, y = column_row(p, width)
    here = pixel_point(view, x, y, depth[p])
    normal = ti.Vector([n.dot(triple(view, 3)), n.dot(triple(view, 6)), n.dot(triple(view, 9))])
    reach = ti.min(radius / pixel_size(view, depth[p]), WIDEST_CORNER * height)
    inverse, bias = 1.0 / (radius * radius), 0.03 * radius
    blocked = 0.0
    taps, k = OCCLUSION_TAPS, 0
    while k < taps:
        at = TAPS + 2 * (SHADOW_TAPS + k)
        px = ti.floor(x + 0.5 + reach * look[at], int)
        py = ti.floor(y + 0.5 + reach * look[at + 1], int)
        if 0 <= px < width and 0 <= py < height:
            v = pixel_point(view, px, py, ti.min(depth[py * width + px], here[2] + 2.0 * radius)) - here
            over, square = v.dot(normal) - bias, v.norm_sqr()
            if over > 0.0:
                blocked += ti.max(0.0, 1.0 - square * inverse) * over / ti.sqrt(square)
        k += 1
        if k == FIRST_TAPS and blocked == 0.0:
            taps = k
    return ti.max(0.0, 1.0 - 2.2 * blocked / OCCLUSION_TAPS)


@ti.func
def lit_color(look: ti.template(), base, n, direction, shadow, ambient, glossy):
    """Linear colour of a surface with linear base colour ``base`` and unit normal ``n`` seen along ``direction``."""
    sun = triple(look, SUN)
    # Light wraps round soft matter: the terminator lies past 90 degrees and is warmer than the lit side.
    facing = n.dot(sun)
    wrapped = ti.max(0.0, 0.8 * facing + 0.2)
    wrapped *= 0.6 + 0.4 * wrapped
    bleed = ti.max(0.0, 1.0 - ti.abs(facing) * 3.0) * ti.Vector([0.05, 0.015, 0.0])
    sky = 0.5 + 0.5 * (n[2] if look[STAGE] < 1.5 else n[1])
    around = blend(ti.Vector([0.25, 0.235, 0.23]), ti.Vector([0.42, 0.44, 0.48]), sky)
    shine = ti.max(0.0, n.dot((sun - direction).normalized(1e-9))) ** 16
    shine = shine**4 * 0.4 if glossy else shine * 0.13
    rim = (1.0 - ti.max(0.0, -n.dot(direction))) ** 3 * 0.16 * sky
    light = ti.Vector([0.98, 0.93, 0.86]) * (wrapped * shadow) + around * ambient + bleed * shadow
    return base * light + shine * shadow + rim * ambient


@ti.kernel
def draw_shaded(
    view: pixels_f32,
    width: int,
    height: int,
    look: pixels_f32,
    shift: int,
    tiles: pixels_i32,
    kind: pixels_i32,
    depth: pixels_f32,
    albedo: pixels_f32,
    normal: pixels_f32,
    stage_albedo: pixels_f32,
    stage_color: pixels_f32,
    light_view: pixels_f32,
    light_width: int,
    light_keys: pixels_i64,
    light_shift: int,
    light_tiles: pixels_i32,
    ghost_kind: pixels_i32,
    ghost_depth: pixels_f32,
    ghost_normal: pixels_f32,
    marker_count: int,
    markers: pixels_f32,
    picture: pixels_f32,
):
    """Display colours of the picture in 0..1, shape (height * width * 3,).

    A marker is centre (3) [m], radius [m], linear colour (3). The tiles (``draw_tiles``), as wide as ambient occlusion
    and the shadow's edge reach, tell where the ground has nothing near.
    """
    for p in range(width * height):
        x, y = column_row(p, width)
        z = depth[p]
        color = triple(stage_color, 3 * p)
        if kind[p] != NOTHING:
            n = triple(normal, 3 * p)
            point = world_point(view, x, y, z)
            shadow = sunlight(look, light_view, light_width, light_keys, light_shift, light_tiles, point)
            ambient = 1.0
            if is_marked(width, shift, tiles, x, y):
                ambient = openness(view, width, height, look, p, n, depth)
            if kind[p] == GROUND:
                base = triple(stage_albedo, 3 * p)
                if shadow < 1.0 or ambient < 1.0:
                    change = ground_light(base, shadow, ambient) - ground_light(base, 1.0, 1.0)
                    color += change * stage_share(look, point)
            else:
                _, ray = pixel_ray(view, x, y)
                direction = turn_to_world(view, ray.normalized())
                color = lit_color(look, triple(albedo, 3 * p), n, direction, shadow, ambient, kind[p] != PARTICLE)
        if look[GHOST_ALPHA] > 0.0 and ghost_kind[p] == PARTICLE:
            _, ray = pixel_ray(view, x, y)
            facing = ti.abs(triple(ghost_normal, 3 * p).dot(turn_to_world(view, ray.normalized())))
            alpha = look[GHOST_ALPHA] * (0.55 + 0.9 * (1.0 - facing))
            if ghost_depth[p] > z:
                alpha *= 0.35  # a goal inside or behind a body still shines through
            color = blend(color, triple(look, GHOST) * (0.7 + 0.5 * facing), ti.min(alpha, 1.0))
        for m in range(marker_count):
            origin, ray = pixel_ray(view, x, y)
            centre, radius = to_view(view, triple(markers, 7 * m)), markers[7 * m + 3]
            front = sphere_depth(origin, ray, centre, radius)
            if front > 0.0:
                n = (origin + front * ray - centre) / radius
                edge = 1.0 + n.dot(ray.normalized())
                alpha = 0.45 + 0.45 * edge * edge
                if front > z:
                    alpha *= 0.35
                glow = 0.8 + 0.4 * ti.max(0.0, turn_to_world(view, n).dot(triple(look, SUN)))
                color = blend(color, triple(markers, 7 * m + 4) * glow, alpha)
        for k in ti.static(range(3)):
            c = ti.max(color[k], 0.0)
            if c > 0.7:  # what is brighter is compressed so that highlights keep their tint
                c = 1.0 - 0.3 * 0.3 / (c - 0.4)
            picture[3 * p + k] = ti.sqrt(c)


@ti.kernel
def draw_image(width: int, height: int, samples: int, picture: pixels_f32, image: ti.types.ndarray(ti.u8, 1)):
    """Display colours 0..255, shape (height * width * 3,), from a picture ``samples`` times as fine on both axes.

    With one sample, jagged edges are softened along their direction, in the manner of FXAA.
    """
    for p in range(width * height):
        x, y = column_row(p, width)
        total = ti.Vector([0.0, 0.0, 0.0])
        if samples > 1:
            for k in range(samples * samples):
                column, row = column_row(k, samples)
                at = (y * samples + row) * width * samples + x * samples + column
                total += triple(picture, 3 * at)
            total /= samples * samples
        else:
            total = triple(picture, 3 * p)
            if 0 < x < width - 1 and 0 < y < height - 1:
                # Contrast by green alone, which is most of what the eye calls bright.
                left, right = picture[3 * p - 2], picture[3 * p + 4]
                over, under = picture[3 * (p - width) + 1], picture[3 * (p + width) + 1]
                contrast = ti.max(left, right, over, under, total[1]) - ti.min(left, right, over, under, total[1])
                if contrast > 0.05:
                    # Mix along the edge: left and right where it runs across, over and under where it stands.
                    across, along = ti.abs(right - left), ti.abs(under - over)
                    rows = triple(picture, 3 * (p - 1)) + triple(picture, 3 * (p + 1))
                    columns = triple(picture, 3 * (p - width)) + triple(picture, 3 * (p + width))
                    mean = 0.5 * (rows * along + columns * across) / (across + along + 1e-6)
                    total = blend(total, mean, 0.5 * ti.min(1.0, contrast / 0.2))
        for k in ti.static(range(3)):
            image[3 * p + k] = ti.cast(ti.min(ti.max(total[k], 0.0), 1.0) * 255.0 + 0.5, ti.u8)
