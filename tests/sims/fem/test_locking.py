"""Cells that share their mean dilatation do not lock: nearly incompressible gels give way as fine meshes do.

Linear elasticity, assembled here and solved directly; the compliance is the work of a smooth pressure about the apex.
"""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.sparse.linalg import spsolve

from pliant.sims.fem.domes import dome_mesh
from pliant.sims.fem.grouping import group_tetrahedra
from pliant.sims.fem.mesh import build_mesh
from pliant.sims.fem.pads import pad_mesh
from pliant.sims.fem.topology import neighbours

MODULUS = 1e5
WIDTH = 0.004
"""Distance from the axis at which the pressure has fallen to 1/e [m]."""


def compliance(mesh, poisson_ratio, mean_dilatation=True):
    """Work (f . u) [J] of a pressure of 1 Pa at the apex, along -z."""
    free = np.repeat(~mesh.mounted, 3)
    force = load(mesh)
    stiffness = stiffness_matrix(mesh, poisson_ratio, mean_dilatation)[free][:, free]
    return force[free] @ spsolve(stiffness.tocsc(), force[free])


def load(mesh):
    """Consistent nodal forces (3 N,) [N]."""
    corners = mesh.positions[mesh.surface]
    vector = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]) / 2
    force = np.zeros(3 * len(mesh.positions))
    for point in np.full((3, 3), 1 / 6) + np.eye(3) / 2:
        x, y, _ = np.einsum("k,tkd->dt", point, corners)
        pressure = np.exp(-(x**2 + y**2) / WIDTH**2) * np.maximum(vector[:, 2], 0.0) / 3
        for k in range(3):
            np.add.at(force, 3 * mesh.surface[:, k] + 2, -pressure * point[k])
    return force


def stiffness_matrix(mesh, poisson_ratio, mean_dilatation):
    mu = MODULUS / 2 / (1 + poisson_ratio)
    lam = MODULUS * poisson_ratio / (1 + poisson_ratio) / (1 - 2 * poisson_ratio)
    tetrahedra, volumes = mesh.tetrahedra, mesh.volumes
    number = np.arange(len(tetrahedra))
    corners = mesh.positions[tetrahedra]
    inverse = np.linalg.inv(np.moveaxis(corners[:, 1:] - corners[:, :1], 1, 2))
    slopes = np.concatenate([-inverse.sum(axis=1, keepdims=True), inverse], axis=1)
    places = [(i, j, a) for i in range(3) for j in range(3) for a in range(4)]
    gradient = sp.csr_matrix(
        (
            np.concatenate([slopes[:, a, j] for _, j, a in places]),
            (
                np.concatenate([9 * number + 3 * i + j for i, j, _ in places]),
                np.concatenate([3 * tetrahedra[:, a] + i for i, _, a in places]),
            ),
        ),
        shape=(9 * len(tetrahedra), 3 * len(mesh.positions)),
    )
    transposed = np.eye(9).reshape(3, 3, 9).transpose(1, 0, 2).reshape(9, 9)
    strain = sp.kron(sp.eye(len(tetrahedra)), (np.eye(9) + transposed) / 2) @ gradient
    dilatation = sp.kron(sp.eye(len(tetrahedra)), np.eye(3).reshape(1, 9)) @ gradient
    weights = volumes
    if mean_dilatation:
        weights = np.bincount(mesh.tetrahedron_cells, volumes)
        dilatation = sp.diags(1 / weights) @ sp.csr_matrix((volumes, (mesh.tetrahedron_cells, number))) @ dilatation
    return (
        2 * mu * strain.T @ sp.diags(np.repeat(volumes, 9)) @ strain
        + lam * dilatation.T @ sp.diags(weights) @ dilatation
    )


def regrouped(mesh):
    """The mesh with the cells that tetrahedra of a free mesh would get."""
    return build_mesh(mesh.positions, *group_tetrahedra(mesh.tetrahedra, neighbours(mesh.tetrahedra)), mesh.mounted)


@pytest.fixture(scope="module")
def fine():
    return compliance(pad_mesh(cells=(18, 18, 7)), 0.49)


@pytest.mark.parametrize(
    ("cells", "off"), [(lambda mesh: mesh, 0.08), (regrouped, 0.16)], ids=["of hexahedra", "of neighbours"]
)
def test_a_nearly_incompressible_pad_does_not_lock(fine, cells, off):
    mesh = cells(pad_mesh(cells=(10, 10, 4)))
    assert compliance(mesh, 0.49) == pytest.approx(fine, rel=off)
    assert compliance(mesh, 0.49, mean_dilatation=False) < 0.6 * fine


@pytest.mark.parametrize("options", [{}, {"height": 0.008}, {"thickness": 0.004}], ids=["hemisphere", "cap", "shell"])
def test_a_nearly_incompressible_dome_does_not_lock(options):
    coarse, fine = (dome_mesh(**options, nodes=nodes) for nodes in (600, 2000))
    assert compliance(coarse, 0.49) == pytest.approx(compliance(fine, 0.49), rel=0.06)
    assert compliance(coarse, 0.49, mean_dilatation=False) < 0.85 * compliance(fine, 0.49)


def test_a_pad_pressed_evenly_is_as_stiff_as_its_modulus_says():
    """Uniform strain is exact: sides held against bulging, the oedometer's modulus E (1 - ν) / ((1 + ν) (1 - 2 ν))."""
    mesh, nu, strain = pad_mesh(cells=(4, 4, 2)), 0.45, -0.01
    displacement = np.zeros_like(mesh.positions)
    displacement[:, 2] = strain * mesh.positions[:, 2]
    energy = displacement.ravel() @ stiffness_matrix(mesh, nu, True) @ displacement.ravel() / 2
    modulus = MODULUS * (1 - nu) / (1 + nu) / (1 - 2 * nu)
    assert energy == pytest.approx(modulus * strain**2 / 2 * mesh.volumes.sum())
