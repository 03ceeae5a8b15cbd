"""Features of gels, of rigid bodies and of shapes: values against closed forms, adjoints against differences."""

import numpy as np
import pytest

from pliant.envs import features as f
from pliant.envs.features.check import check_feature, random_view
from pliant.envs.tactile.tactile_task import looking, make_sensor
from pliant.sims.fem.domes import dome_mesh
from pliant.sims.math.rotation_host import matrix_of_quaternion

MESH = dome_mesh(0.015, cells=(4, 3, 2))


def make_view(**arrays):
    rng = np.random.default_rng(3)
    q = rng.normal(size=(2, 1, 4))
    known = {
        "gel_displacement": 1e-4 * rng.normal(size=(2, MESH.free_count + 5, 3)),
        "gel_force": rng.normal(size=(2, 2, 3)),
        "gel_torque": rng.normal(size=(2, 2, 3)),
        "body_orientation": q / np.linalg.norm(q, axis=-1, keepdims=True),
    }
    return random_view(arrays=known | arrays, goal={"force": np.array(0.7)})


FORCE = f.gel_force(1, 0, torque=True)
FEATURES = [
    FORCE,
    f.Heading(0, (0.0, 1.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)),
    f.Excess("excess", f.gel_force(0, 1), 0.4),
    f.Deviation("deviation", f.gel_force(0, 1), "force"),
    f.Total("total", [f.Excess("a", FORCE, 0.4), f.Deviation("b", FORCE, 2.0), f.Constant("c", 3.0)]),
    f.ShapeChange("shape", np.arange(5, 25), np.random.default_rng(0).uniform(size=(20, 3))),
]


@pytest.mark.parametrize("feature", FEATURES, ids=lambda feature: feature.name)
def test_adjoints(feature):
    check_feature(feature, make_view())


def test_markers_pull_back_to_the_nodes_of_their_gel():
    skin = f.GelSkin(make_sensor(MESH), MESH.positions, slice(5, 5 + MESH.free_count))
    check_feature(f.TactileReadout(skin, "markers"), make_view(), steps=(1e-6, 1e-7))


def test_a_force_is_told_in_the_frame_of_the_mount():
    view = make_view()
    R = matrix_of_quaternion(view.array("effector_orientation")[:, 0])
    told = FORCE.value(view)
    np.testing.assert_allclose(np.einsum("bij,bj->bi", R, told[:, :3]), view.array("gel_force")[:, 1], atol=1e-12)


def test_a_heading_is_the_angle_by_which_a_body_has_turned():
    angle = 0.3
    q = np.array([np.cos(angle / 2), 0.0, -np.sin(angle / 2), 0.0])  # from x towards z
    heading = f.Heading(0, (1.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.0, 1.0))
    view = make_view(body_orientation=np.tile(q, (2, 1, 1)))
    np.testing.assert_allclose(heading.value(view), angle, atol=1e-12)


def test_a_shape_that_is_moved_has_not_changed():
    shape = np.random.default_rng(0).uniform(size=(40, 3))
    view = make_view(position=np.stack([shape + 0.3, shape * 1.01]))
    change = f.ShapeChange("shape", np.arange(40), shape).value(view)[:, 0]
    spread = np.sqrt(((shape - shape.mean(axis=0)) ** 2).sum(axis=1).mean())
    np.testing.assert_allclose(change, [0.0, 0.01 * spread], atol=1e-12)


def test_sums_are_of_one_size():
    with pytest.raises(ValueError, match=r"sizes \[1, 6\]"):
        f.Total("sum", [f.Constant("one", 1.0), FORCE])


def test_looking_turns_z_to_the_axis():
    for axis in ((0, 0, 1), (0, 0, -1), (1, 0, 0), (0, -1, 0), (0.3, 0.4, -0.5)):
        z = matrix_of_quaternion(looking(axis, 0.7))[:, 2]
        np.testing.assert_allclose(z, np.asarray(axis) / np.linalg.norm(axis), atol=1e-12)
