"""Differentiable features of gels and of what they touch: what a tactile sensor reads, forces, turns of rigid
bodies."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from pliant.envs.features.words import Feature, Sink, View, as_index
from pliant.sims.inputs import real
from pliant.sims.math.rotation_host import matrix_of_quaternion, turn_adjoint
from pliant.sims.sensor.reading import TactileReading, TactileSensor


class GelSkin:
    """A gel's nodes as a sensor reads them, in the frame of its mount.

    Args:
        sensor: of this gel.
        rest: positions of all its nodes at rest, the free ones first [m], shape (N, 3).
        free: which rows of "gel_displacement" belong to it; N - their number are glued to the mount.
    """

    def __init__(self, sensor: TactileSensor, rest: np.ndarray, free: slice) -> None:
        self.sensor, self.rest, self.free = sensor, np.asarray(rest, np.float64), free
        self._count = free.stop - free.start

    def read(self, view: View, names: Collection[str]) -> TactileReading:
        """Readings of the sensor by name; computed once for all features that want the same."""
        key = (id(self), tuple(names))
        return view.cached(key, lambda: self.sensor.read(names, self.positions(view)))

    def positions(self, view: View) -> np.ndarray:
        """Positions of all nodes in the mount's frame [m], shape (B, N, 3)."""
        positions = np.repeat(self.rest[None], view.batch, axis=0)
        positions[:, : self._count] += view.array("gel_displacement")[:, self.free]
        return positions

    def pull_back(self, reading: TactileReading, name: str, cotangent: np.ndarray, sink: Sink) -> None:
        """Give the nodes the cotangent of a reading, shaped like it."""
        bar = self.sensor.adjoint(reading, {name: cotangent})["positions"]
        sink.add("gel_displacement", np.asarray(bar, np.float64)[:, : self._count], self.free)


class TactileReadout(Feature):
    """A reading of a tactile sensor, flattened, in the sensor's units: pixels of "markers", metres of "depth", 0..255
    of "image" and so on (`pliant.sims.sensor.reading.READINGS`; "force" is `GelForce`)."""

    def __init__(self, skin: GelSkin, reading: str, name: str | None = None) -> None:
        self.skin, self.reading, self.name = skin, reading, name or reading
        self.shape = skin.sensor.shape(reading)
        self.size = int(np.prod(self.shape))

    def value(self, view: View) -> np.ndarray:
        found = self.skin.read(view, [self.reading])[self.reading]
        return np.asarray(found, np.float64).reshape(view.batch, self.size)

    def adjoint(self, view: View, cotangent: np.ndarray, sink: Sink) -> None:
        reading = self.skin.read(view, [self.reading])
        self.skin.pull_back(reading, self.reading, cotangent.reshape(view.batch, *self.shape), sink)


class InFrame(Feature):
    """Vectors of rows of an array in the frame of an effector: R^T v, size 3 for each.

    Args:
        name: of the feature.
        arrays: names of arrays of vectors in the world's axes, such as "gel_force" [N] or "gel_torque" [N m].
        row: which row of them.
        effector: whose frame, by its number.
    """

    def __init__(self, name: str, arrays: Sequence[str], row: int, effector: int) -> None:
        self.name, self.arrays, self.row, self.effector, self.size = name, tuple(arrays), row, effector, 3 * len(arrays)

    def _turn(self, view: View) -> tuple[np.ndarray, np.ndarray]:
        q = view.array("effector_orientation")[:, self.effector]
        return q, matrix_of_quaternion(q)

    def value(self, view: View) -> np.ndarray:
        _q, R = self._turn(view)
        return np.concatenate([np.einsum("bji,bj->bi", R, view.array(a)[:, self.row]) for a in self.arrays], axis=1)

    def adjoint(self, view: View, cotangent: np.ndarray, sink: Sink) -> None:
        # w = R^T v: v_bar = R w_bar; a turn psi of R changes w . w_bar by -psi . (v x R w_bar)
        q, R = self._turn(view)
        turn_bar = np.zeros((view.batch, 3))
        for k, array in enumerate(self.arrays):
            v_bar = np.einsum("bij,bj->bi", R, cotangent[:, 3 * k : 3 * k + 3])
            turn_bar -= np.cross(view.array(array)[:, self.row], v_bar)
            sink.add(array, v_bar[:, None], slice(self.row, self.row + 1))
        rows = slice(self.effector, self.effector + 1)
        sink.add("effector_orientation", turn_adjoint(q, turn_bar)[:, None], rows)


def gel_force(gel: int, effector: int, *, torque: bool = False, name: str = "gel_force") -> InFrame:
    """Force [N] on a gel by contact, in its mount's frame, and with ``torque`` the torque about its origin [N m]."""
    return InFrame(name, ["gel_force", "gel_torque"] if torque else ["gel_force"], gel, effector)


