"""Every pair of a forward and an adjoint function below the World against central differences, in float64."""

import functools

import numpy as np
import pytest
from small_scenes import CELL, GRID, one_step, random_controls, small_scene, small_world

from pliant.envs.features.check import check_adjoint
from pliant.sims.contact import CONTACT_KINDS
from pliant.sims.fields import PARTIAL_OFFSET, Memory
from pliant.sims.mpm.bodies import Walls
from pliant.sims.mpm.grid import grid_functions
from pliant.sims.mpm.laws.laws import MATERIALS, material_functions
from pliant.sims.robot.effector import Effector
from pliant.sims.robot.effector_kernels import effector_functions, motion_functions
from pliant.sims.robot.effector_places import P_FORCE, P_FRICTION, P_POSE, P_SIZE, P_SOFTNESS, P_TWIST
from pliant.sims.runtime import ti
from pliant.sims.shapes.containers import Cup
from pliant.sims.shapes.shapes import Box, Capsule, Cylinder, HalfSpace, Mesh, Sphere, Torus

FLOATS = ti.types.ndarray(ti.f64, 1)
TABLE = ti.types.ndarray(ti.f64, 2)
INTEGERS = ti.types.ndarray(ti.i32, 1)
NODES = ti.types.ndarray(ti.i32, 2)
DIMS = (2, 3)
LAWS = tuple(material for material in MATERIALS if material != "rigid")  # whose law is the neo-Hookean one
CONSTANTS = ("mu", "lambda", "yield", "bulk", "viscosity", "index", "angle")
SUBSTEP = 0.1
CONTACT_INPUTS = (
    "values", "twist", "effector_position", "effector_orientation", "effector_friction", "effector_softness",
)  # fmt: skip

# ---------------------------------------------------------------------- materials


@functools.cache
def material_kernels(dim):
    """``update`` and ``update_adjoint`` on flat arrays, with all constants that laws know."""
    material = material_functions(dim, ti.f64, tuple(MATERIALS[material] for material in LAWS))

    @ti.func
    def square(a: ti.template()):
        m = ti.Matrix.zero(ti.f64, dim, dim)
        for i in ti.static(range(dim)):
            for j in ti.static(range(dim)):
                m[i, j] = a[dim * i + j]
        return m

    @ti.func
    def constants(a: ti.template()):
        v = ti.Vector.zero(ti.f64, 7)
        for i in ti.static(range(7)):
            v[i] = a[i]
        return v

    @ti.func
    def write(a: ti.template(), m):
        for i in ti.static(range(dim)):
            for j in ti.static(range(dim)):
                a[dim * i + j] = m[i, j]

    @ti.kernel
    def update(kind: ti.i32, F: FLOATS, L: FLOATS, p: FLOATS, stored: FLOATS, tau: FLOATS):
        for _ in range(1):
            law = constants(p)
            stored_F, stress = material.update(kind, square(F), square(L), law, SUBSTEP)
            write(stored, stored_F)
            write(tau, stress)

    @ti.kernel
    def update_adjoint(
        kind: ti.i32, F: FLOATS, L: FLOATS, p: FLOATS, stored: FLOATS, tau: FLOATS, F_bar: FLOATS, L_bar: FLOATS,
        p_bar: FLOATS,
    ):  # fmt: skip
        for _ in range(1):
            law = constants(p)
            a, b, c = material.update_adjoint(kind, square(F), square(L), law, SUBSTEP, square(stored), square(tau))
            write(F_bar, a)
            write(L_bar, b)
            for i in ti.static(range(7)):
                p_bar[i] = c[i]

    return update, update_adjoint


def deformation(kind, dim):
    """A deformation gradient of a kind, turned by random rotations on both sides."""
    rng = np.random.default_rng(3)
    if kind == "near rest":
        return np.eye(dim) + 1e-3 * rng.standard_normal((dim, dim))
    if kind == "at rest":
        return np.eye(dim)
    stretches = {
        "stretched": [1.4, 0.8, 1.1],
        "repeated": [1.2, 1.2, 0.9],
        "all equal": [1.15, 1.15, 1.15],
        "squeezed": [0.95, 0.8, 0.9],
        "pressed": [0.9, 0.89, 0.91],
    }[kind]
    left, right = (np.linalg.qr(rng.standard_normal((dim, dim)))[0] for _ in range(2))
    left[:, 0] *= np.linalg.det(left)
    right[:, 0] *= np.linalg.det(right)
    return left @ np.diag(stretches[:dim]) @ right.T


