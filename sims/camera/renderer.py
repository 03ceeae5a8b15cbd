"""Pictures of particles and effectors without a display: a renderer made of Taichi kernels, float32 throughout."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from pliant.sims.arrays import Array
from pliant.sims.camera import packing, rays, shading, solids, surface, tiles
from pliant.sims.camera.busy import Footprint, busy_marks
from pliant.sims.camera.camera import Camera
from pliant.sims.camera.chains import draw_chain_surfaces, draw_chains
from pliant.sims.camera.image import draw_image
from pliant.sims.camera.meshes import Meshes, TriangleMesh
from pliant.sims.runtime import check_divergent_loops, exclusive, start, ti
from pliant.sims.shapes.shapes import pack_shapes

SHADOW_SIZE = 256  # edge of the shadow map, pixels
SMOOTHING = 3.0  # reach of the skin's filter in particle radii
BEAD = 0.12  # share of the single particle in the skin's normal
BACKGROUND = ((0.80, 0.85, 0.90), (0.95, 0.95, 0.94))
GROUND_COLOR = (0.90, 0.89, 0.87)

Color = Sequence[float]


class _Layer:
    """What each pixel of a picture shows: key, kind, depth along the view, colour, normal; and its tiles' marks."""

    def __init__(self, width: int, height: int) -> None:
        pixels = width * height
        self.tiles = _tile_marks(width, height, tiles.SHIFT)
        self.keys = ti.ndarray(ti.i64, (pixels,))
        self.kind = Array(pixels, np.int32).device_array
        # The others are where the filter's first pass leaves its result for the second.
        self.depth, self.other_depth = (Array(pixels, np.float32).device_array for _ in range(2))
        self.albedo, self.other_albedo, self.normal = (Array(3 * pixels, np.float32).device_array for _ in range(3))


class _Backdrop:
    """What is seen where nothing stands, and its picture; drawn anew only when the view or the ground changes."""

    def __init__(self, width: int, height: int) -> None:
        pixels = width * height
        self._depth = Array(pixels, np.float32)
        self.depth = self._depth.device_array
        self.albedo, self.color, self.picture = (Array(3 * pixels, np.float32).device_array for _ in range(3))
        self.image = np.zeros(3 * pixels, np.uint8)
        self.drawn_for = b""
        self.all_tiles = _tile_marks(width, height, tiles.SHIFT)
        self.all_tiles.fill(1)

    def update(self, view: np.ndarray, width: int, height: int, look: np.ndarray) -> None:
        wanted = view.tobytes() + look[shading.GROUND_KIND : shading.FLOOR + 3].tobytes()
        if wanted != self.drawn_for:
            shading.draw_backdrop(view, width, height, look, self.depth, self.albedo, self.color, self.picture)
            draw_image(width, height, 1, self.all_tiles.device_array, self.picture, self.image)
            # The floor of a two-dimensional scene lies before its wall.
            ledge = float(look[shading.WALL]) if look[shading.GROUND_KIND] > 1.5 else 0.1 * rays.FAR
            self.footprint = Footprint(view, width, height, self._depth.view(), ledge)
            self.drawn_for = wanted


class _Shapes:
    """Records of the last picture's shapes: packed anew only for other ones, since meshes bring many samples."""

    def __init__(self) -> None:
        self._shapes: list[Any] = []
        self._records = np.zeros(1, np.float32)

    def records_of(self, shapes: list[Any]) -> np.ndarray:
        if shapes != self._shapes:
            self._shapes, self._records = shapes, pack_shapes(shapes).astype(np.float32)
        return self._records


class _Bodies(NamedTuple):
    """All that is solid in a scene."""

    cloud: packing.Spheres
    rigid: packing.Solids
    rods: packing.Chains
    parts: Meshes


