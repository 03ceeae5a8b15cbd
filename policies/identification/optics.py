"""Fits the lighting of a tactile sensor to frames with a ball pressed into its gel; predicts frames left out.

The network (`sims.sensor.optics_network`) follows the gradient of the mean absolute error by AdamW, with adjoints by
hand: no other library is needed, and two minutes on one core are enough. The lighting table is a linear least-squares
problem.

Cameras with automatic exposure and gels that are pushed as a whole give each frame a tint of its own. It is fitted
now and then while the network is, and left out of it: else the network of the place would learn the frames by heart.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pliant.policies.identification.contact_shifts import ContactShifts
from pliant.policies.identification.press_frames import Pixels, Presses
from pliant.sims.inputs import flag, real, whole, word
from pliant.sims.sensor.optics import TERMS as DRAWN_TERMS
from pliant.sims.sensor.optics_ensemble import PixelEnsemble, lookup
from pliant.sims.sensor.optics_features import polynomials, tilt_features
from pliant.sims.sensor.optics_lighting import TERMS, LightingTable
from pliant.sims.sensor.optics_network import GREY, PixelNetwork
from pliant.sims.sensor.optics_table import spline_values, spline_weights

PLACES = ("network", "affine", "quadratic")
TERMS_OF = {"affine": 3, "quadratic": 6}
MOMENTS = (0.3, 0.45, 0.6, 0.75, 0.9)
"""Shares of the steps at which tints and shifts of the frames are found anew."""
SPARSE = 7  # every so many pixels tell how


@dataclass(frozen=True)
class NetworkSettings:
    """How a network is built and fitted.

    Attributes:
        place: what its change over the picture is: a "network" of place and background, or an "affine" or "quadratic"
            function of the place, for few frames.
        terms: K of the network of the place.
        hidden, place_hidden: widths of the networks.
        is_relative: whether the change is in proportion to the background; needs one.
        members: networks whose mean is taken (`fit_ensemble`).
        steps, batch: of the descent, and pixels in each.
        stride: every so many pixels of a frame are used; neighbours say the same.
        learning_rate: largest; it rises for 30 % of the steps and falls to zero by a cosine.
        weight_decay: of AdamW.
        tint_share: part of the median error of a frame that is taken for its own tint; 0: no tint.
        shift_penalty: on the square of a contact's shift from its mark [1/pixel^2]; 0: no shift.
        seed: of weights and batches.
    """

    place: str = "network"
    terms: int = 8
    hidden: int = 64
    place_hidden: int = 32
    is_relative: bool = True
    members: int = 6
    steps: int = 4000
    batch: int = 1024
    stride: int = 1
    learning_rate: float = 8e-3
    weight_decay: float = 0.0
    tint_share: float = 0.8
    shift_penalty: float = 0.01
    seed: int = 0

    def __post_init__(self) -> None:
        word("place", self.place, PLACES)
        for name, low, high in (
            ("terms", 2, 64),
            ("hidden", 1, 1024),
            ("place_hidden", 1, 1024),
            ("members", 1, 64),
            ("steps", 1, 10**6),
            ("batch", 1, 10**6),
            ("stride", 1, 1000),
            ("seed", 0, 2**32 - 1),
        ):
            whole(name, getattr(self, name), low, high)
        flag("is_relative", self.is_relative)
        real("learning_rate", self.learning_rate, above=0.0, high=1.0)
        real("weight_decay", self.weight_decay, 0.0)
        real("tint_share", self.tint_share, 0.0, 1.0)
        real("shift_penalty", self.shift_penalty, 0.0)


def usual_settings(presses: Presses, *, place: str | None = None, **changes: Any) -> NetworkSettings:
    """Settings for some frames.

    Args:
        presses: the frames.
        place: as of the settings; None: a network where there is a background and there are 30 frames or more, else
            affine.
        changes: settings that are to be others than the usual ones.

    Raises:
        ValueError: a setting is out of range.
    """
    has_background = presses.background is not None
    if place is None:
        place = "network" if has_background and len(presses) >= 30 else "affine"
    usual: dict[str, Any] = {"place": place, "is_relative": has_background}
    if place != "network":
        usual |= {"hidden": 32, "weight_decay": 0.3, "tint_share": 0.0}
        usual |= {"members": 4, "steps": 1000}
    return NetworkSettings(**(usual | changes))


def fit_ensemble(
    presses: Presses,
    settings: NetworkSettings,
    *,
    frames: Sequence[int] | None = None,
    on_step: Callable[[int, float], None] = lambda step, loss: None,
) -> PixelEnsemble:
    """As many networks as the settings say, fitted from seeds in a row; arguments and errors as of ``fit_network``.

    The steps that ``on_step`` is told go on from one network to the next.
    """
    members = []
    for number in range(settings.members):

        def tell(step: int, loss: float, number: int = number) -> None:
            on_step(number * settings.steps + step, loss)

        mine = replace(settings, seed=(settings.seed + number) % 2**32)
        members.append(fit_network(presses, mine, frames=frames, on_step=tell))
    return PixelEnsemble(tuple(members))


def fit_network(
    presses: Presses,
    settings: NetworkSettings,
    *,
    frames: Sequence[int] | None = None,
    on_step: Callable[[int, float], None] = lambda step, loss: None,
) -> PixelNetwork:
    """The network of least mean absolute error on the pixels of some frames (all for None).

    Args:
        presses: the frames.
        settings: of network and fit.
        frames: indices of those that are used.
        on_step: told the number of each step and the mean absolute error of its batch [grey levels].

    Raises:
        ValueError: a setting needs a background that the frames do not have.
    """
    if settings.is_relative and presses.background is None:
        raise ValueError("is_relative=True needs frames with a background")
    pixels = presses.pixels(frames, stride=settings.stride)
    rng = np.random.default_rng(settings.seed)
    has_network = settings.place == "network"
    network = PixelNetwork.random(
        terms=settings.terms if has_network else TERMS_OF[settings.place],
        hidden=settings.hidden,
        place_hidden=settings.place_hidden if has_network else 0,
        rng=rng,
        steepest=float(np.linalg.norm(pixels.m, axis=1).max()),
        sees_background=has_network and pixels.background is not None,
        is_relative=settings.is_relative,
    )
    inputs = [tilt_features(pixels.m), network.place_inputs(pixels.place, pixels.background)]
    inputs += [network.scale(pixels.background, len(pixels.m)), pixels.change]
    tilt_inputs, place_inputs, scale, target = (values.astype(np.float32) for values in inputs)
    used, frame = np.unique(pixels.frame, return_inverse=True)
    tint: np.ndarray = np.zeros((len(used), 3), np.float32)
    descent = _Descent(network.parameters, settings)
    shifts = ContactShifts(pixels.m, frame, presses.ball_pixels, settings.shift_penalty, GREY)
    moments = {int(share * settings.steps) for share in MOMENTS}
    for step in range(settings.steps):
        if step in moments:
            some = np.arange(step % SPARSE, len(target), SPARSE)
            predict = functools.partial(_colours, network, place_inputs[some], scale[some])
            if settings.shift_penalty:
                shifts.improve(some, predict, target[some] - tint[frame[some]])
                tilt_inputs = tilt_features(shifts.tilts()).astype(np.float32)
            if settings.tint_share:
                tint = np.float32(settings.tint_share) * tints(target[some] - predict(shifts.tilts(some)), frame[some])
        k = rng.integers(0, len(target), settings.batch)
        change, kept = network.forward(tilt_inputs[k], place_inputs[k])
        residual = scale[k] * change + tint[frame[k]] - target[k]
        # of mean |residual| / GREY
        bar = np.sign(residual) / (residual.size * np.float32(GREY))
        descent.step(network.adjoint(kept, bar * scale[k]))
        on_step(step + 1, float(np.abs(residual).mean()))
    return replace(network, parameters={name: value.copy() for name, value in network.parameters.items()})


def _colours(network: PixelNetwork, place_inputs: np.ndarray, scale: np.ndarray, m: np.ndarray) -> np.ndarray:
    """Change of colour of pixels with tilts m, whose place and scale are known."""
    return scale * network.forward(tilt_features(m).astype(np.float32), place_inputs)[0]


def tints(residual: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """Median of each frame, less what most frames share, which is the light's; shape (F, 3)."""
    medians = [np.median(residual[frame == index], axis=0) for index in range(frame.max() + 1)]
    return (np.array(medians) - np.median(medians, axis=0)).astype(np.float32)


