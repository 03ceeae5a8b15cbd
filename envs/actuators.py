"""Actuators: how actions become the controls of a World, and how cotangents of controls become those of actions.

The plain one is a matrix. Another one, `pliant.envs.arms.ArmActuator`, has a state of its own: joint angles.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pliant.envs.task import Task
    from pliant.sims.world import World


class Actuator:
    """``control = matrix @ action``, the matrices of ``task.action``.

    Attributes:
        state_names: arrays of its own state; they stand beside those of the World.
        governed: state arrays of the World that follow from its own state and cannot be set.
    """

    state_names: tuple[str, ...] = ()
    governed: tuple[str, ...] = ()

    def __init__(self, task: Task, world: World) -> None:
        self.world = world
        self.matrix = np.zeros((world.control_size, task.action_size))
        for name, matrix in task.action.items():
            self.matrix[world.control_layout[name]] = matrix

    def reset(self, worlds: np.ndarray) -> None:
        """Begin an episode in the worlds of the mask (B,), which are in their initial state."""

    def begin_window(self) -> None:
        """Forget the steps recorded; the current state is the start of a new recording."""

    def state(self, name: str, step: int | None = None) -> np.ndarray:
        """A copy of one of `state_names`, shape (B, ...), now or after environment step ``step`` of the recording."""
        raise KeyError(name)

    def set_state(self, name: str, values: np.ndarray, worlds: np.ndarray) -> None:
        """Overwrite a state array, ``values`` of shape (B, ...), in the worlds of the mask right after their reset.

        Names are those of the World and `state_names`.

        Raises:
            ValueError: the array is governed, or a value is out of range.
        """
        self.world.set_state(name, values, None if worlds.all() else worlds)

    def controls(self, actions: np.ndarray) -> np.ndarray:
        """The controls, shape (B, C), of a step with actions (B, A) in [-1, 1]; moves its own state on."""
        return actions @ self.matrix.T

    def begin_adjoint(self, steps: int) -> None:
        """Start a reverse sweep over so many steps."""

    def add_state_adjoint(self, name: str, cotangent: np.ndarray) -> None:
        """Add a cotangent, shape (B, ...), of one of `state_names` after the step that is gone back next."""
        raise KeyError(name)

    def adjoint(self, step: int, control_bar: np.ndarray) -> np.ndarray:
        """Cotangent of the actions of ``step``, shape (B, A), from that of its controls, shape (B, C)."""
        return control_bar @ self.matrix

    def initial_adjoint(self, cotangents: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Cotangents of all that can be set at the start, from those of the World's initial state, by name."""
        return dict(cotangents)


def make_actuator(task: Task, world: World) -> Actuator:
    """The actuator of a task in a World: arms, if it has them."""
    if task.arms is None:
        return Actuator(task, world)
    from pliant.envs.arms import ArmActuator

    return ArmActuator(task, world)
