"""What a sensor feels as a whole: force and torque on its mount, where it is pressed, how near it is to slipping.

All of contact forces f on nodes at x, both in the mount's frame and of shape (B, N, 3), [N] and [m]. At rest and at low
speed that is what the gel hands on to its mount. Each function has its adjoint beside it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pliant.sims.inputs import numbers, real, real_array

LEAST = 1e-6
"""Force [N] that a sensor must be pressed with at least for it to have a centre of pressure and a slip ratio."""

_ORIGIN = (0.0, 0.0, 0.0)


def total_wrench(forces: Any, positions: Any, *, point: Any = _ORIGIN, rotation: Any = None) -> np.ndarray:
    """Force [N] and torque [N m] about a point, shape (B, 6): F = sum f, T = sum (x - point) x f.

    Args:
        forces, positions: of the nodes, (B, N, 3).
        point: in the mount's frame [m], shape (3,) or (B, 3).
        rotation: from the mount's frame to the one that the result is wanted in, such as the world's, shape (3, 3) or
            (B, 3, 3); None: the mount's.

    Raises:
        ValueError: another shape, or a number that is not finite.
    """
    f, x, about, turn = _checked(forces, positions, point, rotation)
    local = np.stack([f.sum(axis=1), np.cross(x - about[:, None], f).sum(axis=1)], axis=1)
    return (local @ turn.swapaxes(1, 2)).reshape(len(f), 6).astype(_kind(forces), copy=False)


def total_wrench_adjoint(
    forces: Any, positions: Any, wrench_bar: Any, *, point: Any = _ORIGIN, rotation: Any = None
) -> dict[str, np.ndarray]:
    """Cotangents of "forces" and "positions" (B, N, 3), "point" (B, 3) and "rotation" (B, 3, 3), from (B, 6).

    Of the rotation's the nine entries count as independent.
    """
    f, x, about, turn = _checked(forces, positions, point, rotation)
    bar = real_array("wrench_bar", wrench_bar, shape=(len(f), 6)).reshape(-1, 2, 3)
    arms = x - about[:, None]
    local = np.stack([f.sum(axis=1), np.cross(arms, f).sum(axis=1)], axis=1)
    force_bar, torque_bar = (bar @ turn).swapaxes(0, 1)[:, :, None]
    # T = r x f:  f_bar = T_bar x r,  r_bar = f x T_bar
    arms_bar = np.cross(f, torque_bar)
    result = {
        "forces": force_bar + np.cross(torque_bar, arms),
        "positions": arms_bar,
        "point": -arms_bar.sum(axis=1),
        "rotation": np.einsum("bki,bkj->bij", bar, local),
    }
    return {name: value.astype(_kind(forces), copy=False) for name, value in result.items()}


def centre_of_pressure(forces: Any, positions: Any) -> np.ndarray:
    """Mean of the nodes' positions, weighted with how hard they are pressed towards the mount, -f_z; (B, 3) [m].

    (0, 0, 0) where a gel is pressed with less than ``LEAST``.
    """
    f, x, _, _ = _checked(forces, positions, _ORIGIN, None)
    pressed, share, _ = _pressure(f)
    return (pressed * (share * x).sum(axis=1)).astype(_kind(forces), copy=False)


def centre_of_pressure_adjoint(forces: Any, positions: Any, centre_bar: Any) -> dict[str, np.ndarray]:
    """Cotangents of "forces" and "positions" (B, N, 3) from those of the centres (B, 3)."""
    f, x, _, _ = _checked(forces, positions, _ORIGIN, None)
    pressed, share, total = _pressure(f)
    bar = (pressed * real_array("centre_bar", centre_bar, shape=(len(f), 3)))[:, None]
    # c = sum p x / sum p, p = -f_z:  p_bar = (x - c) . c_bar / sum p
    forces_bar = np.zeros_like(f)
    forces_bar[..., 2] = -((x - (share * x).sum(axis=1, keepdims=True)) * bar).sum(axis=-1) / total
    result = {"forces": forces_bar, "positions": share * bar}
    return {name: value.astype(_kind(forces), copy=False) for name, value in result.items()}


def slip_ratio(force: Any, friction: float) -> np.ndarray:
    """Tangential force over what friction can hold, |F_xy| / (mu |F_z|), of total forces (B, 3), shape (B,).

    1: the whole contact slides; 0 where a gel is pressed with less than ``LEAST``.

    Args:
        force: on the sensor in the mount's frame [N]: pressed towards the mount, F_z is negative.
        friction: the coefficient mu, above 0.
    """
    f, mu = _checked_force(force), real("friction", friction, above=0.0)
    normal = -f[:, 2]
    pressed = normal >= LEAST
    ratio = np.hypot(f[:, 0], f[:, 1]) / (mu * np.where(pressed, normal, 1.0))
    return (pressed * ratio).astype(_kind(force), copy=False)


def slip_ratio_adjoint(force: Any, friction: float, ratio_bar: Any) -> dict[str, Any]:
    """Cotangents of "force" (B, 3) and "friction" (a number) from those of the ratios (B,); 0 where nothing pulls."""
    f, mu = _checked_force(force), real("friction", friction, above=0.0)
    normal, along = -f[:, 2], np.hypot(f[:, 0], f[:, 1])
    pressed = normal >= LEAST
    held = mu * np.where(pressed, normal, 1.0)
    bar = pressed * real_array("ratio_bar", ratio_bar, shape=(len(f),))
    pulls = np.where(along > 0.0, along, 1.0)
    tangential = bar[:, None] * f[:, :2] / (pulls * held)[:, None]
    force_bar = np.concatenate([tangential, (bar * along / (held * np.where(pressed, normal, 1.0)))[:, None]], axis=1)
    return {"force": force_bar.astype(_kind(force), copy=False), "friction": float(-(bar * along / (held * mu)).sum())}


def _pressure(f: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Whether each gel is pressed (B, 1), the nodes' shares (B, N, 1), and with how much in all (B, 1), or 1."""
    p = -f[..., 2:]
    total = p.sum(axis=1)
    pressed = total >= LEAST
    total = np.where(pressed, total, 1.0)
    return pressed, p / total[:, None], total


def _checked(forces: Any, positions: Any, point: Any, rotation: Any) -> tuple[np.ndarray, ...]:
    f = numbers("forces", forces)
    if f.ndim != 3 or f.shape[2] != 3:
        raise ValueError(f"forces has shape {f.shape}, must be (B, N, 3)")
    f, x = real_array("forces", f), real_array("positions", positions, shape=f.shape)
    about, turn = real_array("point", point), real_array("rotation", np.eye(3) if rotation is None else rotation)
    if about.shape not in ((3,), (len(f), 3)):
        raise ValueError(f"point has shape {about.shape}, must be (3,) or ({len(f)}, 3)")
    if turn.shape not in ((3, 3), (len(f), 3, 3)):
        raise ValueError(f"rotation has shape {turn.shape}, must be (3, 3) or ({len(f)}, 3, 3)")
    return f, x, np.broadcast_to(about, (len(f), 3)), np.broadcast_to(turn, (len(f), 3, 3))


def _checked_force(force: Any) -> np.ndarray:
    f = numbers("force", force)
    if f.ndim != 2 or f.shape[1] != 3:
        raise ValueError(f"force has shape {f.shape}, must be (B, 3)")
    return real_array("force", f)


def _kind(array: Any) -> Any:
    return np.float32 if getattr(array, "dtype", None) == np.float32 else np.float64
