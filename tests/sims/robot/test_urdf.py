"""URDF files: both readers agree, mimic joints follow, what cannot be followed is refused by name."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from pliant.sims.math.rotation_host import rotation_vector
from pliant.sims.robot import kinematics_urdf as urdf
from pliant.sims.robot.kinematics_inverse import solve_pose
from pliant.sims.robot.kinematics_pybullet import import_pybullet, opened
from pliant.sims.robot.models import SHIPPED, find_urdf
from pliant.sims.robot.urdf_file import read_urdf, rotation_of_rpy

try:
    import_pybullet()
except ImportError as error:
    MISSING = str(error)
else:
    MISSING = ""

needs_pybullet = pytest.mark.skipif(bool(MISSING), reason=MISSING)

LIMIT = '<limit lower="-2" upper="2" velocity="1" effort="1"/>'


def joint(name, kind, parent, child, inside="", xyz="0.1 0 0.2", rpy="0.3 -0.4 0.5"):
    return (
        f'<joint name="{name}" type="{kind}"><parent link="{parent}"/><child link="{child}"/>'
        f'<origin xyz="{xyz}" rpy="{rpy}"/>{inside}</joint>'
    )


def robot(*joints, links="abcd"):
    return f'<robot name="r">{"".join(f"<link name={name!r}/>" for name in links)}{"".join(joints)}</robot>'


FIRST = joint("one", "revolute", "a", "b", f'<axis xyz="0 0 2"/>{LIMIT}')
SECOND = joint("two", "revolute", "b", "c", f'<axis xyz="0 1 0"/>{LIMIT}')
THIRD = joint("three", "prismatic", "c", "d", f'<axis xyz="1 0 0"/>{LIMIT}')
WHOLE = robot(FIRST, SECOND, THIRD)

SCISSORS = robot(
    joint("lift", "revolute", "a", "b", f'<axis xyz="0 1 0.2"/>{LIMIT}'),
    joint(
        "level",
        "revolute",
        "b",
        "c",
        '<axis xyz="0 1 0"/><limit lower="-1.5" upper="0.5" velocity="0.9" effort="1"/>'
        '<mimic joint="lift" multiplier="-1.5" offset="0.2"/>',
    ),
    joint("slide", "prismatic", "c", "d", f'<axis xyz="0 0 1"/>{LIMIT}<mimic joint="level" multiplier="0.1"/>'),
    joint("spin", "continuous", "d", "e", '<axis xyz="1 0 0"/><limit velocity="3" effort="1"/>'),
    links="abcde",
)


@pytest.fixture
def write(tmp_path):
    def write(text, name="arm.urdf"):
        file = tmp_path / name
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return file

    return write


# ---------------------------------------------------------------------- both readers


@needs_pybullet
@pytest.mark.parametrize("arm", [*urdf.MODELS, "own"])
def test_both_readers_give_the_same_chain(arm, write):
    model = urdf.Model(write(WHOLE)) if arm == "own" else urdf.MODELS[arm]
    first, second = (urdf.load_chain(model, arm, reader) for reader in urdf.READERS)
    for field in fields(first):
        a, b = getattr(first, field.name), getattr(second, field.name)
        if isinstance(a, np.ndarray):
            np.testing.assert_allclose(a.astype(float), b.astype(float), rtol=0, atol=1e-12, err_msg=field.name)
        elif field.name != "visuals":
            assert a == b
    assert [(v.link, v.path) for v in first.visuals] == [(v.link, v.path) for v in second.visuals]


@needs_pybullet
@pytest.mark.parametrize("arm", urdf.MODELS)
def test_shipped_kinematics_are_those_of_pybullet_data(arm):
    model = urdf.MODELS[arm]
    theirs, ours = (urdf.load_chain(replace(model, urdf=place), arm, "python") for place in (
        find_urdf(model.urdf), SHIPPED / model.urdf,
    ))  # fmt: skip
    assert find_urdf(model.urdf) != str(SHIPPED / model.urdf) and theirs.visuals and not ours.visuals
    for field in fields(ours):
        if isinstance(getattr(ours, field.name), np.ndarray):
            np.testing.assert_array_equal(getattr(ours, field.name), getattr(theirs, field.name))


def test_shipped_panda_has_the_denavit_hartenberg_parameters_of_its_maker():
    """a, d, alpha of the modified convention, from Franka's documentation; the hand is turned by -45 degrees."""
    rows = [(0, 0.333, 0), (0, 0, -1), (0, 0.316, 1), (0.0825, 0, 1), (-0.0825, 0.384, -1), (0, 0, 1), (0.088, 0, 1)]
    model = replace(urdf.MODELS["panda"], urdf=SHIPPED / "franka_panda" / "panda.urdf")
    chain = urdf.load_chain(model, "panda", "python")
    q = np.random.default_rng(0).uniform(chain.lower, chain.upper, (20, 7))
    position, rotation = chain.pose(q)
    for number, angles in enumerate(q):
        T = np.eye(4)
        for (a, d, twist), angle in zip(rows, angles, strict=True):
            c, s, C, S = np.cos(angle), np.sin(angle), np.cos(twist * np.pi / 2), np.sin(twist * np.pi / 2)
            T = T @ [[c, -s, 0, a], [s * C, c * C, -S, -d * S], [s * S, c * S, C, d * C], [0, 0, 0, 1]]
        hand = rotation_of_rpy([0, 0, -np.pi / 4])
        assert np.abs(position[number] - (T[:3, 3] + T[:3, :3] @ [0, 0, 0.107 + 0.105])).max() < 1e-9
        assert np.abs(rotation[number] - T[:3, :3] @ hand).max() < 1e-9


