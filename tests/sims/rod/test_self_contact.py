"""Contact of a rod with itself: gradients in every position of edges, conservation, rods that cannot pass, friction."""

import functools

import numpy as np
import pytest
from physics import of
from rod_scenes import moves, rod_world, roll_out
from small_scenes import reverse

from pliant.envs.features.check import check_adjoint
from pliant.sims.rod.rod import Grip, Rod, SelfContact
from pliant.sims.rod.scene import RodScene
from pliant.sims.rod.segments import ROUND, distances, segment_functions, separate_pairs
from pliant.sims.rod.solver import FRICTION_SPEED
from pliant.sims.runtime import ti
from pliant.sims.world import SimulationDiverged

FLOATS = ti.types.ndarray(ti.f64, 1)
VEC3 = ti.types.vector(3, ti.f64)
RADIUS = 5e-3  # [m]
WAY_ROUND = [(0.15, 0.04, 0.004), (0.13, 0.1, 0.008), (0.07, 0.13, 0.01)]

# ---------------------------------------------------------------------- nearest points


@functools.cache
def segment_kernels():
    segments = segment_functions(ti.f64)

    @ti.func
    def row(a: ti.template(), k):
        return VEC3(a[3 * k], a[3 * k + 1], a[3 * k + 2])

    @ti.kernel
    def nearest(x: FLOATS, out: FLOATS):
        for _ in range(1):
            out[0], out[1] = segments.nearest(row(x, 0), row(x, 1), row(x, 2))

    @ti.kernel
    def nearest_adjoint(x: FLOATS, places: FLOATS, bar: FLOATS, x_bar: FLOATS):
        for _ in range(1):
            e_bar, f_bar, r_bar = segments.nearest_adjoint(
                row(x, 0), row(x, 1), row(x, 2), places[0], places[1], bar[0], bar[1]
            )
            for d in ti.static(range(3)):
                x_bar[d] = e_bar[d]
                x_bar[3 + d] = f_bar[d]
                x_bar[6 + d] = r_bar[d]

    return nearest, nearest_adjoint


def places_of(x):
    out = np.empty(2)
    segment_kernels()[0](np.ascontiguousarray(x).ravel(), out)
    return out


E, F = np.array([1.0, 0.1, 0.2]), np.array([0.2, 0.8, -0.1])


@pytest.mark.parametrize(
    ("f", "r", "inside"),
    [
        (F, [-0.4, 0.5, 0.3], (True, True)),
        (F, [0.5, 0.5, 0.3], (False, True)),
        (F, [-0.4, -0.7, 0.3], (True, False)),
        (F, [0.5, -0.7, 0.3], (False, False)),
        (1.3 * E, [0.4, 0.5, 0.3], (True, True)),
        (1.3 * E + 0.03 * F, [0.205, 0.092, 0.34], (True, True)),
    ],
    ids=["inside both", "first at its end", "second at its end", "both at an end", "parallel", "nearly parallel"],
)
def test_nearest_adjoint(f, r, inside):
    x = np.stack([E, f, np.array(r)])
    assert tuple(0 < place < 1 for place in places_of(x)) == inside

    def adjoint(x, c):
        x_bar = np.empty(9)
        segment_kernels()[1](x["x"].ravel(), places_of(x["x"]), c["places"], x_bar)
        return {"x": x_bar}

    check_adjoint(lambda x: {"places": places_of(x["x"])}, adjoint, {"x": x}, directions={"x": np.full((3, 3), 0.1)})


def test_nearest_points_are_nearest():
    """On random segments, a third of them parallel: on the device to ``ROUND`` of their length, on the host exactly."""
    rng = np.random.default_rng(0)
    grid = np.linspace(0, 1, 201)
    for trial in range(60):
        a, b, c, d = rng.uniform(-1, 1, (4, 3))
        if trial % 3 == 0:
            d = c + rng.uniform(-1, 1) * (b - a)
        s, t = places_of(np.stack([b - a, d - c, a - c]))
        found = np.linalg.norm(a - c + s * (b - a) - t * (d - c))
        exact = distances(np.stack([a, b, c, d]), np.array([-1, 0, 1, 2]), np.array([[1, 3]]))[0]
        table = a - c + grid[:, None, None] * (b - a) - grid[:, None] * (d - c)
        least = np.linalg.norm(table, axis=-1).min()
        assert exact <= least + 1e-12 and least - exact < 0.02
        size = max(np.linalg.norm(b - a), np.linalg.norm(d - c))
        assert exact - 1e-12 <= found <= exact + ROUND * size


