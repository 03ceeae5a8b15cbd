"""Copies and pickles of environments: each is another environment in the same state.

A copy is made from the arguments of the original and is given its parameters, its episode, its random generators and
all that has been set on it. Nothing is shared. Steps that the original has recorded are not part of it: gradients of
a copy are of its own steps, and ``initial_state`` is the state that it was copied in.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from pliant.sims.copying import MadeAnew

if TYPE_CHECKING:
    from pliant.envs.rollout import Rollout

REMADE = ("task", "_options", "_rollout", "_pictures", "_made_from")
"""Attributes that the constructor makes, or that are made when they are needed."""


class CopiedEnv(MadeAnew):
    """The part of a `TaskEnv` or `TaskVectorEnv` that copies and pickles it."""

    _rollout: Rollout

    def _arguments(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        args, kwargs = super()._arguments()
        accepted = inspect.signature(type(self)).parameters.values()
        if any(p.name == "max_episode_steps" or p.kind is inspect.Parameter.VAR_KEYWORD for p in accepted):
            kwargs = kwargs | {"max_episode_steps": self.horizon}  # type: ignore[attr-defined]
        return args, kwargs

    def __getstate__(self) -> dict[str, Any]:
        """What a copy is given: "attributes", "world", "usual" parameters, and "episode", a snapshot, if there is one.

        Raises:
            RuntimeError: the environment is closed, or a backward sweep is under way.
        """
        self.check_open()  # type: ignore[attr-defined]
        self._rollout.tape.check_no_sweep()
        return {
            "attributes": {name: value for name, value in vars(self).items() if name not in REMADE},
            "world": self._rollout.world.__getstate__(),
            "usual": self._rollout.parameters.usual,
            "episode": None if self._last is None else self.snapshot(),  # type: ignore[attr-defined]
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        if state["episode"] is not None:
            self.restore(state["episode"])  # type: ignore[attr-defined]
        self._rollout.world.__setstate__(state["world"])
        self._rollout.parameters.usual = state["usual"]
        self.__dict__.update(state["attributes"])