def test_arms_need_no_pybullet(monkeypatch):
    def fail():
        raise ImportError("no PyBullet")

    monkeypatch.setattr(urdf, "import_pybullet", fail)
    for arm, model in urdf.MODELS.items():
        chain = urdf.load_chain(replace(model, urdf=SHIPPED / model.urdf), arm)
        assert len(chain) == 7
    with pytest.raises(ImportError, match="no PyBullet"):
        urdf.SelfCollision("panda")


# ---------------------------------------------------------------------- mimic joints


def test_mimic_joints_follow_their_leader(write):
    """level = -1.5 lift + 0.2; slide = 0.1 level = -0.15 lift + 0.02: two numbers move four joints."""
    file = write(SCISSORS)
    chain = urdf.load_chain(urdf.Model(file), "scissors", "python")
    assert len(chain) == 2 and chain.joint_names == ("lift", "spin")
    free = urdf.load_chain(
        urdf.Model(write(SCISSORS.replace("<mimic", "<ignored"), "free.urdf"), speed=np.ones(4)), "x", "python"
    )
    q = np.random.default_rng(0).uniform(chain.lower, chain.upper, (20, 2))
    s = np.stack([q[:, 0], -1.5 * q[:, 0] + 0.2, -0.15 * q[:, 0] + 0.02, q[:, 1]], axis=1)
    for one, other in zip(chain.pose(q), free.pose(s), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-14)
    if not MISSING:
        with opened(str(file)) as body:
            body.set_named(dict(zip(("lift", "level", "slide", "spin"), s[3], strict=True)))
            at, turned = body.frames()[body.links.index("e")]
        np.testing.assert_allclose(chain.pose(q)[0][3], at, atol=1e-12)
        np.testing.assert_allclose(chain.pose(q)[1][3], turned, atol=1e-12)
    # velocities: those of the followers are the multiplier times the leader's
    velocity = np.random.default_rng(1).normal(size=(20, 2))
    s_dot = velocity @ [[1, -1.5, -0.15, 0], [0, 0, 0, 1]]
    np.testing.assert_allclose(chain.twist(q, velocity), free.twist(s, s_dot), atol=1e-14)
    # -1.5 <= level <= 0.5 and |slide| <= 2 hold the leader; its speed is that of level / 1.5
    np.testing.assert_allclose(chain.lower, [-0.2, -2 * np.pi], atol=1e-14)
    np.testing.assert_allclose(chain.upper, [1.7 / 1.5, 2 * np.pi], atol=1e-14)
    np.testing.assert_allclose(chain.speed, [0.6, 3.0])


def test_derivatives_of_a_chain_with_mimic_joints(write):
    chain = urdf.load_chain(urdf.Model(write(SCISSORS)), "scissors").standing([0.3, 0.1, 0.2], [0.9, 0.1, -0.3, 0.2])
    rng, step = np.random.default_rng(2), 1e-6
    q = rng.uniform(chain.lower, chain.upper, (20, 2))
    velocity, bar, dq, dv = rng.normal(size=q.shape), rng.normal(size=(20, 6)), *rng.normal(size=(2, *q.shape))
    (p1, R1), (p0, R0) = chain.pose(q + step * dq), chain.pose(q - step * dq)
    change = np.concatenate([p1 - p0, rotation_vector(R1 @ R0.transpose(0, 2, 1))], axis=1) / (2 * step)
    np.testing.assert_allclose(np.einsum("bkn,bn->bk", chain.jacobian(q), dq), change, atol=1e-8)
    np.testing.assert_allclose(
        (chain.pose_adjoint(q, bar[:, :3], bar[:, 3:]) * dq).sum(1), (change * bar).sum(1), rtol=1e-6, atol=1e-8
    )
    H = (chain.jacobian(q + step * dq) - chain.jacobian(q - step * dq)) / (2 * step)
    np.testing.assert_allclose(np.einsum("bkij,bj->bki", chain.jacobian_derivative(q), dq), H, atol=1e-8)
    q_bar, v_bar = chain.twist_adjoint(q, velocity, bar)
    ahead, behind = (chain.twist(q + s * dq, velocity + s * dv) for s in (step, -step))
    numeric = ((ahead - behind) * bar).sum(1) / (2 * step)
    np.testing.assert_allclose((q_bar * dq + v_bar * dv).sum(1), numeric, rtol=1e-6, atol=1e-8)