@pytest.mark.parametrize("dim", DIMS)
@pytest.mark.parametrize("kind", ["at rest", "near rest", "stretched", "repeated", "all equal", "squeezed", "pressed"])
@pytest.mark.parametrize(
    ("material", "yield_stress"),
    [*((material, 50.0) for material in LAWS), ("von_mises", 0.05), ("viscoplastic", 0.05)],
)
def test_update_adjoint(material, kind, yield_stress, dim):
    update, update_adjoint = material_kernels(dim)
    number = MATERIALS[material]

    def forward(x):
        stored, tau = np.empty(dim * dim), np.empty(dim * dim)
        update(number, x["F"].ravel(), x["L"].ravel(), x["constants"], stored, tau)
        return {"stored": stored, "tau": tau}

    def adjoint(x, c):
        F_bar, L_bar, p_bar = np.empty(dim * dim), np.empty(dim * dim), np.empty(len(CONSTANTS))
        update_adjoint(
            number, x["F"].ravel(), x["L"].ravel(), x["constants"], c["stored"], c["tau"], F_bar, L_bar, p_bar
        )
        return {"F": F_bar, "L": L_bar, "constants": p_bar}

    law = {"mu": 1.3, "lambda": 0.7, "yield": yield_stress, "bulk": 2.0, "viscosity": 0.3, "index": 0.6, "angle": 0.2}
    point = {
        "F": deformation(kind, dim),
        "L": np.random.default_rng(5).standard_normal((dim, dim)),
        "constants": np.array([law[name] for name in CONSTANTS]),
    }
    if material == "sand" and kind.endswith("rest"):
        pytest.skip("sand at rest stands at the tip of its cone, where its law has a kink")
    found = forward(point)
    changed = not np.allclose(found["stored"], point["F"].ravel())
    if kind in ("stretched", "squeezed"):
        flows = {"von_mises": yield_stress < 1, "viscoplastic": yield_stress < 1, "sand": True, "liquid": True}
        assert changed == flows.get(material, False)
    if material == "sand":
        assert np.allclose(found["tau"], 0) == (np.linalg.det(point["F"]) >= 1)
        assert kind != "pressed" or not changed
    steps = (1e-4, 1e-5, 1e-6) if yield_stress < 1 or material in ("sand", "viscoplastic") else (1e-3, 1e-4, 1e-5)
    wrt = ["F", "L"] if kind == "at rest" else None  # there the stress is zero whatever the constants
    check_adjoint(forward, adjoint, point, wrt=wrt, directions={"constants": np.ones(len(CONSTANTS))}, steps=steps)


# ---------------------------------------------------------------------- nodes and effectors


ARRAYS = (
    "frames", "adjoint", "parameters", "parameter_adjoint", "controls", "control_adjoint", "outputs", "output_adjoint",
    "constants", "scratch", "integers",
)  # fmt: skip


def memory_of(*arrays):
    """A World's memory from its ``ARRAYS``; whatever else there is (grids) is not used here."""
    return Memory(**{**dict.fromkeys(Memory._fields), **dict(zip(ARRAYS, arrays, strict=True))})


