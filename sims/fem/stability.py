"""The longest stable substep of an explicit gel.

The step v' = v - dt (K u + C v) / m, u' = u + dt v' is stable if dt^2 K + 2 dt C <= 4 m, in the sense of quadratic
forms. Contact of stiffness k_c, taken at the place to which the velocities lead, adds k_c to K and dt k_c to C. Each
term is bounded by its own largest eigenvalue, of the gel at rest; what a gel that is pressed gains is left to
``SHARE``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_matrix, diags
from scipy.sparse.linalg import eigsh

from pliant.sims.fem.mesh import CELL_NODES, GelMesh

SHARE = 0.8
"""Of the limit of a gel at rest: one that is pressed by a quarter of its thickness is stiffer by some 1.5. Gels that
are squeezed harder need shorter steps: fingertips that held a block firmly had gradients that grew from step to step
at 0.65 of the limit at rest, but not at 0.49."""


@dataclass(frozen=True)
class MeshBounds:
    """Largest eigenvalues of a mesh, per unit of the constant that they are multiplied by.

    shear, dilatation, viscous: over density, of mu, lambda' and the viscosity [1/m^2].  contact: area over volume of
    the nodes of the surface [1/m].
    """

    shear: float
    dilatation: float
    viscous: float
    contact: float

    def longest_substep(
        self, young: float, poisson: float, density: float, viscosity: float, contact: float, extra: float = 0.0
    ) -> float:
        """The longest stable substep [s].

        Args:
            young, viscosity: [Pa], [Pa s].  poisson, density: of the gel.
            contact: stiffness [Pa/m] of what touches a place at a time, pressure per depth.
            extra: square of an angular frequency that others add [1/s^2].
        """
        mu = young / (2 * (1 + poisson))
        lam = young * poisson / ((1 + poisson) * (1 - 2 * poisson)) + mu
        elastic = (mu * self.shear + lam * self.dilatation) / density
        square = elastic + 3 * (contact * self.contact / density + extra)
        rate = viscosity * self.viscous / density
        return float(SHARE * (np.sqrt(rate * rate + 4 * square) - rate) / square)


def mesh_bounds(mesh: GelMesh) -> MeshBounds:
    """Bounds of a mesh with lumped masses."""
    free = ~mesh.mounted
    share = np.bincount(mesh.tetrahedra.ravel(), np.repeat(mesh.volumes / 4, 4), len(mesh.positions))
    corners = mesh.positions[mesh.tetrahedra]
    inverse = np.linalg.inv(np.moveaxis(corners[:, 1:] - corners[:, :1], 1, 2))
    G = np.concatenate([-inverse.sum(axis=1, keepdims=True), inverse], axis=1)  # (T, 4, 3)
    V = mesh.volumes
    even = np.einsum("tai,tbi,jk->tajbk", G, G, np.eye(3))
    crossed = np.einsum("tak,tbj->tajbk", G, G)
    traces = np.einsum("taj,tbk->tajbk", G, G)
    shear = V[:, None, None, None, None] * (even + crossed - traces)
    viscous = V[:, None, None, None, None] * (even + crossed) / 2
    cell_of = mesh.tetrahedron_cells
    cell_volume = np.bincount(cell_of, V)
    # sum of V G over the tetrahedra of a cell, by the cell's own numbers of its nodes
    spread = np.zeros((len(mesh.cells), CELL_NODES, 3))
    cell, which = np.nonzero(mesh.cell_tetrahedra[..., 0] >= 0)
    np.add.at(spread, (cell[:, None], mesh.cell_tetrahedra[cell, which].astype(int)), V[:, None, None] * G)
    dilatation = np.einsum("caj,cbk->cajbk", spread, spread) / cell_volume[:, None, None, None, None]
    nodes = mesh.surface_nodes[free[mesh.surface_nodes]]
    areas = mesh.surface_areas[free[mesh.surface_nodes]]
    return MeshBounds(
        shear=_largest(shear, mesh.tetrahedra, share, free),
        dilatation=_largest(dilatation, mesh.cells, share, free),
        viscous=_largest(viscous, mesh.tetrahedra, share, free),
        contact=float(np.max(areas / share[nodes])),
    )


def _largest(blocks: np.ndarray, nodes: np.ndarray, share: np.ndarray, free: np.ndarray) -> float:
    """Largest eigenvalue of the matrix that blocks (E, n, 3, n, 3) of elements with ``nodes`` (E, n) make, over
    volumes."""
    count, width = blocks.shape[0], blocks.shape[1]
    number = (3 * nodes[:, :, None] + np.arange(3)).reshape(count, 3 * width)
    rows = np.repeat(number, 3 * width, axis=1).ravel()
    columns = np.tile(number, (1, 3 * width)).ravel()
    size = 3 * len(share)
    matrix = coo_matrix((blocks.reshape(count, -1).ravel(), (rows, columns)), shape=(size, size)).tocsr()
    kept = np.flatnonzero(np.repeat(free, 3))
    scale = diags(1 / np.sqrt(np.repeat(share, 3)[kept]))
    scaled = scale @ matrix[kept][:, kept] @ scale
    if len(kept) < 4:
        return float(np.linalg.eigvalsh(scaled.toarray())[-1])
    start = np.cos(np.arange(len(kept)) * 1.7)  # the same in every process
    return float(eigsh(scaled, k=1, which="LA", v0=start, return_eigenvectors=False, tol=1e-3)[0])
