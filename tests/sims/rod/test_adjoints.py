"""Every pair of a forward and an adjoint function of rods against central differences, in float64."""

import functools

import numpy as np
import pytest
from rod_scenes import branched_scene, rod_world

from pliant.envs.features.check import check_adjoint
from pliant.sims.fields import Memory
from pliant.sims.robot.effector import Effector
from pliant.sims.rod.clamps import clamp_functions
from pliant.sims.rod.contact import rod_contact_functions
from pliant.sims.rod.energies import joint_functions
from pliant.sims.rod.places import Setup
from pliant.sims.rod.rod import Grip, Rod
from pliant.sims.rod.scene import RodScene
from pliant.sims.runtime import ti
from pliant.sims.shapes.shapes import HalfSpace, Sphere

FLOATS = ti.types.ndarray(ti.f64, 1)
INTEGERS = ti.types.ndarray(ti.i32, 1)
VEC3 = ti.types.vector(3, ti.f64)


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
    angles by which its frames are turned from those carried along from the first edges and frames (rows of start)."""
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
def world_kernels(setup):
    """On the arrays of a World, world 0 and frame 0.

    ``push``: force of effector j on a vertex that moves from x[0] to x[1], its potential; what ``push_adjoint`` and the
    stiffness make of the cotangent a.  ``hold``: where held node i goes from x in a substep, and its director; what
    their adjoints make of both cotangents a.
    """
    contact, clamps = rod_contact_functions(setup), clamp_functions(setup)

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
        effectors, rod = world._parts
        self.push, self.hold = world_kernels(Setup(rod.at, ti.f64, effectors.at, effectors.shape_kinds))
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
