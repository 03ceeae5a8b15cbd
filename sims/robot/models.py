"""Arms by name or by the path of a URDF file, and what the file does not say."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pliant.sims.inputs import shown

SHIPPED = Path(__file__).parent / "arms"  # kinematics of `MODELS` for where there is no pybullet_data


@dataclass(frozen=True)
class Model:
    """Where an arm's URDF is and what it does not say.

    Attributes:
        urdf: path: absolute, or relative to the working directory or else to ``pybullet_data``.
        tool: name of the link that holds the effector; the last one, where only one link carries no other.
        home: a posture with room on all sides [rad or m], one number per joint of the chain that follows no other; one
            far from singular is chosen where none is given.
        offset: from the tool link's frame to the place where it holds, in the frame [m].
        posed: positions of joints off the chain (fingers), by name [rad or m].
        speed: largest joint speeds [rad/s or m/s], where the file's are missing or placeholders.
    """

    urdf: str | os.PathLike[str]
    tool: str | None = None
    home: Sequence[float] | np.ndarray | None = None
    offset: Sequence[float] | np.ndarray = (0.0, 0.0, 0.0)
    posed: Mapping[str, float] = field(default_factory=dict)
    speed: Sequence[float] | np.ndarray | None = None


AnyArm = str | os.PathLike[str] | Model
"""What names an arm: one of `MODELS`, the path of a URDF file, or a model."""

MODELS = {
    "panda": Model(
        urdf="franka_panda/panda.urdf",
        tool="panda_grasptarget",
        home=(0.0, -0.785, 0.0, -2.356, 0.0, 1.571, 0.785),
        posed={"panda_finger_joint1": 0.004, "panda_finger_joint2": 0.004},  # about the stick that pictures show
    ),
    "iiwa": Model(
        urdf="kuka_iiwa/model.urdf",
        tool="lbr_iiwa_link_7",
        offset=(0.0, 0.0, 0.045),  # the flange's face
        home=(0.0, 0.6, 0.0, -1.5, 0.0, 1.04, 0.0),
        speed=np.radians(
            [98, 98, 100, 130, 140, 180, 180]
        ),  # data sheet of the LBR iiwa 7 R800; the file says 10 rad/s
    ),
}
"""Franka Emika Panda, its hand included, and KUKA LBR iiwa 7 R800; ``pybullet_data`` has their meshes."""


def look_up_model(arm: object) -> tuple[str, Model]:
    """Name and model of an arm: one of `MODELS` by name, a `Model`, or the path of a URDF file.

    Raises:
        ValueError: it is none of these; names what is allowed.
    """
    if isinstance(arm, Model):
        return Path(arm.urdf).stem, arm
    if isinstance(arm, str) and arm in MODELS:
        return arm, MODELS[arm]
    if isinstance(arm, os.PathLike) or (isinstance(arm, str) and (arm.endswith((".urdf", ".xml")) or os.sep in arm)):
        if not os.path.isfile(arm):
            raise ValueError(f"arm={shown(str(arm), 400)} does not exist; a path must be that of a URDF file")
        return Path(arm).stem, Model(os.path.abspath(arm))
    raise ValueError(
        f"arm={shown(arm)} is unknown; allowed: 'none', {', '.join(map(repr, MODELS))}, the path of a URDF file, or a "
        "Model"
    )


def find_urdf(urdf: str | os.PathLike[str]) -> str:
    """Path of a model's file: as given, else in ``pybullet_data``, else as shipped.

    Raises:
        ValueError: it is no path.
    """
    if not isinstance(urdf, (str, os.PathLike)):
        raise ValueError(f"urdf={urdf!r} must be the path of a URDF file")
    urdf = os.fspath(urdf)
    if os.path.isabs(urdf) or os.path.exists(urdf):
        return urdf
    places = [SHIPPED]
    try:
        import pybullet_data

        places.insert(0, Path(pybullet_data.getDataPath()))
    except ImportError:
        pass
    return next((str(place / urdf) for place in places if (place / urdf).is_file()), urdf)