def test_pairs_share_no_vertex():
    """Of a chain with a branch at vertex 2."""
    found = separate_pairs(np.array([-1, 0, 1, 2, 2]))
    assert found.tolist() == [[1, 3], [1, 4]]


# ---------------------------------------------------------------------- gradients


def crossing(second, height):
    """A rod along x that comes round and lies above itself: its last vertices are ``second`` (m, 2), so high [m]."""
    first = [(x, 0.0, 0.0) for x in (-0.1, -0.05, 0.0, 0.05, 0.1)]
    return np.array(first + WAY_ROUND + [(x, y, height) for x, y in second])


POSITIONS = {
    "inside both": [(0.02, 0.1), (0.02, 0.05), (0.025, -0.02), (0.02, -0.1)],
    "an end on an edge": [(0.03, 0.1), (0.022, 0.05), (0.024, 0.003)],
    "end to end": [(-0.04, 0.1), (-0.08, 0.05), (-0.107, 0.006)],
    "side by side": [(0.11, 0.06), (0.09, 0.01), (0.03, 0.003), (-0.04, 0.003)],
}


def rod_of(position, **options):
    given = {
        **{"mass": 5e-3, "bend_stiffness": 1e-3, "twist_stiffness": 1e-3, "stretch_stiffness": 300.0, "drag": 1e-3},
        **{"quadratic_drag": 1e-2, "bend_damping": 0.05, "twist_damping": 0.05, "rest_position": position},
    }
    return Rod(position, radius=RADIUS, **(given | options))


def touching_world(where, **options):
    """A rod that touches itself, and the point at which it does so while it slides and turns."""
    rod = rod_of(crossing(POSITIONS[where], 2 * RADIUS + 1e-3))
    scene = RodScene(rod, **{"self_contact": SelfContact(friction=0.4, stiffness=300.0), **options})
    world = rod_world(scene, substeps=2, dt=2e-3)
    point = {name: world.state(name) for name in world.state_names}
    point |= {name: world.parameter(name) for name in world.parameter_names}
    rng = np.random.default_rng(0)
    point["velocity"][:, 8:] += [0.1, 0.05, -0.1]
    point["velocity"] += 0.03 * rng.standard_normal(point["velocity"].shape)
    return world, point


def check_gradients(world, point, **options):
    def forward(x):
        return {name: value for name, value in roll_out(world, {**point, **x}).items() if name != "force"}

    def adjoint(x, c):
        roll_out(world, {**point, **x})
        return reverse(world, c)

    return check_adjoint(forward, adjoint, point, directions=moves(point), trials=1, **options)


@pytest.mark.parametrize("where", POSITIONS)
def test_steps_in_contact(where):
    """Two steps of two substeps, all states against all states and parameters."""
    world, point = touching_world(where)
    pairs = separate_pairs(world.scene.rod.tree)
    near = pairs[distances(of(world, "position"), world.scene.rod.tree, pairs) < 3 * RADIUS]
    places = []
    for i, j in near:
        p = of(world, "position")
        a, c = p[i - 1], p[j - 1]
        places.append([0 < place < 1 for place in places_of(np.stack([p[i] - a, p[j] - c, a - c]))])
    expected = {"inside both": [True, True], "an end on an edge": [True, False], "end to end": [False, False]}
    assert expected.get(where, [True, True]) in places
    point["controls"] = np.zeros((2, 1, 0))
    with_contact = roll_out(world, point)["velocity"]
    without = roll_out(world, point | {"self_contact_stiffness": np.zeros(1)})["velocity"]
    assert np.abs(with_contact - without).max() > 0.02
    point["controls"] = np.zeros((2, 1, 0))
    names = [n for n in point if n not in ("controls", "director", "natural_twist", "bend_damping", "twist_damping")]
    found = check_gradients(world, point, wrt=names, outputs=["position", "velocity", "director"])
    own = [c for c in found if c.input in ("self_friction", "self_contact_stiffness")]
    assert len(own) == 6 and all(c.analytic != 0 for c in own)
    world.close()


