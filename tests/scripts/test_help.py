"""What the command line says: groups of flags, names of arguments, documentation of tasks, one sentence an error."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from pliant.scripts import main as program
from pliant.scripts.flags import all_notes, parse
from pliant.scripts.main import COMMANDS, main


@pytest.fixture
def say(capsys, monkeypatch):
    """Runs a command in this process; gives exit status, stdout and stderr."""
    monkeypatch.setenv("COLUMNS", "100")

    def run(*words):
        capsys.readouterr()
        status = main([str(word) for word in words])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["optimize"], "ENV"),
        (["train"], "ENV"),
        (["gradcheck"], "[ENV]"),
        (["diagnose"], "ENV"),
        (["list"], "[ENV]"),
        (["replay"], "RUN"),
        (["gallery"], "[RUN [RUN ...]]"),
        (["rods", "fit"], "PATH_OR_NAME"),
        (["rods", "evaluate"], "PATH_OR_NAME"),
        (["rods", "view"], "PATH_OR_NAME"),
        (["tactile", "calibrate"], "FRAMES"),
        (["tactile", "evaluate"], "FRAMES"),
    ],
    ids=" ".join,
)
def test_positional_arguments_have_names(say, words, name):
    status, text, _ = say(*words, "--help")
    usage = text.split("\n\n")[0]
    assert status == 0 and " STR" not in usage.split("--")[0] and f" {name}" in usage
    listed = text.split("positional arguments")[1].split("options")[0]
    assert name in listed and "STR" not in listed


def groups_of(text):
    """Flags by the heading under which help shows them."""
    found, heading = {}, None
    for line in text.splitlines():  # with or without boxes around the groups
        title = re.match(r"(?:╭─ | )((?:[\w-]+ )?options)\b", line)
        if title:
            heading = title[1]
        if re.match(r"(?:│ |  )(?:-\w, )?--", line):
            found[re.search(r"--[\w-]+", line)[0]] = heading
    return found


def test_the_flags_of_optimize_stand_in_groups(say):
    groups = groups_of(say("optimize", "--help")[1])
    assert groups["--method"] == groups["--out"] == groups["--resume"] == "options"
    assert groups["--resolution"] == groups["--set"] == "environment options"
    assert groups["--iterations"] == groups["--seed"] == "trajectory options"
    assert groups["--learning-rate"] == "gradient options"
    assert groups["--first-step"] == "lbfgs options"
    assert groups["--population"] == "sampling options"
    assert groups["--diagonal"] == "cmaes options"
    assert groups["--elite-fraction"] == "cem options"
    assert groups["--temperature"] == "mppi options"
    assert groups["--sampling"] == "random-search options"
    assert groups["--receding-horizon"] == "mpc options"
    assert sum(heading == "options" for heading in groups.values()) < 12


def test_grouping_keeps_every_flag_and_its_default():
    from dataclasses import fields

    from pliant.scripts import optimize, train

    for module in (optimize, train):
        parsed = parse(module.Arguments, prog="x", description="", words=["FingerReach"])
        assert parsed == module.Arguments(environment="FingerReach")
        notes = all_notes(module.Arguments)
        assert all(notes[field.name] for field in fields(module.Arguments))
    words = [
        "FingerReach",
        "--learning-rate",
        "0.3",
        "--budget",
        "7",
        "--no-video",
        "--population",
        "5",
        "--arm",
        "panda",
    ]
    parsed = parse(optimize.Arguments, prog="x", description="", words=words)
    assert (parsed.learning_rate, parsed.max_simulated_steps, parsed.video) == (0.3, 7, False)
    assert (parsed.population, parsed.arm) == (5, "panda")


@pytest.mark.parametrize(
    "name", ["FingerReach", "fingerreach", "pliant/FingerReach-v0", "FingerReach-v0", "PLIANT/fingerreach-V0"]
)
def test_list_prints_the_documentation_of_a_task(say, name):
    status, text, _ = say("list", name)
    assert status == 0
    assert text.startswith("pliant/FingerReach-v0: bend a soft finger")
    assert "2 actions, 26 observations, 80 steps of 0.01 s, each of" in text
    for words in ("Action Space", "Observation Space", "Rewards", "*distance*", 'info["score"]', "Episode End"):
        assert words in text
    assert "muscle_strength = 10000.0 Pa: stress at full activation" in text
    assert "--set youngs_modulus=100000.0" in text


def test_list_prints_it_as_json(say):
    found = json.loads(say("list", "CableReplay", "--json")[1])
    assert found["id"] == "pliant/CableReplay-v0" and found["steps"] == 200
    by_name = {entry["name"]: entry for entry in found["arguments"]}
    assert by_name["drag"] == {"name": "drag", "default": 0.2, "unit": "1/s", "meaning": "per mass", "allowed": []}
    assert by_name["residual"]["allowed"] == [False, True]


def test_every_task_is_documented(say):
    from pliant.envs import ENTRIES
    from pliant.scripts.list import as_text, describe

    for entry in ENTRIES:
        found = describe(entry.id)
        text = as_text(found)
        for section in ("Description", "Action Space", "Observation Space", "Rewards", "Starting State", "Episode End"):
            assert f"\n{section}\n" in text, entry.id
        assert 'info["score"]' in text, entry.id
        for argument in found["arguments"]:
            assert f"  {argument['name']} = " in text
            assert "[" not in argument["unit"] and not argument["meaning"].startswith("#"), entry.id


def test_inherited_arguments_keep_their_units(say):
    found = json.loads(say("list", "CableShape", "--json")[1])
    units = {entry["name"]: entry["unit"] for entry in found["arguments"]}
    assert units["bend_stiffness"] == "N m^2" and units["linear_density"] == "kg/m"


def test_a_wrong_name_gets_the_nearest(say):
    for command in (["list"], ["optimize"], ["train", "--steps", "10"], ["gradcheck"]):
        status, _, error = say(command[0], "FingerRaech", *command[1:])
        assert status == 1 and "did you mean pliant/FingerReach-v0" in error and len(error.splitlines()) == 1
    assert "did you mean" in say("list", "Finger")[2]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["optimize", "FingerReach", "--method", "cem", "--population", "1000000000"], "population=1000000000"),
        (["optimize", "FingerReach", "--knots", "1000000000"], "knots=1000000000"),
        (["optimize", "FingerReach", "--sinusoids", "1000000000"], "sinusoids=1000000000"),
        (["optimize", "FingerReach", "--seed", "9" * 400], "seed="),
        (["optimize", "FingerReach", "--seed", "-1"], "seed=-1"),
        (["optimize", "FingerReach", "--learning-rate", "nan"], "learning_rate=nan"),
        (["optimize", "FingerReach", "--learning-rate", "inf"], "learning_rate=inf"),
        (["optimize", "FingerReach", "--memory", "9" * 400], "memory="),
        (["optimize", "FingerReach", "--memory", "lots"], "memory='lots'"),
        (["optimize", "FingerReach", "--horizon", "1000000000"], "horizon=1000000000"),
        (["optimize", "FingerReach", "--set", "arm=[]"], "set='arm=[]'"),
        (["optimize", "FingerReach", "--set", "density=nan"], "density=nan"),
        (["optimize", "FingerReach", "--set", "density=1,density=2"], "density is given twice"),
        (["optimize", "FingerReach", "--set", "density=[]"], "density='[]'"),
        (["optimize", "FingerReach", "--worlds", "-1"], "worlds=-1"),
        (["optimize", ""], "there is no environment ''"),
        (["optimize", "evil_module:Env-v0"], "there is no environment 'evil_module:Env-v0'"),
        (["optimize", "CartPole-v1"], "'CartPole-v1' is not one of Pliant's environments"),
        (["train", "FingerReach", "--minutes", "nan"], "minutes=nan"),
        (["train", "FingerReach", "--steps", "10", "--settings", "x=1"], "settings: 'x=1'"),
        (["train", "FingerReach", "--steps", "10", "--seed", "9" * 400], "seed="),
        (["train", "FingerReach", "--steps", "10", "--checkpoint-seconds", "nan"], "checkpoint_seconds=nan"),
        (["train", "FingerReach", "--steps", "10", "--evaluation-episodes", "0"], "evaluation_episodes=0"),
        (["gradcheck", "FingerReach", "--steps", "0"], "steps=0"),
        (["gradcheck", "FingerReach", "--steps", "1000000"], "steps=1000000"),
        (["gradcheck", "FingerReach", "--directions", "0"], "directions=0"),
        (["gradcheck", "FingerReach", "--seed", "-1"], "seed=-1"),
        (["gradcheck", "FingerReach", "--tolerance", "nan"], "tolerance=nan"),
        (["gradcheck", "FingerReach", "--tolerance", "-1"], "tolerance=-1"),
        (["bench", "speed", "--repeats", "0"], "repeats=0"),
        (["bench", "speed", "--repeats", "1000000000"], "repeats=1000000000"),
        (["gallery", "--size", "1000000"], "size=1000000"),
        (["replay", "nowhere"], "nowhere"),
        (["replay", ""], "config.json"),
        (["rods", "fit", "dlo1", "--iterations", "0"], "iterations=0"),
        (["rods", "fit", "rope"], "rope"),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else "",
)
def test_bad_values_are_one_sentence_and_leave_nothing(say, tmp_path, monkeypatch, words, named):
    monkeypatch.chdir(tmp_path)
    status, out, error = say(*words)
    lines = [line for line in error.splitlines() if "0:00:" not in line]  # of a bar that had begun
    assert status == 1 and out == ""
    assert named in lines[-1] and len(lines) == 1 and len(lines[-1]) < 700, error
    assert lines[-1].startswith(f"pliant {words[0]}: ")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("words", [["optimize", "--iterations", "x"], ["optimize", "--method", "x"], ["list", "--jsn"]])
def test_words_that_are_no_flags_or_values_are_wrong_usage(say, words):
    status, _, error = say(words[0], "FingerReach", *words[1:])
    assert status == 2 and words[1] in error and "Traceback" not in error


def test_refused_commands_leave_folders_that_were_there(say, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    assert say("optimize", "FingerReach", "--memory", "lots", "--out", "runs/a/b/c")[0] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["runs"] and not list((tmp_path / "runs").iterdir())


def test_an_interruption_at_any_moment_is_one_sentence(monkeypatch, capsys):
    def interrupted(name):
        raise KeyboardInterrupt

    monkeypatch.setattr(program.importlib, "import_module", interrupted)
    assert main(["list"]) == 130
    assert capsys.readouterr().err == "pliant list: interrupted\n"


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
@pytest.mark.parametrize("delay", [0.12, 0.3, 0.6])
def test_ctrl_c_while_modules_are_loaded_shows_no_traceback(tmp_path, delay):
    code = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # ignored in the background
    code += "from pliant.scripts.main import main; print('begun', flush=True); sys.exit(main())"
    words = ["optimize", "FingerReach", "--iterations", "100000", "--out", str(tmp_path / "run")]
    process = subprocess.Popen([sys.executable, "-c", code, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout.readline() == b"begun\n"
    time.sleep(delay)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=120)
    assert process.returncode == 130, error.decode()
    assert b"Traceback" not in error and b"interrupted" in error


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no full device here")
def test_output_that_cannot_be_written_is_an_error():
    code = "import sys; from pliant.scripts.main import main; sys.exit(main())"
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-c", code, "--help"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert done.stderr == "pliant: the output cannot be written: No space left on device\n"


def test_a_reader_that_has_gone_is_no_error_to_speak_of():
    code = "import sys; from pliant.scripts.main import main; sys.exit(main())"
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([sys.executable, "-c", code, "--help"], stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert done.returncode == 1 and done.stderr == ""


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
def test_taichi_does_not_speak_of_graphical_shells_in_a_terminal():
    import pty

    code = (
        "from rich.console import Console\n"
        "with Console().status('making'):\n"
        "    from pliant.sims.runtime import start\n"
        "    start('cpu')\n"
        "print('done')\n"
    )
    parent, child = pty.openpty()
    process = subprocess.Popen([sys.executable, "-c", code], stdout=child, stderr=child)
    os.close(child)
    text = b""
    while True:
        try:
            part = os.read(parent, 4096)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        text += part
    os.close(parent)
    assert process.wait() == 0 and b"done" in text
    assert b"Graphical" not in text and b"[Taichi]" not in text


def test_every_command_has_an_overview_line(say):
    text = say("--help")[1]
    assert all(f"  {name} " in text for name in COMMANDS)


def test_flags_of_the_environment_have_the_choices_and_defaults_of_its_keywords():
    import typing

    from pliant.envs.options import Options
    from pliant.scripts.options import EnvironmentOptions
    from pliant.sims.robot.kinematics_urdf import MODELS

    usual = Options()
    for name, value in EnvironmentOptions().keywords().items():
        assert value == getattr(usual, name), name
    flags, keywords = typing.get_type_hints(EnvironmentOptions), Options.__annotations__
    for name in ("resolution", "precision", "device"):
        choices = getattr(sys.modules[Options.__module__], keywords[name])
        assert typing.get_args(flags[name]) == typing.get_args(choices), name
    assert typing.get_args(flags["arm"]) == ("none", *MODELS)
