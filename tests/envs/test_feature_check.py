"""The check that users run on features of their own passes right ones and says what is wrong with others."""

from __future__ import annotations

from typing import Any

import nudge
import numpy as np
import pytest

from pliant.envs import features as f
from pliant.envs.features.check import check_feature, random_view


class MeanSpeed(f.Feature):
    """Mean squared speed of all particles."""

    name, size = "speed", 1

    def value(self, view: f.View) -> np.ndarray:
        return (view.array("velocity") ** 2).mean(axis=(1, 2))[:, None]

    def adjoint(self, view: f.View, cotangent: np.ndarray, sink: f.Sink) -> None:
        velocity = view.array("velocity")
        sink.add("velocity", 2.0 * velocity * cotangent[:, :, None] / velocity[0].size)


def test_a_right_feature_passes_at_a_random_view_and_in_an_environment() -> None:
    assert {str(c).split(":")[0] for c in check_feature(MeanSpeed())} == {"d speed / d velocity"}
    assert check_feature(MeanSpeed(), random_view(dim=2, particles=1, batch=1))
    for num_envs in (None, 2):
        env = nudge.make(num_envs)
        env.reset(seed=0)
        env.step(env.action_space.sample())
        assert all(c.error < 1e-6 for c in check_feature(MeanSpeed(), env.view()))
        env.close()


def test_every_feature_of_a_task_passes_in_its_environment() -> None:
    env = nudge.make(precision="f64")
    env.reset(seed=0)
    for _ in range(2):
        env.step(np.array([0.9, -0.1]))
    parts = [part.feature for part in env.task.observation] + [term.feature for term in env.task.reward]
    compared = {c.input for feature in parts for c in check_feature(feature, env.view())}
    assert compared == {"position", "effector_force", "action", "previous_action"}
    env.close()


def test_the_clock_and_goals_have_nothing_to_compare() -> None:
    assert check_feature(f.Phase()) == []
    assert check_feature(f.GoalValue("target", 2), random_view(goal={"target": [0.1, 0.2]})) == []


class Scaled(MeanSpeed):
    def adjoint(self, view: f.View, cotangent: np.ndarray, sink: f.Sink) -> None:
        super().adjoint(view, 1.001 * cotangent, sink)


class Forgotten(MeanSpeed):
    adjoint = f.Feature.adjoint


class Invented(MeanSpeed):
    def adjoint(self, view: f.View, cotangent: np.ndarray, sink: f.Sink) -> None:
        super().adjoint(view, cotangent, sink)
        sink.add("position", np.ones_like(view.array("position")))


class CotangentIgnored(MeanSpeed):
    def adjoint(self, view: f.View, cotangent: np.ndarray, sink: f.Sink) -> None:
        super().adjoint(view, np.ones_like(cotangent), sink)


class NotANumber(MeanSpeed):
    def adjoint(self, view: f.View, cotangent: np.ndarray, sink: f.Sink) -> None:
        super().adjoint(view, np.nan * cotangent, sink)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Scaled, r"feature 'speed': .*\n.*d speed / d velocity: central differences .*, adjoint .*error 0\.000999"),
        (Forgotten, r"d speed / d velocity: .* adjoint 0, .*\n.*no method adjoint"),
        (Invented, r"d speed / d position: central differences 0, adjoint"),
        (CotangentIgnored, "d speed / d velocity"),
        (NotANumber, r"d speed / d velocity: .* adjoint nan"),
    ],
)
def test_a_wrong_adjoint_is_shown_beside_the_differences(kind: type[f.Feature], words: str) -> None:
    with pytest.raises(AssertionError, match=f"(?s){words}"):
        check_feature(kind())


class Feature(f.Feature):
    """A feature whose value is what it is told."""

    name: Any = "odd"
    size: Any = 1

    def __init__(self, value: Any, **attributes: Any) -> None:
        self._value = value
        self.__dict__.update(attributes)

    def value(self, view: f.View) -> np.ndarray:
        return self._value(view)


def over_all_worlds(view: f.View) -> np.ndarray:
    return np.full((view.batch, 1), view.array("position").mean())


