"""Light on what the pixels show: the ground, shadows, ambient occlusion, translucent goals."""

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
from pliant.sims.camera.surface import GROUND, PARTICLE
from pliant.sims.camera.tiles import CLOSE, GHOST, LIGHT_SHIFT, MARKER, SHADOW, SHIFT, is_close, tile_count
from pliant.sims.runtime import ti

# Entries of the flat array `look`: what the light and the ground are like.
SUN = 0  # unit vector towards the light
GROUND_KIND = (
    3  # 0: no ground, 1: the plane z = height, 2: a wall behind a two-dimensional scene, floor below y = height
)
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
GHOST_COLOR, GHOST_ALPHA = 23, 26  # linear colour and opacity of the ghost particles; opacity 0: none
TAPS = 27  # (x, y) on the unit disc: first those of the shadow's edge, then those of ambient occlusion
SHADOW_TAPS, OCCLUSION_TAPS, FIRST_TAPS = 11, 9, 4
LOOK_SIZE = TAPS + 2 * (SHADOW_TAPS + OCCLUSION_TAPS)
DARK = -0.34  # faces whose normal is so far from the light, by their product, take none, whatever is between
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
    """(1 - alpha) below + alpha above."""
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
def ground_share(look: ti.template(), point):
    """How much of the ground is seen at a point, 0..1: that of a three-dimensional scene fades out."""
    share = 1.0
    if look[GROUND_KIND] < 1.5:
        away = (point - triple(look, TARGET)).norm() / look[FRAME]
        share = ti.min(1.0, ti.max(0.0, (2.6 - away) / 1.9))
        share *= share * (3.0 - 2.0 * share)
    return share


@ti.func
def display_color(color):
    """Display colour of a linear one."""
    result = ti.Vector([0.0, 0.0, 0.0])
    for k in ti.static(range(3)):
        c = ti.max(color[k], 0.0)
        if c > 0.7:  # what is brighter is compressed so that highlights keep their tint
            c = 1.0 - 0.3 * 0.3 / (c - 0.4)
        result[k] = ti.sqrt(c)
    return result


@ti.kernel
def draw_backdrop(
    view: pixels_f32,
    width: int,
    height: int,
    look: pixels_f32,
    backdrop_depth: pixels_f32,
    backdrop_albedo: pixels_f32,
    backdrop_color: pixels_f32,
    backdrop_picture: pixels_f32,
):
    """The backdrop: depth [m] and linear base colour of the ground, what each pixel shows of it in full light.

    The latter as linear colours and as display colours (the picture of the backdrop alone).

    The ground's checker fades out where its squares are a pixel wide, the ground itself into the background.
    """
    for p in range(width * height):
        x, y = column_row(p, width)
        start, ray = pixel_ray(view, x, y)
        origin, direction = triple(view, 0) + turn_to_world(view, start), turn_to_world(view, ray)
        color = blend(triple(look, TOP), triple(look, BOTTOM), (y + 0.5) / height)
        base = triple(look, FLOOR)
        z = FAR
        if look[GROUND_KIND] > 0.5:
            below = origin[1] < look[HEIGHT]
            if look[GROUND_KIND] > 1.5:
                z = origin[2] - (look[WALL] if below else -look[WALL])
            elif direction[2] < -1e-4 and origin[2] > look[HEIGHT]:
                z = (look[HEIGHT] - origin[2]) / direction[2]
            if z < FAR:
                point = origin + z * direction
                foot = pixel_size(view, z) / (look[CHECK] * ti.max(ti.abs(direction[2]), 0.05))
                squares = square_wave_mean(point[0] / look[CHECK], foot) * square_wave_mean(
                    point[1] / look[CHECK], foot
                )
                if look[GROUND_KIND] > 1.5:
                    depth_below = ti.max(look[HEIGHT] - point[1], 0.0) / look[CHECK]
                    base *= 0.52 + 0.16 / (1.0 + depth_below) if below else 1.0 + 0.03 * squares
                else:
                    base *= 1.0 + 0.05 * squares
                color = blend(color, ground_light(base, 1.0, 1.0), ground_share(look, point))
        backdrop_depth[p] = z
        put_triple(backdrop_albedo, 3 * p, base)
        put_triple(backdrop_color, 3 * p, color)
        put_triple(backdrop_picture, 3 * p, display_color(color))


@ti.kernel
def draw_light_depth(count: int, keys: pixels_i64, depth: pixels_f32):
    """Depths [m] of ``count`` keys, FAR where they show nothing."""
    for p in range(count):
        depth[p] = FAR
        if keys[p] < ti.i64(EMPTY):
            depth[p] = key_depth(keys[p])


