"""Pads, and gels by name."""

from __future__ import annotations

import numpy as np
import pytest
from mesh_symmetry import MIRRORS, mirrored

from pliant.sims.fem.gels import GELS, digit_mesh, gel_mesh, gelsight_mini_mesh
from pliant.sims.fem.pads import pad_mesh


def test_a_pad_has_the_volume_and_the_faces_of_its_box():
    mesh = pad_mesh((0.03, 0.02), 0.005, (8, 6, 3))
    assert mesh.volumes.sum() == pytest.approx(0.03 * 0.02 * 0.005, rel=1e-12)
    assert mesh.surface_areas.sum() == pytest.approx(0.03 * 0.02 + 2 * 0.005 * 0.05, rel=1e-12)
    assert len(mesh.positions) == 9 * 7 * 4 and len(mesh.tetrahedra) == 6 * 8 * 6 * 3
    assert mesh.bounds == pytest.approx(np.array([[-0.015, -0.01, 0], [0.015, 0.01, 0.005]]))
    assert np.array_equal(mesh.mounted, mesh.positions[:, 2] == 0)


def test_the_default_pad_is_the_one_of_the_trial():
    mesh = pad_mesh()
    assert len(mesh.positions) == 2023 and mesh.free_count == 1734
    assert mesh.quality().smallest_radius_ratio > 0.35
    line = np.unique(np.round(mesh.positions[:, 0], 12))
    assert np.diff(line)[7:9] == pytest.approx(0.015 * (1 / 8) ** 1.4, rel=1e-6)
    depths = np.unique(np.round(mesh.positions[:, 2], 12))
    assert 0.005 - depths[-2] == pytest.approx(0.005 * (1 / 6) ** 1.2, rel=1e-6)


@pytest.mark.parametrize("mirror", MIRRORS)
def test_a_square_pad_mirrors_itself(mirror):
    assert mirrored(pad_mesh(cells=(6, 6, 2)), MIRRORS[mirror])


def test_a_pad_that_is_not_square_has_two_mirrors():
    mesh = pad_mesh((0.03, 0.02), cells=(6, 4, 2))
    assert mirrored(mesh, MIRRORS["x"]) and mirrored(mesh, MIRRORS["y"]) and not mirrored(mesh, MIRRORS["diagonal"])


def test_a_convex_pad_converges_to_the_volume_under_its_sphere():
    """The volume under z = h - R + √(R² - x² - y²) over a square, by quadrature."""
    size, height, radius = 0.03, 0.007, 0.06
    place, weight = np.polynomial.legendre.leggauss(40)
    x, y = np.meshgrid(place * size / 2, place * size / 2)
    volume = (np.outer(weight, weight) * (height - radius + np.sqrt(radius**2 - x**2 - y**2))).sum() * size**2 / 4
    off = [
        pad_mesh((size, size), height, (n, n, 2), (1.0, 1.0), curvature_radius=radius).volumes.sum() / volume - 1
        for n in (8, 16)
    ]
    assert -0.01 < off[0] < 0 and off[1] == pytest.approx(off[0] / 4, rel=0.1)


def test_nodes_of_a_convex_pad_lie_on_its_sphere_or_cylinder():
    height, radius = 0.007, 0.06
    sphere = pad_mesh(thickness=height, cells=(6, 6, 2), curvature_radius=radius)
    top = sphere.positions[np.argsort(sphere.positions[:, 2])[-1]]
    assert top == pytest.approx([0, 0, height])
    x, y, z = sphere.positions.T
    above = np.abs(np.sqrt(x**2 + y**2 + (z - height + radius) ** 2) - radius) < 1e-12
    assert above.sum() == 49
    cylinder = pad_mesh(thickness=height, cells=(6, 6, 2), curvature_radius=(radius, np.inf))
    x, y, z = cylinder.positions.T
    assert (np.abs(np.sqrt(x**2 + (z - height + radius) ** 2) - radius) < 1e-12).sum() == 49


