"""``pliant gallery``: a picture of every environment, or stills of runs, tiled into one image."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from pliant.scripts.errors import CommandError
from pliant.scripts.options import check_range, output_file

if TYPE_CHECKING:
    import numpy as np

GAP = 6  # white pixels between tiles
SAMPLES = 2  # pictures are drawn this many times finer on each axis and averaged
STEPS = 25  # of the episode that leads to a picture
SWING = 0.3  # amplitude of the first actions
ITERATIONS = 4  # of the gradient, each moving the actions by a root mean square of STRIDE
STRIDE = 0.4
MARGIN = 0.3  # around a body seen close up, in parts of its extent
SIZES = (64, 1024)
MOST_COLUMNS = 16


@dataclass
class Arguments:
    """Draw every environment after a few gradient steps on a short episode, or stills of the videos of runs, all in one
    image.

    Examples:
      pliant gallery --out gallery.png
      pliant gallery --out gallery.png --columns 7 --size 160
      pliant gallery runs/torus runs/rope --out stills.png --size 128
    """

    runs: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="[RUN [RUN ...]]")] = ()
    """Folders of runs with a video: its beginning, middle and end. None: every environment."""
    out: str = "gallery.png"
    """Image to write (.png); an earlier one is replaced."""
    size: int = 360
    """Width and height of each picture in pixels."""
    columns: int = 3
    """Pictures, or runs, in a row."""


def run(arguments: Arguments) -> int:
    """Draw, tile and write."""
    out = output_file(arguments.out, ".png")
    check_range("size", arguments.size, *SIZES)
    check_range("columns", arguments.columns, 1, MOST_COLUMNS)
    import imageio.v3 as imageio

    from pliant.envs import ENTRIES
    from pliant.policies.files.checkpoints import replacing

    pictures = {}
    for folder in arguments.runs:
        name, picture = stills(folder, arguments.size)
        pictures[name] = picture
    for entry in () if arguments.runs else ENTRIES:
        print(entry.id, flush=True)
        pictures[entry.id] = portrait(entry.id, arguments.size)
    image = tiled(captioned(pictures), arguments.columns)
    with replacing(out) as temporary:
        imageio.imwrite(temporary, image, optimize=True)
    print(out)
    return 0


def portrait(env_id: str, size: int, **options: Any) -> np.ndarray:
    """The end of the best short episode that a few gradient steps find from sinusoidal actions.

    Args:
        env_id: which environment.
        size: width and height of the picture [pixels].
        options: keywords of the environment.

    Returns:
        uint8 of shape (size, size, 3).
    """
    import numpy as np

    from pliant.scripts.environments import make

    env = make(env_id, render_mode="rgb_array", differentiable=True, **options)
    try:
        count = env.action_space.shape[0]
        phase = np.arange(STEPS)[:, None] / STEPS + np.arange(count) / count
        actions = SWING * np.sin(2 * np.pi * phase)
        best, best_score = actions, -np.inf
        for _ in range(ITERATIONS):
            _, gradient = env.value_and_grad(actions, seed=0)
            if env.score > best_score:
                best, best_score = actions, env.score
            scale = max(np.sqrt(np.mean(gradient.actions**2)), np.finfo(float).tiny)
            actions = np.clip(actions + STRIDE * gradient.actions / scale, -1, 1)
        env.evaluate(best, seed=0)
        _frame(env, SAMPLES * size)
        fine = env.render().reshape(size, SAMPLES, size, SAMPLES, 3)
        return fine.mean(axis=(1, 3)).round().astype(np.uint8)
    finally:
        env.close()


def stills(folder: str, size: int) -> tuple[str, np.ndarray]:
    """First, middle and last picture of the optimised episode in the video of a run, side by side, and their caption.

    Returns:
        The environment with its score and seed, and uint8 of shape (size, 3 size, 3).
    """
    import numpy as np

    from pliant.scripts.run_descriptions import read_summary
    from pliant.scripts.runs import RunFolder
    from pliant.scripts.video import import_opencv, read_video

    run_folder = RunFolder(folder)
    summary = read_summary(run_folder)
    path = run_folder.path / "video.mp4"
    if not path.exists():
        raise CommandError(f"{path} does not exist; `pliant optimize` writes it unless told --no-video")
    film = read_video(path)
    height, width = film.shape[1], film.shape[2] // 2  # before on the left, after on the right
    if not 1 <= width <= height:
        raise CommandError(f"{path} shows no two episodes side by side, as `pliant optimize` writes them")
    shown = [film[k, height - width :, width:] for k in (0, len(film) // 2, -1)]
    resize, method = import_opencv().resize, import_opencv().INTER_AREA
    picture = np.concatenate([resize(frame, (size, size), interpolation=method) for frame in shown], axis=1)
    name = str(summary.get("environment", folder)).removeprefix("pliant/").removesuffix("-v0")
    score = summary.get("score")
    return f"{name}: {'no score' if score is None else format(score, '.2f')}, seed {summary.get('seed')}", picture


def _frame(env: Any, size: int) -> None:
    """Make the next pictures square, and close up where there is nothing to see but the body itself."""
    import numpy as np

    env.task.picture_size = (size, size)
    if not env.task.make_goal(np.random.default_rng(0)):
        position = env.state("position")
        low, high = position.min(axis=0), position.max(axis=0)
        rim = MARGIN * (high - low)
        env.task.camera_box = lambda: (low - rim, high + rim)


def captioned(pictures: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Each picture above its name; without OpenCV the pictures alone, and one sentence on stderr."""
    import numpy as np

    from pliant.scripts.video import label

    try:
        return [np.concatenate([picture, label(name, picture.shape[1])]) for name, picture in pictures.items()]
    except CommandError as error:
        print(f"{error}; the gallery has no captions", file=sys.stderr)
        return list(pictures.values())


def tiled(tiles: Sequence[np.ndarray], columns: int) -> np.ndarray:
    """Tiles of one shape (h, w, 3), uint8, in rows of at most ``columns`` on white with a gap between them."""
    import numpy as np

    height, width, _ = tiles[0].shape
    columns = min(columns, len(tiles))
    rows = -(-len(tiles) // columns)
    image = np.full((rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, 3), 255, np.uint8)
    for number, tile in enumerate(tiles):
        top, left = number // columns * (height + GAP), number % columns * (width + GAP)
        image[top : top + height, left : left + width] = tile
    return image
