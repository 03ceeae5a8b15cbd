"""Every pair of a forward and an adjoint function of rods against central differences, in float64."""

import functools

import numpy as np
import pytest
from adjoint import check_adjoint
from rod_scenes import branched_scene, moves, random_point, rod_world, roll_out
from small_scenes import reverse

from pliant.sims.robot.effector import Effector
from pliant.sims.robot.shapes import HalfSpace, Sphere
from pliant.sims.rod import state as at
from pliant.sims.rod.clamps import clamp_functions
from pliant.sims.rod.contact import rod_contact_functions
from pliant.sims.rod.energies import joint_functions
from pliant.sims.rod.linear import tree_functions
from pliant.sims.rod.scene import Grip, Rod, RodScene
from pliant.sims.runtime import ti
from pliant.sims.solver import Memory

FLOATS = ti.types.ndarray(ti.f64, 1)
INTEGERS = ti.types.ndarray(ti.i32, 1)
VEC3 = ti.types.vector(3, ti.f64)
STEPS = (1e-2, 1e-3, 1e-4, 1e-5)


@pytest.fixture(scope="module")
def gripped():
    """A rod in two grippers, on a floor and a ball."""
    world = rod_world(branched_scene("gripped"))
    yield world
    world.close()


# ---------------------------------------------------------------------- a joint


@functools.cache
def joint_kernels():
    """A joint's strains, and first and second derivatives of their weighted sum, as functions of both edges and of the
    angles by which its frames are turned from those carried along from the first edges and frames (rows of ``start``)."""
    joint = joint_functions(ti.f64)

    @ti.func
    def row(a: ti.template(), k):
        return VEC3(a[3 * k], a[3 * k + 1], a[3 * k + 2])

    @ti.func
    def frame(e, e0, m0, angle):
        t = e.normalized()
        return t, joint.turn(t, joint.transport(e0.normalized(), t, m0), angle)

    @ti.func
    def write(a: ti.template(), k, v):
        for d in ti.static(range(3)):
            a[3 * k + d] = v[d]

    @ti.kernel
    def strains(start: FLOATS, edges: FLOATS, angles: FLOATS, out: FLOATS):
        for _ in range(1):
            t, m = frame(row(edges, 0), row(start, 0), row(start, 2), angles[0])
            u, n = frame(row(edges, 1), row(start, 1), row(start, 3), angles[1])
            write(out, 0, joint.strains(t, u, m, n))

    @ti.kernel
    def slopes(start: FLOATS, edges: FLOATS, angles: FLOATS, w: FLOATS, by_edges: FLOATS, by_angles: FLOATS):
        for _ in range(1):
            e, f = row(edges, 0), row(edges, 1)
            t, m = frame(e, row(start, 0), row(start, 2), angles[0])
            by_e, by_f, turn_e, turn_f = joint.slopes(t, f.normalized(), m, e.norm(), f.norm(), row(w, 0))
            write(by_edges, 0, by_e)
            write(by_edges, 1, by_f)
            by_angles[0] = turn_e
            by_angles[1] = turn_f

    @ti.kernel
    def bends(start: FLOATS, w: FLOATS, blocks: FLOATS):
        for _ in range(1):
            e, f = row(start, 0), row(start, 1)
            ee, ff, ef, by_e, by_f, corner = joint.bends(
                e.normalized(), f.normalized(), row(start, 2), e.norm(), f.norm(), row(w, 0)
            )
            for i in ti.static(range(3)):
                for j in ti.static(range(3)):
                    blocks[3 * i + j] = ee[i, j]
                    blocks[9 + 3 * i + j] = ff[i, j]
                    blocks[18 + 3 * i + j] = ef[i, j]
            write(blocks, 9, by_e)
            write(blocks, 10, by_f)
            blocks[33] = corner

    return strains, slopes, bends


def joint_start(bend):
    """Edges and frames of a joint that is bent by about ``bend`` and twisted, shape (4, 3)."""
    rng = np.random.default_rng(2)
    e = np.array([0.4, 0.3, -0.2])
    f = 1.5 * (e + bend * rng.standard_normal(3) * 0.5)
    directors = [np.cross(edge, rng.standard_normal(3)) for edge in (e, f)]
    return np.stack([e, f, *(m / np.linalg.norm(m) for m in directors)])


