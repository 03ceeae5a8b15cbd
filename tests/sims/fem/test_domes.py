"""Domes: caps and hemispheres, solid and as shells, with and without a cylinder."""

from __future__ import annotations

import numpy as np
import pytest
from mesh_symmetry import MIRRORS, mirrored

from pliant.sims.fem.domes import dome_mesh

RADIUS = 0.015
SHAPES = {
    "hemisphere": {},
    "cap": {"height": 0.006},
    "flat cap": {"radius": 0.0275, "height": 0.0055},
    "on a cylinder": {"height": 0.01, "base": 0.004},
    "hemisphere on a cylinder": {"base": 0.005},
    "shell": {"thickness": 0.003},
    "shell of a cap": {"height": 0.01, "thickness": 0.003},
    "shell on a cylinder": {"height": 0.01, "base": 0.004, "thickness": 0.003},
}


def cap(radius, height):
    """Volume [m³] of a spherical cap, π h² (3 R - h) / 3."""
    return np.pi * height**2 * (3 * radius - height) / 3


def volume_and_area(radius=RADIUS, height=None, base=0.0, thickness=None):
    """Of the gel [m³] and of its contact surface [m²]."""
    height = radius if height is None else height
    rim = np.sqrt(height * (2 * radius - height))
    volume = cap(radius, height) + np.pi * rim**2 * base
    if thickness is not None:
        inner = height - thickness
        inner_rim = np.sqrt((radius - thickness) ** 2 - (radius - height) ** 2)
        volume -= cap(radius - thickness, inner) + np.pi * inner_rim**2 * base
    return volume, 2 * np.pi * radius * height + 2 * np.pi * rim * base


@pytest.mark.parametrize("shape", SHAPES)
def test_volume_and_area_converge_to_those_of_the_shape(shape):
    """Chords in place of arcs: the error is that of the second order."""
    options = SHAPES[shape]
    exact = np.array(volume_and_area(**options))
    off = []
    for n in (1, 2):
        mesh = dome_mesh(**options, cells=(8 * n, 4 * n, 3 * n), grading=(1.0, 1.0))
        off.append(np.array([mesh.volumes.sum(), mesh.surface_areas.sum()]) / exact - 1)
    assert (np.abs(off[0]) < 0.03).all() and (off[1] < 0).all()
    assert off[1] == pytest.approx(off[0] / 4, rel=0.25)


@pytest.mark.parametrize("nodes", [500, 1000, 2000])
@pytest.mark.parametrize("shape", SHAPES)
def test_tetrahedra_are_good_and_about_as_many_as_wanted(shape, nodes):
    mesh = dome_mesh(**SHAPES[shape], nodes=nodes)
    quality = mesh.quality()
    assert len(mesh.positions) == pytest.approx(nodes, rel=0.15)
    assert quality.smallest_radius_ratio > (0.1 if shape == "flat cap" else 0.15)
    assert quality.mean_radius_ratio > 0.45
    assert quality.smallest_dihedral > np.radians(4)


@pytest.mark.parametrize("mirror", MIRRORS)
@pytest.mark.parametrize("shape", SHAPES)
def test_domes_mirror_themselves(shape, mirror):
    assert mirrored(dome_mesh(**SHAPES[shape], nodes=500), MIRRORS[mirror])


@pytest.mark.parametrize("shape", SHAPES)
def test_nodes_of_the_surface_lie_on_it(shape):
    options = SHAPES[shape]
    mesh = dome_mesh(**options, nodes=500)
    radius, base = options.get("radius", RADIUS), options.get("base", 0.0)
    height = options.get("height", radius)
    x, y, z = mesh.positions[mesh.surface_nodes].T
    out = np.hypot(x, y)
    on_sphere = np.abs(np.hypot(out, z - base + radius - height) - radius) < 1e-12
    on_cylinder = (np.abs(out - np.sqrt(height * (2 * radius - height))) < 1e-12) & (z <= base)
    assert (on_sphere | on_cylinder).all()
    apex = mesh.positions[:, 2].argmax()
    assert mesh.positions[apex] == pytest.approx([0, 0, base + height], abs=1e-15)
    assert apex in mesh.surface_nodes and not mesh.mounted[apex]


