"""Signed distances: closed forms, gradients, adjoints, bounds, meshes from files, bad input."""

import functools

import numpy as np
import pytest
import trimesh

from pliant.envs.features.check import check_adjoint
from pliant.sims.runtime import float_type, numpy_type, ti
from pliant.sims.shapes.containers import Bowl, Cone, Cup, RingTank
from pliant.sims.shapes.mesh_distance import mesh_signed_distance
from pliant.sims.shapes.profile import Revolution
from pliant.sims.shapes.shapes import (
    Box,
    Capsule,
    Cylinder,
    HalfSpace,
    Mesh,
    Sphere,
    Torus,
    pack_shapes,
    shape_functions,
)


@functools.cache
def kernels(precision="f64"):
    fp = float_type(precision)
    functions = shape_functions(fp)
    array = ti.types.ndarray(fp, 1)
    points = ti.types.ndarray(fp, 2)

    @ti.kernel
    def distance(shapes: array, o: ti.i32, q: points, phi: array, normal: points):
        for p in range(q.shape[0]):
            phi_p, n = functions.distance(shapes, o, ti.Vector([q[p, 0], q[p, 1], q[p, 2]], dt=fp))
            phi[p] = phi_p
            for k in ti.static(range(3)):
                normal[p, k] = n[k]

    @ti.kernel
    def distance_adjoint(shapes: array, o: ti.i32, q: points, phi_bar: array, normal_bar: points, q_bar: points):
        for p in range(q.shape[0]):
            q_p = ti.Vector([q[p, 0], q[p, 1], q[p, 2]], dt=fp)
            n_bar = ti.Vector([normal_bar[p, 0], normal_bar[p, 1], normal_bar[p, 2]], dt=fp)
            result = functions.distance_adjoint(shapes, o, q_p, phi_bar[p], n_bar)
            for k in ti.static(range(3)):
                q_bar[p, k] = result[k]

    return distance, distance_adjoint


def evaluate(shapes, q, index=0, precision="f64"):
    """Distances and normals of the shape at ``index`` in a packed array."""
    dtype = numpy_type(precision)
    q = np.ascontiguousarray(q, dtype)
    phi, normal = np.empty(len(q), dtype), np.empty_like(q)
    kernels(precision)[0](pack_shapes(shapes).astype(dtype), 16 * index, q, phi, normal)
    return phi, normal


@pytest.fixture(scope="session")
def ball_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("meshes") / "ball.obj"
    trimesh.creation.icosphere(subdivisions=3, radius=50.0).export(path)  # millimetres
    return path


CLOSED = {
    "sphere": Sphere(0.05),
    "capsule": Capsule(0.03, 0.06),
    "torus": Torus(0.08, 0.02),
    "cylinder": Cylinder(0.04, 0.06),
    "box": Box((0.05, 0.03, 0.08)),
    "rounded box": Box((0.05, 0.03, 0.08), rounding=0.01),
    "half-space": HalfSpace(),
    "cup": Cup(0.05, 0.09, 0.02, 0.02, top_radius=0.07),
    "tube": Cup(0.05, 0.09, 0.02, 0.0, open_bottom=True),
    "cone": Cone(0.06, 0.09, 0.02),
    "bowl": Bowl(0.08, 0.02, depth=0.06),
    "ring tank": RingTank(0.03, 0.09, 0.07, 0.02, 0.02),
    "hourglass": Revolution([(0, -0.1), (0.06, -0.08), (0.01, 0.0), (0.06, 0.08), (0, 0.06)]),
}


@pytest.fixture
def shape(request, ball_file):
    return Mesh(ball_file, scale=1e-3, cells=16) if request.param == "mesh" else CLOSED[request.param]


@pytest.fixture(scope="module")
def points():
    return np.random.default_rng(4).uniform(-0.13, 0.13, (2000, 3))


