"""``pliant tactile speed``: milliseconds of an image, in turns with the package taxim."""

from __future__ import annotations

import functools
import json
import statistics
import time
from typing import TYPE_CHECKING, Any

from pliant.scripts.errors import CommandError
from pliant.scripts.tactile.inputs import mendable

if TYPE_CHECKING:
    from collections.abc import Callable

    from pliant.scripts.tactile.options import Speed

SIZES = ((320, 240), (640, 480))


def speed(arguments: Speed) -> int:
    """Time each kind of image in turns, so that whatever else the machine does slows all of them."""
    if not 0.0 < arguments.contact <= 1.0:
        raise CommandError(f"contact={arguments.contact} must be > 0 and <= 1")
    if arguments.repeats < 1:
        raise CommandError(f"repeats={arguments.repeats} must be at least 1")
    calls = _calls(arguments)
    times: dict[str, list[float]] = {name: [] for name in calls}
    for repeat in range(arguments.repeats + 2):  # the first ones compile and warm up
        for name, call in calls.items():
            began = time.perf_counter()
            call()
            if repeat > 1:
                times[name].append(1e3 * (time.perf_counter() - began))
    rows = [
        {"what": name, "median_ms": statistics.median(found), "least_ms": min(found), "most_ms": max(found)}
        for name, found in times.items()
    ]
    from pliant.scripts.runs import machine, versions
    from pliant.sims.runtime import thread_count

    here = machine() | {"threads": thread_count(), **versions(("pliant", "taichi", "taxim", "torch"))}
    if arguments.json:
        print(json.dumps({"contact": arguments.contact, "images": rows, "machine": here}, indent=2))
        return 0
    from pliant.scripts.tables import print_table

    texts = [[str(r["what"]), *(f"{r[key]:.2f}" for key in ("median_ms", "least_ms", "most_ms"))] for r in rows]
    print_table(["image", "median [ms]", "least", "most"], texts, left=1)
    print(
        f"{arguments.contact:.0%} of the picture in contact; {here['processor']}, {here['cores']} cores, {here['date']}"
    )
    if "taxim" not in " ".join(calls):
        print("the package taxim (with torch and torchvision) is not installed and was not measured")
    return 0


def _calls(arguments: Speed) -> dict[str, Callable[[], Any]]:
    """What is timed, by name."""
    import numpy as np

    from pliant.scripts.tactile.taxim_peer import ball_surface, renderer
    from pliant.sims.runtime import thread_count
    from pliant.sims.sensor.optics import Optics

    calls: dict[str, Callable[[], Any]] = {}
    for width, height in SIZES:
        optics = mendable(functools.partial(Optics.load, size=(width, height)), arguments.calibration)
        normals, touched, _ = ball_surface(width, height, min(arguments.contact, 0.58))
        if arguments.contact > 0.58:  # more than a disc covers: all pixels
            touched = np.ones_like(touched)
        normals = normals.astype(np.float32)
        _, kept = optics(normals, mask=touched)
        bar = np.ones(normals.shape, np.float32)
        calls[f"Pliant {width}x{height}"] = functools.partial(optics, normals, mask=touched)
        calls[f"Pliant {width}x{height}, adjoint"] = functools.partial(optics.adjoint, kept, bar)
    peer = renderer()
    if peer is not None:
        import torch

        torch.set_num_threads(thread_count())
        width, height = SIZES[-1]
        heights = torch.from_numpy(ball_surface(width, height, min(arguments.contact, 0.58))[2].astype(np.float32))
        calls[f"taxim on torch {width}x{height}, no shadows"] = lambda: peer.render(heights, with_shadow=False)
    return calls
