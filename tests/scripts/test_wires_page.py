"""docs/wires.md: its programs and commands run one after another, as a reader would."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "wires.md"


@pytest.mark.slow  # its commands are tested one by one in `test_own_wires`
@pytest.mark.skipif(not PAGE.exists(), reason="an installed package has no documents")
def test_the_page_runs_from_top_to_bottom(tmp_path):
    blocks = re.findall(r"^```(python|sh)\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert [kind for kind, _ in blocks] == ["python", "sh", "sh", "python", "sh"]
    commands = []
    for kind, text in blocks:
        if kind == "python":
            name = re.match(r"# (\w+\.py)\n", text)[1]
            (tmp_path / name).write_text(text, encoding="utf-8")
            commands.append([sys.executable, name])
        else:
            commands += [[sys.executable, "-m", "pliant.scripts.main", *line.split()[1:]] for line in text.splitlines()]
    environment = {name: value for name, value in os.environ.items() if name != "PLIANT_DATA"}
    printed = []
    for command in commands:
        run = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=tmp_path, env=environment)
        assert run.returncode == 0, f"{command}: {run.stderr}"
        printed.append(run.stdout + run.stderr)
    assert "train 0 6 positions lost" in printed[0]
    assert "were not seen and do not count" in printed[2] and "were not seen" in printed[3]
    assert (tmp_path / "fitted" / "parameters.json").exists() and (tmp_path / "harness.mp4").stat().st_size > 1000
    assert "(89,)" in printed[5]
