"""Every public method of both faces of an environment, each argument in turn replaced by hostile values.

A call that is refused leaves the environment as it was, to the last bit; after all calls it does what a new one does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from pliant.envs import ENTRIES
from pliant.envs.base import TaskEnv, TaskVectorEnv
from pliant.envs.differentiable import load_task
from pliant.envs.task import make_config
from tests.hostile import attempt, describe, numbers, values

ID = "pliant/FingerReach-v0"
TASK = "pliant.envs.locomotion.finger_reach:FingerReach"
WORLDS, STEPS = 2, 2
FACES = ("single", "vector")

Accepts = Callable[[Any], bool | None]
Slot = tuple[str, Callable[[Any, Any], Any], str, Accepts]


def nothing(value: Any) -> bool:
    return False


def only_none(value: Any) -> bool:
    return value is None


def broadcast(*shape: int) -> Accepts:
    """Real numbers that broadcast to the shape; whether their size is physical is for the call to say."""

    def accepts(value: Any) -> bool | None:
        try:
            np.broadcast_to(np.asarray(value), shape)
        except Exception:
            return False
        return None if numbers(value, np.shape(value)) is not False else np.asarray(value).dtype.kind == "b" and None

    return accepts


def exactly(*shape: int, worlds: tuple[int, ...] = ()) -> Accepts:
    """Real numbers of the shape, of one of so many worlds, finite in float64: actions beyond their bounds are cut."""
    allowed = [(count, *shape) for count in worlds] or [shape]

    def accepts(value: Any) -> bool | None:
        try:
            array = np.asarray(value)
            fits = array.shape in allowed and (array.dtype.kind in "iuf" or not array.size)
            return None if fits and np.isfinite(array).all() else False
        except Exception:
            return False

    return accepts


def or_none(accepts: Accepts) -> Accepts:
    return lambda value: None if value is None else accepts(value)


def table(value: Any) -> bool | None:
    return None if value is None or (isinstance(value, dict) and not value) else False


def seed(value: Any) -> bool | None:
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, (bool, np.timedelta64))
    return None if value is None or (whole and value >= 0) else False


def seeds(value: Any) -> bool | None:
    many = isinstance(value, (list, tuple, range)) or (isinstance(value, np.ndarray) and value.ndim)
    if many:
        return None if len(value) == WORLDS and all(seed(one) is None for one in value) else False
    return seed(value)


def discount(value: Any) -> bool | None:
    return None if number(value) and 0 <= value <= 1 else False


def number(value: Any) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, (bool, np.timedelta64))


def mask(value: Any) -> bool | None:
    is_mask = isinstance(value, np.ndarray) and value.dtype == bool and value.shape == (WORLDS,)
    return None if is_mask and value.any() else False


class Player:
    """An environment in the middle of an episode, to which hostile calls are made."""

    def __init__(self, face: str) -> None:
        self.lead = () if face == "single" else (WORLDS,)
        self.env = make(face)
        self.size = self.env.task.action_size
        self.observation = self.env.outcome.observation.shape[1] if self.env._last else 0
        self.begin()
        self.observation = self.env.outcome.observation.shape[1]
        self.before = self.env.snapshot()

    def begin(self) -> None:
        self.env.reset(seed=0)
        for t in range(STEPS):
            self.env.step(np.full((*self.lead, self.size), 0.1 * (t + 1), np.float32))

    def is_as_before(self) -> bool:
        now = self.env.snapshot()
        same = now.keys() == self.before.keys() and self.env._rollout.tape.recorded_steps == STEPS
        return same and all(np.array_equal(now[name], kept) for name, kept in self.before.items())

    def slots(self) -> Iterator[Slot]:
        lead, size, seen = self.lead, self.size, self.observation
        particles = self.env.state("position").shape
        kind = mask if lead else nothing
        reset_seed = seeds if lead else seed
        actions = np.zeros((*lead, 1, size))
        yield "step", lambda e, v: e.step(v), "action", exactly(*lead, size)
        yield "reset seed", lambda e, v: e.reset(seed=v), "seed", reset_seed
        yield "reset options", lambda e, v: e.reset(options=v), "option", table
        for name in ("state", "parameters"):
            yield f"reset {name}", lambda e, v, n=name: e.reset(options={n: v}), "state|parameter", table
        for name, shape in (("position", particles), ("velocity", particles)):
            start = lambda e, v, n=name: e.reset(options={"state": {n: v}})  # noqa: E731
            yield f"reset state {name}", start, name, broadcast(*shape)
        for name in ("gravity", "youngs_modulus"):
            start = lambda e, v, n=name: e.reset(options={"parameters": {n: v}})  # noqa: E731
            yield f"reset parameter {name}", start, name, broadcast(*self.env.parameter(name).shape)
            change = lambda e, v, n=name: e.set_parameter(n, v)  # noqa: E731
            yield f"set_parameter {name}", change, name, broadcast(*self.env.parameter(name).shape)
        yield "reset mask", lambda e, v: e.reset(options={"reset_mask": v}), "reset_mask|differentiable", kind
        yield "set_parameter", lambda e, v: e.set_parameter(v, 1.0), "parameter", nothing
        yield "state", lambda e, v: e.state(v), "state", nothing
        yield "parameter", lambda e, v: e.parameter(v), "parameter", nothing
        yield "restore", lambda e, v: e.restore(v), "snapshot", nothing
        for entry, kept in self.before.items():
            change = lambda e, v, n=entry: e.restore(self.before | {n: v})  # noqa: E731
            names = f"{entry}|{entry.partition('.')[2] or entry}"
            yield f"restore {entry}", change, names, exactly(*kept.shape[1:], worlds=(1, len(kept)))
        yield "restore more", lambda e, v: e.restore(self.before | {"more": v}), "more", nothing
        yield "backward weights", lambda e, v: e.backward(v), "reward_weights", or_none(broadcast(*lead, STEPS))
        cotangents = or_none(broadcast(*lead, STEPS + 1, seen))
        yield "backward cotangents", lambda e, v: e.backward(None, v), "observation_cotangents", cotangents
        yield "backward_step", lambda e, v: e.backward_step(v), "reward_weight", broadcast(*lead)
        cotangent = or_none(broadcast(*lead, seen))
        yield "backward_step cotangent", lambda e, v: e.backward_step(1.0, v), "observation_cotangent", cotangent
        yield "backward_end", self.end, "observation_cotangent", cotangent
        for name in ("evaluate", "value_and_grad"):
            run = lambda e, v, n=name: getattr(e, n)(v)  # noqa: E731
            yield f"{name} actions", run, "action", exactly(*actions.shape)
            for argument, accepts in (("seed", reset_seed), ("discount", discount), ("options", table)):
                run = lambda e, v, n=name, a=argument: getattr(e, n)(actions, **{a: v})  # noqa: E731
                yield f"{name} {argument}", run, argument.rstrip("s"), accepts

    def end(self, env: Any, value: Any) -> Any:
        for _ in range(STEPS):
            env.backward_step()
        return env.backward_end(value)


def make(face: str) -> Any:
    made = gym.make(ID, differentiable=True) if face == "single" else gym.make_vec(ID, WORLDS, differentiable=True)
    made.unwrapped.reset(seed=0)
    return made.unwrapped


def course(env: Any, lead: tuple[int, ...]) -> list[np.ndarray]:
    """What an environment does: an episode's observations, rewards and gradient, and its parameters."""
    actions = np.random.default_rng(0).uniform(-1, 1, (*lead, 6, env.task.action_size))
    value, gradient = env.value_and_grad(actions, seed=3)
    parts = [np.asarray(value), env.outcome.observation, gradient.actions, *gradient.initial_state.values()]
    return parts + [env.parameter(name) for name in env.parameter_names] + list(gradient.parameters.values())