@pytest.mark.parametrize("shape", [name for name in SHAPES if "shell" not in name])
def test_a_solid_dome_stands_on_the_mount(shape):
    mesh = dome_mesh(**SHAPES[shape], nodes=500)
    assert mesh.positions[:, 2].min() == 0.0
    assert np.array_equal(mesh.mounted, mesh.positions[:, 2] == 0.0)


@pytest.mark.parametrize("shape", [name for name in SHAPES if "shell" in name])
def test_a_shell_is_glued_to_its_core_and_at_its_rim(shape):
    options = SHAPES[shape]
    mesh = dome_mesh(**options, nodes=500)
    base, height = options.get("base", 0.0), options.get("height", RADIUS)
    x, y, z = mesh.positions.T
    inner = RADIUS - options["thickness"]
    on_core = np.abs(np.sqrt(x**2 + y**2 + (z - base + RADIUS - height) ** 2) - inner) < 1e-12
    above = z >= base
    assert np.array_equal(mesh.mounted[above], (on_core | (z == 0))[above])
    assert mesh.mounted[z == 0].all() and z.min() == 0.0
    assert (on_core & above).sum() > 20
    assert np.isclose(mesh.positions[mesh.mounted, 2].max(), base + height - options["thickness"])


def test_cells_are_finest_under_the_apex():
    mesh = dome_mesh(nodes=2000)
    corners = mesh.positions[mesh.surface]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    out = np.hypot(*corners.mean(axis=1)[:, :2].T)
    near, far = area[out < 0.002].mean(), area[out > 0.008].mean()
    assert near < far / 3
    even = dome_mesh(cells=(8, 3, 3), grading=(1.0, 1.0)).volumes
    assert even.max() / even.min() < 12


@pytest.mark.parametrize("cells", [(2, 1, 1), (2, 5, 1), (20, 2, 9)])
@pytest.mark.parametrize("thickness", [None, 0.004])
def test_counts_are_those_of_the_blocks(cells, thickness):
    across, up, shells = cells
    mesh = dome_mesh(cells=cells, thickness=thickness)
    hexahedra = (across**2 + 4 * across * up) * shells + (across**2 * up if thickness is None else 0)
    assert len(mesh.cells) == hexahedra and len(mesh.tetrahedra) == 6 * hexahedra


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"radius": 0}, "radius=0 must be a finite number > 0"),
        ({"radius": np.inf}, "radius=inf must be"),
        ({"height": 0.016}, r"height=0.016 must be a finite number > 0 and <= 0.015 \[m\]"),
        ({"height": 1e-5}, "height / radius=.* must be a finite number >= 0.05"),
        ({"base": -0.001}, "base=-0.001 must be"),
        ({"base": 0.2}, "base=0.2 must be"),
        ({"thickness": 0.015}, r"thickness=0.015 must be a finite number > 0 and <= 0.0135 \[m\]"),
        ({"thickness": 0.009, "height": 0.009}, "thickness=0.009 must be"),
        ({"grading": (4, 1)}, r"grading\[0\]=4.0 must be"),
        ({"grading": 1}, "grading has shape"),
        ({"cells": (7, 3, 3)}, r"cells\[0\]=7 must be even"),
        ({"cells": (8, 0, 3)}, r"cells\[1\]=0 must be an integer in 1..200"),
        ({"cells": (8, 3)}, "must be three integers"),
        ({"cells": "many"}, r"cells='many' must be three integers"),
        ({"cells": (8, 1, 3), "base": 0.004}, r"cells\[1\]=1 must be at least 2 where there is a base"),
        ({"nodes": 50}, "nodes=50 must be an integer in 100..200000"),
        ({"nodes": 500.0}, "nodes=500.0 must be an integer"),
        ({"nodes": 500, "cells": (8, 3, 3)}, "are both given"),
    ],
)
def test_domes_that_cannot_be_are_refused(options, problem):
    with pytest.raises(ValueError, match=problem):
        dome_mesh(**options)
