"""A small network for the colour of a pixel of the tactile image, by normal, place and background; in NumPy.

It is a product of two: one network of the normal and one of the place (u, v) and the background colour there,

    change of channel c = scale_c sum_k g_ck(place, background) T_ck(normal),   g_c0 = 1.

A network of everything at once is no better on real frames, and costs thousands of operations a pixel. Of this one, g
is the same in every picture of a sensor and T a function of two numbers, which a table holds (`optics_table`). For
sensors with few frames g may be a polynomial of the place, the same for all channels, instead of a network.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from pliant.sims.sensor.optics_features import FEATURES, polynomials, position_features, tilt_features
from pliant.sims.sensor.optics_table import NODES, spline_table

LAYERS = 3
GREY = 32.0
"""Grey levels in a unit of the network's output."""
USUAL = 100.0
"""Grey levels of the background at which a unit is worth as much, where the change is in proportion to it."""
POLYNOMIALS = (1, 3, 6)
"""Terms of a polynomial of the place: constant, affine, quadratic."""


def stacked(parameters: Mapping[str, np.ndarray], name: str, x: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """Output (N, outputs) of one of the two networks for inputs (N, inputs), and what its adjoint needs."""
    kept = []
    for layer in range(LAYERS):
        kept.append(x)
        z = x @ parameters[f"{name}.weight{layer}"] + parameters[f"{name}.bias{layer}"]
        if layer < LAYERS - 1:
            gate = 1.0 / (1.0 + np.exp(-z))
            kept.append(gate)
            kept.append(z)
            x = z * gate
    return z, kept


def stacked_adjoint(
    parameters: Mapping[str, np.ndarray], name: str, kept: list[np.ndarray], z_bar: np.ndarray
) -> dict[str, np.ndarray]:
    """Cotangents of the weights and biases, from that of the output.

    y = z s(z), s the logistic function: z_bar = y_bar s (1 + z (1 - s)); W_bar = x^T z_bar, x_bar = z_bar W^T.
    """
    found = {}
    for layer in reversed(range(LAYERS)):
        found[f"{name}.weight{layer}"] = kept[3 * layer].T @ z_bar
        found[f"{name}.bias{layer}"] = z_bar.sum(axis=0)
        if layer:
            gate, z = kept[3 * layer - 2], kept[3 * layer - 1]
            z_bar = (z_bar @ parameters[f"{name}.weight{layer}"].T) * (gate * (1.0 + z * (1.0 - gate)))
    return found


@dataclass(frozen=True, eq=False)
class PixelNetwork:
    """A learned lighting: the weights of the network and what its inputs are.

    Where ``background`` is an argument it means the colours of the pixels without contact, shape (P, 3).

    Attributes:
        parameters: "normal.weight0", "normal.bias0", ... and, for a network of the place, "place.weight0", ...
        terms: K.
        steepest: largest tilt |m| that it was fitted to; steeper ones are shown as that.
        sees_background: whether the background's colour is an input of the network of the place.
        is_relative: whether the change is in proportion to the background.

    Raises:
        ValueError: weights are missing or do not fit each other.
    """

    parameters: dict[str, np.ndarray]
    terms: int
    steepest: float = 1.0
    sees_background: bool = False
    is_relative: bool = False

    def __post_init__(self) -> None:
        networks = {"normal": (FEATURES, 3 * self.terms)}
        if self.has_place_network:
            networks["place"] = (5 if self.sees_background else 2, 3 * (self.terms - 1))
        elif self.terms not in POLYNOMIALS:
            raise ValueError(f"a polynomial of the place has {self.terms} terms; allowed: 1, 3, 6")
        for name, (inputs, outputs) in networks.items():
            rows = inputs
            for layer in range(LAYERS):
                weight, bias = (self.parameters.get(f"{name}.{kind}{layer}") for kind in ("weight", "bias"))
                if weight is None or bias is None:
                    raise ValueError(f"the network lacks {name}.weight{layer} or {name}.bias{layer}")
                if weight.ndim != 2 or weight.shape[0] != rows or bias.shape != weight.shape[1:]:
                    raise ValueError(
                        f"{name}.weight{layer} {weight.shape} and {name}.bias{layer} {bias.shape} do not fit"
                    )
                rows = weight.shape[1]
            if rows != outputs:
                raise ValueError(f"the network of the {name} has {rows} outputs; {self.terms} terms need {outputs}")
        if not all(np.isfinite(value).all() for value in self.parameters.values()):
            raise ValueError("the network's weights must be finite")

    @classmethod
    def random(
        cls,
        *,
        terms: int,
        hidden: int,
        place_hidden: int,
        rng: np.random.Generator,
        steepest: float = 1.0,
        sees_background: bool = False,
        is_relative: bool = False,
        dtype: Any = np.float32,
    ) -> PixelNetwork:
        """Weights to begin a fit with, uniform within 1 / sqrt(inputs).

        Args:
            terms, steepest, sees_background, is_relative: as the attributes.
            hidden, place_hidden: widths of the two networks; 0 for a polynomial of the place.
            rng: source of the weights.
            dtype: their type.
        """
        parameters: dict[str, np.ndarray] = {}
        widths = {"normal": (FEATURES, hidden, hidden, 3 * terms)}
        if place_hidden:
            widths["place"] = (5 if sees_background else 2, place_hidden, place_hidden, 3 * (terms - 1))
        for name, sizes in widths.items():
            for layer, (rows, columns) in enumerate(pairwise(sizes)):
                bound = rows**-0.5
                parameters[f"{name}.weight{layer}"] = rng.uniform(-bound, bound, (rows, columns)).astype(dtype)
                parameters[f"{name}.bias{layer}"] = rng.uniform(-bound, bound, columns).astype(dtype)
        return cls(parameters, terms, steepest, sees_background, is_relative)

    @property
    def has_place_network(self) -> bool:
        """Whether g is a network; else it is a polynomial."""
        return "place.weight0" in self.parameters

    def place_inputs(self, place: np.ndarray, background: np.ndarray | None) -> np.ndarray:
        """What ``forward`` takes of pixels at (u, v), shape (P, 2), with the background's colours."""
        if not self.has_place_network:
            return polynomials(place)[:, : self.terms]
        if self.sees_background and background is None:
            raise ValueError("this lighting depends on the background: pass the sensor's picture without contact")
        return position_features(place, background if self.sees_background else None)

    def scale(self, background: np.ndarray | None, count: int) -> np.ndarray:
        """Grey levels in a unit of ``forward`` at each of ``count`` pixels, shape (count, 3)."""
        if not self.is_relative:
            return np.full((count, 3), GREY)
        if background is None:
            raise ValueError("this lighting depends on the background: pass the sensor's picture without contact")
        return background * (GREY / USUAL)

    def forward(self, tilt_inputs: np.ndarray, place_inputs: np.ndarray) -> tuple[np.ndarray, tuple[Any, ...]]:
        """sum_k g_ck T_ck, shape (P, 3), and what the adjoint needs."""
        z, kept_normal = stacked(self.parameters, "normal", tilt_inputs)
        curves = z.reshape(-1, 3, self.terms)
        factors, kept_place = self._factors(place_inputs)
        change = curves[..., 0] + (curves[..., 1:] * factors).sum(axis=-1)
        return change, (curves, factors, kept_normal, kept_place)

    def adjoint(self, kept: tuple[Any, ...], change_bar: np.ndarray) -> dict[str, np.ndarray]:
        """Cotangents of all parameters: T_bar = g change_bar, g_bar = T change_bar, then through both networks."""
        curves, factors, kept_normal, kept_place = kept
        curves_bar = np.empty_like(curves)
        curves_bar[..., 0] = change_bar
        np.multiply(factors, change_bar[..., None], out=curves_bar[..., 1:])
        count = len(change_bar)
        found = stacked_adjoint(self.parameters, "normal", kept_normal, curves_bar.reshape(count, -1))
        if self.has_place_network:
            factors_bar = curves[..., 1:] * change_bar[..., None]
            found |= stacked_adjoint(self.parameters, "place", kept_place, factors_bar.reshape(count, -1))
        return found

    def _factors(self, place_inputs: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
        """g_ck for k >= 1, shape (P, 3, K - 1), and what its adjoint needs."""
        if not self.has_place_network:
            return np.broadcast_to(place_inputs[:, None, 1:], (len(place_inputs), 3, self.terms - 1)), []
        y, kept = stacked(self.parameters, "place", place_inputs)
        return y.reshape(-1, 3, self.terms - 1), kept

    def change(self, m: np.ndarray, place: np.ndarray, background: np.ndarray | None = None) -> np.ndarray:
        """Change of colour [grey levels] of pixels with tilts m and (u, v), both (P, 2); shape (P, 3)."""
        forward, _ = self.forward(tilt_features(m), self.place_inputs(place, background))
        return forward * self.scale(background, len(m))

    def table(self, nodes: int = NODES) -> np.ndarray:
        """T as spline coefficients, shape (N, N, 3, K)."""

        def curves(m: np.ndarray) -> np.ndarray:
            return stacked(self.parameters, "normal", tilt_features(m))[0].reshape(-1, 3, self.terms)

        return spline_table(curves, self.steepest, nodes)

    def factors(self, place: np.ndarray, background: np.ndarray | None) -> np.ndarray:
        """scale_c g_ck of pixels, what the table is multiplied by; shape (P, 3, K)."""
        factors, _ = self._factors(self.place_inputs(place, background))
        whole = np.concatenate([np.ones_like(factors[..., :1]), factors], axis=-1)
        return whole * self.scale(background, len(place))[..., None]