@functools.cache
def node_kernels(setup):
    """The functions of a node and of effector j (j = -1: of the node with all effectors and walls) on a World's arrays.

    World 0, member 0, frames 0 and 1; nodes (K, dim) with values (K, dim + 1): velocity or momentum, and mass.
    """
    dim, at, eff = setup.dim, setup.at, setup.eff
    grid, effector = grid_functions(setup), effector_functions(eff, dim, ti.f64, setup.shape_kinds, False)
    motion = motion_functions(eff, ti.f64)

    @ti.func
    def row(a: ti.template(), k):
        v = ti.Vector.zero(ti.f64, dim)
        for d in ti.static(range(dim)):
            v[d] = a[k, d]
        return v

    @ti.func
    def node(a: ti.template(), k):
        n = ti.Vector.zero(ti.i32, dim)
        for d in ti.static(range(dim)):
            n[d] = a[k, d]
        return n

    @ti.func
    def place(mem: ti.template(), a: ti.template(), k):
        return node(a, k) * mem.constants[at.cell]

    @ti.kernel
    def forward(
        f0: FLOATS, f1: FLOATS, f2: FLOATS, f3: FLOATS, f4: FLOATS, f5: FLOATS, f6: FLOATS, f7: FLOATS, f8: FLOATS,
        f9: FLOATS, integers: INTEGERS, j: ti.i32, nodes: NODES, values: TABLE, out: TABLE,
    ):  # fmt: skip
        mem = ti.static(memory_of(f0, f1, f2, f3, f4, f5, f6, f7, f8, f9, integers))
        ti.loop_config(serialize=True)
        for k in range(nodes.shape[0]):
            u = ti.Vector.zero(ti.f64, dim)
            if j < 0:
                u = grid.velocity(mem, 0, 0, 0, node(nodes, k), row(values, k), values[k, dim])
            else:
                u = effector.touch(mem, 0, 0, 0, j, place(mem, nodes, k), row(values, k), values[k, dim], True)
            for d in ti.static(range(dim)):
                out[k, d] = u[d]

    @ti.kernel
    def adjoint(
        f0: FLOATS, f1: FLOATS, f2: FLOATS, f3: FLOATS, f4: FLOATS, f5: FLOATS, f6: FLOATS, f7: FLOATS, f8: FLOATS,
        f9: FLOATS, integers: INTEGERS, j: ti.i32, force_scale: ti.f64, nodes: NODES, values: TABLE, out_bar: TABLE,
        bar: TABLE,
    ):  # fmt: skip
        mem = ti.static(memory_of(f0, f1, f2, f3, f4, f5, f6, f7, f8, f9, integers))
        ti.loop_config(serialize=True)
        for k in range(nodes.shape[0]):
            u_bar = ti.Vector.zero(ti.f64, dim)
            mass_bar = ti.f64(0.0)
            u, mass, c = row(values, k), values[k, dim], row(out_bar, k)
            if j < 0:
                _u, a, b = grid.velocity_adjoint(mem, 0, 0, 0, node(nodes, k), u, mass, c)
                u_bar = a
                mass_bar = b
            else:
                a, b = effector.touch_adjoint(mem, 0, 0, 0, j, place(mem, nodes, k), u, mass, c, force_scale)
                u_bar = a
                mass_bar = b
            for d in ti.static(range(dim)):
                bar[k, d] = u_bar[d]
            bar[k, dim] = mass_bar

    @ti.kernel
    def poses(
        f0: FLOATS, f1: FLOATS, f2: FLOATS, f3: FLOATS, f4: FLOATS, f5: FLOATS, f6: FLOATS, f7: FLOATS, f8: FLOATS,
        f9: FLOATS, integers: INTEGERS, reverse: ti.i32,
    ):  # fmt: skip
        mem = ti.static(memory_of(f0, f1, f2, f3, f4, f5, f6, f7, f8, f9, integers))
        for _ in range(1):
            if reverse == 0:
                motion.integrate(mem, 0, 0, 0, mem.integers[eff.count], 0, 1, 0)
            else:
                motion.integrate_adjoint(mem, 0, 0, 0, mem.integers[eff.count], 0, 1, 0)

    return forward, adjoint, poses


