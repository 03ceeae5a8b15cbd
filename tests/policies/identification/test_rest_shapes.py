"""Shapes of a real harness as targets: each seed has its own, and the rest shape with which they can be reached."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from scipy.optimize import minimize

import pliant.envs  # noqa: F401
from pliant.envs.rods.branched_cable_shape import REST_SHAPE, choose, mean_lengths, recorded_shapes
from pliant.envs.rods.cables import CableConfig, make_rod
from pliant.envs.rods.wires.layouts import LAYOUTS
from pliant.envs.rods.wires.recordings import data_folder
from pliant.policies.identification.rest_shapes import RestProblem, fit_rest_shape
from pliant.sims.rod.rod import Grip, Rod
from pliant.sims.rod.scene import RodScene
from pliant.sims.rod.topology import carried_directors, joint_lengths, strains
from pliant.sims.world import World


def _missing() -> str:
    try:
        data_folder()
    except ValueError as error:
        return str(error)
    return ""


needs_data = pytest.mark.skipif(bool(_missing()), reason=_missing())


def test_seeds_count_through_the_shapes() -> None:
    for first in (0, 40):
        assert sorted(choose(np.random.default_rng(seed), 20) for seed in range(first, first + 20)) == list(range(20))
    rng, other = np.random.default_rng(3), np.random.default_rng(3)
    assert [choose(rng, 20) for _ in range(50)] == [choose(other, 20) for _ in range(50)]
    assert len({choose(rng, 20) for _ in range(200)}) == 20, "later draws are random"


@needs_data
def test_every_recorded_shape_is_a_target_once() -> None:
    env: Any = gym.make("pliant/BranchedCableShape-v0", targets="recorded", disable_env_checker=True).unwrapped
    found = set()
    for seed in range(20):
        env.reset(seed=seed)
        target = env._rollout.goal["target"][0]
        found.add(int(np.abs(env.task.recorded - target).max(axis=(1, 2)).argmin()))
    assert found == set(range(20))
    env.close()


@needs_data
def test_recorded_shapes_can_be_reached() -> None:
    """Held as in the recordings, the task's harness comes to rest near them, its grippers turned about the cable."""
    shapes = recorded_shapes()
    tree = np.array(LAYOUTS["bdlo1"].parents)
    rod = make_rod(shapes[0], CableConfig(), 0.005, parents=tree, rest_length=mean_lengths(shapes, tree))
    problem = RestProblem(shapes, rod, [[0, 1], [11, 12]])
    natural = strains(REST_SHAPE, carried_directors(REST_SHAPE, tree), tree)[:, :2]
    start = np.zeros(sum(problem.sizes))
    start[: problem.sizes[0]] = (natural / joint_lengths(np.asarray(rod.rest_length), tree)[:, None]).ravel()
    turns = minimize(
        lambda z: 100 * problem.evaluate(np.concatenate([start[: problem.sizes[0]], z]))[0],
        start[problem.sizes[0] :],
        jac=lambda z: 100 * problem.evaluate(np.concatenate([start[: problem.sizes[0]], z]))[1][problem.sizes[0] :],
        method="L-BFGS-B",
        options={"maxiter": 40},
    )
    start[problem.sizes[0] :] = turns.x
    distance = np.linalg.norm(problem.settle(start) - shapes, axis=-1)[:, problem.free].mean(axis=1)
    problem.close()
    assert np.median(distance) < 5e-3 and distance.max() < 13e-3


def bent_rod() -> Rod:
    """A rod of nine vertices with a branch of two edges; curved at rest."""
    tree = np.array([-1, 0, 1, 2, 3, 4, 5, 6, 7, 4, 9])
    x = np.outer(np.arange(11), [0.06, 0, 0])
    x[9:, 0] = 0.24
    x[9:, 2] = [-0.06, -0.12]
    bent = x + 0.1 * np.sin(5 * x[:, [1, 0, 0]] + [0.0, 0.0, 1.0])
    return make_rod(x, CableConfig(), 0.005, parents=tree, rest_length=np.full(11, 0.06), rest_position=bent)


def held_shapes(rod: Rod) -> np.ndarray:
    """Shapes at rest of a rod whose ends are held in three ways, (3, 11, 3) [m]."""
    rng, shapes = np.random.default_rng(0), []
    for _ in range(3):
        ends = [np.array([[0.0, 0, 0], [0.06, 0, 0]]), np.array([[0.33, 0, 0], [0.39, 0, 0]]) + rng.normal(0, 0.04, 3)]
        scene = RodScene(rod, [Grip([0, 1, 7, 8])], integrator="backward_euler")
        world = World(scene, substeps=1, dt=0.05, precision="f64")
        way = np.concatenate(ends) - rod.position[[0, 1, 7, 8]]
        for step in range(200):
            world.step((rod.position[[0, 1, 7, 8]] + min(step / 20, 1) * way).reshape(1, -1))
        shapes.append(world.state("position")[0])
        world.close()
    return np.array(shapes)


def test_a_rest_shape_is_found_from_shapes_under_gravity() -> None:
    """Of a rod whose rest shape is known: gradient of the loss to 1e-6, every vertex to 0.5 mm, curvatures to 6 %."""
    rod = bent_rod()
    shapes = held_shapes(rod)
    grips = [[0, 1], [7, 8]]
    problem = RestProblem(shapes, rod, grips)
    rng = np.random.default_rng(1)
    z, direction = 0.3 * rng.standard_normal((2, sum(problem.sizes)))
    numeric = (problem.evaluate(z + 1e-4 * direction)[0] - problem.evaluate(z - 1e-4 * direction)[0]) / 2e-4
    assert np.isclose(problem.evaluate(z)[1] @ direction, numeric, rtol=1e-6)
    problem.close()
    shape, distance = fit_rest_shape(shapes, rod, grips, iterations=150)
    assert distance.max() < 5e-4

    def bends(position: np.ndarray) -> np.ndarray:
        size: np.ndarray = np.linalg.norm(strains(position, carried_directors(position, rod.tree), rod.tree), axis=1)
        return size

    assert np.abs(bends(shape) - bends(np.asarray(rod.rest_position)))[2:].max() < 0.06 * bends(shape).max()
