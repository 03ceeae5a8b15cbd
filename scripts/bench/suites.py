"""What is compared: suites of tasks, methods, seeds and budgets, and what flags make of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pliant.scripts.bench.contestants import Contestant, contestants, find_contestant
from pliant.scripts.bench.options import Methods
from pliant.scripts.errors import CommandError


@dataclass(frozen=True)
class Suite:
    """A benchmark with a name.

    Attributes:
        tasks: by name; empty takes all that are registered.
        methods: by name; empty takes all.
        seeds: 0 to this, less one.
        episodes: budget of a run in episodes of its task, where ``steps`` does not name it.
        steps: budgets of tasks in simulated steps.
    """

    tasks: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    seeds: int = 3
    episodes: int = 100
    steps: Mapping[str, int] = field(default_factory=dict)


SUITES: dict[str, Suite] = {
    "smoke": Suite(
        ("FingerReach", "CableShape", "Walker2D"),
        ("gradient", "cmaes", "shac", "ppo"),
        seeds=1,
        episodes=40,
    ),
    "quick": Suite(
        (
            *("FingerReach", "ArmReach", "Walker2D", "Crawler3D"),
            *("Move", "Pinch", "Torus"),
            *("LatteArt", "Mixing", "Pouring"),
            *("CableShape", "BranchedCableShape", "ThreadInsertion"),
            *("SurfaceFollow", "ObjectRepose", "BoxOpen"),
        ),
        (
            *("gradient", "lbfgs", "cmaes", "random-search"),
            *("bptt", "shac", "sapo", "ahac", "ivw"),
            *("ppo", "sac", "tqc", "crossq"),
        ),
        seeds=3,
        episodes=60,
        steps={  # where steps are cheap
            **dict.fromkeys(("FingerReach", "Walker2D"), 16_000),
            **dict.fromkeys(("BranchedCableShape", "ThreadInsertion"), 24_000),
            "CableShape": 48_000,
        },
    ),
    "full": Suite(seeds=10, episodes=1000),
}


@dataclass(frozen=True)
class Task:
    """A task of a benchmark.

    Attributes:
        name: short.
        env_id: of its environment.
        family: the kind of task.
        episode: steps of an episode.
        summary: its goal.
        steps: budget of a run in simulated steps; 0 where the budget is time.
    """

    name: str
    env_id: str
    family: str
    episode: int
    summary: str
    steps: int = 0


@dataclass(frozen=True)
class Plan:
    """A benchmark: what is to be run.

    Attributes:
        suite: its name; "" where flags say everything.
        tasks, methods: in this order.
        seeds: 0 to this, less one.
        seconds: budget of a run [s]; 0 where it is steps.
    """

    suite: str
    tasks: tuple[Task, ...]
    methods: tuple[Contestant, ...]
    seeds: int
    seconds: float

    def budget(self) -> dict[str, Any]:
        """The budget, as files tell it."""
        return {"seconds": self.seconds} if self.seconds else {"steps": {task.name: task.steps for task in self.tasks}}


def plan_of(arguments: Methods) -> Plan:
    """What the flags ask for.

    Raises:
        CommandError: a flag is out of range, a name is unknown, or there is no budget.
    """
    _check(arguments)
    suite = SUITES[arguments.suite] if arguments.suite else Suite()
    if not arguments.suite and not (arguments.budget_steps or arguments.budget_seconds):
        raise CommandError("give the methods a budget: --suite, --budget-steps or --budget-seconds")
    named = arguments.tasks or ",".join(suite.tasks) or "all"
    tasks = [_task(env_id) for env_id in environments(named)]
    _check_folders(tasks)
    budgeted = tuple(_with_budget(task, suite, arguments) for task in tasks)
    methods = _words("methods", arguments.methods) if arguments.methods else suite.methods or tuple(contestants())
    return Plan(
        arguments.suite,
        budgeted,
        tuple(find_contestant(name) for name in methods),
        arguments.seeds or suite.seeds,
        arguments.budget_seconds,
    )


def _check(arguments: Methods) -> None:
    if arguments.suite and arguments.suite not in SUITES:
        raise CommandError(f"suite={arguments.suite!r} is unknown; allowed: {', '.join(SUITES)}")
    if arguments.budget_steps and arguments.budget_seconds:
        raise CommandError("the budget of a run is steps or seconds; pass --budget-steps or --budget-seconds")
    bounds = {"seeds": 10_000, "budget_steps": 10**12, "budget_seconds": 1e9, "workers": 1024, "limit_minutes": 1e7}
    for name, most in bounds.items():
        if not 0 <= getattr(arguments, name) <= most:
            raise CommandError(f"{name}={getattr(arguments, name)} must be at least 0, at most {most:g}")


def _check_folders(tasks: Sequence[Task]) -> None:
    """Refuse environments that would share a folder: the same one by two names, or two that differ in their namespace
    or version alone."""
    ids: dict[str, str] = {}
    for task in tasks:
        if task.name in ids:
            raise CommandError(
                f"tasks: {ids[task.name]} and {task.env_id} are both {task.name} here; compare them in two benchmarks"
            )
        ids[task.name] = task.env_id


def _words(name: str, text: str) -> tuple[str, ...]:
    words = tuple(word.strip() for word in text.split(",") if word.strip())
    if not words:
        raise CommandError(f"{name}={text!r} names nothing")
    twice = {word for word in words if words.count(word) > 1}
    if twice:
        raise CommandError(f"{name}={text!r} names {', '.join(sorted(twice))} twice")
    return words


def environments(tasks: str) -> list[str]:
    """Ids of the environments TASK,TASK,...; "all" are those that are registered.

    Raises:
        CommandError: there is none of that name.
    """
    import gymnasium

    from pliant.envs.base import TaskEnv
    from pliant.scripts.environments import ENTRY_POINT, registered_ids, resolve

    if tasks != "all":
        return [resolve(name) for name in _words("tasks", tasks)]
    own, kinds = registered_ids(), (ENTRY_POINT, TaskEnv)
    return own + sorted(
        name for name, spec in gymnasium.registry.items() if name not in own and spec.entry_point in kinds
    )


def _task(env_id: str) -> Task:
    from pliant.envs import ENTRIES
    from pliant.scripts.environments import make, short_name

    for entry in ENTRIES:
        if entry.id == env_id:
            return Task(short_name(env_id), env_id, entry.task.split(".")[2], entry.horizon, entry.summary)
    env = make(env_id)  # of somebody else: only the environment knows its horizon
    try:
        return Task(short_name(env_id), env_id, "other", int(env.horizon), "")
    finally:
        env.close()


def _with_budget(task: Task, suite: Suite, arguments: Methods) -> Task:
    if arguments.budget_seconds:
        return task
    steps = arguments.budget_steps or suite.steps.get(task.name, suite.episodes * task.episode)
    return Task(task.name, task.env_id, task.family, task.episode, task.summary, steps)
