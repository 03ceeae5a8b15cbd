"""One page of plots of a diagnosis."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pliant.policies.diagnosis.diagnose import Diagnosis


def draw(found: Diagnosis, title: str, path: Path) -> None:
    """Write the page as a PNG, atomically.

    Raises:
        OSError: it cannot be written.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    from pliant.policies.files.checkpoints import replacing

    figure, axes = pyplot.subplots(2, 3, figsize=(13, 7), layout="constrained")
    _against_horizon(axes[0][0], found, {"gradient_norm": "of all actions", "first_action_norm": "of the first action"})
    axes[0][0].set_title("norm of the gradient")
    _against_horizon(axes[0][1], found, {"first_variance": "first order", "zeroth_variance": "zeroth order"})
    axes[0][1].set_title(f"variance of a sample, sigma {found.settings.sigma:g}")
    _against_horizon(axes[0][2], found, {"relative_error": "relative error"})
    axes[0][2].set_title("float32 against float64")
    _draw_stretches(axes[1][0], found)
    _draw_slices(axes[1][1], found)
    axes[1][2].axis("off")
    lines = [f"{one.name} {one.value}: {one.reason}" for one in found.recommendations]
    axes[1][2].text(0, 1, "\n\n".join(lines), va="top", wrap=True, fontsize="small")
    figure.suptitle(title)
    try:
        with replacing(path) as temporary:
            figure.savefig(temporary, dpi=120)
    finally:
        pyplot.close(figure)


def _against_horizon(axis: Any, found: Diagnosis, quantities: dict[str, str]) -> None:
    horizons = [row.horizon for row in found.rows]
    for name, label in quantities.items():
        axis.plot(horizons, [getattr(row, name) for row in found.rows], "o-", label=label)
    axis.set_xscale("log")
    if any(getattr(row, name) > 0 for row in found.rows for name in quantities):
        axis.set_yscale("log")
    axis.set_xticks(horizons, [str(horizon) for horizon in horizons])
    axis.minorticks_off()
    axis.set_xlabel("steps")
    axis.grid(alpha=0.3)
    axis.legend(fontsize="small")


def _draw_stretches(axis: Any, found: Diagnosis) -> None:
    axis.set_title("growth of tangent vectors (sum of log |R|)")
    axis.set_xlabel("steps")
    if found.exponents is None:
        return
    import numpy as np

    sums = found.exponents.stretches.cumsum(axis=0)
    for k, exponent in enumerate(found.exponents.exponents):
        axis.plot(found.counted_from + np.arange(1, len(sums) + 1), sums[:, k], label=f"{exponent:.3g} per step")
    axis.grid(alpha=0.3)
    axis.legend(fontsize="small")


def _draw_slices(axis: Any, found: Diagnosis) -> None:
    axis.set_title(f"return along random directions, {found.settings.horizons[-1]} steps")
    axis.set_xlabel("distance from the actions")
    for one in found.slices:
        (line,) = axis.plot(one.offsets, one.values, "o-", ms=3)
        axis.plot(one.offsets, one.tangent, "--", color=line.get_color(), alpha=0.6)
    values = [value for one in found.slices for value in one.values.tolist() if value == value]
    if values:  # tangents of rough returns would hide them
        margin = 0.1 * (max(values) - min(values)) or 1e-3
        axis.set_ylim(min(values) - margin, max(values) + margin)
    axis.grid(alpha=0.3)