class Renderer:
    """Draws scenes into pictures of one size; keeps its buffers between calls.

    Args:
        width, height: size of the picture [pixels], 16 to 4096.
        samples: the picture is computed this many times finer on each axis and averaged, 1 to 4 (stills: 2).
    """

    def __init__(self, width: int = 512, height: int = 512, *, samples: int = 1) -> None:
        for name, value, low, high in (
            ("width", width, 16, 4096),
            ("height", height, 16, 4096),
            ("samples", samples, 1, 4),
        ):
            if int(value) != value or not low <= value <= high:
                raise ValueError(f"{name}={value!r} must be an integer from {low} to {high}")
        self._on_cpu = start() == "cpu"
        check_divergent_loops("pictures")
        self.width, self.height, self.samples = int(width), int(height), int(samples)
        self._fine_size = (self.width * self.samples, self.height * self.samples)
        self._scene = _Layer(*self._fine_size)
        self._ghost: _Layer | None = None
        self._backdrop = _Backdrop(*self._fine_size)
        self._shapes = _Shapes()
        self._parts = Meshes(())
        self._shadow_keys = ti.ndarray(ti.i64, (SHADOW_SIZE * SHADOW_SIZE,))
        self._shadow_depth = Array(SHADOW_SIZE * SHADOW_SIZE, np.float32).device_array
        self._shadow_tiles = _tile_marks(SHADOW_SIZE, SHADOW_SIZE, tiles.LIGHT_SHIFT)
        self._picture = Array(3 * self._fine_size[0] * self._fine_size[1], np.float32).device_array

    @exclusive()
    def render(
        self,
        positions: np.ndarray,
        colors: np.ndarray | Color,
        radius: float,
        camera: Camera,
        *,
        surfaces: Sequence[tuple[Any, Sequence[float], Sequence[float], Color]] = (),
        chains: Sequence[tuple[Any, Any, Any, Any]] = (),
        meshes: Sequence[tuple[TriangleMesh, Sequence[float], Sequence[float], Color]] = (),
        markers: Sequence[tuple[Sequence[float], float, Color]] = (),
        ghost: np.ndarray | None = None,
        ghost_color: Color = (0.25, 0.65, 0.45),
        ghost_opacity: float = 0.4,
        ground: float | None = 0.0,
        ground_color: Color = GROUND_COLOR,
        background: Color | tuple[Color, Color] = BACKGROUND,
    ) -> np.ndarray:
        """One picture, a new array of shape (height, width, 3), uint8.

        Args:
            positions: particle positions [m], shape (N, dim), dim 2 (y up) or 3 (z up); N may be 0.
            colors: red, green, blue in 0..1, shape (N, 3), or one colour for all.
            radius: of a particle [m].
            camera: the view; ``Camera.frame_scene`` makes one.
            surfaces: rigid effectors as (shape, position (3,) [m], orientation (w, x, y, z), color), shapes of
                ``pliant.sims.shapes.shapes``; two-dimensional scenes show their cross-section z = 0.
            chains: rods as (vertices (n, dim) [m], edges (m, 2), radius [m], color), the last two one for all edges or
                one for each; each edge is a capsule between two vertices.
            meshes: rigid parts as (mesh, position (3,) [m], orientation (w, x, y, z), color); keep the meshes between
                pictures.
            markers: translucent spheres (goals) as (position (dim,) [m], radius [m], color).
            ghost: points drawn as a translucent body (a target shape) [m], shape (K, dim).
            ghost_color, ghost_opacity: how it is drawn; opacity in 0..1.
            ground: height of the ground along the up axis [m]; None: no ground.
            ground_color: its colour.
            background: one colour, or one for the top and one for the bottom of the picture.
        """
        points = packing.checked_points("positions", positions, None)
        dim = points.shape[1]
        tints = np.broadcast_to(packing.checked_color("colors", colors, len(points)), (len(points), 3))
        if not 0.0 < radius < math.inf:
            raise ValueError(f"radius={radius!r} must be a positive length [m]")
        if ground is not None and not math.isfinite(ground):
            raise ValueError(f"ground={ground!r} must be a finite height [m] or None")
        if not 0.0 <= ghost_opacity <= 1.0:
            raise ValueError(f"ghost_opacity={ghost_opacity!r} must be in 0..1")
        goals = packing.pack_markers(markers, dim)
        look = packing.pack_look(camera, dim, radius, ground)
        look[shading.FLOOR : shading.FLOOR + 3] = packing.checked_color("ground_color", ground_color, 1) ** 2
        sky = packing.checked_color("background", background, 2) ** 2
        look[shading.TOP : shading.TOP + 6] = np.broadcast_to(sky, (2, 3)).ravel()
        if ghost is not None:
            ghost = packing.checked_points("ghost", ghost, dim)
            look[shading.GHOST_COLOR : shading.GHOST_COLOR + 3] = (
                packing.checked_color("ghost_color", ghost_color, 1) ** 2
            )
            look[shading.GHOST_ALPHA] = ghost_opacity

        half_thickness = 1.5 * radius if dim == 2 else 0.0
        far = 100.0 * camera.distance
        self._parts = Meshes(meshes, self._parts)
        bodies = _Bodies(
            packing.Spheres(points, tints, radius),
            packing.Solids(surfaces, half_thickness, farthest=far),
            packing.Chains(chains, dim),
            self._parts,
        )
        box = packing.bounding_box([corners for body in bodies for corners in body.boxes()])
        view = camera.pack(*self._fine_size)
        self._backdrop.update(view, *self._fine_size, look)
        # Ground is darkened by what lies up to so many pixels away.
        self._draw_layer(self._scene, view, bodies, reach=shading.WIDEST_CORNER * self._fine_size[1])
        if ghost is not None:
            self._ghost = self._ghost or _Layer(*self._fine_size)
            cloud = packing.Spheres(ghost, np.zeros((len(ghost), 3)), radius)
            goal = _Bodies(cloud, packing.Solids((), 0.0, farthest=far), packing.Chains((), dim), Meshes(()))
            self._draw_layer(self._ghost, view, goal, reach=1.0, is_ghost=True)
        light_view = packing.light_view(look, box, SHADOW_SIZE)
        size = (SHADOW_SIZE, SHADOW_SIZE)
        self._draw_first(self._shadow_keys, None, light_view, size, bodies)
        spread = _spread(float(look[shading.SOFTNESS] / light_view[12]) + 1.0, SHADOW_SIZE, tiles.LIGHT_SHIFT)
        tiles.draw_tiles(*size, tiles.LIGHT_SHIFT, spread, self._shadow_keys, self._shadow_tiles.device_array)
        shading.draw_light_depth(SHADOW_SIZE * SHADOW_SIZE, self._shadow_keys, self._shadow_depth)
        self._shade(view, look, light_view, goals, ghost is not None)
        image = self._backdrop.image.copy() if self.samples == 1 else np.empty(self.height * self.width * 3, np.uint8)
        # Other devices are not sent first what a kernel only writes: there it writes all of the image.
        tiles_drawn = self._scene.tiles if self._on_cpu else self._backdrop.all_tiles
        draw_image(self.width, self.height, self.samples, tiles_drawn.device_array, self._picture, image)
        return image.reshape(self.height, self.width, 3)

    def _draw_first(
        self,
        keys: ti.Ndarray,
        normal: ti.Ndarray | None,
        view: np.ndarray,
        size: tuple[int, int],
        bodies: _Bodies,
    ) -> None:
        """What each pixel of a view sees first; effectors leave their ``normal`` if asked to."""
        cloud, rigid, rods, parts = bodies
        rays.draw_spheres(view, *size, cloud.count, cloud.centres, cloud.radius, keys)
        if rigid.count:
            rows, window = rigid.pack(view, *size)
            solids.solid_kernel(rigid.kinds)(
                view,
                size[0],
                *window,
                rigid.count,
                rows,
                self._shapes.records_of(rigid.shapes),
                rigid.half_thickness,
                rigid.farthest,
                keys,
                int(normal is not None),
                self._scene.normal if normal is None else normal,
            )
        if rods.count:
            draw_chains(view, *size, rods.count, rods.rows, keys)
        parts.draw(view, size, keys)

    def _draw_layer(
        self,
        layer: _Layer,
        view: np.ndarray,
        bodies: _Bodies,
        *,
        reach: float,
        is_ghost: bool = False,
    ) -> None:
        """Fill a layer: spheres as a smooth skin, solids, ground. Tiles are marked up to ``reach`` pixels away."""
        size, (cloud, rigid, rods, parts) = self._fine_size, bodies
        self._draw_first(layer.keys, layer.normal, view, size, bodies)
        tiles.draw_tiles(
            *size, tiles.SHIFT, _spread(reach, max(size), tiles.SHIFT), layer.keys, layer.tiles.device_array
        )
        surface.draw_resolved(
            *size,
            layer.tiles.device_array,
            layer.keys,
            cloud.colors,
            rigid.colors,
            self._backdrop.depth,
            layer.kind,
            layer.depth,
            layer.albedo,
        )
        if rods.count:
            draw_chain_surfaces(
                view,
                *size,
                layer.tiles.device_array,
                layer.keys,
                layer.kind,
                rods.rows,
                rods.colors,
                layer.albedo,
                layer.normal,
            )
        parts.draw_surfaces(view, size, layer)
        smooth, keeps_colors = SMOOTHING * cloud.radius, int(not is_ghost)
        first, second = (layer.depth, keeps_colors, layer.albedo), (layer.other_depth, layer.other_albedo)
        surface.draw_smoothed(view, *size, 1, smooth, layer.tiles.device_array, layer.kind, *first, *second)
        first, second = (layer.other_depth, keeps_colors, layer.other_albedo), (layer.depth, layer.albedo)
        surface.draw_smoothed(view, *size, size[0], smooth, layer.tiles.device_array, layer.kind, *first, *second)
        surface.draw_normals(
            view,
            *size,
            smooth,
            BEAD,
            cloud.centres,
            layer.tiles.device_array,
            layer.keys,
            layer.kind,
            layer.depth,
            layer.normal,
        )

    def _shade(
        self, view: np.ndarray, look: np.ndarray, light_view: np.ndarray, goals: np.ndarray, has_ghost: bool
    ) -> None:
        """From what the pixels show to display colours."""
        layer, ghost = self._scene, self._ghost or self._scene
        size = self._fine_size
        ghost_tiles = ghost.tiles.view() if has_ghost else None
        light_tiles = self._shadow_tiles.view()
        marks = layer.tiles.view()
        marks[: marks.size // 2] |= busy_marks(
            self._backdrop.footprint, light_view, SHADOW_SIZE, light_tiles, ghost_tiles, goals
        )
        layer.tiles.write(marks)
        shading.draw_shaded(
            view,
            *size,
            look,
            layer.tiles.device_array,
            layer.kind,
            layer.depth,
            layer.albedo,
            layer.normal,
            self._backdrop.albedo,
            self._backdrop.color,
            self._backdrop.picture,
            light_view,
            SHADOW_SIZE,
            self._shadow_depth,
            self._shadow_tiles.device_array,
            ghost.kind,
            ghost.depth,
            ghost.normal,
            len(goals) // 7,
            goals,
            self._picture,
        )


def _tile_marks(width: int, height: int, shift: int) -> Array:
    """Room for the marks of a picture's tiles of 2^shift pixels, twice, as ``tiles.draw_tiles`` wants it."""
    edge = 1 << shift
    return Array(2 * math.ceil(width / edge) * math.ceil(height / edge), np.int32)


def _spread(reach: float, size: int, shift: int) -> int:
    """How many tiles of 2^shift pixels cover ``reach`` pixels, in a picture of ``size`` pixels."""
    return math.ceil(min(reach, float(size)) / (1 << shift))
