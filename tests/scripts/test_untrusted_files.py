"""Folders of runs from anybody: nothing that they say is imported or unpickled, and each refusal names the file."""

import io
import json
import os
import pickle
import shutil
import sys
import zipfile
import zlib

import numpy as np
import pytest

from pliant.policies.files import checkpoints
from pliant.policies.files.checkpoints import load_arrays, load_json, save_arrays
from pliant.policies.networks.controllers import Mlp, SinSin
from pliant.policies.networks.policy_files import load_policy, save_policy
from pliant.scripts.main import main
from pliant.scripts.options import reserved

EVIL = "evil_module_of_a_run"


@pytest.fixture
def evil(tmp_path, monkeypatch):
    """A module on the path that must not be imported."""
    (tmp_path / "path").mkdir()
    (tmp_path / "path" / f"{EVIL}.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(str(tmp_path / "path"))
    yield EVIL
    assert EVIL not in sys.modules


@pytest.fixture(scope="module")
def whole_run(fake_env, tmp_path_factory):
    """The folder of a short run."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert main(["optimize", fake_env.ID, "--iterations", "1", "--no-video", "--out", str(folder)]) == 0
    return folder


@pytest.fixture
def run(whole_run, tmp_path, capsys):
    """A copy of that folder; called, it replays it and gives status, stdout and stderr."""
    folder = tmp_path / "run"
    shutil.copytree(whole_run, folder)

    class Run:
        path = folder

        def __call__(self, *words):
            capsys.readouterr()
            status = main(["replay", str(folder), *words])
            captured = capsys.readouterr()
            return status, captured.out, captured.err

        def change(self, **entries):
            config = json.loads((folder / "config.json").read_text())
            (folder / "config.json").write_text(json.dumps(config | entries))

        def refused(self, *words):
            before = sorted(os.listdir(folder))
            status, out, error = self()
            assert status == 1 and out == ""
            assert len(error.splitlines()) == 1 and "Traceback" not in error
            for word in words:
                assert word in error, error
            assert sorted(os.listdir(folder)) == before
            return error

    return Run()


def test_an_untouched_run_is_replayed(run):
    status, out, _ = run()
    assert status == 0 and "score" in out and (run.path / "replay.mp4").exists()


@pytest.mark.parametrize("environment", ["pliant/FingerReach-v0", "FingerReach", "fingerreach-v0"])
@pytest.mark.parametrize(
    "options",
    [
        {"task": f"{EVIL}:Task"},
        {"id": "pliant/Move-v0"},
        {"differentiable": True},
        {"render_mode": "human"},
        {"config": {}},
        {"num_envs": 3},
        {"wrappers": [f"{EVIL}:Task"]},
        {"vector_kwargs": {"task": f"{EVIL}:Task"}},
        {"disable_env_checker": False},
        {"autoreset_mode": "SameStep"},
        {"no_such_name": 1.0},
        {"TASK": f"{EVIL}:Task"},
        {"": 1.0},
        {"arm": "/etc/passwd"},
        {"arm": []},
        {"arm": {"task": f"{EVIL}:Task"}},
        {"device": 3},
        {"precision": None},
        {"resolution": "huge"},
        {"soft_contact": 1},
        {"memory": 10**400},
        {"memory": ["2GiB"]},
        {"parameters": {"youngs_modulus": f"{EVIL}:Task"}},
        {"parameters": {"youngs_modulus": {"task": 1}}},
        {"parameters": [1.0]},
        {"density": [1000.0]},
        {"density": {"task": f"{EVIL}:Task"}},
        {"density": None},
    ],
    ids=lambda options: ",".join(options) or "empty",
)
def test_options_that_no_flag_gives_are_refused(run, evil, environment, options):
    run.change(environment=environment, environment_options=options)
    (name,) = options
    run.refused("config.json", name)


@pytest.mark.parametrize("number", ["1e999", "Infinity", "-Infinity", "NaN"])
def test_numbers_that_are_not_finite_are_refused(run, number):
    run.change(environment="FingerReach", environment_options={"density": "NUMBER"})
    text = (run.path / "config.json").read_text()
    (run.path / "config.json").write_text(text.replace('"NUMBER"', number))
    run.refused("config.json")


@pytest.mark.parametrize(
    "environment",
    [
        f"{EVIL}:Env-v0",
        f"{EVIL}:pliant/FingerReach-v0",
        f"pliant.envs:{EVIL}:Env-v0",
        "CartPole-v1",
        "gymnasium.envs.classic_control:CartPole-v1",
        "phys2d/CartPole-v1",
        "pliant/FingerReach-v7",
        "../../FingerReach",
        "\x1b[2J",
        "",
        "A" * 100_000,
        None,
        3,
        ["pliant/FingerReach-v0"],
        {"id": "pliant/FingerReach-v0"},
    ],
    ids=lambda environment: repr(environment)[:30],
)
def test_ids_that_are_not_registered_are_refused(run, evil, environment):
    run.change(environment=environment)
    error = run.refused("config.json")
    assert "\x1b" not in error and len(error) < 1000


@pytest.mark.parametrize("missing", ["environment", "environment_options", "settings"])
@pytest.mark.parametrize("value", [None, [], "x", 3])
def test_parts_of_another_kind_are_refused(run, missing, value):
    if missing == "environment" and value == "x":
        pytest.skip("an id that is not registered, above")
    run.change(**{missing: value})
    run.refused("config.json", missing)


@pytest.mark.parametrize("seed", [-1, 0.5, "0", None, [0], True, 10**400, {}])
def test_a_seed_must_be_a_whole_number(run, seed):
    if seed == 10**400:
        config = json.loads((run.path / "config.json").read_text())
        config["settings"]["seed"] = 10**400
        (run.path / "config.json").write_text(json.dumps(config))
    else:
        run.change(settings={"seed": seed})
    run.refused("config.json", "seed")


def test_an_id_that_was_registered_in_this_process_is_replayed(run, monkeypatch):
    import gymnasium

    from pliant.envs.registry import Entry, register

    name = "mine/Finger-v0"
    register(Entry(name, "pliant.envs.locomotion.finger_reach:FingerReach", 80, 2, 26, "a copy"))
    try:
        run.change(environment=name, environment_options={"density": 900.0, "soft_contact": True})
        status, out, error = run()
        assert status == 0 and name in out, error
    finally:
        del gymnasium.registry[name]


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b"[" * 200_000, b'{"a": NaN}', b'{"a": ' + b"9" * 10_000 + b"}"],
    ids=["empty", "open", "list", "null", "text", "bytes", "nested", "nan", "digits"],
)
@pytest.mark.parametrize("name", ["config.json", "metrics.json"])
def test_json_that_is_none_is_refused(run, name, content):
    (run.path / name).write_bytes(content)
    run.refused(name)


@pytest.mark.parametrize(
    "summary", [None, [], "x", {"score": "1"}, {"score": [1]}, {"score": True}, {"score": {"a": 1}}, {"seed": "x"}]
)
def test_summaries_of_another_kind_are_refused(run, summary):
    (run.path / "metrics.json").write_text(json.dumps({"summary": summary}))
    run.refused("metrics.json", "summary")


def test_a_score_may_be_null(run):
    (run.path / "metrics.json").write_text(json.dumps({"summary": {"score": None}}))
    assert run()[0] == 0


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
@pytest.mark.parametrize("name", ["config.json", "metrics.json", "actions.npz"])
@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "loop", "dangling"])
def test_what_is_no_regular_file_is_refused(run, name, kind):
    path = run.path / name
    path.unlink()
    {
        "pipe": lambda: os.mkfifo(path),
        "device": lambda: path.symlink_to("/dev/zero"),
        "folder": path.mkdir,
        "loop": lambda: path.symlink_to(path),
        "dangling": lambda: path.symlink_to(run.path / "nowhere"),
    }[kind]()
    run.refused(name)


def test_files_that_are_too_large_are_refused(run, monkeypatch):
    monkeypatch.setattr(checkpoints, "LARGEST_JSON", 100)
    run.refused("config.json", "too large")


def test_a_link_at_the_name_of_a_temporary_or_of_the_video_is_not_followed(run, tmp_path):
    (tmp_path / "victim").write_text("kept")
    (run.path / "replay.mp4").symlink_to(tmp_path / "victim")
    (run.path / f".replay.{os.getpid()}.partial.mp4").symlink_to(tmp_path / "victim")
    assert run()[0] == 0
    assert (tmp_path / "victim").read_text() == "kept"
    assert not (run.path / "replay.mp4").is_symlink()


class Bomb:
    def __reduce__(self):
        return os.system, ("touch exploded",)


def npy(shape, data=b"", descr="<f8"):
    """Bytes of an .npy file whose header says what it likes."""
    header = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape!r}, }}".encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + data


def zipped(**members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return buffer.getvalue()


def stored(value):
    buffer = io.BytesIO()
    np.save(buffer, value, allow_pickle=True)
    return buffer.getvalue()


def damaged():
    """An archive whose compressed data are damaged, though its directory is whole."""
    whole = bytearray(zipped(actions=stored(np.random.default_rng(0).normal(size=(20, 2)))))
    at = whole.index(b"actions.npy") + 60
    whole[at : at + 40] = bytes(40)
    return bytes(whole)


def encrypted():
    whole = bytearray(zipped(actions=stored(np.zeros((20, 2)))))
    whole[6] |= 1  # of the local header
    whole[whole.index(b"PK\x01\x02") + 8] |= 1  # of the directory
    return bytes(whole)


HOSTILE = {
    "empty": lambda: b"",
    "garbage": lambda: b"garbage",
    "npy": lambda: stored(np.zeros((20, 2))),
    "pickle": lambda: pickle.dumps(Bomb()),
    "pickled member": lambda: zipped(actions=stored(np.array([Bomb()], object))),
    "pickle as a member": lambda: zipped(actions=pickle.dumps(Bomb())),
    "large shape": lambda: zipped(actions=npy((10**12, 2))),
    "overflowing shape": lambda: zipped(actions=npy((2**62, 8), b"\0" * 80)),
    "negative shape": lambda: zipped(actions=npy((-1, -2), b"\0" * 16)),
    "shape that is none": lambda: zipped(actions=npy("x")),
    "shape of floats": lambda: zipped(actions=npy((1.5, 2), b"\0" * 24)),
    "objects": lambda: zipped(actions=npy((1,), b"\0" * 8, "|O")),
    "records": lambda: zipped(actions=npy((1,), b"\0" * 8, [("a", "<f8")])),
    "dtype that is none": lambda: zipped(actions=npy((1,), b"\0" * 8, "import os")),
    "nested header": lambda: zipped(actions=b"\x93NUMPY\x01\x00\x80\x25" + b"(" * 0x2580),
    "long header": lambda: zipped(actions=b"\x93NUMPY\x02\x00\xff\xff\xff\x7f" + b"(" * 100),
    "version": lambda: zipped(actions=b"\x93NUMPY\x09\x00" + b"\0" * 100),
    "short data": lambda: zipped(actions=npy((20, 2), b"\0" * 8)),
    "long data": lambda: zipped(actions=npy((1, 2), b"\0" * 160)),
    "damaged": damaged,
    "encrypted": encrypted,
    "truncated": lambda: zipped(actions=stored(np.zeros((200, 2))))[:-30],
    "nothing in it": lambda: zipped(),
    "other arrays": lambda: zipped(a=stored(np.zeros(3))),
}


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("name", ["actions.npz"])
def test_arrays_that_are_none_are_refused(run, name, kind, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (run.path / name).write_bytes(HOSTILE[kind]())
    run.refused(name)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_run_is_not_resumed_from_arrays_that_are_none(run, fake_env, kind, capsys):
    (run.path / "checkpoint.npz").write_bytes(HOSTILE[kind]())
    words = ["optimize", fake_env.ID, "--iterations", "3", "--no-video", "--resume", "--out", str(run.path)]
    capsys.readouterr()
    assert main(words) == 1
    error = capsys.readouterr().err.strip()
    assert "checkpoint.npz" in error and len(error.splitlines()) == 1, error


@pytest.mark.parametrize(
    "actions",
    [
        np.full((20, 2), np.nan),
        np.full((20, 2), np.inf),
        np.zeros((20, 2), complex),
        np.zeros((20, 2), int),
        np.full((20, 2), "1.0"),
        np.zeros((0, 2)),
        np.zeros((21, 2)),
        np.zeros((20, 2, 1)),
        np.zeros(()),
    ],
    ids=lambda a: f"{a.dtype} {a.shape}",
)
def test_actions_must_be_finite_numbers_for_each_step(run, actions):
    np.savez(run.path / "actions.npz", actions=actions, initial_actions=actions)
    run.refused("actions.npz")


def test_a_small_file_does_not_unpack_to_a_large_one(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("a.npy", npy((2**26,), bytes(2**29)))
    assert (tmp_path / "a.npz").stat().st_size < 2**22
    with pytest.raises(ValueError, match=r"a\.npz .* it unpacks to 536,8"):
        load_arrays(tmp_path / "a.npz")


def test_arrays_of_all_kinds_survive_the_file(tmp_path):
    arrays = {
        "f": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "big": np.arange(3, dtype=">f4"),
        "i": np.arange(3),
        "b": np.array([True]),
        "text": np.array("ends"),
        "empty": np.zeros((0, 3)),
        "number": np.float32(3),
        "half": np.ones(2, np.float16),
    }
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "a.npz", **arrays)
        found = load_arrays(tmp_path / "a.npz")
        assert found.keys() == arrays.keys()
        for name, value in arrays.items():
            assert found[name].dtype == np.asarray(value).dtype
            np.testing.assert_array_equal(found[name], value)
        found["f"][0, 0] = 7.0  # writable, as those of numpy.load


@pytest.mark.parametrize("kind", [k for k in HOSTILE if k not in ("nothing in it", "other arrays")])
def test_nothing_but_plain_arrays_is_read(tmp_path, kind, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.npz").write_bytes(HOSTILE[kind]())
    with pytest.raises(ValueError, match=r"a\.npz is not a readable"):
        load_arrays(tmp_path / "a.npz")
    assert not (tmp_path / "exploded").exists()


POLICIES = {
    "mlp": lambda: Mlp(4, 2, hidden=[8], seed=1),
    "sin_sin": lambda: SinSin(4, 2, hidden=[8], seed=1, clock=[2, 3]),
    "gaussian": lambda: gaussian(),
    "ppo": lambda: learned(),
}


def gaussian():
    from pliant.policies.networks.gaussian import GaussianPolicy

    return GaussianPolicy(4, 2, hidden=[8])


def learned():
    from gymnasium.spaces import Box

    from pliant.policies.networks.learned import LearnedPolicy, network_options, policy_class

    spaces = Box(-10, 10, (4,)), Box(-1, 1, (2,))
    return LearnedPolicy(
        "ppo", policy_class("ppo")(*spaces, lambda _: 0.0, **network_options([8], "tanh")), [8], "tanh"
    )


@pytest.mark.parametrize("kind", POLICIES)
@pytest.mark.parametrize(
    "entries",
    [
        {"hidden": [10**9]},
        {"hidden": [10**5, 10**5]},
        {"hidden": [10**400]},
        {"hidden": 8},
        {"hidden": None},
        {"hidden": "8"},
        {"hidden": ["8"]},
        {"hidden": [8.0]},
        {"hidden": [True]},
        {"hidden": [-8]},
        {"hidden": [[8]]},
        {"hidden": [8] * 10_000},
        {"observation_size": 10**9},
        {"observation_size": "4"},
        {"observation_size": None},
        {"observation_size": 0},
        {"action_size": 10**9},
        {"action_size": 2.0},
        {"action_size": []},
        {"activation": ["tanh"]},
        {"activation": "os.system"},
        {"columns": [0.5]},
        {"columns": [10**30]},
        {"waves": 10**9},
        {"waves": "4"},
        {"clock": [0, 99]},
        {"seed": "x"},
        {"unknown": 1},
        {"kind": "os.system"},
        {"kind": ["mlp"]},
        {"version": 2},
    ],
    ids=lambda entries: str(entries)[:40],
)
def test_descriptions_of_policies_are_checked_before_anything_is_built(tmp_path, kind, entries):
    pytest.importorskip("stable_baselines3")
    save_policy(tmp_path / "policy", POLICIES[kind]())
    load_policy(tmp_path / "policy")
    description = json.loads((tmp_path / "policy.json").read_text())
    (name,) = entries
    if name not in (*description, "unknown", "seed") or (kind == "ppo" and name in ("unknown", "seed")):
        return  # not an entry of this kind of policy
    if kind == "sin_sin" and name == "activation":
        return
    (tmp_path / "policy.json").write_text(json.dumps(description | entries))
    if (kind, name) == ("gaussian", "unknown") or name != "seed" or kind != "ppo":
        with pytest.raises(ValueError, match=r"policy\.(json|npz)"):
            load_policy(tmp_path / "policy")


@pytest.mark.parametrize("kind", HOSTILE)
def test_weights_that_are_none_are_refused(tmp_path, kind):
    save_policy(tmp_path / "policy", POLICIES["mlp"]())
    (tmp_path / "policy.npz").write_bytes(HOSTILE[kind]())
    with pytest.raises(ValueError, match=r"policy\.(npz|json)"):
        load_policy(tmp_path / "policy")


@pytest.mark.parametrize("change", ["nan", "shape", "integer", "missing"])
def test_weights_must_be_finite_and_of_the_right_shapes(tmp_path, change):
    save_policy(tmp_path / "policy", Mlp(4, 2, hidden=[8], seed=1))
    arrays = dict(np.load(tmp_path / "policy.npz"))
    name = next(iter(arrays))
    arrays[name] = {
        "nan": np.full_like(arrays[name], np.nan),
        "shape": arrays[name].T,
        "integer": arrays[name].astype(int),
        "missing": arrays[name],
    }[change]
    if change == "missing":
        del arrays[name]
    np.savez(tmp_path / "policy.npz", **arrays)
    with pytest.raises(ValueError, match=r"policy\.(npz|json)"):
        load_policy(tmp_path / "policy")


@pytest.mark.parametrize(
    ("entries", "arrays"),
    [
        ({"hidden": 8}, {}),
        ({"hidden": [9]}, {}),
        ({"activation": "os.system"}, {}),
        ({"columns": "abc"}, {}),
        ({"commands": [5]}, {}),
        ({"observation_size": 5}, {}),
        ({}, {"weights.weight": np.zeros((2, 2))}),
        ({}, {"layers.0.weight": np.zeros((8, 5))}),
        ({}, {"layers.0.bias": np.zeros(3)}),
        ({}, {"layers.2.weight": np.full((2, 8), np.nan)}),
    ],
)
def test_controllers_without_torch_are_checked_too(tmp_path, entries, arrays):
    from pliant.policies.networks.array_controllers import load_array_controller

    save_policy(tmp_path / "policy", Mlp(4, 2, hidden=[8], seed=1))
    load_array_controller(tmp_path / "policy")
    description = json.loads((tmp_path / "policy.json").read_text())
    (tmp_path / "policy.json").write_text(json.dumps(description | entries))
    np.savez(tmp_path / "policy.npz", **(dict(np.load(tmp_path / "policy.npz")) | arrays))
    with pytest.raises(ValueError, match=r"policy\.(npz|json)"):
        load_array_controller(tmp_path / "policy")


@pytest.mark.parametrize(
    "text", ["task=evil:Task", "id=x", "differentiable=true", "render_mode=human", "arm=[]", "memory=1", "num_envs=3"]
)
@pytest.mark.parametrize(
    "words", [["optimize", "--method", "lbfgs"], ["train", "--steps", "10"], ["gradcheck"]], ids=lambda words: words[0]
)
def test_set_gives_nothing_but_a_tasks_own_numbers_and_words(capsys, tmp_path, monkeypatch, words, text):
    monkeypatch.chdir(tmp_path)
    assert main([words[0], "FingerReach", *words[1:], "--set", text]) == 1
    error = capsys.readouterr().err
    assert f"set={text!r}" in error and len(error.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_every_keyword_that_is_no_tasks_own_is_reserved():
    import inspect

    import gymnasium

    from pliant.envs import ENTRIES
    from pliant.envs.base import TaskEnv, TaskVectorEnv
    from pliant.scripts.environments import own_options

    taken = set()
    for function in (TaskEnv.__init__, TaskVectorEnv.__init__, gymnasium.make, gymnasium.make_vec):
        taken |= {p.name for p in inspect.signature(function).parameters.values() if p.kind != p.VAR_KEYWORD}
    assert taken - {"self"} <= reserved()
    for entry in ENTRIES:
        assert not reserved() & set(own_options(entry.id)), entry.id


@pytest.mark.parametrize(
    "content", [b"", b"garbage", b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/x\n", b"ffconcat version 1.0\n"]
)
def test_stills_are_taken_from_nothing_but_a_video(tmp_path, capsys, content):
    (tmp_path / "metrics.json").write_text(json.dumps({"summary": {"score": 0.5}}))
    (tmp_path / "video.mp4").write_bytes(content)
    assert main(["gallery", str(tmp_path), "--out", str(tmp_path / "stills.png")]) == 1
    error = capsys.readouterr().err
    assert "video.mp4 is not a readable .mp4 file" in error and len(error.splitlines()) == 1
    assert not (tmp_path / "stills.png").exists()


@pytest.mark.parametrize("summary", [None, [], {"score": "high"}, {"environment": 3}, {"seed": [1]}])
def test_stills_check_the_summary(tmp_path, capsys, summary):
    (tmp_path / "metrics.json").write_text(json.dumps({"summary": summary}))
    assert main(["gallery", str(tmp_path), "--out", str(tmp_path / "stills.png")]) == 1
    error = capsys.readouterr().err
    assert "metrics.json: summary" in error and len(error.splitlines()) == 1


def test_zlib_errors_are_among_what_is_caught(tmp_path):
    (tmp_path / "a.npz").write_bytes(damaged())
    with zipfile.ZipFile(tmp_path / "a.npz") as archive, pytest.raises((zlib.error, zipfile.BadZipFile)):
        archive.read("actions.npy")
    with pytest.raises(ValueError, match=r"a\.npz is not a readable"):
        load_arrays(tmp_path / "a.npz")


def test_json_numbers_without_end_are_refused(tmp_path):
    (tmp_path / "a.json").write_text('{"a": Infinity}')
    with pytest.raises(ValueError, match=r"a\.json is not a readable JSON file: Infinity is no JSON number"):
        load_json(tmp_path / "a.json")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"observation.mean": np.full(4, np.nan)}, "observation.mean must be finite"),
        ({"observation.variance": np.ones(5)}, "observation.variance must be finite numbers of shape"),
        ({"observation.variance": np.full(4, -1.0)}, "observation.variance must not be negative"),
        ({"observation.mean": None}, "observation.mean"),
    ],
)
def test_moments_of_observations_are_checked(change, message, tmp_path):
    pytest.importorskip("stable_baselines3")
    from stable_baselines3.common.running_mean_std import RunningMeanStd

    policy = learned()
    policy.moments, policy.settings["normalize"] = RunningMeanStd(shape=(4,)), True
    save_policy(tmp_path / "policy", policy)
    assert load_policy(tmp_path / "policy").act(np.zeros((1, 4))).shape == (1, 2)
    arrays = load_arrays(tmp_path / "policy.npz") | change
    save_arrays(tmp_path / "policy.npz", {name: value for name, value in arrays.items() if value is not None})
    with pytest.raises(ValueError, match=message):
        load_policy(tmp_path / "policy")
