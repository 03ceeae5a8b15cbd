"""A point mass with Pliant's environment API whose best actions are known in closed form.

    x_{t+1} = x_t + c a_t,   r_t = ‖x_t − g‖² − ‖x_{t+1} − g‖² − w ‖a_t‖²

The return is ‖x_0 − g‖² − ‖x_T − g‖² − w Σ ‖a_t‖², maximal for the constant action c (g − x_0) / (w + T c²).
"""

from __future__ import annotations

from types import SimpleNamespace

import gymnasium
import numpy as np

ID = "fake/PointMass-v0"


class FakePointMass(gymnasium.Env):
    """Move a point to a goal."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 50}
    state_names = ("position",)
    parameter_names = ("gain",)

    def __init__(
        self,
        *,
        render_mode=None,
        differentiable=False,
        precision="f32",
        parameters=None,
        horizon=20,
        wrong=False,
        action_cost=0.05,
        resolution="small",
        device="auto",
        soft_contact=True,
        arm="none",
        memory="2GiB",
    ):
        self.render_mode, self.differentiable, self.horizon, self.wrong = render_mode, differentiable, horizon, wrong
        self.action_cost = action_cost
        self.dtype = np.float32 if precision == "f32" else np.float64
        self.gain = np.asarray((parameters or {}).get("gain", [0.1, 0.2]), self.dtype)
        self.action_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (4,), np.float32)
        self.simulated_substeps = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.goal = self.np_random.uniform(0.3, 0.6, 2).astype(self.dtype)
        start = ((options or {}).get("state") or {}).get("position", [0.0, 0.0])
        self.path, self.actions = [np.asarray(start, self.dtype)], []
        return self._observation(), {}

    def step(self, action):
        action = np.clip(np.asarray(action, self.dtype), -1, 1)
        before, after = self.path[-1], self.path[-1] + self.gain * action
        self.path.append(after)
        self.actions.append(action)
        progress = self._distance(before) - self._distance(after)
        cost = -self.action_cost * (action**2).sum()
        score = float(np.clip(1 - self._distance(after) / self._distance(self.path[0]), 0, 1))
        info = {"score": score, "reward_terms": {"progress": progress, "effort": cost}}
        return self._observation(), float(progress + cost), False, len(self.actions) >= self.horizon, info

    def backward(self, reward_weights=None, observation_cotangents=None):
        assert self.differentiable
        steps = len(self.actions)
        weights = np.ones(steps) if reward_weights is None else np.asarray(reward_weights)
        gain_bar, actions_bar, position_bar = np.zeros(2), np.zeros((steps, 2)), np.zeros(2)
        for t in reversed(range(steps)):
            position_bar = position_bar - weights[t] * 2 * (self.path[t + 1] - self.goal)
            actions_bar[t] = self.gain * position_bar - weights[t] * 2 * self.action_cost * self.actions[t]
            gain_bar += self.actions[t] * position_bar
            position_bar = position_bar + weights[t] * 2 * (self.path[t] - self.goal)
        if self.wrong:
            gain_bar = 1.01 * gain_bar
        return SimpleNamespace(
            actions=actions_bar, initial_state={"position": position_bar}, parameters={"gain": gain_bar}
        )

    def value_and_grad(self, actions, *, seed=0, discount=1.0):
        self.reset(seed=seed)
        weights = discount ** np.arange(len(actions))
        value = sum(weight * self.step(action)[1] for weight, action in zip(weights, actions, strict=True))
        return value, self.backward(reward_weights=weights)

    def evaluate(self, actions, *, seed=0, options=None):
        self.reset(seed=seed, options=options)
        return sum(self.step(action)[1] for action in actions)

    def set_parameter(self, name, value):
        self.gain = np.asarray(value, self.dtype)

    def state(self, name):
        return self.path[0].copy()

    def parameter(self, name):
        return self.gain.copy()

    def best_action(self):
        """The constant action of the best episode, shape (2,)."""
        return self.gain * (self.goal - self.path[0]) / (self.action_cost + self.horizon * self.gain**2)

    def render(self):
        frame = np.full((49, 65, 3), 30, np.uint8)
        column, row = (np.clip(self.path[-1], 0, 0.99) * [65, 49]).astype(int)
        frame[48 - row, column] = 255
        return frame

    def _distance(self, position):
        return float(((position - self.goal) ** 2).sum())

    def _observation(self):
        return np.concatenate([self.path[-1], self.goal]).astype(np.float32)


class FakePointMasses(gymnasium.vector.VectorEnv):
    """Several point masses."""

    metadata = {"render_fps": 50, "autoreset_mode": gymnasium.vector.AutoresetMode.NEXT_STEP}

    def __init__(self, num_envs=1, **options):
        self.num_envs = num_envs
        self.envs = [FakePointMass(**options) for _ in range(num_envs)]
        self.single_action_space = self.envs[0].action_space
        self.single_observation_space = self.envs[0].observation_space
        self.action_space = gymnasium.vector.utils.batch_space(self.single_action_space, num_envs)
        self.observation_space = gymnasium.vector.utils.batch_space(self.single_observation_space, num_envs)
        self.horizon = self.envs[0].horizon

    def reset(self, *, seed=None, options=None):
        assert len(seed) == self.num_envs
        return np.stack([env.reset(seed=s)[0] for env, s in zip(self.envs, seed, strict=True)]), {}

    def step(self, actions):
        results = [env.step(action) for env, action in zip(self.envs, actions, strict=True)]
        observations, rewards, terminated, truncated, infos = zip(*results, strict=True)
        info = {"score": np.array([info["score"] for info in infos])}
        return np.stack(observations), np.array(rewards), np.array(terminated), np.array(truncated), info

    def evaluate(self, actions, *, seed, options=None):
        states = ((options or {}).get("state") or {}).get("position", [None] * self.num_envs)
        return np.array(
            [
                env.evaluate(action, seed=s, options=None if state is None else {"state": {"position": state}})
                for env, action, s, state in zip(self.envs, actions, seed, states, strict=True)
            ]
        )

    def parameter(self, name):
        return np.stack([env.parameter(name) for env in self.envs])

    def set_parameter(self, name, values):
        for env, value in zip(self.envs, values, strict=True):
            env.set_parameter(name, value)


def register():
    """Register ``ID`` once."""
    if ID not in gymnasium.registry:
        gymnasium.register(ID, entry_point=FakePointMass, vector_entry_point=FakePointMasses)
