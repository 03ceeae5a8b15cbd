"""``pliant rods view``: a video of a recording and its prediction, side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pliant.scripts.errors import CommandError
from pliant.scripts.options import output_file
from pliant.scripts.rods.inputs import lost, mendable, read_parameters, read_wire

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from pliant.envs.rods.wires.recordings import Recording
    from pliant.scripts.rods.options import View

SIZE = (448, 448)  # width and height of each picture [pixels]
RADIUS = 0.006  # of the drawn wire [m]
COLORS = ((0.16, 0.36, 0.62), (0.83, 0.44, 0.14), (0.24, 0.52, 0.28))  # of the rods, by their numbers
HELD = (0.25, 0.25, 0.27)  # of edges between clamped vertices


def view(arguments: View) -> int:
    """Predict, draw, write."""
    out = output_file(arguments.out, ".mp4")
    from rich.console import Console

    from pliant.policies.identification.protocol import score
    from pliant.scripts import video

    recording = _recording(arguments)
    parameters = read_parameters(arguments.parameters, recording.object)
    from pliant.policies.identification.wires import check_start, predict

    mendable(check_start, [recording], parameters)

    console = Console(stderr=True)
    with console.status(f"{recording.name}: predicting"):
        (prediction,) = predict([recording], parameters, precision=arguments.precision)
    found = score([recording], [prediction])
    with console.status(f"{recording.name}: drawing") as status:
        clips = {}
        for name, positions in (("recorded", recording.positions), ("predicted", prediction)):
            status.update(f"{recording.name}: drawing what was {name}")
            label = f"{recording.object} {recording.name}, {name}"
            clips[label if name == "recorded" else f"predicted: rmse {found.rmse * 1e3:.0f} mm"] = draw(
                recording, positions, also=(recording.positions, prediction)
            )
        video.write_video(out, video.side_by_side(clips))
    if lost([recording]):
        print(lost([recording]))
    print(f"{recording.name}: l1 {found.l1:.4f} m, rmse {found.rmse:.4f} m; {out}")
    return 0


def draw(recording: Recording, positions: np.ndarray, *, also: Sequence[np.ndarray]) -> np.ndarray:
    """Pictures of a wire with vertices ``positions`` (T, n, 3) [m] in real time; the camera sees all of ``also``.

    Returns:
        Frames, uint8 of shape (F, height, width, 3).
    """
    import numpy as np

    from pliant.scripts.video import FRAMES_PER_SECOND
    from pliant.sims.camera.camera import Camera
    from pliant.sims.camera.renderer import Renderer

    points = np.concatenate([array.reshape(-1, 3) for array in also])
    low, high = points.min(axis=0) - RADIUS, points.max(axis=0) + RADIUS
    camera = Camera.frame_scene(low.tolist(), high.tolist(), 3, aspect=SIZE[0] / SIZE[1])
    renderer = Renderer(*SIZE)
    stride = max(1, round(1.0 / (FRAMES_PER_SECOND * recording.dt)))
    edges = np.stack([recording.parents[1:], np.arange(1, len(recording.parents))], axis=1)
    none, colors, ground = np.zeros((0, 3)), colors_of(recording), float(low[2]) - 0.05
    return np.stack(
        [
            renderer.render(none, HELD, RADIUS, camera, chains=[(frame, edges, RADIUS, colors)], ground=ground)
            for frame in positions[::stride]
        ]
    )


def colors_of(recording: Recording) -> np.ndarray:
    """Colour of each edge, shape (n - 1, 3): that of its rod, or grey between vertices that are held."""
    import numpy as np

    assert recording.branch is not None
    held = np.isin(recording.parents[1:], recording.clamped) & np.isin(
        np.arange(1, len(recording.parents)), recording.clamped
    )
    rods = np.array(COLORS)[recording.branch[1:] % len(COLORS)]
    return np.where(held[:, None], HELD, rods)


def _recording(arguments: View) -> Recording:
    """The file that is named, or of a wire the evaluation recording that is asked for."""
    from pliant.envs.rods.wires.recordings import SUFFIXES, load

    path = Path(arguments.wire).expanduser()
    if arguments.object and path.suffix in SUFFIXES:
        return mendable(load, path, name=arguments.object)
    wire = read_wire(arguments.wire, arguments.data)
    if wire.place is not None and wire.place.is_file():
        return mendable(load, wire.place, name=wire.name)
    found = {recording.name: recording for recording in mendable(wire.recordings, "eval")}
    name = arguments.recording or next(iter(found))
    if name not in found:
        raise CommandError(f"recording={name!r} is unknown; {arguments.wire} has {', '.join(found)}")
    return found[name]