@pytest.mark.parametrize("bend", [0.0, 0.1, 1.0, 3.0])
def test_slopes_are_the_derivatives_of_strains(bend):
    strains, slopes, _ = joint_kernels()
    start = joint_start(bend)

    def forward(x):
        out = np.empty(3)
        strains(start.ravel(), x["edges"].ravel(), x["angles"], out)
        return {"strains": out}

    def adjoint(x, c):
        by_edges, by_angles = np.empty(6), np.empty(2)
        slopes(start.ravel(), x["edges"].ravel(), x["angles"], c["strains"], by_edges, by_angles)
        return {"edges": by_edges, "angles": by_angles}

    point = {"edges": start[:2], "angles": np.zeros(2)}
    check_adjoint(forward, adjoint, point, directions={"edges": np.full((2, 3), 0.3)}, trials=3)


@pytest.mark.parametrize("bend", [0.0, 0.1, 1.0, 3.0])
@pytest.mark.parametrize("weights", [(1.0, 0, 0), (0, 1.0, 0), (0, 0, 1.0), (0.5, -0.7, 0.9)])
def test_bends_are_the_second_derivatives_of_strains(weights, bend):
    """Slopes count from frames that are carried on from where an edge is now. Carried there and on instead of straight
    on, a frame is turned by the area of a spherical triangle, t.(de x de')/(2 eps^2): that much times the moment is the
    difference between the derivative of slopes and the symmetric second derivative."""
    _, slopes, bends = joint_kernels()
    start, w = joint_start(bend), np.array(weights)
    t, eps = start[:2] / np.linalg.norm(start[:2], axis=1)[:, None], np.linalg.norm(start[:2], axis=1)

    def forward(x):
        by_edges, by_angles = np.empty(6), np.empty(2)
        slopes(start.ravel(), x["edges"].ravel(), x["angles"], w, by_edges, by_angles)
        return {"by_edges": by_edges.reshape(2, 3), "by_angles": by_angles}

    moment = forward({"edges": start[:2], "angles": np.zeros(2)})["by_angles"]

    def adjoint(x, c):
        blocks = np.empty(34)
        bends(start.ravel(), w, blocks)
        ee, ff, ef = blocks[:27].reshape(3, 3, 3)
        by_e, by_f, corner = blocks[27:30], blocks[30:33], blocks[33]
        a, turned = c["by_edges"], c["by_angles"][0]
        area = moment[:, None] * np.cross(t, a) / (2 * eps[:, None] ** 2)
        return {
            "edges": np.stack([ee @ a[0] + ef @ a[1] + by_e * turned, ef.T @ a[0] + ff @ a[1] + by_f * turned]) - area,
            "angles": np.array([by_e @ a[0] + by_f @ a[1] + corner * turned, 0.0]),
        }

    point = {"edges": start[:2], "angles": np.zeros(2)}
    check_adjoint(forward, adjoint, point, directions={"edges": np.full((2, 3), 0.3)})


# ---------------------------------------------------------------------- contact and clamps


ARRAYS = (
    *("frames", "adjoint", "parameters", "parameter_adjoint", "controls", "control_adjoint", "outputs"),
    *("output_adjoint", "constants", "scratch", "integers"),
)


def memory_of(*arrays):
    """A World's memory from its ``ARRAYS``; rods have no grid."""
    return Memory(**{**dict.fromkeys(Memory._fields), **dict(zip(ARRAYS, arrays, strict=True))})


