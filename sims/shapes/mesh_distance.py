"""Signed distance of a triangle mesh, sampled on a grid and interpolated by quadratic B-splines."""

from dataclasses import dataclass

import numpy as np

from pliant.sims.runtime import exclusive, start
from pliant.sims.shapes.mesh_kernels import nearest_kernel

BORDER = 1  # extra nodes on each side that the spline's stencil needs
MOST_SAMPLES = 2**24


@dataclass(frozen=True)
class MeshDistance:
    """A quadratic B-spline on a regular grid.

    coefficients: (nx, ny, nz) [m].  origin: of node (0, 0, 0), (3,) [m].  spacing: of the nodes [m].
    """

    coefficients: np.ndarray
    origin: np.ndarray
    spacing: float

    def evaluate(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Values (n,) [m] and gradients (n, 3) at points (n, 3) [m]; beyond the grid the distance to it is added."""
        size = np.array(self.coefficients.shape)
        xi = (points - self.origin) / self.spacing
        inside = np.clip(xi, 0.5, size - 1.5)
        base = np.minimum(np.floor(inside - 0.5), size - 3).astype(int)
        f = inside - base
        weight = np.stack([0.5 * (1.5 - f) ** 2, 0.75 - (f - 1) ** 2, 0.5 * (f - 0.5) ** 2], axis=1)  # (n, tap, axis)
        slope = np.stack([f - 1.5, 2 - 2 * f, f - 0.5], axis=1) / self.spacing
        taps = [base[:, d, None] + np.arange(3) for d in range(3)]
        values = self.coefficients[taps[0][:, :, None, None], taps[1][:, None, :, None], taps[2][:, None, None, :]]

        def contract(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
            return np.einsum("nijk,ni,nj,nk->n", values, x[:, :, 0], y[:, :, 1], z[:, :, 2])

        phi = contract(weight, weight, weight)
        gradient = np.stack(
            [contract(slope, weight, weight), contract(weight, slope, weight), contract(weight, weight, slope)], axis=1
        )
        away = (xi - inside) * self.spacing
        far = np.linalg.norm(away, axis=1)
        gradient = np.where(away != 0, 0.0, gradient) + away / np.where(far > 0, far, 1.0)[:, None]
        return phi + far, gradient


def sample_mesh(
    vertices: np.ndarray, faces: np.ndarray, cells: int, margin: float | None, body: np.ndarray | None = None
) -> MeshDistance:
    """Sample the distance of a closed, outward oriented mesh: vertices (v, 3) [m], faces (f, 3), their bodies (f,).

    ``cells`` divide the longest side; the grid reaches ``margin`` [m] beyond the mesh (None: an eighth of that side).

    Raises:
        ValueError: there would be more than 2^24 samples.
    """
    from scipy.ndimage import spline_filter

    low, high = vertices.min(axis=0), vertices.max(axis=0)
    longest = float((high - low).max())
    spacing = longest / cells
    margin = longest / 8 if margin is None else margin
    counts = np.ceil((high - low + 2 * margin) / spacing).astype(int) + 1 + 2 * BORDER
    if np.prod(counts, dtype=float) > MOST_SAMPLES:
        raise ValueError(
            f"Mesh: cells={cells} and margin={margin} m make {np.prod(counts, dtype=float):.3g} samples, more than "
            f"{MOST_SAMPLES}; use fewer cells or a smaller margin"
        )
    origin = (low + high) / 2 - (counts - 1) / 2 * spacing
    axes = [origin[d] + spacing * np.arange(counts[d]) for d in range(3)]
    nodes = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    values = mesh_signed_distance(vertices, faces, nodes, body).reshape(counts)
    return MeshDistance(spline_filter(values, order=2, output=np.float64, mode="mirror"), origin, spacing)


def mesh_signed_distance(
    vertices: np.ndarray, faces: np.ndarray, points: np.ndarray, body: np.ndarray | None = None
) -> np.ndarray:
    """Signed distances (n,) [m] of points (n, 3) from a closed, outward oriented mesh.

    The sign is that of (point - nearest point) . normal with the angle-weighted normal of the nearest face, edge or
    vertex (Baerentzen and Aanaes 2005), which is right for every closed mesh that does not cross itself. Where
    ``body`` (f,) says that the faces bound several bodies, the distance is that from their union: the least of theirs,
    which is exact outside and too shallow within, where they overlap.
    """
    if body is None:
        return _one_body(vertices, faces, points)
    distances = [_one_body(vertices, faces[body == number], points) for number in np.unique(body)]
    return np.minimum.reduce(distances)


def _one_body(vertices: np.ndarray, faces: np.ndarray, points: np.ndarray) -> np.ndarray:
    from scipy.spatial import cKDTree

    start()
    used, renumbered = np.unique(faces, return_inverse=True)
    vertices, faces = vertices[used], renumbered.reshape(faces.shape)
    points = np.ascontiguousarray(points, np.float64)
    corners = np.ascontiguousarray(vertices[faces], np.float64)
    centre = corners.mean(axis=1)
    reach = np.linalg.norm(corners - centre[:, None], axis=2).max(axis=1)
    upper = cKDTree(vertices).query(points)[0]
    normals = _feature_normals(vertices, faces, corners)
    distance = np.empty(len(points))
    balls = np.concatenate([centre, reach[:, None]], axis=1)
    with exclusive():
        nearest_kernel()(points, upper, corners, balls, normals, distance)
    return distance


def _feature_normals(vertices: np.ndarray, faces: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Normals (f, 7, 3) of each triangle: of itself, of its three corners, of its edges 01, 12, 20 (not normalised)."""
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    ahead = np.roll(corners, -1, axis=1) - corners
    ahead /= np.linalg.norm(ahead, axis=2, keepdims=True)
    angle = np.arccos(np.clip(-(ahead * np.roll(ahead, 1, axis=1)).sum(axis=2), -1.0, 1.0))
    at_vertex = np.zeros((len(vertices), 3))
    np.add.at(at_vertex, faces, angle[:, :, None] * normal[:, None])
    edges = np.sort(np.stack([faces, np.roll(faces, -1, axis=1)], axis=2), axis=2).reshape(-1, 2)
    _unique, edge = np.unique(edges, axis=0, return_inverse=True)
    edge = edge.reshape(len(faces), 3)
    at_edge = np.zeros((edge.max() + 1, 3))
    np.add.at(at_edge, edge, np.broadcast_to(normal[:, None], corners.shape))
    return np.concatenate([normal[:, None], at_vertex[faces], at_edge[edge]], axis=1)