@ti.func
def disc_sunlight(look: ti.template(), light_view: ti.template(), light_width, light_depth: ti.template(), x, y, z):
    """The part of the disc about pixel (x, y) of the shadow map in which nothing is much nearer than ``z`` [m]."""
    reach, fade, first, last = look[SOFTNESS] / light_view[12], 1.0 / look[BIAS], z - look[BIAS], light_width - 1
    lit = 0.0
    taps, k = SHADOW_TAPS, 0
    while k < taps:
        # Nothing touches the border of the shadow map: what lies beyond is lit as it is.
        px = ti.min(ti.max(ti.floor(x + 0.5 + reach * look[TAPS + 2 * k], int), 0), last)
        py = ti.min(ti.max(ti.floor(y + 0.5 + reach * look[TAPS + 2 * k + 1], int), 0), last)
        lit += 1.0 - ti.min(1.0, ti.max(0.0, (first - light_depth[py * light_width + px]) * fade))
        k += 1
        if k == FIRST_TAPS and (lit == 0.0 or lit == k):
            taps = k  # the outermost taps agree: no edge of a shadow is near
    return lit / taps


@ti.func
def sunlight(
    look: ti.template(),
    light_view: ti.template(),
    light_width,
    light_depth: ti.template(),
    light_tiles: ti.template(),
    point,
):
    """Share of the light that reaches a point, 0..1: the part of a disc on the shadow map that is not nearer to it."""
    q = to_view(light_view, point)
    x, y = project(light_view, q)
    lit = 1.0
    if 0 <= x < light_width and 0 <= y < light_width:
        if is_close(light_width, LIGHT_SHIFT, light_tiles, int(x), int(y)):
            lit = disc_sunlight(look, light_view, light_width, light_depth, x, y, q[2])
    return lit


@ti.func
def openness(
    view: ti.template(), width, height, look: ti.template(), x, y, normal, kind: ti.template(), depth: ti.template()
):
    """Ambient light that nearby surfaces leave, 0..1 (obscurance by points of the picture, McGuire et al. 2011).

    ``normal`` is in the view's frame.
    """
    p, radius = y * width + x, look[CORNER]
    here = pixel_point(view, x, y, depth[p])
    reach = ti.min(radius / pixel_size(view, here[2]), WIDEST_CORNER * height)
    inverse, bias, farthest = 1.0 / (radius * radius), 0.03 * radius, here[2] + 2.0 * radius
    blocked = 0.0
    taps, k = OCCLUSION_TAPS, 0
    while k < taps:
        at = TAPS + 2 * (SHADOW_TAPS + k)
        px = ti.min(ti.max(ti.floor(x + 0.5 + reach * look[at], int), 0), width - 1)
        py = ti.min(ti.max(ti.floor(y + 0.5 + reach * look[at + 1], int), 0), height - 1)
        q = py * width + px
        # The ground does not darken itself: where it steps down, that would show as a line next to bodies only.
        if kind[p] != GROUND or kind[q] != GROUND:
            v = pixel_point(view, px, py, ti.min(depth[q], farthest)) - here
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
    sky = 0.5 + 0.5 * (n[2] if look[GROUND_KIND] < 1.5 else n[1])
    around = blend(ti.Vector([0.25, 0.235, 0.23]), ti.Vector([0.42, 0.44, 0.48]), sky)
    shine = ti.max(0.0, n.dot((sun - direction).normalized(1e-9))) ** 16
    shine = shine**4 * 0.4 if glossy else shine * 0.13
    rim = (1.0 - ti.max(0.0, -n.dot(direction))) ** 3 * 0.16 * sky
    light = ti.Vector([0.98, 0.93, 0.86]) * (wrapped * shadow) + around * ambient + bleed * shadow
    return base * light + shine * shadow + rim * ambient


@ti.func
def is_one_surface(view: ti.template(), width, height, x, y, kind: ti.template(), depth: ti.template()):
    """Whether the four pixels right of and below (x, y) show the same surface, not too steep."""
    same = x + 1 < width and y + 1 < height
    if same:
        p = y * width + x
        a, b, c, d = depth[p], depth[p + 1], depth[p + width], depth[p + width + 1]
        same = kind[p] == kind[p + 1] and kind[p] == kind[p + width] and kind[p] == kind[p + width + 1]
        if kind[p] != GROUND:
            same = same and ti.max(a, b, c, d) - ti.min(a, b, c, d) < 3.0 * pixel_size(view, a)
    return same


@ti.func
def marked_color(view: ti.template(), look: ti.template(), start, ray, z, count, markers: ti.template(), color):
    """A colour seen at depth ``z`` [m] with ``count`` translucent markers over or behind it."""
    result = color
    for m in range(count):
        centre, radius = to_view(view, triple(markers, 7 * m)), markers[7 * m + 3]
        front = sphere_depth(start, ray, centre, radius)
        if front > 0.0:
            across = (start + front * ray - centre) / radius
            edge = 1.0 + across.dot(ray.normalized())
            alpha = 0.45 + 0.45 * edge * edge
            if front > z:
                alpha *= 0.35
            glow = 0.8 + 0.4 * ti.max(0.0, turn_to_world(view, across).dot(triple(look, SUN)))
            result = blend(result, triple(markers, 7 * m + 4) * glow, alpha)
    return result


