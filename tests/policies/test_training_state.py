"""Training states survive their arrays, and nothing else does."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from pliant.policies.files.checkpoints import load_arrays, save_arrays  # noqa: E402  needs torch
from pliant.policies.files.training_state import (  # noqa: E402
    global_random_state,
    pack,
    set_global_random_state,
    unpack,
)


def test_a_tree_survives_the_file(tmp_path):
    weight = torch.nn.Parameter(torch.randn(3, 2))
    adam = torch.optim.Adam([weight], betas=(0.7, 0.9))
    weight.sum().backward()
    adam.step()
    tree = {
        "adam": adam.state_dict(),
        "generator": np.random.default_rng(3).bit_generator.state,  # whole numbers of 128 bits
        "rest": [1, 2.5, None, True, "word", (np.float32(1.5), np.arange(3)), {}],
        "nan": float("nan"),
    }
    save_arrays(tmp_path / "state.npz", pack(tree))
    back = unpack(load_arrays(tmp_path / "state.npz"))
    assert back["generator"] == tree["generator"] and np.isnan(back["nan"])
    assert back["rest"][:5] == [1, 2.5, None, True, "word"] and back["rest"][6] == {}
    assert back["rest"][5][0] == 1.5 and back["rest"][5][1].tolist() == [0, 1, 2]
    other = torch.optim.Adam([weight])
    other.load_state_dict(back["adam"])
    assert torch.equal(other.state[weight]["exp_avg"], adam.state[weight]["exp_avg"])
    assert other.param_groups[0]["betas"] == (0.7, 0.9)


def test_a_packed_state_does_not_change_with_its_origin():
    tensor = torch.zeros(2)
    arrays = pack({"a": tensor})
    tensor += 1
    assert unpack(arrays)["a"].tolist() == [0, 0]


def test_global_random_generators_go_on_alike():
    state = unpack(pack(global_random_state()))
    first = np.random.rand(), torch.rand(()).item()
    set_global_random_state(state)
    assert (np.random.rand(), torch.rand(()).item()) == first


def test_other_things_are_refused():
    with pytest.raises(TypeError, match="function"):
        pack({"b": lambda: None})
    with pytest.raises(ValueError, match="training state"):
        unpack({"a": np.zeros(2)})
    arrays = pack({"a": np.zeros(2)})
    with pytest.raises(ValueError, match="training state"):
        unpack({"tree": arrays["tree"]})
