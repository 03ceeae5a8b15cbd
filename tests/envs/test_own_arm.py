"""Arms of one's own: a model or a URDF file as ``arm=``, with and without PyBullet, mimic joints, what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from pliant.envs.arms.pictures import ArmPictures
from pliant.envs.base import TaskEnv
from pliant.envs.dough.rolling_pin import RollingPin
from pliant.policies.gradcheck import check_gradients
from pliant.sims.robot import kinematics_urdf as urdf
from pliant.sims.robot.models import SHIPPED

PIN = "pliant/RollingPin-v0"
PANDA = replace(urdf.MODELS["panda"], urdf=SHIPPED / "franka_panda" / "panda.urdf")
TEXT = Path(PANDA.urdf).read_text(encoding="utf-8")

COUPLED = TEXT.replace(
    '<limit lower="-2.9671" upper="2.9671" velocity="2.6100" effort="12"/>\n  </joint>\n  <joint name="panda_joint8"',
    '<limit lower="-2.9671" upper="2.9671" velocity="2.6100" effort="12"/>'
    '<mimic joint="panda_joint1" multiplier="0.5" offset="0.7"/>\n  </joint>\n  '
    '<joint name="wrist_turn" type="revolute"><parent link="panda_link7"/><child link="turned"/><axis xyz="0 0 1"/>'
    '<limit lower="-2.9" upper="2.9" velocity="2" effort="1"/></joint>\n  <joint name="panda_joint8"',
).replace(
    '<parent link="panda_link7"/><child link="panda_link8"/>', '<parent link="turned"/><child link="panda_link8"/>'
).replace('<link name="panda_link8"/>', '<link name="panda_link8"/><link name="turned"/>')  # fmt: skip
"""A panda whose seventh joint follows the first, with an eighth one behind it that is free."""


@pytest.fixture
def coupled(tmp_path):
    file = tmp_path / "coupled.urdf"
    file.write_text(COUPLED, encoding="utf-8")
    return replace(PANDA, urdf=file, home=(0.0, -0.785, 0.0, -2.356, 0.0, 1.571, 0.0))


@pytest.fixture
def no_pybullet(monkeypatch):
    def fail() -> None:
        raise ImportError("no PyBullet")

    monkeypatch.setattr(urdf, "import_pybullet", fail)


def test_a_model_of_ones_own_acts_as_the_named_one():
    named, own = (TaskEnv(RollingPin, arm=arm, precision="f64") for arm in ("panda", PANDA))
    for env in (named, own):
        env.reset(seed=0)
        for action in np.random.default_rng(0).uniform(-1, 1, (3, 7)):
            env.step(action)
    np.testing.assert_allclose(own.state("joint_angle"), named.state("joint_angle"), rtol=0, atol=1e-12)
    np.testing.assert_allclose(own.state("position"), named.state("position"), rtol=0, atol=1e-9)
    named.close(), own.close()


def test_a_file_of_ones_own_through_gymnasium_without_pybullet(tmp_path, no_pybullet):
    """Without fingers one link is the last, and a home is chosen; pictures show sticks where no meshes are named."""
    start = TEXT.index('  <joint name="panda_finger_joint1"')
    text = TEXT[:start] + TEXT[TEXT.index('  <joint name="panda_grasptarget_hand"') :]
    for finger in ("left", "right"):
        text = text.replace(f'  <link name="panda_{finger}finger"/>\n', "")
    file = tmp_path / "my_arm.urdf"
    file.write_text(text, encoding="utf-8")
    env: Any = gym.make(PIN, arm=file, render_mode="rgb_array").unwrapped
    assert env.action_space.shape == (7,)
    env.reset(seed=0)
    before = env.state("effector_position")
    env.step(np.ones(7))
    assert np.abs(env.state("effector_position") - before).max() > 1e-3
    pictures = ArmPictures(env.task.arms)
    assert not pictures.meshes(env.state("joint_angle")) and len(pictures.sticks(env.state("joint_angle"))) > 5
    assert env.render().std() > 0
    env.close()
    assert gym.make(PIN, arm=str(file)).action_space.shape == (7,)


def test_named_arms_work_without_pybullet(no_pybullet):
    urdf._load_named.cache_clear()
    env = TaskEnv(RollingPin, arm="iiwa")
    env.reset(seed=0)
    env.step(np.full(7, 0.5))
    env.close()
    urdf._load_named.cache_clear()


def test_gradients_go_through_mimic_joints(coupled):
    env = TaskEnv(RollingPin, arm=coupled)
    assert env.action_space.shape == (7,)
    assert env.task.arms.chains[0].joint_names[-1] == "wrist_turn" and len(env.task.arms.chains[0].axis) == 8
    env.close()
    quantities = ("actions", "initial_state.joint_angle")
    rows = check_gradients(PIN, arm=coupled, steps=4, seed=1, directions=2, quantities=quantities)
    assert all(row.passed for row in rows), [row for row in rows if not row.passed]
    assert all(abs(row.analytic) > 0 for row in rows)


@pytest.mark.parametrize("arm", [[], None, 3, {}, np.array(["panda"]), "Panda", ("none",), b"panda", True])
def test_what_names_no_arm_is_refused(arm):
    with pytest.raises(
        ValueError, match="is unknown; allowed: 'none', 'panda', 'iiwa', the path of a URDF file, or a Model"
    ):
        TaskEnv(RollingPin, arm=arm)


def test_files_that_are_no_arms_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"arm='.*gone.urdf' does not exist; a path must be that of a URDF file"):
        TaskEnv(RollingPin, arm=str(tmp_path / "gone.urdf"))
    with pytest.raises(ValueError, match="does not exist"):
        TaskEnv(RollingPin, arm=tmp_path)
    with pytest.raises(ValueError, match=r"several last links; name the one .*'panda_grasptarget'"):
        TaskEnv(RollingPin, arm=str(PANDA.urdf))
    broken = tmp_path / "broken.urdf"
    broken.write_text(TEXT.replace('<axis xyz="0 0 1"/>', '<axis xyz="0 0 0"/>', 1), encoding="utf-8")
    with pytest.raises(ValueError, match=r"broken.urdf': joint 'panda_joint1': axis=\[0.0, 0.0, 0.0\] has no direc"):
        TaskEnv(RollingPin, arm=replace(PANDA, urdf=broken))


def test_link_meshes_in_millimetres_are_refused(tmp_path):
    import trimesh

    trimesh.creation.box((90.0, 90.0, 300.0)).export(tmp_path / "link.stl")
    look = '<link name="panda_link1"><visual><geometry><mesh filename="link.stl"{}/></geometry></visual></link>'
    for scale, fits in (("", False), (' scale="0.001 0.001 0.001"', True)):
        file = tmp_path / "arm.urdf"
        file.write_text(TEXT.replace('<link name="panda_link1"/>', look.format(scale)), encoding="utf-8")
        env = TaskEnv(RollingPin, arm=replace(PANDA, urdf=file))
        if fits:
            ArmPictures(env.task.arms)
        else:
            with pytest.raises(
                ValueError, match=r"link.stl' of an arm is 300 m large .* its arm reaches 1\.\d+ m; .*0.001"
            ):
                ArmPictures(env.task.arms)
        env.close()