class _Descent:
    """AdamW (Loshchilov and Hutter 2019) under a one-cycle learning rate, in place."""

    def __init__(self, parameters: dict[str, np.ndarray], settings: NetworkSettings) -> None:
        self._parameters, self._settings = parameters, settings
        self._first = {name: np.zeros_like(value) for name, value in parameters.items()}
        self._second = {name: np.zeros_like(value) for name, value in parameters.items()}
        self._count = 0

    def step(self, gradient: dict[str, np.ndarray]) -> None:
        """One update."""
        rate = self._rate()
        self._count += 1
        for name, g in gradient.items():
            value, first, second = self._parameters[name], self._first[name], self._second[name]
            first += 0.1 * (g - first)
            second += 0.001 * (g * g - second)
            size = np.sqrt(second / (1.0 - 0.999**self._count)) + 1e-8
            value *= 1.0 - rate * self._settings.weight_decay
            value -= (rate / (1.0 - 0.9**self._count)) * first / size

    def _rate(self) -> float:
        """Learning rate of the step to come: from 1/25 of the largest up to it, then down to nothing."""
        last, peak = max(self._settings.steps - 1, 1), 0.3 * max(self._settings.steps - 1, 1)
        low, at = 0.04, self._count
        if at < peak:
            share = low + (1.0 - low) * 0.5 * (1.0 - np.cos(np.pi * at / peak))
        else:
            share = 0.5 * (1.0 + np.cos(np.pi * (at - peak) / (last - peak)))
        return float(self._settings.learning_rate * share)


