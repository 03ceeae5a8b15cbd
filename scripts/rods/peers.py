"""What other methods reach on the same recordings, with where each figure comes from.

"measured" figures were found for this package by running the authors' code with this protocol, over as many eval files
as stated; "records" are the training records that the authors publish beside their code, over all their eval files.
"""

from __future__ import annotations

from dataclasses import dataclass

SINGLE = ("dlo1", "dlo2", "dlo3", "dlo4", "dlo5")
BRANCHED = ("bdlo1", "bdlo2", "bdlo3", "bdlo4", "bdlo5", "bdlo1_mid", "bdlo3_mid")
DEFORM_PLAIN = "DEFORM, default parameters, no residual network"


@dataclass(frozen=True)
class Figures:
    """Errors of one method on one object [m], as in ``protocol.Scores``; None: not known.

    Attributes:
        method: whose.
        source: where the figures come from.
    """

    method: str
    source: str
    l1: float | None = None
    padded_rmse: float | None = None
    rmse: float | None = None


SPEEDS = (("DEFORM, NumPy", 20.9), ("DEFORM, PyTorch", 40.5), ("DEFT, Numba", 25.6))
"""Milliseconds a step on one thread at batch 1, measured on a quiet two-core machine. Real time needs 10."""

_TABLES = (
    (SINGLE, DEFORM_PLAIN, "measured, 7 files", "l1", (0.0232, 0.0209, 0.0141, 0.0154, 0.0177)),
    (SINGLE, DEFORM_PLAIN, "measured, 7 files", "rmse", (0.0986, 0.0805, 0.0528, 0.0513, 0.0652)),
    (SINGLE, DEFORM_PLAIN, "measured, 14 files", "l1", (0.0194, 0.0185, 0.0129, 0.0151, 0.0180)),
    (SINGLE, DEFORM_PLAIN, "measured, 14 files", "rmse", (0.0828, 0.0721, 0.0481, 0.0506, 0.0676)),
    (SINGLE, "DEFORM, trained", "best of its records", "l1", (0.0103, 0.0102, 0.0100, 0.0115, None)),
    (BRANCHED, "DEFT", "its records", "padded_rmse", (0.0144, 0.0216, 0.0120, 0.0089, 0.0066, 0.0092, 0.0104)),
    (BRANCHED, "Tree-LSTM", "DEFT's records", "padded_rmse", (0.0861, 0.1055, 0.0712, 0.0808, 0.0545, 0.0584, 0.0589)),
    (("bdlo1",), "DEFT", "measured", "padded_rmse", (0.01436,)),
    (("bdlo1",), "DEFT", "measured", "rmse", (0.0379,)),
)


def peers_of(name: str) -> list[Figures]:
    """The known figures for an object, one entry for each method and source."""
    found: dict[tuple[str, str], dict[str, float]] = {}
    for objects, method, source, measure, values in _TABLES:
        value = dict(zip(objects, values, strict=True)).get(name)
        if value is not None:
            found.setdefault((method, source), {})[measure] = value
    return [Figures(method, source, **figures) for (method, source), figures in found.items()]
