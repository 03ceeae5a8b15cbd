"""Scenes, shapes, rods and Worlds, each argument in turn replaced by hostile values."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from pliant.sims.mpm.bodies import Body, Walls
from pliant.sims.mpm.scene import Scene
from pliant.sims.mpm.supply.nozzles import Drain, Injector
from pliant.sims.robot.effector import Effector
from pliant.sims.rod.rod import Grip, Rod, SelfContact
from pliant.sims.rod.scene import RodScene
from pliant.sims.shapes.containers import Bowl, Cone, Cup, RingTank
from pliant.sims.shapes.profile import Revolution
from pliant.sims.shapes.shapes import Box, Capsule, Cylinder, Mesh, Sphere, Torus
from pliant.sims.world import World
from tests.hostile import describe, failures, numbers, values

LATTICE = np.stack(np.meshgrid(*[np.linspace(0.4, 0.5, 3)] * 3, indexing="ij"), -1).reshape(-1, 3)
WIRE = np.stack([np.linspace(0.0, 0.5, 6), np.zeros(6), np.zeros(6)], axis=1)


def body(**changes: Any) -> Body:
    return Body(**{"name": "block", "position": LATTICE, "volume": 1e-4} | changes)


def ball(**changes: Any) -> Effector:
    return Effector(**{"name": "ball", "shape": Sphere(0.1), "position": (0.5, 0.5, 0.8)} | changes)


def scene(**changes: Any) -> Scene:
    return Scene(
        **{"dim": 3, "grid": (16, 16, 16), "cell": 1 / 16, "bodies": [body()], "effectors": [ball()]} | changes
    )


def poured(injector: dict[str, Any] | None = None, drain: dict[str, Any] | None = None) -> Scene:
    nozzle = {"name": "tap", "body": "block", "effector": "ball", "radius": 0.05, "max_flow": 1e-3}
    box = {"low": (0.6, 0.6, 0.2), "high": (0.7, 0.7, 0.3)}
    return scene(injectors=[Injector(**nozzle | (injector or {}))], drains=[Drain(**box | (drain or {}))])


def wire(**changes: Any) -> Rod:
    return Rod(**{"position": WIRE} | changes)


def held(**changes: Any) -> RodScene:
    return RodScene(**{"rod": wire(), "grips": [Grip([0, 1])]} | changes)


def is_one_of(*allowed: Any) -> Callable[[Any], bool]:
    return lambda value: type(value) in {type(a) for a in allowed} and value in allowed


def number(low: float, high: float = np.inf, *, strictly: bool = False) -> Callable[[Any], bool | None]:
    def accepts(value: Any) -> bool | None:
        plain = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(
            value, (bool, np.timedelta64)
        )
        if not plain or (strictly and value <= low):
            return False
        fits = numbers(value, (), low=low, high=high)
        return None if fits else (None if numbers_in_double(value, low, high) else fits)

    return accepts


def numbers_in_double(value: Any, low: float, high: float) -> bool:
    """Scenes are float64: what float32 cannot hold is refused when a World is made of them."""
    try:
        return bool(np.isfinite(float(value)) and low <= value <= high)
    except (OverflowError, ValueError):
        return False


def array(*shapes: tuple[int, ...], low: float = -np.inf, high: float = np.inf) -> Callable[[Any], bool | None]:
    def accepts(value: Any) -> bool | None:
        fits = numbers(value, *shapes, low=low, high=high)
        if fits is False:
            try:
                given = np.asarray(value)
                ok = given.dtype.kind in "iuf" and given.shape in shapes and np.isfinite(given.astype(float)).all()
            except Exception:
                return False
            return None if ok and (given >= low).all() and (given <= high).all() else False
        return None

    return accepts


def nothing(value: Any) -> bool:
    return False


def anything(value: Any) -> None:
    return None


def none_or(accepts: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: True if value is None else accepts(value)


N, V = len(LATTICE), len(WIRE)
POSITIVE, SHARE = array((), (N,), low=0.0), array((), (V,), low=0.0)
SLOTS: list[tuple[Callable[..., Any], dict[str, Callable[[Any], Any]]]] = [
    (
        lambda **c: scene(bodies=[body(**c)]),
        {
            "name": lambda v: isinstance(v, str) and bool(v),
            "position": array((N, 3)),
            "volume": POSITIVE,
            "material": nothing,
            **dict.fromkeys(("youngs_modulus", "density", "yield_stress", "bulk_modulus", "viscosity"), POSITIVE),
            "poissons_ratio": array((), (N,), low=-1.0, high=0.5),
            "flow_index": array((), (N,), low=0.2, high=1.0),
            "friction_angle": array((), (N,), low=0.0, high=1.6),
            "muscle_strength": POSITIVE,
            "velocity": none_or(array((3,), (N, 3))),
            "fibre_direction": none_or(array((3,), (N, 3))),
            "muscle_group": none_or(array((N,), low=-1.0)),
            "color": array((3,), (N, 3), low=0.0, high=1.0),
        },
    ),
    (
        scene,
        {
            "dim": nothing,
            "grid": nothing,
            "cell": number(0.0, strictly=True),
            "bodies": nothing,
            "effectors": lambda v: v in ([], ()) if isinstance(v, (list, tuple)) else False,
            "injectors": lambda v: v in ([], ()) if isinstance(v, (list, tuple)) else False,
            "drains": lambda v: v in ([], ()) if isinstance(v, (list, tuple)) else False,
            "walls": nothing,
            "gravity": none_or(array((3,))),
            "surface_tension": number(0.0),
        },
    ),
    (
        lambda **c: scene(walls=Walls(**c)),
        {"kind": nothing, "friction": array((), (6,), low=0.0), "thickness": nothing},
    ),
    (
        lambda **c: scene(effectors=[ball(**c)]),
        {
            "name": lambda v: isinstance(v, str) and bool(v),
            "shape": nothing,
            "position": array((2,), (3,), (1, 3), (3, 1)),
            "orientation": array((4,)),
            "friction": number(0.0),
            "softness": number(0.0),
            "contact": nothing,
            "color": array((3,), low=0.0, high=1.0),
            "fixed": is_one_of(True, False, np.True_),
        },
    ),
    (
        lambda **c: poured(injector=c),
        {
            "name": lambda v: isinstance(v, str) and bool(v),
            "body": nothing,
            "effector": nothing,
            "radius": number(0.0, strictly=True),
            "max_flow": number(0.0, strictly=True),
            "nozzle": array((3,)),
            "direction": array((3,)),
            "seed": lambda v: None if isinstance(v, int) and not isinstance(v, bool) and v >= 0 else False,
        },
    ),
    (lambda **c: poured(drain=c), {"low": array((3,)), "high": array((3,))}),
    (Sphere, {"radius": number(0.0, strictly=True)}),
    (
        lambda **c: Capsule(**{"radius": 0.1, "half_length": 0.1} | c),
        dict.fromkeys(("radius", "half_length"), number(0.0, strictly=True)),
    ),
    (
        lambda **c: Cylinder(**{"radius": 0.1, "half_length": 0.1} | c),
        dict.fromkeys(("radius", "half_length"), number(0.0, strictly=True)),
    ),
    (
        lambda **c: Torus(**{"major_radius": 0.1, "minor_radius": 0.05} | c),
        dict.fromkeys(("major_radius", "minor_radius"), number(0.0, strictly=True)),
    ),
    (
        lambda **c: Box(**{"half_extents": (0.1, 0.1, 0.1)} | c),
        {"half_extents": array((3,), low=0.0), "rounding": number(0.0, 0.1)},
    ),
    (
        lambda **c: Mesh(**{"path": "there is no such file.stl"} | c),
        dict.fromkeys(("path", "scale", "cells", "margin"), nothing),
    ),
    (Revolution, {"profile": nothing}),
    (
        lambda **c: Cup(**{"radius": 0.1, "depth": 0.1, "wall": 0.05, "floor_thickness": 0.05} | c),
        {
            **dict.fromkeys(("radius", "depth", "wall", "floor_thickness"), number(0.0, strictly=True)),
            "top_radius": none_or(number(0.0, strictly=True)),
            "open_bottom": is_one_of(False),
        },
    ),
    (
        lambda **c: Cone(**{"radius": 0.1, "depth": 0.1, "wall": 0.05} | c),
        dict.fromkeys(("radius", "depth", "wall"), number(0.0, strictly=True)),
    ),
    (
        lambda **c: Bowl(**{"radius": 0.1, "wall": 0.05} | c),
        {
            **dict.fromkeys(("radius", "wall"), number(0.0, strictly=True)),
            "depth": none_or(number(0.0, strictly=True)),
            "edges": nothing,
        },
    ),
    (
        lambda **c: RingTank(
            **{"inner_radius": 0.1, "outer_radius": 0.2, "depth": 0.1, "wall": 0.05, "floor_thickness": 0.05} | c
        ),
        dict.fromkeys(("inner_radius", "outer_radius", "depth", "wall", "floor_thickness"), number(0.0, strictly=True)),
    ),
    (
        lambda **c: held(rod=wire(**c)),
        {
            "position": array((V, 3)),
            "parents": none_or(nothing),
            **dict.fromkeys(
                (
                    "mass",
                    "twist_stiffness",
                    "stretch_stiffness",
                    "bend_damping",
                    "twist_damping",
                    "drag",
                    "quadratic_drag",
                ),
                SHARE,
            ),
            "bend_stiffness": array((), (V,), (V, 2), low=0.0),
            "rest_length": none_or(array((), (V,), low=0.0)),
            "rest_position": none_or(array((V, 3))),
            "radius": number(0.0, strictly=True),
            "director": array((3,)),
            "color": array((3,), low=0.0, high=1.0),
        },
    ),
    (
        held,
        {
            "rod": nothing,
            "grips": lambda v: v in ([], ()) if isinstance(v, (list, tuple)) else False,
            "effectors": lambda v: v in ([], ()) if isinstance(v, (list, tuple)) else False,
            "gravity": array((3,)),
            "contact_stiffness": number(0.0),
            "integrator": nothing,
            "iterations": lambda v: None if isinstance(v, int) and not isinstance(v, bool) and v >= 1 else False,
            "scaled": is_one_of(True, False, np.True_),
            "forced": is_one_of(True, False, np.True_),
            "self_contact": none_or(nothing),
        },
    ),
    (
        lambda **c: held(grips=[Grip(**{"vertices": [0]} | c)]),
        {"vertices": lambda v: None if array((0,), (2,))(v) is None else False, "effector": none_or(nothing)},
    ),
    (
        lambda **c: held(self_contact=SelfContact(**c)),
        {"stiffness": number(0.0), "friction": number(0.0), "radius": none_or(array((), (V,), low=0.0))},
    ),
]


NAMED = {
    "cell": "cell|position of particle|domain",
    "scale": "scale|mesh file",
    "margin": "margin|mesh file",
    "path": "path|mesh file",
    "radius": "radi",
    "vertices": "vertex|vertices",
}
"""What an error may name instead: particles of the scene lie outside a domain of other cells, the file is missing."""


def calls() -> Iterator[tuple[str, Callable[[], Any], str, Any]]:
    for k, (make, slots) in enumerate(SLOTS):
        for name, accepts in slots.items():
            for value in values():
                yield (
                    f"{k} {name}={describe(value)}",
                    lambda m=make, n=name, v=value: m(**{n: v}),
                    NAMED.get(name, name),
                    accepts(value),
                )


@pytest.mark.filterwarnings("error::RuntimeWarning", "error::numpy.exceptions.ComplexWarning")
def test_scenes_refuse_hostile_values_by_name() -> None:
    count, wrong = failures(calls())
    assert count > 5_000
    assert not wrong, f"{len(wrong)} of {count}:\n" + "\n".join(wrong[:400])


WORLD: dict[str, Callable[[Any], bool]] = {
    "scene": nothing,
    "batch": nothing,
    "substeps": nothing,
    "dt": nothing,
    "device": nothing,
    "precision": nothing,
    "soft_contact": lambda v: isinstance(v, (bool, np.bool_)),
    "differentiable": lambda v: isinstance(v, (bool, np.bool_)),
    "memory": lambda v: (
        v == "1.0" if isinstance(v, str) else isinstance(v, int) and not isinstance(v, bool) and 0 < v < 2**63
    ),
    "horizon": lambda v: v is None or (isinstance(v, int) and not isinstance(v, bool) and v > 0),
}


def test_worlds_refuse_hostile_arguments_by_name() -> None:
    usual = {"scene": scene(), "substeps": 2, "dt": 1e-4}

    def refused() -> Iterator[tuple[str, Callable[[], Any], str, Any]]:
        for name, accepts in WORLD.items():
            for value in values():
                if not accepts(value):
                    changed = usual | {name: value}
                    yield f"{name}={describe(value)}", lambda c=changed: World(**c), name, False

    count, wrong = failures(refused())
    assert count > 500
    assert not wrong, f"{len(wrong)} of {count}:\n" + "\n".join(wrong[:40])


@pytest.mark.parametrize(
    ("quantity", "what"),
    [("density", 1e39), ("youngs_modulus", 1e-50), ("muscle_strength", 1e39)],
)
def test_what_float32_does_not_hold_is_refused_there(quantity: str, what: float) -> None:
    """Scenes are float64, so that the World that is too narrow for them names the quantity."""
    made = scene(bodies=[body(muscle_group=np.zeros(N), fibre_direction=(1, 0, 0), **{quantity: what})])
    with pytest.raises(ValueError, match=quantity):
        World(made, substeps=1, dt=1e-6)