def pushed_world(*, contact=True, count=5, **options):
    """A rod held at both ends and where it has come round, so that it lies across itself 3 cm above."""
    s = np.linspace(-1.0, 1.0, count)
    first = np.stack([0.1 * s, np.zeros(count), np.zeros(count)], axis=1)
    second = np.stack([np.full(count, 0.013), -0.1 * s, np.full(count, 0.03)], axis=1)
    second[:, 1] -= 0.008
    rod = rod_of(np.concatenate([first, WAY_ROUND, second]), mass=0.02 / count)
    held = [0, count - 1, count + 3, 2 * count + 2]
    touch = SelfContact(stiffness=5e4, friction=0.3) if contact else None
    scene = RodScene(rod, [Grip(held)], **{"self_contact": touch, **options})
    return rod_world(scene, substeps=1, dt=0.01)


def press(world, steps, depth):
    """Controls that press the upper ends down by ``depth`` [m], 3 cm of it to meet the lower part, and aside."""
    held = world.scene.position[world.scene.driven_vertices]
    share = np.linspace(0, 1, steps + 1)[1:, None, None]
    way = np.array([[0, 0, 0], [0, 0, 0], [0.01, 0, -depth], [0.01, 0, -depth]])
    return (held + share * way).reshape(steps, 1, -1)


def closest(world):
    """Least distance of edges that share no vertex, in sums of their radii."""
    tree = world.scene.rod.tree
    return distances(of(world, "position"), tree, separate_pairs(tree)).min() / (2 * RADIUS)


def test_the_gradient_of_a_long_push_agrees_with_differences_of_an_unrolled_trajectory():
    """60 steps, 0.6 s, of which the parts of the rod press and slide on each other for most: to 1e-6."""
    world = pushed_world()
    point = {name: world.state(name) for name in world.state_names}
    point |= {name: world.parameter(name) for name in world.parameter_names}
    point["controls"] = press(world, 60, 0.07)
    names = ("position", "velocity", "bend_stiffness", "self_contact_stiffness", "self_friction", "controls")
    roll_out(world, point)
    assert 0.9 <= closest(world) < 1.5
    check_gradients(world, point, wrt=names, outputs=["position", "velocity"], steps=(1e-2, 1e-3, 1e-4, 1e-5))
    world.close()


# ---------------------------------------------------------------------- conservation


def collide(dt, steps, **options):
    """A rod whose end comes down on its other end without gravity, after so many steps: momentum and moment of momentum
    before and after [kg m/s, kg m^2/s], and the largest of the pushes of the contact."""
    position = crossing(POSITIONS["inside both"], 2 * RADIUS + 4e-3)
    quiet = {"drag": 0.0, "quadratic_drag": 0.0, "bend_damping": 0.0, "twist_damping": 0.0}
    touch = SelfContact(**{"stiffness": 500.0, "friction": 0.0, **options})
    world = rod_world(RodScene(rod_of(position, **quiet), self_contact=touch, gravity=(0, 0, 0)), substeps=1, dt=dt)
    v = np.zeros((1, 12, 3))
    v[0, 8:] = [0.1, 0.03, -0.3]
    world.set_state("velocity", v)
    m = world.parameter("mass")[0]
    found = [(m @ of(world, "velocity"), m @ np.cross(of(world, "position"), of(world, "velocity")))]
    least = np.inf
    for _ in range(steps):
        world.step(np.zeros((1, 0)))
        least = min(least, closest(world))
    found.append((m @ of(world, "velocity"), m @ np.cross(of(world, "position"), of(world, "velocity"))))
    world.close()
    return (*np.array(found).transpose(1, 0, 2), least)


@pytest.mark.parametrize("friction", [0.0, 0.5])
def test_linear_momentum_is_kept(friction):
    """To 1e-10, through a collision that turns the relative motion round."""
    momentum, _, least = collide(1e-3, 60, friction=friction)
    assert 1.0 < least < 1.4
    np.testing.assert_allclose(momentum[1], momentum[0], rtol=0, atol=1e-10 * np.abs(momentum[0]).max())


def test_angular_momentum_is_kept_to_first_order():
    """Without friction, through a collision: to 0.5 %, and the loss halves with the step."""
    found = []
    for dt in (2e-3, 1e-3, 5e-4):
        _, moment, least = collide(dt, round(0.06 / dt))
        assert 1.0 < least < 1.4
        found.append(np.linalg.norm(moment[1] - moment[0]) / np.linalg.norm(moment[0]))
    assert found[0] < 5e-3
    np.testing.assert_allclose(np.divide(found[:-1], found[1:]), 2.0, rtol=0.1)


