"""Modules of envs use each other by what is public."""

import ast
from pathlib import Path

ENVS = Path(__file__).parents[2] / "envs"


def private_reads(source: str) -> list[str]:
    """Attributes with an underscore that a source reads of other objects than ``self`` and ``cls``."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
            owner = ast.unparse(node.value)
            if owner not in ("self", "cls", "super()"):
                found.append(f"{owner}.{node.attr}")
    return found


def test_no_module_reads_private_names_of_another_object():
    assert private_reads("self._a; rollout._b; self.tape._c") == ["rollout._b", "self.tape._c"]
    for path in ENVS.rglob("*.py"):
        found = set(private_reads(path.read_text(encoding="utf-8"))) - {"sys._getframe"}
        assert not found, path.relative_to(ENVS)
