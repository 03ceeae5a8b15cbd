"""The report of a benchmark as one HTML file, which reads without a network and, but for the charts, without scripts.

Python renders what stands still: what the benchmark ran on, the leaderboards, the videos. The script of the page draws
the charts and the tables from the same results, which lie in the page as JSON, and filters them.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

MEDIA_TYPES = {".mp4": "video/mp4", ".webm": "video/webm"}
COLUMNS = ("rank", "method", "IQM", "95 % interval", "median", "mean", "solved", "runs", "failed")
"""Of a leaderboard."""


def write_page(path: Path, results: Mapping[str, Any], *, videos: Mapping[str, Path] = {}) -> None:
    """Write the report of a benchmark, whole or not at all.

    Names and messages in the results are shown as text, whatever they hold. The page forbids itself to load anything
    and to run any script but its own.

    Args:
        path: of the HTML file.
        results: "format", "suite", "budget", "machine", "versions", "command", "tasks", "methods", "seeds", "cells",
            "solved_score", "leaderboards", "improvement" and "profiles", as in the results.json of `pliant bench
            methods`; times in seconds, scores without a unit, null for what is not known.
        videos: MP4 and WebM files by run, "TASK/METHOD/seedN"; they are put into the page, a third larger.

    Raises:
        ValueError: a number is not finite, or a video has another suffix.
        OSError: the page cannot be written, or a video cannot be read.
    """
    from pliant.policies.files.checkpoints import replacing  # brings NumPy

    page = _page(results, videos)
    with replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8", errors="replace")  # half a surrogate pair is no UTF-8


def _page(results: Mapping[str, Any], videos: Mapping[str, Path]) -> str:
    script = _asset("charts.js") + _asset("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return Template(_asset("template.html")).substitute(
        title=_text(f"Pliant benchmark {results['suite']}".strip()),
        policy=(
            "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'; "
            f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
        ),
        style=_asset("page.css"),
        facts=_facts(results),
        contents=_contents(results),
        leaderboards="".join(
            _leaderboard(track, rows, has_intervals=len(results["seeds"]) > 1)
            for track, rows in results["leaderboards"].items()
        )
        or "<p>No run has ended yet.</p>",
        videos=_videos(videos),
        solved=_text(results["solved_score"]),
        data=_embedded(results),
        script=script,
    )


def _asset(name: str) -> str:
    return (files("pliant.scripts.bench") / "assets" / name).read_text(encoding="utf-8")


def _text(value: Any) -> str:
    return html.escape(str(value))


def _number(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _embedded(results: Mapping[str, Any]) -> str:
    """JSON that cannot end the element it stands in: an HTML parser sees no tag, comment or entity in it."""
    text = json.dumps(results, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _table(columns: Iterable[str], rows: Iterable[Iterable[Any]], first: int = 0) -> str:
    """A table; the cells of the column ``first`` head their rows."""
    head = "".join(f'<th scope="col">{_text(column)}</th>' for column in columns)
    body = []
    for row in rows:
        cells = [
            f'<th scope="row">{_text(cell)}</th>' if k == first else f"<td>{_text(cell)}</td>"
            for k, cell in enumerate(row)
        ]
        body.append(f"<tr>{''.join(cells)}</tr>")
    return (
        '<div class="wide" tabindex="0"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
    )


def _leaderboard(track: str, rows: Iterable[Mapping[str, Any]], *, has_intervals: bool) -> str:
    """A table of the methods of a track; one seed says nothing about how far others would differ."""
    cells = [
        (
            rank,
            row["method"],
            _number(row["iqm"]),
            f"{_number(row['low'])} to {_number(row['high'])}" if has_intervals else _number(None),
            _number(row["median"]),
            _number(row["mean"]),
            row["tasks_solved"],
            row["cells"],
            row["failed"],
        )
        for rank, row in enumerate(rows, 1)
    ]
    table = _table(COLUMNS, cells, first=1) if cells else "<p>No run has ended yet.</p>"
    return f"<h3>Track: {_text(track)}</h3>{table}"


def _facts(results: Mapping[str, Any]) -> str:
    """What the benchmark ran on, as a list of terms."""
    machine = results["machine"]
    where = [
        machine.get("processor"),
        f"{machine['cores']} cores" if "cores" in machine else None,
        machine.get("platform"),
    ]
    status = [cell["status"] for cell in results["cells"]]
    counts = ", ".join(f"{status.count(word)} {word}" for word in ("done", "failed", "pending"))
    facts = {
        "runs": f"{counts}; tasks: {len(results['tasks'])}, methods: {len(results['methods'])}, "
        f"seeds: {len(results['seeds'])}",
        "budget": _budget(results["budget"]),
        "machine": ", ".join(str(part) for part in where if part),
        "python": machine.get("python", ""),
        "versions": ", ".join(f"{name} {version}" for name, version in results["versions"].items()),
        "date": machine.get("date", ""),
    }
    terms = "".join(f"<dt>{name}</dt><dd>{_text(fact)}</dd>" for name, fact in facts.items() if fact)
    return f"<dl>{terms}<dt>command</dt><dd><code>{_text(results['command'])}</code></dd></dl>"


def _budget(budget: Mapping[str, Any]) -> str:
    if "seconds" in budget:
        return f"{budget['seconds']:g} s a run"
    steps = budget.get("steps") or {}
    if not steps:
        return ""
    if len(set(steps.values())) == 1:
        return f"{next(iter(steps.values())):,} simulated steps a run"
    return "simulated steps a run: " + ", ".join(f"{task} {count:,}" for task, count in steps.items())


def _contents(results: Mapping[str, Any]) -> str:
    """What the tasks and the methods are, folded away."""
    methods = [
        (name, method["track"], "yes" if method.get("differentiable") else "no", method.get("about", ""))
        for name, method in results["methods"].items()
    ]
    tasks = [
        (name, task.get("family", ""), task.get("horizon", ""), task.get("summary", ""))
        for name, task in results["tasks"].items()
    ]
    tables = (
        ("methods", ("method", "track", "uses gradients", "about"), methods),
        ("tasks", ("task", "family", "steps of an episode", "about"), tasks),
    )
    return "".join(
        f'<details class="fold"><summary>The {len(rows)} {name}</summary>{_table(columns, rows)}</details>'
        for name, columns, rows in tables
        if rows
    )


def _videos(videos: Mapping[str, Path]) -> str:
    if not videos:
        return ""
    figures = []
    for key, path in videos.items():
        media_type = MEDIA_TYPES.get(Path(path).suffix.lower())
        if media_type is None:
            raise ValueError(f"the video of {key} is {path}; allowed suffixes: {', '.join(MEDIA_TYPES)}")
        task, _, rest = key.partition("/")
        method = rest.partition("/")[0]
        content = base64.b64encode(Path(path).read_bytes()).decode()
        figures.append(
            f'<figure data-task="{_text(task)}" data-method="{_text(method)}">'
            f'<video controls preload="metadata" src="data:{media_type};base64,{content}"></video>'
            f"<figcaption>{_text(key)}</figcaption></figure>"
        )
    return f'<section id="videos"><h2>Videos</h2><div class="grid">{"".join(figures)}</div></section>'
