"""Tools of all tasks against the grids of their scenes."""

from __future__ import annotations

import pytest

from pliant.envs.differentiable import load_task
from pliant.envs.registry import ENTRIES
from pliant.sims.mpm.scene import Scene


@pytest.mark.parametrize("soft_contact", [True, False])
@pytest.mark.parametrize("resolution", ["small", "full"])
def test_tools_of_all_tasks_are_thick_enough(resolution, soft_contact):
    for entry in ENTRIES:
        scene = load_task(entry.task)(resolution=resolution).scene
        if isinstance(scene, Scene):
            for effector in scene.effectors:
                effector.check_thickness(scene.cell, soft_contact=soft_contact)