def surface_points(shape, rng):
    """Points on the surface of a bounded solid: rays from interior points, bisected."""
    inside = rng.uniform(-0.1, 0.1, (4000, 3))
    inside = inside[shape.signed_distance(inside) < -1e-3]
    direction = rng.standard_normal(inside.shape)
    near, far = np.zeros(len(inside)), np.full(len(inside), 0.3)
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    for _ in range(50):
        middle = (near + far) / 2
        is_in = shape.signed_distance(inside + middle[:, None] * direction) < 0
        near, far = np.where(is_in, middle, near), np.where(is_in, far, middle)
    return inside + near[:, None] * direction


def test_closed_forms():
    """Hand-computed distances on the axes, edges and corners, inside and outside."""
    cases = [
        (Sphere(0.5), [0, 0.3, 0.4], 0.0),
        (Sphere(0.5), [0, 0, 0], -0.5),
        (Capsule(0.5, 1.0), [0, 0, 2], 0.5),
        (Capsule(0.5, 1.0), [0.2, 0, 0.7], -0.3),
        (Capsule(0.5, 1.0), [3, 0, 5], 4.5),
        (Torus(2.0, 0.5), [0, 0, 0], 1.5),
        (Torus(2.0, 0.5), [0, 2, 0.3], -0.2),
        (Torus(2.0, 0.5), [5, 0, 4], 4.5),
        (Cylinder(1.0, 2.0), [0, 0, 1.5], -0.5),
        (Cylinder(1.0, 2.0), [0.9, 0, 0], -0.1),
        (Cylinder(1.0, 2.0), [0, 4, 6], 5.0),
        (Box((1, 2, 3)), [0.5, 0, 0], -0.5),
        (Box((1, 2, 3)), [1.5, 0, 0], 0.5),
        (Box((1, 2, 3)), [3, 3, 5], 3.0),
        (Box((1, 2, 3), rounding=0.5), [1, 0, 0], 0.0),
        (Box((1, 2, 3), rounding=0.5), [3.5, 3.5, 8.5], 6.5),
        (HalfSpace(), [7, 8, -0.25], -0.25),
    ]
    for shape, point, expected in cases:
        assert shape.signed_distance(np.array([point], float))[0] == pytest.approx(expected, abs=1e-15), (shape, point)
        assert evaluate([shape], [point])[0][0] == pytest.approx(expected, abs=1e-15), (shape, point)


@pytest.mark.parametrize("precision", ["f32", "f64"])
@pytest.mark.parametrize("shape", [*CLOSED, "mesh"], indirect=True)
def test_kernels_agree_with_numpy(shape, precision, points):
    phi, normal = evaluate([shape], points, precision=precision)
    tolerance = 1e-6 if precision == "f32" else 1e-12
    np.testing.assert_allclose(phi, shape.signed_distance(points), atol=tolerance)
    gradient = shape.gradient(points)
    expected = gradient / np.linalg.norm(gradient, axis=1, keepdims=True)
    differs = np.abs(normal - expected).max(axis=1) > 1e3 * tolerance
    assert (
        differs.mean() < 0.003 if precision == "f32" else not differs.any()
    )  # f32 may fall on the other side of a ridge


@pytest.mark.parametrize("shape", [*CLOSED, "mesh"], indirect=True)
def test_gradient_is_that_of_the_distance(shape, points):
    h = 1e-6
    numeric = [
        (shape.signed_distance(points + h * e) - shape.signed_distance(points - h * e)) / (2 * h) for e in np.eye(3)
    ]
    off = np.abs(np.stack(numeric, axis=1) - shape.gradient(points)).max(axis=1)
    assert np.quantile(off, 0.99) < 1e-6  # a ridge of the distance may lie between the two points


@pytest.mark.parametrize("name", [name for name in CLOSED if name != "half-space"])
def test_distance_is_that_to_the_nearest_point_of_the_surface(name, points):
    shape = CLOSED[name]
    surface = surface_points(shape, np.random.default_rng(8))
    nearest = np.sqrt(((points[:200, None] - surface[None]) ** 2).sum(axis=2).min(axis=1))
    distance = np.abs(shape.signed_distance(points[:200]))
    assert np.all(distance < nearest + 1e-9)
    assert np.all(nearest < distance + 0.02)


