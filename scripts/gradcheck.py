"""``pliant gradcheck``: analytic gradients against central differences, as a table."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from pliant.scripts.errors import CommandError
from pliant.scripts.options import check_range, task_options

if TYPE_CHECKING:
    from pliant.policies.gradcheck import GradientRow


@dataclass
class Arguments:
    """Compare the gradient of an episode with central differences, for actions, initial state and every parameter.

    The exit status is 1 if any error exceeds the tolerance.

    Examples:
      pliant gradcheck FingerReach
      pliant gradcheck ArmReach --set target_speed=0.1
      pliant gradcheck --all --json > gradients.json
    """

    environment: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="[ENV]")] = ""
    """Environment (see `pliant list`)."""
    all: bool = False
    """Check all environments."""
    precision: Literal["f32", "f64"] = "f64"
    """f64: against central differences; f32: angle to the float64 gradient."""
    steps: int = 20
    """Environment steps of the episode."""
    directions: int = 2
    """Random directions per quantity."""
    seed: int = 0
    """Seed of the episode, the actions and the directions."""
    tolerance: float = 0.0
    """Largest error that passes; 0 takes 1e-4 relative (f64), or 1e-3 for one minus the cosine (f32)."""
    resolution: Literal["small", "full"] = "small"
    """Size of the simulation."""
    arm: Literal["none", "panda", "iiwa"] = "none"
    """Robot arm that holds each end effector; actions are then joint velocities."""
    set: str = ""
    """The task's own numbers and words: NAME=VALUE,NAME=VALUE,... (see its documentation); not with --all."""
    json: bool = False
    """Print a JSON list instead of a table."""


def run(arguments: Arguments) -> int:
    """Check, print, and return 1 if anything failed."""
    if arguments.all == bool(arguments.environment):
        raise CommandError("name one environment, or pass --all")
    if arguments.all and arguments.set:
        raise CommandError(f"set={arguments.set!r} is for one environment, not for --all")
    task = task_options(arguments.set)
    check_range("steps", arguments.steps, 1, 100_000)
    check_range("directions", arguments.directions, 1, 1000)
    check_range("seed", arguments.seed, 0, 2**63 - 1)
    check_range("tolerance", arguments.tolerance, 0.0, 1e9)
    from rich.console import Console

    from pliant.policies.gradcheck import check_gradients
    from pliant.scripts.environments import registered_ids, resolve
    from pliant.scripts.runs import plain

    ids = registered_ids() if arguments.all else [resolve(arguments.environment)]
    console = Console(stderr=True)
    rows: list[GradientRow] = []
    for env_id in ids:
        with console.status(f"{env_id}: gradient") as status:
            rows += check_gradients(
                env_id,
                precision=arguments.precision,
                steps=arguments.steps,
                seed=arguments.seed,
                directions=arguments.directions,
                tolerance=arguments.tolerance or None,
                on_row=lambda row, status=status: status.update(f"{row.environment}: {row.quantity} done"),  # type: ignore[misc]
                resolution=arguments.resolution,
                arm=arguments.arm,
                **task,
            )
    if arguments.json:
        print(json.dumps(plain([row.to_dict() for row in rows]), indent=2))
    else:
        _print_table(rows, arguments.precision)
    return 0 if all(row.passed for row in rows) else 1


def _print_table(rows: list[GradientRow], precision: str) -> None:
    from pliant.scripts.environments import short_name
    from pliant.scripts.tables import print_table

    if precision == "f64":
        values = ["analytic", "differences", "relative error"]
    else:
        values = ["norm f32", "norm f64", "1 - cosine"]
    texts = [
        [
            short_name(row.environment),
            row.quantity,
            f"{row.entries:,}",
            f"{row.analytic:.6g}",
            f"{row.numeric:.6g}",
            f"{row.error:.1e}",
            "passed" if row.passed else "FAILED",
        ]
        for row in rows
    ]
    failed = [index for index, row in enumerate(rows) if not row.passed]
    print_table(["environment", "quantity", "entries", *values, ""], texts, left=2, failed=failed)
    if rows:
        print(f"{len(rows) - len(failed)} of {len(rows)} passed (tolerance {rows[0].tolerance:g})")
