"""The rules of the house: which room imports what, and that the documents say what is so."""

import ast
import re
import runpy
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("sims", "envs", "policies", "scripts")
README = (ROOT / "README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
PROGRAMS = sorted((ROOT / "docs" / "examples").glob("*.py"))
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
REPOSITORY = re.compile(r"https://github\.com/pliant-sim/pliant/(?:raw|blob|tree)/main/")


def modules(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Dotted names that a file imports anywhere, those for type checking included."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.relative_to(ROOT)}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def offenders(paths: list[Path], forbidden: tuple[str, ...]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in paths
        for name in sorted(imports(path))
        if any(name == package or name.startswith(package + ".") for package in forbidden)
    ]


@pytest.mark.parametrize(
    ("room", "forbidden"),
    [
        ("sims", ("gymnasium", "torch", "stable_baselines3", "pliant.envs", "pliant.policies", "pliant.scripts")),
        ("envs", ("torch", "stable_baselines3", "pliant.policies", "pliant.scripts")),
        ("policies", ("pliant.scripts",)),
    ],
)
def test_imports_point_one_way(room, forbidden):
    assert offenders(modules(room), forbidden) == []


def dependencies() -> dict[str, set[str]]:
    """Modules of the package, by dotted name, and which of each other they import, anywhere in the file."""
    names = {
        ".".join(("pliant", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__"): path
        for room in ROOMS
        for path in modules(room)
    }
    found = {}
    for name, path in names.items():
        targets = {full if full in names else full.rpartition(".")[0] for full in imports(path)}
        found[name] = (targets & set(names)) - {name}
    return found


def test_no_file_imports_another_in_a_circle():
    """What is left when files that import nothing that is left are taken away, again and again, lies on circles."""
    left = dependencies()
    assert len(left) > 200
    while free := [name for name, targets in left.items() if not targets & set(left)]:
        for name in free:
            del left[name]
    assert sorted(left) == []


def test_only_the_runtime_imports_and_starts_taichi():
    others = [path for room in ROOMS for path in modules(room) if path != ROOT / "sims" / "runtime.py"]
    assert offenders(others, ("taichi", "quadrants")) == []
    assert [str(path.relative_to(ROOT)) for path in others if "ti.init(" in path.read_text(encoding="utf-8")] == []


def undocumented_functions(path: Path) -> list[str]:
    """Functions compiled by Taichi that do not say what they compute, as file:name."""
    return [
        f"{path.relative_to(ROOT) if path.is_relative_to(ROOT) else path.name}:{node.name}"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
        and {"ti.func", "ti.kernel"} & {ast.unparse(decorator) for decorator in node.decorator_list}
        and not (ast.get_docstring(node) or "").strip()
    ]


def test_every_taichi_function_says_what_it_computes():
    assert [name for room in ROOMS for path in modules(room) for name in undocumented_functions(path)] == []


def test_a_taichi_function_without_a_docstring_is_found(tmp_path):
    file = tmp_path / "kernels.py"
    file.write_text(
        '@ti.func\ndef said(x):\n    """2 x"""\n    return 2 * x\n\n'
        "def factory():\n    @ti.func\n    def silent(x):\n        # no docstring\n        return x\n\n"
        '    @ti.kernel\n    def blank():\n        """ """\n\n    def host(x):\n        return x\n'
    )
    assert undocumented_functions(file) == ["kernels.py:silent", "kernels.py:blank"]


SHARED_BY_ALL = {"empty_sums", "gather", "note_whether_done", "give_up"}
"""Passes that each member does for itself, or that a device alone does, with one thread."""


def test_passes_do_their_own_share_of_the_elements():
    """One that does not look at its range is done by every member of a team: sums are added twice, in a race."""
    careless = {
        node.name
        for room in ROOMS
        for path in modules(room)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
        and [argument.arg for argument in node.args.args[:5]] == ["mem", "b", "c", "first", "stop"]
        and not any(isinstance(one, ast.Name) and one.id == "first" for one in ast.walk(node))
    }
    assert careless == SHARED_BY_ALL


def test_only_base_and_registry_know_gymnasium():
    allowed = {ROOT / "envs" / name for name in ("base.py", "registry.py", "__init__.py")}
    others = [path for path in modules("envs") if path not in allowed and path.parent != ROOT / "envs" / "vector"]
    assert offenders(others, ("gymnasium",)) == []


def test_importing_the_environments_loads_nothing_heavy():
    heavy = ("torch", "stable_baselines3", "pybullet", "matplotlib", "cv2", "imageio", "trimesh")
    program = f"import sys, pliant.envs; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def shell_lines() -> list[str]:
    return [
        line
        for block in re.findall(r"^```sh\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
        for line in block.splitlines()
    ]


def test_ci_runs_the_test_command_of_the_readme():
    (command,) = [line for line in shell_lines() if line.endswith("pytest")]
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert command in [line.strip() for line in script.splitlines()]


def test_readme_has_the_demo_command_near_the_top():
    (command,) = [line for line in shell_lines() if line.endswith("pliant demo")]
    assert README.splitlines().index(command) < 30


def test_readme_is_short():
    assert len(README.splitlines()) <= 200


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_example_of_the_readme_runs(number, tmp_path):
    """Each example is a program of its own; one that begins with ``# name.py`` is saved under that name."""
    name = re.match(r"# (\w+\.py)\n", EXAMPLES[number])
    file = tmp_path / (name[1] if name else "example.py")
    file.write_text(EXAMPLES[number], encoding="utf-8")
    run = subprocess.run([sys.executable, str(file)], capture_output=True, text=True, timeout=300, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert run.stdout


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.name)
def test_program_of_the_documents_runs(program, tmp_path, monkeypatch, capsys):
    """In this process, where much is compiled already; the program of the README is run in a process of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(program)])
    runpy.run_path(str(program), run_name="__main__")
    assert capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_every_program_is_linked_from_a_document():
    text = "".join(document.read_text(encoding="utf-8") for document in DOCUMENTS)
    assert [program.name for program in PROGRAMS if f"examples/{program.name})" not in text] == []


def short_path(document: Path) -> str:
    return str(document.relative_to(ROOT))


@pytest.mark.parametrize("document", DOCUMENTS, ids=short_path)
def test_code_in_documents_is_part_of_a_program_that_runs(document):
    """Blocks of Python are consecutive lines of a program in docs/examples; docs/wires.md runs in a test of its own."""
    if document.name == "wires.md" and document.parent.name == "docs":
        return  # tests/scripts/test_wires_page.py
    programs = [f"\n{program.read_text(encoding='utf-8')}" for program in PROGRAMS]
    for block in re.findall(r"^```python\n(.*?)^```", document.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        indented = [textwrap.indent(block, " " * depth) for depth in (0, 4, 8)]
        assert any(f"\n{text}" in program for text in indented for program in programs), block


def test_the_ten_lines_of_the_readme_are_a_whole_program():
    (block,) = EXAMPLES
    assert len(block.strip().splitlines()) <= 12
    program = (ROOT / "docs" / "examples" / "gradients.py").read_text(encoding="utf-8")
    assert program.split("\n\n", 1)[1] == block  # after its docstring


def headings(document: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of a document."""
    text = re.sub(r"^```.*?^```", "", document.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def dead_links(document: Path) -> list[str]:
    """Links to files of this repository, relative or at its address, that lead nowhere."""
    text = re.sub(r"^```.*?^```|`[^`\n]*`", "", document.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    dead = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = link.partition("#")
        if REPOSITORY.match(path):
            target = ROOT / REPOSITORY.sub("", path)
        elif re.match(r"[a-z]+:", path):
            continue
        else:
            target = (document.parent / path) if path else document
        if not target.exists() or (anchor and (target.suffix != ".md" or anchor not in headings(target))):
            dead.append(link)
    return dead


@pytest.mark.parametrize("document", [*DOCUMENTS, ROOT / "CHANGELOG.md"], ids=short_path)
def test_links_of_documents_lead_somewhere(document):
    assert dead_links(document) == []


def test_a_dead_link_is_found(tmp_path):
    (tmp_path / "there.md").write_text("# A title, here\n")
    page = tmp_path / "page.md"
    page.write_text(
        "[a](there.md) [b](there.md#a-title-here) [c](there.md#none) [d](gone.md) ![e](gone.png) `[f](gone)`"
    )
    assert dead_links(page) == ["there.md#none", "gone.md", "gone.png"]
    page.write_text("[a](https://github.com/pliant-sim/pliant/blob/main/README.md) [b](https://example.org)")
    assert dead_links(page) == []


def test_every_page_is_linked_from_the_readme_or_from_a_page_that_is():
    seen, waiting = set(), [ROOT / "README.md"]
    while waiting:
        document = waiting.pop()
        seen.add(document)
        for link in re.findall(r"\]\(([^)\s#]+\.md)[^)]*\)", document.read_text(encoding="utf-8")):
            target = (document.parent / link).resolve()
            if target.exists() and target not in seen:
                waiting.append(target)
    assert set(DOCUMENTS) <= seen


def test_readme_names_every_environment():
    from pliant.envs import ENTRIES

    table = README[README.index("| family |") : README.index("## The command line")]
    named = re.findall(r"\[(\w+)\]\(docs/environments/\w+\.md\)", table)
    assert named == [entry.id.removeprefix("pliant/").removesuffix("-v0") for entry in ENTRIES]


def test_citation_and_changelog_carry_the_version():
    version = re.search(r'^version = "(.*)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)[1]
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert version in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_every_package_is_listed_for_the_wheel():
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    found = {
        ".".join(("pliant", *path.parent.relative_to(ROOT).parts))
        for room in ROOMS
        for path in (ROOT / room).rglob("__init__.py")
    }
    listed = set(re.findall(r'"(pliant\.[\w.]+)"', project.split("packages = [")[1].split("]")[0]))
    assert listed == found


def test_constraints_pin_every_dependency():
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    pinned = {
        line.split("==")[0].replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line
    }
    tables = project.split("dependencies = [")[1].split("[project.scripts]")[0]
    wanted = set(re.findall(r'"([a-z][\w-]*)(?=>=)', tables))
    assert wanted and wanted <= pinned
