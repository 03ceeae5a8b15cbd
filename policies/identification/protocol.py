"""How predictions of recordings are scored: the open-loop protocol of DEFORM and DEFT, and a baseline that holds still.

A prediction gets frames 0 and 1 and, at each step, the positions of the clamped vertices in the next frame. Frames
2, 3, ... of all recordings together are scored, where markers were seen.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pliant.envs.rods.wires.recordings import Recording

GIVEN = 2  # frames at the start that are given and not scored


@dataclass(frozen=True)
class Scores:
    """Errors over the scored frames of one or more recordings, all in metres.

    Attributes:
        l1: mean absolute error per coordinate over all vertices, clamped ones included (DEFORM's measure).
        padded_rmse: root of the mean squared error per coordinate over DEFT's array (branches, parent length, 3), where
            children begin with the vertex that they hang on and are filled up with zeros that count in the mean.
        rmse: root mean square of the Euclidean error of the free vertices.
    """

    l1: float
    padded_rmse: float
    rmse: float


@dataclass(frozen=True)
class Evaluation:
    """What a run of the protocol finds.

    Attributes:
        scores: of the predictions over all recordings.
        hold_still: of the baseline.
        ms_per_step: median over the recordings of the time that a predicted step took [ms].
        predictions: one array (T, n, 3) [m] for each recording.
    """

    scores: Scores
    hold_still: Scores
    ms_per_step: float
    predictions: list[np.ndarray]


@dataclass(frozen=True)
class Breakdown:
    """Where errors are: Euclidean root mean squares [m].

    Attributes:
        vertices: of each vertex over all scored frames, shape (n,); NaN for one that was never seen there.
        times: of the free vertices in each scored frame, shape (T - 2,), of the shortest recording's length; NaN where
            none was seen.
        files: name of a recording to its scores.
    """

    vertices: np.ndarray
    times: np.ndarray
    files: dict[str, Scores]


def evaluate(recordings: Sequence[Recording], predict: Callable[[Recording], np.ndarray]) -> Evaluation:
    """Run the protocol: each recording is predicted by itself, timed after one run that warms up.

    Raises:
        ValueError: there are no recordings, or a prediction has another shape or is not finite.
    """
    if not recordings:
        raise ValueError("there are no recordings to evaluate")
    predict(recordings[0])
    predictions, times = [], []
    for recording in recordings:
        began = time.perf_counter()
        predictions.append(predict(recording))
        times.append((time.perf_counter() - began) / (len(recording.positions) - GIVEN))
    return Evaluation(
        scores=score(recordings, predictions),
        hold_still=score(recordings, [hold_still(recording) for recording in recordings]),
        ms_per_step=1e3 * float(np.median(times)),
        predictions=predictions,
    )


def score(recordings: Sequence[Recording], predictions: Sequence[np.ndarray]) -> Scores:
    """The errors of predictions, each of shape (T, n, 3) [m], pooled over all frames of all recordings."""
    errors = [_error(recording, predicted) for recording, predicted in zip(recordings, predictions, strict=True)]
    known = [recording.known[GIVEN:] for recording in recordings]
    triples = list(zip(recordings, errors, known, strict=True))
    return Scores(
        l1=float(np.mean(np.concatenate([np.abs(error[seen]).ravel() for _, error, seen in triples]))),
        padded_rmse=_root_mean([padded(r, error)[_padded_known(r)] ** 2 for r, error, _ in triples]),
        rmse=_root_mean([np.sum(e[:, r.free][seen[:, r.free]] ** 2, axis=-1) for r, e, seen in triples]),
    )


def break_down(recordings: Sequence[Recording], predictions: Sequence[np.ndarray]) -> Breakdown:
    """The same errors by vertex, by time and by recording; the recordings are of one wire."""
    squares = [np.sum(_error(r, p) ** 2, axis=-1) for r, p in zip(recordings, predictions, strict=True)]
    squares = [np.where(r.known[GIVEN:], square, np.nan) for r, square in zip(recordings, squares, strict=True)]
    length = min(len(square) for square in squares)
    free = recordings[0].free
    return Breakdown(
        vertices=np.sqrt(_mean_seen(np.concatenate(squares), axis=0)),
        times=np.sqrt(_mean_seen(np.array([square[:length, free] for square in squares]), axis=(0, 2))),
        files={r.name: score([r], [p]) for r, p in zip(recordings, predictions, strict=True)},
    )


def hold_still(recording: Recording) -> np.ndarray:
    """The baseline: the whole wire stays where frame 1, the last given one, has it; shape (T, n, 3) [m]."""
    prediction = np.array(recording.positions)
    prediction[GIVEN:] = prediction[GIVEN - 1]
    return prediction


def padded(recording: Recording, positions: np.ndarray) -> np.ndarray:
    """DEFT's array (T, branches, parent length, 3) of flat positions (T, n, 3) [m]."""
    branches = recording.branches
    array = np.zeros((len(positions), len(branches), max(map(len, branches)), 3))
    for number, vertices in enumerate(branches):
        array[:, number, : len(vertices)] = positions[:, vertices]
    return array


def _error(recording: Recording, predicted: np.ndarray) -> np.ndarray:
    """Prediction minus recording in the scored frames, shape (T - 2, n, 3) [m]."""
    values = np.asarray(predicted, float)
    if values.shape != recording.positions.shape:
        raise ValueError(
            f"the prediction of {recording.name} has shape {values.shape}, not {recording.positions.shape}"
        )
    if not np.isfinite(values).all():
        raise ValueError(f"the prediction of {recording.name} is not finite")
    return values[GIVEN:] - recording.positions[GIVEN:]


def _padded_known(recording: Recording) -> np.ndarray:
    """What counts in DEFT's array of the scored frames, (T - 2, branches, parent length, 3): all but lost markers."""
    lost = np.repeat((~recording.known[GIVEN:]).astype(float)[..., None], 3, axis=-1)
    return padded(recording, lost) == 0.0


def _mean_seen(values: np.ndarray, axis: int | tuple[int, ...]) -> np.ndarray:
    """Mean of what is not NaN; NaN where there is nothing."""
    seen = np.isfinite(values)
    total = np.sum(values, axis=axis, where=seen)
    return np.divide(total, seen.sum(axis=axis), out=np.full(total.shape, np.nan), where=seen.any(axis=axis))


def _root_mean(squares: Sequence[np.ndarray]) -> float:
    return float(np.sqrt(np.mean(np.concatenate([square.ravel() for square in squares]))))
