"""Starts and workspaces of tasks with tools: not at the kinks of contact, where the return has no derivative."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pliant.envs.particles import agitation
from pliant.envs.registry import ENTRIES
from pliant.sims.robot.effector import Effector

CLOSE = 1e-8  # a node nearer to a surface than this is on it [m]
TASKS = {entry.id: entry.task for entry in ENTRIES if ".dough." in entry.task or ".fluids." in entry.task}
every_task = pytest.mark.parametrize("name", TASKS)
both_sizes = pytest.mark.parametrize("resolution", ["small", "full"])


def make(name: str, resolution: str) -> Any:
    module, kind = TASKS[name].split(":")
    return getattr(importlib.import_module(module), kind)(resolution=resolution)


def nodes_on_surface(task: Any, effector: Effector, position: np.ndarray) -> int:
    """How many nodes of the grid are exactly on the surface of an effector at a position [m], shape (3,)."""
    scene = task.scene
    axes = [np.arange(count) * scene.cell for count in scene.grid]
    nodes = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3) - position
    nodes = nodes[np.linalg.norm(nodes, axis=1) < effector.shape.bounding_radius + scene.cell]
    turn = Rotation.from_quat(np.asarray(effector.orientation), scalar_first=True)
    return int((np.abs(effector.shape.signed_distance(turn.inv().apply(nodes))) < CLOSE).sum())


@every_task
@both_sizes
def test_no_node_is_on_the_surface_of_a_tool_at_the_start(name: str, resolution: str) -> None:
    task = make(name, resolution)
    for effector in task.scene.effectors:
        assert nodes_on_surface(task, effector, np.asarray(effector.position)) == 0, effector.name


@every_task
@both_sizes
def test_no_node_is_on_the_surface_of_a_tool_at_the_edge_of_its_workspace(name: str, resolution: str) -> None:
    task = make(name, resolution)
    for number, (low, high) in task.workspace.items():
        effector = task.scene.effectors[number]
        twist = task.make_action()["effector_twist"]
        for axis in range(3):
            if not twist[6 * number + axis].any():
                continue  # actions cannot move it that way
            assert low[axis] < effector.position[axis] < high[axis]
            for edge in (low[axis], high[axis]):
                position = np.asarray(effector.position) + 1e-4 * np.array([0.31, 0.47, 0.73])
                position[axis] = edge
                assert nodes_on_surface(task, effector, position) == 0, (effector.name, "xyz"[axis], edge)


@every_task
def test_matter_moves_a_little_at_the_start(name: str) -> None:
    task = make(name, "small")
    scene = task.scene
    velocity = task.make_initial_state(np.random.default_rng(0))["velocity"]
    assert np.array_equal(velocity, task.make_initial_state(np.random.default_rng(0))["velocity"])
    other = task.make_initial_state(np.random.default_rng(1))["velocity"]
    pools = {injector.body for injector in scene.injectors}
    for body in scene.bodies:
        of_body = velocity[scene.group(body.name)]
        if body.name in pools:
            assert not of_body.any()
            continue
        assert not np.array_equal(of_body, other[scene.group(body.name)])
        if body.material == "rigid":
            assert np.ptp(of_body, axis=0).max() == 0.0
        else:
            assert np.isclose(of_body.std(), task.agitation, rtol=0.1)


def test_agitation_has_the_scale_that_is_asked_for() -> None:
    scene = make("pliant/Move-v0", "small").scene
    assert np.isclose(agitation(scene, np.random.default_rng(0), 0.5).std(), 0.5, rtol=0.05)