def test_a_leader_may_stand_off_the_chain(write):
    """As in a parallelogram: the motor turns another link than the one that carries the tool."""
    text = robot(
        joint("motor", "revolute", "a", "b", f'<axis xyz="0 1 0"/>{LIMIT}'),
        joint("passive", "revolute", "a", "c", f'<axis xyz="0 1 0"/>{LIMIT}<mimic joint="motor" multiplier="-2"/>'),
        joint("flange", "fixed", "c", "d"),
    )
    chain = urdf.load_chain(urdf.Model(write(text), tool="d"), "arm")
    assert chain.joint_names == ("motor",) and (chain.lower, chain.upper) == ([-1.0], [1.0])
    plain = urdf.load_chain(urdf.Model(write(text.replace("<mimic", "<x"), "plain.urdf"), tool="d"), "arm")
    np.testing.assert_allclose(chain.pose(np.array([[0.3]]))[0], plain.pose(np.array([[-0.6]]))[0], atol=1e-15)


def test_inverse_kinematics_respects_mimic_joints(write):
    chain = urdf.load_chain(urdf.Model(write(SCISSORS)), "scissors")
    q = np.array([[0.4, 1.0], [0.9, -2.0]])
    found = solve_pose(chain, *chain.pose(q))
    for one, other in zip(chain.pose(found), chain.pose(q), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-9)


def test_fingers_that_mimic_each_other_are_posed_together():
    panda = urdf.MODELS["panda"]
    arm = urdf._Arm(replace(panda, posed={"panda_finger_joint1": 0.03}))
    assert arm.values(np.zeros(7))["panda_finger_joint2"] == 0.03
    with pytest.raises(ValueError, match=r"posed\['panda_finger_joint2'\]=0.01 must be 0.03"):
        urdf._Arm(replace(panda, posed={"panda_finger_joint1": 0.03, "panda_finger_joint2": 0.01}))


# ---------------------------------------------------------------------- what is refused


def changed(old, new, text=WHOLE):
    assert old in text
    return text.replace(old, new, 1)


BOMB = '<?xml version="1.0"?><!DOCTYPE r [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>' + WHOLE

