"""The pages about environments, as Markdown: what the registry, a task's docstring and the task itself say.

A page holds nothing of its own. What is wrong on it is wrong in the task.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from pliant.envs.registry import Entry

INDEX = "README.md"
MARK = "<!-- Made by `pliant docs`"
"""What every page begins with."""
PICTURES = "pictures"  # folder of the pictures beside the pages


class Paper(NamedTuple):
    """A paper that tasks are taken from."""

    title: str
    arxiv: str


PAPERS = {
    "ChainQueen (Hu et al. 2019)": Paper(
        "ChainQueen: A Real-Time Differentiable Physical Simulator for Soft Robotics", "1810.01054"
    ),
    "DiffTaichi (Hu et al. 2020)": Paper(
        "DiffTaichi: Differentiable Programming for Physical Simulation", "1910.00935"
    ),
    "PlasticineLab (Huang et al. 2021)": Paper(
        "PlasticineLab: A Soft-Body Manipulation Benchmark with Differentiable Physics", "2104.03311"
    ),
    "FluidLab (Xian et al. 2023)": Paper(
        "FluidLab: A Differentiable Environment for Benchmarking Complex Fluid Manipulation", "2303.02346"
    ),
    "DIFFTACTILE (Si et al. 2024)": Paper(
        "DIFFTACTILE: A Physics-based Differentiable Tactile Simulator for Contact-rich Robotic Manipulation",
        "2403.08716",
    ),
    "DEFORM (Chen et al. 2024)": Paper(
        "Differentiable Discrete Elastic Rods for Real-Time Modeling of Deformable Linear Objects", "2406.05931"
    ),
    "DEFT (Chen et al. 2025)": Paper(
        "DEFT: Differentiable Branched Discrete Elastic Rods for Modeling Furcated DLOs in Real-Time", "2502.15037"
    ),
}
"""By the words with which docstrings name them."""


def file_name(entry: Entry) -> str:
    """Name of the page of a task, without its ending: that of the task's module."""
    return entry.task.split(":")[0].rsplit(".", 1)[-1]


def index(entries: Sequence[Entry]) -> str:
    """The page that lists all environments, a table for each family."""
    lines = [
        f"{MARK}. -->",
        "# Environments",
        "",
        "Each page says what is observed, done and rewarded, how success is scored, where an episode starts, and",
        "what has a gradient. `pliant list ENV` prints most of it in a terminal. [api.md](../api.md) has the keywords",
        "and calls that all environments share.",
    ]
    for title, purpose, members in families(entries):
        rows = [
            [
                f"[{short_name(entry)}]({file_name(entry)}.md)",
                entry.summary,
                str(entry.action_size),
                str(entry.observation_size),
                str(entry.horizon),
                f"{entry.success_score:g}",
            ]
            for entry in members
        ]
        lines += ["", f"## {title}", "", *([purpose, ""] if purpose else [])]
        lines += table(["environment", "goal", "actions", "observations", "steps", "success score"], rows)
    return "\n".join(lines) + "\n"


def families(entries: Iterable[Entry]) -> list[tuple[str, str, list[Entry]]]:
    """Title, purpose and entries of each folder of tasks; its docstring has the first two, as "Title: purpose."."""
    packages: dict[str, list[Entry]] = {}
    for entry in entries:
        packages.setdefault(entry.task.split(":")[0].rsplit(".", 1)[0], []).append(entry)
    found = []
    for package, members in packages.items():
        said = (inspect.getdoc(importlib.import_module(package)) or "").split("\n\n")[0]
        title, colon, purpose = " ".join(said.split()).partition(": ")
        if not colon:
            title, purpose = package.rsplit(".", 1)[-1].capitalize(), ""
        found.append((title, purpose[:1].upper() + purpose[1:], members))
    return found


