"""Tasks of fitted wires: the rod is the one that was fitted, for its mass, and gradients hold."""

from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest

import pliant.envs  # noqa: F401
from pliant.envs.rods.wires.parameter_files import load_parameters, save_parameters
from pliant.envs.rods.wires.wire import save_recording
from pliant.policies.identification.wires import initial_parameters, predict
from pliant.sims.rod.topology import vertex_shares


def make(name, **options):
    return gym.make(f"pliant/{name}-v0", **options).unwrapped


@pytest.mark.parametrize(("task", "wire"), [("CableShape", "dlo2"), ("BranchedCableShape", "bdlo5")])
def test_a_task_has_the_fitted_wire(task, wire):
    env = make(task, wire=wire, linear_density=0.03, differentiable=True)
    observation, _ = env.reset(seed=0)
    fitted = load_parameters(wire)
    n = len(fitted.setup.parents)
    assert observation.shape == (3 * n + 3 * (n - 4) + 3 * n + 20,) and np.abs(observation).max() < 5
    value = fitted.values
    share = vertex_shares(value["rest_length"], fitted.setup.parents)
    parameter = env.parameter
    np.testing.assert_allclose(parameter("bend_stiffness")[1:, 0], 0.03 * value["bend_stiffness"][1:], rtol=1e-5)
    np.testing.assert_allclose(parameter("mass"), 0.03 * share * value["mass_factor"], rtol=1e-5)
    np.testing.assert_allclose(parameter("bend_damping"), value["bend_damping"], rtol=1e-5)
    memory = value["shape_memory"][:, None]
    natural = (1 - memory) * value["natural_curvature"] + memory * fitted.setup.curvature
    np.testing.assert_allclose(parameter("natural_curvature"), natural, rtol=1e-4, atol=1e-4)
    for _ in range(5):
        assert np.isfinite(env.step(env.action_space.sample())[0]).all()
    env.close()


def test_the_mass_does_not_change_the_motion_of_a_free_wire():
    """All stiffnesses and drags are in proportion to it."""
    ends = []
    for density in (0.02, 0.2):
        env = make("CableShape", wire="dlo4", linear_density=density)
        env.reset(seed=3)
        for action in np.random.default_rng(0).uniform(-1, 1, (20, 12)):
            env.step(action)
        ends.append(env.state("position"))
        env.close()
    np.testing.assert_allclose(ends[0], ends[1], atol=2e-5)


@pytest.mark.parametrize(
    ("task", "options", "message"),
    [
        ("CableShape", {"wire": "bdlo1"}, "wire='bdlo1' has branches: make pliant/BranchedCableShape-v0"),
        ("BranchedCableShape", {"wire": "dlo1"}, "wire='dlo1' has one rod: make pliant/CableShape-v0"),
        ("BranchedCableShape", {"wire": "bdlo1", "targets": "recorded"}, "targets='recorded' are shapes of bdlo1"),
        ("CableShape", {"wire": "dlo1", "bend_stiffness": 1e-3}, "bend_stiffness=0.001: wire='dlo1' brings its own"),
        ("CableShape", {"wire": "dlo9"}, "wire='dlo9': object='dlo9' is unknown; did you mean"),
        ("CableShape", {"wire": "none.json"}, "wire='none.json': none.json does not exist"),
        ("CableShape", {"wire": "a/b"}, r"wire='a/b': a/b is no file of parameters: its name must end in .json"),
        ("CableShape", {"wire": 3.0}, "wire=3.0 must be a text"),
        ("CableReplay", {"wire": None}, "wire=None must be a text"),
        ("CableReplay", {"recordings": "dlo1"}, "pass the parameters that were fitted as wire="),
        ("CableReplay", {"wire": "dlo1", "recordings": "./none"}, "./none does not exist"),
    ],
)
def test_what_does_not_fit_is_refused(task, options, message, monkeypatch):
    monkeypatch.delenv("PLIANT_DATA", raising=False)
    with pytest.raises(ValueError, match=message):
        make(task, **options)


def test_incomplete_parameters_are_refused(tmp_path):
    parameters = load_parameters("dlo2")
    values = dict(parameters.values)
    del values["drag"]
    save_parameters(tmp_path / "a.json", replace(parameters, values=values))
    with pytest.raises(ValueError, match="the parameters of 'dlo2' lack drag"):
        make("CableShape", wire=str(tmp_path / "a.json"))
    save_parameters(tmp_path / "a.json", replace(parameters, object="mine", setup=None))
    with pytest.raises(ValueError, match="does not say what 'mine' is made of"):
        make("CableShape", wire=str(tmp_path / "a.json"))


def harness(tmp_path):
    """A recording of a harness with one marker a gripper, whose clamps move evenly, and parameters for it."""
    parents = np.array([-1, 0, 1, 2, 3, 4, 5, 3, 7])
    shape = np.zeros((9, 3))
    shape[:7, 0] = 0.08 * np.arange(7)
    shape[7:] = shape[3] + [[0.02, 0.05, -0.04], [0.03, 0.1, -0.1]]
    positions = shape + [[0.1, 0.05, 0.5]] + 0.01 * np.arange(420)[:, None, None] * np.array([0.02, 0.05, 0.03])
    recording = save_recording(
        tmp_path / "mine" / "train" / "a.npz", positions, dt=0.01, clamped=[0, 6], parents=parents
    )
    parameters = initial_parameters([recording])
    save_parameters(tmp_path / "mine.json", parameters)
    return recording, parameters


def test_a_replay_is_the_prediction_that_the_fit_makes(tmp_path):
    recording, parameters = harness(tmp_path)
    (predicted,) = predict([recording], parameters)
    env = make("CableReplay", wire=str(tmp_path / "mine.json"), recordings=str(tmp_path / "mine"))
    env.reset(seed=0)
    for step in range(50):
        env.step(np.zeros(4))
        position = np.reshape(env.state("position"), (-1, 3))
        np.testing.assert_allclose(position, predicted[1 + 2 * (step + 1)], atol=2e-5)
    assert np.abs(position - recording.positions[101]).max() > 0.02
    env.close()


def test_recordings_with_long_gaps_are_left_out(tmp_path):
    recording, _ = harness(tmp_path)
    positions = np.array(recording.positions)
    positions[100:150, 4] = np.nan
    options = {"clamped": [0, 6], "parents": recording.parents, "dt": 0.01}
    save_recording(tmp_path / "mine" / "train" / "b.npz", positions, **options)
    env = make("CableReplay", wire=str(tmp_path / "mine.json"), recordings=str(tmp_path / "mine"))
    assert [r.name for r in env.task.recordings] == ["a"]
    env.close()
    (tmp_path / "mine" / "train" / "a.npz").unlink()
    with pytest.raises(ValueError, match=r"in each of them a marker is lost for more than 0.1 s"):
        make("CableReplay", wire=str(tmp_path / "mine.json"), recordings=str(tmp_path / "mine"))
