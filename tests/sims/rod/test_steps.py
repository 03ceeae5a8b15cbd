"""Whole steps of rods, forward and reverse: every gradient against central differences, recordings, batches."""

import numpy as np
import pytest
from rod_scenes import branched_scene, moves, random_point, rod_world, roll_out
from small_scenes import reverse

from pliant.envs.features.check import check_adjoint
from pliant.sims.robot.effector import Effector
from pliant.sims.rod.rod import Grip, Rod
from pliant.sims.rod.scene import RodScene
from pliant.sims.shapes.shapes import HalfSpace, Sphere

STEPS = (1e-2, 1e-3, 1e-4, 1e-5)


def check_steps(world, steps, *, skip=(), at_steps=STEPS, **options):
    """Check all states, parameters and controls of ``steps`` steps against all states and forces."""
    point = random_point(world, steps)

    def forward(x):
        return roll_out(world, x)

    def adjoint(x, c):
        roll_out(world, x)
        force = c.pop("force")
        return reverse(world, c, force if world.count("effector_position") else None)

    wrt = [name for name in point if point[name].size and name not in skip]
    outputs = [*world.state_names, *(["force"] if world.count("effector_position") else [])]
    return check_adjoint(
        forward, adjoint, point, outputs=outputs, wrt=wrt, steps=at_steps, directions=moves(point), trials=1, **options
    )


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("driven", {}),
        ("driven", {"scaled": True, "integrator": "backward_euler"}),
        ("free", {}),
        ("free", {"scaled": True, "forced": True}),
        ("gripped", {}),
    ],
    ids=["driven", "driven, scaled, backward Euler", "free", "free, scaled, forced", "gripped, touching"],
)
def test_whole_steps(kind, options):
    """Four steps of two substeps from a moving, twisted, curved, branched rod."""
    world = rod_world(branched_scene(kind, **options))
    check_steps(world, 4, skip=("effector_softness",))
    world.close()


def wound_rod():
    """A chain of 13 vertices between two grippers, one of which winds it and brings its end nearer."""
    x = np.zeros((13, 3))
    x[:, 0] = 0.04 * np.arange(13)
    rod = Rod(x, mass=2e-3, bend_stiffness=2e-3, twist_stiffness=1.5e-3, bend_damping=0.02, director=(0, 0.2, 1))
    ends = [Effector("left", Sphere(0.01), x[0]), Effector("right", Sphere(0.01), x[-1])]
    obstacle = Effector("floor", HalfSpace(), (0, 0, -0.02), friction=0.3)
    return RodScene(rod, [Grip([0, 1], "left"), Grip([11, 12], "right")], [*ends, obstacle], contact_stiffness=50.0)


def test_the_implicit_derivative_agrees_with_differences_of_an_unrolled_trajectory():
    """60 steps, 0.6 s, in which the rod is wound by 3 rad and bows out to the floor: to 1e-6."""
    world = rod_world(wound_rod(), substeps=1)
    point = {name: world.state(name) for name in ("position", "velocity")}
    point |= {name: world.parameter(name) for name in ("bend_stiffness", "twist_stiffness", "natural_curvature")}
    twist = np.zeros((60, 1, 3, 6))
    twist[:, 0, 1] = [-0.12, 0.02, 0.01, 5.0, 0.0, 0.2]
    point["controls"] = twist.reshape(60, 1, -1)

    def forward(x):
        return roll_out(world, {**everything, **x})

    def adjoint(x, c):
        forward(x)
        return reverse(world, c, c.pop("force"))

    world.reset()
    everything = {name: world.state(name) for name in world.state_names}
    everything |= {name: world.parameter(name) for name in world.parameter_names}
    end = forward(point)
    assert abs(end["position"][0, 5, 1:]).max() > 0.02 and end["force"][-1, 0, 2, 2] < 0
    check_adjoint(
        forward, adjoint, point, outputs=["position", "force"], steps=STEPS[1:], directions=moves(point), trials=1
    )
    world.close()


def test_recomputed_steps_give_the_same_gradient():
    """To the last bit, with memory for two steps of six (a step knows the two before it)."""
    found = []
    for memory in ("1GiB", 60_000):
        world = rod_world(branched_scene("driven"), memory=memory)
        end = roll_out(world, random_point(world, 6))
        rng = np.random.default_rng(8)
        found.append(reverse(world, {n: rng.standard_normal(end[n].shape) for n in world.state_names}))
        world.close()
    for name, bar in found[0].items():
        np.testing.assert_array_equal(bar, found[1][name], err_msg=name)
        assert np.abs(bar).max() > 0


def test_a_batch_of_rods_is_its_rods_one_by_one():
    """States and gradients to the last bit."""
    batch, single = (rod_world(branched_scene("driven"), batch=n) for n in (3, 1))
    point = random_point(batch, 3)
    point["controls"] += 1e-3 * np.arange(3)[:, None]
    ends = roll_out(batch, point)
    bars = reverse(batch, {n: np.ones(ends[n].shape) for n in batch.state_names})
    for b in range(3):
        own = {n: v[:, b : b + 1] if n == "controls" else v[b : b + 1] for n, v in point.items()}
        end = roll_out(single, own)
        bar = reverse(single, {n: np.ones(end[n].shape) for n in single.state_names})
        for n in single.state_names:
            np.testing.assert_array_equal(end[n][0], ends[n][b], err_msg=n)
        for n, value in bar.items():
            np.testing.assert_array_equal(value[:, 0] if n == "controls" else value[0],
                                          bars[n][:, b] if n == "controls" else bars[n][b], err_msg=n)  # fmt: skip
    batch.close()
    single.close()