@pytest.mark.parametrize("shape", [*CLOSED, "mesh"], indirect=True)
def test_distance_adjoint(shape, points):
    """Distances and normals inside, outside, and far outside the grid of the mesh."""
    apart = away_from_ridges(shape, points)
    inside = shape.signed_distance(apart) < 0
    chosen = np.concatenate([apart[inside][:60], apart[~inside][:90]])
    assert len(chosen) > 120
    check_distance_adjoint(shape, chosen)


@pytest.mark.parametrize("shape", [Sphere(0.05), Torus(0.06, 0.02)], ids=["sphere", "torus"])
def test_distance_adjoint_in_the_plane_of_symmetry(shape, points):
    """Where a tool starts on nodes: the distance is as smooth there as elsewhere."""
    flat = points * [1.0, 1.0, 0.0]
    check_distance_adjoint(shape, away_from_ridges(shape, flat)[:100])


def check_distance_adjoint(shape, q):
    packed = pack_shapes([shape])

    def forward(x):
        phi, normal = np.empty(len(x["q"])), np.empty_like(x["q"])
        kernels()[0](packed, 0, x["q"], phi, normal)
        return {"phi": phi, "normal": normal}

    def adjoint(x, c):
        q_bar = np.empty_like(x["q"])
        kernels()[1](packed, 0, x["q"], c["phi"], c["normal"], q_bar)
        return {"q": q_bar}

    check_adjoint(forward, adjoint, {"q": q}, directions={"q": 0.01}, steps=(1e-2, 1e-3, 1e-4))


def away_from_ridges(shape, points, radius=5e-4):
    """The points around which normals do not jump and second derivatives change smoothly."""
    offsets = np.random.default_rng(1).standard_normal((12, 3))
    offsets *= radius / np.linalg.norm(offsets, axis=1, keepdims=True)
    centre = shape.gradient(points)
    jump = np.max([np.linalg.norm(shape.gradient(points + d) - centre, axis=1) for d in offsets], axis=0)
    keep = jump < 0.1
    if isinstance(shape, Mesh):  # second derivatives jump where the spline changes its piece
        origin, spacing = shape.record()[4:7], shape.record()[7]
        xi = (points - origin) / spacing
        to_knot = np.abs((xi - 0.5) - np.round(xi - 0.5)).min(axis=1) * spacing
        keep &= to_knot > radius
    if isinstance(shape, (Capsule, Cylinder, Box)):
        extents = {
            Capsule: lambda s: [np.inf, np.inf, s.half_length],
            Cylinder: lambda s: [np.inf, np.inf, s.half_length],
            Box: lambda s: np.array(s.half_extents) - s.rounding,
        }[type(shape)](shape)
        keep &= np.abs(np.abs(points) - extents).min(axis=1) > radius
    if isinstance(shape, Revolution):  # second derivatives jump from edges to corners
        along, over, across = shape.segments.offsets(np.stack([np.hypot(*points.T[:2]), points[:, 2]], axis=1)[:, None])
        distance = np.hypot(over, across)
        to_end = np.minimum(np.abs(along), np.abs(along - shape.segments.length))
        keep &= np.where(distance < distance.min(axis=1, keepdims=True) + 2 * radius, to_end, 1.0).min(axis=1) > radius
    if isinstance(shape, Cylinder):
        keep &= np.abs(np.hypot(points[:, 0], points[:, 1]) - shape.radius) > radius
    return points[keep]


def test_a_turned_and_moved_capsule(points):
    """World points go into the local frame: distances to a capsule lying along x."""
    R = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])  # local z -> world x
    centre = np.array([0.02, -0.01, 0.03])
    phi, normal = evaluate([Capsule(0.03, 0.06)], (points - centre) @ R)
    r = points - centre
    axis_point = np.clip(r[:, 0], -0.06, 0.06)[:, None] * [1.0, 0.0, 0.0]
    np.testing.assert_allclose(phi, np.linalg.norm(r - axis_point, axis=1) - 0.03, atol=1e-15)
    expected = (r - axis_point) / np.linalg.norm(r - axis_point, axis=1, keepdims=True)
    np.testing.assert_allclose(normal @ R.T, expected, atol=1e-12)


