"""Serial arms: forward kinematics, geometric Jacobian and its derivative, in NumPy on the host, float64.

A chain is a row of joints, each a fixed step from the link before it, then a turn about (or a slide along) an axis:
``T_i = T_{i-1} O_i M_i(s_i)``, T_0 the base; the tool is a fixed step behind the last link. With z_i the axis of joint
i in the world, o_i a point on it and p the tool's position, the geometric Jacobian has the columns (z_i x (p - o_i),
z_i) for a joint that turns and (z_i, 0) for one that slides (Siciliano et al. 2009, "Robotics", 3.1). Where joints
follow others, s = C q + c with fewer numbers q than joints, and derivatives with respect to q are those with respect to
s times C. Axis 0 of all arrays is the batch. Chains of real arms come from `pliant.sims.robot.kinematics_urdf`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from pliant.sims.math.rotation_host import matrix_of_quaternion, skew


@dataclass(frozen=True)
class Visual:
    """A mesh that a link of a chain looks like.

    Attributes:
        link: its link, 0 (the base) ... n, as in `Chain.frames`.
        path: mesh file (OBJ, STL).
        position, rotation: pose of the mesh in the link's frame, shapes (3,) [m] and (3, 3).
        scale: of the mesh along its axes, shape (3,).
        color: (r, g, b) in 0..1.
    """

    link: int
    path: str
    position: np.ndarray
    rotation: np.ndarray
    scale: np.ndarray
    color: tuple[float, float, float]


@dataclass(frozen=True)
class Chain:
    """A serial arm of N joints that n numbers move, its base at a place in the world; n < N where joints follow others.

    Attributes:
        name: of the arm, for messages.
        joint_names: names of what the n numbers are.
        slides: which joints slide (prismatic) instead of turning (revolute), shape (N,).
        origin_position, origin_rotation: the steps O_i, shapes (N, 3) [m] and (N, 3, 3).
        axis: unit axes in the joints' own frames, shape (N, 3).
        lower, upper: limits, shape (n,) [rad or m].
        speed: largest speeds, shape (n,) [rad/s or m/s].
        home: a posture with room on all sides, shape (n,).
        tool_position, tool_rotation: the tool in the last link's frame, shapes (3,) [m] and (3, 3).
        base_position, base_rotation: the base in the world, shapes (3,) [m] and (3, 3).
        visuals: what it looks like.
        coupling, offset: the joints stand at C q + c, shapes (N, n) and (N,); None: each at its own number.
    """

    name: str
    joint_names: tuple[str, ...]
    slides: np.ndarray
    origin_position: np.ndarray
    origin_rotation: np.ndarray
    axis: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    speed: np.ndarray
    home: np.ndarray
    tool_position: np.ndarray
    tool_rotation: np.ndarray
    base_position: np.ndarray
    base_rotation: np.ndarray
    visuals: tuple[Visual, ...] = ()
    coupling: np.ndarray | None = None
    offset: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.joint_names)

    def standing(
        self, position: Sequence[float] | np.ndarray, orientation: Sequence[float] | np.ndarray = (1.0, 0.0, 0.0, 0.0)
    ) -> Chain:
        """The chain with its base at ``position`` (3,) [m], turned by the quaternion ``orientation`` (w, x, y, z)."""
        return replace(
            self,
            base_position=np.array(position, float),
            base_rotation=matrix_of_quaternion(np.array(orientation, float)),
        )

    def holding(self, position: np.ndarray, rotation: np.ndarray) -> Chain:
        """The chain whose tool is what the present tool holds at ``position`` (3,) [m], ``rotation`` (3, 3) of it."""
        return replace(
            self,
            tool_position=self.tool_position + self.tool_rotation @ position,
            tool_rotation=self.tool_rotation @ rotation,
        )

    def frames(self, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Poses of the base and of the links behind each joint.

        Args:
            q: joint angles, shape (B, n) [rad or m].

        Returns:
            Positions (B, N + 1, 3) [m] and rotations (B, N + 1, 3, 3).
        """
        q = np.asarray(q, np.float64)
        s = q if self.coupling is None else q @ self.coupling.T
        s = s if self.offset is None else s + self.offset
        fixed, sine, versine, slide = self._steps
        turned = np.where(self.slides, 0.0, s)[..., None, None]
        local = fixed + np.sin(turned) * sine + 2 * np.sin(turned / 2) ** 2 * versine  # Rodrigues' formula
        step = self.origin_position + s[..., None] * slide
        count = len(self.axis)
        position = np.empty((len(q), count + 1, 3))
        rotation = np.empty((len(q), count + 1, 3, 3))
        position[:, 0], rotation[:, 0] = self.base_position, self.base_rotation
        for i in range(count):
            position[:, i + 1] = position[:, i] + (rotation[:, i] @ step[:, i, :, None])[..., 0]
            rotation[:, i + 1] = rotation[:, i] @ local[:, i]
        return position, rotation

    @cached_property
    def _steps(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """O_i, O_i K_i, O_i K_i^2 with K = [axis]x, shape (N, 3, 3) each, and the slide per unit of s, shape (N, 3)."""
        K, O = skew(self.axis), self.origin_rotation
        slide = np.where(self.slides[:, None], np.einsum("nij,nj->ni", O, self.axis), 0.0)
        return O, O @ K, O @ K @ K, slide

    def pose(self, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Position (B, 3) [m] and rotation (B, 3, 3) of the tool at joint angles (B, n)."""
        return self._tool(*self.frames(q))

    def _tool(self, position: np.ndarray, rotation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        last = rotation[:, -1]
        return position[:, -1] + last @ self.tool_position, last @ self.tool_rotation

    def _axes(self, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """World axes z_i, shape (B, N, 3), and arms p - o_i from a point on each axis to the tool, shape (B, N, 3)."""
        position, rotation = self.frames(q)
        z = np.einsum("bnij,nj->bni", rotation[:, 1:], self.axis)  # a joint's own motion leaves its axis alone
        return z, self._tool(position, rotation)[0][:, None] - position[:, 1:]

    def jacobian(self, q: np.ndarray) -> np.ndarray:
        """Velocity [m/s], then angular velocity [rad/s] of the tool in the world per joint velocity, shape (B, 6, n).

        It is the derivative of `pose`, too, rotations counted as small rotation vectors in the world.
        """
        z, r = self._axes(q)
        slides = self.slides[:, None]
        columns = np.concatenate([np.where(slides, z, np.cross(z, r)), np.where(slides, 0.0, z)], axis=2)
        J = columns.transpose(0, 2, 1)
        return J if self.coupling is None else J @ self.coupling

    def pose_adjoint(self, q: np.ndarray, position_bar: np.ndarray, rotation_bar: np.ndarray) -> np.ndarray:
        """Cotangent of the joint angles, shape (B, n).

        Args:
            q: joint angles, shape (B, n).
            position_bar: cotangent of the tool's position, shape (B, 3).
            rotation_bar: cotangent of a small rotation vector in the world that turns the tool, shape (B, 3).
        """
        bar = np.concatenate([position_bar, rotation_bar], axis=1)
        return np.einsum("bkn,bk->bn", self.jacobian(q), bar)

    def jacobian_derivative(self, q: np.ndarray) -> np.ndarray:
        """d J[:, :, i] / d q_j at [:, :, i, j], shape (B, 6, n, n)."""
        # For the joints' own values s first; then C^T (...) C.
        # A joint j before i carries axis and tool about itself; a later one moves the tool only:
        #   dz_i/dq_j = z_j x z_i (j < i),   d(p - o_i)/dq_j = z_j x (p - o_i) (j <= i) or z_j x (p - o_j) (j > i)
        # and where j slides, d(p - o_i)/dq_j = z_j for j > i alone (for j = i, o_i may move along: z_i x z_i = 0).
        z, r = self._axes(q)
        n = len(self.axis)
        earlier = np.tril(np.ones((n, n), bool), -1)[:, :, None]  # [i, j]: j before i
        slides_i, slides_j = self.slides[:, None, None], self.slides[None, :, None]
        zi, ri, zj, rj = z[:, :, None], r[:, :, None], z[:, None, :], r[:, None, :]
        dz = np.where(earlier & ~slides_j, np.cross(zj, zi), 0.0)
        carried = np.where(slides_j, 0.0, np.cross(zj, ri))
        moved = np.where(slides_j, zj, np.cross(zj, rj))
        dr = np.where(earlier | np.eye(n, dtype=bool)[:, :, None], carried, moved)
        velocity = np.where(slides_i, dz, np.cross(dz, ri) + np.cross(zi, dr))
        angular = np.where(slides_i, 0.0, dz)
        H = np.concatenate([velocity, angular], axis=3).transpose(0, 3, 1, 2)
        return H if self.coupling is None else self.coupling.T @ H @ self.coupling

    def twist(self, q: np.ndarray, velocity: np.ndarray) -> np.ndarray:
        """Velocity [m/s] and angular velocity [rad/s] of the tool, shape (B, 6), at joint velocities (B, n)."""
        return np.einsum("bkn,bn->bk", self.jacobian(q), velocity)

    def twist_adjoint(
        self, q: np.ndarray, velocity: np.ndarray, twist_bar: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Cotangents of joint angles and joint velocities, shape (B, n) each, from that of the twist, shape (B, 6)."""
        q_bar = np.einsum("bkij,bi,bk->bj", self.jacobian_derivative(q), velocity, twist_bar)
        return q_bar, np.einsum("bkn,bk->bn", self.jacobian(q), twist_bar)

    def clamp(self, q: np.ndarray) -> np.ndarray:
        """Joint angles (..., n) within the limits."""
        return np.clip(q, self.lower, self.upper)