@functools.cache
def world_kernels(shape_kinds):
    """On the arrays of a World, world 0 and frame 0: ``push`` (force of effector j on a vertex that moves from x[0] to
    x[1], the potential, what stiffness and ``push_adjoint`` make of the cotangent a) and ``hold`` (where held node i goes
    from x in a substep and its director; what their adjoints make of x_bar and m_bar)."""
    contact = rod_contact_functions(ti.f64, shape_kinds)
    clamps = clamp_functions(ti.f64, True)

    @ti.func
    def row(a: ti.template(), k):
        return VEC3(a[3 * k], a[3 * k + 1], a[3 * k + 2])

    @ti.func
    def write(a: ti.template(), k, v):
        for d in ti.static(range(3)):
            a[3 * k + d] = v[d]

    @ti.kernel
    def push(
        f0: FLOATS, f1: FLOATS, f2: FLOATS, f3: FLOATS, f4: FLOATS, f5: FLOATS, f6: FLOATS, f7: FLOATS, f8: FLOATS,
        f9: FLOATS, integers: INTEGERS, j: ti.i32, x: FLOATS, a: FLOATS, out: FLOATS, bars: FLOATS,
    ):  # fmt: skip
        mem = ti.static(memory_of(f0, f1, f2, f3, f4, f5, f6, f7, f8, f9, integers))
        for _ in range(1):
            force, stiffness = contact.push(mem, 0, 0, j, row(x, 0), row(x, 1))
            write(out, 0, force)
            out[3] = contact.potential(mem, 0, 0, j, row(x, 0), row(x, 1))
            write(bars, 0, contact.push_adjoint(mem, 0, 0, j, row(x, 0), row(x, 1), row(a, 0)))
            write(bars, 1, -stiffness @ row(a, 0))

    @ti.kernel
    def hold(
        f0: FLOATS, f1: FLOATS, f2: FLOATS, f3: FLOATS, f4: FLOATS, f5: FLOATS, f6: FLOATS, f7: FLOATS, f8: FLOATS,
        f9: FLOATS, integers: INTEGERS, i: ti.i32, substep: ti.i32, x: FLOATS, a: FLOATS, out: FLOATS, bars: FLOATS,
    ):  # fmt: skip
        mem = ti.static(memory_of(f0, f1, f2, f3, f4, f5, f6, f7, f8, f9, integers))
        for _ in range(1):
            write(out, 0, clamps.target(mem, 0, 0, i, row(x, 0), substep))
            write(bars, 0, clamps.target_adjoint(mem, 0, 0, i, substep, row(a, 0)))
            if clamps.turns_with_effector(mem, i):
                write(out, 1, clamps.held_director(mem, 0, i))
                clamps.held_director_adjoint(mem, 0, 0, i, row(a, 1))

    return push, hold


class OnWorld:
    """``world_kernels`` on the memory of a World, as forward and adjoint of everything that they depend on."""

    names = ("effector_position", "effector_orientation", "effector_friction", "contact_stiffness")

    def __init__(self, world):
        self.world, self.memory = world, world._memory
        kinds = world._parts[-1].shape_kinds
        self.push, self.hold = world_kernels(kinds)
        self.arrays = [getattr(self.memory, "live" if name == "frames" else name).device_array for name in ARRAYS]

    def point(self, x):
        w = self.world
        w.reset()
        rng = np.random.default_rng(5)
        poses = {name: w.state(name) for name in self.names[:2]}
        parameters = {name: w.parameter(name) for name in self.names[2:]}
        return {"x": x, "controls": 0.3 * rng.standard_normal(w.control_size), **poses, **parameters}

    def call(self, kernel, numbers, x, a, outputs):
        """What ``kernel`` writes at the point x, and cotangents by name of a."""
        w, m = self.world, self.memory
        for name in self.names:
            (w.set_state if name in w.state_names else w.set_parameter)(name, x[name])
        m.controls.view()[:] = x["controls"]
        for name in ("adjoint", "parameter_adjoint", "control_adjoint"):
            getattr(m, name).fill(0)
        out, bars = np.zeros(outputs), np.zeros(6)
        kernel(*self.arrays, *numbers, x["x"].ravel(), a, out, bars)
        found = {name: w.state_adjoint(name) for name in self.names[:2]}
        found |= {name: w.parameter_adjoint(name) for name in self.names[2:]}
        return out, {"x": bars[: x["x"].size], "controls": m.control_adjoint.view().copy(), **found}


def contacts(world):
    """Vertices before and after a substep that touch the floor (effector 2) and the ball (3): sliding along the surface
    within the onset of contact, deep inside, coming in, leaving."""
    radius = world.scene.rod.radius
    along, normal = np.array([4e-3, -2e-3, 0.0]), np.array([0.0, 0.0, 1.0])
    floor, ball = world.scene.effectors[2:]
    at_floor = np.array([0.1, 0.05, floor.pose[2] + radius])
    at_ball = ball.pose[:3] + np.array([0.0, 0.0, ball.shape.radius + radius])
    for j, place in ((2, at_floor), (3, at_ball)):
        for before, after in ((0.2, -0.3), (-2.5, -3.0), (0.3, -2.0), (-1.5, 1.5)):
            yield j, np.stack([place + radius * before * normal, place + radius * after * normal + along])