@pytest.mark.parametrize("shape", [name for name in [*CLOSED, "mesh"] if name != "half-space"], indirect=True)
def test_bounding_radius_holds_the_solid(shape, points):
    outside = np.linalg.norm(points, axis=1) > shape.bounding_radius
    assert np.all(shape.signed_distance(points[outside]) > -1e-4)
    surface = surface_points(shape, np.random.default_rng(8))
    assert np.linalg.norm(surface, axis=1).max() > 0.93 * shape.bounding_radius


def test_half_space_is_unbounded():
    assert HalfSpace().bounding_radius == np.inf


def test_degenerate_points_have_unit_normals():
    """Centre of a ball, axis of a capsule, circle of a torus, centre of a box."""
    for shape, point in [
        (CLOSED["cup"], [0, 0, 0.03]),
        (CLOSED["cup"], [1e-12, 0, 0.03]),
        (CLOSED["cup"], CLOSED["cup"].profile[0] + (0,)),
        (CLOSED["cone"], [0, 0, CLOSED["cone"].floor]),
        (Sphere(0.1), [0, 0, 0]),
        (Capsule(0.1, 0.2), [0, 0, 0.1]),
        (Torus(0.1, 0.02), [0.1, 0, 0]),
        (Torus(0.1, 0.02), [0, 0, 0]),
        (Cylinder(0.1, 0.1), [0, 0, 0]),
        (Box((0.1, 0.1, 0.1)), [0, 0, 0]),
    ]:
        _phi, normal = evaluate([shape], [point])
        assert np.linalg.norm(normal) == pytest.approx(1.0), shape
        np.testing.assert_allclose(normal, shape.gradient(np.array([point], float)), err_msg=str(shape))
        q_bar = np.empty((1, 3))
        kernels()[1](pack_shapes([shape]), 0, np.array([point], float), np.ones(1), np.ones((1, 3)), q_bar)
        assert np.isfinite(q_bar).all(), shape


@pytest.mark.parametrize("shape", [*CLOSED, "mesh"], indirect=True)
def test_a_point_that_is_not_a_number_has_no_distance(shape):
    phi, _normal = evaluate([shape], np.full((1, 3), np.nan))
    assert np.isnan(phi[0])


def test_several_shapes_share_one_array(ball_file, points):
    """Records stay valid beside each other, with two meshes, and behind other data."""
    shapes = [
        Mesh(ball_file, scale=1e-3, cells=8),
        Box((0.05, 0.03, 0.08)),
        Mesh(ball_file, scale=5e-4, cells=12),
        HalfSpace(),
    ]
    packed = pack_shapes(shapes)
    np.testing.assert_allclose(packed[64:67], [shape.bounding_radius for shape in shapes[:3]])
    assert np.isfinite(packed).all()
    for j, shape in enumerate(shapes):
        phi, normal = np.empty(len(points)), np.empty_like(points)
        kernels()[0](np.concatenate([np.full(7, np.nan), packed]), 7 + 16 * j, points, phi, normal)
        np.testing.assert_allclose(phi, shape.signed_distance(points), atol=1e-12)


def test_mesh_of_a_ball_is_a_ball(ball_file, points):
    """Within the error of 1280 flat triangles (0.3 mm) and of the grid; beyond the grid never too close."""
    mesh = Mesh(ball_file, scale=1e-3)
    exact = Sphere(0.05)
    is_near = np.abs(exact.signed_distance(points)) < 0.01
    distance = mesh.signed_distance(points)
    np.testing.assert_allclose(distance[is_near], exact.signed_distance(points[is_near]), atol=4e-4)
    normal = evaluate([mesh], points[is_near])[1]
    assert (normal * exact.gradient(points[is_near])).sum(axis=1).min() > 0.995
    assert np.all(distance > exact.signed_distance(points) - 1e-3)


def test_mesh_distance_converges_to_that_of_the_triangles(ball_file, points):
    near = points[np.abs(Sphere(0.05).signed_distance(points)) < 0.005]
    ball = trimesh.load(ball_file, force="mesh")
    exact = mesh_signed_distance(np.array(ball.vertices) * 1e-3, np.array(ball.faces), near)
    errors = [
        np.abs(Mesh(ball_file, scale=1e-3, cells=cells).signed_distance(near) - exact).max() for cells in (5, 11, 24)
    ]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 2e-4