class Heading(Feature):
    """The angle [rad] by which an axis of a rigid body has turned in a plane, size 1: atan2(a . up, a . along).

    Args:
        body: its number.
        axis: (3,) in the body's frame.
        along, up: unit vectors (3,) of the world that span the plane.
    """

    def __init__(
        self, body: int, axis: Sequence[float], along: Sequence[float], up: Sequence[float], name: str = "angle"
    ) -> None:
        self.name, self.size, self.body = name, 1, body
        self.axis, self.along, self.up = (np.asarray(v, float) for v in (axis, along, up))

    def _axis(self, view: View) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        q = view.array("body_orientation")[:, self.body]
        a = matrix_of_quaternion(q) @ self.axis
        return q, a, a @ self.along, a @ self.up

    def value(self, view: View) -> np.ndarray:
        _q, _a, x, y = self._axis(view)
        return np.arctan2(y, x)[:, None]

    def adjoint(self, view: View, cotangent: np.ndarray, sink: Sink) -> None:
        q, a, x, y = self._axis(view)
        a_bar = cotangent * (np.outer(x, self.up) - np.outer(y, self.along)) / (x * x + y * y)[:, None]
        bar = turn_adjoint(q, np.cross(a, a_bar))
        sink.add("body_orientation", bar[:, None], slice(self.body, self.body + 1))


class Excess(Feature):
    """How far the length of a feature is from a number, squared, in units of that number, size 1: (|v| / n - 1)^2.

    Args:
        feature: such as a force.
        wanted: n, of the feature's unit, above 0; or the name of a goal array of shape ().

    Raises:
        ValueError: ``wanted`` is neither a text nor a number above 0.
    """

    def __init__(self, name: str, feature: Feature, wanted: float | str) -> None:
        self.name, self.size, self.feature = name, 1, feature
        self.wanted = wanted if isinstance(wanted, str) else real("wanted", wanted, above=0.0)

    def _parts(self, view: View) -> tuple[np.ndarray, np.ndarray, Any]:
        v = self.feature.value(view)
        wanted = view.goal[self.wanted][:, None] if isinstance(self.wanted, str) else self.wanted
        length = np.sqrt((v * v).sum(axis=1, keepdims=True) + (1e-3 * wanted) ** 2)  # smooth where there is no force
        return v, length, wanted

    def value(self, view: View) -> np.ndarray:
        _v, length, wanted = self._parts(view)
        return (length / wanted - 1.0) ** 2

    def adjoint(self, view: View, cotangent: np.ndarray, sink: Sink) -> None:
        v, length, wanted = self._parts(view)
        self.feature.adjoint(view, cotangent * 2.0 * (length / wanted - 1.0) / wanted * v / length, sink)


class Deviation(Feature):
    """How far the length of a feature is from a number, in units of that number, size 1: ||v| / n - 1|, as `Excess`."""

    def __init__(self, name: str, feature: Feature, wanted: float | str) -> None:
        self.name, self.size, self._square = name, 1, Excess(name, feature, wanted)

    def value(self, view: View) -> np.ndarray:
        return np.sqrt(self._square.value(view))

    def adjoint(self, view: View, cotangent: np.ndarray, sink: Sink) -> None:
        value = self.value(view)
        self._square.adjoint(view, np.divide(cotangent, 2.0 * value, out=np.zeros_like(value), where=value > 0.0), sink)


class Total(Feature):
    """Sum of features of one size."""

    def __init__(self, name: str, features: Sequence[Feature]) -> None:
        self.name, self.features, self.size = name, list(features), features[0].size
        if any(feature.size != self.size for feature in features):
            raise ValueError(f"{name!r}: the features are of sizes {[feature.size for feature in features]}")

    def value(self, view: View) -> np.ndarray:
        return np.sum([feature.value(view) for feature in self.features], axis=0)

    def adjoint(self, view: View, cotangent: np.ndarray, sink: Sink) -> None:
        for feature in self.features:
            feature.adjoint(view, cotangent, sink)


class Constant(Feature):
    """A number, size 1; without a derivative."""

    def __init__(self, name: str, number: float) -> None:
        self.name, self.size, self.number = name, 1, number

    def value(self, view: View) -> np.ndarray:
        return np.full((view.batch, 1), self.number)


class ShapeChange(Feature):
    """How far particles are from the shape that they had, size 1 [m]: the root mean square of their places relative to
    their centre less those of ``shape``, which does not turn. Its derivative at 0 is 0.

    Args:
        rows: the particles.
        shape: their places [m], shape (n, 3), wherever their centre is.
    """

    def __init__(self, name: str, rows: np.ndarray | Sequence[int], shape: np.ndarray) -> None:
        self.name, self.size, self.index = name, 1, as_index(rows)
        self.shape = np.asarray(shape, np.float64) - np.mean(shape, axis=0)

    def _change(self, view: View) -> tuple[np.ndarray, np.ndarray]:
        x = view.array("position")[:, self.index]
        change = x - x.mean(axis=1, keepdims=True) - self.shape
        return change, np.sqrt((change**2).sum(axis=2).mean(axis=1))

    def value(self, view: View) -> np.ndarray:
        return self._change(view)[1][:, None]

    def adjoint(self, view: View, cotangent: np.ndarray, sink: Sink) -> None:
        change, size = self._change(view)
        below = (size * change.shape[1])[:, None, None]
        bar = np.divide(cotangent[:, :, None] * change, below, out=np.zeros_like(change), where=below > 0.0)
        sink.add("position", bar - bar.mean(axis=1, keepdims=True), self.index)
