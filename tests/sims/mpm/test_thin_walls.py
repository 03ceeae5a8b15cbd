"""Solids that a grid does not resolve: particles pass them, so scenes refuse them; sizes in other units than metres."""

from __future__ import annotations

import re

import numpy as np
import pytest
import trimesh

from pliant.sims.mpm.bodies import Body
from pliant.sims.mpm.scene import Scene
from pliant.sims.robot.effector import Effector
from pliant.sims.shapes.containers import Bowl, Cone, Cup, RingTank
from pliant.sims.shapes.profile import Revolution
from pliant.sims.shapes.shapes import Box, Capsule, Cylinder, HalfSpace, Mesh, Sphere, Torus
from pliant.sims.shapes.thickness import CELLS, least_thickness
from pliant.sims.world import World

CELL = 0.01
TWO, LESS = 2 * CELL, 1.9 * CELL


def scene(effector, material="liquid"):
    """Matter above an effector in the middle of a box of 0.12 x 0.12 x 0.24 m."""
    axes = [np.arange(low, high, CELL / 2) for low, high in ((0.0363, 0.085), (0.0363, 0.085), (0.1463, 0.19))]
    position = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    water = {"material": "liquid", "viscosity": 1e-3, "bulk_modulus": 9e3}
    block = {"youngs_modulus": 2e4}
    body = Body("matter", position, (CELL / 2) ** 3, density=1000.0, **(water if material == "liquid" else block))
    return Scene(3, (12, 12, 24), CELL, [body], [effector])


def plate(cells, softness=666.0, shift=0.0, shape=None):
    shape = shape or Box((0.2, 0.2, cells * CELL / 2))
    return Effector("plate", shape, (0.06, 0.06, 0.12 + shift * CELL), softness=softness)


def share_below(effector, *, soft_contact, material="liquid", steps=30):
    world = World(scene(effector, material), substeps=50, dt=2e-4, soft_contact=soft_contact)
    force = 0.0
    for _ in range(steps):
        world.step(np.zeros((1, world.control_size)))
        force = max(force, float(np.abs(world.output("effector_force")[0, 0, 2])))
    height = world.state("position")[0, :, 2]
    world.close()
    return (height < effector.pose[2] - CELL).mean(), force


# ---------------------------------------------------------------------- what the rule rests on


@pytest.mark.parametrize("material", ["liquid", "elastic"])
@pytest.mark.parametrize("shift", [0.25, 0.5, 0.0])
def test_plates_that_are_allowed_hold_in_sharp_contact(material, shift):
    leaked, force = share_below(plate(CELLS, shift=shift), soft_contact=False, material=material)
    assert leaked == 0.0 and force > 0.5


@pytest.mark.parametrize(("softness", "cells"), [(8.0, 1.5), (4.0, 1.0), (2.0, 0.1)])
def test_plates_that_are_allowed_hold_in_soft_contact(softness, cells):
    held = plate(cells, softness / CELL, shift=0.25)
    held.check_thickness(CELL, soft_contact=True)
    assert share_below(held, soft_contact=True)[0] == 0.0


def test_plates_that_are_refused_leak(monkeypatch):
    """A plate of 1.25 cells has nodes in one half only: all the water passes, and the force is zero."""
    monkeypatch.setattr(Effector, "check_thickness", lambda *_, **__: None)
    leaked, force = share_below(plate(1.25, shift=0.25), soft_contact=False)
    assert leaked > 0.9 and force < 0.01
    assert share_below(plate(0.1, 4 / CELL, shift=0.25), soft_contact=True)[0] > 0.2


# ---------------------------------------------------------------------- every shape


def u_profile(wall):
    """A cup as a profile of one's own."""
    return [(0, 0), (0.06, 0), (0.06, 0.09), (0.06 - wall, 0.09), (0.06 - wall, 0.03), (0, 0.03)]


SHAPES = {  # by the thickness of what parts one side from the other
    "box": lambda t: Box((0.05, 0.04, t / 2)),
    "rounded box": lambda t: Box((0.05, t / 2, 0.04), rounding=0.005),
    "disc": lambda t: Cylinder(0.05, t / 2),
    "cup": lambda t: Cup(0.05, 0.06, t, 0.03),
    "floor of a cup": lambda t: Cup(0.05, 0.06, 0.03, t),
    "cone": lambda t: Cone(0.05, 0.08, t),
    "tank": lambda t: RingTank(0.03, 0.07, 0.05, t, 0.03),
    "wall of a profile": lambda t: Revolution(u_profile(t)),
    "disc as a profile": lambda t: Revolution([(0, 0), (0.06, 0), (0.06, t), (0, t)]),
    "rod as a profile": lambda t: Revolution([(0, 0), (t / 2, 0), (t / 2, 0.1), (0, 0.1)]),
    "tube as a profile": lambda t: Revolution([(0.04, 0), (0.04 + t, 0), (0.04 + t, 0.1), (0.04, 0.1)]),
}


