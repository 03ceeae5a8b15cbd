"""Two solvers of one kind in one World: bodies of particles on grids of their own; a rod beside particles."""

from types import SimpleNamespace

import numpy as np
import pytest
from rod_scenes import branched_scene
from small_scenes import CELL

from pliant.sims import runtime
from pliant.sims.mpm.bodies import Body
from pliant.sims.mpm.scene import Scene
from pliant.sims.world import World

STEPS, DT, SUBSTEPS = 3, 2e-4, 6


def bodies(seed, cells, cell, dim=2):
    """A soft block that falls onto the floor, on a grid of its own."""
    rng = np.random.default_rng(seed)
    size = cells * cell
    low, high = np.full(dim, 0.4 * size), np.full(dim, 0.55 * size)
    low[-1], high[-1] = 3.2 * cell, 6.0 * cell
    count = 24
    position = low + (high - low) * rng.random((count, dim))
    soft = Body("soft", position, float(np.prod(high - low)) / count, youngs_modulus=2e3, velocity=[1.0] * dim)
    return Scene(dim, (cells,) * dim, cell, [soft])


def part_of(scene, name):
    (part,) = scene.parts(dt=DT, soft_contact=True)
    part.name = name
    return part


def world_of(*parts, dim=2, **options):
    model = SimpleNamespace(dim=dim, parts=lambda **_: list(parts))
    settings = {"substeps": SUBSTEPS, "dt": DT, "precision": "f64", "differentiable": True} | options
    return World(model, batch=2, **settings)


def play(world):
    """States after some steps and gradients of their sum."""
    world.reset()
    for _ in range(STEPS):
        world.step(np.zeros((2, world.control_size)))
    found = {name: world.state(name) for name in world.state_names}
    world.begin_adjoint()
    for t in reversed(range(STEPS)):
        world.load_step(t)
        if t == STEPS - 1:
            for name in world.state_names:
                if name.endswith(("position", "velocity")):
                    world.add_state_adjoint(name, np.ones_like(found[name]))
        world.step_adjoint(t)
    found |= {f"{name}_bar": world.state_adjoint(name) for name in world.state_names}
    found |= {f"{name}_bar": world.parameter_adjoint(name) for name in world.parameter_names}
    world.end_adjoint()
    return found


@pytest.mark.parametrize("device", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_bodies_on_two_grids_move_as_each_does_alone(device, monkeypatch):
    if device:
        monkeypatch.setattr(runtime, "_chosen", "cuda")
    coarse, fine = bodies(1, 16, CELL), bodies(2, 24, CELL / 2)
    both = world_of(part_of(coarse, "coarse"), part_of(fine, "fine"))
    together = play(both)
    assert both.derived("fine.active").all() and both.count("coarse.position") == 24
    for scene, name in ((coarse, "coarse"), (fine, "fine")):
        alone = World(scene, batch=2, substeps=SUBSTEPS, dt=DT, precision="f64", differentiable=True)
        for key, value in play(alone).items():
            np.testing.assert_allclose(together[f"{name}.{key}"], value, rtol=1e-9, atol=1e-12, err_msg=key)
        alone.close()
    both.close()


@pytest.mark.slow
def test_a_rod_and_bodies_of_particles_live_side_by_side():
    rod, soft = branched_scene("free"), bodies(3, 12, CELL, dim=3)
    parts = rod.parts(dt=DT, soft_contact=True)
    for part in parts:
        part.name = "rod"
    both = world_of(*parts, part_of(soft, ""), dim=3)
    alone = World(soft, batch=2, substeps=SUBSTEPS, dt=DT, precision="f64", differentiable=True)
    together = play(both)
    for key, value in play(alone).items():
        np.testing.assert_allclose(together[key], value, rtol=1e-9, atol=1e-12, err_msg=key)
    assert np.isfinite(together["rod.position"]).all() and np.abs(together["rod.bend_stiffness_bar"]).max() > 0
    both.close()
    alone.close()
