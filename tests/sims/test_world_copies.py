"""Copies and pickles of a World are other Worlds in the same state."""

import copy
import pickle

import numpy as np
import pytest
from rod_scenes import branched_scene, rod_world
from small_scenes import random_controls, small_world, states


def through_pickle(world):
    return pickle.loads(pickle.dumps(world))


@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy, through_pickle])
@pytest.mark.parametrize("kind", ["mpm", "rod"])
def test_a_copy_goes_on_as_the_original_does(way, kind):
    world = small_world(2, batch=2) if kind == "mpm" else rod_world(branched_scene("gripped"), batch=2)
    world.set_parameter("gravity", 0.5)
    controls = (1.0 if kind == "mpm" else 0.01) * random_controls(world, 4)
    for c in controls[:2]:
        world.step(c)
    other = way(world)
    np.testing.assert_array_equal(other.parameter("gravity"), world.parameter("gravity"))
    np.testing.assert_array_equal(other.output("effector_force"), world.output("effector_force"))
    for c in controls[2:]:
        world.step(c)
    expected = states(world)
    world.close()
    for c in controls[2:]:
        other.step(c)
    for name, value in states(other).items():
        np.testing.assert_array_equal(value, expected[name], err_msg=name)
    assert other.step_count == 2  # its recording is its own
    other.close()


def test_a_world_that_is_closed_or_shows_another_step_is_not_copied():
    world = small_world(2)
    world.step(random_controls(world, 1)[0])
    world.begin_adjoint()
    world.load_step(0)
    with pytest.raises(ValueError, match="end_adjoint"):
        copy.deepcopy(world)
    world.end_adjoint()
    world.close()
    with pytest.raises(ValueError, match="closed"):
        copy.deepcopy(world)