@pytest.mark.parametrize("face", FACES)
def test_hostile_calls_are_refused_by_name_and_change_nothing(face: str) -> None:
    player = Player(face)
    env, count, wrong = player.env, 0, []
    reference = course(env, player.lead)
    usual = {name: env.parameter(name) for name in env.parameter_names}
    player.begin()
    for label, call, words, accepts in player.slots():
        for value in values():
            count += 1
            taken = accepts(value)
            problem, is_refused = attempt(lambda c=call, v=value: c(env, v), words, taken)
            if is_refused:
                env.backward_stop()
                if not player.is_as_before():
                    problem = "refused, but it is not as before"
                    player.begin()
            else:
                for name in ("gravity", "youngs_modulus"):
                    env.set_parameter(name, usual[name])
                player.begin()
            if problem:
                wrong.append(f"{label} {describe(value)}: {problem}")
    assert count > 2_000
    assert not wrong, f"{len(wrong)} of {count}:\n" + "\n".join(wrong[:400])
    fresh = make(face)
    for before, after, new in zip(reference, course(env, player.lead), course(fresh, player.lead), strict=True):
        np.testing.assert_array_equal(before, after)
        np.testing.assert_array_equal(after, new)
    fresh.close()
    env.close()


def flags(value: Any) -> bool | None:
    return None if isinstance(value, (bool, np.bool_)) else False


