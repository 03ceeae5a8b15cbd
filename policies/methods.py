"""Methods of training by name: one form for all of them.

A new method is one file and one line. The file defines what `TrainingMethod` asks for; the line in ``METHODS`` names
the file and says what the command has to know before it loads it. Nothing heavier than NumPy is imported here: a
method's module, and torch with it, is loaded by `Method.load`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Literal, Protocol, cast

THROUGH_PHYSICS: Mapping[str, Any] = {"differentiable": True}
"""Worlds that give gradients."""
FROM_REWARDS: Mapping[str, Any] = {"autoreset_mode": "SameStep", "on_divergence": "truncate"}
"""Worlds that begin a new episode within a step; where one diverges, only its own episode ends."""
BUDGETS = ("steps", "minutes", "iterations")
"""Settings that bound a run. They may grow when it is resumed."""

OnIteration = Callable[[Callable[[], dict[str, Any]], Any, dict[str, float]], None]
"""Called as ``on_iteration(snapshot, policy, row)`` after each iteration.

``snapshot()`` gives the state of the training at that moment; ``policy`` acts without noise; ``row`` has at least the
keys "iteration", "simulated_steps", "seconds", "return" and "score".
"""


@dataclass
class Result:
    """What a training gives.

    Attributes:
        policy: with the weights after the last update. ``policy.act`` maps observations (B, O) to actions (B, A),
            without noise; `pliant.policies.networks.policy_files.save_policy` writes it.
        history: one row per iteration, as ``on_iteration`` got them.
        simulated_steps: forward environment steps of all worlds.
        seconds: time of training [s].
        state: what a later call goes on from, for `pliant.policies.files.training_state.pack`.
        reverse_steps: environment steps of all worlds that gradients have gone back through.
    """

    policy: Any
    history: list[dict[str, float]]
    simulated_steps: int
    seconds: float
    state: dict[str, Any]
    reverse_steps: int = 0


class TrainingMethod(Protocol):
    """What the module of a method defines."""

    Settings: type
    """A dataclass of the method's settings, all with defaults. The command fills in "seed", "minutes" and the word of
    `Method.budget`; users set the others. "horizon", where there is one, shortens episodes."""

    def check_settings(self, settings: Any, /) -> None:
        """Raise ``ValueError`` naming the first field that is out of range, its value and what is allowed."""

    def train(
        self,
        env: Any,
        settings: Any,
        /,
        *,
        on_iteration: OnIteration | None = None,
        state: dict[str, Any] | None = None,
    ) -> Result:
        """Train a policy until the budget in the settings is used up.

        Args:
            env: a vector environment made with `Method.worlds`.
            settings: an instance of ``Settings``.
            on_iteration: see `OnIteration`.
            state: what ``snapshot()`` gave; the rest of the run is the same as if it had not been interrupted.

        Raises:
            ValueError: a setting is out of range, or the state is of another run.
        """


@dataclass(frozen=True)
class Method:
    """One method of training, as the command knows it before its module is loaded.

    Attributes:
        module: dotted name of the module, which is a `TrainingMethod`.
        about: what it is, in a few words.
        worlds: keyword arguments of the environment that it learns in.
        budget: the field of its settings that bounds a run: "steps", simulated steps of all worlds together, or
            "iterations", each of them an episode in every world.
        num_envs: worlds that are simulated at a time where ``policies/hyperparameters`` says nothing of the method.
    """

    module: str
    about: str
    worlds: Mapping[str, Any] = field(default_factory=lambda: THROUGH_PHYSICS)
    budget: Literal["steps", "iterations"] = "steps"
    num_envs: int = 8

    @property
    def differentiable(self) -> bool:
        """Whether its worlds keep what gradients need."""
        return bool(self.worlds.get("differentiable", False))

    def load(self) -> TrainingMethod:
        """The module, with whatever it imports.

        Raises:
            ImportError: a library that it needs is not installed.
        """
        return cast(TrainingMethod, import_module(self.module))

    def make_settings(
        self, given: Mapping[str, Any], *, steps: int, minutes: float, episode: int, num_envs: int
    ) -> Any:
        """The settings ``given`` by name, with a budget, checked.

        Args:
            given: by the names of the fields.
            steps: simulated environment steps, all worlds together.
            minutes: time of training [min]; 0 is no bound.
            episode: steps of an episode of the environment.
            num_envs: number of worlds.

        Raises:
            ValueError: a setting is out of range; the message names it.
        """
        module = self.load()
        horizon = given.get("horizon", 0)
        length = min(horizon, episode) if horizon > 0 else episode
        bound = steps if self.budget == "steps" else -(-steps // (length * num_envs))
        settings = module.Settings(**{self.budget: bound, "minutes": minutes, **given})
        module.check_settings(settings)
        return settings


METHODS: dict[str, Method] = {
    "bptt": Method(
        "pliant.policies.through_physics.bptt",
        "back-propagation through time and physics",
        budget="iterations",
    ),
    "shac": Method("pliant.policies.through_physics.shac", "short-horizon actor-critic, through the physics"),
    "sapo": Method("pliant.policies.through_physics.sapo", "SHAC with maximum entropy, through the physics"),
    "ahac": Method("pliant.policies.through_physics.ahac", "SHAC whose windows avoid stiffness, through the physics"),
    "mixed": Method(
        "pliant.policies.through_physics.mixed_gradients", "gradients through the physics mixed with zeroth-order ones"
    ),
    "ivw": Method(
        "pliant.policies.through_physics.ivw", "first and zeroth order mixed step by step, by inverse variances"
    ),
    "ppo": Method("pliant.policies.reinforcement.ppo", "proximal policy optimisation, from rewards", FROM_REWARDS),
    "sac": Method("pliant.policies.reinforcement.sac", "soft actor-critic, from rewards", FROM_REWARDS),
    "td3": Method("pliant.policies.reinforcement.td3", "twin delayed DDPG, from rewards", FROM_REWARDS),
    "tqc": Method("pliant.policies.reinforcement.tqc", "truncated quantile critics, from rewards", FROM_REWARDS),
    "crossq": Method("pliant.policies.reinforcement.crossq", "SAC without target networks, from rewards", FROM_REWARDS),
}
"""All methods by the name that ``pliant train --algo`` takes, in the order in which they are listed."""


def find_method(name: str) -> Method:
    """The method of a name.

    Raises:
        ValueError: there is none; the message names those that there are.
    """
    if name not in METHODS:
        raise ValueError(f"algo={name!r} is unknown; allowed: {', '.join(METHODS)}")
    return METHODS[name]