@dataclass(frozen=True)
class TableSettings:
    """How a lighting table is fitted.

    Attributes:
        nodes: of the splines along an axis.
        smoothness: weight of the squared second differences of neighbouring coefficients.
        place_smoothness: how much more those of the terms that depend on the place weigh.
        stride: every so many pixels are used; neighbours say the same.
    """

    nodes: int = 26
    smoothness: float = 2.0
    place_smoothness: float = 3.0
    stride: int = 7

    def __post_init__(self) -> None:
        whole("nodes", self.nodes, 4, 64)
        real("smoothness", self.smoothness, above=0.0)
        real("place_smoothness", self.place_smoothness, above=0.0)
        whole("stride", self.stride, 1)


def fit_table(presses: Presses, settings: TableSettings, *, frames: Sequence[int] | None = None) -> LightingTable:
    """The lighting table of least squares on the pixels of some frames (all for None)."""
    import scipy.linalg
    import scipy.sparse

    pixels, nodes = presses.pixels(frames, stride=settings.stride), settings.nodes
    (i, wx), (j, wy) = (spline_weights(pixels.m[:, axis], nodes) for axis in (0, 1))
    corner = np.arange(3)
    node = (i[:, None, None] + corner[:, None]) * nodes + j[:, None, None] + corner
    columns = node[..., None] * TERMS + np.arange(TERMS)
    values = (wx[:, :, None] * wy[:, None, :])[..., None] * polynomials(pixels.place)[:, None, None, :]
    count, width = len(pixels.m), 9 * TERMS
    rows = np.arange(0, count * width + 1, width)
    design = scipy.sparse.csr_matrix((values.ravel(), columns.ravel(), rows), shape=(count, nodes * nodes * TERMS))
    weights = settings.smoothness * np.array([1.0] + [settings.place_smoothness] * (TERMS - 1))
    normal = (design.T @ design).toarray() + np.kron(_roughness(nodes), np.diag(weights))
    normal[np.diag_indices_from(normal)] += 1e-6
    solution = scipy.linalg.solve(normal, design.T @ pixels.change, assume_a="pos", overwrite_a=True)
    return LightingTable(np.moveaxis(solution.reshape(nodes, nodes, TERMS, 3), 2, 3))