KEYWORDS: dict[str, Accepts] = {
    "task": nothing,
    "render_mode": or_none(nothing),
    "max_episode_steps": lambda v: seed(v) if not isinstance(v, bool) else False,
    "differentiable": flags,
    "device": nothing,
    "precision": nothing,
    "resolution": nothing,
    "soft_contact": flags,
    "memory": lambda v: None if (isinstance(v, str) and v == "1.0") or seed(v) is None else False,
    "parameters": lambda v: None if isinstance(v, dict) else table(v),
    "arm": nothing,
    "terminate_on_success": flags,
    "on_divergence": nothing,
    "colour": nothing,
    "youngs_modulus": lambda v: None if number(v) and v >= 0 else False,
}


def test_hostile_keywords_are_refused_by_name() -> None:
    count, wrong = 0, []
    for kind, more in ((TaskEnv, {}), (TaskVectorEnv, {"num_envs": nothing, "autoreset_mode": nothing})):
        for name, accepts in (KEYWORDS | more).items():
            for value in values():
                if accepts(value) is not False:
                    continue  # a new environment for each would take minutes
                count += 1
                keywords = {"task": TASK, name: value}
                problem, _ = attempt(lambda k=keywords, c=kind: c(**k), name, False)
                if problem:
                    wrong.append(f"{kind.__name__} {name}={describe(value)}: {problem}")
    assert count > 1_500
    assert not wrong, f"{len(wrong)} of {count}:\n" + "\n".join(wrong[:400])


def test_hostile_configurations_are_refused_by_name() -> None:
    count, wrong = 0, []
    for entry in ENTRIES:
        config = load_task(entry.task).Config
        for name, field in config.__dataclass_fields__.items():
            is_flag = True in field.metadata.get("allowed", ())
            for value in values():
                count += 1
                flag = is_flag and isinstance(value, (bool, np.bool_))
                taken = None if flag or number(value) or isinstance(value, str) or value is None else False
                problem, _ = attempt(lambda c=config, n=name, v=value: make_config(c, {n: v}), name, taken)
                if problem:
                    wrong.append(f"{entry.id} {name}={describe(value)}: {problem}")
    assert count > 500
    assert not wrong, f"{len(wrong)} of {count}:\n" + "\n".join(wrong[:100])


@pytest.mark.parametrize("face", FACES)
def test_a_closed_environment_says_so_whatever_it_is_asked(face: str) -> None:
    player = Player(face)
    slots = list(player.slots())
    player.env.close()
    for label, call, _words, _accepts in slots:
        if label not in ("state", "parameter"):
            for value in (None, 0.5, "abc"):
                with pytest.raises(RuntimeError, match="closed"):
                    call(player.env, value)
    player.env.close()
