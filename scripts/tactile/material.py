"""``pliant tactile material``: what a gel is made of, from presses of a ball."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pliant.scripts.errors import CommandError
from pliant.scripts.options import output_file

if TYPE_CHECKING:
    from pliant.scripts.tactile.options import Material


def material(arguments: Material) -> int:
    """Read the presses, fit, write the values."""
    import numpy as np
    from rich.console import Console

    from pliant.policies.files.checkpoints import replacing
    from pliant.policies.identification.gel_material import NAMES, Misfit, PressRecord, fit_material
    from pliant.scripts.progress import iteration_progress
    from pliant.scripts.runs import machine, versions
    from pliant.sims.fem.gels import gel_mesh

    out = output_file(arguments.out, ".json")
    if arguments.evaluations < 1 or arguments.seed < 0:
        raise CommandError("--evaluations must be at least 1, --seed at least 0")
    try:
        record = PressRecord.load(arguments.presses)
        mesh = gel_mesh(arguments.gel, nodes=arguments.nodes)
        misfit = Misfit(record, mesh)
    except OSError as error:
        raise CommandError(f"{arguments.presses!r} cannot be read: {error}") from None
    except ValueError as error:
        raise CommandError(str(error)) from None
    start = np.random.default_rng(arguments.seed).uniform(0.2, 0.8, len(NAMES))
    console = Console(stderr=True)
    shown = (("misfit", "misfit", ".2e"),)
    with iteration_progress(console, arguments.evaluations, label="gel", shown=shown) as show:

        def tell(count: int, value: float) -> None:
            show({"iteration": min(count, arguments.evaluations), "misfit": value})

        fit = fit_material(misfit, start, evaluations=arguments.evaluations, progress=tell)
    misfit.simulator.close()
    found: dict[str, Any] = {
        "values": fit.values,
        "misfit": fit.misfit,
        "presses": len(record.start),
        "simulated_presses": fit.simulated,
        "gel": arguments.gel,
        "nodes": len(mesh.positions),
        "source": Path(arguments.presses).name,
        "date": machine()["date"],
        "versions": versions(("pliant", "numpy", "scipy", "taichi")),
    }
    with replacing(out) as temporary:
        temporary.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    words = ", ".join(f"{name} {value:.4g}" for name, value in fit.values.items())
    console.print(f"{words}; misfit {fit.misfit:.3g}; written to {out}", highlight=False, soft_wrap=True)
    return 0
