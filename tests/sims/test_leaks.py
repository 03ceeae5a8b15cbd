"""Nothing is lost when Worlds are made and closed again, and their memory is free at once."""

import gc
import sys
import weakref

import numpy as np
import pytest
from memory_use import grown
from rod_scenes import branched_scene, rod_world
from small_scenes import random_controls, reverse, small_world, states

from pliant.sims import arrays, runtime
from pliant.sims.arrays import Array
from pliant.sims.camera.camera import Camera
from pliant.sims.camera.renderer import Renderer


def use_world(world):
    controls = 0.01 * random_controls(world, 1)
    world.step(controls[0])
    if world.differentiable:
        reverse(world, {name: np.ones(value.shape) for name, value in states(world).items()})
    world.close()


MADE = {
    "worlds": lambda: use_world(small_world(2, batch=16, differentiable=False)),
    "recording": lambda: use_world(small_world(2, batch=4)),
    "rods": lambda: use_world(rod_world(branched_scene("gripped"), batch=4)),
}


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("kind", MADE)
def test_making_and_closing_worlds_loses_nothing(kind):
    assert grown(MADE[kind], before=10, cycles=60) < 2**20


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_making_renderers_loses_nothing():
    camera = Camera.frame_scene([0, 0, 0], [1, 1, 1], 3, aspect=1.0)

    def draw():
        Renderer(256, 256).render(np.full((4, 3), 0.5), (1, 0, 0), 0.05, camera)

    assert grown(draw, before=5, cycles=20) < 2**20


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_of_vectors_on_other_devices_is_released(monkeypatch):
    """Taichi itself keeps arrays of vectors for ever. The CPU is taken for another device here."""
    monkeypatch.setattr(runtime, "_chosen", "cuda")

    def allocate():
        array = Array(2**16, np.float32, lanes=4)
        array.fill(1.0)
        array.free()

    assert grown(allocate, before=3, cycles=20) < 2**20


def test_a_closed_world_is_no_garbage_that_has_to_be_searched_for():
    """Without reference cycles, memory does not wait for the collector."""
    world = small_world(2)
    world.step(random_controls(world, 1)[0])
    world.close()
    gone = weakref.ref(world)
    gc.disable()
    try:
        del world
        assert gone() is None
    finally:
        gc.enable()


def test_arrays_are_aligned_for_vector_instructions():
    for size in (1, 3, 17, 1000):
        array = Array(size, np.float64, lanes=4)
        assert runtime.choose() != "cpu" or array.address % arrays.ALIGNMENT == 0
        assert not array.view().any() and array.view().shape == (4 * size,)