def test_push_adjoint(gripped):
    """push_adjoint and the stiffness of contact, for all that a push depends on."""
    on = OnWorld(gripped)
    for j, x in contacts(gripped):
        point = on.point(x)

        def forward(x, j=j):
            return {"force": on.call(on.push, (j,), x, np.zeros(3), 4)[0][:3]}

        def adjoint(x, c, j=j):
            return on.call(on.push, (j,), x, c["force"], 4)[1]

        assert np.linalg.norm(forward(point)["force"]) > 0
        directions = {"x": np.full((2, 3), 1e-3), "effector_position": np.full((1, 4, 3), 1e-3)}
        check_adjoint(forward, adjoint, point, directions=directions, trials=1)


def test_pushes_derive_from_their_potential(gripped):
    on = OnWorld(gripped)
    for j, x in contacts(gripped):

        def forward(x, j=j):
            return {"potential": on.call(on.push, (j,), x, np.zeros(3), 4)[0][3:]}

        def adjoint(x, c, j=j):
            return {"x": np.stack([np.zeros(3), -on.call(on.push, (j,), x, np.zeros(3), 4)[0][:3] * c["potential"]])}

        after = np.array([[0.0], [1e-3]]) * np.ones(3)
        check_adjoint(forward, adjoint, on.point(x), wrt=["x"], directions={"x": after}, trials=3)


@pytest.mark.parametrize("i", [0, 1, 4])
def test_target_and_held_director_adjoint_of_grips_on_effectors(gripped, i):
    on = OnWorld(gripped)

    def forward(x):
        out = on.call(on.hold, (i, 1), x, np.zeros(6), 6)[0]
        return {"target": out[:3], "director": out[3:]}

    def adjoint(x, c):
        found = on.call(on.hold, (i, 1), x, np.concatenate([c["target"], c["director"]]), 6)[1]
        return {name: found[name] for name in wrt}

    wrt = ("effector_position", "effector_orientation")
    point = on.point(gripped.scene.position[i])
    assert (abs(forward(point)["director"]).max() > 0) == (i == 1)  # one gripper holds both ends of the first edge
    check_adjoint(forward, adjoint, point, wrt=wrt, directions={"effector_orientation": np.full((1, 4, 4), 0.03)})


@pytest.mark.parametrize("substep", [0, 1, 2])
def test_target_adjoint_of_driven_vertices(substep):
    """A third, a half, all of the way that is left."""
    rod = Rod([[0, 0, 0], [0.1, 0, 0], [0.2, 0, 0]])
    obstacles = [Effector("floor", HalfSpace(), (0, 0, -1)), Effector("ball", Sphere(0.1), (0, 0, -1))]
    world = rod_world(RodScene(rod, [Grip([0, 2])], obstacles), substeps=3)
    on = OnWorld(world)
    point = on.point(rod.position[2])

    def forward(x):
        return {"target": on.call(on.hold, (2, substep), x, np.zeros(6), 6)[0][:3]}

    def adjoint(x, c):
        found = on.call(on.hold, (2, substep), x, np.concatenate([c["target"], np.zeros(3)]), 6)[1]
        return {"x": found["x"], "controls": found["controls"]}

    way = point["controls"][world.control_layout["driven_position"]][3:] - point["x"]
    np.testing.assert_allclose(forward(point)["target"] - point["x"], way / (3 - substep), rtol=1e-12)
    check_adjoint(forward, adjoint, point, wrt=["controls"] if substep == 2 else ["x", "controls"])
    world.close()


# ---------------------------------------------------------------------- the linear system


@functools.cache
def tree_kernel():
    tree = tree_functions(ti.f64)

    @ti.kernel
    def solve(scratch: FLOATS, integers: INTEGERS, definite: INTEGERS):
        mem = ti.static(memory_of(*([scratch] * 10), integers))
        for _ in range(1):
            definite[0] = tree.solve(mem, 0, at.BLOCK)

    return solve


def solve_tree(parents, grips, matrix, right):
    """The solution (4 n,) that the tree finds for a dense symmetric matrix with the tree's pattern; whether definite."""
    n = len(parents)
    scratch = np.zeros((n, at.WORK_RECORD))
    blocks = matrix.reshape(n, 4, n, 4).swapaxes(1, 2)
    for i, p in enumerate(parents):
        line = [i] if p < 0 else [i, p] if parents[p] < 0 else [i, p, parents[p]]
        for place, j in zip((at.BLOCK, at.PARENT_BLOCK, at.GRAND_BLOCK), line, strict=False):
            scratch[i, place : place + 16] = blocks[i, j].ravel()
        scratch[i, at.RIGHT : at.RIGHT + 4] = right[4 * i : 4 * i + 4]
    integers = np.zeros(128 + 2 * n, np.int32)
    integers[[at.COUNT, at.PARENT_AT, at.GRIP_AT]] = n, 128, 128 + n
    integers[128 : 128 + n], integers[128 + n :] = parents, grips
    definite, flat = np.zeros(1, np.int32), scratch.ravel()
    tree_kernel()(flat, integers, definite)
    return flat.reshape(n, -1)[:, at.RIGHT : at.RIGHT + 4].ravel(), bool(definite[0])


