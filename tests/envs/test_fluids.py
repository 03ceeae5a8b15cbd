"""Fluid tasks: features of groups, patterns and goals, tools that keep to their workspace."""

from __future__ import annotations

import functools
import hashlib
import importlib
from typing import Any

import numpy as np
import pytest

from pliant.envs import features as f
from pliant.envs.fluids.ice_cream import CLOSES, CONE, OPENS, RIM_HEIGHT, SECTION, SPEED, assign_places, swirl
from pliant.envs.fluids.patterns import vortex_pair
from pliant.envs.options import Options
from pliant.envs.registry import ENTRIES
from pliant.envs.rollout import Rollout
from pliant.sims.shapes.shapes import Box, Sphere

TASKS = {entry.id.split("/")[1][:-3]: entry.task for entry in ENTRIES if ".fluids." in entry.task}
HASHES = {
    "GatheringEasy": ("place", "75efb7d9046f"),
    "GatheringO": ("place", "8d79f4dd87ed"),
    "IceCreamDynamic": ("target", "8649cecc27d9"),
    "IceCreamStatic": ("target", "8649cecc27d9"),
    "LatteArt": ("target", "c41eaa70bdff"),
    "LatteArtStir": ("target", "b869e95e7465"),
    "Mixing": ("mixed_density", "0ac69efba661"),
    "Pouring": ("side", "cb789386cc61"),
    "Transporting": ("target", "5c641011f27e"),
}
FULL = {
    "GatheringEasy": 89_000,
    "GatheringO": 89_000,
    "IceCreamDynamic": 77_000,
    "IceCreamStatic": 30_000,
    "LatteArt": 60_000,
    "LatteArtStir": 94_000,
    "Mixing": 86_000,
    "Pouring": 40_000,
    "Transporting": 40_000,
}  # particles of FluidLab's tasks

B, N, A = 2, 24, 3


@functools.cache
def make(name: str, **options: Any) -> Any:
    module, kind = TASKS[name].split(":")
    return getattr(importlib.import_module(module), kind)(**options)


# ---------------------------------------------------------------------- features


def make_arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    active = np.ones((B, N))
    active[0, 6:9] = active[1, 4] = 0.0
    return {
        "position": rng.uniform(0.1, 0.9, (B, N, 3)),
        "velocity": rng.normal(size=(B, N, 3)),
        "effector_position": rng.uniform(0.3, 0.6, (B, 2, 3)),
        "effector_orientation": rng.normal(size=(B, 2, 4)),
        "active": active,
        "action": rng.uniform(-1, 1, (B, A)),
        "previous_action": rng.uniform(-1, 1, (B, A)),
    }


def make_view(arrays: dict[str, np.ndarray], goal: dict[str, np.ndarray]) -> f.View:
    return f.View(
        arrays=lambda name: arrays[name],
        action=arrays["action"],
        previous_action=arrays["previous_action"],
        step=np.array([3, 4]),
        horizon=10,
        goal=goal,
    )


