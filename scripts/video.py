"""Episodes as videos: frames of a rollout, two of them side by side with labels, written as .mp4."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from pliant.policies.checkpoints import replacing
from pliant.scripts.errors import CommandError

FRAMES_PER_SECOND = 25
MOST_FRAMES = 150  # a few seconds to watch, a few seconds to draw
LABEL_HEIGHT = 28  # pixels


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
    """Write frames, uint8 of shape (F, height, width, 3), as H.264, atomically; odd sizes lose a row or a column."""
    import imageio_ffmpeg

    frames = np.ascontiguousarray(frames[:, : frames.shape[1] // 2 * 2, : frames.shape[2] // 2 * 2])
    size = (frames.shape[2], frames.shape[1])
    with replacing(path) as temporary:
        writer = imageio_ffmpeg.write_frames(
            str(temporary), size, fps=FRAMES_PER_SECOND, codec="libx264", quality=7, macro_block_size=2
        )
        writer.send(None)
        try:
            for frame in frames:
                writer.send(frame)
        finally:
            writer.close()


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
