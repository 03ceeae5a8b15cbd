"""What a package index and an installation get: version, files, metadata, pictures."""

import importlib.util
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
VERSION = re.search(r'^version = "(.*)"', PROJECT, re.MULTILINE)[1]
REPOSITORY = "https://github.com/pliant-sim/pliant"
ROOMS = ("sims", "envs", "policies", "scripts")


def test_the_package_says_its_version():
    spec = importlib.util.spec_from_file_location("root_of_pliant", ROOT / "__init__.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.__version__ == VERSION
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = module.no_such_name


def test_pictures_of_the_readme_can_be_seen_from_everywhere():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    pictures = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", readme)
    assert pictures
    for address in pictures:
        assert address.startswith(f"{REPOSITORY}/raw/main/"), address
        assert (ROOT / address.removeprefix(f"{REPOSITORY}/raw/main/")).is_file(), address


def test_metadata_names_versions_of_python_and_addresses():
    for minor in range(10, 14):
        assert f'"Programming Language :: Python :: 3.{minor}"' in PROJECT
    for name in ("Source", "Changelog", "Issues", "Documentation"):
        assert re.search(rf'^{name} = "{REPOSITORY}', PROJECT, re.MULTILINE), name


def test_every_requirement_is_imported_or_says_by_whom():
    """Distributions whose modules have other names, and those that another library loads."""
    modules = {
        "imageio-ffmpeg": "imageio_ffmpeg",
        "opencv-python": "cv2",
        "stable-baselines3": "stable_baselines3",
        "sb3-contrib": "sb3_contrib",
        "tensorboard": "torch.utils.tensorboard",
    }
    loaded = {"moviepy", "pygame", "pytest-xdist", "rtree", "ruff", "mypy"}  # by Gymnasium, pytest, trimesh, commands
    tables = PROJECT.split("dependencies = [")[1].split("[project.scripts]")[0]
    code = "\n".join(
        path.read_text(encoding="utf-8") for room in (*ROOMS, "tests") for path in (ROOT / room).rglob("*.py")
    )
    for name in set(re.findall(r'"([a-z][\w-]*)(?=>=)', tables)) - loaded:
        module = modules.get(name, name)
        assert re.search(rf"(^\s*(import|from) |importorskip\(\"){re.escape(module)}\b", code, re.MULTILINE), name


@pytest.mark.slow
def test_distributions_hold_what_they_should(tmp_path):
    pytest.importorskip("build")
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    names = [name for name in tracked.split("\0") if name and (ROOT / name).is_file()]
    for name in names:
        target = tmp_path / "source" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, target)
    command = [
        sys.executable,
        "-m",
        "build",
        "--no-isolation",
        "--outdir",
        str(tmp_path / "dist"),
        str(tmp_path / "source"),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]
    (source,), (wheel,) = ((tmp_path / "dist").glob(pattern) for pattern in ("*.tar.gz", "*.whl"))
    with tarfile.open(source) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {name for name in names if not name.startswith(".") or name == ".ci/run"}
    assert wanted <= held
    with zipfile.ZipFile(wheel) as archive:
        installed = {name for name in archive.namelist() if ".dist-info/" not in name}
        metadata = archive.read(next(name for name in archive.namelist() if name.endswith("/METADATA"))).decode()
    rooms = {f"pliant/{name}" for name in names if name.split("/")[0] in ROOMS}
    assert installed == rooms | {"pliant/__init__.py"}
    assert f"\nVersion: {VERSION}\n" in metadata and "](gallery.png)" not in metadata
