"""The torch bridge: gradients of closed loops, windows, and what it refuses."""

import gymnasium as gym
import numpy as np
import pytest

import pliant.envs  # noqa: F401  registers the ids

torch = pytest.importorskip("torch")

from pliant.policies.torch_bridge import TorchEnv, to_array, to_tensor  # noqa: E402  needs torch

FINGER, CABLE = "pliant/FingerReach-v0", "pliant/CableShape-v0"
STEPS = 22


def make(env_id, **options):
    options = {"differentiable": True, "precision": "f64", "num_envs": 2} | options
    return gym.make_vec(env_id, vectorization_mode="vector_entry_point", **options)


@pytest.fixture(scope="module")
def finger():
    env = make(FINGER)
    yield TorchEnv(env, dtype=torch.float64)
    env.close()


def make_policy(bridge, hidden=16):
    torch.manual_seed(0)
    layers = [torch.nn.Linear(bridge.observation_size, hidden), torch.nn.Tanh()]
    return torch.nn.Sequential(*layers, torch.nn.Linear(hidden, bridge.action_size), torch.nn.Tanh()).double()


def play(bridge, policy, steps=STEPS, seed=3):
    """An objective of rewards, of observations on the way, and of the last one."""
    observation = bridge.reset(seed)
    value = 0.0
    for t in range(steps):
        observation, reward, _ = bridge.step(policy(observation))
        value = value + (reward * torch.tensor([1.0, 0.5])).sum()
        if t == 4:
            value = value + observation.pow(2).sum()
    return value + 0.1 * observation.pow(2).sum()


