"""Kinematics of arms: against PyBullet, against central differences, and what is refused."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pliant.envs.features.check import check_adjoint
from pliant.sims.math.rotation_host import (
    matrix_of_quaternion,
    quaternion_of_matrix,
    rotation_vector,
    rotation_vector_change,
    turn_adjoint,
)
from pliant.sims.robot import kinematics_urdf as urdf
from pliant.sims.robot.kinematics import Chain
from pliant.sims.robot.kinematics_inverse import solve_pose
from pliant.sims.robot.kinematics_pybullet import FIXED, import_pybullet, opened
from pliant.sims.robot.models import find_urdf

try:
    import_pybullet()
except ImportError as error:
    MISSING = str(error)
else:
    MISSING = ""

needs_pybullet = pytest.mark.skipif(bool(MISSING), reason=MISSING)

CRANE = """<robot name="crane">
  <link name="foot"><inertial><origin xyz="0.1 0.2 0.3"/><mass value="1"/>
    <inertia ixx="1" ixy="0" ixz="0" iyy="2" iyz="0" izz="3"/></inertial></link>
  <link name="mast"><inertial><origin xyz="0.02 -0.1 0.2" rpy="0.5 -0.4 0.3"/><mass value="1"/>
    <inertia ixx="1" ixy="0" ixz="0" iyy="2" iyz="0" izz="3"/></inertial></link>
  <link name="boom"><inertial><origin xyz="-0.1 0.05 0.1" rpy="-0.2 0.6 0.1"/><mass value="1"/>
    <inertia ixx="1" ixy="0" ixz="0" iyy="2" iyz="0" izz="3"/></inertial></link>
  <link name="wrist"><inertial><origin xyz="0 0 0.1" rpy="1 0 0"/><mass value="1"/>
    <inertia ixx="1" ixy="0" ixz="0" iyy="2" iyz="0" izz="3"/></inertial></link>
  <link name="hook"><inertial><origin xyz="0 0.1 0" rpy="0.2 0.2 0"/><mass value="1"/>
    <inertia ixx="1" ixy="0" ixz="0" iyy="2" iyz="0" izz="3"/></inertial></link>
  <joint name="slew" type="continuous"><parent link="foot"/><child link="mast"/>
    <origin xyz="0 0.1 0.5" rpy="0.1 0.2 0.3"/><axis xyz="0 0.6 0.8"/><limit effort="1" velocity="1"/></joint>
  <joint name="luff" type="prismatic"><parent link="mast"/><child link="boom"/>
    <origin xyz="0.3 0 0.2" rpy="0.4 0 -0.7"/><axis xyz="0.8 -0.6 0"/>
    <limit effort="1" velocity="0.5" lower="-0.2" upper="0.4"/></joint>
  <joint name="pitch" type="revolute"><parent link="boom"/><child link="wrist"/>
    <origin xyz="0 0 0.4" rpy="-0.3 0.2 0"/><axis xyz="1 0 0"/>
    <limit effort="1" velocity="2" lower="-1" upper="1.5"/></joint>
  <joint name="grip" type="fixed"><parent link="wrist"/><child link="hook"/>
    <origin xyz="0.1 0 0.2" rpy="0 0.5 0"/></joint>