def page(entry: Entry) -> str:
    """The page of one environment."""
    from pliant.scripts.list import describe
    from pliant.scripts.optimize import flags_of

    found, name = describe(entry.id), short_name(entry)
    source = entry.task.split(":")[0].removeprefix("pliant.").replace(".", "/") + ".py"
    (family, _, _), *_ = families([entry])
    sections = split(found["documentation"])
    substeps = " or ".join(f"{count} (`{size}`)" for size, count in found["substeps"].items())
    facts = {
        "id": f"`{entry.id}`",
        "family": f"[{family}]({INDEX}#{re.sub(r'[^a-z -]', '', family.lower()).replace(' ', '-')})",
        "actions": str(entry.action_size),
        "observations": str(entry.observation_size),
        "episode": f"{entry.horizon} steps of {found['step_time']:g} s, each of {substeps} simulation steps",
        "success": f"a score of {entry.success_score:g}",
        "after": "; ".join(cited(found["documentation"])) or "no paper",
        "source": f"[{source}](../../{source})",
    }
    if found["optimize"]:
        own = found["optimize"].items()
        facts["settings"] = "; ".join(f"`pliant optimize --method {m}` begins with `{flags_of(s)}`" for m, s in own)
    lines = [
        f"{MARK} from {source}: mend that, not this page. -->",
        f"# {name}",
        "",
        f"{entry.summary[:1].upper()}{entry.summary[1:]}.",
        "",
        f"![{name} after a few gradient steps]({PICTURES}/{file_name(entry)}.png)",
        "",
        *table(["", ""], facts.items()),
    ]
    words = names(entry)
    for title, text in sections.items():
        linked = [line.replace("(`pliant.envs.base.TaskEnv`)", "([api.md](../api.md#keywords))") for line in text]
        lines += ["", f"## {title}", "", *linked]
        if title == "Observation Space":
            lines += ["", "Features in this order, with their sizes: " + ", ".join(words["observation"]) + "."]
        elif title == "Rewards":
            lines += ["", 'Names in `info["reward_terms"]`: ' + ", ".join(words["rewards"]) + "."]
        elif title == "Arguments":
            lines += ["", *arguments(found["arguments"])]
        elif title == "Episode End":
            lines += ["", "## Gradients", "", *gradients(words)]
    return "\n".join(lines) + "\n"


def split(documentation: str) -> dict[str, list[str]]:
    """The sections of a task's docstring by their titles, without blank lines at their ends."""
    parts = re.split(r"^## (.*)\n", documentation, flags=re.MULTILINE)[1:]
    return {title: text.strip().splitlines() for title, text in zip(parts[::2], parts[1::2], strict=True)}


def cited(documentation: str) -> list[str]:
    """The papers that a docstring names, with their titles and addresses."""
    text = " ".join(documentation.split())
    return [
        f"{name}: *{paper.title}*, [arXiv:{paper.arxiv}](https://arxiv.org/abs/{paper.arxiv})"
        for name, paper in PAPERS.items()
        if name in text
    ]


def code_goals(entry: Entry) -> dict[str, str]:
    """Keywords with which an environment is the same whether or not there are recordings on this machine."""
    from pliant.scripts.environments import own_options

    return {"targets": "code"} if "targets" in own_options(entry.id) else {}


def names(entry: Entry) -> dict[str, Any]:
    """What code calls the parts of an environment at size "small".

    Returns:
        "observation": name and size of each word, in order. "rewards": names of the terms. "state" and "parameters":
        shape of each array that has a gradient, by name. "count": particles or vertices.
    """
    from pliant.scripts.environments import make

    env = make(entry.id, differentiable=True, **code_goals(entry))
    try:
        return {
            "observation": [f"`{seen.feature.name}` {seen.feature.size}" for seen in env.task.observation],
            "rewards": [f"`{term.feature.name}`" for term in env.task.reward],
            "state": {name: env.state(name).shape for name in env.state_names},
            "parameters": {name: env.parameter(name).shape for name in env.parameter_names},
            "count": len(env.task.scene.position),
        }
    finally:
        env.close()


def gradients(words: Mapping[str, Any]) -> list[str]:
    """The arrays that `value_and_grad` has derivatives for."""
    count = words["count"]

    def shapes(arrays: Mapping[str, tuple[int, ...]]) -> str:
        return ", ".join(f"`{name}` {shape(size, count)}" for name, size in arrays.items())

    return [
        f"With `differentiable=True`, `value_and_grad` gives these, where N = {count:,} at size `small`:",
        "",
        *table(
            ["attribute", "arrays and their shapes"],
            [
                ["`actions`", "(steps, actions)"],
                ["`initial_state`", shapes(words["state"])],
                ["`parameters`", shapes(words["parameters"])],
            ],
        ),
    ]


def shape(size: tuple[int, ...], count: int) -> str:
    """A shape as text, with N for the number of particles or vertices."""
    if not size:
        return "()"
    texts = ["N" if axis == 0 and number == count else str(number) for axis, number in enumerate(size)]
    return f"({', '.join(texts)}{',' if len(texts) == 1 else ''})"


def arguments(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """The task's own keywords as a table."""
    rows = []
    for entry in found:
        allowed = ", ".join(f"`{word!r}`" for word in entry["allowed"])
        notes = [part for part in (entry["meaning"], f"one of {allowed}" if allowed else "") if part]
        rows.append([f"`{entry['name']}`", f"`{entry['default']!r}`", entry["unit"] or "-", "; ".join(notes)])
    return table(["keyword", "default", "unit", "meaning"], rows)


def table(headings: Sequence[str], rows: Iterable[Iterable[str]]) -> list[str]:
    """The lines of a Markdown table; bars within cells are escaped."""
    lines = [headings, ["---"] * len(headings), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]


def short_name(entry: Entry) -> str:
    """``FingerReach`` of ``pliant/FingerReach-v0``."""
    from pliant.scripts.environments import short_name as shorten

    return shorten(entry.id)
