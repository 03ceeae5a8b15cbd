"""docs/environments: the pages say what the tasks say. docs/results: each page has commands that exist."""

import importlib
import re
import shlex
from pathlib import Path

import pytest

import pliant.envs
from pliant.envs import ENTRIES
from pliant.scripts import gallery, pages
from pliant.scripts.docs import Arguments, run
from pliant.scripts.errors import CommandError
from pliant.scripts.flags import parse
from pliant.scripts.list import describe, own_arguments
from pliant.scripts.main import COMMANDS, main

DOCS = Path(__file__).resolve().parents[2] / "docs"
ENVIRONMENTS = DOCS / "environments"
RESULTS = sorted(path for path in (DOCS / "results").glob("*.md") if path.name != "README.md")
DOCUMENTS = [DOCS.parent / "README.md", DOCS.parent / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]

pytestmark = pytest.mark.skipif(not DOCS.exists(), reason="an installed package has no documents")


@pytest.mark.parametrize("entry", ENTRIES, ids=[entry.id for entry in ENTRIES])
def test_the_page_of_an_environment_is_true(entry):
    committed = (ENVIRONMENTS / f"{pages.file_name(entry)}.md").read_text(encoding="utf-8")
    assert committed == pages.page(entry), "run `pliant docs --out docs/environments`"


def test_the_list_of_environments_is_true():
    assert (ENVIRONMENTS / pages.INDEX).read_text(encoding="utf-8") == pages.index(ENTRIES)


