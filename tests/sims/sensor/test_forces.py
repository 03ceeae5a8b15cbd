"""Force and torque, centre of pressure, slip ratio: closed forms, derivatives, what is refused."""

import cv2
import numpy as np
import pytest

from pliant.envs.features.check import check_adjoint
from pliant.sims.sensor.forces import (
    centre_of_pressure,
    centre_of_pressure_adjoint,
    slip_ratio,
    slip_ratio_adjoint,
    total_wrench,
    total_wrench_adjoint,
)

RANDOM = np.random.default_rng(3)
FORCES = RANDOM.normal(size=(3, 11, 3)) - (0, 0, 2.0)
POSITIONS = RANDOM.uniform(-0.01, 0.01, (3, 11, 3))


def test_the_wrench_of_one_force_is_its_lever():
    forces, positions = np.zeros((1, 4, 3)), np.zeros((1, 4, 3))
    forces[0, 2], positions[0, 2] = (0.0, 0.0, -2.0), (0.003, 0.0, 0.004)
    assert total_wrench(forces, positions)[0].tolist() == [0.0, 0.0, -2.0, 0.0, 0.006, 0.0]
    assert np.allclose(total_wrench(forces, positions, point=(0.003, 0.0, 0.0)), [[0, 0, -2, 0, 0, 0]])
    turn = cv2.Rodrigues(np.array([0.0, 0.0, np.pi / 2]))[0]
    assert np.allclose(total_wrench(forces, positions, rotation=turn), [[0, 0, -2, -0.006, 0, 0]])


def test_a_moved_point_changes_the_torque_by_its_lever():
    shift = RANDOM.normal(size=(3, 3))
    here, there = total_wrench(FORCES, POSITIONS), total_wrench(FORCES, POSITIONS, point=shift)
    assert np.allclose(here[:, :3], there[:, :3], rtol=1e-15)
    assert np.allclose(here[:, 3:], there[:, 3:] + np.cross(shift, here[:, :3]), rtol=1e-13)


def test_the_wrench_has_the_derivative_that_its_adjoint_says():
    def forward(given):
        named = {name: given[name] for name in ("point", "rotation")}
        return {"wrench": total_wrench(given["forces"], given["positions"], **named)}

    def adjoint(given, bars):
        named = {name: given[name] for name in ("point", "rotation")}
        return total_wrench_adjoint(given["forces"], given["positions"], bars["wrench"], **named)

    inputs = {"forces": FORCES, "positions": POSITIONS, "point": RANDOM.normal(size=(3, 3))}
    check_adjoint(forward, adjoint, inputs | {"rotation": RANDOM.normal(size=(3, 3, 3))})


def test_the_centre_of_pressure_is_the_weighted_mean_and_moves_with_the_gel():
    forces, positions = np.zeros((2, 3, 3)), np.zeros((2, 3, 3))
    forces[0, :2, 2], positions[0, :2, 0] = (-1.0, -3.0), (0.0, 0.004)
    assert np.allclose(centre_of_pressure(forces, positions), [[0.003, 0, 0], [0, 0, 0]])
    shifted = centre_of_pressure(FORCES, POSITIONS + (1.0, 2.0, 3.0))
    assert np.allclose(shifted, centre_of_pressure(FORCES, POSITIONS) + (1.0, 2.0, 3.0))


def test_the_centre_of_pressure_has_the_derivative_that_its_adjoint_says():
    idle = np.array(FORCES)
    idle[1] = 0.0
    idle[1, 0, 2] = 1.0  # pulled, not pressed

    def forward(given):
        return {"centre": centre_of_pressure(given["forces"], given["positions"])}

    def adjoint(given, bars):
        return centre_of_pressure_adjoint(given["forces"], given["positions"], bars["centre"])

    check_adjoint(forward, adjoint, {"forces": idle, "positions": POSITIONS})
    assert not any(bar[1].any() for bar in centre_of_pressure_adjoint(idle, POSITIONS, np.ones((3, 3))).values())


def test_the_slip_ratio_is_one_at_the_cone():
    assert np.allclose(
        slip_ratio([[0.3, 0.4, -1.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0], [1.0, 0.0, 2.0]], 0.5), [1, 0, 0, 0]
    )


def test_the_slip_ratio_has_the_derivative_that_its_adjoint_says():
    force = np.array([[0.3, 0.4, -1.0], [0.1, -0.2, -3.0], [1.0, 0.2, 2.0]])

    def forward(given):
        return {"ratio": slip_ratio(given["force"], float(given["friction"]))}

    def adjoint(given, bars):
        pulled = slip_ratio_adjoint(given["force"], float(given["friction"]), bars["ratio"])
        return {name: np.asarray(value) for name, value in pulled.items()}

    check_adjoint(forward, adjoint, {"force": force, "friction": np.array(0.7)})
    still = slip_ratio_adjoint([[0.0, 0.0, -1.0]], 0.5, [1.0])
    assert still["force"].tolist() == [[0.0, 0.0, 0.0]] and still["friction"] == 0.0


def test_float32_stays_so():
    f, x = FORCES.astype(np.float32), POSITIONS.astype(np.float32)
    wrench = total_wrench(f, x)
    assert wrench.dtype == np.float32 == centre_of_pressure(f, x).dtype == slip_ratio(wrench[:, :3], 0.5).dtype
    assert all(value.dtype == np.float32 for value in total_wrench_adjoint(f, x, wrench).values())


def test_what_cannot_be_is_refused_by_name():
    bad = np.array(FORCES)
    bad[1, 2, 0] = np.inf
    for arguments, message in [
        ((FORCES[0], POSITIONS[0]), "forces has shape"),
        ((FORCES, POSITIONS[:, :-1]), "positions has shape"),
        ((bad, POSITIONS), r"forces at \(1, 2, 0\)"),
    ]:
        for function in (total_wrench, centre_of_pressure):
            with pytest.raises(ValueError, match=message):
                function(*arguments)
    with pytest.raises(ValueError, match="point has shape"):
        total_wrench(FORCES, POSITIONS, point=np.zeros((2, 3)))
    with pytest.raises(ValueError, match="rotation has shape"):
        total_wrench(FORCES, POSITIONS, rotation=np.zeros(3))
    with pytest.raises(ValueError, match="wrench_bar has shape"):
        total_wrench_adjoint(FORCES, POSITIONS, np.zeros((3, 3)))
    with pytest.raises(ValueError, match="friction=0"):
        slip_ratio([[0.0, 0.0, -1.0]], 0.0)
    with pytest.raises(ValueError, match="force has shape"):
        slip_ratio([0.0, 0.0, -1.0], 0.5)
