"""Logarithm, exponential, powers, sine, cosine and arctangent to rounding on every device.

Vulkan and Metal promise little of their own: of a logarithm near 1 an absolute error of 2^-21, so that the volume of a
fluid that is hardly pressed is known to three digits; of a sine an absolute error of 2^-11, of an arctangent one of
4096 units in the last place. There these functions are computed in float32 from what is exact to rounding, by the
polynomials of FreeBSD's libm (``logf``) and of Cephes (``expf``, ``sinf``, ``cosf``, ``atanf``). Elsewhere they are
taichi's. The shaders' variants rely on the order of their operations, which taichi's compiler for CPUs does not keep.
"""

import math

import numpy as np

from pliant.sims.runtime import SINGLE_ONLY, choose, ti

LOG2 = math.log(2.0)
LARGEST, LEAST_NORMAL = float(np.finfo(np.float32).max), float(np.finfo(np.float32).tiny)
LOG2_HIGH, LOG2_LOW = 6.9313812256e-01, 9.0580006145e-06  # log 2 = their sum; the first times an exponent is exact
SMALLEST_EXPONENT, LARGEST_EXPONENT = -87.3, 88.7  # e to these is the least normal number and almost the largest
HALF_PI = (1.5703125, 4.837512969970703125e-4, 7.54978995489188216e-8)  # pi / 2 = their sum, likewise

TAN_EIGHTH = math.tan(math.pi / 8)


def is_shader() -> bool:
    """Whether kernels become shaders, whose elementary functions are not exact to rounding."""
    return choose() in SINGLE_ONLY


@ti.func
def log(x):
    """Natural logarithm; -inf at 0, nan below."""
    result = x
    if ti.static(is_shader()):
        result = shader_log(x)
    else:
        result = ti.log(x)
    return result


@ti.func
def exp(x):
    """e^x; 0 below the normal numbers, inf above all."""
    result = x
    if ti.static(is_shader()):
        result = shader_exp(x)
    else:
        result = ti.exp(x)
    return result


@ti.func
def power(x, y):
    """x^y of x >= 0 and y > 0 (in shaders to 1000); nan below. In shaders 0 where x is below the normal numbers."""
    result = x
    if ti.static(is_shader()):
        result = shader_power(x, y)
    else:
        result = x**y
    return result


@ti.func
def sin_cos(x):
    """Sine and cosine of an angle [rad]; in shaders of one below some thousands."""
    sine, cosine = x, x
    if ti.static(is_shader()):
        sine, cosine = shader_sin_cos(x)
    else:
        sine, cosine = ti.sin(x), ti.cos(x)
    return sine, cosine


@ti.func
def atan2(y, x):
    """Angle of the point (x, y) [rad], in [-pi, pi]; in shaders not finite where x or y is not."""
    result = x
    if ti.static(is_shader()):
        result = shader_atan2(y, x)
    else:
        result = ti.atan2(y, x)
    return result


@ti.func
def shader_log(x):
    """x = 2^k (1 + f) with 1 + f in [sqrt(1/2), sqrt(2)); log(1 + f) = f - f^2/2 + s (f^2/2 + R), s = f / (2 + f)."""
    result = ti.log(x)  # of what is not a positive number
    if 0.0 < x <= LARGEST:
        bits = ti.bit_cast(x, ti.i32)
        k = (bits - 0x3F3504F3) >> 23
        f = ti.bit_cast(bits - (k << 23), ti.f32) - 1.0
        s = f / (2.0 + f)
        z = s * s
        w = z * z
        R = z * (0.66666662693 + w * 0.28498786688) + w * (0.40000972152 + w * 0.24279078841)
        half = 0.5 * f * f
        result = k * LOG2_HIGH - ((half - (s * (half + R) + k * LOG2_LOW)) - f)
    return result


