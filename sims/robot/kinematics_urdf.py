"""Arms from URDF files: their chains, and which of their links touch each other.

Files are read and checked by `pliant.sims.robot.urdf_file`. Where PyBullet is installed, the geometry of the chain is
PyBullet's; the other reader does without it, on every version of Python, and agrees with it to 1e-12.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache

import numpy as np

from pliant.sims.robot.description import Joint, Pose, compose
from pliant.sims.robot.kinematics import Chain, Visual
from pliant.sims.robot.kinematics_pybullet import BASE, FIXED, Robot, import_pybullet, opened
from pliant.sims.robot.models import MODELS, AnyArm, Model, find_urdf, look_up_model
from pliant.sims.robot.urdf_file import read_urdf

REACH = 2 * np.pi  # limit of joints that turn without end [rad]
READERS = ("pybullet", "python")
TRIALS = 256  # postures among which a home is chosen
ROOM = 0.15  # of a joint's range, kept free at both ends of it by a home that is chosen


@cache
def _load_named(arm: str) -> Chain:
    return load_chain(MODELS[arm], arm)


def load_arm(arm: AnyArm) -> Chain:
    """The chain of an arm, see `look_up_model`, its base at the origin; those of `MODELS` are loaded once per process.

    Raises:
        ValueError: the arm is unknown, or see `load_chain`.
    """
    name, model = look_up_model(arm)
    return _load_named(name) if MODELS.get(name) is model else load_chain(model, name)


def load_chain(model: Model, name: str, reader: str | None = None) -> Chain:
    """Read a chain from a URDF file.

    Args:
        model: the arm.
        name: for messages.
        reader: "pybullet" or "python"; PyBullet, where it is installed, unless given.

    Raises:
        ValueError: the file cannot be read, has no such tool link, or does not fit the model.
        ImportError: PyBullet is asked for and not installed.
    """
    if reader not in (None, *READERS):
        raise ValueError(f"reader={reader!r} is unknown; allowed: {', '.join(READERS)}")
    arm = _Arm(model)
    if reader == "python" or (reader is None and not _has_pybullet()):
        steps, axes, tool = arm.steps()
    else:
        with opened(arm.description.file) as robot:
            steps, axes, tool = robot.steps(arm.tool)
    lower, upper, speed = arm.limits()
    coupling, offset = arm.coupling()
    follows = len(arm.leaders) < len(arm.chain) or not (np.array_equal(coupling, np.eye(len(coupling))))
    chain = Chain(
        name=name,
        joint_names=tuple(joint.name for joint in arm.leaders),
        slides=np.array([joint.kind == "prismatic" for joint in arm.chain]),
        origin_position=np.array([position for position, _ in steps]),
        origin_rotation=np.array([rotation for _, rotation in steps]),
        axis=np.array(axes),
        lower=lower,
        upper=upper,
        speed=speed,
        home=(lower + upper) / 2,
        tool_position=tool[0] + tool[1] @ _finite(model.offset, "offset", 3),
        tool_rotation=tool[1],
        base_position=np.zeros(3),
        base_rotation=np.eye(3),
        coupling=coupling if follows else None,
        offset=offset if follows else None,
    )
    home = arm.home(chain)
    return replace(chain, home=home, visuals=tuple(arm.visuals(home)))


def _has_pybullet() -> bool:
    try:
        import_pybullet()
    except ImportError:
        return False
    return True


class _Arm:
    """A model and its checked file.

    Attributes:
        tool: the link that holds.
        path: joints from the base to the tool.  chain: those of them that move.
        leaders: joints that move the chain, in the order in which they first do; they need not be on it.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self.description = description = read_urdf(find_urdf(model.urdf))
        self.tool = self._tool()
        self.path = description.path_to(self.tool)
        self.chain = [joint for joint in self.path if not joint.is_fixed]
        if not self.chain:
            raise ValueError(f"no joint of {self._file} between the base and the tool {self.tool!r} moves")
        names = list(dict.fromkeys(joint.leader for joint in self.chain))
        self.leaders = [description.joints[name] for name in names]
        self._check_posed()

    @property
    def _file(self) -> str:
        return repr(str(self.model.urdf))

    def _tool(self) -> str:
        if self.model.tool is not None:
            return self.model.tool
        if len(self.description.leaves) > 1:
            raise ValueError(
                f"{self._file} has several last links; name the one that holds the effector: "
                f"Model(urdf, tool=...), one of {', '.join(map(repr, self.description.leaves))}"
            )
        return self.description.leaves[0]

    def _check_posed(self) -> None:
        joints, moving = self.description.joints, {joint.name for joint in (*self.chain, *self.leaders)}
        for name, value in self.model.posed.items():
            if name not in joints:
                raise ValueError(f"posed joint {name!r} is unknown in {self._file}; joints: {', '.join(joints)}")
            joint = joints[name]
            if joint.is_fixed or name in moving or joint.leader in moving:
                why = "is fixed" if joint.is_fixed else "moves with the arm"
                raise ValueError(f"posed joint {name!r} of {self._file} {why}; allowed: joints off the chain")
            _finite([value], f"posed[{name!r}]", 1)
            if not joint.lower <= value <= joint.upper:
                raise ValueError(f"posed[{name!r}]={value} is out of range; allowed: [{joint.lower}, {joint.upper}]")
            wanted = self.values(np.zeros(len(self.leaders)))[name]
            if abs(value - wanted) > 1e-9:
                raise ValueError(
                    f"posed[{name!r}]={value} must be {wanted}, where {joint.leader!r}, which it mimics, puts it"
                )

    def values(self, q: np.ndarray) -> dict[str, float]:
        """Where all joints of the file that move stand, by name, the chain at joint angles (n,)."""
        leading = dict(self.model.posed) | {joint.name: q_j for joint, q_j in zip(self.leaders, q, strict=True)}
        return {
            name: float(joint.multiplier * leading.get(joint.leader, 0.0) + joint.offset)
            for name, joint in self.description.joints.items()
            if not joint.is_fixed
        }

    def coupling(self) -> tuple[np.ndarray, np.ndarray]:
        """C and c of `Chain`."""
        C = np.zeros((len(self.chain), len(self.leaders)))
        names = [joint.name for joint in self.leaders]
        for row, joint in zip(C, self.chain, strict=True):
            row[names.index(joint.leader)] = joint.multiplier
        return C, np.array([joint.offset for joint in self.chain])

    def limits(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Lower and upper limits and largest speeds of the leaders, at which their followers keep theirs, too."""
        given = self.model.speed
        speeds = None if given is None else _finite(given, "speed", len(self.leaders))
        if speeds is not None and not (speeds > 0).all():
            raise ValueError(f"speed={list(speeds)!r} must be positive")
        result = []
        for number, leader in enumerate(self.leaders):
            followers = [joint for joint in self.chain if joint.leader == leader.name and joint is not leader]
            low, high, speed = leader.lower, leader.upper, leader.speed or 0.0
            for joint in followers:
                ends = _leading_range(joint)
                low, high = max(low, ends[0]), min(high, ends[1])
                if joint.speed and joint.multiplier:
                    speed = min(speed, joint.speed / abs(joint.multiplier))
            if low >= high:
                raise ValueError(
                    f"joint {leader.name!r} of {self._file} has no room: the limits of the joints that mimic it, "
                    f"{', '.join(repr(joint.name) for joint in followers)}, leave [{low}, {high}]"
                )
            if not math.isfinite(high - low):
                low, high = max(low, -REACH), min(high, REACH)
            if speeds is None and not speed > 0:
                raise ValueError(
                    f"joint {leader.name!r} of {self._file} has the velocity limit {leader.speed}, must be positive; "
                    "give it in the file or as Model(speed=...)"
                )
            result.append((low, high, speed if speeds is None else speeds[number]))
        lower, upper, largest = np.array(result, float).T
        return lower, upper, largest

    def home(self, chain: Chain) -> np.ndarray:
        """The posture given, or one that is chosen: of many drawn from a fixed seed the one farthest from singular."""
        if self.model.home is None:
            room = ROOM * (chain.upper - chain.lower)
            postures = np.random.default_rng(0).uniform(chain.lower + room, chain.upper - room, (TRIALS, len(chain)))
            J = chain.jacobian(postures)
            reach = np.linalg.norm(chain.pose(postures)[0], axis=1).max()
            J[:, :3] /= reach if reach > 0 else 1.0
            return postures[np.linalg.svd(J, compute_uv=False)[:, min(6, len(chain)) - 1].argmax()]
        home = np.asarray(self.model.home, float)
        if home.shape != (len(chain),):
            raise ValueError(
                f"home has {home.size} numbers, {self._file} has {len(chain)} joints up to the tool: "
                f"{', '.join(chain.joint_names)}"
            )
        for name, value, low, high in zip(chain.joint_names, home, chain.lower, chain.upper, strict=True):
            if not low <= value <= high:
                raise ValueError(
                    f"home of joint {name!r} of {self._file} is {value}, out of range; allowed: [{low}, {high}]"
                )
        return home

    def steps(self) -> tuple[list[Pose], list[np.ndarray], Pose]:
        """The way to the tool, as `pliant.sims.robot.kinematics_pybullet.Robot.steps` gives it."""
        steps, step = [], (np.zeros(3), np.eye(3))
        for joint in self.path:
            step = compose(step, (joint.position, joint.rotation))
            if not joint.is_fixed:
                steps.append(step)
                step = np.zeros(3), np.eye(3)
        return steps, [joint.axis for joint in self.chain], step

    def visuals(self, home: np.ndarray) -> Iterator[Visual]:
        """The meshes, each in the frame of the last movable joint of the chain before it, joints off it as at home."""
        values = self.values(home)
        places = {joint.name: number + 1 for number, joint in enumerate(self.chain)}
        for mesh in self.description.meshes:
            pose, link, carrier = (mesh.position, mesh.rotation), mesh.link, 0
            while link in self.description.joint_above and not carrier:
                joint = self.description.joint_above[link]
                carrier = places.get(joint.name, 0)
                if not carrier:
                    pose = compose(joint.motion(values.get(joint.name, 0.0)), pose)
                link = joint.parent
            yield Visual(carrier, mesh.path, *pose, mesh.scale, mesh.color)


def _leading_range(joint: Joint) -> tuple[float, float]:
    """The range of a joint's leader in which the joint keeps its own limits."""
    if joint.multiplier == 0.0:
        return (-math.inf, math.inf) if joint.lower <= joint.offset <= joint.upper else (math.inf, -math.inf)
    low, high = sorted((end - joint.offset) / joint.multiplier for end in (joint.lower, joint.upper))
    return low, high


def _finite(values: object, name: str, count: int) -> np.ndarray:
    """Finite numbers of a model."""
    try:
        array = np.asarray(values, float)
    except (TypeError, ValueError):
        array = np.full(0, np.nan)
    if array.shape != (count,) or not np.isfinite(array).all():
        raise ValueError(f"{name}={values!r} must be {count} finite number{'s' * (count > 1)}")
    return array


class SelfCollision:
    """Which links of an arm come near each other, by the collision shapes of its URDF file.

    Links that are neighbours on the arm (at most one movable joint apart) or that overlap in the home posture (the
    convex hulls of a wrist do) are left out.

    Args:
        arm: see `look_up_model`.

    Raises:
        ValueError: see `load_chain`.
        ImportError: PyBullet is not installed.
    """

    def __init__(self, arm: AnyArm) -> None:
        name, model = look_up_model(arm)
        import_pybullet()
        self._chain, self._arm = load_chain(model, name), _Arm(model)
        self._robot = robot = Robot(self._arm.description.file, shapes=True)
        self._base = robot.bullet.getBodyInfo(robot.body, physicsClientId=robot.client)[0].decode()
        links = range(BASE, len(robot.infos))
        pairs = [(a, b) for a in links for b in links if a < b and self._steps_between(a, b) > 1]
        self._pairs = pairs
        near = {pair[:2] for pair in self.query(self._chain.home)}
        self._pairs = [(a, b) for a, b in pairs if (self._name(a), self._name(b)) not in near]

    def query(self, q: Sequence[float] | np.ndarray, distance: float = 0.0) -> list[tuple[str, str, float]]:
        """Pairs of links nearer than ``distance`` [m] at joint angles (n,), with their distance [m], nearest first.

        The distance is negative where they overlap.
        """
        if np.shape(q) != (len(self._chain),) or not np.isfinite(q).all():
            raise ValueError(f"q={q!r} must be {len(self._chain)} finite joint angles")
        robot, found = self._robot, []
        robot.set_named(self._arm.values(np.asarray(q, float)))
        for a, b in self._pairs:
            points = robot.bullet.getClosestPoints(
                robot.body, robot.body, distance, linkIndexA=a, linkIndexB=b, physicsClientId=robot.client
            )
            if points:
                found.append((self._name(a), self._name(b), min(point[8] for point in points)))
        return sorted(found, key=lambda pair: pair[2])

    def close(self) -> None:
        """Free PyBullet's memory; may be called again."""
        if self._robot is not None:
            self._robot.close()
            self._robot = None  # type: ignore[assignment]

    def _name(self, link: int) -> str:
        return self._base if link == BASE else self._robot.links[link]

    def _steps_between(self, a: int, b: int) -> int:
        """Movable joints on the way between two links."""

        def movable_above(link: int) -> set[int]:
            found = set()
            while link != BASE:
                if self._robot.infos[link][2] != FIXED:
                    found.add(link)
                link = self._robot.parents[link]
            return found

        return len(movable_above(a) ^ movable_above(b))