NARROW = {
    "ball": lambda t: Sphere(t / 2),
    "capsule": lambda t: Capsule(t / 2, 0.05),
    "rod": lambda t: Cylinder(t / 2, 0.05),
    "ring": lambda t: Torus(0.05, t / 2),
    "blade": lambda t: Box((t / 2, 0.02, 0.05)),
}


@pytest.mark.parametrize("name", NARROW)
def test_what_matter_goes_round_must_be_three_quarters_of_a_cell_thick(name):
    Effector("tool", NARROW[name](0.75 * CELL), (0.06, 0.06, 0.12)).check_thickness(CELL, soft_contact=False)
    with pytest.raises(
        ValueError,
        match=r"effector 'tool': \w+ must be at least 0.0075 m thick in sharp .*; it is 0.007 m thick",
    ):
        Effector("tool", NARROW[name](0.7 * CELL), (0.06, 0.06, 0.12)).check_thickness(CELL, soft_contact=False)


@pytest.mark.parametrize("name", SHAPES)
def test_every_shape_is_refused_when_it_is_thinner_than_two_cells(name):
    make = SHAPES[name]
    Effector("tool", make(TWO), (0.06, 0.06, 0.12)).check_thickness(CELL, soft_contact=False)
    with pytest.raises(
        ValueError, match=r"effector 'tool': \w+ must be at least 0.02 m thick in sharp contact on cells of 0.01 m"
    ):
        Effector("tool", make(LESS), (0.06, 0.06, 0.12)).check_thickness(CELL, soft_contact=False)


@pytest.mark.parametrize(
    "shape",
    [
        HalfSpace(),
        Bowl(0.06, 0.025),
        Revolution([(0, 0), (0.06, 0), (0, 0.05)]),  # a blunt cone: thin at its rim and tip only
        Revolution(u_profile(0.025)),
        Box((0.2, 0.2, 0.01)),
    ],
)
def test_edges_and_tips_are_not_walls(shape):
    Effector("tool", shape, (0.06, 0.06, 0.12)).check_thickness(CELL, soft_contact=False)


def cup_mesh(wall, folder, name="cup.stl", upside_down=False):
    """A cup of outer radius 0.06 m and height 0.09 m with a floor of 0.03 m."""
    profile = [*u_profile(wall)]
    mesh = trimesh.creation.revolve(np.array(profile), sections=48)
    mesh.apply_translation((0, 0, -0.045))
    mesh.export(folder / name)
    return folder / name


def mesh_of(kind, t, folder):
    file = folder / f"{kind}.stl"
    if kind == "cup":
        return cup_mesh(t, folder)
    if kind == "hollow ball":
        inner = trimesh.creation.icosphere(subdivisions=3, radius=0.06 - t)
        inner.invert()
        mesh = trimesh.util.concatenate([trimesh.creation.icosphere(subdivisions=3, radius=0.06), inner])
    else:
        mesh = {
            "plate": lambda: trimesh.creation.box((0.1, 0.08, t)),
            "rod": lambda: trimesh.creation.cylinder(t / 2, 0.1, sections=48),
            "block with a fin": lambda: trimesh.util.concatenate(
                [trimesh.creation.box((0.05, 0.05, 0.05)), trimesh.creation.box((0.14, t, 0.03))]
            ),
        }[kind]()
    mesh.export(file)
    return file


@pytest.mark.parametrize("kind", ["cup", "hollow ball", "plate", "rod", "block with a fin"])
def test_meshes_are_measured_wall_by_wall(kind, tmp_path):
    Effector("mesh", Mesh(mesh_of(kind, 1.03 * TWO, tmp_path)), (0, 0, 0)).check_thickness(CELL, soft_contact=False)
    for thickness in (LESS, CELL / 2, CELL / 4) if kind != "rod" else (CELL / 2, CELL / 4):
        thin = Effector("mesh", Mesh(mesh_of(kind, thickness, tmp_path)), (0, 0, 0))
        with pytest.raises(
            ValueError, match=r"Mesh must be at least 0.0(2|075) m thick .* is thinner than that near \["
        ):
            thin.check_thickness(CELL, soft_contact=False)


def test_solid_meshes_with_edges_and_corners_pass(tmp_path):
    for number, mesh in enumerate(
        [
            trimesh.creation.box((0.1, 0.08, 0.03)),
            trimesh.creation.icosphere(subdivisions=3, radius=0.05),
            trimesh.creation.cone(0.05, 0.08),
            trimesh.creation.annulus(0.03, 0.06, 0.03),
            trimesh.creation.torus(0.05, 0.015),
        ]
    ):
        mesh.export(tmp_path / f"{number}.stl")
        Effector("mesh", Mesh(tmp_path / f"{number}.stl"), (0, 0, 0)).check_thickness(CELL, soft_contact=False)