class Bench:
    """The kernels of ``node_kernels`` on the memory of a World with one effector of every shape."""

    def __init__(self, dim, ball_file):
        self.dim = dim
        scene = small_scene(dim)
        rng = np.random.default_rng(4)
        shapes = [
            Sphere(0.08),
            Capsule(0.04, 0.07),
            Torus(0.09, 0.05),
            Cylinder(0.06, 0.07),
            Box((0.07, 0.05, 0.06), 0.01),
            HalfSpace(),
            Mesh(ball_file, scale=1e-3, cells=12),
            Cup(0.05, 0.12, 0.05, 0.05, top_radius=0.07),
        ]
        scene.effectors = [
            Effector(
                str(j), shape, CELL * (5.5 + rng.random(dim)), rng.standard_normal(4), 0.2 + 0.05 * j, "slip", 40.0
            )
            for j, shape in enumerate(shapes)
        ]
        scene.damping = 0.7 / 4e-4  # 0.7 in a substep: as large as everything else here
        scene.walls = Walls("separate", friction=0.1 + 0.1 * np.arange(2 * dim), thickness=3)
        self.world = w = small_world(dim, scene=scene)
        self.memory = memory = w._memory
        self.header = memory.integers.view()
        self.setup = w._parts[-1].setup(dim, ti.f64, False)
        self.kernels = node_kernels(self.setup)
        self.arrays = [getattr(memory, "live" if name == "frames" else name).device_array for name in ARRAYS]
        self.names = ("gravity", "wall_friction", "damping", "effector_friction", "effector_softness")
        near, corners = (
            np.array(np.meshgrid(*[along] * dim)).reshape(dim, -1).T for along in (range(4, 9), (1, GRID - 1))
        )
        self.nodes = np.concatenate([near, rng.integers(0, GRID, (6, dim)), corners], dtype=np.int32)
        mass = 1 + rng.random((len(self.nodes), 1))
        self.values = np.concatenate([mass * rng.standard_normal((len(self.nodes), dim)), mass], 1)

    def point(self):
        w = self.world
        return {
            "values": self.values,
            "twist": random_controls(w, 1)[0, 0, w.control_layout["effector_twist"]],
            "effector_position": w.state("effector_position")[0],
            "effector_orientation": w.state("effector_orientation")[0],
            **{name: w.parameter(name)[0] for name in self.names},
        }

    def load(self, x):
        w = self.world
        for name in ("effector_position", "effector_orientation"):
            w.set_state(name, x[name])
        for name in self.names:
            w.set_parameter(name, x[name])
        self.memory.controls.view()[w.control_layout["effector_twist"]] = x["twist"]
        self.memory.scratch.fill(0)

    def partials(self):
        """The partial sums of the effectors (M, 18) and of the grid (3 dim + 1,)."""
        h, scratch, m = self.header, self.memory.scratch.view(), self.world.count("effector_position")
        o, g = (h[PARTIAL_OFFSET] + h[at.partial] for at in (self.setup.eff, self.setup.at))
        return scratch[o : o + m * P_SIZE].reshape(m, P_SIZE).copy(), scratch[g : g + 3 * self.dim + 1].copy()

    def check(self, j, laws, soft, **options):
        """Check the functions of effector j (-1: of nodes) against differences, effectors under contact ``laws``."""
        w, h, eff = self.world, self.header, self.setup.eff
        h[h[eff.kinds] : h[eff.kinds] + w.count("effector_position")] = laws
        h[eff.soft] = int(soft)
        forward_kernel, adjoint_kernel, _ = self.kernels

        def forward(x):
            self.load(x)
            out = np.empty((len(self.nodes), self.dim))
            forward_kernel(*self.arrays, j, self.nodes, np.ascontiguousarray(x["values"]), out)
            return {"velocity": out, "force": self.partials()[0][:, P_FORCE:] / w.time_step}

        def adjoint(x, c):
            self.load(x)
            force = self.memory.output_adjoint.view()
            force[:] = c["force"].ravel()
            bar = np.empty_like(self.values)
            adjoint_kernel(
                *self.arrays, j, 1 / w.time_step, self.nodes, np.ascontiguousarray(x["values"]), c["velocity"], bar
            )
            effectors, grid = self.partials()
            d = self.dim
            return {
                "values": bar,
                "gravity": grid[:d],
                "wall_friction": grid[d : 3 * d],
                "damping": grid[3 * d],
                "effector_friction": effectors[:, P_FRICTION],
                "effector_softness": effectors[:, P_SOFTNESS],
                "effector_position": effectors[:, P_POSE : P_POSE + 3],
                "effector_orientation": effectors[:, P_POSE + 3 : P_TWIST],
                "twist": effectors[:, P_TWIST:P_FORCE],
            }

        point = self.point()
        moved = {
            name: np.full(x.shape, 0.1) for name, x in point.items() if name not in ("gravity", "effector_softness")
        }
        if self.dim == 2:  # the third coordinate of a planar scene does not count
            moved["effector_position"] = np.array([[0.1, 0.1, 0.0]])
        base = forward(point)
        assert not np.allclose(base["velocity"], self.values[:, : self.dim])
        return check_adjoint(forward, adjoint, point, directions=moved, **options)


