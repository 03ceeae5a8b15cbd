"""``pliant rods check``: what the recordings of a wire hold, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pliant.scripts.errors import CommandError
from pliant.scripts.rods.inputs import mendable, read_wire

if TYPE_CHECKING:
    from pliant.envs.rods.wires.recordings import Recording
    from pliant.scripts.rods.options import Check


def check(arguments: Check) -> int:
    """Read every file, print a table, and the reasons why files are refused."""
    from pliant.envs.rods.wires.recordings import SPLITS, check_alike, load
    from pliant.scripts.tables import print_table

    wire = read_wire(arguments.wire, arguments.data)
    rows: list[list[str]] = []
    refused: list[str] = []
    found: list[Recording] = []
    for split in SPLITS if wire.has_splits() else ("all",):
        if wire.place is None:
            try:
                files: list[Recording | Path] = list(wire.recordings(split))
            except ValueError as error:
                if "has no recordings" not in str(error):
                    refused.append(str(error))
                continue
        else:
            folder = wire.place / split
            if split in SPLITS and not folder.is_dir():
                continue
            files = list(mendable(wire.files, split))
        for file in files:
            try:
                recording = load(file, name=wire.name) if isinstance(file, Path) else file
                rows.append([split, *_row(recording)])
                found.append(recording)
            except ValueError as error:
                refused.append(str(error))
    print_table(
        ["split", "recording", "frames", "s", "vertices", "held", "edges [m]", "edges vary by", "not seen", "left out"],
        rows,
        left=2,
    )
    try:
        check_alike(found)
    except (ValueError, IndexError) as error:
        refused.append(str(error) if found else f"{arguments.wire} has no recordings that can be read")
    if refused:
        raise CommandError("; ".join(refused))
    return 0


def _row(recording: Recording) -> list[str]:
    """Entries of the table."""
    import numpy as np

    from pliant.envs.rods.wires.recordings import mean_lengths
    from pliant.sims.rod.topology import edges

    lengths = edges(recording.positions, recording.parents)[1][:, 1:]
    seen = (recording.known & recording.known[:, recording.parents])[:, 1:]
    mean = mean_lengths([recording])[1:]
    spread = (lengths.max(axis=0, where=seen, initial=0.0) - lengths.min(axis=0, where=seen, initial=np.inf)) / mean
    return [
        recording.name,
        str(len(recording.positions)),
        f"{len(recording.positions) * recording.dt:.2f}",
        str(len(recording.parents)),
        " ".join(map(str, recording.clamped)),
        f"{mean.min():.3f} to {mean.max():.3f}",
        f"{spread.max():.0%}",
        f"{recording.missing / recording.known.size:.1%}",
        str(sum(recording.dropped)),
    ]
