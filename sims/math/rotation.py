"""Rotations as unit quaternions (w, x, y, z): matrix, integration of an angular velocity, and their adjoints."""

import functools
from types import SimpleNamespace

from pliant.sims.runtime import ti


@functools.cache
def rotation_functions(fp) -> SimpleNamespace:
    """Taichi functions of one floating-point type (ti.f32 or ti.f64). Quaternions are 4-vectors (w, x, y, z).

    ``matrix(q) -> R`` (3, 3): turns body coordinates into world coordinates; quadratic in q, a rotation for |q| = 1.

    ``matrix_adjoint(q, R_bar) -> q_bar``.

    ``integrate(q, omega, dt) -> q_next``: one step of dt [s] with angular velocity omega [rad/s] in the world frame,
    q_next = normalise(q + dt/2 (0, omega) q).

    ``integrate_adjoint(q, omega, dt, q_next_bar) -> (q_bar, omega_bar)``.
    """
    vector = ti.types.vector(3, fp)
    quaternion = ti.types.vector(4, fp)
    square = ti.types.matrix(3, 3, fp)

    @ti.func
    def matrix(q):
        """Rotation matrix R of a unit quaternion."""
        # R = (w^2 - v.v) I + 2 v v^T + 2 w [v]x
        w, x, y, z = q[0], q[1], q[2], q[3]
        return square(
            [
                [w * w + x * x - y * y - z * z, 2 * (x * y - w * z), 2 * (x * z + w * y)],
                [2 * (x * y + w * z), w * w - x * x + y * y - z * z, 2 * (y * z - w * x)],
                [2 * (x * z - w * y), 2 * (y * z + w * x), w * w - x * x - y * y + z * z],
            ]
        )

    @ti.func
    def matrix_adjoint(q, R_bar):
        """q_bar = (dR/dq)^T R_bar, the four components of q taken as independent."""
        # R_bar : [v]x = v . a
        #   w_bar = 2 w tr R_bar + 2 v . a,   v_bar = -2 v tr R_bar + 2 (R_bar + R_bar^T) v + 2 w a
        v = vector([q[1], q[2], q[3]])
        a = vector([R_bar[2, 1] - R_bar[1, 2], R_bar[0, 2] - R_bar[2, 0], R_bar[1, 0] - R_bar[0, 1]])
        trace = R_bar[0, 0] + R_bar[1, 1] + R_bar[2, 2]
        w_bar = 2 * (q[0] * trace + v.dot(a))
        v_bar = 2 * (R_bar @ v + R_bar.transpose() @ v - v * trace + q[0] * a)
        return quaternion([w_bar, v_bar[0], v_bar[1], v_bar[2]])

    @ti.func
    def advance(q, omega, half):
        """q + half (0, omega) q, before it is normalised: (0, omega)(w, v) = (-omega.v, w omega + omega x v)."""
        v = vector([q[1], q[2], q[3]])
        turn = q[0] * omega + omega.cross(v)
        return q + half * quaternion([-omega.dot(v), turn[0], turn[1], turn[2]])

    @ti.func
    def integrate(q, omega, dt):
        """Quaternion after dt [s] at the angular velocity omega [rad/s]."""
        p = advance(q, omega, dt / 2)
        return p / ti.sqrt(p.dot(p))

    @ti.func
    def integrate_adjoint(q, omega, dt, q_next_bar):
        """(q_bar, omega_bar) of ``integrate``."""
        # p_bar = (I - q' q'^T) q'_bar / |p|; with (r, s) = dt/2 p_bar:
        #   w_bar = p_w_bar + omega.s,  v_bar = p_v_bar - r omega + s x omega,  omega_bar = -r v + w s + v x s
        half = dt / 2
        p = advance(q, omega, half)
        scale = 1 / ti.sqrt(p.dot(p))
        q_next = p * scale
        p_bar = (q_next_bar - q_next * q_next.dot(q_next_bar)) * scale
        v = vector([q[1], q[2], q[3]])
        r = half * p_bar[0]
        s = half * vector([p_bar[1], p_bar[2], p_bar[3]])
        v_bar = s.cross(omega) - r * omega
        q_bar = p_bar + quaternion([omega.dot(s), v_bar[0], v_bar[1], v_bar[2]])
        return q_bar, q[0] * s - r * v + v.cross(s)

    return SimpleNamespace(
        matrix=matrix, matrix_adjoint=matrix_adjoint, integrate=integrate, integrate_adjoint=integrate_adjoint
    )
