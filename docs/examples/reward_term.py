"""Write a reward term of your own: a feature with its adjoint, the check of it, a task that uses it, one step uphill.

The soft finger reaches its target, and is to be calm on the way: what its particles do beside their common motion
costs.
"""

import numpy as np

from pliant.envs import features as f
from pliant.envs.base import TaskEnv
from pliant.envs.locomotion.finger_reach import FingerReach
from pliant.envs.task import Term


class Commotion(f.Feature):
    """Mean square of the velocities of particles relative to their mean [m^2/s^2], size 1."""

    name, size = "commotion", 1

    def relative(self, view: f.View) -> np.ndarray:
        velocity = view.array("velocity")  # (B, N, dim): axis 0 is the world
        return velocity - velocity.mean(axis=1, keepdims=True)

    def value(self, view: f.View) -> np.ndarray:
        return np.mean(np.sum(self.relative(view) ** 2, axis=2), axis=1, keepdims=True)

    def adjoint(self, view: f.View, cotangent: np.ndarray, sink: f.Sink) -> None:
        # c = 1/N sum_p |v_p - v|^2:  v_p_bar += c_bar 2 (v_p - v) / N; by way of the mean v nothing, it cancels
        relative = self.relative(view)
        sink.add("velocity", cotangent[:, :, None] * 2.0 * relative / relative.shape[1])


class CalmReach(FingerReach):
    """`FingerReach` with a cost of commotion."""

    def make_reward(self) -> list[Term]:
        return [*super().make_reward(), Term(Commotion(), weight=-1.0)]


if __name__ == "__main__":
    for comparison in f.check_feature(Commotion()):  # raises where the adjoint is not the derivative
        print(comparison)

    env = TaskEnv(CalmReach, differentiable=True)
    actions = np.zeros((30, env.task.action_size))
    value, gradient = env.value_and_grad(actions, seed=0)
    better = actions + 0.2 * gradient.actions / np.abs(gradient.actions).max()
    after = env.evaluate(better, seed=0)
    print(f"return {value:.4f} -> {after:.4f}")
    print({name: round(float(term[0]), 5) for name, term in env.outcome.terms.items()})
    assert after > value
    env.close()
