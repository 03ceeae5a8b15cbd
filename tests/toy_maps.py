"""Maps as vector environments whose Lyapunov exponents are known: a smooth one, a chaotic one, one that jumps.

smooth:  x' = 0.9 x + 0.1 a,                 r = -x'^2
chaotic: (q, p)' = [[2, 1], [1, 1]] (q, p) + 0.05 (a, 0) mod 1,   r = cos(2 pi q')    (Arnold's cat map)
jumping: x' = x + 0.1 a,                     r = 1 where x' > 0.1, else 0
"""

import functools
from types import SimpleNamespace

import gymnasium
import numpy as np

HORIZON = 32
MATRICES = {"smooth": [[0.9]], "chaotic": [[2.0, 1.0], [1.0, 1.0]], "jumping": [[1.0]]}
STARTS = {"smooth": [0.7], "chaotic": [0.31, 0.17], "jumping": [0.1]}
PUSHES = {"smooth": [0.1], "chaotic": [0.05, 0.0], "jumping": [0.1]}


class ToyMaps(gymnasium.vector.VectorEnv):
    """B twins of one map; the part of the environments' face that a diagnosis needs."""

    metadata = {"autoreset_mode": gymnasium.vector.AutoresetMode.NEXT_STEP}
    state_names = ("x",)

    def __init__(self, num_envs=1, *, kind="smooth", precision="f32", max_action=1.0, **_):
        self.num_envs, self.kind, self.horizon = num_envs, kind, HORIZON
        self.dtype = np.float32 if precision == "f32" else np.float64
        self.matrix, self.push = np.array(MATRICES[kind]), np.array(PUSHES[kind])
        self.single_action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)
        self.single_observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (1,), np.float32)
        self.action_space = gymnasium.vector.utils.batch_space(self.single_action_space, num_envs)
        self.observation_space = gymnasium.vector.utils.batch_space(self.single_observation_space, num_envs)
        self.task = SimpleNamespace(step_time=0.5)

    def reset(self, *, seed=None, options=None):
        self.path = [np.tile(STARTS[self.kind], (self.num_envs, 1)).astype(self.dtype)]
        return self.path[-1], {}

    def step(self, actions):
        after = self.path[-1] @ self.matrix.T + np.asarray(actions) * self.push
        self.path.append((after % 1 if self.kind == "chaotic" else after).astype(self.dtype))
        return self.path[-1], self._reward(self.path[-1][:, 0]), None, None, {}

    def backward(self):
        steps = len(self.path) - 1
        bar, actions_bar = np.zeros_like(self.path[0]), np.zeros((self.num_envs, steps, 1))
        for t in reversed(range(steps)):
            bar[:, 0] += self._slope(self.path[t + 1][:, 0])
            actions_bar[:, t, 0] = bar @ self.push
            bar = (bar @ self.matrix).astype(self.dtype)
        return SimpleNamespace(actions=actions_bar)

    def state(self, name):
        return self.path[-1].copy()

    def snapshot(self):
        return {"world.state": self.path[-1].copy()}

    def restore(self, snapshot):
        self.path = [snapshot["world.state"].copy()]

    def _reward(self, x):
        if self.kind == "smooth":
            return -(x**2)
        return np.cos(2 * np.pi * x) if self.kind == "chaotic" else (x > 0.1).astype(float)

    def _slope(self, x):
        if self.kind == "smooth":
            return -2 * x
        return -2 * np.pi * np.sin(2 * np.pi * x) if self.kind == "chaotic" else np.zeros_like(x)


def register(kind):
    """Register a map once and return its id."""
    name = f"toy/{kind.capitalize()}-v0"
    if name not in gymnasium.registry:
        entry = functools.partial(ToyMaps, kind=kind)
        gymnasium.register(name, entry_point=entry, vector_entry_point=entry)
    return name
