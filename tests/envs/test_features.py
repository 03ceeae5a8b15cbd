"""Every feature: shape, and its adjoint against central differences."""

from __future__ import annotations

import time

import numpy as np
import pytest

from pliant.envs import features as f
from pliant.sims.shapes.shapes import Box, Capsule

B, N, M, A = 2, 40, 2, 3


def make_view(arrays: dict[str, np.ndarray], goal: dict[str, np.ndarray]) -> f.View:
    return f.View(
        arrays=lambda name: arrays[name],
        action=arrays["action"],
        previous_action=arrays["previous_action"],
        step=np.array([3, 4]),
        horizon=10,
        goal=goal,
    )


def make_arrays(dim: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "position": rng.uniform(0.1, 0.9, (B, N, dim)),
        "velocity": rng.normal(size=(B, N, dim)),
        "effector_position": rng.uniform(-0.3, 0.0, (B, M, 3)),
        "effector_orientation": rng.normal(size=(B, M, 4)),
        "effector_force": rng.normal(size=(B, M, 3)),
        "action": rng.uniform(-1, 1, (B, A)),
        "previous_action": rng.uniform(-1, 1, (B, A)),
    }


def all_features(dim: int) -> tuple[list[f.Feature], dict[str, np.ndarray]]:
    rows = np.arange(5, 30)
    scattered = np.array([1, 7, 30, 4])
    grid = f.DensityGrid(lower=[0.0] * dim, cell=0.125, counts=[9] * dim, rows=rows, volume=0.5 * 0.125**dim)
    rng = np.random.default_rng(1)
    goal = {
        "target": rng.normal(size=(B, dim)),
        "centre": np.full((B, dim), 0.4),
        "half": np.full((B, dim), 0.15),
        "node_distance": rng.uniform(size=(B, grid.node_count)),
        "density": grid.density(rng.uniform(0.1, 0.9, (B, len(rows), dim))),
    }
    tip = f.centre(scattered, dim)
    made = [
        tip,
        f.mean_velocity(rows, dim),
        f.Rows("samples", "position", scattered, dim),
        f.Rows("pose", "effector_orientation", [1], 4),
        f.Linear("height", tip, np.eye(dim)[-1]),
        f.Offset("offset", tip, "target"),
        f.Distance("distance", f.Offset("offset", tip, "target")),
        f.GoalValue("target", dim),
        f.Action(A),
        f.action_cost(A),
        f.smoothness_cost(A),
        f.force_cost([0, 1]),
        f.Phase(),
        f.DensityMatch(grid, "density"),
        f.SoftIoU(grid, "density"),
        f.Overlap(grid, "density"),
        f.TargetDistance(grid, "node_distance"),
        f.OutsideBox(rows, centre="centre", half_extent="half", smoothing=0.01),
        f.OutsideBall(rows, centre="centre", radius=0.2, smoothing=0.01),
        f.ContactDistance(1, rows, reach=0.05, sharpness=20.0, smoothing=0.01, dim=dim),
    ]
    if dim == 3:
        for number, shape in enumerate((Capsule(0.05, 0.2), Box((0.1, 0.05, 0.2), rounding=0.02))):
            made.append(f.SurfaceDistance(number, shape, rows, sharpness=20.0, smoothing=0.01))
    return made, goal


@pytest.mark.parametrize("dim", [2, 3])
def test_adjoints_match_central_differences(dim: int) -> None:
    features, goal = all_features(dim)
    view = make_view(make_arrays(dim), goal)
    for feature in features:
        compared = {comparison.input for comparison in f.check_feature(feature, view)}
        assert compared or isinstance(feature, (f.GoalValue, f.Phase)), feature.name


def test_density_sums_to_the_volume_inside_the_grid() -> None:
    rows = np.arange(N)
    grid = f.DensityGrid(lower=[0.0] * 3, cell=0.125, counts=[10] * 3, rows=rows, volume=1e-3)
    density = grid.density(make_arrays(3)["position"])
    assert np.allclose(density.sum(axis=1) * 0.125**3, N * 1e-3)


def test_soft_iou_of_a_density_with_itself_is_the_largest() -> None:
    rows = np.arange(N)
    grid = f.DensityGrid(lower=[0.0] * 3, cell=0.125, counts=[10] * 3, rows=rows, volume=1e-3)
    a = grid.density(make_arrays(3)["position"])
    assert (f.soft_iou(a, a) > f.soft_iou(a, np.roll(a, 7, axis=1))).all()


def test_density_of_ten_thousand_particles_is_fast() -> None:
    rng = np.random.default_rng(0)
    position = rng.uniform(0.2, 0.8, (1, 10_000, 3))
    grid = f.DensityGrid(lower=[0.0] * 3, cell=1 / 32, counts=[33] * 3, rows=np.arange(10_000), volume=1e-6)
    grid.density(position)
    best = min(_timed(lambda: grid.density(position)) for _ in range(5))
    assert best < 0.03  # a few milliseconds on a quiet machine


def _timed(call) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def test_rows_are_checked() -> None:
    assert f.as_index([2, 3, 4]) == slice(2, 5)
    with pytest.raises(ValueError, match="at least one"):
        f.as_index([])
    with pytest.raises(ValueError, match="distinct"):
        f.as_index([1, 1, 2])
