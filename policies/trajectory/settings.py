"""Settings of the trajectory optimisers: plain dataclasses, from which the command line makes its flags.

This module imports nothing heavy, so that ``pliant optimize --help`` answers at once. All fields are scalars for the
same reason; zero means "off" or "chosen from the environment" where a field says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Schedule = Literal["constant", "cosine", "step"]
Family = Literal["sequence", "knots", "sinusoids"]


@dataclass
class TrajectorySettings:
    """What every optimiser of an open-loop action sequence has in common."""

    iterations: int = 100
    """Iterations: gradient steps, or generations of CMA-ES."""
    seed: int = 0
    """Seed of the episode (goal, initial state) and of the optimiser's own random numbers."""
    horizon: int = 0
    """Environment steps that are optimised; 0 takes the environment's whole episode."""
    max_simulated_steps: int = 0
    """Stop before the forward environment steps would exceed this number; 0 sets no limit."""
    best_by: Literal["score", "return"] = "score"
    """What makes the best episode so far: its score (ties: its return), or its return alone."""
    target_score: float = 0.0
    """Stop once the best score reaches this value; 0 never stops early."""
    parametrisation: Family = "sequence"
    """Free action per step, knots of a spline, or sums of sinusoids."""
    knots: int = 12
    """Knots per action over the episode (parametrisation "knots")."""
    knot_degree: int = 1
    """Degree of the spline through the knots: 1 piecewise linear, 3 cubic B-spline."""
    sinusoids: int = 4
    """Harmonics per action (parametrisation "sinusoids"): frequencies f, 2 f, 3 f ... of the base frequency f."""
    base_frequency: float = 0.0
    """Base frequency of the sinusoids [Hz]; 0 takes one period per episode."""
    initial_noise: float = 0.01
    """Standard deviation of the normal noise from which the parameters start (around zero action)."""


@dataclass
class GradientSettings(TrajectorySettings):
    """Adam on analytic gradients."""

    learning_rate: float = 0.05
    """Step size of Adam, in units of the normalised action."""
    beta1: float = 0.9
    """Decay of Adam's mean of gradients."""
    beta2: float = 0.99
    """Decay of Adam's mean of squared gradients."""
    clip_norm: float = 0.0
    """Gradients longer than this are shortened to it before Adam sees them; 0 does not clip."""
    schedule: Schedule = "cosine"
    """How the step size falls: not at all, along half a cosine to 1 %, or by `decay` every `decay_every` iterations."""
    decay: float = 0.5
    """Factor of the schedule "step"."""
    decay_every: int = 30
    """Iterations between the decays of the schedule "step"."""
    discount: float = 1.0
    """Discount factor per environment step of the optimised return (history and results report the plain sum)."""
    start_horizon: int = 0
    """Begin with this many steps and grow the horizon on plateaus; 0 begins with all of them."""
    horizon_growth: float = 1.5
    """Factor by which the horizon grows at a plateau."""
    plateau_patience: int = 5
    """Iterations without improvement that make a plateau."""
    plateau_tolerance: float = 1e-3
    """Relative gain in the return that counts as an improvement."""


@dataclass
class CmaesSettings(TrajectorySettings):
    """Covariance matrix adaptation, the black-box rival."""

    sigma: float = 0.3
    """Initial standard deviation of the search, in units of the normalised action."""
    population: int = 0
    """Candidates per generation; 0 takes 4 + 3 log(parameters), the library's own rule."""
    diagonal: Literal["auto", "on", "off"] = "auto"
    """Separable variant (diagonal covariance); "auto" takes it beyond 200 parameters."""


def check_settings(settings: TrajectorySettings) -> None:
    """Raise ``ValueError`` naming the first field that is out of range, its value and what is allowed."""
    rules = {
        "iterations": (1, None),
        "seed": (0, None),
        "horizon": (0, None),
        "max_simulated_steps": (0, None),
        "target_score": (0.0, 1.0),
        "knots": (2, None),
        "knot_degree": (1, 3),
        "sinusoids": (1, None),
        "base_frequency": (0.0, None),
        "initial_noise": (0.0, None),
        "learning_rate": (1e-12, None),
        "beta1": (0.0, 0.9999999),
        "beta2": (0.0, 0.9999999),
        "clip_norm": (0.0, None),
        "decay": (1e-12, 1.0),
        "decay_every": (1, None),
        "discount": (1e-12, 1.0),
        "start_horizon": (0, None),
        "horizon_growth": (1.01, None),
        "plateau_patience": (1, None),
        "plateau_tolerance": (0.0, None),
        "sigma": (1e-12, None),
        "population": (0, None),
    }
    for name, (low, high) in rules.items():
        value = getattr(settings, name, low)
        if not (low <= value and (high is None or value <= high) and value < float("inf")):
            allowed = f"at least {low}" if high is None else f"between {low} and {high}"
            raise ValueError(f"{name}={value!r} is out of range; it must be {allowed}")
    choices = {
        "parametrisation": ("sequence", "knots", "sinusoids"),
        "best_by": ("score", "return"),
        "schedule": ("constant", "cosine", "step"),
        "diagonal": ("auto", "on", "off"),
    }
    for name, allowed_values in choices.items():
        value = getattr(settings, name, allowed_values[0])
        if value not in allowed_values:
            raise ValueError(f"{name}={value!r} is unknown; allowed: {', '.join(allowed_values)}")
    if settings.knot_degree == 2:
        raise ValueError("knot_degree=2 is not offered; allowed: 1 (piecewise linear) or 3 (cubic)")
