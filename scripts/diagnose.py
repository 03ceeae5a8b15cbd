"""``pliant diagnose``: how far the first-order gradients of an environment can be trusted, and up to which horizon."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from pliant.scripts.errors import CommandError
from pliant.scripts.options import EnvironmentOptions, check_range

if TYPE_CHECKING:
    import numpy as np

    from pliant.policies.diagnosis.diagnose import Diagnosis

GRADIENT = {
    "|gradient|": ("gradient_norm", ".3g"),
    "|first action|": ("first_action_norm", ".3g"),
    "growth": ("growth", ".3g"),
    "f32: cosine": ("cosine", ".6f"),
    "error": ("relative_error", ".1e"),
    "tangent error": ("tangent_error", ".2g"),
    "jumps": ("jumps", "d"),
}
ESTIMATORS = {
    "variance FoBG": ("first_variance", ".3g"),
    "ZoBG": ("zeroth_variance", ".3g"),
    "alpha": ("alpha", ".3f"),
    "bias": ("bias", ".2g"),
    "by chance": ("allowed", ".2g"),
}
"""Columns of the two tables: attributes of a `Row` and how they are written."""
MOST_SAMPLES = 100_000
MOST_SIGMA = 10.0
MOST_STEPS = 1_000_000


@dataclass
class DiagnosisOptions:
    """What is asked of which environment."""

    environment: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="ENV")] = tyro.MISSING
    """Environment, for example FingerReach or pliant/FingerReach-v0 (see `pliant list`)."""
    horizons: tuple[int, ...] = ()
    """Numbers of steps to judge; none takes five up to that of the episode or of the actions, each half the next."""
    samples: int = 32
    """Episodes with noise on the actions, from which variances and means are estimated."""
    sigma: float = 0.1
    """Standard deviation of that noise; the return is also drawn within twice as much."""
    seed: int = 0
    """Seed of the episode, the actions, the noise and the directions."""
    actions: str = ""
    """File of actions (actions.npz of a run of `pliant optimize`); empty takes small random ones."""
    worlds: int = 16
    """Episodes that are simulated at a time."""
    out: str = ""
    """Folder for diagnosis.json and diagnosis.png, a page of plots; empty writes none."""
    json: bool = False
    """Print JSON instead of tables."""


@dataclass
class Arguments(DiagnosisOptions, EnvironmentOptions):
    """Tell up to which horizon the gradient of the return by the actions can be trusted: whether neighbouring states
    part exponentially, whether the first-order gradient has less variance than the zeroth-order one and the same mean,
    whether the return has jumps, and what single precision costs. Recommends a horizon, noise to smooth with, the
    weight of the first order, and a precision. Most of the time goes into noisy episodes and their gradients: fewer
    samples and shorter horizons take less.

    Examples:
      pliant diagnose FingerReach
      pliant diagnose Move --horizons 5 10 20 --samples 16 --out runs/move-diagnosis
      pliant diagnose FingerReach --actions runs/finger/actions.npz --json > finger.json
    """


def run(arguments: Arguments) -> int:
    """Check everything cheap, diagnose, print and write."""
    _check(arguments)
    keywords = arguments.keywords()
    from rich.console import Console

    from pliant.policies.diagnosis.diagnose import diagnose
    from pliant.policies.diagnosis.figures import Settings
    from pliant.scripts.environments import make_vector, resolve, short_name
    from pliant.scripts.runs import RunFolder, machine, plain, versions
    from pliant.sims.runtime import SINGLE_ONLY, choose

    env_id = resolve(arguments.environment)
    actions, horizons = _episode(env_id, arguments, keywords)
    folder = RunFolder(arguments.out) if arguments.out else None
    if folder is not None:
        folder.prepare()
    settings = Settings(
        horizons=horizons,
        samples=arguments.samples,
        sigma=arguments.sigma,
        precision=arguments.precision,
        seed=arguments.seed,
        worlds=arguments.worlds,
    )

    def make(precision: str, worlds: int) -> Any:
        if precision == "f64" and choose(arguments.device) in SINGLE_ONLY:
            return None
        return make_vector(env_id, worlds, **{**keywords, "precision": precision, "differentiable": True})

    with Console(stderr=True).status(f"{env_id}: making") as status:
        found = diagnose(make, actions, settings, on_stage=lambda text: status.update(f"{env_id}: {text}"))
    content = plain(
        {
            "environment": env_id,
            "environment_options": keywords,
            "actions": arguments.actions or "random within 0.2",
            **found.to_dict(),
            "device": choose(arguments.device),
            "versions": versions(),
            "machine": machine(),
        }
    )
    if folder is not None:
        from pliant.scripts.diagnosis_page import draw

        folder.write_json("diagnosis.json", content)
        draw(found, f"{short_name(env_id)}: {found.verdict}", folder.path / "diagnosis.png")
        print(f"written to {folder.path}", file=sys.stderr)
    if arguments.json:
        print(json.dumps(content, indent=2))
    else:
        _print(found, content)
    return 0


def _check(arguments: Arguments) -> None:
    check_range("samples", arguments.samples, 4, MOST_SAMPLES)
    if not 0 < arguments.sigma <= MOST_SIGMA:
        raise CommandError(f"sigma={arguments.sigma} is out of range; it must be above 0, at most {MOST_SIGMA:g}")
    check_range("seed", arguments.seed, 0, 2**63 - 1)
    check_range("worlds", arguments.worlds, 1, 100_000)
    for horizon in arguments.horizons:
        check_range("horizons", horizon, 1, MOST_STEPS)


def _episode(env_id: str, arguments: Arguments, keywords: dict[str, Any]) -> tuple[np.ndarray, tuple[int, ...]]:
    """Actions, shape (T, A), and the horizons, of which T is the last.

    Raises:
        CommandError: a horizon exceeds the episode or the actions, or the actions are those of another environment.
    """
    from pliant.policies.diagnosis.diagnose import default_horizons, small_actions
    from pliant.scripts.environments import make_vector

    actions = _read_actions(arguments.actions) if arguments.actions else None
    env = make_vector(env_id, 1, **keywords)
    try:
        longest, size = int(env.horizon), int(math.prod(env.single_action_space.shape))
    finally:
        env.close()
    if actions is not None:
        if actions.shape[1] != size or len(actions) > longest:
            raise CommandError(
                f"actions={arguments.actions!r} holds actions of shape {actions.shape}; {env_id} takes up to {longest} "
                f"steps of {size}"
            )
        longest = len(actions)
    horizons = tuple(sorted(set(arguments.horizons))) or default_horizons(longest)
    if horizons[-1] > longest:
        raise CommandError(f"horizons={horizons[-1]} exceeds the episode; it must be from 1 to {longest} steps")
    steps = horizons[-1]
    return small_actions(steps, size, arguments.seed) if actions is None else actions[:steps], horizons


def _read_actions(path: str) -> np.ndarray:
    """Actions, shape (T, A), of a file as `pliant optimize` writes it.

    Raises:
        CommandError: it is missing, broken, or holds something else.
    """
    import numpy as np

    from pliant.policies.files.checkpoints import load_arrays

    try:
        actions = load_arrays(path, required=("actions",))["actions"]
    except ValueError as error:
        raise CommandError(f"actions={path!r}: {error}") from error
    if actions.ndim != 2 or actions.dtype.kind != "f" or not len(actions) or not np.isfinite(actions).all():
        raise CommandError(
            f"actions={path!r} holds {actions.dtype} of shape {actions.shape}, not finite actions (T, A)"
        )
    return actions.astype(np.float64)


def _print(found: Diagnosis, content: dict[str, Any]) -> None:
    from pliant.scripts.tables import print_table

    failed = [index for index, row in enumerate(found.rows) if row.faults]
    for columns in (GRADIENT, ESTIMATORS):
        texts = [
            [str(row.horizon), *(format(getattr(row, name), form) for name, form in columns.values())]
            for row in found.rows
        ]
        if columns is ESTIMATORS:
            texts = [[*text, ", ".join(row.faults)] for text, row in zip(texts, found.rows, strict=True)]
        headings = ["steps", *columns, *(["faults"] if columns is ESTIMATORS else [])]
        print_table(headings, texts, left=0, failed=failed)
    if found.exponents is not None:
        per_step = found.exponents.exponents
        text = f"Lyapunov exponents per step: {', '.join(f'{value:.3g}' for value in per_step)}"
        if found.step_time is not None:
            text += f"; per second: {', '.join(f'{value / found.step_time:.3g}' for value in per_step)}"
        print(f"{text} (error of the first {found.exponents.errors[0]:.1g} per step)")
    beyond = "none within the horizons" if found.crossover is None else f"{found.crossover:.3g} steps"
    print(f"FoBG has more variance than ZoBG from: {beyond}")
    print(f"contact events: {found.contact_events}, from {found.contacts_from}")
    for failure in found.failures:
        print(f"diverged: {failure}")
    print(f"verdict: {found.verdict}")
    for one in found.recommendations:
        print(f"  {one.name} {'none' if one.value is None else one.value}: {one.reason}")
    here, settings = content["machine"], found.settings
    print(
        f"seed {settings.seed}, {settings.samples} samples, sigma {settings.sigma:g}, {settings.precision} on "
        f"{content['device']}; pliant {content['versions']['pliant']}, taichi {content['versions']['taichi']}; "
        f"{here['processor']}, {here['cores']} cores, {here['platform']}, {here['date']}"
    )
