"""Folded rods: sharp folds open again, flat ones are refused wherever they come from, and reported where they arise."""

import numpy as np
import pytest
from rod_scenes import branched_position, branched_rod, rod_world

from pliant.sims.rod.rod import Grip, Rod
from pliant.sims.rod.scene import RodScene
from pliant.sims.world import SimulationDiverged

EDGE = 0.05  # [m]
HELD = [0, 1]


def folded(degrees):
    """Six vertices in a plane, folded at vertex 2, (6, 3) [m]."""
    angle = np.radians(degrees)
    steps = [[1, 0, 0], [1, 0, 0], *3 * [[np.cos(angle), np.sin(angle), 0]]]
    return np.concatenate([np.zeros((1, 3)), EDGE * np.cumsum(steps, axis=0)])


def scene(position, grips=HELD, **options):
    given = {"mass": 3e-3, "bend_stiffness": 1e-4, "twist_stiffness": 1e-4, "stretch_stiffness": 2400.0}
    return RodScene(Rod(position, **{**given, **options}), grips=[Grip(grips)], gravity=(0, 0, 0))


def fold_of(world):
    """The largest angle of a joint [degrees]."""
    e = np.diff(world.state("position")[0].astype(float), axis=0)
    t = e / np.linalg.norm(e, axis=1, keepdims=True)
    return float(np.degrees(2 * np.arccos(np.linalg.norm(t[1:] + t[:-1], axis=1) / 2)).max())


@pytest.mark.parametrize("degrees", [90, 150, 169.9])
@pytest.mark.parametrize("stiffness", [1e-6, 1e-4, 1e-2])
@pytest.mark.parametrize("precision", ["f32", "f64"])
def test_a_sharp_fold_opens(degrees, stiffness, precision):
    position = folded(degrees)
    world = rod_world(
        scene(position, bend_stiffness=stiffness, twist_stiffness=stiffness),
        substeps=1,
        precision=precision,
        differentiable=False,
    )
    for _ in range(5):
        world.step(position[HELD].reshape(1, -1))
    assert fold_of(world) < degrees - 0.5
    world.close()


def test_a_fold_feels_the_moment_of_its_curvature():
    """Force on the last vertex of two edges at an angle a: -d/dx of B/(2 l) 4 tan(a/2)^2, from a tiny step at rest."""
    degrees, stiffness = 165.0, 1e-4
    position = folded(degrees)[:4]
    world = rod_world(scene(position, bend_stiffness=stiffness), substeps=1, dt=1e-7, differentiable=False)
    world.step(position[HELD].reshape(1, -1))
    half = np.radians(degrees) / 2
    moment = stiffness / EDGE * 4 * np.tan(half) / np.cos(half) ** 2 / 2  # dE/da
    across = np.array([-np.sin(2 * half), np.cos(2 * half), 0])  # the way of the tip as the angle grows
    force = 3e-3 * world.state("velocity")[0, 3] / 1e-7
    np.testing.assert_allclose(force, -moment / EDGE * across, rtol=1e-4, atol=1e-3 * moment / EDGE)
    world.close()


@pytest.mark.parametrize("degrees", [171, 175, 178, 179, 179.9, 179.9999, 180])
@pytest.mark.parametrize("what", ["position", "rest_position"])
def test_flat_folds_are_refused_at_construction(degrees, what):
    shapes = {"position": folded(0), what: folded(degrees)}
    if degrees == 180:
        shapes[what][3:, 1] = 0.0
    with pytest.raises(
        ValueError, match=rf"{what}: the rod is folded by 1[78].* at vertex 2, between vertices 1 and 3"
    ):
        Rod(**shapes)


def test_a_branch_along_its_parent_is_refused():
    position = branched_position()
    position[8] = position[2] + 0.8 * (position[1] - position[2]) + [0, 1e-5, 0]
    with pytest.raises(ValueError, match="folded by 180 degrees at vertex 2, between vertices 1 and 8"):
        Rod(position, parents=branched_rod().tree)


@pytest.mark.parametrize("degrees", [178.5, 179, 179.9, 180])
def test_flat_folds_are_refused_as_states(degrees):
    world = rod_world(scene(folded(90)), batch=2)
    before = world.state("position")
    with pytest.raises(ValueError, match="position: the rod is folded by 1"):
        world.set_state("position", np.stack([folded(90), folded(degrees)]))
    np.testing.assert_array_equal(world.state("position"), before)
    world.close()


def test_the_state_of_one_world_is_set_beside_a_folded_one():
    """Only the worlds that are set are looked at."""
    world = rod_world(scene(folded(90), grips=[0, 1, 2, 3]), batch=2, differentiable=False)
    controls = np.stack([folded(90)[:4], folded(180)[:4]]).reshape(2, -1)
    with pytest.raises(SimulationDiverged, match="world 1: the rod is folded"):
        world.step(controls)
    world.set_state("position", folded(80), np.array([True, False]))
    with pytest.raises(ValueError, match="the rod is folded"):
        world.set_state("position", folded(180), np.array([False, True]))
    world.close()


def test_natural_curvature_may_not_fold_a_joint_flat():
    world = rod_world(scene(folded(0)))
    limit = 2 * np.tan(np.radians(170) / 2) / EDGE
    world.set_parameter("natural_curvature", [0.0, 0.999 * limit])
    with pytest.raises(ValueError, match=r"'natural_curvature' of joint 2, .* folds it by more than 170 degrees"):
        world.set_parameter("natural_curvature", [0.0, 1.01 * limit])
    with pytest.raises(ValueError, match="folds it by more than 170 degrees"):
        world.set_parameter("rest_length", 1.01 * EDGE)
    world.close()


@pytest.mark.parametrize("precision", ["f32", "f64"])
def test_clamps_that_fold_a_rod_flat_are_reported(precision):
    world = rod_world(scene(folded(90), grips=[0, 1, 2, 3]), precision=precision, differentiable=False)
    with pytest.raises(SimulationDiverged, match=r"position of vertex 2 .*the rod is folded: two edges") as found:
        for degrees in range(93, 270, 3):
            world.step(folded(degrees)[:4].reshape(1, -1))
    assert 27 <= found.value.step <= 29
    world.close()
