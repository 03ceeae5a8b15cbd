"""The batched vector environment as stable-baselines3's VecEnv: one simulation of B worlds instead of B processes.

    vector = {"num_envs": 16, "vectorization_mode": "vector_entry_point", "autoreset_mode": "SameStep"}
    env = BatchedVecEnv(gym.make_vec("pliant/FingerReach-v0", on_divergence="truncate", **vector))
    PPO("MlpPolicy", env).learn(100_000)

What it hands on is what `DummyVecEnv` over B single environments hands on: an episode that ends is restarted within the
step, its last observation is ``info["terminal_observation"]``, ``info["TimeLimit.truncated"]`` tells that the clock
ended it (or, with ``on_divergence="truncate"``, a divergence: values of later states count on), rewards are float32,
and what a reset reports is in ``reset_infos``.

Importing this module imports stable-baselines3 (extra ``rl``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.vec_env import VecEnv, VecNormalize
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvStepReturn

from pliant.envs.checks import broadcast
from pliant.envs.differentiable import RESET_OPTIONS
from pliant.policies.networks.learned import FLAT, LARGEST
from pliant.policies.torch_bridge import vector_env

BY_WORLD = ("score", "np_random", "np_random_seed")
"""Attributes whose value has an entry for each world."""
READERS = ("state", "parameter")
"""Methods that change nothing and return a row for each world."""


def batched_worlds(env: Any, *, normalize: bool = False, reward_discount: float | None = None) -> VecEnv:
    """A vector environment as stable-baselines3 takes it.

    Args:
        env: a vector environment made with ``autoreset_mode="SameStep"``.
        normalize: whether observations are normalised by their running mean and standard deviation.
        reward_discount: rewards are divided by the running standard deviation of the return with this discount; None
            leaves them.

    Raises:
        ValueError: the environment is not a batch of worlds, or resets in another way.
    """
    worlds = BatchedVecEnv(env)
    if not normalize and reward_discount is None:
        return worlds
    return VecNormalize(
        worlds,
        norm_obs=normalize,
        norm_reward=reward_discount is not None,
        clip_obs=LARGEST,
        gamma=1.0 if reward_discount is None else reward_discount,
        epsilon=FLAT if normalize else 1e-8,
    )


class BatchedVecEnv(VecEnv):
    """A `TaskVectorEnv` as a VecEnv.

    Args:
        env: a vector environment made with ``autoreset_mode="SameStep"``; closed with this one.

    Attributes:
        finished_return, finished_score: of the episodes that ended last, shape (B,); nan before any has.

    Raises:
        ValueError: the environment is not a batch of worlds, or resets in another way.
    """

    def __init__(self, env: Any) -> None:
        env = vector_env(env)
        if env.autoreset_mode != AutoresetMode.SAME_STEP:
            raise ValueError(f"autoreset_mode={env.autoreset_mode.value!r} must be 'SameStep'")
        self.env = env
        self.finished_return = np.full(env.num_envs, np.nan)
        self.finished_score = np.full(env.num_envs, np.nan)
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)

    def reset(self) -> np.ndarray:
        """Start an episode in each world; seeds given by ``seed`` and options by ``set_options`` are used once."""
        observation, infos = self.env.reset(seed=list(self._seeds), options=self._joined_options())
        self.reset_infos = [_of_world(infos, b) for b in range(self.num_envs)]
        self._return = np.zeros(self.num_envs)
        self._reset_seeds()
        self._reset_options()
        return observation

    def step_async(self, actions: np.ndarray) -> None:
        """Keep the actions, shape (B, A), for `step_wait`."""
        self._pending = np.array(actions)

    def step_wait(self) -> VecEnvStepReturn:
        """Observations (B, O), rewards (B,), whether episodes ended (B,), and an info of each world."""
        observation, reward, terminated, truncated, info = self.env.step(self._pending)
        self._return += reward
        done = terminated | truncated
        infos = []
        for b in range(self.num_envs):
            own = _of_world(info, b)
            if done[b]:
                final_observation, final = own.pop("final_obs"), own.pop("final_info")
                self.reset_infos[b] = own
                own = {**final, "terminal_observation": final_observation}
                self.finished_return[b], self.finished_score[b] = self._return[b], final["score"]
                self._return[b] = 0.0
            own["TimeLimit.truncated"] = bool(truncated[b] and not terminated[b])
            infos.append(own)
        return observation, reward.astype(np.float32), done, infos

    def close(self) -> None:
        """Free all memory."""
        self.env.close()

    def get_images(self) -> Sequence[np.ndarray | None]:
        """A picture of each world, uint8, shape (height, width, 3); None without ``render_mode="rgb_array"``."""
        pictures = self.env.render()
        return [None] * self.num_envs if pictures is None else list(pictures)

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """An attribute of the environment: each world's own where it has one, else the common value for each."""
        single = {"observation_space": "single_observation_space", "action_space": "single_action_space"}
        value = getattr(self.env, single.get(attr_name, attr_name))
        return [value[b] if attr_name in BY_WORLD else value for b in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Set an attribute of the environment, which all worlds share.

        Raises:
            ValueError: only some worlds are meant.
        """
        self._check_all(f"set_attr({attr_name!r})", indices)
        setattr(self.env, attr_name, value)

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **method_kwargs: Any
    ) -> list[Any]:
        """Call a method of the environment once and return each world's part of what it returns.

        Raises:
            ValueError: only some worlds are meant, and the method is not one that only reads.
        """
        rows = list(self._get_indices(indices))
        if method_name not in READERS:
            self._check_all(f"env_method({method_name!r})", indices)
        value = getattr(self.env, method_name)(*method_args, **method_kwargs)
        by_world = isinstance(value, (np.ndarray, tuple)) and len(value) == self.num_envs
        return [value[b] if by_world else value for b in rows]

    def env_is_wrapped(self, wrapper_class: Any, indices: VecEnvIndices = None) -> list[bool]:
        """Worlds of a batch have no wrappers of their own."""
        return [False for _ in self._get_indices(indices)]

    def to_tree(self) -> dict[str, Any]:
        """Where the episodes stand, and what the next ones are drawn with."""
        return {
            "snapshot": self.env.snapshot(),
            "generators": [generator.bit_generator.state for generator in self.env.np_random],
            "return": self._return.copy(),
            "finished_return": self.finished_return.copy(),
            "finished_score": self.finished_score.copy(),
        }

    def restore(self, tree: Mapping[str, Any]) -> np.ndarray:
        """Come to where another one stood; returns the observations (B, O).

        Raises:
            ValueError: it stood in another environment or in another number of worlds.
        """
        if len(tree["return"]) != self.num_envs:
            raise ValueError(f"the state is of {len(tree['return'])} worlds; there are {self.num_envs}")
        observation, _ = self.env.restore(tree["snapshot"])
        for generator, state in zip(self.env.np_random, tree["generators"], strict=True):
            generator.bit_generator.state = state
        self._return = tree["return"].copy()
        self.finished_return, self.finished_score = tree["finished_return"].copy(), tree["finished_score"].copy()
        return observation

    def _joined_options(self) -> dict[str, Any] | None:
        """The options of the worlds as those of the batch."""
        if not any(self._options):
            return None
        joined: dict[str, Any] = {}
        for table in RESET_OPTIONS:
            worlds = [dict(options.get(table) or {}) for options in self._options]
            if any(set(world) != set(worlds[0]) for world in worlds):
                raise ValueError(f"options={self._options!r} must name the same entries of {table!r} for every world")
            read = self.env.state if table == "state" else self.env.parameter
            for name in worlds[0]:
                shape = read(name).shape[1:]
                rows = [broadcast(f"{table} {name!r}", world[name], shape) for world in worlds]
                joined.setdefault(table, {})[name] = np.stack(rows)
        unknown = sorted({name for options in self._options for name in options} - set(RESET_OPTIONS))
        if unknown:
            raise ValueError(f"options name {', '.join(unknown)}; allowed: {', '.join(RESET_OPTIONS)}")
        return joined

    def _check_all(self, what: str, indices: VecEnvIndices) -> None:
        if sorted(self._get_indices(indices)) != list(range(self.num_envs)):
            raise ValueError(f"{what} with indices={indices!r}: the worlds are one environment; leave out indices")


def _of_world(infos: Mapping[str, Any], world: int) -> dict[str, Any]:
    """One world's part of the infos of a vector environment, as a single environment reports it."""
    own: dict[str, Any] = {}
    for name, value in infos.items():
        if name.startswith("_") or not infos[f"_{name}"][world]:
            continue
        if isinstance(value, Mapping):
            own[name] = _of_world(value, world)
        else:
            entry = value[world]
            own[name] = bool(entry) if isinstance(entry, np.bool_) else entry
    return own