def test_a_mesh_that_its_samples_do_not_show_is_refused(tmp_path):
    """A wall of 9 mm in samples 31 mm apart, on a grid fine enough for it."""
    mesh = trimesh.util.concatenate([trimesh.creation.box((0.25, 0.05, 0.05)), trimesh.creation.box((0.009, 0.1, 0.1))])
    mesh.apply_translation((0.001, 0, 0))
    mesh.export(tmp_path / "wall.stl")
    with pytest.raises(ValueError, match=r"but 8 cells of 0.0312 m do not show it; use more cells"):
        Effector("mesh", Mesh(tmp_path / "wall.stl", cells=8), (0, 0, 0)).check_thickness(0.0044, soft_contact=False)
    Effector("mesh", Mesh(tmp_path / "wall.stl", cells=64), (0, 0, 0)).check_thickness(0.0044, soft_contact=False)


def test_worlds_refuse_thin_effectors_of_their_kind_of_contact(tmp_path):
    thin = Mesh(cup_mesh(CELL / 2, tmp_path))
    for shape in (thin, Box((0.05, 0.05, 0.05 * CELL))):
        with pytest.raises(ValueError, match=r"effector 'plate': \w+ must be .* softness of at most 200 1/m"):
            World(scene(plate(0, shape=shape)), substeps=4, dt=2e-4, soft_contact=False)
        with pytest.raises(ValueError, match=r"thick in soft contact with softness=666 1/m on cells of 0.01 m"):
            World(scene(plate(0, shape=shape)), substeps=4, dt=2e-4, soft_contact=True)
        World(scene(plate(0, 190.0, shape=shape)), substeps=4, dt=2e-4, soft_contact=True).close()


def test_least_thickness_falls_with_the_softness():
    assert least_thickness(CELL, None) == pytest.approx(2 * CELL)
    assert least_thickness(CELL, 4 / CELL) == pytest.approx(CELL)
    assert least_thickness(CELL, None, width=3 * CELL) == pytest.approx(0.75 * CELL)
    assert least_thickness(CELL, 2 / CELL) == pytest.approx(0.0)
    assert least_thickness(CELL, 0.0) < 0


# ---------------------------------------------------------------------- units


def block(folder, size, name="block.stl"):
    trimesh.creation.box((size, size / 2, size / 2)).export(folder / name)
    return folder / name


@pytest.mark.parametrize(
    ("size", "hint"),
    [
        (64.0, "scale=0.001 if the file is in millimetres"),
        (5.0, "scale=0.01 if the file is in centimetres, scale=0.0254 if the file is in inches"),
        (640e3, "sizes are in metres"),
    ],
)
def test_meshes_in_other_units_are_refused_with_a_hint(size, hint, tmp_path):
    length = re.escape(f"{size:.4g}")
    with pytest.raises(ValueError, match=rf"'plate': Mesh is {length} m long in a domain of 0.24 m; .* is 1: .*{hint}"):
        scene(plate(0, shape=Mesh(block(tmp_path, size))))
    with pytest.raises(ValueError, match=r"Mesh is 6.4 m long .* its scale is 0.1: scale=0.001 if the file is in mill"):
        scene(plate(0, shape=Mesh(block(tmp_path, 64.0), scale=0.1)))


def test_meshes_smaller_than_a_cell_are_refused_with_a_hint(tmp_path):
    with pytest.raises(
        ValueError,
        match=r"Mesh is 6.4e-05 m long, smaller than a cell of 0.01 m; its scale is 0.001: scale=1 if",
    ):
        scene(plate(0, shape=Mesh(block(tmp_path, 0.064), scale=1e-3)))


def test_other_shapes_in_millimetres_are_refused():
    with pytest.raises(ValueError, match=r"Box is .* m long in a domain of 0.24 m; allowed: at most 100 times"):
        scene(plate(0, shape=Box((50.0, 50.0, 20.0))))
    with pytest.raises(ValueError, match=r"Cup is .* m long .* sizes are in metres"):
        scene(plate(0, shape=Cup(40.0, 60.0, 5.0, 5.0)))
    scene(plate(0, shape=Box((1.0, 1.0, 0.05))))  # a floor larger than the domain
    scene(plate(0, shape=HalfSpace()))


def test_meshes_of_a_sensible_size_pass(tmp_path):
    scene(plate(0, shape=Mesh(block(tmp_path, 64.0), scale=1e-3)))
    scene(plate(0, shape=Mesh(block(tmp_path, 0.9))))
