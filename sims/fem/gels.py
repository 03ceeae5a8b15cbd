"""Meshes of gels by name: a pad, a dome, and those of two sensors that can be bought."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pliant.sims.fem.domes import dome_mesh
from pliant.sims.fem.mesh import GelMesh
from pliant.sims.fem.pads import pad_mesh
from pliant.sims.inputs import shown, word

NODES = 2000
MINI_SIZE = (0.02525, 0.02075)
MINI_THICKNESS = 0.00425
DIGIT_SIZE = (0.03, 0.02)
DIGIT_RADIUS = 0.035
"""Radius of the sphere that falls 5 mm over the 18.03 mm from the middle to a corner [m]."""

DIGIT_THICKNESS = 0.007


def gelsight_mini_mesh(
    nodes: int | None = None,
    *,
    cells: Sequence[int] | None = None,
    grading: Sequence[float] = (1.3, 1.2),
    curvature_radius: float | Sequence[float] = np.inf,
) -> GelMesh:
    """The gel of a GelSight Mini: 25.25 mm along x, 20.75 mm along y, 4.25 mm thick.

    Size: that of the gel pad in TacEx (Nguyen et al. 2024, `GelSightMiniCfg`, which has a height of 4.5 mm, while its
    examples have 4.25 mm); thickness: what is quoted from the product's data sheet. The camera sees 18.6 mm x 14.3 mm
    of it. The surface is modelled flat; ``curvature_radius`` makes it convex.

    Args:
        nodes: about how many; default 2,000.
        cells, grading, curvature_radius: as of `pad_mesh`; ``cells`` in place of ``nodes``.

    Raises:
        ValueError: an argument is out of range; both ``cells`` and ``nodes`` are given.
    """
    return pad_mesh(
        MINI_SIZE, MINI_THICKNESS, cells, grading, nodes=_wanted(nodes, cells), curvature_radius=curvature_radius
    )


def digit_mesh(
    nodes: int | None = None,
    *,
    cells: Sequence[int] | None = None,
    grading: Sequence[float] = (1.3, 1.2),
    thickness: float = DIGIT_THICKNESS,
) -> GelMesh:
    """The gel of a DIGIT: 30 mm along x, 20 mm along y, a part of a sphere's surface that falls 5 mm to its corners.

    Size and fall are those of the gel in TACTO (Wang et al. 2022, `config_digit.yml`: 0.02 m x 0.03 m, convexity
    0.005 m). It is glued to a flat acrylic window and the camera sees 19 mm x 16 mm of it (Lambeta et al. 2020). Its
    thickness is not published; the default leaves 2 mm at the corners.

    Args:
        nodes: about how many; default 2,000.
        cells, grading: as of `pad_mesh`; ``cells`` in place of ``nodes``.
        thickness: in the middle [m].

    Raises:
        ValueError: an argument is out of range; both ``cells`` and ``nodes`` are given.
    """
    return pad_mesh(DIGIT_SIZE, thickness, cells, grading, nodes=_wanted(nodes, cells), curvature_radius=DIGIT_RADIUS)


def _wanted(nodes: int | None, cells: Sequence[int] | None) -> int | None:
    return NODES if nodes is None and cells is None else nodes


GELS: dict[str, Callable[..., GelMesh]] = {
    "pad": pad_mesh,
    "dome": dome_mesh,
    "gelsight_mini": gelsight_mini_mesh,
    "digit": digit_mesh,
}
"""Functions that make gels by name."""


def gel_mesh(name: str, **options: Any) -> GelMesh:
    """The mesh of a gel: "pad", "dome", "gelsight_mini" or "digit", with the keywords of the function in `GELS`.

    Raises:
        ValueError: there is no such name or keyword, or a value is out of range.
    """
    make = GELS[word("name", name, list(GELS))]
    known = inspect.signature(make).parameters
    for option, value in options.items():
        if option not in known:
            raise ValueError(f"{option}={shown(value)} is no option of the gel {name!r}; allowed: {', '.join(known)}")
    return make(**options)
