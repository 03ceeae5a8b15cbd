"""Gradients of gels against differences in double precision: to 1e-6, through sticking and sliding, of everything."""

import gel_scenes as scenes
import numpy as np
import pytest

from pliant.sims import world as world_module
from pliant.sims.fem.bodies import Attachment, RigidBody
from pliant.sims.fem.contact_law import law_functions
from pliant.sims.fem.gels import gel_mesh
from pliant.sims.fem.scene import Gel, GelScene
from pliant.sims.math.rotation_host import matrix_of_quaternion
from pliant.sims.robot.effector import Effector
from pliant.sims.runtime import thread_count, ti  # noqa: F401 (a condition of skipif)
from pliant.sims.shapes.shapes import Box, HalfSpace, Sphere

TOLERANCE = 1e-6
SOFT = {"contact_stiffness": 1e8, "contact_damping": 2.0, "onset": 5e-5, "gravity": (0.3, -0.2, -9.81)}
GEL_PARAMETERS = ("gel_youngs_modulus", "gel_poisson_ratio", "gel_density", "gel_viscosity")
WORLD_PARAMETERS = ("contact_stiffness", "tangential_stiffness", "contact_damping", "gravity", "effector_friction")
STATES = ("gel_displacement", "gel_velocity", "effector_position", "effector_orientation")
BODY_STATES = ("body_position", "body_orientation", "body_velocity", "body_angular_velocity")
BODY_PARAMETERS = ("body_mass", "body_inertia", "body_friction", "attachment_stiffness")
SIZES = {"gel_displacement": 1e-3, "body_position": 1e-2, "effector_position": 1e-2, "gel_velocity": 1.0}
"""What the states are divided by in what is read out; of velocities more, which carry the rounding over dt."""


class Path:
    """A World, what is done to it, and what is read out of it: its last state and the forces of all steps, weighted."""

    def __init__(self, world, controls, parameters, states):
        rng = np.random.default_rng(0)
        self.world, self.controls = world, controls
        self.parameters = {name: world.parameter(name).copy() for name in parameters}
        self.states = {name: world.state(name).copy() for name in states}
        self.weights = {
            name: rng.normal(size=value.shape) / SIZES.get(name, 1.0) for name, value in self.states.items()
        }
        self.states["gel_displacement"] += 1e-5 * rng.normal(size=self.states["gel_displacement"].shape)
        self.states["gel_velocity"] += 1e-3 * rng.normal(size=self.states["gel_velocity"].shape)
        shape = world.output("gel_force").shape
        self.outputs = {"gel_force": rng.normal(size=shape), "gel_torque": 100 * rng.normal(size=shape)}
        self.forces = []

    def loss(self, name=None, change=0.0):
        """What is read out, with a change of one input."""
        world = self.world
        world.reset()
        for key, value in {**self.states, **self.parameters}.items():
            value = value + change if key == name else value
            (world.set_state if key in self.states else world.set_parameter)(key, value)
        total, self.forces = 0.0, []
        for k, controls in enumerate(self.controls):
            world.step(controls + change[k] if name == "controls" else controls)
            total += sum((weight * world.output(key)).sum() for key, weight in self.outputs.items())
            self.forces.append(world.output("gel_force")[0].copy())
        return total + sum((weight * world.state(key)).sum() for key, weight in self.weights.items())

    def gradient(self):
        """Of all inputs."""
        world, last = self.world, len(self.controls) - 1
        self.loss()
        world.begin_adjoint()
        found = {"controls": np.zeros_like(self.controls)}
        for k in range(last, -1, -1):
            world.load_step(k)
            for key, weight in self.outputs.items():
                world.add_output_adjoint(key, weight)
            if k == last:
                for key, weight in self.weights.items():
                    world.add_state_adjoint(key, weight)
            found["controls"][k] = world.step_adjoint(k)
        world.load_initial()
        found |= {key: world.state_adjoint(key) for key in self.states}
        found |= {key: world.parameter_adjoint(key) for key in self.parameters}
        world.end_adjoint()
        return found

    def error(self, gradient, name, scale):
        """Relative error along a random direction, by differences of fourth order, at the best of some steps."""
        rng = np.random.default_rng(7)
        given = self.controls if name == "controls" else {**self.states, **self.parameters}[name]
        direction = rng.normal(size=np.shape(given))
        if name in self.parameters:
            direction = np.clip(direction, -1, 1) * np.maximum(abs(given), 1.0 if name == "gravity" else 1e-9)
        exact = (gradient[name] * direction).sum()
        errors = []
        for step in (1e-4, 1e-3, 1e-5, 1e-6, 1e-2, 3e-2):
            h = step * scale
            one, two = (self.loss(name, k * h * direction) - self.loss(name, -k * h * direction) for k in (1, 2))
            found = (8 * one - two) / (12 * h)
            errors.append(abs(found - exact) / max(abs(exact), 1e-12))
            if errors[-1] < 0.1 * TOLERANCE:
                break
        return min(errors)