@ti.kernel
def draw_shaded(
    view: pixels_f32,
    width: int,
    height: int,
    look: pixels_f32,
    tiles: pixels_i32,
    kind: pixels_i32,
    depth: pixels_f32,
    albedo: pixels_f32,
    normal: pixels_f32,
    backdrop_albedo: pixels_f32,
    backdrop_color: pixels_f32,
    backdrop_picture: pixels_f32,
    light_view: pixels_f32,
    light_width: int,
    light_depth: pixels_f32,
    light_tiles: pixels_i32,
    ghost_kind: pixels_i32,
    ghost_depth: pixels_f32,
    ghost_normal: pixels_f32,
    marker_count: int,
    markers: pixels_f32,
    picture: pixels_f32,
):
    """Display colours of the picture in 0..1, shape (height * width * 3,).

    A marker is centre (3) [m], radius [m], linear colour (3). The tiles' marks (``tiles.draw_tiles``,
    ``busy.busy_marks``) tell what can be seen in each; those without any show the backdrop. Four pixels that show
    one surface share its ambient occlusion, which is smooth, and away from the edges of shadows the shadow.
    """
    columns = tile_count(width, SHIFT)
    for s in range(columns * ((height + 1) // 2)):
        tile, line = column_row(s, columns)
        marks = tiles[((2 * line) >> SHIFT) * columns + tile]
        for block in range(tile << (SHIFT - 1), ti.min((tile + 1) << (SHIFT - 1), (width + 1) // 2)):
            is_even = marks != 0 and is_one_surface(view, width, height, 2 * block, 2 * line, kind, depth)
            shadow, ambient, is_edge = 1.0, 1.0, False
            for k in range(4):
                x, y = 2 * block + k % 2, 2 * line + k // 2
                p = y * width + x
                if x >= width or y >= height:
                    continue
                if marks == 0:
                    put_triple(picture, 3 * p, triple(backdrop_picture, 3 * p))
                    continue
                z, color = depth[p], triple(backdrop_color, 3 * p)
                is_ground, is_body = kind[p] == GROUND, kind[p] > GROUND
                start, ray = pixel_ray(view, x, y)
                point, direction = world_point(view, x, y, z), turn_to_world(view, ray.normalized())
                n = ti.Vector([0.0, 0.0, 1.0])  # the ground's, and that of two-dimensional scenes' wall
                if is_body:
                    n = triple(normal, 3 * p)
                if k == 0 or is_edge or not is_even:
                    shadow = 1.0
                    if is_body and n.dot(triple(look, SUN)) < DARK:
                        shadow = 0.0
                    elif is_body or (is_ground and marks & SHADOW != 0):
                        shadow = sunlight(look, light_view, light_width, light_depth, light_tiles, point)
                    is_edge = is_edge or 0.0 < shadow < 1.0
                if k == 0 or not is_even:
                    ambient = 1.0
                    if is_body or (is_ground and marks & CLOSE != 0):
                        in_view = ti.Vector([n.dot(triple(view, 3)), n.dot(triple(view, 6)), n.dot(triple(view, 9))])
                        ambient = openness(view, width, height, look, x, y, in_view, kind, depth)
                changed = is_body or marks & MARKER != 0
                if is_body:
                    glossy = kind[p] != PARTICLE
                    color = lit_color(look, triple(albedo, 3 * p), n, direction, shadow, ambient, glossy)
                elif shadow < 1.0 or ambient < 1.0:
                    base = triple(backdrop_albedo, 3 * p)
                    change = ground_light(base, shadow, ambient) - ground_light(base, 1.0, 1.0)
                    color += change * ground_share(look, point)
                    changed = True
                if marks & GHOST:
                    if ghost_kind[p] == PARTICLE:
                        facing = ti.abs(triple(ghost_normal, 3 * p).dot(direction))
                        alpha = look[GHOST_ALPHA] * (0.55 + 0.9 * (1.0 - facing))
                        if ghost_depth[p] > z:
                            alpha *= 0.35  # a goal inside or behind a body still shines through
                        color = blend(color, triple(look, GHOST_COLOR) * (0.7 + 0.5 * facing), ti.min(alpha, 1.0))
                        changed = True
                if marks & MARKER:
                    color = marked_color(view, look, start, ray, z, marker_count, markers, color)
                if changed:
                    put_triple(picture, 3 * p, display_color(color))
                else:
                    put_triple(picture, 3 * p, triple(backdrop_picture, 3 * p))
