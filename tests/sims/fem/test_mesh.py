"""The data of a gel's mesh: what is derived from it, what is refused, and how files keep it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pliant.sims.fem.hexahedra import KUHN
from pliant.sims.fem.mesh import GelMesh, build_mesh
from pliant.sims.fem.mesh_files import ARRAYS, load_gel_mesh, save_gel_mesh
from pliant.sims.fem.pads import pad_mesh
from pliant.sims.fem.quality import mesh_quality

CUBE = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)], float)
REGULAR = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], float)


def single(positions, tetrahedra):
    """Arguments of a mesh with a cell for each tetrahedron."""
    tetrahedra = np.asarray(tetrahedra)
    cells = np.concatenate([tetrahedra, np.repeat(tetrahedra[:, :1], 4, axis=1)], axis=1)
    local = np.full((len(cells), 6, 4), -1)
    local[:, 0] = np.arange(4)
    return np.asarray(positions, float), cells, local, np.asarray(positions)[:, 2] <= 0


def two_tetrahedra():
    positions = [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]]
    return single(positions, [[0, 1, 2, 3], [1, 2, 3, 4]])


@pytest.fixture(scope="module")
def pad():
    return pad_mesh(cells=(4, 4, 2))


def test_a_cube_of_six_tetrahedra_has_its_volume_and_its_faces():
    mesh = build_mesh(CUBE, np.arange(8)[None], KUHN[None], CUBE[:, 2] == 0)
    assert mesh.tetrahedra.shape == (6, 4)
    assert mesh.volumes == pytest.approx(np.full(6, 1 / 6))
    assert len(mesh.surface) == 10  # two triangles of the lower face are glued
    assert mesh.surface_areas.sum() == pytest.approx(5.0)
    assert mesh.free_count == 4
    assert np.array_equal(mesh.bounds, [[0, 0, 0], [1, 1, 1]])
    assert np.array_equal(mesh.tetrahedron_cells, np.zeros(6))


def test_areas_of_nodes_weigh_linear_functions_exactly(pad):
    """A third of each triangle to each corner: the integral of x + 2 z over the surface is that of the triangles."""
    corners = pad.positions[pad.surface]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2
    function = corners[..., 0] + 2 * corners[..., 2]
    nodes = pad.positions[pad.surface_nodes]
    assert pad.surface_areas @ (nodes[:, 0] + 2 * nodes[:, 2]) == pytest.approx((area * function.mean(axis=1)).sum())
    assert np.array_equal(pad.surface_nodes, np.unique(pad.surface))


def test_the_surface_and_the_mount_close_the_gel(pad):
    """The vector areas of a closed surface add up to nothing: what the surface lacks is the mount's face."""
    a, b, c = np.moveaxis(pad.positions[pad.surface], 1, 0)
    assert np.cross(b - a, c - a).sum(axis=0) / 2 == pytest.approx([0, 0, 0.03**2], abs=1e-12)
    # and by the divergence theorem the volume is that of the tetrahedra; the mount's face, at z = 0, adds nothing
    height = np.stack([a, b, c]).mean(axis=0)[:, 2]
    assert (height * np.cross(b - a, c - a)[:, 2]).sum() / 2 == pytest.approx(pad.volumes.sum())


def test_free_nodes_come_first_and_the_band_is_narrow(pad):
    assert not pad.mounted[: pad.free_count].any() and pad.mounted[pad.free_count :].all()
    wide = pad_mesh(cells=(40, 4, 2))
    free = np.where(wide.cells < wide.free_count, wide.cells, -1)
    high = free.max(axis=1)
    low = np.where(free < 0, wide.free_count, free).min(axis=1)
    assert (high - low).max() <= 2 * 5 * 2 + 2  # two cross-sections of 5 x 2 free nodes


def test_arrays_cannot_be_written_to_and_are_copies():
    positions, cells, local, mounted = two_tetrahedra()
    mesh = build_mesh(positions, cells, local, mounted)
    for name in (*ARRAYS, "tetrahedra", "volumes", "surface_nodes", "surface_areas"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(mesh, name)[0] = 0
    again = GelMesh(*(np.array(getattr(mesh, name)) for name in ARRAYS))
    assert again.positions is not mesh.positions
    assert [getattr(mesh, name).dtype for name in ARRAYS] == [np.float64, np.int32, np.int8, np.bool_, np.int32]


def test_quality_of_a_regular_tetrahedron_is_one():
    quality = mesh_quality(REGULAR, np.array([[0, 1, 3, 2]]))
    assert quality.smallest_radius_ratio == pytest.approx(1.0)
    assert quality.mean_radius_ratio == pytest.approx(1.0)
    assert quality.largest_aspect == pytest.approx(1.0)
    assert quality.smallest_dihedral == pytest.approx(np.arccos(1 / 3))
    assert quality.smallest_volume == pytest.approx(8 / 3)


def test_quality_of_a_corner_of_a_cube():
    """Inscribed radius 1 / (3 + √3), circumscribed √3 / 2; the faces of the slanted one meet the others at atan √2."""
    quality = mesh_quality(np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], float), np.array([[0, 1, 2, 3]]))
    inscribed = 1 / (3 + np.sqrt(3))
    assert quality.smallest_radius_ratio == pytest.approx(3 * inscribed / (np.sqrt(3) / 2))
    assert quality.largest_aspect == pytest.approx(np.sqrt(2) / inscribed / (2 * np.sqrt(6)))
    assert quality.smallest_dihedral == pytest.approx(np.arctan(np.sqrt(2)))
    assert "4 nodes, 1 tetrahedra" in str(quality) and "54.7 deg" in str(quality)