def scale_of(name):
    if name == "controls":
        return 0.1
    if name in ("gel_displacement", "body_position", "effector_position"):
        return 1e-2
    return 0.1 if name in (*STATES, *BODY_STATES) else 1.0


def tool_path():
    """A ball is pressed into a pad on a mount that moves and turns; then it slides."""
    orientation = (1, 0.1, -0.05, 0.2)
    mount = scenes.mount(position=(0.01, -0.02, 0.3), orientation=orientation)
    R = matrix_of_quaternion(mount.pose[None, 3:])[0]
    place = mount.pose[:3] + R @ np.array([0.0013, 0.0012, 0.005 + 6e-3 - 1e-4])
    ball = Effector("tool", Sphere(6e-3), place, friction=0.5)
    others = scenes.idle("box", "plane")
    gel = Gel(scenes.small_pad(), "mount", viscosity=100.0)
    world = scenes.gel_world([gel], [mount, ball, *others], substep=2e-3, substeps=2, differentiable=True, **SOFT)
    controls = np.zeros((16, 1, 12))
    controls[:, 0, :6] = 0.005, 0.002, 0.003, 0.5, 0.3, -0.4
    controls[:, 0, 6:9] = R @ np.array([0.0, 0.01, -0.02]) + [0.001, 0.002, 0.001]
    controls[5:, 0, 6:9] += R @ np.array([0.03, 0.0, 0.01])
    controls[:, 0, 9:] = 1, 0.5, 2
    return Path(world, controls, (*GEL_PARAMETERS, *WORLD_PARAMETERS), STATES)


@pytest.fixture(scope="module")
def tool():
    path = tool_path()
    return path, path.gradient()


@pytest.mark.skipif("thread_count() < 2", reason="needs two threads")
def test_two_threads_agree_with_one_and_are_the_same_from_run_to_run(tool, monkeypatch):
    path, gradient = tool
    value = path.loss()
    monkeypatch.setattr(world_module, "MEMBER_ELEMENTS", 1)
    found = []
    for _ in range(2):
        team = tool_path()
        assert team.world._team == 2 and path.world._team == 1
        found.append({"value": team.loss(), **team.gradient()})
        team.world.close()
    for name, one in {"value": value, **gradient}.items():
        first, second = (np.asarray(run[name]) for run in found)
        np.testing.assert_array_equal(first, second, err_msg=name)
        np.testing.assert_allclose(first, one, rtol=1e-6, atol=1e-7 * np.abs(one).max(), err_msg=name)


def test_large_gels_are_shared_by_threads():
    mesh = gel_mesh("dome", nodes=1800)
    scene = GelScene([Gel(mesh, "mount")], [scenes.mount()])
    shared = sum(part.elements for part in scene.parts(dt=1e-2, soft_contact=False))
    assert shared >= 2 * 2048  # of a member, as users have it


def test_the_ball_sticks_and_slides(tool):
    """So that both parts of friction are in what follows."""
    path, gradient = tool
    path.loss()
    rotation = matrix_of_quaternion(path.world.state("effector_orientation")[:, 0])[0]
    local = np.array(path.forces)[:, 0] @ rotation
    ratio = np.linalg.norm(local[:, :2], axis=1) / abs(local[:, 2])
    assert ratio[2] < 0.3 < 0.45 < ratio.max()
    assert gradient["effector_friction"].any() and gradient["tangential_stiffness"].any()


