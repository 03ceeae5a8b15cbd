"""Parameters of a batch of worlds by name, for good and for the length of an episode.

A parameter is a physical one of the World or a design parameter of the task, which stands for one number a group of
particles. `set` changes it for all episodes to come. An episode may have values of its own, drawn by
``Task.make_parameters`` or given to its reset: the next episode of that world begins with the usual ones again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from pliant.envs.checks import broadcast
from pliant.sims.inputs import shown

if TYPE_CHECKING:
    from pliant.envs.task import Task
    from pliant.sims.world import World


class Parameters:
    """The parameters of the worlds of a task."""

    def __init__(self, task: Task, world: World) -> None:
        self._designs, self._world = task.designs, world
        self._usual: dict[str, np.ndarray] = {}  # the World's own, (B, ...), of those that episodes have changed

    @property
    def names(self) -> list[str]:
        """Physical parameters, then design parameters."""
        return [*self._world.parameter_names, *self._designs]

    def value(self, name: str) -> np.ndarray:
        """Values now, shape (B, ...); of a design parameter the mean over each group, shape (B, groups)."""
        self.check_name(name)
        design = self._designs.get(name)
        if design is None:
            return self._world.parameter(name)
        values = self._world.parameter(design.parameter)
        return np.stack([values[:, design.groups == k].mean(axis=1) for k in range(design.count)], axis=1)

    def check(self, values: Mapping[str, Any], worlds: np.ndarray) -> None:
        """Raise the ``ValueError`` with which `set` or `begin` would refuse ``values``; changes nothing."""
        arrays = self._arrays(values, worlds)
        if arrays:
            self._world.check_parameters(arrays, worlds)

    def set(self, name: str, value: Any) -> None:
        """Replace the values of all worlds and episodes to come by what broadcasts to (B, ...)."""
        worlds = np.ones(self._world.batch, bool)
        self._world.set_parameters(self._arrays({name: value}, worlds), worlds)
        self._usual = {}

    def begin(self, values: Mapping[str, Any], worlds: np.ndarray) -> None:
        """Begin episodes in the worlds of the mask (B,): the usual values, but for ``values``, (B, ...) by name."""
        arrays = self._arrays(values, worlds)
        if not arrays:
            return
        usual = {name: self._world.parameter(name) for name in arrays if name not in self._usual}
        self._world.set_parameters(arrays, worlds)
        self._usual |= usual

    @property
    def usual(self) -> dict[str, np.ndarray]:
        """What episodes to come return to, of the World's parameters that this one has changed, by name, (B, ...)."""
        return {name: values.copy() for name, values in self._usual.items()}

    @usual.setter
    def usual(self, values: Mapping[str, np.ndarray]) -> None:
        self._usual = {name: np.array(value) for name, value in values.items()}

    def of_episode(self) -> dict[str, np.ndarray]:
        """The World's parameters that episodes have changed, by name, (B, ...)."""
        return {name: self._world.parameter(name) for name in self._usual}

    def adjoint(self) -> dict[str, np.ndarray]:
        """Gradients with respect to all parameters at the end of a reverse sweep, by name, (B, ...)."""
        world = self._world
        found = {name: np.array(world.parameter_adjoint(name)) for name in world.parameter_names}
        for name, design in self._designs.items():
            by_particle = found[design.parameter]
            groups = [by_particle[:, design.groups == k].sum(axis=1) for k in range(design.count)]
            found[name] = np.stack(groups, axis=1)
        return found

    def _arrays(self, values: Mapping[str, Any], worlds: np.ndarray) -> dict[str, np.ndarray]:
        """Arrays (B, ...) of the World's parameters in episodes of the worlds of the mask with these ``values``."""
        arrays: dict[str, np.ndarray] = {}
        for name, usual in self._usual.items():
            arrays[name] = self._world.parameter(name)
            arrays[name][worlds] = usual[worlds]
        given = []  # these come first: where values do not go together, one of them is named
        for name, value in values.items():
            self.check_name(name)
            value = broadcast(f"parameter {name!r}", value, self.value(name).shape, self._world.dtype)
            design = self._designs.get(name)
            target = name if design is None else design.parameter
            given.append(target)
            whole = arrays.setdefault(target, self._world.parameter(target))
            if design is None:
                whole[worlds] = value[worlds]
            else:
                members = np.flatnonzero(design.groups >= 0)
                whole[np.ix_(worlds, members)] = value[worlds][:, design.groups[members]]
        return {name: arrays[name] for name in [*given, *arrays]}

    def check_name(self, name: Any) -> None:
        """Raise ``ValueError`` unless there is a parameter of this name."""
        if not isinstance(name, str) or name not in self.names:
            raise ValueError(f"parameter {shown(name)} is unknown; allowed: {', '.join(self.names)}")
