"""Closed surfaces as meshes: what is refused, how tetrahedra are grouped, and what fTetWild makes of a surface."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import trimesh

from pliant.sims.fem.crossing import crossing_triangles
from pliant.sims.fem.grouping import group_tetrahedra
from pliant.sims.fem.mesh import build_mesh, tetrahedra_of
from pliant.sims.fem.pads import pad_mesh
from pliant.sims.fem.remeshing import growing_edge_length, mesh_of_surface
from pliant.sims.fem.topology import neighbours


def box(size=(0.03, 0.03, 0.005), centre=(0, 0, 0)):
    mesh = trimesh.creation.box(size)
    mesh.apply_translation(centre)
    return np.array(mesh.vertices), np.array(mesh.faces)


def together(*parts):
    starts = np.cumsum([0, *(len(vertices) for vertices, _ in parts)])
    faces = [faces + start for (_, faces), start in zip(parts, starts, strict=False)]
    return np.concatenate([vertices for vertices, _ in parts]), np.concatenate(faces)


def meshed(vertices, faces, **options):
    return mesh_of_surface(vertices, faces, **{"edge_length": 0.004, "mounted": -0.0025} | options)


def open_box():
    vertices, faces = box()
    return vertices, faces[:-1]


def two_at_an_edge():
    """Boxes that share an edge: four faces meet there."""
    vertices, faces = together(box((1, 1, 1)), box((1, 1, 1), (1, 1, 0)))
    mesh = trimesh.Trimesh(vertices, faces, process=False)
    mesh.merge_vertices()
    return np.array(mesh.vertices), np.array(mesh.faces)


def one_face_turned():
    vertices, faces = box()
    faces[3] = faces[3][::-1]
    return vertices, faces


def inside_out():
    vertices, faces = box()
    return vertices, faces[:, ::-1]


def pushed_through():
    """A ball whose lowest point has been pushed out through its top."""
    mesh = trimesh.creation.icosphere(subdivisions=2, radius=0.01)
    vertices = np.array(mesh.vertices)
    vertices[vertices[:, 2].argmin(), 2] = 0.02
    return vertices, np.array(mesh.faces)


REFUSED = {
    "open": (open_box, "the surface is open: 3 edges do not join two triangles"),
    "not a manifold": (two_at_an_edge, "the surface is not a manifold: 1 edges"),
    "one face turned": (one_face_turned, "the surface is not wound one way"),
    "inside out": (inside_out, r"the surface is inside out: its volume is -4.5e-06 m\^3"),
    "pushed through": (pushed_through, r"the surface crosses itself: faces \d+ and \d+, near"),
    "two that overlap": (lambda: together(box(), box(centre=(0.01, 0.01, 0.001))), "the surface crosses itself"),
    "two that share a face": (lambda: together(box(), box(centre=(0.03, 0, 0))), "the surface crosses itself"),
    "two apart": (lambda: together(box(), box(centre=(0.1, 0, 0))), "the surface is in 2 pieces; it must be one"),
    "flat": (lambda: (box()[0] * [1, 1, 0], box()[1]), "encloses no volume"),
    "a face of no area": (
        lambda: (lambda v, f: (v, np.vstack([f, [[0, 1, 1], [0, 1, 1]]])))(*box()),
        "the surface is not a manifold",
    ),
    "not finite": (lambda: (box()[0] * np.nan, box()[1]), "vertices .* must be finite"),
    "a vertex that is not there": (lambda: (box()[0][:-1], box()[1]), r"faces hold the vertex 7, must be in 0\.\.6"),
    "a negative vertex": (lambda: (box()[0], box()[1] - 1), r"faces hold the vertex -1, must be in 0\.\.7"),
    "faces of numbers": (lambda: (box()[0], box()[1] * 1.0), "must be .* integers"),
    "quadrilaterals": (lambda: (box()[0], np.zeros((6, 4), int)), r"faces has shape \(6, 4\)"),
    "no vertices": (lambda: ([], box()[1]), "vertices has shape"),
}


@pytest.mark.parametrize("surface", REFUSED)
def test_surfaces_that_enclose_nothing_clear_are_refused(surface):
    """Before the mesher is asked for, so that messages need no extra."""
    make, problem = REFUSED[surface]
    with pytest.raises(ValueError, match=problem):
        meshed(*make())


def test_without_the_extra_an_error_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pytetwild", None)
    with pytest.raises(ImportError, match=r"needs pytetwild; .* pip install 'pliant\[tactile\]'"):
        meshed(*box())


@pytest.mark.parametrize("seed", range(3))
def test_triangles_that_cross_are_found_and_neighbours_are_not(seed):
    """Two balls apart, deep in each other, and one within the other; and a ball of many small triangles alone."""
    rng = np.random.default_rng(seed)
    ball = trimesh.creation.icosphere(subdivisions=2, radius=1.0)
    ball.apply_transform(trimesh.transformations.random_rotation_matrix(rng.random(3)))
    corners = np.array(ball.triangles)
    assert crossing_triangles(corners) is None
    direction = rng.normal(size=3)
    direction /= np.linalg.norm(direction)
    assert crossing_triangles(np.concatenate([corners, corners + 2.1 * direction])) is None
    assert crossing_triangles(np.concatenate([corners, 0.5 * corners])) is None
    found = crossing_triangles(np.concatenate([corners, corners + 1.5 * direction]))
    assert found is not None and found[0] < len(corners) <= found[1]


def test_triangles_that_lie_on_each_other_cross():
    triangle = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], float)
    for other, crosses in (
        (triangle + [0.2, 0.2, 0], True),  # in its plane, overlapping
        (triangle + [1.2, 0.2, 0], False),  # in its plane, beside it
        (np.array([[1, 0, 0], [0, 1, 0], [1, 1, 0]], float), False),  # at its edge
        (np.array([[1, 0, 0], [0, 1, 0], [0.1, 0.1, 0]], float), True),  # folded back at its edge
        (triangle + [0, 0, 1e-3], False),  # above it
        (triangle, True),
    ):
        assert (crossing_triangles(np.stack([triangle, other])) is not None) == crosses


def test_an_array_of_many_pairs_is_looked_through_in_pieces(monkeypatch):
    from pliant.sims.fem import crossing

    monkeypatch.setattr(crossing, "AT_ONCE", 7)
    ball = np.array(trimesh.creation.icosphere(subdivisions=1).triangles)
    assert crossing_triangles(ball) is None
    assert crossing_triangles(np.concatenate([ball, ball + [0.5, 0.2, 0.3]])) is not None


def test_groups_hold_every_tetrahedron_once_within_their_limits():
    pad = pad_mesh(cells=(6, 6, 3))
    cells, local = group_tetrahedra(pad.tetrahedra, neighbours(pad.tetrahedra))
    mesh = build_mesh(pad.positions, cells, local, pad.mounted)
    rows = {tuple(sorted(row)) for row in tetrahedra_of(cells, local).tolist()}
    assert rows == {tuple(sorted(row)) for row in pad.tetrahedra.tolist()}
    sizes = (local[..., 0] >= 0).sum(axis=1)
    assert sizes.sum() == len(pad.tetrahedra)
    assert sizes.mean() > 4 and (sizes <= 2).mean() < 0.05
    assert mesh.volumes.sum() == pytest.approx(pad.volumes.sum())
    again = group_tetrahedra(pad.tetrahedra, neighbours(pad.tetrahedra))
    assert np.array_equal(cells, again[0]) and np.array_equal(local, again[1])


def test_tetrahedra_of_a_group_hang_together_by_faces():
    pad = pad_mesh(cells=(4, 4, 2))
    pairs = neighbours(pad.tetrahedra)
    cells, local = group_tetrahedra(pad.tetrahedra, pairs)
    number = {tuple(sorted(row)): i for i, row in enumerate(pad.tetrahedra.tolist())}
    joined = {tuple(pair) for pair in np.sort(pairs, axis=1).tolist()}
    for cell, tetrahedra in zip(cells, local, strict=True):
        members = [number[tuple(sorted(cell[row].tolist()))] for row in tetrahedra if row[0] >= 0]
        reached = {members[0]}
        for _ in members:
            reached |= {m for m in members if any(tuple(sorted((m, r))) in joined for r in reached)}
        assert reached == set(members)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (((0, 0), 0.001, 0.2), "centre has shape"),
        (((0, 0, 0), 0, 0.2), "finest=0 must be"),
        (((0, 0, 0), 0.001, -1), "growth=-1 must be"),
        (((0, 0, 0), 0.001, 0.2, 0.0005), "longest=0.0005 must be a finite number >= 0.001"),
    ],
)
def test_edge_lengths_that_cannot_be_are_refused(arguments, problem):
    with pytest.raises(ValueError, match=problem):
        growing_edge_length(*arguments)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"edge_length": 0}, "edge_length=0 must be"),
        ({"edge_length": 1.0}, "edge_length=1 m must be between"),
        ({"edge_length": 1e-6}, "edge_length=1e-06 m must be between"),
        ({"edge_length": lambda points: -(points[:, 0] ** 2)}, r"edge_length\(points\) has -.* m in it, must be > 0"),
        ({"edge_length": lambda points: points}, r"edge_length\(points\) has shape"),
        ({"deviation": 0.01}, "deviation=0.01 must be"),
        ({"mounted": 0.1}, "no point of the surface is at that height; it reaches from"),
        ({"mounted": "below"}, "mounted='below' must be"),
        ({"mounted": None}, "mounted=None must be"),
    ],
)
def test_arguments_that_cannot_be_are_refused(options, problem):
    with pytest.raises(ValueError, match=problem):
        meshed(*box(), **options)


@pytest.fixture(scope="module")
def mesher():
    pytest.importorskip("pytetwild", reason="the extra 'tactile' is not installed")


@pytest.mark.usefixtures("mesher")
class TestWithTheMesher:
    """What holds for every mesh that fTetWild makes; two of its meshes are never the same."""

    def test_a_box_keeps_its_volume_and_stands_on_the_mount(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        mesh = meshed(*box(), edge_length=0.003)
        assert mesh.volumes.sum() == pytest.approx(0.03 * 0.03 * 0.005, rel=0.01)
        assert mesh.bounds == pytest.approx(np.array([[-0.015, -0.015, 0], [0.015, 0.015, 0.005]]), abs=1e-4)
        assert mesh.positions[mesh.mounted, 2].max() == 0.0
        a, b, c = np.moveaxis(mesh.positions[mesh.surface], 1, 0)
        assert np.cross(b - a, c - a).sum(axis=0) / 2 == pytest.approx([0, 0, 0.03**2], abs=1e-5)
        quality = mesh.quality()
        assert quality.smallest_radius_ratio > 0.1 and quality.mean_radius_ratio > 0.6
        sizes = (mesh.cell_tetrahedra[..., 0] >= 0).sum(axis=1)
        assert sizes.mean() > 4 and (sizes == 1).mean() < 0.02
        assert not list(tmp_path.iterdir())  # the mesher's own files are elsewhere

    def test_edges_are_short_where_they_are_wanted_short(self):
        mesh = meshed(*box(), edge_length=growing_edge_length((0, 0, 0.0025), 0.0007, 0.2))
        middle = mesh.positions[mesh.tetrahedra].mean(axis=1)
        edge = np.cbrt(mesh.volumes * 6 * np.sqrt(2))
        away = np.linalg.norm(middle - [0, 0, 0.005], axis=1)
        assert edge[away < 0.004].mean() < 0.6 * edge[away > 0.012].mean()

    def test_a_function_tells_what_is_mounted(self):
        ball = trimesh.creation.icosphere(subdivisions=3, radius=0.01)
        mesh = meshed(ball.vertices, ball.faces, mounted=lambda points: points[:, 2] < -0.005)
        assert np.array_equal(mesh.mounted, (mesh.positions[:, 2] < -0.005) & mesh.mounted)
        outer = np.linalg.norm(mesh.positions, axis=1) > 0.0095
        assert mesh.mounted[outer & (mesh.positions[:, 2] < -0.0051)].all()
        assert mesh.volumes.sum() == pytest.approx(4 / 3 * np.pi * 0.01**3, rel=0.03)

    @pytest.mark.parametrize(
        ("options", "problem"),
        [
            ({"mounted": lambda points: points[:, 2]}, r"mounted\(points\) has shape .* and bool"),
            ({"mounted": lambda points: points[:, 2] > 1}, "chooses no point"),
            ({"mounted": lambda points: points[:, 2] < 1}, r"all are glued|the whole boundary is glued"),
        ],
    )
    def test_functions_that_mount_nothing_or_all_are_refused(self, options, problem):
        with pytest.raises(ValueError, match=problem):
            meshed(*box(), **options)