</robot>"""


@pytest.fixture(scope="module", params=["panda", "iiwa", "crane"])
def model(request, tmp_path_factory) -> urdf.Model:
    """Two real arms, and a crane with a slide and turned inertial frames (the foot stays: the Jacobian is in its)."""
    if request.param != "crane":
        return urdf.MODELS[request.param]
    file = tmp_path_factory.mktemp("urdf") / "crane.urdf"
    file.write_text(CRANE, encoding="utf-8")
    return urdf.Model(urdf=str(file), tool="hook", home=(0.0, 0.1, 0.2))


@pytest.fixture(scope="module")
def chain(model) -> Chain:
    return urdf.load_chain(model, "arm")


def configurations(chain: Chain, count: int = 20) -> np.ndarray:
    return np.random.default_rng(1).uniform(chain.lower, chain.upper, (count, len(chain)))


@needs_pybullet
def test_pose_and_jacobian_agree_with_pybullet(model, chain):
    bullet = import_pybullet()
    chain = chain.holding(-np.array(model.offset), np.eye(3))  # the frame of the tool's link
    with opened(find_urdf(model.urdf), shapes=True) as robot:
        joints, tool = robot.chain_to(model.tool), robot.links.index(model.tool)
        movable = [j for j, info in enumerate(robot.infos) if info[2] != FIXED]
        for q in configurations(chain):
            robot.set_joints(joints, q)
            state = bullet.getLinkState(robot.body, tool, computeForwardKinematics=True, physicsClientId=robot.client)
            # PyBullet's link frames are float32; the centre of mass is float64: let the tool be there
            at_mass = chain.holding(np.array(state[2]), Rotation.from_quat(state[3]).as_matrix())
            position, rotation = at_mass.pose(q[None])
            assert np.abs(position[0] - state[0]).max() <= 1e-9
            assert np.abs(rotation[0] - Rotation.from_quat(state[1]).as_matrix()).max() <= 1e-9
            frame, turned = chain.pose(q[None])
            assert np.abs(frame[0] - state[4]).max() <= 1e-6
            assert np.abs(turned[0] - Rotation.from_quat(state[5]).as_matrix()).max() <= 1e-6
            everywhere = np.zeros(len(movable))
            everywhere[[movable.index(j) for j in joints]] = q
            rest = [0.0] * len(movable)
            linear, angular = bullet.calculateJacobian(
                robot.body, tool, [0.0] * 3, list(everywhere), rest, rest, physicsClientId=robot.client
            )
            columns = [movable.index(j) for j in joints]
            expected = np.concatenate([np.array(linear)[:, columns], np.array(angular)[:, columns]])
            assert np.abs(chain.jacobian(q[None])[0] - expected).max() <= 1e-9


@needs_pybullet
def test_limits_are_those_of_the_file(model, chain):
    with opened(find_urdf(model.urdf)) as robot:
        infos = [robot.infos[j] for j in robot.chain_to(model.tool)]
    for lower, upper, info in zip(chain.lower, chain.upper, infos, strict=True):
        unlimited = info[8] >= info[9]
        assert (lower, upper) == ((-urdf.REACH, urdf.REACH) if unlimited else (info[8], info[9]))
    assert (chain.speed > 0).all() and (chain.home > chain.lower).all() and (chain.home < chain.upper).all()


def moved(chain: Chain) -> Chain:
    """The chain on another base, with another tool."""
    turned = matrix_of_quaternion(np.array([0.5, -0.1, 0.7, 0.2]))
    return chain.standing([0.3, -0.2, 0.1], [0.9, 0.1, -0.3, 0.2]).holding(np.array([0.1, 0.05, -0.2]), turned)


def test_jacobian_is_the_derivative_of_the_pose(chain):
    chain, step = moved(chain), 1e-6
    q = configurations(chain)
    J = chain.jacobian(q)
    for i, e in enumerate(np.eye(len(chain))):
        (p1, R1), (p0, R0) = chain.pose(q + step * e), chain.pose(q - step * e)
        turned = rotation_vector(R1 @ R0.transpose(0, 2, 1))
        numeric = np.concatenate([p1 - p0, turned], axis=1) / (2 * step)
        assert np.abs(J[:, :, i] - numeric).max() <= 1e-7


def test_derivative_of_the_jacobian(chain):
    chain, step = moved(chain), 1e-6
    q = configurations(chain)
    H = chain.jacobian_derivative(q)
    for j, e in enumerate(np.eye(len(chain))):
        numeric = (chain.jacobian(q + step * e) - chain.jacobian(q - step * e)) / (2 * step)
        assert np.abs(H[:, :, :, j] - numeric).max() <= 1e-7


def test_adjoints_of_twist_and_pose(chain):
    chain, step = moved(chain), 1e-6
    rng = np.random.default_rng(2)
    q = configurations(chain)
    velocity, bar = rng.normal(size=q.shape), rng.normal(size=(len(q), 6))
    dq, dv = rng.normal(size=q.shape), rng.normal(size=q.shape)
    q_bar, velocity_bar = chain.twist_adjoint(q, velocity, bar)
    ahead, behind = (chain.twist(q + s * dq, velocity + s * dv) for s in (step, -step))
    numeric = ((ahead - behind) * bar).sum(1) / (2 * step)
    assert np.allclose((q_bar * dq + velocity_bar * dv).sum(1), numeric, rtol=1e-7, atol=1e-7)
    (p1, R1), (p0, R0) = chain.pose(q + step * dq), chain.pose(q - step * dq)
    change = np.concatenate([p1 - p0, rotation_vector(R1 @ R0.transpose(0, 2, 1))], axis=1)
    numeric = (change * bar).sum(1) / (2 * step)
    assert np.allclose((chain.pose_adjoint(q, bar[:, :3], bar[:, 3:]) * dq).sum(1), numeric, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("arm", urdf.MODELS)
def test_inverse_kinematics_reaches_what_can_be_reached(arm):
    chain = urdf.load_arm(arm)
    position, rotation = chain.pose(configurations(chain, 30))
    found = solve_pose(chain, position, rotation)
    at, turned = chain.pose(found)
    assert np.abs(at - position).max() <= 1e-9 and np.abs(turned - rotation).max() <= 1e-9
    assert ((found >= chain.lower) & (found <= chain.upper)).all()
    assert np.array_equal(found, solve_pose(chain, position, rotation))


def test_out_of_reach_is_said_with_the_distance():
    chain = urdf.load_arm("panda").standing([2.0, 0.0, 0.0])
    with pytest.raises(
        ValueError, match=r"'panda' with its base at \[2.0, 0.0, 0.0\] m cannot reach \[0.5, 0.0, 0.2\]"
    ):
        solve_pose(chain, np.array([[0.5, 0.0, 0.2]]), np.diag([1.0, -1.0, -1.0])[None])


@needs_pybullet
@pytest.mark.parametrize("arm", urdf.MODELS)
def test_self_collision_tells_a_folded_arm_from_a_free_one(arm):
    chain, query = urdf.load_arm(arm), urdf.SelfCollision(arm)
    assert query.query(chain.home) == []
    folded = np.array({"panda": [0, 1.8, 0, -3.1, 0, 0, 0], "iiwa": [0, 2.0, 0, 2.09, 0, 2.09, 0]}[arm])
    touching = query.query(folded)
    assert touching and touching[0][2] < 0.0
    assert touching == query.query(folded), "the answer is of the configuration alone"
    assert len(query.query(folded, distance=0.1)) >= len(touching)
    with pytest.raises(ValueError, match="7 finite joint angles"):
        query.query([0.0])
    query.close()
    query.close()


@needs_pybullet
def test_visuals_are_files_on_links_of_the_chain():
    for arm in urdf.MODELS:
        chain = urdf.load_arm(arm)
        assert {visual.link for visual in chain.visuals} == set(range(len(chain) + 1))
        for visual in chain.visuals:
            assert open(visual.path, "rb").read(1)
            assert np.allclose(visual.rotation @ visual.rotation.T, np.eye(3))


def test_wrong_models_are_named(tmp_path):
    panda = urdf.MODELS["panda"]
    for change, said in (
        ({"urdf": str(tmp_path / "no.urdf")}, "no.urdf"),
        ({"tool": "spoon"}, "'spoon' is no link"),
        ({"home": (0.0,)}, "home has 1 numbers"),
        ({"posed": {"elbow": 1.0}}, "'elbow' is unknown"),
    ):
        with pytest.raises(ValueError, match=said):
            urdf.load_chain(urdf.Model(**{**vars(panda), **change}), "panda")
    with pytest.raises(ValueError, match="arm='scara' is unknown; allowed: 'none', 'panda', 'iiwa'"):
        urdf.load_arm("scara")


def test_missing_pybullet_is_said_in_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "pybullet", None)
    import_pybullet.cache_clear()
    with pytest.raises(ImportError, match=r"pip install 'pliant\[arms\]'"):
        import_pybullet()
    import_pybullet.cache_clear()


def test_rotations_agree_with_scipy():
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(60, 3))
    angles = np.concatenate([np.geomspace(1e-9, 3.0, 50), np.full(10, np.pi - 1e-7)])
    vectors = directions / np.linalg.norm(directions, axis=1, keepdims=True) * angles[:, None]
    reference = Rotation.from_rotvec(vectors)
    R = reference.as_matrix()
    assert np.allclose(rotation_vector(R), vectors, rtol=1e-9, atol=1e-12)
    q = quaternion_of_matrix(R)
    assert np.allclose(np.abs((q * np.roll(reference.as_quat(), 1, axis=1)).sum(1)), 1.0) and (q[:, 0] >= 0).all()
    assert np.allclose(matrix_of_quaternion(3.0 * q), R)
    step, turns = 1e-6, rng.normal(size=vectors.shape)
    inner = angles < 3.1  # at pi the vector jumps
    ahead, behind = (rotation_vector((Rotation.from_rotvec(s * turns) * reference).as_matrix()) for s in (step, -step))
    numeric = (ahead - behind) / (2 * step)
    analytic = (rotation_vector_change(vectors) @ turns[..., None])[..., 0]
    assert np.allclose(analytic[inner], numeric[inner], rtol=1e-6, atol=1e-7)


def test_adjoint_of_the_turn_by_a_quaternion():
    """Vectors turned by quaternions of several lengths; a turn psi moves a turned vector y by psi x y."""
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(6, 3))
    quaternions = rng.normal(size=(6, 4)) * np.geomspace(0.3, 3.0, 6)[:, None]

    def turned(x):
        return {"y": (matrix_of_quaternion(x["q"]) @ vectors[..., None])[..., 0]}

    def adjoint(x, c):
        return {"q": turn_adjoint(x["q"], np.cross(turned(x)["y"], c["y"]))}

    check_adjoint(turned, adjoint, {"q": quaternions})