@pytest.fixture(scope="module")
def ball_file(tmp_path_factory):
    trimesh = pytest.importorskip("trimesh")
    path = tmp_path_factory.mktemp("mesh") / "ball.obj"
    trimesh.creation.icosphere(subdivisions=3, radius=70.0).export(path)
    return path


@pytest.fixture(scope="module", params=DIMS, ids=["2-D", "3-D"])
def bench(request, ball_file):
    bench = Bench(request.param, ball_file)
    yield bench
    bench.world.close()


@pytest.mark.parametrize("soft", [True, False], ids=["soft", "hard"])
@pytest.mark.parametrize("law", CONTACT_KINDS)
def test_touch_adjoint(bench, law, soft):
    for j in range(bench.world.count("effector_position")):
        found = bench.check(j, CONTACT_KINDS[law], soft, wrt=CONTACT_INPUTS, trials=1, steps=(1e-3, 1e-4, 1e-5))
        assert any(c.output == "force" and c.analytic for c in found), f"effector {j} touches nothing"


@pytest.mark.parametrize("wall", CONTACT_KINDS)
@pytest.mark.parametrize("soft", [True, False], ids=["soft", "hard"])
def test_velocity_adjoint(bench, soft, wall):
    h, first = bench.header, bench.header[bench.setup.at.wall_kinds]
    h[first : first + 2 * bench.dim] = CONTACT_KINDS[wall]
    bench.check(-1, np.arange(bench.world.count("effector_position")) % 3, soft, trials=1, steps=(1e-3, 1e-4, 1e-5))


def test_integrate_adjoint(bench):
    w, memory, poses = bench.world, bench.memory, bench.kernels[2]
    size = 7 * w.count("effector_position")
    start = bench.header[bench.setup.eff.pose]
    row = memory.sizes.state

    def forward(x):
        bench.load({**bench.point(), **x})
        poses(*bench.arrays, 0)
        return {"pose": memory.live.view()[row + start : row + start + size].reshape(-1, 7).copy()}

    def adjoint(x, c):
        bench.load({**bench.point(), **x})
        memory.adjoint.view()[start : start + size] = c["pose"].ravel()
        memory.control_adjoint.fill(0)
        poses(*bench.arrays, 1)
        pose = memory.adjoint.view()[start : start + size].reshape(-1, 7)
        return {
            "effector_position": pose[:, :3],
            "effector_orientation": pose[:, 3:],
            "twist": memory.control_adjoint.view()[w.control_layout["effector_twist"]],
        }

    point = {name: bench.point()[name] for name in ("effector_position", "effector_orientation", "twist")}
    point["twist"] = 100 * point["twist"]  # dt is small: twists of an order that the pose notices
    check_adjoint(forward, adjoint, point)


# ---------------------------------------------------------------------- whole substeps


@pytest.mark.parametrize("soft", [True, False], ids=["soft", "hard"])
@pytest.mark.parametrize("dim", DIMS)
def test_a_whole_substep(dim, soft):
    """All stages and their adjoints: every state, parameter and control against every state and the force."""
    w = small_world(dim, substeps=1, soft_contact=soft)
    rng = np.random.default_rng(5)
    w.set_state("affine_velocity", 5.0 * rng.standard_normal(w.state("affine_velocity").shape))
    w.set_state("deformation_gradient", np.eye(dim) + 0.1 * rng.standard_normal(w.state("deformation_gradient").shape))
    point, forward, adjoint = one_step(w)

    small = {"position": 0.01, "poissons_ratio": 0.1, "effector_position": 0.1, "deformation_gradient": 0.1}
    check_adjoint(
        forward,
        adjoint,
        point,
        trials=1,
        steps=(1e-3, 1e-4, 1e-5),
        directions={name: np.full(point[name].shape, scale) for name, scale in small.items()},
    )
    w.close()
