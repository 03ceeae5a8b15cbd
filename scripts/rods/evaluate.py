"""``pliant rods evaluate``: the open-loop protocol over the evaluation recordings of a wire."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pliant.scripts.rods.inputs import mendable, read_parameters
from pliant.scripts.rods.peers import SPEEDS, peers_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pliant.envs.rods.protocol import Breakdown, Evaluation
    from pliant.envs.rods.recordings import Recording
    from pliant.scripts.rods import Evaluate

MEASURES = ("l1", "padded_rmse", "rmse")
MOMENTS = (0.02, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0)  # seconds after the first frame at which errors are shown


def evaluate(arguments: Evaluate) -> int:
    """Predict, score and print."""
    from rich.console import Console

    from pliant.envs.rods import protocol
    from pliant.envs.rods.layouts import check_object
    from pliant.envs.rods.recordings import recordings
    from pliant.sims.runtime import start

    name = mendable(check_object, arguments.object)
    parameters = read_parameters(arguments.parameters, name)
    found = mendable(recordings, name, "eval", arguments.data or None)
    start("cpu", threads=1)  # what the time of a step is stated for
    from pliant.envs.rods.identification import predict

    with Console(stderr=True).status(f"{name}: predicting {len(found)} recordings") as status:

        def predicted(recording: Recording) -> Any:
            status.update(f"{name}: predicting {recording.name}")
            return predict([recording], parameters, precision=arguments.precision)[0]

        result = protocol.evaluate(found, predicted)
    details = protocol.break_down(found, result.predictions) if arguments.breakdown else None
    if arguments.json:
        print(json.dumps(_as_json(name, arguments, found, result, details), indent=2, allow_nan=False))
        return 0
    _print_scores(name, len(found), result)
    if details is not None:
        _print_breakdown(found, details)
    return 0


def _as_json(
    name: str, arguments: Evaluate, found: Sequence[Recording], result: Evaluation, details: Breakdown | None
) -> dict[str, Any]:
    content = {
        "object": name,
        "parameters": arguments.parameters or "shipped",
        "precision": arguments.precision,
        **asdict(result.scores),
        "hold_still": asdict(result.hold_still),
        "ms_per_step": result.ms_per_step,
        "files": len(found),
    }
    if details is not None:
        content["breakdown"] = {
            "vertices": details.vertices.tolist(),
            "times": details.times.tolist(),
            "files": {file: asdict(scores) for file, scores in details.files.items()},
        }
    return content


def _print_scores(name: str, files: int, result: Evaluation) -> None:
    from pliant.scripts.tables import print_table

    rows = [
        ["Pliant", f"{files} files", *_figures(asdict(result.scores)), f"{result.ms_per_step:.2f}"],
        ["holding still", f"{files} files", *_figures(asdict(result.hold_still)), ""],
        *([peer.method, peer.source, *_figures(asdict(peer)), ""] for peer in peers_of(name)),
    ]
    print_table([name, "source", "l1 [m]", "padded rmse [m]", "rmse [m]", "ms/step"], rows, left=2)
    print("ms a step of the peers, one thread: " + ", ".join(f"{method} {speed}" for method, speed in SPEEDS))


def _print_breakdown(found: Sequence[Recording], details: Breakdown) -> None:
    from pliant.scripts.tables import print_table

    first = found[0]
    assert first.branch is not None
    clamped = set(first.clamped.tolist())
    rows = [
        [str(vertex), str(first.branch[vertex]), "held" if vertex in clamped else "", f"{error:.4f}"]
        for vertex, error in enumerate(details.vertices)
    ]
    print_table(["vertex", "rod", "", "rms error [m]"], rows, left=3)
    frames = [(moment, round(moment / first.dt) - 2) for moment in MOMENTS]
    rows = [
        [f"{moment:.2f}", f"{details.times[min(frame, len(details.times) - 1)]:.4f}"]
        for moment, frame in frames
        if 0 <= frame <= len(details.times)
    ]
    print_table(["time [s]", "rmse [m]"], rows, left=0)
    print_table(
        ["recording", "l1 [m]", "padded rmse [m]", "rmse [m]"],
        [[file, *_figures(asdict(scores))] for file, scores in details.files.items()],
        left=1,
    )
    sys.stdout.flush()


def _figures(scores: dict[str, Any]) -> list[str]:
    return ["" if scores[measure] is None else f"{scores[measure]:.4f}" for measure in MEASURES]