@pytest.mark.parametrize("env_id", [FINGER, CABLE])
def test_policy_gradient_agrees_with_central_differences(env_id):
    env = make(env_id)
    bridge = TorchEnv(env, dtype=torch.float64)
    policy = make_policy(bridge)
    play(bridge, policy).backward()
    parameters = list(policy.parameters())
    gradient = torch.nn.utils.parameters_to_vector([p.grad for p in parameters])
    point = torch.nn.utils.parameters_to_vector(parameters).detach()
    for seed in range(2):
        direction = torch.randn(len(point), dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
        values = []
        for step in (1e-5, -1e-5):
            torch.nn.utils.vector_to_parameters(point + step * direction, parameters)
            with torch.no_grad():
                values.append(play(bridge, policy).item())
        numeric = (values[0] - values[1]) / 2e-5
        assert float(gradient @ direction) == pytest.approx(numeric, rel=1e-4)
    env.close()


def test_actions_given_from_outside_get_the_gradient_of_backward(finger):
    actions = torch.full((6, 2, 2), 0.3, dtype=torch.float64, requires_grad=True)
    finger.reset(0)
    rewards = [finger.step(action)[1] for action in actions]
    sum(rewards[2:5]).sum().backward()  # the last step and the first rewards do not count
    finger.env.reset(seed=0)
    for action in actions.detach().numpy():
        finger.env.step(action)
    weights = np.broadcast_to([0, 0, 1, 1, 1, 0], (2, 6))
    np.testing.assert_array_equal(actions.grad.numpy().swapaxes(0, 1), finger.env.backward(weights).actions)


def test_parameters_and_initial_state_get_gradients(finger):
    modulus = torch.tensor(1.1e5, dtype=torch.float64, requires_grad=True)  # one number for all particles
    velocity = torch.zeros(2, 1, 2, dtype=torch.float64, requires_grad=True)

    def value():
        finger.reset(0, parameters={"youngs_modulus": modulus}, state={"velocity": velocity})
        return sum(finger.step(torch.full((2, 2), 0.3))[1].sum() for _ in range(5))

    usual = finger.env.parameter("youngs_modulus")
    try:
        value().backward()
        for leaf, step in ((modulus, 10.0), (velocity, 1e-5)):
            bump = torch.zeros_like(leaf)
            bump.view(-1)[0] = step
            with torch.no_grad():
                leaf += bump
                high = value()
                leaf -= 2 * bump
                numeric = (high - value()) / (2 * step)
                leaf += bump
            assert float(leaf.grad.view(-1)[0]) == pytest.approx(float(numeric), rel=1e-5)
        assert finger.gradient is None  # of the last episode, which was not gone back through
    finally:
        finger.env.set_parameter("youngs_modulus", usual)


def test_a_window_starts_from_the_present_state_and_cuts_the_past(finger):
    policy = make_policy(finger)
    with torch.no_grad():
        straight = play(finger, policy, steps=8)
    observation, value = finger.reset(3), 0.0
    for t in range(8):
        if t == 5:
            kept = observation
            observation = finger.detach()
            assert torch.equal(kept, observation)
        observation, reward, _ = finger.step(policy(observation))
        value = value + (reward * torch.tensor([1.0, 0.5])).sum()
        if t == 4:
            value = value.detach() + observation.detach().pow(2).sum()
    value = value + 0.1 * observation.pow(2).sum()
    assert torch.equal(value, straight)
    value.backward()
    assert finger.gradient.actions.shape == (2, 3, 2)
    with pytest.raises(RuntimeError, match="window is over"):
        kept.sum().backward()


@pytest.mark.parametrize(("env_id", "arm"), [(FINGER, "none"), (CABLE, "none"), (CABLE, "panda")])
def test_windows_have_the_gradient_of_the_last_steps(env_id, arm):
    env = make(env_id, arm=arm)
    face = env.unwrapped
    random = np.random.default_rng(0)
    actions = random.uniform(-0.5, 0.5, (2, 7, face.single_action_space.shape[0]))
    cotangents = random.normal(size=(2, 8, face.single_observation_space.shape[0]))
    found = []
    for start in (0, 4):
        face.reset(seed=0)
        for t in range(7):
            if t == start:
                face.begin_window()
            face.step(actions[:, t])
        found.append(face.backward(None, cotangents[:, start:]).actions[:, 4 - start :])
    np.testing.assert_array_equal(*found)
    env.close()


def test_several_passes_over_one_recording(finger):
    actions = [torch.full((2, 2), 0.2, dtype=torch.float64, requires_grad=True) for _ in range(4)]
    finger.reset(0)
    rewards = [finger.step(action)[1].sum() for action in actions]
    (late,) = torch.autograd.grad(rewards[3], actions[2], retain_graph=True)  # stops before the start
    (early,) = torch.autograd.grad(rewards[1], actions[0], retain_graph=True)  # a pass of its own
    finger.step(actions[0])  # and the tape is free again
    both = torch.autograd.grad(rewards[1] + rewards[3], actions)
    finger.reset(0)
    alone = torch.autograd.grad([finger.step(action)[1].sum() for action in actions][1], actions[0])
    np.testing.assert_allclose(early, alone[0], rtol=1e-12)
    np.testing.assert_allclose(late, both[2], rtol=1e-12)


def test_tensors_share_the_memory_of_arrays_on_the_cpu():
    array = np.arange(6.0).reshape(2, 3)
    tensor = to_tensor(array, torch.empty(0, dtype=torch.float64))
    array[0, 0] = 7.0
    assert tensor[0, 0] == 7.0 and to_array(tensor)[0, 0] == 7.0
    assert to_array(tensor).__array_interface__["data"][0] == tensor.data_ptr()


def test_the_bridge_refuses_what_it_cannot_do(finger):
    with pytest.raises(ValueError, match="make_vec"):
        TorchEnv(gym.make(FINGER, differentiable=True))
    for options, message in (({"differentiable": False}, "differentiable"), ({"autoreset_mode": "SameStep"}, "tape")):
        env = make(FINGER, **options)
        with pytest.raises(ValueError, match=message):
            TorchEnv(env)
        env.close()
    env = make(FINGER, max_episode_steps=2)
    bridge = TorchEnv(env)
    with pytest.raises(RuntimeError, match="reset"):
        bridge.step(torch.zeros(2, 2))
    bridge.reset(0)
    info = [bridge.step(torch.zeros(2, 2))[2] for _ in range(2)]
    assert [i["truncated"] for i in info] == [False, True] and info[1]["score"].shape == (2,)
    with pytest.raises(RuntimeError, match="over"):
        bridge.step(torch.zeros(2, 2))
    env.close()
