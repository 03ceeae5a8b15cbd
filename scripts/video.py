"""Episodes as videos: frames of a rollout, two of them side by side with labels, written as .mp4."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from pliant.policies.files.checkpoints import regular_size, replacing
from pliant.scripts.errors import CommandError

FRAMES_PER_SECOND = 25
MOST_FRAMES = 150  # a few seconds to watch, a few seconds to draw
LABEL_HEIGHT = 28  # pixels
QUALITY = 15  # constant rate factor of the encoder: 0 loses nothing, 51 the most
LARGEST_VIDEO = 2**30  # bytes that are read of a file, and of its pictures
READ = ["-f", "mp4", "-protocol_whitelist", "file,pipe", "-i"]  # no playlist, which may name other files and addresses


def record(env: Any, actions: np.ndarray, *, seed: int) -> tuple[np.ndarray, float, float]:
    """Simulate ``actions``, shape (T, A), on an environment with ``render_mode="rgb_array"``.

    Every step is a frame, or every second, third ... where that makes more than ``MOST_FRAMES``; the last always is.

    Returns:
        Frames, uint8 of shape (F, height, width, 3), the return, and the score at the end.
    """
    env.reset(seed=seed)
    stride = _stride(len(actions))
    frames = [env.render()]
    value, score = 0.0, np.nan
    for step, action in enumerate(actions, start=1):
        _, reward, terminated, truncated, info = env.step(action)
        value += float(reward)
        score = float(info.get("score", np.nan))
        over = terminated or truncated or step == len(actions)
        if over or step % stride == 0:
            frames.append(env.render())
        if over:
            break
    return np.stack(frames), value, score


def playing_speed(env: Any, steps: int) -> float:
    """Simulated seconds in a second of the video of an episode of ``steps`` steps."""
    return _stride(steps) * FRAMES_PER_SECOND / env.metadata["render_fps"]


def _stride(steps: int) -> int:
    return -(-steps // MOST_FRAMES)


def side_by_side(clips: dict[str, np.ndarray]) -> np.ndarray:
    """Clips next to each other, each under its label; a clip that ends early holds its last frame.

    Args:
        clips: label to frames, uint8 of shape (F, height, width, 3), one height for all.

    Returns:
        Frames, uint8 of shape (max F, height [+ label], sum of widths, 3). Without OpenCV's system library the labels
        are left out and one sentence on stderr says so.
    """
    length = max(len(frames) for frames in clips.values())
    padded = [
        np.concatenate([frames, np.repeat(frames[-1:], length - len(frames), axis=0)]) for frames in clips.values()
    ]
    joined = np.concatenate(padded, axis=2)
    try:
        strip = np.concatenate(
            [label(text, frames.shape[2]) for text, frames in zip(clips, padded, strict=True)], axis=1
        )
    except CommandError as error:
        print(f"{error}; the video has no labels", file=sys.stderr)
        return joined
    return np.concatenate([np.broadcast_to(strip, (length, *strip.shape)), joined], axis=1)


def write_video(path: str | Path, frames: np.ndarray) -> None:
    """Write frames, uint8 of shape (F, height, width, 3), as H.264, atomically; odd sizes lose a row or a column.

    The encoder must end without an error, and the file must hold all frames, before it takes the place of an earlier
    one.

    Raises:
        ValueError: the name does not end in .mp4.
        OSError: the file cannot be written; the message names it, and nothing of it is left.
    """
    path = Path(path)
    if path.suffix != ".mp4":
        raise ValueError(f"{path} cannot be written: the name of a video must end in .mp4")
    frames = np.ascontiguousarray(frames[:, : frames.shape[1] // 2 * 2, : frames.shape[2] // 2 * 2])
    size = f"{frames.shape[2]}x{frames.shape[1]}"
    source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", size, "-r", str(FRAMES_PER_SECOND), "-i", "-"]
    encoder = ["-an", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-crf", str(QUALITY)]
    with replacing(path) as temporary:
        _ffmpeg([*source, *encoder, "-f", "mp4", "-y", _file(temporary)], frames)
        written = count_frames(temporary)
        if written != len(frames):
            raise OSError(f"{written} of {len(frames)} pictures arrived in the file")


def count_frames(path: str | Path) -> int:
    """Pictures in an .mp4 file.

    Raises:
        OSError: it is no such file.
    """
    report = _ffmpeg([*READ, _file(path), "-map", "0:v:0", "-c", "copy", "-f", "framecrc", "-"])
    return sum(not line.startswith(b"#") for line in report.splitlines())


def read_video(path: str | Path) -> np.ndarray:
    """Pictures of an .mp4 file as `write_video` makes them, uint8 of shape (F, height, width, 3).

    Raises:
        ValueError: it is no such file, or too large.
    """
    import imageio_ffmpeg

    regular_size(path, LARGEST_VIDEO)
    try:
        count = count_frames(path)
        stream = imageio_ffmpeg.read_frames(_file(path), input_params=[*READ[:-1], "-xerror"])
        try:
            width, height = next(stream)["size"]
            if not 0 < count * width * height * 3 <= LARGEST_VIDEO:
                raise OSError(f"{count} pictures of {width} x {height} pixels are none or too many")
            pictures = [np.frombuffer(picture, np.uint8).reshape(height, width, 3) for picture in stream]
        finally:
            stream.close()
    except (OSError, StopIteration) as error:
        raise ValueError(f"{path} is not a readable .mp4 file: {error}") from error
    if len(pictures) != count:
        raise ValueError(f"{path} is not a readable .mp4 file: only {len(pictures)} of {count} pictures can be decoded")
    return np.stack(pictures)


def _ffmpeg(words: list[str], given: np.ndarray | None = None) -> bytes:
    """What ffmpeg writes to its output for these arguments, with the bytes of ``given`` as its input.

    Raises:
        OSError: it ends with an error; the message is the last line that it says of it.
    """
    import imageio_ffmpeg

    done = subprocess.run(
        [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-loglevel", "error", "-xerror", *words],
        input=b"" if given is None else given.ravel().data,
        capture_output=True,
        check=False,
    )
    said = done.stderr.decode(errors="replace").strip().splitlines()
    if done.returncode < 0:
        raise OSError(f"ffmpeg was ended by {signal.Signals(-done.returncode).name}")
    if done.returncode or said:
        raise OSError(f"ffmpeg: {said[-1] if said else f'exit status {done.returncode}'}")
    return done.stdout


def _file(path: str | Path) -> str:
    """A path that ffmpeg takes for nothing but a file, whatever its name looks like."""
    return f"file:{path}"


def import_opencv() -> Any:
    """The module ``cv2``.

    Raises:
        CommandError: it cannot be loaded, mostly for want of the system library libGL.
    """
    try:
        import cv2
    except ImportError as error:
        if "libGL" in str(error) or "libgthread" in str(error):
            raise CommandError(
                f"OpenCV lacks a system library ({error}); install it (Debian and Ubuntu: libgl1, libglib2.0-0) "
                "or the package opencv-python-headless"
            ) from error
        raise CommandError(f"OpenCV cannot be imported: {error}") from error
    return cv2


def label(text: str, width: int) -> np.ndarray:
    """A strip with the text in white on dark grey, uint8 of shape (LABEL_HEIGHT, width, 3)."""
    cv2 = import_opencv()
    strip = np.full((LABEL_HEIGHT, width, 3), 32, np.uint8)
    scale = 0.55
    (text_width, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    scale = min(scale, scale * (width - 16) / max(text_width, 1))
    return cv2.putText(strip, text, (8, 19), cv2.FONT_HERSHEY_SIMPLEX, scale, (255, 255, 255), 1, cv2.LINE_AA)


def record_policy(env_id: str, env_options: dict[str, Any], policy: Any, seed: int) -> tuple[np.ndarray, float, float]:
    """An episode in closed loop: frames, return and score as of `pliant.scripts.video.record`.

    Raises:
        CommandError: the policy is of another task.
    """
    from pliant.scripts import video
    from pliant.scripts.environments import make

    env = make(env_id, render_mode="rgb_array", **{"on_divergence": "truncate", **env_options})
    try:
        observation, _ = env.reset(seed=seed)
        actions = []
        for _ in range(env.horizon):
            try:
                action = np.clip(policy.act(observation[None])[0], -1.0, 1.0)
            except (IndexError, RuntimeError, TypeError, ValueError) as error:
                raise CommandError(
                    f"the policy does not take the {len(observation)} observations of {env_id}: it is of another task"
                ) from error
            if not np.isfinite(action).all():
                raise CommandError("the policy gives actions that are not finite: its weights are broken")
            if action.shape != env.action_space.shape:
                raise CommandError(
                    f"the policy gives {action.size} actions, {env_id} takes {env.action_space.shape[0]}: it is of "
                    "another task"
                )
            actions.append(action)
            observation, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                break
        return video.record(env, np.array(actions), seed=seed)
    finally:
        env.close()
