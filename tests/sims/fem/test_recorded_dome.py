"""A gel against a published finite-element solution of a dome that a pin presses, then also drags.

The pad has the dome's curvature and, as its middle, the place under the pin. Thickness, Poisson ratio, radius, depth
and place of the pin are fitted to the normal press alone. That press is not quite normal: the displacements around the
pin lean along y, so that a small drag of the pin is fitted too.
"""

import os
from functools import cache
from pathlib import Path

import gel_scenes as scenes
import numpy as np
import pytest
from scipy.interpolate import RegularGridInterpolator
from scipy.optimize import least_squares

from pliant.sims.fem.pads import pad_mesh
from pliant.sims.robot.effector import Effector
from pliant.sims.shapes.shapes import Sphere

DOME = Path(os.environ.get("PLIANT_DATA", "")) / "tactile" / "dome_fem.npz"
pytestmark = [
    pytest.mark.slow,  # half a minute for the fit
    pytest.mark.skipif(
        not os.environ.get("PLIANT_DATA") or not DOME.exists(), reason="PLIANT_DATA names no folder with a tactile dome"
    ),
]

CURVATURE_RADIUS = 0.0284  # a sphere through the nodes, to 0.8 um
APEX = np.array([0.030544, 0.035090])
SIZE, CELLS, GRADING = 0.02, (22, 22, 8), (1.6, 1.5)
"""Of the pad; its finest cells are 0.2 mm wide, about as the published ones. The dome goes on beyond its sides."""

NEAR = 3e-3
"""Distance from the pin [m] within which errors are counted as well: elsewhere hardly anything moves."""

START = np.array([4.8e-3, 0.46, 4e-4, 1.3e-4])
"""Thickness [m], Poisson ratio, radius and depth of the pin [m] where the fit begins."""

LENGTHS = np.array([1e-4, 1e-4, 5e-5, 5e-5])
"""The pin stands at LENGTHS[:2] times (unknown - 1) from the apex and drags by LENGTHS[2:] times (unknown - 1) [m]."""


class Dome:
    """The published fields, z turned round so that it looks out of the gel."""

    def __init__(self):
        with np.load(DOME) as data:
            position = data["position"].astype(float)
            self.normal, self.shear = (data[name] * [1.0, 1.0, -1.0] for name in ("normal_press", "shear_press"))
        self.places = position[:, :2]
        self.height = float(np.ptp(position[:, 2]))

    def rms(self, field, middle=None):
        """Root mean square of vectors (N, 3), of all nodes or of those near a point (2,)."""
        if middle is not None:
            field = field[np.linalg.norm(self.places - middle, axis=1) < NEAR]
        return float(np.sqrt((field**2).sum(axis=1).mean()))


@pytest.fixture(scope="module")
def dome():
    return Dome()


def solution(thickness, poisson_ratio, radius, depth, drag, steps):
    """Fields of displacement [m] after a press and after a drag (2,) of the pin: values (n, n, 3) on the grid (n,)."""
    mesh = pad_mesh((SIZE, SIZE), thickness, CELLS, GRADING, curvature_radius=CURVATURE_RADIUS)
    pin = Effector("pin", Sphere(radius), (0.0, 0.0, thickness + radius), friction=5.0)
    gel = {"youngs_modulus": 1e5, "poisson_ratio": poisson_ratio, "viscosity": 0.0}
    # stiff: under the pin, 6 mN on some 0.1 mm^2, the surface gives way by a few micrometres
    world = scenes.pressed_world(mesh, pin, gel=gel, substep=scenes.STATIC, contact_stiffness=2e10)
    scenes.move(world, "pin", (0.0, 0.0, -depth / 2 / scenes.STATIC), 2)
    press = world.state("gel_displacement")[0]
    scenes.move(world, "pin", np.array([*drag, 0.0]) / steps / scenes.STATIC, steps)
    dragged = world.state("gel_displacement")[0]
    x, y, z = mesh.positions[: mesh.free_count].T
    columns = np.lexsort((z, y, x)).reshape(CELLS[0] + 1, CELLS[1] + 1, CELLS[2])
    top = columns[..., -1]
    return x[top[:, 0]], press[top], dragged[top]


