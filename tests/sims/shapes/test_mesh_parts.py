"""Meshes of several parts: inside out, overlapping, nested, hollow, touching; and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from pliant.sims.shapes.mesh_distance import mesh_signed_distance
from pliant.sims.shapes.mesh_parts import load_mesh
from pliant.sims.shapes.shapes import Mesh


def box(size, centre=(0, 0, 0), turned=False):
    mesh = trimesh.creation.box(size)
    mesh.apply_transform(trimesh.transformations.euler_matrix(0.1, 0.2, 0.3))
    mesh.apply_translation(centre)
    if turned:
        mesh.invert()
    return mesh


def ball(radius, centre=(0, 0, 0), turned=False):
    mesh = trimesh.creation.icosphere(subdivisions=2, radius=radius)
    mesh.apply_translation(centre)
    if turned:
        mesh.invert()
    return mesh


def inside(mesh, points):
    """By the winding number: solid angles of all triangles, summed (Van Oosterom and Strackee 1983)."""
    a, b, c = (mesh.vertices[mesh.faces[:, k]][None] - points[:, None] for k in range(3))
    la, lb, lc = (np.linalg.norm(x, axis=2) for x in (a, b, c))
    volume = np.einsum("pfd,pfd->pf", a, np.cross(b, c))
    dots = [np.einsum("pfd,pfd->pf", x, y) for x, y in ((a, b), (b, c), (c, a))]
    angle = 2 * np.arctan2(volume, la * lb * lc + dots[0] * lc + dots[1] * la + dots[2] * lb)
    return np.abs(angle.sum(axis=1)) > 2 * np.pi


BIG, SMALL = (0.06, 0.05, 0.04), (0.03, 0.02, 0.025)
APART, OVERLAPPING, WITHIN = (0.08, 0.01, 0.0), (0.03, 0.012, 0.01), (0.004, 0.003, 0.002)

CASES = {  # parts of the file, and which of them are cavities of the first
    "apart": ([box(BIG), box(SMALL, APART)], []),
    "the smaller inside out": ([box(BIG), box(SMALL, APART, True)], []),
    "the larger inside out": ([box(BIG, turned=True), box(SMALL, APART)], []),
    "all inside out": ([box(BIG, turned=True), box(SMALL, APART, True)], []),
    "overlapping": ([box(BIG), box(SMALL, OVERLAPPING)], []),
    "overlapping, one inside out": ([box(BIG, turned=True), box(SMALL, OVERLAPPING)], []),
    "a solid within a solid": ([box(BIG), box(SMALL, WITHIN)], []),
    "all of it inside out": ([box(BIG, turned=True), box(SMALL, WITHIN, True)], []),
    "hollow": ([box(BIG), ball(0.015, WITHIN, True)], [1]),
    "hollow, inside out": ([box(BIG, turned=True), ball(0.015, WITHIN)], [1]),
    "a ball in a hollow box": ([box(BIG), ball(0.017, turned=True), ball(0.01)], [1]),
    "an inside-out ball in a hollow box": ([box(BIG), ball(0.017, turned=True), ball(0.01, turned=True)], [1]),
    "two cavities": ([box(BIG), ball(0.01, (0.015, 0, 0), True), ball(0.008, (-0.012, 0, 0), True)], [1, 2]),
    "three that overlap": ([box(BIG), ball(0.03, (0.03, 0, 0)), ball(0.03, (0, 0.03, 0), True)], []),
    "a cavity that another solid reaches into": ([box(BIG), ball(0.017, turned=True), box((0.1, 0.01, 0.01))], [1]),
}


@pytest.mark.parametrize("kind", ["stl", "obj", "glb"])
@pytest.mark.parametrize("case", CASES)
def test_signs_are_those_of_the_union_of_the_parts(case, kind, tmp_path):
    parts, hollow = CASES[case]
    file = tmp_path / f"parts.{kind}"
    scene = trimesh.Scene(parts) if kind == "glb" else trimesh.util.concatenate(parts)
    scene.export(file)
    vertices, faces, body = load_mesh(file)
    low, high = vertices.min(axis=0) - 0.003, vertices.max(axis=0) + 0.003
    points = np.random.default_rng(0).uniform(low, high, (2000, 3))
    wanted = inside(parts[0], points)
    for number in hollow:
        wanted &= ~inside(parts[number], points)
    for number in set(range(1, len(parts))) - set(hollow):
        wanted |= inside(parts[number], points)
    distance = mesh_signed_distance(vertices, faces, points, body)
    off = np.abs(distance) > 1e-7
    assert 100 < wanted.sum() < 1900 and ((distance < 0) == wanted)[off].all()
    if case not in ("a cavity that another solid reaches into", "a solid within a solid", "all of it inside out"):
        # outside, the distance is that from all triangles; files of one body have no surface that does not count
        everything = trimesh.util.concatenate(parts)
        exact = np.abs(mesh_signed_distance(everything.vertices, everything.faces, points))
        checked = ~wanted if case.startswith(("over", "three")) else np.ones(len(points), bool)
        np.testing.assert_allclose(np.abs(distance[checked]), exact[checked], atol=2e-8)


def test_the_file_of_two_boxes_has_right_signs_on_the_grid_that_contact_sees(tmp_path):
    parts = CASES["the smaller inside out"][0]
    trimesh.util.concatenate(parts).export(tmp_path / "two.stl")
    mesh = Mesh(tmp_path / "two.stl")
    x, y, z = np.meshgrid(np.linspace(-0.04, 0.11, 31), np.linspace(-0.04, 0.04, 17), np.linspace(-0.03, 0.03, 13))
    points = np.stack([x, y, z], axis=-1).reshape(-1, 3)
    distance = mesh.signed_distance(points)
    wanted = inside(parts[0], points) | inside(parts[1], points)
    clear = np.abs(distance) > 0.002
    assert wanted.sum() > 300 and ((distance < 0) == wanted)[clear].all()


def test_a_mesh_with_some_faces_turned_is_wound_one_way(tmp_path):
    mesh = ball(0.03)
    mesh.faces[::3] = mesh.faces[::3, ::-1]
    mesh.export(tmp_path / "mixed.obj")
    vertices, faces, body = load_mesh(tmp_path / "mixed.obj")
    points = np.random.default_rng(0).uniform(-0.05, 0.05, (500, 3))
    sign = mesh_signed_distance(vertices, faces, points, body) < 0
    np.testing.assert_array_equal(sign, inside(ball(0.03), points))


@pytest.mark.parametrize(("kind", "shift"), [("obj", 0.06), ("obj", 0.03), ("stl", 0.03)])
def test_boxes_that_touch_or_share_planes_are_united(kind, shift, tmp_path):
    """Face to face with the same triangles, and overlapping with four faces in one plane each."""
    size = (0.06, 0.05, 0.04)
    parts = [trimesh.creation.box(size), trimesh.creation.box(size)]
    parts[1].apply_translation((shift, 0, 0))
    trimesh.util.concatenate(parts).export(tmp_path / f"touch.{kind}")
    vertices, faces, body = load_mesh(tmp_path / f"touch.{kind}")
    points = np.random.default_rng(1).uniform(-0.05, 0.11, (3000, 3))
    wanted = inside(parts[0], points) | inside(parts[1], points)
    distance = mesh_signed_distance(vertices, faces, points, body)
    assert ((distance < 0) == wanted)[np.abs(distance) > 1e-7].all()


def test_parts_that_share_edges_in_a_file_without_vertices_are_refused(tmp_path):
    parts = [trimesh.creation.box((0.06, 0.05, 0.04)) for _ in range(2)]
    parts[1].apply_translation((0.06, 0, 0))
    trimesh.util.concatenate(parts).export(tmp_path / "touch.stl")
    with pytest.raises(ValueError, match=r"4 edges do not join two triangles, one .* joins 4.*unite parts that share"):
        load_mesh(tmp_path / "touch.stl")


def test_faces_that_stand_twice_count_once(tmp_path):
    mesh = ball(0.03)
    for name, extra in (("same", mesh.faces), ("turned", mesh.faces[:, ::-1]), ("some", mesh.faces[:5])):
        double = trimesh.Trimesh(mesh.vertices, np.concatenate([mesh.faces, extra]), process=False)
        double.export(tmp_path / f"{name}.obj")
        vertices, faces, body = load_mesh(tmp_path / f"{name}.obj")
        assert len(faces) == len(mesh.faces)
        assert mesh_signed_distance(vertices, faces, np.zeros((1, 3)), body)[0] < -0.02


def test_triangles_without_area_are_left_out_where_nothing_depends_on_them(tmp_path):
    mesh = ball(0.03)
    flat = np.array([[0, 0, 1], [2, 2, 2]])
    trimesh.Trimesh(mesh.vertices, np.concatenate([mesh.faces, flat]), process=False).export(tmp_path / "flat.obj")
    assert len(load_mesh(tmp_path / "flat.obj")[1]) == len(mesh.faces)


def spiked():
    """A ball one of whose corners is pulled out through the other side."""
    mesh = ball(0.03)
    far = mesh.vertices[:, 2].argmax()
    vertices = mesh.vertices.copy()
    vertices[far] = (0.001, 0.002, -0.05)
    return trimesh.Trimesh(vertices, mesh.faces, process=False)


def klein_bottle():
    u, v = np.meshgrid(np.arange(24), np.arange(12), indexing="ij")
    a, b = 2 * np.pi * u / 24, 2 * np.pi * v / 12
    r = 2 + np.cos(a / 2) * np.sin(b) - np.sin(a / 2) * np.sin(2 * b)
    x = np.stack([r * np.cos(a), r * np.sin(a), np.sin(a / 2) * np.sin(b) + np.cos(a / 2) * np.sin(2 * b)], -1)

    def number(i, j):
        return np.where(i == 24, (12 - j) % 12, i * 12 + j % 12)

    corners = [number(u, v), number(u + 1, v), number(u + 1, v + 1), number(u, v + 1)]
    p, q, r, s = (c.ravel() for c in corners)
    return trimesh.Trimesh(
        x.reshape(-1, 3), np.concatenate([np.stack([p, q, r], 1), np.stack([p, r, s], 1)]), process=False
    )


def open_ball():
    mesh = ball(0.03)
    return trimesh.Trimesh(mesh.vertices, mesh.faces[3:], process=False)


REFUSED = {
    "a hole": (open_ball, r"is not watertight: \d+ edges do not join two triangles, one near .* joins 1"),
    "one part of two open": (lambda: trimesh.util.concatenate([box(BIG, APART), open_ball()]), "is not watertight"),
    "crossing itself": (spiked, r"crosses itself near \[.*\]: what is inside is not clear"),
    "one side": (klein_bottle, "has a part with one side only|crosses itself"),
    "crossing cavities": (
        lambda: trimesh.util.concatenate(
            [box(BIG), ball(0.01, (0.004, 0, 0), True), ball(0.01, (-0.004, 0.001, 0.002), True)]
        ),
        "has cavities that cross each other near",
    ),
    "a point": (lambda: trimesh.Trimesh(np.ones((4, 3)), [[0, 1, 2], [0, 2, 3]], process=False), "encloses no volume"),
    "flat": (
        lambda: trimesh.Trimesh([[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]],
                                [[0, 1, 2], [0, 2, 3], [0, 3, 1], [1, 3, 2]], process=False),
        "encloses no volume",
    ),
    "only slivers": (
        lambda: trimesh.Trimesh([[0, 0, 0], [1, 0, 0], [2, 0, 0]], [[0, 1, 2]], process=False),
        "no triangle has an area",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_has_no_clear_inside_is_refused_with_the_reason(case, tmp_path):
    make, message = REFUSED[case]
    make().export(tmp_path / "bad.obj")
    with pytest.raises(ValueError, match=f"bad.obj.*({message})"):
        load_mesh(tmp_path / "bad.obj")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("not.stl", b"this is no mesh at all", "cannot be read|no triangles"),
        ("not.glb", b"\x00\x01\x02", "cannot be read"),
        ("not.obj", b"\xff\xfe" * 100, "cannot be read|no triangles"),
        ("cut.stl", b"\x00" * 80 + b"\xff\xff\xff\xff" + b"\x00" * 50, "cannot be read|no triangles"),
        ("far.obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 9\n", "cannot be read|does not have|no triangles"),
        ("line.obj", b"v 0 0 0\nv 1 0 0\nl 1 2\n", "cannot be read|no triangles"),
        ("inf.obj", b"v inf 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nf 1 2 3\nf 1 4 2\nf 1 3 4\nf 2 4 3\n", "not finite"),
    ],
)
def test_files_that_hold_no_mesh_are_refused(name, text, message, tmp_path):
    (tmp_path / name).write_bytes(text)
    with pytest.raises(ValueError, match=f"{name}.*({message})"):
        load_mesh(tmp_path / name)


def test_paths_and_sizes_that_cannot_be_are_refused(tmp_path):
    box(BIG).export(tmp_path / "box.stl")
    for path in (None, 3, [str(tmp_path / "box.stl")]):
        with pytest.raises(ValueError, match="must be the path of a mesh file"):
            Mesh(path)
    for scale in (0.0, -1.0, np.nan, np.inf, "1", True):
        with pytest.raises(ValueError, match=r"Mesh: scale=.* must be a finite number > 0"):
            Mesh(tmp_path / "box.stl", scale=scale)
    for scale in (1e12, 1e-12, 1e300):
        with pytest.raises(ValueError, match=r"box.stl' is .* m long at scale=.*; allowed: 1e-06 to 1e\+06 m"):
            Mesh(tmp_path / "box.stl", scale=scale)
    with pytest.raises(ValueError, match=r"cells=128 and margin=3.0 m make .* samples, more than 16777216"):
        Mesh(tmp_path / "box.stl", cells=128, margin=3.0).signed_distance(np.zeros((1, 3)))
