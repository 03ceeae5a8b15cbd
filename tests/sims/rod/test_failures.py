"""What rods refuse, and how a rod that is torn apart is reported."""

import time

import numpy as np
import pytest
from rod_scenes import branched_scene, rod_world

from pliant.sims.robot.effector import Effector
from pliant.sims.rod.rod import Grip, Rod
from pliant.sims.rod.scene import RodScene
from pliant.sims.shapes.shapes import Sphere
from pliant.sims.world import SimulationDiverged

LINE = np.outer(np.arange(6), [0.05, 0, 0])


def rod(**options):
    return Rod(**{"position": LINE, **options})


def scene(**options):
    return RodScene(**{"rod": rod(), **options})


def hand(name="hand"):
    return Effector(name, Sphere(0.01), (0, 0, 0))


FOLDED = np.concatenate([LINE[:3], LINE[2:5]])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: rod(position=np.zeros((6, 2))), r"position has shape \(6, 2\), must be \(n, 3\)"),
        (lambda: rod(position=LINE[:1]), r"position has shape \(1, 3\)"),
        (lambda: rod(position=np.full((6, 3), np.nan)), r"position at \(0, 0\) is nan"),
        (lambda: rod(position=FOLDED), "edge 3 has length zero"),
        (lambda: rod(rest_position=FOLDED), "rest_position has an edge of length zero"),
        (lambda: rod(rest_position=LINE[:5]), "rest_position has 5 vertices, position 6"),
        (lambda: rod(parents=[-1, 0, 1, 2, 3]), "parents has 5 entries, position 6"),
        (lambda: rod(parents=[-1, 0, 1, -1, 3, 4]), r"parents\[3\]=-1: the rod is disconnected"),
        (lambda: rod(parents=[-1, 0, 4, 2, 3, 4]), r"parents\[2\]=4 must lie in 0..1: a cycle"),
        (lambda: rod(parents=[-1, 0, 1, 3, 3, 4]), r"parents\[3\]=3 must lie in 0..2: a cycle"),
        (lambda: rod(parents=[5, 0, 1, 2, 3, 4]), r"parents\[0\]=5 must be -1"),
        (lambda: rod(parents=[-1, 0, 1, 2, 0, 4]), "first vertex has several successors"),
        (lambda: rod(parents=[-1, 0, 1, 2, -2, 4]), r"parents\[4\]=-2 must lie in 0..3"),
        (lambda: rod(parents=[-1.0, 0, 1, 2, 3, 4]), "must be at least two integers"),
        (lambda: rod(mass=0.0), "mass=0.0 must be positive"),
        (lambda: rod(mass=[1, 2]), r"mass has shape \(2,\), must be \(\) or \(6,\)"),
        (lambda: rod(bend_stiffness=-1e-4), "bend_stiffness=-0.0001 must be positive"),
        (lambda: rod(bend_stiffness=np.ones((6, 3))), r"bend_stiffness has shape \(6, 3\)"),
        (lambda: rod(twist_stiffness=0.0), "twist_stiffness=0.0 must be positive"),
        (lambda: rod(stretch_stiffness=np.inf), "stretch_stiffness=inf must be finite"),
        (lambda: rod(rest_length=-np.ones(6)), "rest_length=.* must be positive"),
        (lambda: rod(bend_damping=-1.0), "bend_damping=-1.0 must not be negative"),
        (lambda: rod(twist_damping=-1.0), "twist_damping=-1.0 must not be negative"),
        (lambda: rod(drag=-1.0), "drag=-1.0 must not be negative"),
        (lambda: rod(quadratic_drag=-1.0), "quadratic_drag=-1.0 must not be negative"),
        (lambda: rod(radius=0.0), r"radius=0.0 must be a finite number > 0 \[m\]"),
        (lambda: scene(gravity=(0, -9.81)), "gravity has shape"),
        (lambda: scene(contact_stiffness=-1.0), "contact_stiffness=-1.0 must be a finite number >= 0"),
        (lambda: scene(integrator="leapfrog"), "integrator='leapfrog' is unknown; allowed: 'bdf2', 'backward_euler'"),
        (lambda: scene(iterations=0), "iterations=0 must be an integer >= 1"),
        (lambda: scene(effectors=[hand(), hand()]), "each name may stand once"),
        (lambda: scene(grips=[Grip([0], "foot")], effectors=[hand()]), "effector='foot' is unknown; allowed: 'hand'"),
        (lambda: scene(grips=[Grip([0], "hand")]), "effector='hand' is unknown; allowed: none"),
        (lambda: scene(grips=[Grip([6])]), "vertex=6 must be an integer in 0..5"),
        (lambda: scene(grips=[Grip([0.5])]), "vertex=0.5 must be an integer in 0..5"),
        (lambda: scene(grips=[Grip([0, 1]), Grip([1])]), "vertex 1 is held twice"),
        (lambda: scene(grips=[Grip([2, 2])]), "vertex 2 is held twice"),
        (
            lambda: rod_world(scene(rod=rod(rest_length=np.full(6, 0.02)), grips=[Grip([0, 1])])),
            "vertices 0 and 1 are 0.05 m apart; the edge between them has rest length 0.02 m and may stretch 2-fold",
        ),
        (lambda: rod_world(scene(), dt=-1.0), "dt=-1.0"),
    ],
)
def test_bad_construction(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.fixture(scope="module")
def driven():
    """A branched rod of which vertices 0, 1 and 5 are driven."""
    world = rod_world(branched_scene("driven"))
    yield world
    world.close()


def apart(world, distance):
    """Controls that take the tip of the trunk away from the other end by ``distance`` [m]."""
    place = world.scene.position[world.scene.driven_vertices].copy()
    place[2] += [distance, 0, 0]
    return place.reshape(1, -1)


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda w: w.step(np.zeros((1, 6))), r"controls has shape \(1, 6\), must be \(1, 9\)"),
        (lambda w: w.step(np.full((1, 9), np.nan)), r"controls at \(0, 0\) is nan"),
        (lambda w: w.set_state("position", 2.1 * w.state("position")), "vertices 0 and 1 are 0.105 m apart"),
        (lambda w: w.set_state("position", np.zeros((1, 10, 3))), "position has an edge of length zero"),
        (lambda w: w.set_state("position", np.zeros((1, 9, 3))), r"position has shape \(1, 9, 3\)"),
        (lambda w: w.set_state("director", 0.0), "director must not vanish"),
        (lambda w: w.state("effector_position"), "state 'effector_position' is unknown; this scene has: position"),
        (lambda w: w.set_parameter("mass", 0.0), "parameter 'mass'=0.0 must be positive"),
        (lambda w: w.set_parameter("rest_length", -1.0), "parameter 'rest_length'=-1.0 must be positive"),
        (lambda w: w.set_parameter("bend_stiffness", np.ones((1, 10))), "bend_stiffness has shape"),
        (lambda w: w.set_parameter("drag", -1.0), "parameter 'drag'=-1.0 must not be negative"),
        (lambda w: w.set_parameter("contact_stiffness", 1.0), "parameter 'contact_stiffness' is unknown"),
    ],
)
def test_bad_use(driven, use, message):
    driven.reset()
    before = driven.state("position")
    with pytest.raises(ValueError, match=message):
        use(driven)
    np.testing.assert_array_equal(driven.state("position"), before)