@pytest.mark.parametrize("name", ["controls", *STATES, *GEL_PARAMETERS, *WORLD_PARAMETERS])
def test_a_tool_on_a_gel(tool, name):
    path, gradient = tool
    assert path.error(gradient, name, scale_of(name)) < TOLERANCE


@pytest.fixture(scope="module")
def hinge():
    """A box on a spring, over a table, held and lifted by two pads that turn."""
    half = 0.01
    left = scenes.mount("left", (-half - 0.005 + 1.2e-4, 0.0007, 0), orientation=(1, 0, 1, 0))
    right = scenes.mount("right", (half + 0.005 - 1.1e-4, -0.0005, 0), orientation=(1, 0, -1, 0))
    table = Effector("table", HalfSpace(), (0, 0, -0.0119), orientation=(1, 0.002, 0.003, 0), friction=0.4)
    box = RigidBody(
        "box",
        Box((half, 0.0093, 0.0122), 0.001),  # no point near the seams of faces and edges, where curvature jumps
        0.03,
        position=(0, 0.0003, 0),
        orientation=(1, 0.01, 0.02, 0.01),
        angular_velocity=(0.1, 0.2, 0.3),
        velocity=(0, 0, -0.02),
        friction=0.6,
        attachments=[Attachment((0, 0.01, 0), (0, 0.0102, 0.001), 20.0)],
    )
    mesh = scenes.small_pad()
    gels = [Gel(mesh, "left", viscosity=100.0), Gel(mesh, "right", viscosity=50.0, youngs_modulus=8e4)]
    effectors = [left, right, table, *scenes.idle("sphere", "box")]
    world = scenes.gel_world(gels, effectors, [box], substep=2e-3, substeps=2, differentiable=True, **SOFT)
    controls = np.zeros((8, 1, 18))
    controls[:, 0, [0, 6, 3, 10, 14]] = 0.01, -0.012, 0.3, 0.2, 0.001
    controls[4:, 0, [2, 8]] = 0.03
    names = (*GEL_PARAMETERS, *WORLD_PARAMETERS, *BODY_PARAMETERS)
    path = Path(world, controls, names, (*STATES, *BODY_STATES))
    return path, path.gradient()


@pytest.mark.parametrize(
    "name", ["controls", *STATES, *BODY_STATES, *GEL_PARAMETERS, *WORLD_PARAMETERS, *BODY_PARAMETERS]
)
def test_a_held_body(hinge, name):
    path, gradient = hinge
    assert path.error(gradient, name, scale_of(name)) < TOLERANCE


# phi, gap before, |stretch| over the limit, normal force before, friction, damping
CASES = {
    "stick": (-2e-4, -1e-4, 0.4, 0.3, 0.5, 2.0),
    "rounding": (-2e-4, -1e-4, 0.97, 0.3, 0.5, 2.0),
    "slip": (-2e-4, -1e-4, 2.5, 0.3, 0.5, 2.0),
    "onset": (1e-5, 3e-5, 0.5, 0.1, 0.5, 2.0),
    "open": (3e-4, 1e-4, 0.5, 0.0, 0.5, 2.0),
    "deep": (-1e-3, -1e-3, 0.5, 3.0, 0.5, 0.0),
    "clamped damper": (-1e-4, -4e-3, 0.5, 0.3, 0.5, 2.0),
    "first touch": (-2e-4, 1e-4, 0.5, 0.0, 0.5, 2.0),
    "no friction": (-2e-4, -1e-4, 0.5, 0.3, 0.0, 2.0),
}
INPUTS = 16  # phi, n (3), gap before, stretch (3), normal force before, w (3), k A, k_t A, mu, c