def test_an_inverted_tetrahedron_is_named():
    positions, cells, local, mounted = two_tetrahedra()
    local[1, 0] = [0, 2, 1, 3]
    with pytest.raises(ValueError, match=r"inverted tetrahedron 1 has volume -0\.333 m\^3"):
        build_mesh(positions, cells, local, mounted)


@pytest.mark.parametrize("height", [0.0, 1e-12])
def test_a_flat_tetrahedron_is_named(height):
    positions, cells, local, mounted = single([[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, height]], [[0, 1, 2, 3]])
    with pytest.raises(ValueError, match="flat tetrahedron 0"):
        build_mesh(positions, cells, local, mounted | [True, True, True, False])


def test_a_node_that_nothing_uses_is_named():
    positions, cells, local, mounted = two_tetrahedra()
    with pytest.raises(ValueError, match=r"every node must be in a tetrahedron; in none: \d"):
        build_mesh(np.vstack([positions, [5, 5, 5]]), cells, local, np.append(mounted, False))


@pytest.mark.parametrize(("value", "problem"), [(False, "none is"), (True, "all are glued")])
def test_something_must_be_mounted_and_something_free(value, problem):
    positions, cells, local, mounted = two_tetrahedra()
    with pytest.raises(ValueError, match=problem):
        build_mesh(positions, cells, local, np.full(len(mounted), value))


def test_three_tetrahedra_at_one_face_are_refused():
    positions, _, _, _ = two_tetrahedra()
    arguments = single(np.vstack([positions, [2, 2, 2]]), [[0, 1, 2, 3], [1, 2, 3, 4], [1, 2, 3, 5]])
    with pytest.raises(ValueError, match="belongs to 3 tetrahedra"):
        build_mesh(*arguments)


def test_tetrahedra_that_overlap_across_their_face_are_refused():
    positions = [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [0.2, 0.3, 2]]
    with pytest.raises(ValueError, match="overlap: they lie on one side of the face"):
        build_mesh(*single(positions, [[0, 1, 2, 3], [0, 1, 2, 4]]))


def test_a_boundary_that_is_no_manifold_is_refused():
    """Two cubes that share an edge only."""
    positions = np.vstack([CUBE, CUBE + [1, 1, 0]])
    cells = np.arange(16).reshape(2, 8)
    cells[1, 0:2] = cells[0, 6:8]
    used, cells = np.unique(cells, return_inverse=True)
    positions = positions[used]
    with pytest.raises(ValueError, match="not a manifold: 1 edges do not join two triangles"):
        build_mesh(positions, cells.reshape(2, 8), np.stack([KUHN, KUHN]), positions[:, 2] == 0)


@pytest.mark.parametrize(
    ("lift", "problem"), [(0.0, "in 2 pieces that share no face; it must be one"), (1.0, "8 nodes")]
)
def test_pieces_are_refused_and_those_cut_off_from_the_mount_named(lift, problem):
    positions = np.vstack([CUBE, CUBE + [3, 0, lift]])
    with pytest.raises(ValueError, match=problem):
        build_mesh(positions, np.arange(16).reshape(2, 8), np.stack([KUHN, KUHN]), positions[:, 2] == 0)


