"""Rays of a packed view (``Camera.pack``), where they enter spheres and capsules, and spheres drawn as points.

A pixel's first surface is an int64 key: the bits of its depth along the view [m] (positive floats are ordered as their
bits are) above the number of the surface. The least key wins whatever the order of the threads, so pictures are the
same each time on every device. A view's frame is right, up, forward; depth is the third coordinate in it.
"""

from pliant.sims.runtime import ti

EMPTY = 0x7FFFFFFFFFFFFFFF
FAR = 1e30  # depth [m] of a pixel without a surface
# Surfaces are numbered: below EFFECTOR particles, from there on effectors, then edges of chains, then triangles.
EFFECTOR = 1 << 30
CHAIN = EFFECTOR + (1 << 28)
TRIANGLE = EFFECTOR + (1 << 29)
NEAR = 1e-4  # nothing closer to the camera than this [m] is drawn

pixels_f32 = ti.types.ndarray(ti.f32, 1)
pixels_i32 = ti.types.ndarray(ti.i32, 1)
pixels_i64 = ti.types.ndarray(ti.i64, 1)


@ti.func
def triple(a: ti.template(), at):
    """Three neighbouring entries of a flat array as a vector."""
    return ti.Vector([a[at], a[at + 1], a[at + 2]])


@ti.func
def put_triple(a: ti.template(), at, v):
    """Write a vector into three neighbouring entries of a flat array."""
    a[at] = v[0]
    a[at + 1] = v[1]
    a[at + 2] = v[2]


@ti.func
def column_row(p, width):
    """Column and row of pixel number ``p``: with one division, the dearest operation of many passes."""
    y = ti.raw_div(p, width)
    return p - y * width, y


@ti.func
def to_view(view: ti.template(), p):
    """A world point in the view's frame [m]."""
    q = p - triple(view, 0)
    return ti.Vector([q.dot(triple(view, 3)), q.dot(triple(view, 6)), q.dot(triple(view, 9))])


@ti.func
def turn_to_world(view: ti.template(), v):
    """A direction of the view's frame in the world."""
    return v[0] * triple(view, 3) + v[1] * triple(view, 6) + v[2] * triple(view, 9)


@ti.func
def pixel_size(view: ti.template(), z):
    """Width of a pixel [m] at depth ``z`` [m]."""
    return view[12] * (view[13] + (1.0 - view[13]) * z)


@ti.func
def pixel_point(view: ti.template(), x, y, z):
    """What pixel (x, y) shows at depth ``z`` [m], in the view's frame; row 0 is the top."""
    size = pixel_size(view, z)
    return ti.Vector([(x + 0.5 - view[14]) * size, (view[15] - y - 0.5) * size, z])


@ti.func
def pixel_ray(view: ti.template(), x, y):
    """Origin and direction (its depth is 1) of the ray of pixel (x, y), in the view's frame."""
    a, b = (x + 0.5 - view[14]) * view[12], (view[15] - y - 0.5) * view[12]
    flat = view[13]
    return ti.Vector([flat * a, flat * b, 0.0]), ti.Vector([(1.0 - flat) * a, (1.0 - flat) * b, 1.0])


@ti.func
def project(view: ti.template(), q):
    """Pixel coordinates (the centre of pixel 0 at 0) of a point in the view's frame."""
    size = pixel_size(view, ti.max(q[2], NEAR))
    return view[14] - 0.5 + q[0] / size, view[15] - 0.5 - q[1] / size


@ti.func
def sphere_depth(origin, direction, centre, radius):
    """Depth [m] at which a pixel's ray enters a sphere, all in the view's frame; negative where it misses."""
    # The ray comes nearest to the centre at b, by q: stable for small and distant spheres.
    square = direction.dot(direction)
    b = (centre - origin).dot(direction) / square
    q = centre - origin - b * direction
    rest = radius * radius - q.dot(q)
    return b - ti.sqrt(rest / square) if rest > 0.0 else -1.0


@ti.func
def capsule_depth(origin, direction, middle, axis, half_length, radius):
    """Depth [m] at which a ray enters a capsule about ``middle`` along the unit vector ``axis``; FAR where it misses.

    All in one frame; ``direction`` has depth 1. A zero axis with a zero half length makes a sphere.
    """
    start = origin - middle
    along, slope = start.dot(axis), direction.dot(axis)
    # Across the axis the capsule is a disc, which the ray passes nearest at b, by q.
    across, turn = start - along * axis, direction - slope * axis
    square = ti.max(turn.norm_sqr(), 1e-9)
    b = -across.dot(turn) / square
    q = across + b * turn
    rest = radius * radius - q.dot(q)
    z = FAR
    if rest > 0.0:
        z = b - ti.sqrt(rest / square)
        height = along + z * slope
        if ti.abs(height) > half_length:
            # It enters the endless cylinder beyond an end: it can meet only the ball at that end.
            side = half_length if height > 0.0 else -half_length
            z = sphere_depth(origin, direction, middle + side * axis, radius)
            if z <= 0.0:
                z = FAR
    return z


@ti.func
def ball_window(view: ti.template(), centre, radius):
    """Pixel coordinates of a ball's centre, and how many pixels it reaches from there; ``centre`` in the view's frame.

    The ball must lie before the camera.
    """
    x, y = project(view, centre)
    # Off the axis a ball's picture is an ellipse, stretched by less than 1 + (tan of the angle)^2 / 2.
    slant = (1.0 - view[13]) * 0.5 * view[12] ** 2 * ((x - view[14]) ** 2 + (y - view[15]) ** 2)
    return x, y, radius / pixel_size(view, centre[2] - radius) * (1.0 + slant) + 1.0


@ti.func
def pack_key(z, number):
    """Key of surface ``number`` at depth z [m]."""
    return (ti.cast(ti.bit_cast(z, ti.i32), ti.i64) << 32) | ti.cast(number, ti.i64)


@ti.func
def key_depth(key):
    """Depth [m] of a key's surface."""
    return ti.bit_cast(ti.cast(key >> 32, ti.i32), ti.f32)


@ti.func
def key_number(key):
    """Number of a key's surface."""
    return ti.cast(key & 0x7FFFFFFF, ti.i32)


@ti.kernel
def draw_spheres(
    view: pixels_f32, width: int, height: int, count: int, centres: pixels_f32, radius: float, keys: pixels_i64
):
    """Empty ``keys``, shape (height * width,), then draw ``count`` spheres at ``centres`` (count * 3,) [m]."""
    for p in range(width * height):
        keys[p] = ti.i64(EMPTY)
    for i in range(count):
        centre = to_view(view, triple(centres, 3 * i))
        z = centre[2]
        if z > radius + NEAR:
            x, y, reach = ball_window(view, centre, radius)
            x0, x1 = ti.max(ti.ceil(x - reach, int), 0), ti.min(ti.floor(x + reach, int), width - 1)
            y0, y1 = ti.max(ti.ceil(y - reach, int), 0), ti.min(ti.floor(y + reach, int), height - 1)
            # Most spheres of a body are hidden behind others: look before computing, and again before the atomic.
            nearest = pack_key(z - radius, 0)
            for py in range(y0, y1 + 1):
                for px in range(x0, x1 + 1):
                    p = py * width + px
                    if nearest < keys[p]:
                        origin, direction = pixel_ray(view, px, py)
                        front = sphere_depth(origin, direction, centre, radius)
                        if front > NEAR:
                            key = pack_key(front, i)
                            if key < keys[p]:
                                ti.atomic_min(keys[p], key)