@pytest.mark.parametrize("make", ["annulus", "box", "cone"])
def test_signed_distance_of_triangles_with_sharp_edges_and_holes(make):
    """Against trimesh's own query, whose sign comes from another method."""
    mesh = {
        "annulus": lambda: trimesh.creation.annulus(0.02, 0.05, 0.03),
        "box": lambda: trimesh.creation.box((0.1, 0.06, 0.02)),
        "cone": lambda: trimesh.creation.cone(0.03, 0.08),
    }[make]()
    points = np.random.default_rng(3).uniform(-0.08, 0.1, (1000, 3))
    expected = -trimesh.proximity.signed_distance(mesh, points)
    distance = mesh_signed_distance(np.array(mesh.vertices), np.array(mesh.faces), points)
    np.testing.assert_allclose(distance, expected, atol=2e-5)  # trimesh picks among near-ties within 1e-5


def test_inside_out_mesh_is_turned(tmp_path):
    ball = trimesh.creation.icosphere(subdivisions=2, radius=0.05)
    ball.invert()
    ball.export(tmp_path / "inverted.ply")
    assert Mesh(tmp_path / "inverted.ply", cells=8).signed_distance(np.zeros((1, 3)))[0] < -0.04


def broken_files(folder):
    open_ball = trimesh.creation.icosphere(subdivisions=1)
    open_ball.update_faces(np.arange(len(open_ball.faces)) > 3)
    open_ball.export(folder / "open.obj")
    (folder / "empty.obj").write_text("")
    (folder / "points.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\n")
    (folder / "noise.stl").write_bytes(bytes(range(256)) * 3)
    (folder / "unknown.xyzw").write_text("nothing")
    (folder / "nan.obj").write_text("v nan 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nf 1 2 3\nf 1 4 2\nf 1 3 4\nf 2 4 3\n")
    (folder / "flat.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\nf 1 3 2\n")


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("missing.obj", "does not exist"),
        ("open.obj", "not watertight"),
        ("empty.obj", "cannot be read|no triangles"),
        ("points.obj", "cannot be read|no triangles"),
        ("noise.stl", "cannot be read|no triangles"),
        ("unknown.xyzw", "cannot be read|no triangles"),
        ("nan.obj", "not finite|not watertight"),
        ("flat.obj", "no volume|not watertight"),
    ],
)
def test_broken_mesh_file_is_named_with_its_problem(tmp_path, name, problem):
    broken_files(tmp_path)
    with pytest.raises(ValueError, match=f"{name}.*({problem})"):
        Mesh(tmp_path / name)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Sphere(0.0), "Sphere: radius=0.0"),
        (lambda: Sphere(float("nan")), "Sphere: radius=nan"),
        (lambda: Sphere("big"), "Sphere: radius='big'"),
        (lambda: Capsule(0.1, -1.0), "Capsule: half_length=-1.0"),
        (lambda: Cylinder(float("inf"), 1.0), "Cylinder: radius=inf"),
        (lambda: Torus(0.1, 0.2), "Torus: minor_radius=0.2"),
        (lambda: Box((1.0, 2.0)), "Box: half_extents"),
        (lambda: Box((1.0, 2.0, 0.0)), "Box: half_extents"),
        (lambda: Box((1.0, 2.0, 3.0), rounding=1.5), "Box: rounding=1.5"),
        (lambda: Mesh("x.obj", cells=2), "Mesh: cells=2"),
        (lambda: Mesh("x.obj", cells=8.5), "Mesh: cells=8.5"),
        (lambda: Mesh("x.obj", scale=0.0), "Mesh: scale=0.0"),
        (lambda: Mesh("x.obj", margin=-0.1), "Mesh: margin=-0.1"),
        (lambda: Sphere(1.0).signed_distance(np.zeros(3)), "points has shape"),
    ],
)
def test_bad_sizes_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