def all_features() -> tuple[list[f.Feature], dict[str, np.ndarray]]:
    rows = np.arange(4, 20)
    world = f.Group(rows)
    scattered = f.Group([2, 7, 11, 5], effector=0)
    moving = f.Group(rows, effector=1)
    flat = f.Group(rows, axes=(0, 1))
    flat_moving = f.Group(rows, axes=(2, 0), effector=1)
    seen = f.GroupDensity(flat, lower=[0.0, 0.0], cell=0.125, counts=[9, 9], volume=0.001, depth=0.1)
    carried = f.GroupDensity(moving, lower=[-1.0] * 3, cell=0.25, counts=[9] * 3, volume=0.01)
    rng = np.random.default_rng(1)
    goal = {
        "places": rng.uniform(0.1, 0.9, (B, len(rows), 3)),
        "direction": rng.normal(size=(B, 3)),
        "seen": rng.uniform(size=(B, seen.node_count)),
        "carried": rng.uniform(size=(B, carried.node_count)),
    }
    inside = f.ShareInside("inside", moving, Sphere(0.3), softness=0.05, margin=0.02)
    centre = f.GroupCentre("centre", moving)
    return [
        f.GroupCentre("all", world),
        centre,
        f.GroupCentre("scattered", scattered),
        f.GroupCentre("two_axes", flat_moving),
        f.GroupVelocity("velocity", flat),
        f.Along("along", centre, "direction"),
        f.MatchedDistance("matched", world, "places", smoothing=0.01),
        f.MatchedDistance("matched_moving", moving, "places", smoothing=0.01),
        f.ShareInPlace("in_place", world, "places", width=0.3),
        f.Spread("spread", flat),
        f.Spread("spread_moving", moving),
        inside,
        f.DistanceFrom("outside", moving, Box((0.1, 0.2, 0.05)), smoothing=0.01),
        f.DistanceFrom("within", moving, Sphere(0.4), smoothing=0.01, within=True),
        f.WeightedSum("sum", [(2.0, inside), (-1.0, f.Spread("spread", flat))]),
        f.DensityMap("map", seen),
        f.DensityError("error", seen, "seen"),
        f.DensityError("error_carried", carried, "carried"),
    ], goal


@pytest.mark.parametrize("number", range(18))
def test_adjoints_of_features(number: int) -> None:
    """Every array that a feature reads, against central differences."""
    features, goal = all_features()
    assert len(features) == 18
    feature, arrays = features[number], make_arrays()
    rng = np.random.default_rng(2)
    view = make_view(arrays, goal)
    value = feature.value(view)
    assert value.shape == (B, feature.size)
    cotangent = rng.normal(size=value.shape)
    sink = f.Sink(view)
    feature.adjoint(view, cotangent, sink)
    assert sink.cotangents
    for name in ("position", "velocity", "effector_position", "effector_orientation"):
        direction, h = rng.normal(size=arrays[name].shape), 1e-6
        plus, minus = (
            (feature.value(make_view({**arrays, name: arrays[name] + s * direction}, goal)) * cotangent).sum()
            for s in (h, -h)
        )
        analytic = (sink.cotangents.get(name, np.zeros(1)) * direction).sum()
        assert np.isclose(analytic, (plus - minus) / (2 * h), rtol=1e-6, atol=1e-8), name


@pytest.mark.parametrize("number", range(18))
def test_particles_that_wait_do_not_count(number: int) -> None:
    features, goal = all_features()
    feature, arrays = features[number], make_arrays()
    moved = dict(arrays)
    waiting = arrays["active"] == 0.0
    for name in ("position", "velocity"):
        moved[name] = np.where(waiting[..., None], 77.0, arrays[name])
    assert np.array_equal(feature.value(make_view(arrays, goal)), feature.value(make_view(moved, goal)))
    view = make_view(arrays, goal)
    sink = f.Sink(view)
    feature.adjoint(view, np.ones((B, feature.size)), sink)
    for name in ("position", "velocity"):
        assert not sink.cotangents.get(name, np.zeros_like(arrays[name]))[waiting].any()


def test_where_nothing_is_let_in_yet_features_are_zero() -> None:
    arrays = make_arrays() | {"active": np.zeros((B, N))}
    features, goal = all_features()
    for feature in features:
        if not isinstance(feature, f.DensityError):
            assert not feature.value(make_view(arrays, goal)).any(), feature.name


def test_a_container_that_moves_with_its_content_changes_nothing() -> None:
    arrays = make_arrays()
    features, goal = all_features()
    shift = np.array([0.1, -0.2, 0.3])
    moved = {**arrays, **{name: arrays[name] + shift for name in ("position", "effector_position")}}
    for feature in (features[1], features[11], features[13], features[17]):
        assert np.allclose(feature.value(make_view(arrays, goal)), feature.value(make_view(moved, goal)))


# ---------------------------------------------------------------------- patterns and goals


