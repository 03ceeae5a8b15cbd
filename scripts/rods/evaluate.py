"""``pliant rods evaluate``: the open-loop protocol over the evaluation recordings of a wire."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pliant.scripts.rods.inputs import lost, mendable, read_parameters, read_wire
from pliant.scripts.rods.peers import SPEEDS, peers_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pliant.envs.rods.wires.recordings import Recording
    from pliant.policies.identification.protocol import Breakdown, Evaluation
    from pliant.scripts.rods.options import Evaluate

MEASURES = ("l1", "padded_rmse", "rmse")
MOMENTS = (0.02, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0)  # seconds after the first frame at which errors are shown


def evaluate(arguments: Evaluate) -> int:
    """Predict, score and print."""
    from rich.console import Console

    from pliant.policies.identification import protocol
    from pliant.sims.runtime import start

    wire = read_wire(arguments.wire, arguments.data)
    name = wire.name
    parameters = read_parameters(arguments.parameters, name)
    found = mendable(wire.recordings, "eval")
    start("cpu", threads=1)  # what the time of a step is stated for
    from pliant.policies.identification.wires import check_start, predict

    mendable(check_start, found, parameters)
    if not wire.has_splits():
        print(f"note: {arguments.wire} has no folders train and eval; all its recordings are scored", file=sys.stderr)

    with Console(stderr=True).status(f"{name}: predicting {len(found)} recordings") as status:

        def predicted(recording: Recording) -> Any:
            status.update(f"{name}: predicting {recording.name}")
            return predict([recording], parameters, precision=arguments.precision)[0]

        result = protocol.evaluate(found, predicted)
    details = protocol.break_down(found, result.predictions) if arguments.breakdown else None
    if arguments.json:
        print(json.dumps(_as_json(name, arguments, found, result, details), indent=2, allow_nan=False))
        return 0
    _print_scores(name, found, result)
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
        "missing_positions": sum(recording.missing for recording in found),
        "dropped_frames": sum(sum(recording.dropped) for recording in found),
    }
    if details is not None:
        content["breakdown"] = {
            "vertices": [_finite(error) for error in details.vertices],
            "times": [_finite(error) for error in details.times],
            "files": {file: asdict(scores) for file, scores in details.files.items()},
        }
    return content


def _finite(error: float) -> float | None:
    """None, JSON's null, where nothing was seen."""
    return float(error) if math.isfinite(error) else None


def _print_scores(name: str, found: Sequence[Recording], result: Evaluation) -> None:
    from pliant.scripts.tables import print_table

    files = len(found)
    rows = [
        ["Pliant", f"{files} files", *_figures(asdict(result.scores)), f"{result.ms_per_step:.2f}"],
        ["holding still", f"{files} files", *_figures(asdict(result.hold_still)), ""],
        *([peer.method, peer.source, *_figures(asdict(peer)), ""] for peer in peers_of(name)),
    ]
    print_table([name, "source", "l1 [m]", "padded rmse [m]", "rmse [m]", "ms/step"], rows, left=2)
    if lost(found):
        print(lost(found))
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
