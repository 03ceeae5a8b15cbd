"""Launches that reuse their compiled code and arguments do what ordinary calls do."""

import gc

import numpy as np
import pytest
from small_scenes import random_controls, reverse, small_world, states

from pliant.sims import launch, runtime
from pliant.sims.arrays import Array
from pliant.sims.launch import Launch
from pliant.sims.runtime import start, ti

SIZE = 5


def make_kernel(fp):
    floats, nodes = ti.types.ndarray(fp, 1), ti.types.ndarray(ti.types.vector(4, fp), 1)
    ints = ti.types.ndarray(ti.i32, 1)

    @ti.kernel
    def kernel(front: floats, values: floats, grid: nodes, integers: ints, at: ti.i32, shift: ti.i32):
        for i in range(integers.shape[0]):
            front[at + i] = values[i] + 10.0 * grid[i][2] + 100.0 * integers[i] + 1000.0 * shift

    return kernel


def arrays(dtype, seed):
    """A front array and the three behind it, filled with whole numbers."""
    rng = np.random.default_rng(seed)
    found = [Array(2 * SIZE, dtype), Array(SIZE, dtype), Array(SIZE, dtype, lanes=4), Array(SIZE, np.int32)]
    for array in found[1:]:
        array.write(rng.integers(0, 9, array.size).astype(array.dtype))
    return found


@pytest.mark.parametrize("precision", ["f32", "f64"])
def test_a_launch_does_what_a_call_does(precision):
    start()
    dtype = runtime.numpy_type(precision)
    kernel = make_kernel(runtime.float_type(precision))
    front, *behind = arrays(dtype, 0)
    fronts = [front, Array(2 * SIZE, dtype), Array(3 * SIZE, dtype)]
    bound = Launch(kernel, behind)
    for call in range(7):
        target = fronts[call % 3]
        at, shift = call % SIZE, call
        behind[0].view()[:] += 1
        bound(target, at, shift)
        found = target.view().copy()
        target.fill(0)
        kernel(target.device_array, *(array.device_array for array in behind), at, shift)
        np.testing.assert_array_equal(found[at : at + SIZE], target.view()[at : at + SIZE])
        assert found[at] >= 1000 * shift
    assert start() != "cpu" or bound._call is not None


def test_one_kernel_bound_twice():
    start()
    kernel = make_kernel(ti.f32)
    first, second = arrays(np.float32, 1), arrays(np.float32, 2)
    launches = [Launch(kernel, found[1:]) for found in (first, second)]
    for _ in range(3):
        for bound, found in zip(launches, (first, second), strict=True):
            bound(found[0], 0, 1)
            values, grid, integers = (array.view() for array in found[1:])
            expected = values + 10 * grid.reshape(SIZE, 4)[:, 2] + 100 * integers + 1000
            np.testing.assert_array_equal(found[0].view()[:SIZE], expected)


def test_freed_arrays_are_not_used():
    if start() != "cpu":
        pytest.skip("memory is passed by its address on the CPU only")
    front, *behind = arrays(np.float32, 3)
    bound = Launch(make_kernel(ti.f32), behind)
    for _ in range(2):
        bound(front, 0, 0)
    expected = front.view().copy()
    for array in behind:
        array.free()
    gc.collect()
    others = [Array(SIZE, np.float32) for _ in range(20)]  # would take the place of what has been released
    for other in others:
        other.fill(-1)
    bound(front, 0, 0)
    np.testing.assert_array_equal(front.view(), expected)
    front.free()
    with pytest.raises(RuntimeError, match="freed"):
        bound(front, 0, 0)


def outcome(world, controls):
    """States and cotangents after steps with every control."""
    world.reset()
    for c in controls:
        world.step(c)
    found = states(world)
    rng = np.random.default_rng(5)
    cotangents = {name: rng.standard_normal(found[name].shape) for name in world.state_names}
    return {**found, **{f"{name}_bar": bar for name, bar in reverse(world, cotangents).items()}}


KINDS = ({}, {"batch": 3}, {"precision": "f32"}, {"memory": 64 * 1024, "substeps": 6})


@pytest.fixture
def ordinary(monkeypatch):
    """What Worlds of all kinds do when every launch is an ordinary call; their controls."""
    with monkeypatch.context() as patch:
        patch.setattr(launch, "is_known", lambda: False)
        worlds = [small_world(2, **kind) for kind in KINDS]
        controls = [random_controls(world, 4) for world in worlds]
        found = [outcome(world, c) for world, c in zip(worlds, controls, strict=True)]
        assert all(world._forward._call is None for world in worlds)
    for world in worlds:
        world.close()
    return controls, found


def test_worlds_side_by_side_come_and_go(ordinary):
    controls, expected = ordinary
    worlds = [small_world(2, **kind) for kind in KINDS]
    for turn in range(3):
        for k, world in enumerate(worlds):
            found = outcome(world, controls[k])
            for name, values in expected[k].items():
                np.testing.assert_array_equal(found[name], values, err_msg=f"{name}, world {k}, turn {turn}")
        worlds[turn].close()
        worlds[turn] = small_world(2, **KINDS[turn])
        with pytest.raises(ValueError, match="closed"):
            closed = small_world(2)
            closed.close()
            closed.step(controls[0][0])
    for world in worlds:
        world.close()