# ---------------------------------------------------------------------- rods that cannot pass


def test_rods_do_not_pass_through_each_other():
    """A rod is pressed 9 cm into another one at 12 cm/s: they stay apart; without self-contact they cross."""
    ends = {}
    for contact in (True, False):
        world = pushed_world(contact=contact)
        least = np.inf
        for controls in press(world, 100, 0.12):
            world.step(controls)
            least = min(least, closest(world))
        ends[contact] = least
        above = of(world, "position")[10, 2] - of(world, "position")[2, 2]
        assert (above > 0) == contact
        world.close()
    assert ends[True] >= 0.9 and ends[False] < 0.1


def test_a_fast_rod_does_not_jump_through():
    """At 6 m/s it comes six sums of radii a step."""
    world = pushed_world()
    held = world.scene.position[world.scene.driven_vertices]
    for depth in (0.0, 0.06, 0.06, 0.06):
        world.step((held - [[0, 0, 0], [0, 0, 0], [0, 0, depth], [0, 0, depth]]).reshape(1, -1))
    assert closest(world) > 0.9
    assert of(world, "position")[10, 2] > of(world, "position")[2, 2]
    world.close()


# ---------------------------------------------------------------------- friction


def slider(slope, friction, dt=1e-3):
    """A World in which a straight part of a rod lies across two others that are held, along the slope's fall line, as
    high as contact carries it: 2 k (w - g)^2/(4 w) = m g cos, w the radius. A light, limp part leads from one to the
    other."""
    mass, stiffness = 0.02, 2000.0
    down = 9.81 / np.hypot(1, slope) * np.array([slope, 0, -1])
    gap = RADIUS - np.sqrt(2 * RADIUS * mass * -down[2] / stiffness)
    rails = [
        (0, -0.03, 0),
        (0.08, -0.03, 0),
        (0.16, -0.03, 0),
        (0.2, 0, 0),
        (0.16, 0.03, 0),
        (0.08, 0.03, 0),
        (0, 0.03, 0),
    ]
    lead = [(-0.03, 0.06, 0.01), (-0.02, 0.1, 0.02), (0.03, 0.12, 0.02), (0.05, 0.09, 0.02)]
    x = [(0.055, y, 2 * RADIUS + gap) for y in (0.05, 0.017, -0.017, -0.05)]
    limp = np.full(15, 1.0)
    limp[6:13] = 1e-5
    weight = np.where(np.arange(15) < 11, 1e-6, mass / 4)
    rod = rod_of(
        np.array(rails + lead + x),
        **{
            "mass": weight,
            "bend_stiffness": limp,
            "twist_stiffness": limp,
            "stretch_stiffness": np.where(limp < 1, 0.1, 1e3),
        },
        **{"drag": 0.0, "quadratic_drag": 0.0, "bend_damping": 0.02, "twist_damping": 0.02},
    )
    touch = SelfContact(stiffness=stiffness, friction=friction)
    return rod_world(RodScene(rod, [Grip(range(7))], self_contact=touch, gravity=down), substeps=1, dt=dt)


def speed_after(world, steps):
    held = world.scene.position[world.scene.driven_vertices].reshape(1, -1)
    for _ in range(steps):
        world.step(held)
    return float(of(world, "velocity")[11:, 0].mean())


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_rod_across_others_only_creeps_below_the_limit_of_friction(share):
    """Smooth friction balances at the speed c r/sqrt(1 - r^2), r the share of mu N, c = 5 mm/s: to 2 %."""
    world = slider(0.5 * share, 0.5)
    creep = FRICTION_SPEED * share / np.sqrt(1 - share**2)
    assert speed_after(world, 200) == pytest.approx(creep, rel=0.02)
    world.close()


def test_a_rod_across_others_starts_to_slide_at_the_limit_of_friction():
    """Accelerations above it are those of a force mu N, to 2 %; their line passes zero at tan(slope) = mu, to 2 %."""
    mu = 0.5
    slopes, found = mu * np.array([1.3, 1.6, 2.0]), []
    for slope in slopes:
        world = slider(slope, mu)
        early = speed_after(world, 40)
        found.append((speed_after(world, 40) - early) / 0.04)
        world.close()
    np.testing.assert_allclose(found, 9.81 * (slopes - mu) / np.hypot(1, slopes), rtol=0.02)
    assert np.polyval(np.polyfit(np.array(found) * np.hypot(1, slopes), slopes, 1), 0) == pytest.approx(mu, rel=0.02)