def _roughness(nodes: int) -> np.ndarray:
    """The sum of squared second differences over a square of nodes, as a matrix of these."""
    first, second, same = np.diff(np.eye(nodes), axis=0), np.diff(np.eye(nodes), 2, axis=0), np.eye(nodes)
    along, across = second.T @ second, first.T @ first
    return np.kron(along, same) + np.kron(same, along) + 2.0 * np.kron(across, across)


def interleaved_folds(count: int, folds: int) -> list[list[int]]:
    """Frames by their index modulo ``folds``; each fold is predicted from the others."""
    return [list(range(first, count, folds)) for first in range(min(folds, count))]


def quadrant_folds(presses: Presses) -> list[list[int]]:
    """Frames by the quarter of the pressed region that they lie in: a fold is predicted from places outside it."""
    middle = np.median(presses.centre, axis=0)
    quarter = (presses.centre > middle) @ np.array([1, 2])
    return [found for q in range(4) if (found := np.flatnonzero(quarter == q).tolist())]


def cross_validate(
    presses: Presses,
    fit: Callable[[list[int]], Any],
    folds: Sequence[Sequence[int]],
    *,
    on_fold: Callable[[int, float], None] = lambda fold, error: None,
) -> dict[str, Any]:
    """How well frames are predicted that a fit has not seen.

    Args:
        presses: the frames.
        fit: from the indices of frames to a lighting, with a method ``change``.
        folds: the frames that are left out together.
        on_fold: told the number of each fold and its error.

    Returns:
        "error": mean over the folds of the mean absolute error inside the contact discs [grey levels], "channels": the
        same by channel, "folds": of each fold, "frames": of each frame.
    """
    if len(folds) < 2:
        raise ValueError(f"{len(folds)} folds of {len(presses)} frames: there must be two or more")
    channels, frames = [], np.full(len(presses), np.nan)
    for number, left_out in enumerate(folds):
        lighting = fit([index for index in range(len(presses)) if index not in set(left_out)])
        pixels = presses.pixels(left_out)
        error = prediction_error(lighting, pixels)
        channels.append(error.mean(axis=0))
        for index in left_out:
            frames[index] = error[pixels.frame == index].mean()
        on_fold(number, float(error.mean()))
    table = np.array(channels)
    return {
        "error": float(table.mean()),
        "channels": table.mean(axis=0).tolist(),
        "folds": table.mean(axis=1).tolist(),
        "frames": frames.tolist(),
    }


def prediction_error(lighting: Any, pixels: Pixels) -> np.ndarray:
    """Absolute error of a lighting on pixels [grey levels], shape (P, 3)."""
    return pixels.error(lighting.change(pixels.m, pixels.place, pixels.background))


class NoChange:
    """The lighting of a gel that shows nothing: the background alone."""

    def change(self, m: np.ndarray, place: np.ndarray, background: np.ndarray | None = None) -> np.ndarray:
        """Zeros, shape (P, 3)."""
        return np.zeros((len(m), 3))


def drawn_change(lighting: Any, pixels: Pixels, *, terms: int = DRAWN_TERMS) -> np.ndarray:
    """A lighting's change as images are drawn with it, through a table of splines with few terms; shape (P, 3)."""
    table, factors = lookup(lighting, pixels.place, pixels.background, terms=terms)
    change = np.empty_like(pixels.change)
    for part in np.array_split(np.arange(len(change)), max(1, len(change) // 50_000)):
        change[part] = (spline_values(table, pixels.m[part]) * factors[part]).sum(axis=-1)
    return change