def test_there_is_one_page_and_one_picture_for_each_environment_and_no_other():
    names = [pages.file_name(entry) for entry in ENTRIES]
    assert len(set(names)) == len(names)
    assert {path.name for path in ENVIRONMENTS.glob("*.md")} == {pages.INDEX, *(f"{name}.md" for name in names)}
    pictures = sorted((ENVIRONMENTS / pages.PICTURES).iterdir())
    assert {path.name for path in pictures} == {f"{name}.png" for name in names}
    assert all(path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n" for path in pictures)
    assert sum(path.stat().st_size for path in pictures) < 1.5e6


def test_every_environment_names_the_paper_it_comes_from():
    for entry in ENTRIES:
        assert "arxiv.org" in (ENVIRONMENTS / f"{pages.file_name(entry)}.md").read_text(encoding="utf-8"), entry.id


@pytest.mark.parametrize("entry", ENTRIES, ids=[entry.id for entry in ENTRIES])
def test_every_argument_and_reward_term_is_explained(entry):
    found = describe(entry.id)
    assert [
        argument["name"] for argument in found["arguments"] if not (argument["meaning"] or argument["allowed"])
    ] == []
    rewards = " ".join(pages.split(found["documentation"])["Rewards"])
    terms = [name.strip("`") for name in pages.names(entry)["rewards"]]
    assert [name for name in terms if f"*{name}*" not in rewards and "and so on" not in rewards] == []


def test_a_unit_alone_leaves_the_meaning_to_the_class_above():
    from pliant.envs.dough.writer import Writer

    notes = {argument["name"]: argument for argument in own_arguments(Writer)}
    assert notes["yield_stress"]["default"] == 100.0 and notes["yield_stress"]["unit"] == "Pa"
    assert notes["yield_stress"]["meaning"] == "von Mises stress at which the dough flows"


@pytest.mark.parametrize("name", ["FingerReach", pytest.param("CableShape", marks=pytest.mark.slow)])
def test_the_arrays_of_a_page_are_those_of_the_gradient(name):
    import numpy as np

    from pliant.scripts.environments import make

    (entry,) = (entry for entry in ENTRIES if entry.id == f"pliant/{name}-v0")
    said = pages.names(entry)
    env = make(entry.id, differentiable=True)
    _, gradient = env.value_and_grad(np.zeros((1, entry.action_size)), seed=0)
    env.close()
    assert {name: array.shape for name, array in gradient.initial_state.items()} == said["state"]
    assert {name: array.shape for name, array in gradient.parameters.items()} == said["parameters"]
    assert sum(int(word.split()[1]) for word in said["observation"]) == entry.observation_size


def test_recordings_on_this_machine_change_no_page(monkeypatch, tmp_path):
    (entry,) = (entry for entry in ENTRIES if "CableReplay" in entry.id)
    monkeypatch.setenv("PLIANT_DATA", str(tmp_path))  # a folder without the recordings
    assert (ENVIRONMENTS / "cable_replay.md").read_text(encoding="utf-8") == pages.page(entry)


def test_docs_writes_pages_and_pictures(tmp_path, monkeypatch, capsys):
    import imageio.v3 as imageio

    monkeypatch.setattr(pliant.envs, "ENTRIES", [e for e in ENTRIES if "Walker2D" in e.id])
    monkeypatch.setattr(gallery, "STEPS", 4)
    monkeypatch.setattr(gallery, "ITERATIONS", 1)
    out = tmp_path / "made" / "pages"
    assert main(["docs", "--out", str(out)]) == 0
    assert {path.name for path in out.iterdir()} == {"README.md", "walker_2d.md"}
    assert main(["docs", "--out", str(out), "--pictures", "--size", "64"]) == 0
    assert "walker_2d.png" in capsys.readouterr().out
    assert imageio.imread(out / "pictures" / "walker_2d.png").shape == (64, 64, 3)
    assert (out / "walker_2d.md").read_text(encoding="utf-8").startswith("<!-- Made by `pliant docs`")


def test_wrong_flags_of_docs_are_refused_before_any_work(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["docs", "--size", "8"]) == 1
    assert "size=8 is out of range; it must be from 64 to 1024" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert main(["docs", "--out", "file"]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_bars_in_cells_do_not_end_them():
    assert pages.table(["a", "b"], [["x|y", "z"]]) == ["| a | b |", "| --- | --- |", "| x\\|y | z |"]


def test_a_family_without_a_title_has_the_name_of_its_folder():
    (entry,) = (entry for entry in ENTRIES if "Walker2D" in entry.id)
    ((title, _, _),) = pages.families([entry])
    assert title == "Soft robots"
    ((title, purpose, members),) = pages.families([entry._replace(task="tests.somewhere:Walker2D")])
    assert (title, purpose, len(members)) == ("Tests", "", 1)


def commands(document):
    """The `pliant` commands of the blocks of shell lines in a document, without variables and redirections."""
    blocks = re.findall(r"^```sh\n(.*?)^```", document.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [found[1] for line in lines if (found := re.match(r"(?:\w+=\S+ )*(pliant .*?)(?: > \S+)?$", line))]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(DOCS.parent)))
def test_commands_of_the_documents_are_understood(document):
    for line in commands(document):
        _, name, *words = shlex.split(line)
        assert name in COMMANDS, line
        try:
            parse(importlib.import_module(f"pliant.scripts.{name}").Arguments, prog=name, description="", words=words)
        except SystemExit as refused:
            pytest.fail(f"{line}: {refused}")


@pytest.mark.parametrize("document", RESULTS, ids=lambda path: path.name)
def test_a_page_of_results_has_its_command_its_date_and_its_place_in_the_list(document):
    text = document.read_text(encoding="utf-8")
    assert commands(document) or re.search(r"^```sh\n(.*\n)*?pytest ", text, re.MULTILINE)
    assert re.search(r"20\d\d-\d\d-\d\d", text)
    assert f"({document.name})" in (DOCS / "results" / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("out", ["", " ", "file"])
def test_what_is_no_folder_is_refused(out, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("text")
    with pytest.raises(CommandError, match="must be a folder"):
        run(Arguments(out=out))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_file_that_is_no_page_is_not_replaced(tmp_path):
    (tmp_path / "README.md").write_text("# Mine")
    with pytest.raises(CommandError, match=r"README.md has not been written by `pliant docs`"):
        run(Arguments(out=str(tmp_path)))
    assert (tmp_path / "README.md").read_text() == "# Mine" and len(list(tmp_path.iterdir())) == 1