TREE = np.array((-1, 0, 1, 2, 3, 4, 3, 6, 2, 8))
FREE, DRIVEN = at.FREE, at.DRIVEN


def random_system(parents):
    """A positive definite matrix made of one term a joint, as a rod's is, and a right-hand side."""
    rng = np.random.default_rng(6)
    n = len(parents)
    A = np.diag(0.1 + rng.random(4 * n))
    for i, p in enumerate(parents):
        nodes = [k for k in (i, p, parents[p] if p >= 0 else -1) if k >= 0]
        at_nodes = np.concatenate([np.arange(4 * k, 4 * k + 4) for k in nodes])
        at_nodes = at_nodes[at_nodes != 4 * nodes[-1] + 3] if len(nodes) == 3 else at_nodes
        root = rng.standard_normal((len(at_nodes), 3))
        A[np.ix_(at_nodes, at_nodes)] += root @ root.T
    return A, rng.standard_normal(4 * n)


@pytest.mark.parametrize(
    ("grips", "held"),
    [
        ([FREE] * 10, [3]),
        ([DRIVEN, DRIVEN - 1, *[FREE] * 8], [0, 1, 2, 3, 4, 5, 6, 7]),
        ([FREE, FREE, FREE, 0, *[FREE] * 5, 1], [3, 12, 13, 14, 36, 37, 38]),
        ([0, 0, 1, *[FREE] * 4, 1, FREE, FREE], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 28, 29, 30]),
    ],
    ids=["free", "driven", "inner", "grippers"],
)
def test_the_tree_is_solved_as_a_dense_matrix_is(grips, held):
    """To 1e-12; what is held stays: a vertex in a grip, an edge with both ends in one, the root's turn."""
    A, b = random_system(TREE)
    found, definite = solve_tree(TREE, grips, A, b)
    free = np.setdiff1d(np.arange(4 * len(TREE)), held)
    expected = np.zeros(4 * len(TREE))
    expected[free] = np.linalg.solve(A[np.ix_(free, free)], b[free])
    assert definite
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * np.abs(expected).max())
    assert not found[held].any()


def test_the_tree_tells_an_indefinite_matrix():
    A, b = random_system(TREE)
    A[20, 20] -= 30.0
    found, definite = solve_tree(TREE, [FREE] * 10, A, b)
    free = np.setdiff1d(np.arange(40), [3])
    assert not definite
    np.testing.assert_allclose(A[np.ix_(free, free)] @ found[free], b[free], rtol=0, atol=1e-10)


def test_a_spin_without_stiffness_is_left_alone():
    """Turns that only twist holds: a right-hand side without resultant is met (1e-12), and the last turn stays zero."""
    n = 6
    chain = np.arange(-1, n - 1)
    A = np.eye(4 * n)
    turns = 4 * np.arange(1, n) + 3
    A[turns, turns] = 0.0
    for k in range(len(turns) - 1):
        pair = turns[k : k + 2]
        A[np.ix_(pair, pair)] += 0.37 * np.array([[1, -1], [-1, 1]])
    b = np.zeros(4 * n)
    b[turns] = [0.3, -0.7, 0.2, 0.9, -0.7]
    found, definite = solve_tree(chain, [FREE] * n, A, b)
    assert definite
    np.testing.assert_allclose(A @ found, b, rtol=0, atol=1e-12)
    assert found[turns[0]] == 0.0


# ---------------------------------------------------------------------- whole steps


