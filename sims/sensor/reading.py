"""A tactile sensor: all that can be read of a gel, by name, and the way back from readings to nodes and forces.

sensor = TactileSensor(triangles, rest, camera=camera, places=marker_grid(9, 12, 0.0015), optics=optics)
reading = sensor.read(["markers", "image"], positions)
reading["markers"], reading["image"]
bars = sensor.adjoint(reading, {"markers": markers_bar, "image": image_bar})
bars["positions"]
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from pliant.sims import runtime
from pliant.sims.inputs import real_array, shown
from pliant.sims.sensor.camera import CalibratedCamera
from pliant.sims.sensor.forces import total_wrench, total_wrench_adjoint
from pliant.sims.sensor.markers import MarkerReading, Markers
from pliant.sims.sensor.raster import NOTHING
from pliant.sims.sensor.surface import GelSurface, SurfaceView, checked_positions

READINGS = {
    "force": "force [N] and torque [N m] on the mount, in its frame, (B, 6)",
    "markers": "displacements of the markers in the picture from rest [pixels], (B, M, 2)",
    "marker_motions": "displacements of the markers from rest in the mount's frame [m], (B, M, 3)",
    "depth": "depth of the skin along the camera's axis [m], (B, height, width)",
    "indentation": "how much nearer to the camera the skin is than at rest [m], (B, height, width)",
    "normals": "unit normals of the skin, out of the gel, in the camera's frame, (B, height, width, 3)",
    "image": "the camera's picture, 0..255, R G B, (B, height, width, 3)",
}
"""What can be read; the shapes are for B worlds."""

_OF_MARKERS = ("markers", "marker_motions")
_OF_SURFACE = ("depth", "indentation", "normals", "image")


class Optics(Protocol):
    """Colours of a gel's skin: what lamps and paint make of its normals."""

    def __call__(self, normals: np.ndarray, indentation: np.ndarray | None) -> tuple[np.ndarray, Any]:
        """Pictures (B, height, width, 3), 0..255, R G B, and whatever the adjoint needs.

        Args:
            normals: unit normals out of the gel in the camera's frame, (B, height, width, 3).
            indentation: how much nearer to the camera the skin is than at rest [m], (B, height, width).
        """

    def adjoint(self, kept: Any, image_bar: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Cotangents of the normals and of the indentation (None: it does not depend on it)."""


@dataclass(frozen=True, eq=False)
class TactileReading(Mapping[str, np.ndarray]):
    """Readings of B worlds by name, and what their adjoints need."""

    arrays: dict[str, np.ndarray]
    positions: np.ndarray
    forces: np.ndarray | None = None
    markers: MarkerReading | None = None
    view: SurfaceView | None = None
    colors: Any = field(default=None, repr=False)

    def __getitem__(self, name: str) -> np.ndarray:
        return self.arrays[name]

    def __iter__(self) -> Any:
        return iter(self.arrays)

    def __len__(self) -> int:
        return len(self.arrays)


class TactileSensor:
    """A gel's skin, the camera that sees it, markers in it and what colours it has.

    Args:
        triangles: of the skin that the camera sees, node numbers, shape (S, 3), counter-clockwise seen from outside
            (`pliant.sims.sensor.surface.skin_triangles` picks them from a closed surface).
        rest: positions of all nodes at rest in the mount's frame [m], shape (N, 3); the skin looks along +z.
        camera: in the mount's frame.
        places: (x, y) of the markers at rest [m], shape (M, 2); None: there are none.
        marker_depth: of the markers under the skin [m].
        optics: colours; None: there is no picture.
        point: that the torque is about, in the mount's frame [m].
        precision: of the readings, "f32" or "f64".

    Raises:
        ValueError: as `GelSurface` and `Markers`.
    """

    def __init__(
        self,
        triangles: Any,
        rest: Any,
        *,
        camera: CalibratedCamera,
        places: Any = None,
        marker_depth: float = 0.0,
        optics: Optics | None = None,
        point: Any = (0.0, 0.0, 0.0),
        precision: str = "f32",
    ) -> None:
        self.camera, self.optics, self.precision = camera, optics, precision
        self.surface = GelSurface(triangles, rest, camera, precision=precision)
        self.markers = None if places is None else Markers(triangles, rest, camera, places, depth=marker_depth)
        self.point = real_array("point", point, shape=(3,))
        self._dtype = runtime.numpy_type(precision)

    @property
    def readings(self) -> tuple[str, ...]:
        """Names of what this sensor can read, of `READINGS`."""
        missing = (("image",) if self.optics is None else ()) + (_OF_MARKERS if self.markers is None else ())
        return tuple(name for name in READINGS if name not in missing)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a reading of one world; ``ValueError`` for a name that it cannot read."""
        self._check_names([name])
        image = (self.camera.height, self.camera.width)
        count = 0 if self.markers is None else len(self.markers)
        shapes: dict[str, tuple[int, ...]] = {"force": (6,), "markers": (count, 2), "marker_motions": (count, 3)}
        shapes |= {"depth": image, "indentation": image, "normals": (*image, 3), "image": (*image, 3)}
        return shapes[name]

    def read(self, names: Collection[str], positions: Any, forces: Any = None) -> TactileReading:
        """Readings by name.

        Args:
            names: of `readings`.
            positions: of all nodes in the mount's frame [m], shape (B, N, 3).
            forces: contact forces on the nodes in the mount's frame [N], shape (B, N, 3); "force" needs them.

        Raises:
            ValueError: an unknown name, another shape, a number that is not finite, a skin or marker at or behind the
                camera.
        """
        wanted = self._check_names(names)
        nodes = checked_positions(positions, self.surface.node_count, self._dtype)
        values: dict[str, np.ndarray] = {}
        acting, marked, view, colors = None, None, None, None
        if "force" in wanted:
            if forces is None:
                raise ValueError('forces=None: the reading "force" needs the contact forces on the nodes, (B, N, 3)')
            acting = real_array("forces", forces, shape=nodes.shape, dtype=self._dtype)
            values["force"] = total_wrench(acting, nodes, point=self.point)
        if self.markers is not None and wanted & set(_OF_MARKERS):
            marked = self.markers.read(nodes)
            values |= {"markers": marked.displacements, "marker_motions": marked.motions}
        if wanted & set(_OF_SURFACE):
            view = self.surface.read(nodes)
            values |= {"depth": view.depth, "normals": view.normals}
            if wanted & {"indentation", "image"}:
                values["indentation"] = self._indentation(view)
            if self.optics is not None and "image" in wanted:
                values["image"], colors = self.optics(view.normals, values["indentation"])
        return TactileReading({name: values[name] for name in names}, nodes, acting, marked, view, colors)

    def adjoint(self, reading: TactileReading, cotangents: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Cotangents of the "positions" (B, N, 3) and, if they were given, of the "forces" (B, N, 3).

        Args:
            reading: of this sensor.
            cotangents: by names that are in the reading, shaped like it; those that are not named are zero.

        Raises:
            ValueError: a name that is not in the reading, another shape, a number that is not finite.
        """
        if not isinstance(cotangents, Mapping):
            raise ValueError(f"cotangents={shown(cotangents)} must be arrays by name")
        bars: dict[str, np.ndarray] = {}
        for name, value in cotangents.items():
            if name not in reading.arrays:
                raise ValueError(f"cotangents: {name!r} is not in the reading; it has {', '.join(reading.arrays)}")
            shape = reading.arrays[name].shape
            bars[name] = real_array(f"cotangents[{name!r}]", value, shape=shape, dtype=self._dtype)
        result = {"positions": np.zeros_like(reading.positions)}
        if reading.forces is not None:
            result["forces"] = np.zeros_like(reading.forces)
            if "force" in bars:
                pulled = total_wrench_adjoint(reading.forces, reading.positions, bars["force"], point=self.point)
                result |= {name: result[name] + pulled[name] for name in ("positions", "forces")}
        if self.markers is not None and reading.markers is not None:
            pixels_bar, points_bar = (bars.get(name) for name in _OF_MARKERS)
            if pixels_bar is not None or points_bar is not None:
                result["positions"] += self.markers.adjoint(
                    reading.markers, pixels_bar=pixels_bar, points_bar=points_bar
                )
        if reading.view is not None and bars.keys() & set(_OF_SURFACE):
            result["positions"] += self._surface_adjoint(reading, bars)
        return result

    def _surface_adjoint(self, reading: TactileReading, bars: dict[str, np.ndarray]) -> np.ndarray:
        view = reading.view
        assert view is not None
        depth_bar, normals_bar, pressed_bar = bars.get("depth"), bars.get("normals"), bars.get("indentation")
        if "image" in bars:
            assert self.optics is not None
            shaded_bar, pushed_bar = self.optics.adjoint(reading.colors, bars["image"])
            normals_bar = shaded_bar if normals_bar is None else normals_bar + shaded_bar
            if pushed_bar is not None:
                pressed_bar = pushed_bar if pressed_bar is None else pressed_bar + pushed_bar
        if pressed_bar is not None:
            lifted_bar = np.where(self._is_seen(view), -pressed_bar, 0.0)
            depth_bar = lifted_bar if depth_bar is None else depth_bar + lifted_bar
        return self.surface.adjoint(view, depth_bar=depth_bar, normals_bar=normals_bar)

    def _indentation(self, view: SurfaceView) -> np.ndarray:
        """0 where there is no skin now, or was none at rest."""
        rest = self.surface.at_rest
        return np.where(self._is_seen(view), rest.depth - view.depth, self._dtype(0.0))

    def _is_seen(self, view: SurfaceView) -> np.ndarray:
        return (view.triangle != NOTHING) & (self.surface.at_rest.triangle != NOTHING)

    def _check_names(self, names: Collection[str]) -> set[str]:
        if isinstance(names, str) or not isinstance(names, Collection):
            raise ValueError(f"names={shown(names)} must be a list of names of readings")
        for name in names:
            if name not in self.readings:
                why = ""
                if name == "image":
                    why = " (there is no optics)"
                elif name in _OF_MARKERS:
                    why = " (there are no places of markers)"
                raise ValueError(f"names: {name!r} cannot be read{why}; allowed: {', '.join(self.readings)}")
        return set(names)
