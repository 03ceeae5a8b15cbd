"""Finding environments by the names that people type."""

from __future__ import annotations

import dataclasses
import difflib
import inspect
from typing import Any

from pliant.scripts.errors import CommandError

NAMESPACE = "pliant/"
ENTRY_POINT = "pliant.envs.base:TaskEnv"


def registered_ids() -> list[str]:
    """All ids of this package, sorted."""
    import gymnasium

    import pliant.envs  # noqa: F401  registers the ids

    return sorted(name for name in gymnasium.registry if name.startswith(NAMESPACE))


def short_name(env_id: str) -> str:
    """``FingerReach`` of ``pliant/FingerReach-v0``."""
    return env_id.rsplit("/", 1)[-1].rsplit("-v", 1)[0]


def resolve(name: str) -> str:
    """The full id for ``FingerReach``, ``FingerReach-v0``, ``pliant/FingerReach-v0``, or another id that was registered
    in this process by `pliant.envs.register`, or with a class. Nothing is imported for it.

    Raises:
        CommandError: nothing of that name is registered; the message suggests the nearest names.
    """
    import gymnasium

    from pliant.sims.inputs import shown

    ids = registered_ids()
    name = name.removeprefix("pliant.envs:")
    if name in gymnasium.registry:
        entry_point = gymnasium.registry[name].entry_point
        if entry_point == ENTRY_POINT or callable(entry_point):
            return name
        raise CommandError(f"{shown(name)} is not one of Pliant's environments; `pliant list` shows what there is")
    short = {full.removeprefix(NAMESPACE).rsplit("-v", 1)[0].lower(): full for full in ids}
    plain = name.lower().removeprefix(NAMESPACE)
    wanted = plain.rsplit("-v", 1)[0]
    if wanted in short and ("-v" not in plain or short[wanted].lower().endswith(plain)):
        return short[wanted]
    near = [short[match] for match in difflib.get_close_matches(wanted, short, n=3, cutoff=0.5)]
    hint = f"did you mean {' or '.join(near)}?" if near else "`pliant list` shows what there is"
    raise CommandError(f"there is no environment {shown(name)}; {hint}")


def own_options(env_id: str) -> tuple[str, ...]:
    """Names of a task's own numbers and words, the keyword arguments of its environment besides the common ones."""
    import gymnasium

    from pliant.envs.differentiable import load_task

    spec = gymnasium.registry[env_id]
    if spec.entry_point == ENTRY_POINT:
        return tuple(field.name for field in dataclasses.fields(load_task(spec.kwargs["task"]).Config))
    parameters = inspect.signature(spec.entry_point).parameters.values()  # type: ignore[arg-type]
    return tuple(p.name for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD))


def make(env_id: str, **options: Any) -> Any:
    """``gymnasium.make`` without its wrappers: the environment itself, with ``value_and_grad`` and the like.

    Raises:
        CommandError: the environment is not one of this package's kind.
    """
    import gymnasium

    env = gymnasium.make(env_id, disable_env_checker=True, **options).unwrapped
    if not hasattr(env, "value_and_grad"):
        raise CommandError(f"{env_id} is not a differentiable environment: it has no value_and_grad")
    return env


def make_vector(env_id: str, worlds: int, **options: Any) -> Any:
    """``worlds`` worlds of an environment, stepped together."""
    import gymnasium

    return gymnasium.make_vec(env_id, num_envs=worlds, vectorization_mode="vector_entry_point", **options).unwrapped