def test_a_vortex_pair_keeps_areas_and_carries_its_middle() -> None:
    rng = np.random.default_rng(0)
    options = {"middle": np.array([0.05, 0.06]), "angle": 0.3, "stroke": 0.03, "width": 0.014}
    points = options["middle"] + rng.uniform(-0.04, 0.04, (50, 2))
    h = 1e-6
    columns = [
        (vortex_pair(points + h * e, **options) - vortex_pair(points - h * e, **options)) / (2 * h) for e in np.eye(2)
    ]
    assert np.allclose(np.linalg.det(np.stack(columns, axis=-1)), 1.0, atol=1e-5)
    ahead = vortex_pair(options["middle"][None], **options)[0] - options["middle"]
    assert np.allclose(ahead, 0.03 * np.array([np.cos(0.3), np.sin(0.3)]), atol=1e-9)
    far = options["middle"] + [[0.2, 0.1]]
    assert np.allclose(vortex_pair(far, **options), far)


@pytest.mark.parametrize("name", HASHES)
def test_the_seed_decides_the_episode(name: str) -> None:
    again = type(make(name))()
    first, second = (task.make_episode(np.random.default_rng(5)) for task in (make(name), again))
    other = make(name).make_episode(np.random.default_rng(6))
    for a, b in zip(first, second, strict=True):
        assert a.keys() == b.keys() and all(np.array_equal(a[key], b[key]) for key in a)
    drawn = [np.concatenate([np.ravel(v) for part in episode for v in part.values()]) for episode in (first, other)]
    assert not np.array_equal(*drawn)


@pytest.mark.parametrize("name", HASHES)
def test_goals_are_what_they_were(name: str) -> None:
    key, expected = HASHES[name]
    goal = make(name).make_goal(np.random.default_rng(5))[key]
    assert hashlib.sha256((np.round(goal, 6) + 0.0).tobytes()).hexdigest()[:12] == expected


def test_a_pattern_reached_is_a_score_of_one() -> None:
    task = make("LatteArtStir")
    goal = {name: value[None] for name, value in task.make_goal(np.random.default_rng(5)).items()}
    position = task.scene.position[None].copy()
    position[:, task.rows("milk"), :2] = goal["target"]
    arrays = {"position": position, "active": np.ones(position.shape[:2]), "action": np.zeros((1, 3))}
    view = make_view(arrays | {"previous_action": np.zeros((1, 3))}, goal)
    assert np.isclose(task.matched.value(view)[0, 0], 0.0)


@pytest.mark.parametrize("name", ["IceCreamStatic", "IceCreamDynamic"])
def test_a_swirl_laid_is_a_score_of_one(name: str) -> None:
    task = make(name)
    goal = {key: value[None] for key, value in task.make_goal(np.random.default_rng(5)).items()}
    effectors = task.scene.effectors
    arrays = {
        "position": goal["target"] + task.cone_start,
        "active": np.ones((1, len(task.scene.position))),
        "effector_position": np.stack([effector.pose[:3] for effector in effectors])[None],
        "effector_orientation": np.stack([effector.pose[3:] for effector in effectors])[None],
        "action": np.zeros((1, 3)),
        "previous_action": np.zeros((1, 3)),
    }
    assert np.isclose(task.overlap.value(make_view(arrays, goal))[0, 0], 1.0)
    for term in task.reward:
        assert np.isclose(term.feature.value(make_view(arrays, goal))[0, 0], 0.0, atol=1e-6), term.feature.name
    nothing = make_view(arrays | {"active": np.zeros((1, len(task.scene.position)))}, goal)
    assert task.overlap.value(nothing)[0, 0] == 0.0


def test_a_swirl_fills_the_cone_and_then_winds_up() -> None:
    places = swirl(0.003, phase=0.0, hand=1.0)
    within = places[:, 2] < RIM_HEIGHT
    first = int(within.sum())
    assert within[:first].all() and CONE.holds(places[:first]).all()
    volume = np.pi * CONE.radius**2 * CONE.depth / 3
    assert 0.9 * volume < first * 0.003**3 < 1.05 * volume
    coils = np.stack([part.mean(axis=0) for part in np.array_split(places[first:], 8)])
    turn = np.diff(np.unwrap(np.arctan2(coils[:, 1], coils[:, 0])))
    assert (turn > 0).all() and 2.2 * np.pi < turn.sum() < 2.6 * np.pi
    assert (np.diff(coils[:, 2]) > 0).all()
    other = swirl(0.003, phase=0.7, hand=-1.0)
    off = np.hypot(*places[:, :2].T) > 1e-9  # the axis
    angle = (np.arctan2(other[:, 1], other[:, 0]) + np.arctan2(places[:, 1], places[:, 0]))[off]
    assert np.allclose(np.cos(angle), np.cos(0.7)) and np.allclose(np.sin(angle), np.sin(0.7))
    assert np.allclose(other[:, 2], places[:, 2])