def field_of(grid, values):
    """A field on the pad, a function of places (N, 2) [m] from its middle: bilinear, none outside."""
    return RegularGridInterpolator((grid, grid), values, bounds_error=False, fill_value=0.0)


@cache
def response(*pin):
    """The field of a press, and what it grows by for each metre of drag along x: (..., 6)."""
    grid, press, dragged = solution(*pin, drag=(2e-5, 0.0), steps=1)
    return field_of(grid, np.concatenate([press, (dragged - press) / 2e-5], axis=-1))


def displacement(unknowns, places):
    """Displacement (N, 3) [m] at places (N, 2) after a press with a small drag."""
    field = response(*unknowns[:4] * START)
    x, y, *drag = (unknowns[4:] - 1) * LENGTHS
    away = places - APEX - (x, y)
    press, along_x = np.split(field(away), 2, axis=1)
    along_y = field(away[:, ::-1])[:, [4, 3, 5]]  # the pad mirrors itself at x = y
    return press + drag[0] * along_x + drag[1] * along_y


@pytest.fixture(scope="module")
def fit(dome):
    """The unknowns that explain the normal press; the first four are in units of the start."""

    def error(unknowns):
        return 1e6 * (displacement(unknowns, dome.places) - dome.normal).ravel()

    return least_squares(error, np.ones(8), diff_step=0.02, max_nfev=4).x


def test_a_pad_explains_the_normal_press(dome, fit):
    """To 14 % of its displacements, all over and near the pin, from a start that leaves 35 %.

    The thickness comes out at 5.44 mm where the cap is 5.50 mm high, from displacements alone; nobody states the
    Poisson ratio (0.43 here).
    """
    thickness, poisson_ratio, radius, depth = fit[:4] * START
    middle, drag = APEX + (fit[4:6] - 1) * LENGTHS[:2], (fit[6:] - 1) * LENGTHS[2:]
    error = displacement(fit, dome.places) - dome.normal
    assert dome.rms(error) < 0.16 * dome.rms(dome.normal)  # 0.41 of 3.03 um
    assert dome.rms(error, middle) < 0.16 * dome.rms(dome.normal, middle)  # 1.43 of 10.9 um
    assert dome.rms(error) < 0.5 * dome.rms(displacement(np.ones(8), dome.places) - dome.normal)
    assert thickness == pytest.approx(dome.height, rel=0.03)
    assert 0.41 < poisson_ratio < 0.45
    # a pin well below 1 mm, deeper than the nodes that it presses, where they are, and dragged along y
    assert 2e-4 < radius < 5e-4
    assert 1.0 < depth / -dome.normal[:, 2].min() < 1.6
    assert np.linalg.norm(middle - dome.places[dome.normal[:, 2].argmin()]) < 1.5e-4
    assert abs(drag[0]) < 2e-6 and 1.2e-5 < drag[1] < 2.2e-5


def test_the_fit_foresees_the_shear_press(dome, fit):
    """To 0.9 % of its largest displacement all over, and to 3.1 % within 3 mm of the pin.

    The load is read from the field's peak: the pin stands there, as deep as in the normal press and with its drag along
    y, and drags along x by the largest displacement along x. To foresee nothing would be 4.3 % off all over, for hardly
    a node moves, and 14.5 % near the pin.
    """
    size = np.linalg.norm(dome.shear, axis=1)
    middle = dome.places[size > 0.9 * size.max()].mean(axis=0)
    drag = (fit[6:] - 1) * LENGTHS[2:] + [dome.shear[:, 0].max(), 0.0]
    grid, _, dragged = solution(*fit[:4] * START, drag=drag, steps=4)
    error = field_of(grid, dragged)(dome.places - middle) - dome.shear
    assert dome.rms(error) < 0.015 * size.max()
    assert dome.rms(error, middle) < 0.045 * size.max()
    assert dome.rms(dome.shear) > 0.04 * size.max() and dome.rms(dome.shear, middle) > 0.14 * size.max()
    # every component, also that across the drag
    for k in range(3):
        own = np.eye(3)[k]
        assert dome.rms(error * own, middle) < 0.5 * dome.rms(dome.shear * own, middle), "xyz"[k]