def overwritten(view: f.View) -> np.ndarray:
    view.array("position")[:] = 0.0
    return view.array("position")[:, 0, :1]


COUNT = iter(range(1000))
WRONG: list[tuple[Any, str]] = [
    (3, "feature=3 must be"),
    (MeanSpeed, "feature=.*must be an instance"),
    (Feature(lambda v: v.step, name=""), "name of the feature='' must be"),
    (Feature(lambda v: v.step, size=0), "size of feature 'odd'=0 must be"),
    (
        Feature(lambda v: v.step),
        r"value of feature 'odd' is shape \(2,\) .* must be of shape \(2, 1\) and type float",
    ),
    (Feature(lambda v: v.array("position")[:, 0]), r"shape \(2, 3\).*must be of shape \(2, 1\)"),
    (Feature(lambda v: v.array("position")[:, 0, :1].astype(np.float32)), "type float32"),
    (Feature(lambda v: 0.0), "value of feature 'odd' is 0.0"),
    (Feature(lambda v: np.full((v.batch, 1), np.inf)), "value of feature 'odd'.*finite"),
    (Feature(lambda v: v.goal["target"]), "needs 'target'.*goal has nothing"),
    (f.Rows("far", "position", [3, 77], 3), "'far' reads rows.*77 is out of bounds.*numbers of particles"),
    (Feature(lambda v: v.array("charm")), "no array 'charm', only position.*arrays"),
    (Feature(lambda v: np.full((v.batch, 1), float(next(COUNT)))), "another value when it is asked again"),
    (Feature(over_all_worlds), "depends on 'position' of another"),
    (Feature(overwritten), "read-only"),
]


@pytest.mark.parametrize(("feature", "words"), WRONG)
def test_what_is_no_feature_is_refused_with_the_reason(feature: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        check_feature(feature)


def test_a_cotangent_is_not_the_features_to_change() -> None:
    class Overwrites(MeanSpeed):
        def adjoint(self, view: f.View, cotangent: np.ndarray, sink: f.Sink) -> None:
            cotangent *= 2.0

    with pytest.raises(ValueError, match="read-only"):
        check_feature(Overwrites())


def test_nothing_is_differentiable_by_whether_a_particle_is_there() -> None:
    class Present(f.Feature):
        name, size = "present", 1

        def value(self, view: f.View) -> np.ndarray:
            return view.array("active").mean(axis=1, keepdims=True)

    assert check_feature(Present()) == []

    class Wrong(Present):
        def adjoint(self, view: f.View, cotangent: np.ndarray, sink: f.Sink) -> None:
            sink.add("active", np.ones_like(view.array("active")))

    with pytest.raises(ValueError, match="'active' a cotangent"):
        check_feature(Wrong())


@pytest.mark.parametrize(
    "wrong",
    [{"dim": 4}, {"particles": 0}, {"effectors": -1}, {"action_size": 0}, {"batch": 0}, {"seed": -1}]
    + [{"goal": {"target": "far"}}, {"arrays": {"heat": np.ones(3)}}, {"arrays": {"heat": [[np.nan], [1.0]]}}],
    ids=str,
)
def test_random_views_refuse_by_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        random_view(**wrong)


def test_a_view_is_good_for_one_state_and_wants_an_episode() -> None:
    env = nudge.make()
    with pytest.raises(RuntimeError, match="reset"):
        env.view()
    env.reset(seed=0)
    assert env.view().batch == 1 and env.view().step.tolist() == [0]
    np.testing.assert_array_equal(env.view().array("position")[0], env.state("position"))
    env.close()
    with pytest.raises(RuntimeError, match="closed"):
        env.view()
    with pytest.raises(ValueError, match="view=3 must be a View"):
        check_feature(MeanSpeed(), 3)  # type: ignore[arg-type]


def test_more_arrays_are_read_by_name() -> None:
    heat = f.Rows("heat", "heat", [0, 2], 1)
    (first, *_) = check_feature(heat, random_view(arrays={"heat": np.random.default_rng(0).normal(size=(2, 3, 1))}))
    assert first.input == "heat"