def test_cubes_that_touch_at_a_corner_are_two_pieces():
    positions = np.vstack([CUBE, CUBE + 1.0])
    cells = np.arange(16).reshape(2, 8)
    cells[1, 0] = 7
    used, cells = np.unique(cells, return_inverse=True)
    with pytest.raises(ValueError, match="8 nodes are cut off from the mount"):
        build_mesh(positions[used], cells.reshape(2, 8), np.stack([KUHN, KUHN]), positions[used][:, 2] == 0)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda m: {"positions": m.positions[:, :2]}, r"positions has shape \(75, 2\), must be \(N, 3\)"),
        (lambda m: {"positions": np.full_like(m.positions, np.nan)}, "must be finite"),
        (lambda m: {"positions": "gel"}, "positions='gel'"),
        (lambda m: {"cells": m.cells[:, :7]}, r"cells has shape \(32, 7\)"),
        (lambda m: {"cells": m.cells + 1}, r"cells at \(\d+, \d+\) is 75, must be in 0..74"),
        (lambda m: {"cells": m.cells.astype(float)}, "must be integers"),
        (lambda m: {"cells": m.cells[:0], "cell_tetrahedra": m.cell_tetrahedra[:0]}, "not empty"),
        (lambda m: {"cell_tetrahedra": m.cell_tetrahedra[1:]}, r"cell_tetrahedra has shape \(31, 6, 4\)"),
        (lambda m: {"cell_tetrahedra": m.cell_tetrahedra + 1}, "must be in -1..7"),
        (lambda m: {"mounted": m.mounted.astype(int)}, "and bool"),
        (lambda m: {"mounted": m.mounted[1:]}, r"mounted has shape \(74,\)"),
        (lambda m: {"surface": m.surface[1:]}, "surface lacks 1 triangles"),
        (lambda m: {"surface": m.surface[:, ::-1]}, "surface triangle 0, of nodes .* looks inwards"),
        (lambda m: {"surface": np.vstack([m.surface, m.surface[:1]])}, "is there twice"),
        (lambda m: {"surface": np.vstack([m.surface, [[0, 1, 60]]])}, "is no face of the boundary"),
        (lambda m: {"surface": np.vstack([m.surface, [[0, 1, 75]]])}, r"surface at \(\d+, 2\) is 75"),
    ],
)
def test_arrays_that_cannot_be_are_refused_by_name(pad, change, problem):
    with pytest.raises(ValueError, match=problem):
        replace(pad, **change(pad))


def test_a_face_of_the_mount_is_no_part_of_the_surface(pad):
    glued = np.flatnonzero(pad.mounted)
    faces = [face for face in np.sort(pad.tetrahedra, axis=1)[:, 1:] if np.isin(face, glued).all()]
    assert faces
    with pytest.raises(ValueError, match=r"is no face of the boundary that is free|looks inwards"):
        replace(pad, surface=np.vstack([pad.surface, faces[:1]]))


@pytest.mark.parametrize(
    ("row", "local", "problem"),
    [
        ([0, 1, 2, 3, 0, 0, 0, 0], [0, 1, 2, -1], "-1 must stand in all four places"),
        ([0, 1, 2, 3, 0, 0, 0, 0], [-1, -1, -1, -1], "cell 0 has no tetrahedra"),
        ([0, 1, 2, 3, 4, 0, 0, 0], [0, 1, 2, 3], "cell 0 has node 4, which is in none of its tetrahedra"),
        ([0, 1, 2, 0, 0, 0, 0, 0], [0, 1, 2, 3], "cell 0 has a node twice"),
    ],
)
def test_cells_that_cannot_be_are_refused(row, local, problem):
    positions, cells, locals_, mounted = two_tetrahedra()
    mesh = build_mesh(positions, cells, locals_, mounted)
    cells, locals_ = np.array(mesh.cells), np.array(mesh.cell_tetrahedra)
    cells[0], locals_[0, 0] = row, local
    with pytest.raises(ValueError, match=problem):
        replace(mesh, cells=cells, cell_tetrahedra=locals_)


def test_a_mesh_in_a_file_is_the_same(tmp_path, pad):
    path = tmp_path / "pad.npz"
    save_gel_mesh(pad, path)
    save_gel_mesh(pad, path)  # over the one that is there
    again = load_gel_mesh(path)
    for name in ARRAYS:
        assert np.array_equal(getattr(again, name), getattr(pad, name))
    assert [file.name for file in tmp_path.iterdir()] == ["pad.npz"]


def test_files_without_a_mesh_are_refused_by_name(tmp_path, pad):
    path = tmp_path / "pad.npz"
    with pytest.raises(ValueError, match=r"pad.npz' does not exist"):
        load_gel_mesh(path)
    with pytest.raises(ValueError, match=r"must end in \.npz"):
        save_gel_mesh(pad, tmp_path / "pad")
    save_gel_mesh(pad, path)
    whole = path.read_bytes()
    for content in (b"", b"gel", whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="is truncated or no archive"):
            load_gel_mesh(path)
    np.savez(path, positions=pad.positions)
    with pytest.raises(ValueError, match="it lacks cells"):
        load_gel_mesh(path)
    arrays = {name: getattr(pad, name) for name in ARRAYS}
    np.savez(path, **arrays | {"positions": -pad.positions})
    with pytest.raises(ValueError, match=r"pad.npz' holds no valid mesh: inverted tetrahedron 0"):
        load_gel_mesh(path)
    np.savez(path, **arrays | {"positions": np.array([object()])})
    with pytest.raises(ValueError, match="Object arrays cannot be loaded"):
        load_gel_mesh(path)
