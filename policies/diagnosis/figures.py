"""What a diagnosis is asked and what it says of each horizon."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Settings:
    """Settings of a diagnosis.

    Attributes:
        horizons: rising numbers of steps; the last one is that of the episodes.
        samples: noisy episodes N, at least 4.
        sigma: standard deviation of the noise on the actions.
        precision: of the noisy episodes and the slices, "f32" or "f64".
        seed: of the start, the noise and the directions.
        worlds: episodes that are simulated at a time.
        exponents: how many of the largest Lyapunov exponents.
        slices: how many directions the return is drawn along.
        points: on each slice, an odd number; they reach from -2 sigma to 2 sigma.
        delta: probability of a false alarm about the bias, all horizons together.
    """

    horizons: tuple[int, ...]
    samples: int = 32
    sigma: float = 0.1
    precision: str = "f32"
    seed: int = 0
    worlds: int = 16
    exponents: int = 3
    slices: int = 2
    points: int = 15
    delta: float = 0.05


@dataclass
class Row:
    """The figures of one horizon.

    Attributes:
        horizon: environment steps H.
        value: the return without noise.
        gradient_norm, first_action_norm: of its gradient, by all actions and by the first one.
        growth: factor by which the leading tangent vector has grown by step H; it sets out after a quarter of the
            longest horizon.
        first_norm, zeroth_norm: norms of the mean FoBG and ZoBG.
        first_variance, zeroth_variance: of one sample (trace of the covariance).
        alpha: weight of the first order in their mixture.
        bias, allowed: difference of the means, first less zeroth, along the most significant direction, and what
            chance explains.
        cosine, relative_error: of the float32 gradient to the float64 one; nan where they were not compared.
        tangent_error: of the slices' tangents, in units of the range of the return (median over the slices).
        jumps: intervals of the slices with a change that the derivative does not explain, all slices together.
        faults: checks that fail here: "overflow", "rounding", "variance", "bias", "jumps", "growth".
    """

    horizon: int
    value: float
    gradient_norm: float
    first_action_norm: float
    growth: float
    first_norm: float
    zeroth_norm: float
    first_variance: float
    zeroth_variance: float
    alpha: float
    bias: float
    allowed: float
    cosine: float
    relative_error: float
    tangent_error: float
    jumps: int
    faults: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Recommendation:
    """A setting and the reason for it.

    Attributes:
        name: "horizon", "sigma", "alpha" or "precision".
        value: the setting; None where none of those tried will do.
        reason: one sentence.
    """

    name: str
    value: int | float | str | None
    reason: str