def check_steps(world, steps, *, skip=(), at_steps=STEPS, **options):
    """Check all states, parameters and controls of ``steps`` steps against all states and forces."""
    point = random_point(world, steps)

    def forward(x):
        return roll_out(world, x)

    def adjoint(x, c):
        roll_out(world, x)
        force = c.pop("force")
        return reverse(world, c, force if world.effector_count else None)

    wrt = [name for name in point if point[name].size and name not in skip]
    outputs = [*world.state_names, *(["force"] if world.effector_count else [])]
    return check_adjoint(
        forward, adjoint, point, outputs=outputs, wrt=wrt, steps=at_steps, directions=moves(point), trials=1, **options
    )


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("driven", {}),
        ("driven", {"scaled": True, "integrator": "backward_euler"}),
        ("free", {}),
        ("free", {"scaled": True, "forced": True}),
        ("gripped", {}),
    ],
    ids=["driven", "driven, scaled, backward Euler", "free", "free, scaled, forced", "gripped, touching"],
)
def test_whole_steps(kind, options):
    """Four steps of two substeps from a moving, twisted, curved, branched rod."""
    world = rod_world(branched_scene(kind, **options))
    check_steps(world, 4, skip=("effector_softness",))
    world.close()


def wound_rod():
    """A chain of 13 vertices between two grippers, one of which winds it and brings its end nearer."""
    x = np.zeros((13, 3))
    x[:, 0] = 0.04 * np.arange(13)
    rod = Rod(x, mass=2e-3, bend_stiffness=2e-3, twist_stiffness=1.5e-3, bend_damping=0.02, director=(0, 0.2, 1))
    ends = [Effector("left", Sphere(0.01), x[0]), Effector("right", Sphere(0.01), x[-1])]
    obstacle = Effector("floor", HalfSpace(), (0, 0, -0.02), friction=0.3)
    return RodScene(rod, [Grip([0, 1], "left"), Grip([11, 12], "right")], [*ends, obstacle], contact_stiffness=50.0)


def test_the_implicit_derivative_agrees_with_differences_of_an_unrolled_trajectory():
    """60 steps, 0.6 s, in which the rod is wound by 3 rad and bows out to the floor: to 1e-6."""
    world = rod_world(wound_rod(), substeps=1)
    point = {name: world.state(name) for name in ("position", "velocity")}
    point |= {name: world.parameter(name) for name in ("bend_stiffness", "twist_stiffness", "natural_curvature")}
    twist = np.zeros((60, 1, 3, 6))
    twist[:, 0, 1] = [-0.12, 0.02, 0.01, 5.0, 0.0, 0.2]
    point["controls"] = twist.reshape(60, 1, -1)

    def forward(x):
        return roll_out(world, {**everything, **x})

    def adjoint(x, c):
        forward(x)
        return reverse(world, c, c.pop("force"))

    world.reset()
    everything = {name: world.state(name) for name in world.state_names}
    everything |= {name: world.parameter(name) for name in world.parameter_names}
    end = forward(point)
    assert abs(end["position"][0, 5, 1:]).max() > 0.02 and end["force"][-1, 0, 2, 2] < 0
    check_adjoint(
        forward, adjoint, point, outputs=["position", "force"], steps=STEPS[1:], directions=moves(point), trials=1
    )
    world.close()


def test_recomputed_steps_give_the_same_gradient():
    """To the last bit, with memory for two steps of six (a step knows the two before it)."""
    found = []
    for memory in ("1GiB", 60_000):
        world = rod_world(branched_scene("driven"), memory=memory)
        end = roll_out(world, random_point(world, 6))
        rng = np.random.default_rng(8)
        found.append(reverse(world, {n: rng.standard_normal(end[n].shape) for n in world.state_names}))
        world.close()
    for name, bar in found[0].items():
        np.testing.assert_array_equal(bar, found[1][name], err_msg=name)
        assert np.abs(bar).max() > 0


def test_a_batch_of_rods_is_its_rods_one_by_one():
    """States and gradients to the last bit."""
    batch, single = (rod_world(branched_scene("driven"), batch=n) for n in (3, 1))
    point = random_point(batch, 3)
    point["controls"] += 1e-3 * np.arange(3)[:, None]
    ends = roll_out(batch, point)
    bars = reverse(batch, {n: np.ones(ends[n].shape) for n in batch.state_names})
    for b in range(3):
        own = {n: v[:, b : b + 1] if n == "controls" else v[b : b + 1] for n, v in point.items()}
        end = roll_out(single, own)
        bar = reverse(single, {n: np.ones(end[n].shape) for n in single.state_names})
        for n in single.state_names:
            np.testing.assert_array_equal(end[n][0], ends[n][b], err_msg=n)
        for n, value in bar.items():
            np.testing.assert_array_equal(value[:, 0] if n == "controls" else value[0],
                                          bars[n][:, b] if n == "controls" else bars[n][b], err_msg=n)  # fmt: skip
    batch.close()
    single.close()
