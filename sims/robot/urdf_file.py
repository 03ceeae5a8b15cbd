"""URDF files, read and checked: links, joints, limits, mimic joints, meshes (http://wiki.ros.org/urdf/XML).

Whatever cannot be followed is refused with the file, the joint and the value, so that nothing else (PyBullet, a chain)
sees a file that is not whole. Document types are refused: they bring entities, which may grow without bound.
"""

from __future__ import annotations

import os
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from pliant.sims.robot.description import KINDS, Description, Joint, LinkMesh, Pose

DEFAULT_COLOR = (1.0, 1.0, 1.0)  # of meshes without a material


def rotation_of_rpy(rpy: Sequence[float] | np.ndarray) -> np.ndarray:
    """Rotation matrix of roll, pitch and yaw [rad] about the fixed axes x, y, z: R_z R_y R_x."""
    (sr, sp, sy), (cr, cp, cy) = np.sin(rpy), np.cos(rpy)
    return np.array(
        [
            [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
            [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
            [-sp, cp * sr, cp * cr],
        ]
    )


def read_urdf(file: str | os.PathLike[str]) -> Description:
    """Read a URDF file.

    Raises:
        ValueError: it is missing or no URDF file, its links are not one tree, or a number, a name or a kind of joint
            is not allowed. The message names the file, the joint and the value.
    """
    file = os.fspath(file)
    robot = _parse(file)
    try:
        links = _names(robot, "link")
        if not links:
            raise ValueError("it has no links")
        _names(robot, "joint")
        joints = {joint.name: joint for joint in (_joint(e) for e in robot.findall("joint"))}
        _check_tree(links, joints)
        joints = {name: _follow(joint, joints) for name, joint in joints.items()}
        meshes = tuple(_meshes(robot, Path(file).resolve().parent))
    except ValueError as error:
        raise ValueError(f"urdf={file!r}: {error}") from None
    missing = sorted({mesh.path for mesh in meshes if not Path(mesh.path).is_file()})
    if missing:
        warnings.warn(f"urdf={file!r}: pictures leave out meshes that do not exist: {', '.join(missing)}", stacklevel=2)
    return Description(file, links, joints, tuple(mesh for mesh in meshes if mesh.path not in missing))


def joints_alone(file: str | os.PathLike[str]) -> bytes:
    """The file without what its links look like and weigh."""
    robot = _parse(os.fspath(file))
    for link in robot.findall("link"):
        for element in list(link):
            link.remove(element)
    return ET.tostring(robot)


class _DoctypeRefused(Exception):
    pass


class _Builder(ET.TreeBuilder):
    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise _DoctypeRefused


def _parse(file: str) -> ET.Element:
    """The root element, <robot>."""
    if not Path(file).is_file():
        raise ValueError(f"urdf={file!r} does not exist" if not Path(file).exists() else f"urdf={file!r} is no file")
    try:
        root = ET.fromstring(Path(file).read_bytes(), ET.XMLParser(target=_Builder()))
    except _DoctypeRefused:
        raise ValueError(f"urdf={file!r} has a document type (<!DOCTYPE ...>), which is not allowed") from None
    except (ET.ParseError, LookupError, ValueError, OSError) as error:
        raise ValueError(f"urdf={file!r} is no XML that can be read: {error}") from None
    if root.tag != "robot":
        raise ValueError(f"urdf={file!r} is no URDF file: its root element is <{root.tag}>, must be <robot>")
    if any("xacro" in str(element.tag) for element in root.iter()):
        raise ValueError(f"urdf={file!r} is a xacro file; run xacro on it first")
    return root


def _names(robot: ET.Element, tag: str) -> tuple[str, ...]:
    """Names of all elements of a kind."""
    names = [element.get("name", "") for element in robot.findall(tag)]
    for number, name in enumerate(names):
        if not name:
            raise ValueError(f"{tag} {number} has no name")
        if name in names[:number]:
            raise ValueError(f"two {tag}s are called {name!r}; each name may stand once")
    return tuple(names)


def _only(element: ET.Element, tag: str) -> ET.Element | None:
    """The one child of this kind, or None."""
    found = element.findall(tag)
    if len(found) > 1:
        raise ValueError(f"it has {len(found)} elements <{tag}>; allowed: one")
    return found[0] if found else None


def _numbers(element: ET.Element | None, attribute: str, default: Sequence[float]) -> np.ndarray:
    """The finite numbers of an attribute, as many as those of the default."""
    text = None if element is None else element.get(attribute)
    if text is None:
        return np.array(default, float)
    assert element is not None
    what = f"<{element.tag}> {attribute}={text!r}"
    try:
        values = np.array([float(part) for part in text.replace("_", "?").split()])  # Python's own 1_000 is no number
    except ValueError:
        raise ValueError(f"{what} must be {len(default)} numbers") from None
    if len(values) != len(default) or not np.isfinite(values).all():
        raise ValueError(f"{what} must be {len(default)} finite number{'s' * (len(default) > 1)}")
    return values


def _number(element: ET.Element | None, attribute: str, default: float) -> float:
    return float(_numbers(element, attribute, [default])[0])


def _origin(element: ET.Element) -> Pose:
    origin = _only(element, "origin")
    return _numbers(origin, "xyz", (0.0, 0.0, 0.0)), rotation_of_rpy(_numbers(origin, "rpy", (0.0, 0.0, 0.0)))


def _end(joint: ET.Element, tag: str) -> str:
    """Name of the link at an end of a joint."""
    end = _only(joint, tag)
    link = "" if end is None else end.get("link", "")
    if not link:
        raise ValueError(f"it names no {tag} link")
    return link


def _joint(element: ET.Element) -> Joint:
    name = element.get("name", "")
    try:
        return _checked_joint(element, name)
    except ValueError as error:
        raise ValueError(f"joint {name!r}: {error}") from None


def _checked_joint(element: ET.Element, name: str) -> Joint:
    kind = element.get("type", "")
    if kind not in KINDS:
        raise ValueError(f"type={kind!r} is not supported; allowed: {', '.join(KINDS)}")
    parent, child = _end(element, "parent"), _end(element, "child")
    position, rotation = _origin(element)
    axis = _numbers(_only(element, "axis"), "xyz", (1.0, 0.0, 0.0))
    length = float(np.linalg.norm(axis))
    if kind != "fixed" and not (1e-9 < length < np.inf):
        raise ValueError(f"axis={axis.tolist()} has no direction; allowed: any vector of a length other than zero")
    mimic = _only(element, "mimic")
    if mimic is not None and kind == "fixed":
        raise ValueError("it is fixed and mimics another joint; one that moves may")
    leader = name if mimic is None else mimic.get("joint", "")
    if mimic is not None and leader == name:
        raise ValueError("it mimics itself")
    lower, upper, speed = _limits(element, kind, is_follower=mimic is not None)
    return Joint(
        name,
        kind,
        parent,
        child,
        position,
        rotation,
        axis / length if length > 0 else axis,
        lower,
        upper,
        speed,
        leader,
        _number(mimic, "multiplier", 1.0),
        _number(mimic, "offset", 0.0),
    )


def _limits(element: ET.Element, kind: str, is_follower: bool) -> tuple[float, float, float | None]:
    """Lower and upper limit and largest speed."""
    limit = _only(element, "limit")
    lower, upper = _number(limit, "lower", 0.0), _number(limit, "upper", 0.0)
    speed = None if limit is None or limit.get("velocity") is None else _number(limit, "velocity", 0.0)
    _number(limit, "effort", 0.0)
    if speed is not None and speed < 0:
        raise ValueError(f"<limit> velocity={speed} must not be negative")
    if kind not in ("revolute", "prismatic"):
        return -np.inf, np.inf, speed
    if limit is None or (limit.get("lower") is None and limit.get("upper") is None):
        if is_follower:
            return -np.inf, np.inf, speed
        hint = "; one that turns without end is continuous" if kind == "revolute" else ""
        raise ValueError(f"it is {kind} and has no limits; it needs <limit lower=... upper=...>{hint}")
    if lower >= upper:
        raise ValueError(f"<limit> lower={lower}, upper={upper} leave no room; allowed: lower < upper")
    return lower, upper, speed


def _check_tree(links: Sequence[str], joints: Mapping[str, Joint]) -> None:
    """Raise ``ValueError`` unless the joints make one tree of all links."""
    carrier: dict[str, Joint] = {}
    for joint in joints.values():
        for tag in ("parent", "child"):
            if getattr(joint, tag) not in links:
                raise ValueError(f"joint {joint.name!r}: its {tag} {getattr(joint, tag)!r} is no link of the file")
        if joint.parent == joint.child:
            raise ValueError(f"joint {joint.name!r} joins the link {joint.child!r} to itself")
        if joint.child in carrier:
            other = carrier[joint.child]
            raise ValueError(
                f"link {joint.child!r} has two parents: {other.parent!r} by joint {other.name!r} and {joint.parent!r} "
                f"by joint {joint.name!r}; allowed: one"
            )
        carrier[joint.child] = joint
    rooted = {link for link in links if link not in carrier}
    for link in links:
        way = [link]
        while way[-1] not in rooted:
            way.append(carrier[way[-1]].parent)
            if way[-1] in way[:-1]:
                loop = way[way.index(way[-1]) :]
                raise ValueError(f"links go round in a circle: {' - '.join(map(repr, loop[::-1]))}")
        rooted.update(way)
    roots = [link for link in links if link not in carrier]
    if len(roots) > 1:
        raise ValueError(f"{len(roots)} links have no parent: {', '.join(map(repr, roots))}; allowed: one, the base")


def _follow(joint: Joint, joints: Mapping[str, Joint]) -> Joint:
    """The joint with its leader at the end of the row of those that it follows."""
    name, multiplier, offset, seen = joint.name, 1.0, 0.0, [joint.name]
    while joints[name].leader != name:
        # value = m (m' x + o') + o
        step = joints[name]
        if step.leader not in joints or joints[step.leader].is_fixed:
            what = "is fixed" if step.leader in joints else "is no joint of the file"
            raise ValueError(f"joint {step.name!r} mimics {step.leader!r}, which {what}")
        multiplier, offset, name = multiplier * step.multiplier, multiplier * step.offset + offset, step.leader
        if name in seen:
            raise ValueError(f"joint {joint.name!r} mimics itself: {' - '.join(map(repr, [*seen, name]))}")
        seen.append(name)
    return replace(joint, leader=name, multiplier=multiplier, offset=offset)


def _meshes(robot: ET.Element, folder: Path) -> Iterator[LinkMesh]:
    colors = {e.get("name"): e.find("color") for e in robot.iter("material") if e.find("color") is not None}
    for link in robot.findall("link"):
        name = link.get("name", "")
        for visual in link.findall("visual"):
            mesh = visual.find("geometry/mesh")
            if mesh is None:
                continue
            material = visual.find("material")
            color = None if material is None else material.find("color")
            if color is None and material is not None:
                color = colors.get(material.get("name"))
            try:
                rgba = _numbers(color, "rgba", (*DEFAULT_COLOR, 1.0))
                scale = _numbers(mesh, "scale", (1.0, 1.0, 1.0))
                if not scale.all():
                    raise ValueError(f"<mesh> scale={scale.tolist()} must not be zero")
                path = _find_mesh(mesh.get("filename", ""), folder)
                yield LinkMesh(name, path, *_origin(visual), scale, tuple(rgba[:3].tolist()))
            except ValueError as error:
                raise ValueError(f"link {name!r}: {error}") from None


def _find_mesh(name: str, folder: Path) -> str:
    """Path of a mesh file. ``package://`` is looked up in the folder of the URDF file and those above it."""
    if not name:
        raise ValueError("a <mesh> has no filename")
    if name.startswith("file://"):
        return name.removeprefix("file://")
    if not name.startswith("package://"):
        return str(folder / name)
    inside = name.removeprefix("package://")
    for above in (folder, *folder.parents):
        for candidate in (above / inside, above.joinpath(*Path(inside).parts[1:])):
            if candidate.is_file():
                return str(candidate)
    return str(folder / inside)