@pytest.mark.parametrize("nodes", [500, 1000, 2000])
@pytest.mark.parametrize("name", GELS)
def test_gels_by_name_have_about_as_many_nodes_as_wanted(name, nodes):
    mesh = gel_mesh(name, nodes=nodes)
    assert len(mesh.positions) == pytest.approx(nodes, rel=0.15)
    quality = mesh.quality()
    assert quality.smallest_radius_ratio > 0.15 and quality.mean_radius_ratio > 0.4
    assert quality.smallest_dihedral > np.radians(4)
    assert mesh.positions[:, 2].min() == 0.0 and mesh.mounted.any()
    apex = mesh.positions[mesh.positions[:, 2].argmax()]
    assert not mesh.mounted[mesh.positions[:, 2].argmax()] and apex[2] > 0.003
    assert mirrored(mesh, MIRRORS["x"]) and mirrored(mesh, MIRRORS["y"])


def test_gels_of_sensors_have_their_sizes():
    assert gelsight_mini_mesh(500).bounds == pytest.approx(
        np.array([[-0.012625, -0.010375, 0], [0.012625, 0.010375, 0.00425]])
    )
    digit = digit_mesh(500)
    assert np.ptp(digit.bounds, axis=0)[:2] == pytest.approx([0.03, 0.02])
    corner = np.abs(digit.positions[:, :2] - [0.015, 0.01]).max(axis=1) < 1e-9
    assert digit.bounds[1, 2] - digit.positions[corner, 2].max() == pytest.approx(0.005)


def test_the_same_call_gives_the_same_mesh():
    one, other = gel_mesh("dome"), gel_mesh("dome")
    assert np.array_equal(one.positions, other.positions) and np.array_equal(one.cells, other.cells)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"size": (0.03, 0)}, r"size\[1\]=0.* must be a finite number > 0"),
        ({"size": 0.03}, "size has shape"),
        ({"size": (np.nan, 1)}, "must be finite"),
        ({"thickness": -1}, "thickness=-1 must be"),
        ({"cells": (16, 15, 6)}, r"cells\[1\]=15 must be even"),
        ({"cells": (16, 16, 0)}, r"cells\[2\]=0 must be an integer in 1..400"),
        ({"cells": (16, 16)}, "must be three integers"),
        ({"cells": (16, 16, 6.0)}, r"cells\[2\]=6.0 must be an integer"),
        ({"cells": 16}, "cells=16 must be three integers"),
        ({"grading": (0.5, 1)}, r"grading\[0\]=.* must be a finite number >= 1"),
        ({"grading": (1.4,)}, "grading has shape"),
        ({"nodes": 10}, "nodes=10 must be an integer in 50..200000"),
        ({"nodes": 1000, "cells": (4, 4, 2)}, "are both given"),
        ({"curvature_radius": 0.01}, r"curvature_radius=0.01 must be a finite number > 0.0"),
        ({"curvature_radius": 0.022}, "thickness=0.005 m with curvature_radius=0.022 m leaves .* m at the corners"),
        ({"curvature_radius": (np.inf, 0.005)}, r"curvature_radius\[1\]=0.005 must be"),
        ({"curvature_radius": (1, 1, 1)}, "must be a number or two"),
        ({"curvature_radius": -np.inf}, "curvature_radius=-inf must be"),
        ({"curvature_radius": "flat"}, "curvature_radius='flat' must be"),
    ],
)
def test_pads_that_cannot_be_are_refused(options, problem):
    with pytest.raises(ValueError, match=problem):
        pad_mesh(**options)


def test_unknown_gels_and_options_are_refused():
    with pytest.raises(ValueError, match="name='ball' is unknown; allowed: 'pad', 'dome', 'gelsight_mini', 'digit'"):
        gel_mesh("ball")
    with pytest.raises(ValueError, match="radius=1 is no option of the gel 'pad'; allowed: size, thickness, cells"):
        gel_mesh("pad", radius=1)
    with pytest.raises(ValueError, match="nodes='many' must be an integer"):
        gel_mesh("digit", nodes="many")
    with pytest.raises(
        ValueError, match=r"thickness=0.005 m with curvature_radius=0\.035 m leaves .* m at the corners"
    ):
        gel_mesh("digit", thickness=0.005)
    with pytest.raises(ValueError, match="are both given"):
        gel_mesh("gelsight_mini", nodes=500, cells=(4, 4, 2))