BROKEN = {
    "no direction": (changed('xyz="0 0 2"', 'xyz="0 0 0"'), r"joint 'one': axis=\[0.0, 0.0, 0.0\] has no direction"),
    "axis of nan": (changed('xyz="0 0 2"', 'xyz="0 nan 2"'), "joint 'one': <axis> xyz='0 nan 2' must be 3 finite"),
    "short axis": (changed('xyz="0 0 2"', 'xyz="0 0"'), "joint 'one': <axis> xyz='0 0' must be 3 finite numbers"),
    "words": (changed('rpy="0.3 -0.4 0.5"', 'rpy="a b c"'), "joint 'one': <origin> rpy='a b c' must be 3 numbers"),
    "huge": (changed('xyz="0.1 0 0.2"', 'xyz="0.1 0 1e999"'), "joint 'one': <origin> xyz='0.1 0 1e999' must be 3"),
    "underscore": (changed('lower="-2"', 'lower="-1_0"'), "joint 'one': <limit> lower='-1_0' must be 1 number"),
    "nan limit": (changed('upper="2"', 'upper="nan"'), "joint 'one': <limit> upper='nan' must be 1 finite number"),
    "upside down": (changed('lower="-2"', 'lower="3"'), r"joint 'one': <limit> lower=3.0, upper=2.0 leave no room"),
    "no room": (changed('lower="-2"', 'lower="2"'), "joint 'one': <limit> lower=2.0, upper=2.0 leave no room"),
    "no limits": (changed(LIMIT, ""), "joint 'one': it is revolute and has no limits; .* is continuous"),
    "no limits of a slide": (
        robot(FIRST, SECOND, THIRD.replace(LIMIT, '<limit velocity="1" effort="1"/>')),
        "joint 'three': it is prismatic and has no limits",
    ),
    "negative speed": (changed('velocity="1"', 'velocity="-1"'), "joint 'one': <limit> velocity=-1.0 must not be neg"),
    "no speed": (changed('velocity="1"', ""), "joint 'one' of .* has the velocity limit None, must be positive"),
    "floating": (changed("revolute", "floating"), "joint 'one': type='floating' is not supported; allowed: revolute"),
    "planar": (changed("revolute", "planar"), "joint 'one': type='planar' is not supported"),
    "unknown type": (changed("revolute", "hinge"), "joint 'one': type='hinge' is not supported"),
    "no type": (changed('type="revolute"', ""), "joint 'one': type='' is not supported"),
    "to itself": (changed('child link="b"', 'child link="a"'), "joint 'one' joins the link 'a' to itself"),
    "two parents": (changed('child link="d"', 'child link="b"'), "link 'b' has two parents: 'a' by joint 'one'"),
    "circle": (
        robot(FIRST, SECOND, joint("back", "fixed", "c", "a")),
        "links go round in a circle: ('b' - 'a' - 'c' - 'b'|.*)",
    ),
    "circle apart": (
        robot(FIRST, joint("x", "fixed", "c", "d"), joint("y", "fixed", "d", "c")),
        "links go round in a circle: 'c' - 'd' - 'c'",
    ),
    "two roots": (robot(FIRST, SECOND), "2 links have no parent: 'a', 'd'; allowed: one, the base"),
    "no such link": (changed('child link="b"', 'child link="z"'), "joint 'one': its child 'z' is no link of the file"),
    "no parent": (changed('<parent link="a"/>', ""), "joint 'one': it names no parent link"),
    "two parent elements": (changed('<parent link="a"/>', '<parent link="a"/>' * 2), "it has 2 elements <parent>"),
    "link twice": (robot(FIRST, SECOND, THIRD, links="abcda"), "two links are called 'a'"),
    "joint twice": (changed('name="two"', 'name="one"'), "two joints are called 'one'"),
    "no joint name": (changed('name="two"', ""), "joint 1 has no name"),
    "no link name": (changed("<link name='a'/>", "<link/>"), "link 0 has no name"),
    "mimics nothing": (
        changed(LIMIT, LIMIT + '<mimic joint="elbow"/>'),
        "joint 'one' mimics 'elbow', which is no joint of the file",
    ),
    "mimics itself": (changed(LIMIT, LIMIT + '<mimic joint="one"/>'), "joint 'one': it mimics itself"),
    "mimic of nan": (
        changed(LIMIT, LIMIT + '<mimic joint="two" multiplier="nan"/>'),
        "joint 'one': <mimic> multiplier='nan' must be 1 finite number",
    ),
    "mimics in a circle": (
        robot(FIRST.replace(LIMIT, LIMIT + '<mimic joint="two"/>'),
              SECOND.replace(LIMIT, LIMIT + '<mimic joint="one"/>'), THIRD),
        "joint 'one' mimics itself: 'one' - 'two' - 'one'",
    ),
    "mimics what is fixed": (
        robot(joint("one", "fixed", "a", "b"), SECOND.replace(LIMIT, LIMIT + '<mimic joint="one"/>'), THIRD),
        "joint 'two' mimics 'one', which is fixed",
    ),
    "fixed and mimics": (
        robot(joint("one", "fixed", "a", "b", '<mimic joint="two"/>'), SECOND, THIRD),
        "joint 'one': it is fixed and mimics another",
    ),
    "limits that exclude each other": (
        robot(FIRST, SECOND.replace(LIMIT, LIMIT + '<mimic joint="one" offset="9"/>'), THIRD),
        r"joint 'one' of .* has no room: the limits of the joints that mimic it, 'two', leave \[",
    ),
    "nothing moves": (robot(*(joint(n, "fixed", *n) for n in ("ab", "bc", "cd"))), "no joint of .* moves"),
    "entities": (BOMB, r"has a document type \(<!DOCTYPE ...>\), which is not allowed"),
    "external": ('<!DOCTYPE r SYSTEM "file:///etc/passwd">' + WHOLE, "has a document type"),
    "not xml": (b"\x00\x01solid", "is no XML that can be read"),
    "cut": (WHOLE[:-20], "is no XML that can be read"),
    "empty": (b"", "is no XML that can be read"),
    "encoding": (b'<?xml version="1.0" encoding="klingon"?><robot/>', "is no XML that can be read"),
    "another format": ('<mujoco><worldbody/></mujoco>', "its root element is <mujoco>, must be <robot>"),
    "no links": ("<robot/>", "it has no links"),
    "xacro": (
        changed("<robot", '<robot xmlns:xacro="http://www.ros.org/xacro"').replace("</robot>", "<xacro:x/></robot>"),
        "is a xacro file; run xacro on it first",
    ),
    "zero mesh": (
        changed("<link name='a'/>", "<link name='a'><visual><geometry><mesh filename='x' scale='1 0 1'/></geometry>"
                "</visual></link>"),
        r"link 'a': <mesh> scale=\[1.0, 0.0, 1.0\] must not be zero",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_broken_files_are_refused_with_file_joint_and_value(case, write):
    text, message = BROKEN[case]
    file = write(text)
    with pytest.raises(ValueError, match=message) as caught:
        urdf.load_chain(urdf.Model(file), "arm")
    assert "arm.urdf" in str(caught.value)


def test_missing_files_and_folders_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"no.urdf' does not exist"):
        read_urdf(tmp_path / "no.urdf")
    with pytest.raises(ValueError, match="is no file"):
        read_urdf(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tool": "z"}, "tool='z' is no link of"),
        ({"home": (0, 0)}, "home has 2 numbers, .* has 3 joints up to the tool: one, two, three"),
        ({"home": (0, 2.5, 0)}, r"home of joint 'two' of .* is 2.5, out of range; allowed: \[-2.0, 2.0\]"),
        ({"home": (0, 0, np.nan)}, "home of joint 'three' of .* is nan, out of range"),
        ({"offset": (0, 0)}, r"offset=\(0, 0\) must be 3 finite numbers"),
        ({"offset": (0, 0, np.inf)}, "offset=.* must be 3 finite numbers"),
        ({"speed": (1, 1)}, r"speed=\(1, 1\) must be 3 finite numbers"),
        ({"speed": (1, 0, 1)}, "speed=.* must be positive"),
        ({"posed": {"elbow": 1.0}}, "posed joint 'elbow' is unknown"),
        ({"posed": {"one": 1.0}}, "posed joint 'one' of .* moves with the arm"),
        ({"urdf": 3}, "urdf=3 must be the path of a URDF file"),
    ],
)
def test_models_that_do_not_fit_are_refused(change, message, write):
    with pytest.raises(ValueError, match=message):
        urdf.load_chain(replace(urdf.Model(write(WHOLE)), **change), "arm")