# ---------------------------------------------------------------------- the World


def test_a_batch_in_contact_is_its_worlds_one_by_one():
    """States and gradients to the last bit, in worlds of which one touches and one does not."""
    batch, single = (
        rod_world(RodScene(rod_of(crossing(POSITIONS["inside both"], 0.016)), self_contact=SelfContact()), batch=n)
        for n in (2, 1)
    )
    speeds = np.zeros((2, 12, 3))
    speeds[:, 8:, 2] = [[-0.2], [0.8]]
    ends, bars = [], []
    for world, v in ((batch, speeds), (single, speeds[:1]), (single, speeds[1:])):
        world.reset()
        world.set_state("velocity", v)
        for _ in range(4):
            world.step(np.zeros((len(v), 0)))
        ends.append(world.state("position"))
        bars.append(reverse(world, {"position": np.ones(ends[-1].shape)}))
    for b in (0, 1):
        np.testing.assert_array_equal(ends[1 + b][0], ends[0][b])
        for name in ("velocity", "self_contact_stiffness", "self_friction", "mass"):
            np.testing.assert_array_equal(bars[1 + b][name][0], bars[0][name][b], err_msg=name)
    assert bars[1]["self_contact_stiffness"] != 0 and bars[2]["self_contact_stiffness"] == 0
    batch.close()
    single.close()


def test_each_edge_has_its_radius():
    """Thin edges of the same two rods pass each other where thick ones touch."""
    position = crossing(POSITIONS["inside both"], 3 * RADIUS)
    thick = np.full(12, RADIUS)
    thick[[2, 3, 10]] = 2 * RADIUS
    found = []
    for radius in (None, thick):
        touch = SelfContact(radius=radius)
        if radius is not None:
            with pytest.raises(ValueError, match=r"vertices 3 and 10 overlap in position: they are 0.015 m apart"):
                RodScene(rod_of(position), self_contact=touch)
            position = position + np.outer(np.arange(12) > 7, [0, 0, 0.008])
        world = rod_world(RodScene(rod_of(position), self_contact=touch, gravity=(0, 0, 0)))
        world.step(np.zeros((1, 0)))
        found.append(np.abs(of(world, "velocity")).max())
        world.close()
    assert found[0] < 1e-9 and found[1] > 1e-3


LINE = np.outer(np.arange(6), [0.05, 0, 0])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SelfContact(stiffness=-1.0), "self_contact: stiffness=-1.0 must be a finite number >= 0"),
        (lambda: SelfContact(friction=np.nan), "self_contact: friction=nan must be a finite number >= 0"),
        (lambda: RodScene(Rod(LINE), self_contact=SelfContact(radius=0.0)), "radius=0.0 must be a positive length"),
        (lambda: RodScene(Rod(LINE), self_contact=SelfContact(radius=np.ones(5))), r"radius has shape \(5,\), must be"),
        (lambda: RodScene(Rod(LINE), self_contact=True), "self_contact=True must be a SelfContact or None"),
        (
            lambda: RodScene(Rod(LINE), self_contact=SelfContact(radius=0.03)),
            "edges that end in vertices . and . overlap in position: they are 0.05 m apart, their radii sum to 0.06 m",
        ),
        (
            lambda: RodScene(
                rod_of(
                    crossing(POSITIONS["inside both"], 0.02), rest_position=crossing(POSITIONS["inside both"], 2e-3)
                ),
                self_contact=SelfContact(),
            ),
            "overlap in rest_position: they are 0.00. m apart",
        ),
    ],
)
def test_bad_construction(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_crumpled_rod_is_reported():
    """All of 14 vertices within a radius of each other."""
    position = np.outer(np.arange(14), [0.05, 0, 0])
    world = rod_world(RodScene(Rod(position, radius=0.01), self_contact=SelfContact()))
    with pytest.raises(ValueError, match=r"parameter 'self_friction'=-1.0 must not"):
        world.set_parameter("self_friction", -1.0)
    world.set_state("position", np.random.default_rng(0).uniform(-0.01, 0.01, (1, 14, 3)))
    with pytest.raises(SimulationDiverged, match="the rod is crumpled: more pairs of its edges are in contact"):
        world.step(np.zeros((1, 0)))
    world.close()
