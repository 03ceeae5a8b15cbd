"""The report of a benchmark: one file, inert whatever the names in it, drawn by its script in a browser."""

import html
import json
import math
import random
import re
import shutil
import subprocess
import tempfile
import time
from html.parser import HTMLParser

import pytest

import pliant.scripts.bench.page as page_module
from pliant.scripts.bench.page import write_page

PLANS = ("gradient", "lbfgs", "cmaes", "cem", "mppi", "random", "spsa")
POLICIES = ("shac", "bptt", "ppo", "sac", "tqc", "crossq")
HOSTILE = "</script><img src=x onerror=document.title='broken'>\"'&<!--"
BROWSER = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chromium-browser"))), None)
in_browser = pytest.mark.skipif(BROWSER is None, reason="neither chromium nor google-chrome is on PATH")


def curve_of(draw, skill, points, budget):
    """A curve that rises to ``skill``; scores waver, the best so far does not fall."""
    shares = [(k + 1) / points for k in range(points)]
    scores = [round(skill * (1 - math.exp(-4 * share)) + draw.gauss(0, 0.02), 6) for share in shares]
    best = [max(scores[: k + 1]) for k in range(points)]
    return {
        "simulated_steps": [int(budget * share) for share in shares],
        "reverse_steps": [int(budget * share) // 2 for share in shares],
        "seconds": [round(60 * share * draw.uniform(0.9, 1.1), 4) for share in shares],
        "score": scores,
        "return": [round(80 * score - 20, 6) for score in scores],
        "best_score": best,
    }


def made_up_cell(draw, task, method, seed, ease, points=30):
    """A run; one in twenty has failed."""
    empty = dict.fromkeys(("score", "return", "simulated_steps", "reverse_steps", "seconds"))
    times = {"simulation_seconds": None, "gradient_seconds": None}
    cell = {"task": task, "method": method, "seed": seed, "status": "done", "message": "", **empty, **times}
    if draw.random() < 0.05:
        return cell | {"status": "failed", "message": f"SimulationDiverged: step {seed + 3}", "curve": {}}
    skill = min(1.0, max(0.02, ease * draw.gauss(1.0, 0.12)))
    curve = curve_of(draw, skill, points, 4000)
    return cell | {
        "score": curve["best_score"][-1],
        "return": curve["return"][-1],
        "simulated_steps": 4000,
        "reverse_steps": 2000,
        "seconds": 60.0,
        "simulation_seconds": 25.0,
        "gradient_seconds": 20.0,
        "curve": curve,
    }


def made_up_results(tasks=4, plans=PLANS, policies=POLICIES, seeds=3, points=30):
    """Results of the form that the benchmark writes; the intervals are made up too."""
    draw = random.Random(1)
    families = ("locomotion", "dough", "fluids", "rods")
    names = [f"Task{k}" for k in range(tasks)]
    methods = {
        name: {"track": track, "about": f"what {name} does", "differentiable": name in ("gradient", "shac")}
        for track, chosen in (("plan", plans), ("policy", policies))
        for name in chosen
    }
    skill = {name: draw.uniform(0.4, 1.0) for name in methods}
    ease = {name: draw.uniform(0.5, 1.1) for name in names}
    cells = [
        made_up_cell(draw, task, method, seed, ease[task] * skill[method], points)
        for task in names
        for method in methods
        for seed in range(seeds)
    ]
    results = {
        "format": 1,
        "suite": "quick",
        "budget": {"steps": dict.fromkeys(names, 4000)},
        "machine": {
            "platform": "Linux-6.1",
            "processor": "AMD EPYC",
            "cores": 2,
            "python": "3.11.2",
            "date": "2026-12-01",
        },
        "versions": {"pliant": "0.1.0", "taichi": "1.7.4"},
        "command": "pliant bench methods --suite quick",
        "tasks": {
            name: {"family": families[k % 4], "horizon": 80, "summary": f"Moves body {k} to where it belongs."}
            for k, name in enumerate(names)
        },
        "methods": methods,
        "solved_score": 0.8,
        "seeds": list(range(seeds)),
        "cells": cells,
        "leaderboards": {},
        "improvement": {},
        "profiles": {},
    }
    for track, chosen in (("plan", plans), ("policy", policies)):
        if chosen:
            rank(results, track, chosen)
    return results


def rank(results, track, methods):
    """Fill in the tables of a track, roughly."""
    scores = {name: [c["score"] or 0.0 for c in results["cells"] if c["method"] == name] for name in methods}
    scores = {name: sorted(found) for name, found in scores.items() if found}
    thresholds = [k / 40 for k in range(41)]
    board = []
    for name, found in scores.items():
        iqm = sum(found) / len(found)
        row = {"method": name, "iqm": iqm, "low": iqm - 0.05, "high": iqm + 0.04, "mean": iqm}
        failed = sum(c["status"] == "failed" for c in results["cells"] if c["method"] == name)
        board.append(row | {"median": found[len(found) // 2], "tasks_solved": 1, "cells": len(found), "failed": failed})
    results["leaderboards"][track] = sorted(board, key=lambda row: -row["iqm"])
    results["improvement"][track] = {
        one: {
            other: [p := (1 + sum(a > b for a in mine for b in theirs)) / (2 + len(mine) * len(theirs)), p / 2, p]
            for other, theirs in scores.items()
            if other != one
        }
        for one, mine in scores.items()
    }
    shares = {name: [sum(s > t for s in found) / len(found) for t in thresholds] for name, found in scores.items()}
    results["profiles"][track] = {"thresholds": thresholds, **shares}


def embedded(page):
    """The results in a page, as an HTML parser finds them."""
    return json.loads(re.search(r'<script type="application/json" id="results">(.*?)</script>', page, re.DOTALL)[1])


def drawn(path):
    """The page after its script has run."""
    with tempfile.TemporaryDirectory() as profile:
        options = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", f"--user-data-dir={profile}")
        run = subprocess.run(
            [BROWSER, *options, "--dump-dom", path.as_uri()], capture_output=True, text=True, timeout=120
        )
    assert run.returncode == 0, run.stderr
    return run.stdout


class Loads(HTMLParser):
    """Collects what a page would load, and the elements that it has."""

    def __init__(self):
        super().__init__()
        self.addresses, self.elements, self.handlers = [], [], []

    def handle_starttag(self, tag, attrs):
        self.elements.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href", "srcset", "poster", "data")]
        self.handlers += [name for name, _ in attrs if name.startswith("on")]


def parsed(page):
    loads = Loads()
    loads.feed(page)
    return loads


def without_runs():
    """Results before the first run has ended."""
    results = made_up_results(tasks=2)
    figures = ("score", "return", "simulated_steps", "reverse_steps", "seconds", "simulation_seconds")
    for cell in results["cells"]:
        cell.update(dict.fromkeys((*figures, "gradient_seconds")), status="pending", message="", curve={})
    return results | {"leaderboards": {"plan": [], "policy": []}, "improvement": {}, "profiles": {}}


def hostile_results():
    """Every name and message would leave its element, if it were taken for markup."""
    text = json.dumps(made_up_results(tasks=2, plans=("gradient",), policies=("shac",)))
    for word in ("Task0", "gradient", "dough", "SimulationDiverged", "what shac does", "0.1.0", "AMD EPYC", "quick"):
        text = text.replace(word, json.dumps(word + HOSTILE)[1:-1])
    return json.loads(text)


VARIANTS = {
    "usual": made_up_results,
    "nothing at all": lambda: made_up_results(tasks=0, plans=(), policies=()),
    "pending": without_runs,
    "one seed": lambda: made_up_results(tasks=1, seeds=1),
    "one point": lambda: made_up_results(tasks=1, seeds=1, points=1),
    "one track": lambda: made_up_results(policies=()),
    "hostile": hostile_results,
}


@pytest.mark.parametrize("name", VARIANTS)
def test_the_page_holds_the_results_and_loads_nothing(name, tmp_path):
    results = VARIANTS[name]()
    write_page(tmp_path / "report.html", results)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert embedded(page) == results
    found = parsed(page)
    assert found.addresses == [] and found.handlers == []
    assert found.elements.count("script") == 2 and "img" not in found.elements and "link" not in found.elements
    assert "@import" not in page and "url(" not in page
    assert "default-src 'none'" in page


def test_leaderboards_and_circumstances_read_without_scripts(tmp_path):
    results = made_up_results()
    write_page(tmp_path / "report.html", results)
    page = re.sub(r"<script.*?</script>", "", (tmp_path / "report.html").read_text(encoding="utf-8"), flags=re.DOTALL)
    assert "<noscript>" in page
    for board in results["leaderboards"].values():
        places = [page.index(f'<th scope="row">{row["method"]}</th><td>{row["iqm"]:.3f}</td>') for row in board]
        assert places == sorted(places)
    for word in ("AMD EPYC, 2 cores", "taichi 1.7.4", results["command"], "4,000 simulated steps a run"):
        assert word in page


def test_one_seed_has_no_interval(tmp_path):
    write_page(tmp_path / "report.html", made_up_results(tasks=2, seeds=1, policies=()))
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"<td>0\.\d+ to", page)
    write_page(tmp_path / "report.html", made_up_results(tasks=2, seeds=2, policies=()))
    assert re.search(r"<td>0\.\d+ to", (tmp_path / "report.html").read_text(encoding="utf-8"))


def test_budgets_of_seconds_and_of_single_tasks_are_named(tmp_path):
    results = made_up_results(tasks=2)
    for budget, words in (
        ({"seconds": 60.0}, "60 s a run"),
        ({"steps": {"Task0": 4000, "Task1": 90}}, "Task0 4,000, Task1 90"),
    ):
        write_page(tmp_path / "report.html", results | {"budget": budget})
        assert words in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_names_and_messages_are_text_whatever_they_hold(tmp_path):
    video = tmp_path / "a.mp4"
    video.write_bytes(b"0123")
    write_page(tmp_path / "report.html", hostile_results(), videos={f"Task0{HOSTILE}/gradient/seed0": video})
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<img" not in page and html.escape(f"gradient{HOSTILE}") in page
    found = parsed(page)
    assert found.handlers == [] and found.elements.count("script") == 2


def test_videos_are_put_into_the_page(tmp_path):
    video = tmp_path / "a.mp4"
    video.write_bytes(b"0123")
    write_page(tmp_path / "report.html", made_up_results(), videos={"Task0/gradient/seed0": video})
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert parsed(page).addresses == ["data:video/mp4;base64,MDEyMw=="]
    assert "Task0/gradient/seed0</figcaption>" in page
    with pytest.raises(ValueError, match=r"Task0/x.*b\.avi; allowed suffixes: \.mp4"):
        write_page(tmp_path / "report.html", made_up_results(), videos={"Task0/x": tmp_path / "b.avi"})
    with pytest.raises(OSError, match="gone"):
        write_page(tmp_path / "report.html", made_up_results(), videos={"Task0/x": tmp_path / "gone.mp4"})


def test_a_page_is_whole_or_the_old_one_stays(tmp_path):
    path = tmp_path / "report.html"
    path.write_text("old")
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_page(path, made_up_results(tasks=1) | {"seeds": [math.nan]})
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
    write_page(path, made_up_results(tasks=1))
    assert path.read_text(encoding="utf-8").endswith("</html>\n") and list(tmp_path.iterdir()) == [path]
    with pytest.raises(OSError, match="cannot write"):
        write_page(tmp_path / "none" / "report.html", made_up_results(tasks=1))


def test_the_page_of_a_large_benchmark_is_written_soon(tmp_path):
    results = made_up_results(tasks=30, seeds=10, points=5)
    start = time.monotonic()
    write_page(tmp_path / "report.html", results)
    assert time.monotonic() - start < 5.0


@in_browser
@pytest.mark.parametrize("name", VARIANTS)
def test_the_script_draws_the_page(name, tmp_path):
    results = VARIANTS[name]()
    write_page(tmp_path / "report.html", results)
    page = drawn(tmp_path / "report.html")
    assert "<section hidden" not in page, "the script ended early"
    assert "<title>broken" not in page and "<img" not in page
    scored = {(cell["task"], cell["method"]) for cell in results["cells"] if cell["status"] == "done"}
    boards, profiles = results["leaderboards"].values(), results["profiles"].values()
    curves = len(scored) + sum(len(profile) - 1 for profile in profiles)
    assert page.count('<g class="series"') == curves
    assert page.count('class="meter"') == sum(map(len, boards))
    assert page.count('class="whisker"') == (sum(map(len, boards)) if len(results["seeds"]) > 1 else 0)
    rows = page[page.index('<tbody id="runs-body">') : page.index("</tbody>", page.index("runs-body"))]
    assert rows.count("<tr>") == min(len(results["cells"]), 200)
    assert page.count('<td class="text">') == sum(cell["status"] == "failed" for cell in results["cells"])


@in_browser
def test_filters_act_on_everything(tmp_path, monkeypatch):
    """Without a task, its runs, curves and failures go, and leaderboards are computed anew from the rest."""
    whole = page_module._asset
    act = """
    document.querySelectorAll("details.filter")[2].querySelector("input").click(); // Task0
    document.querySelectorAll("details.filter")[3].querySelectorAll("input")[1].click(); // lbfgs
    document.querySelector("#choices input").click(); // logarithmic
    document.querySelectorAll("#runs-head button")[5].click(); // score
    """
    monkeypatch.setattr(page_module, "_asset", lambda name: whole(name) + (act if name == "page.js" else ""))
    results = made_up_results(tasks=3)
    write_page(tmp_path / "report.html", results)
    page = drawn(tmp_path / "report.html")
    left = [cell for cell in results["cells"] if cell["task"] != "Task0" and cell["method"] != "lbfgs"]
    assert f">{len(left)} of {len(results['cells'])} runs<" in page
    methods = len(PLANS) + len(POLICIES) - 1
    assert page.count('class="meter"') == methods
    assert page.count('<g class="series"') == methods + len(
        {(c["task"], c["method"]) for c in left if c["status"] == "done"}
    )
    first = page[page.index('<tbody id="runs-body">') :]
    assert f"{max(c['score'] or 0.0 for c in left):.3f}" in first[: first.index("</tr>")]
    iqms = {}
    for method in (*PLANS, *POLICIES):
        scores = sorted(c["score"] or 0.0 for c in left if c["method"] == method)
        cut = len(scores) // 4
        iqms[method] = sum(scores[cut : len(scores) - cut]) / max(len(scores) - 2 * cut, 1)
    for method in ("gradient", "shac"):
        assert f'aria-label="IQM {iqms[method]:.3f}"' in page