@pytest.fixture(scope="module")
def law():
    """respond: 16 inputs to force, stretch, normal force; its adjoint; and the stiffness."""
    functions = law_functions(ti.f64)
    vec = ti.types.vector(3, ti.f64)
    floats = ti.types.ndarray(ti.f64, 1)

    @ti.kernel
    def respond(x: floats, out: floats):
        for _ in range(1):
            n, s, w = vec(x[1], x[2], x[3]), vec(x[5], x[6], x[7]), vec(x[9], x[10], x[11])
            f, stretch, N, K = functions.respond(
                x[0], n, x[4], s, x[8], w, x[12], x[13], x[14], x[15], ti.f64(5e-5), ti.f64(2e-3)
            )
            for d in ti.static(range(3)):
                out[d] = f[d]
                out[3 + d] = stretch[d]
                for e in ti.static(range(3)):
                    out[7 + 3 * d + e] = K[d, e]
            out[6] = N

    @ti.kernel
    def pull(x: floats, bar: floats, out: floats):
        for _ in range(1):
            n, s, w = vec(x[1], x[2], x[3]), vec(x[5], x[6], x[7]), vec(x[9], x[10], x[11])
            f_bar, s_bar = vec(bar[0], bar[1], bar[2]), vec(bar[3], bar[4], bar[5])
            phi_b, n_b, before_b, stretch_b, last_b, w_b, values = functions.respond_adjoint(
                x[0], n, x[4], s, x[8], w, x[12], x[13], x[14], x[15], ti.f64(5e-5), ti.f64(2e-3), f_bar, s_bar, bar[6]
            )
            out[0] = phi_b
            out[4] = before_b
            out[8] = last_b
            for d in ti.static(range(3)):
                out[1 + d] = n_b[d]
                out[5 + d] = stretch_b[d]
                out[9 + d] = w_b[d]
            for k in ti.static(range(4)):
                out[12 + k] = values[k]

    def forward(x):
        out = np.zeros(16)
        respond(x, out)
        return out[:7], out[7:].reshape(3, 3)

    def backward(x, bar):
        out = np.zeros(INPUTS)
        pull(x, bar, out)
        return out

    return forward, backward


def law_inputs(case):
    phi, before, share, last, mu, damping = CASES[case]
    rng = np.random.default_rng(3)
    n = rng.normal(size=3)
    n /= np.linalg.norm(n)
    k_t = 60.0
    tangent = np.cross(n, rng.normal(size=3))
    limit = mu * last / k_t if mu * last else 1e-4
    stretch = share * limit * tangent / np.linalg.norm(tangent)
    w = 0.05 * limit * rng.normal(size=3)
    return np.array([phi, *n, before, *stretch, last, *w, 80.0, k_t, mu, damping])


@pytest.mark.parametrize("case", CASES)
def test_the_law_of_contact(law, case):
    """All inputs at once and one by one, by differences; the stiffness is symmetric and minus the derivative by w."""
    forward, backward = law
    x = law_inputs(case)
    bar = np.random.default_rng(4).normal(size=7)
    found = backward(x, bar)
    size = np.where(x == 0, 1e-4, abs(x))
    size[1:4], size[5:8], size[9:12], size[[0, 4]] = 1.0, 1e-4, 1e-4, 1e-4
    differences = np.zeros(INPUTS)
    for i in range(INPUTS):
        h = np.zeros(INPUTS)
        h[i] = 1e-4 * size[i]
        if i in (8, 14) and x[i] == 0:  # at the edge of what is allowed: friction sets in, see the module
            differences[i] = found[i]
            continue
        one, two = (bar @ (forward(x + k * h)[0] - forward(x - k * h)[0]) for k in (1, 2))
        differences[i] = (8 * one - two) / (12 * h[i])
    scale = abs(differences * size).max()
    assert abs((found - differences) * size).max() < TOLERANCE * max(scale, 1e-12)
    _, K = forward(x)
    assert pytest.approx(K.T, abs=1e-12) == K
    assert np.linalg.eigvalsh(K).min() > -1e-9
    for d in range(3):
        h = np.zeros(INPUTS)
        h[9 + d] = 1e-8
        slope = (forward(x + h)[0] - forward(x - h)[0])[:3] / 2e-8
        assert -slope == pytest.approx(K[:, d], abs=2e-5 * max(abs(K).max(), 1.0))