def test_clamps_that_drive_apart_tear_the_rod(driven):
    """Slowly, 5 mm a step: the rod stretches under growing tension until an edge is twice as long as at rest."""
    driven.reset()
    with pytest.raises(SimulationDiverged) as found:
        for step in range(200):
            driven.step(apart(driven, 5e-3 * (step + 1)))
    error = found.value
    assert 40 <= error.step <= 60 and error.array.startswith("position") and error.world == 0  # 4 free edges of 0.05 m
    assert "a clamp or a force tears the rod" in str(error)
    with pytest.raises(ValueError, match="the state has diverged"):
        driven.step(apart(driven, 0.0))
    driven.reset()
    driven.step(apart(driven, 0.0))


@pytest.mark.parametrize("distance", [0.5, 5.0, 1e3, 1e30])
def test_clamps_that_jump_apart_tear_the_rod_at_once(driven, distance):
    """Within a second whatever the distance."""
    driven.reset()
    began = time.process_time()
    with pytest.raises(SimulationDiverged, match=r"step 0, substep [01] .*tears the rod|not finite"):
        driven.step(apart(driven, distance))
    assert time.process_time() - began < 1.0


def test_neighbours_driven_apart_are_torn(driven):
    driven.reset()
    controls = apart(driven, 0.0)
    controls[0, 2] += 0.2  # of the first vertex; its neighbour stays
    with pytest.raises(SimulationDiverged, match="tears the rod"):
        driven.step(controls)


def test_a_force_tears_a_rod():
    world = rod_world(branched_scene("driven", forced=True))
    controls = np.zeros((1, world.control_size))
    controls[:, world.control_layout["driven_position"]] = apart(world, 0.0)
    controls[0, world.control_layout["vertex_force"]] = np.tile([0, 0, 300.0], 10)
    with pytest.raises(SimulationDiverged, match="tears the rod"):
        for _ in range(100):
            world.step(controls)
    world.close()


def test_the_world_of_a_batch_that_is_torn_is_named():
    world = rod_world(branched_scene("driven"), batch=3)
    controls = np.concatenate([apart(world, d) for d in (0.0, 0.5, 0.0)])
    with pytest.raises(SimulationDiverged, match=r"of vertex \d+ of world 1: ") as found:
        world.step(controls)
    assert found.value.world == 1
    world.close()


def test_too_few_iterations_are_reported():
    world = rod_world(branched_scene("driven", iterations=1))
    world.set_state("velocity", 1.0)
    with pytest.raises(SimulationDiverged, match="the implicit step did not converge"):
        world.step(apart(world, 0.0))
    world.close()