@ti.func
def shader_exp(x):
    """e^x = 2^k e^r with |r| <= log(2) / 2."""
    result = ti.exp(x)  # of what is no number, too
    if x < SMALLEST_EXPONENT:
        result = 0.0
    elif x <= LARGEST_EXPONENT:
        k = ti.floor(x * (1.0 / LOG2) + 0.5)
        r = (x - k * LOG2_HIGH) - k * LOG2_LOW
        p = ((1.9875691500e-4 * r + 1.3981999507e-3) * r + 8.3334519073e-3) * r + 4.1665795894e-2
        p = (p * r + 1.6666665459e-1) * r + 5.0000001201e-1
        half = ti.bit_cast((ti.cast(k, ti.i32) + 126) << 23, ti.f32)  # 2^k itself may be too large
        result = (p * r * r + r + 1.0) * half * 2.0
    return result


@ti.func
def shader_power(x, y):
    """x = 2^k m with m in [sqrt(1/2), sqrt(2)); x^y = 2^w e^((k y - w) log 2 + y log m), w the whole number by k y.
    y = Y / 512 + rest, and k Y is a product of integers: compilers reorder floats, and would lose k y - w."""
    result = shader_log(x)  # inf or nan, of what is so and below 0
    if 0.0 <= x < LEAST_NORMAL:
        result = 0.0
    elif 0.0 < x <= LARGEST:
        bits = ti.bit_cast(x, ti.i32)
        k = (bits - 0x3F3504F3) >> 23
        m = ti.bit_cast(bits - (k << 23), ti.f32)
        Y = ti.cast(y * 512.0, ti.i32)
        w = (k * Y + 256) >> 9
        left = (k * Y - (w << 9)) / 512.0 + k * (y - Y / 512.0)
        scale = ti.max(-252, ti.min(w, 254))
        half = scale >> 1  # 2^w itself may be too large or too small
        result = shader_exp(left * LOG2 + y * shader_log(m)) * ti.bit_cast((half + 127) << 23, ti.f32)
        result *= ti.bit_cast((scale - half + 127) << 23, ti.f32)
    return result


@ti.func
def shader_sin_cos(x):
    """By the rest r of x after k quarter turns, in three parts of pi / 2 so that little of it is lost."""
    k = ti.floor(x * (2.0 / math.pi) + 0.5)
    r = ((x - k * HALF_PI[0]) - k * HALF_PI[1]) - k * HALF_PI[2]
    z = r * r
    s = r + r * z * (-1.6666654611e-1 + z * (8.3321608736e-3 - z * 1.9515295891e-4))
    c = 1.0 - 0.5 * z + z * z * (4.166664568298827e-2 + z * (-1.388731625493765e-3 + z * 2.443315711809948e-5))
    quadrant = ti.cast(k, ti.i32) & 3
    sine, cosine = s, c
    if quadrant & 1:
        sine, cosine = c, s
    if quadrant & 2:
        sine = -sine
    if quadrant == 1 or quadrant == 2:
        cosine = -cosine
    return sine, cosine


@ti.func
def shader_atan2(y, x):
    """By the arctangent of t = smaller / larger in [0, 1], and that by (t - 1) / (t + 1) from tan(pi / 8) on."""
    large, small = ti.max(ti.abs(x), ti.abs(y)), ti.min(ti.abs(x), ti.abs(y))
    angle = 0.0 * large
    if large > 0.0:
        t, offset = small / large, 0.0
        if t > TAN_EIGHTH:
            t, offset = (t - 1.0) / (t + 1.0), math.pi / 4
        z = t * t
        p = ((8.05374449538e-2 * z - 1.38776856032e-1) * z + 1.99777106478e-1) * z - 3.33329491539e-1
        angle = offset + (p * z * t + t)
        if ti.abs(y) > ti.abs(x):
            angle = math.pi / 2 - angle
        if x < 0.0:
            angle = math.pi - angle
        if y < 0.0:
            angle = -angle
    if not ti.abs(x) + ti.abs(y) <= LARGEST:  # minima and maxima may pass over a nan
        angle = x + y
    return angle
