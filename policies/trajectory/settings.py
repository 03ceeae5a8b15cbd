"""Settings of the trajectory optimisers: plain dataclasses, from which the command line makes its flags.

This module imports nothing heavy, so that ``pliant optimize --help`` answers at once. All fields are scalars for the
same reason; zero means "off" or "chosen from the environment" where a field says so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from pliant.policies.settings import check_ranges

Schedule = Literal["constant", "cosine", "step"]
Family = Literal["sequence", "knots", "sinusoids"]


@dataclass
class TrajectorySettings:
    """What every optimiser of an open-loop action sequence has in common."""

    iterations: int = 100
    """Iterations: gradients taken, or populations simulated; of a receding horizon, iterations of each plan."""
    seed: int = 0
    """Seed of the episode (goal, initial state) and of the optimiser's own random numbers."""
    horizon: int = 0
    """Environment steps that are optimised; 0 takes the environment's whole episode."""
    max_simulated_steps: int = 0
    """Stop before the forward environment steps would exceed this number; 0 sets no limit."""
    max_seconds: float = 0.0
    """Begin no iteration after this time [s], that of earlier sessions included; 0 sets no limit."""
    best_by: Literal["return", "score"] = "return"
    """What makes the best episode so far, which is reported, saved and replayed: its return, or its score."""
    target_score: float = 0.0
    """Stop once the best episode's score reaches this value; 0 never stops early."""
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
    patience: int = 5
    """Iterations in a row below the best after which the search goes back to it, with half the step and empty moments;
    0 never goes back, except where the simulation diverges."""
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
    hold_fraction: float = 0.0
    """Share of the horizon, whenever it grows, whose actions are held as they are from then on; 0 holds none."""


@dataclass
class LbfgsSettings(TrajectorySettings):
    """L-BFGS-B on analytic gradients; an iteration is one gradient, of the line search too."""

    memory_pairs: int = 10
    """Pairs of steps and gradient changes that approximate the curvature (L-BFGS)."""
    first_step: float = 0.1
    """Largest change of a parameter in the first step, in units of the normalised action (L-BFGS)."""
    gradient_tolerance: float = 1e-9
    """Stop where no component of the projected gradient exceeds this share of the largest at the start (L-BFGS)."""


MOST = 100_000
"""Of things that memory is needed for: candidates, knots, harmonics, pairs."""
POPULATION = 32
"""Candidates per iteration where the settings name no number and the method has no rule of its own."""


@dataclass
class SamplingSettings(TrajectorySettings):
    """What the methods that simulate populations of candidates have in common."""

    sigma: float = 0.3
    """Initial standard deviation of the search, in units of the normalised action."""
    population: int = 0
    """Candidates per iteration; 0 takes 32, for CMA-ES 4 + 3 log(parameters), the library's own rule."""


@dataclass
class CmaesSettings(SamplingSettings):
    """Covariance matrix adaptation, the black-box rival."""

    diagonal: Literal["auto", "on", "off"] = "auto"
    """Separable variant (diagonal covariance) of CMA-ES; "auto" takes it beyond 200 parameters."""


@dataclass
class CemSettings(SamplingSettings):
    """Cross-entropy method: a diagonal normal distribution fitted to the best candidates of each population."""

    elite_fraction: float = 0.1
    """Share of a population that the distribution is fitted to (CEM)."""
    smoothing: float = 0.1
    """Weight of the distribution before in the new one (CEM)."""
    sigma_floor: float = 0.03
    """Smallest standard deviation (CEM)."""


@dataclass
class MppiSettings(SamplingSettings):
    """Model-predictive path integral control: the mean of noisy candidates, weighted by the exponential of returns."""

    temperature: float = 0.1
    """Temperature of the weights, in units of the standard deviation of the population's returns (MPPI)."""
    sigma_decay: float = 1.0
    """Factor on the standard deviation of the noise after each iteration (MPPI)."""


@dataclass
class RandomSearchSettings(SamplingSettings):
    """The best of random candidates."""

    sampling: Literal["uniform", "around-best"] = "uniform"
    """Random search: uniform within the bounds, or normal noise of `sigma` around the best so far."""


@dataclass
class MpcSettings:
    """Model-predictive control: plan over a receding horizon with any of the methods, act, plan again."""

    receding_horizon: int = 0
    """Plan this many steps ahead, act, plan again from the state reached; 0 optimises the whole episode at once."""
    replan_every: int = 1
    """Environment steps between two plans of a receding horizon."""
    first_iterations: int = 0
    """Iterations of the first plan, which has no earlier one to start from; 0 takes as many as the others."""


def check_settings(settings: TrajectorySettings | MpcSettings) -> None:
    """Raise ``ValueError`` naming the first field that is out of range, its value and what is allowed."""
    check_ranges(
        settings,
        iterations=(1, math.inf),
        seed=(0, 2**63 - 1),
        horizon=(0, math.inf),
        max_simulated_steps=(0, math.inf),
        max_seconds=(0.0, math.inf),
        target_score=(0.0, 1.0),
        knots=(2, MOST),
        knot_degree=(1, 3),
        sinusoids=(1, MOST),
        base_frequency=(0.0, math.inf),
        initial_noise=(0.0, math.inf),
        learning_rate=(1e-12, math.inf),
        beta1=(0.0, 0.9999999),
        beta2=(0.0, 0.9999999),
        clip_norm=(0.0, math.inf),
        decay=(1e-12, 1.0),
        decay_every=(1, math.inf),
        patience=(0, math.inf),
        discount=(1e-12, 1.0),
        start_horizon=(0, math.inf),
        horizon_growth=(1.01, math.inf),
        plateau_patience=(1, math.inf),
        plateau_tolerance=(0.0, math.inf),
        hold_fraction=(0.0, 1.0),
        memory_pairs=(1, MOST),
        first_step=(1e-12, math.inf),
        gradient_tolerance=(0.0, 1.0),
        elite_fraction=(1e-12, 1.0),
        smoothing=(0.0, 0.9999999),
        sigma_floor=(0.0, math.inf),
        temperature=(1e-12, math.inf),
        sigma_decay=(1e-12, 1.0),
        receding_horizon=(0, math.inf),
        replan_every=(1, math.inf),
        first_iterations=(0, math.inf),
        sigma=(1e-12, math.inf),
        population=(0, MOST),
    )
    if getattr(settings, "knot_degree", 1) == 2:
        raise ValueError("knot_degree=2 is not offered; allowed: 1 (piecewise linear) or 3 (cubic)")
    horizon = getattr(settings, "receding_horizon", 0)
    if horizon and settings.replan_every > horizon:  # type: ignore[union-attr]
        every = settings.replan_every  # type: ignore[union-attr]
        raise ValueError(f"replan_every={every} exceeds receding_horizon={horizon}; a plan must reach the next one")