def test_an_opening_can_follow_the_swirl() -> None:
    """The middles of what belongs together go on no faster than the dispenser can (diagonally), but for few steps."""
    task = make("IceCreamStatic")
    course = task.make_goal(np.random.default_rng(5))["course"][OPENS:CLOSES]
    way = np.linalg.norm(np.diff(course, axis=0)[:, :2], axis=1)
    assert np.mean(way < 2**0.5 * SPEED * task.step_time) > 0.9
    around = np.unwrap(np.arctan2(course[6:, 1], course[6:, 0]))
    assert (abs(np.diff(around)) < np.pi / 2).all() and abs(around[-1] - around[0]) > 4 * np.pi


def test_places_are_given_by_the_side_of_the_opening() -> None:
    """Each section keeps its places; within it, the offsets of places and particles go together."""
    places = swirl(0.003, phase=0.4, hand=-1.0)
    across = np.random.default_rng(0).normal(size=(len(places), 2))
    assigned = assign_places(places, across)
    parts = np.array_split(np.arange(len(places)), len(places) // SECTION)
    for part in parts:
        assert np.array_equal(np.unique(assigned[part], axis=0), np.unique(places[part], axis=0))
        before, after = (((p[part, :2] - p[part, :2].mean(axis=0)) * across[part]).sum() for p in (places, assigned))
        swapped = assigned[part].copy()
        swapped[[0, 1]] = swapped[[1, 0]]
        assert after > before and after >= ((swapped[:, :2] - swapped[:, :2].mean(axis=0)) * across[part]).sum()


def test_the_overlap_tells_swirls_apart() -> None:
    """What the documented scale says: a full cone, a swirl turned by pi, the swirl in disorder by its spacing."""
    task = make("IceCreamStatic")
    places = swirl(task.spacing, phase=0.0, hand=1.0)
    rng = np.random.default_rng(0)
    others = (
        places[places[:, 2] < RIM_HEIGHT],
        places * [-1.0, -1.0, 1.0],
        places + rng.uniform(-task.spacing, task.spacing, places.shape),
    )
    target = task.grid.density(places[None])
    found = [f.overlap(task.grid.density(other[None]), target)[0] for other in others]
    assert np.allclose(found, [0.62, 0.80, 0.95], atol=0.01)


@pytest.mark.parametrize(
    ("name", "action", "touched"),
    [
        ("IceCreamStatic", [0.8, 0.1, 0.1], "cone"),
        ("IceCreamDynamic", [-0.8, 0.1, -0.1], "cone"),
        ("Transporting", [0.9, 0.1], "cube"),
    ],
)
def test_gradient_while_what_is_injected_touches(name: str, action: list[float], touched: str) -> None:
    """Windows that end when the ice cream lies in the cone, or the jet pushes the cube over the floor."""
    task = make(name)
    rollout = Rollout(task, batch=1, options=Options(precision="f64", differentiable=True))
    rng, h = np.random.default_rng(0), 1e-6
    actions = 0.05 * rng.normal(size=(14, task.action_size))
    actions[:6] += action
    direction = rng.normal(size=actions.shape)

    def run(actions: np.ndarray) -> float:
        rollout.reset([np.random.default_rng(0)])
        return sum(float(rollout.step(action[None]).reward[0]) for action in actions)

    run(actions)
    if touched == "cube":
        rows = task.rows("cube")
        assert np.linalg.norm((rollout.state("position")[0, rows] - task.scene.position[rows]).mean(axis=0)) > 1e-4
    else:
        assert np.linalg.norm(rollout.world.output("effector_force")[0, task.cone_number]) > 1e-3
    assert 100 < rollout.world.derived("active").sum() < len(task.scene.position)
    analytic = (rollout.tape.backward(None, None).actions[0] * direction).sum()
    numeric = (run(actions + h * direction) - run(actions - h * direction)) / (2 * h)
    rollout.close()
    assert np.isclose(analytic, numeric, rtol=1e-4)


def test_an_even_mixture_is_a_score_of_one() -> None:
    """Milk sites drawn at random over the tank leave hardly any segregation, the blob leaves several units."""
    task = make("Mixing")
    goal = {name: value[None] for name, value in task.make_goal(np.random.default_rng(5)).items()}
    errors = []
    for position in (task.scene.position, np.random.default_rng(0).permutation(task.scene.position)):
        arrays = {"position": position[None], "active": np.ones((1, len(position))), "action": np.zeros((1, 3))}
        errors.append(task.segregation.value(make_view(arrays | {"previous_action": np.zeros((1, 3))}, goal))[0, 0])
    assert errors[0] > 3.0 and errors[1] < 0.25


@pytest.mark.parametrize("name", HASHES)
def test_sizes(name: str) -> None:
    fine = make(name, resolution="full")
    small, full = make(name).scene, fine.scene
    assert full.parts(dt=fine.dt, soft_contact=True), "the substep is too long for the full size"
    assert 1_500 <= len(small.position) <= 6_000
    assert 0.6 * FULL[name] <= len(full.position) <= 1.6 * FULL[name]
    assert np.allclose(small.size, full.size)


# ---------------------------------------------------------------------- workspace


@pytest.mark.parametrize("name", [name for name in HASHES if name != "Transporting"])  # whose nozzle moves along y
def test_tools_stay_in_their_workspace(name: str) -> None:
    rollout = Rollout(make(name), batch=1)
    rollout.reset([np.random.default_rng(0)])
    ((number, (low, high)),) = make(name).workspace.items()
    action = np.zeros((1, make(name).action_size))
    action[:, :3] = [1.0, -1.0, -1.0]
    for _ in range(40):
        rollout.step(action)
    place = rollout.state("effector_position")[0, number]
    rollout.close()
    assert (place >= np.asarray(low) - 1e-6).all() and (place <= np.asarray(high) + 1e-6).all()
    assert np.allclose(place, [high[0], low[1], low[2]], atol=1e-5)


def test_gradient_where_the_workspace_ends() -> None:
    """Actions that a bound cuts short, the start of the tool, and the actions that come after it has turned back."""
    task = make("Mixing")
    rollout = Rollout(task, batch=1, options=Options(precision="f64", differentiable=True))
    actions = np.array([[0.9, 0.2, -0.5]] * 4 + [[-0.8, 0.3, 0.4]] * 2)
    _, high = task.workspace[0]

    def run(actions: np.ndarray, shift: np.ndarray) -> float:
        rollout.reset([np.random.default_rng(1)])
        start = rollout.state("effector_position") + shift
        start[..., 0] += high[0] - task.scene.effectors[0].pose[0] - 0.0117
        rollout.reset([np.random.default_rng(1)], state={"effector_position": start})
        return sum(float(rollout.step(action[None]).reward[0]) for action in actions)

    run(actions, np.zeros(3))
    gradient = rollout.tape.backward(None, None)
    assert not gradient.actions[0, 3, 0] and gradient.actions[0, 4, 0]
    rng, h = np.random.default_rng(3), 1e-6
    direction, away = rng.normal(size=actions.shape), rng.normal(size=3) * [0.01, 0.01, 0.0]
    for da, dx in ((direction, 0.0 * away), (0.0 * direction, away)):
        analytic = (gradient.actions[0] * da).sum() + (gradient.initial_state["effector_position"][0, 0] * dx).sum()
        numeric = (run(actions + h * da, h * dx) - run(actions - h * da, -h * dx)) / (2 * h)
        assert np.isclose(analytic, numeric, rtol=1e-4)
    rollout.close()