def test_posed_joints_keep_their_limits():
    with pytest.raises(ValueError, match=r"posed\['panda_finger_joint1'\]=0.5 is out of range; allowed: \[0.0, 0.04\]"):
        urdf.load_chain(replace(urdf.MODELS["panda"], posed={"panda_finger_joint1": 0.5}), "panda")


def test_tool_and_home_are_found_where_they_can_be(write):
    chain = urdf.load_chain(urdf.Model(write(WHOLE)), "arm")
    assert (chain.home > chain.lower).all() and (chain.home < chain.upper).all()
    assert np.linalg.svd(chain.jacobian(chain.home[None])[0], compute_uv=False)[2] > 0.05, "far from singular"
    fork = robot(FIRST, SECOND, THIRD.replace('parent link="c"', 'parent link="b"'))
    with pytest.raises(ValueError, match=r"several last links; name the one .* one of 'c', 'd'"):
        urdf.load_chain(urdf.Model(write(fork)), "arm")


def test_meshes_are_found_beside_the_file_or_named(write, tmp_path):
    (tmp_path / "pack" / "meshes").mkdir(parents=True)
    (tmp_path / "pack" / "meshes" / "a.stl").write_bytes(b"x")

    def look(name):
        return (
            f"<link name='c'><visual><origin xyz='0 0 1'/><geometry><mesh filename='{name}' scale='.001 .001 .001'/>"
            "</geometry><material name='red'/></visual></link>"
        )

    text = changed("<link name='c'/>", look("package://pack/meshes/a.stl"))
    text = text.replace("</robot>", "<material name='red'><color rgba='1 0 0 1'/></material></robot>")
    (tmp_path / "pack" / "urdf").mkdir()
    (visual,) = urdf.load_chain(urdf.Model(write(text, "pack/urdf/r.urdf")), "arm").visuals
    assert visual.path.endswith("pack/meshes/a.stl") and visual.link == 2 and visual.color == (1.0, 0.0, 0.0)
    np.testing.assert_array_equal(visual.position, [0, 0, 1])
    with pytest.warns(UserWarning, match=r"leave out meshes that do not exist: .*gone.stl"):
        assert urdf.load_chain(urdf.Model(write(text.replace("a.stl", "gone.stl"))), "arm").visuals == ()
