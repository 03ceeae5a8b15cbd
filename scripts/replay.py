"""``pliant replay``: simulate the saved actions of a run again and write the video."""

from __future__ import annotations

from dataclasses import dataclass

import tyro

from pliant.scripts.errors import CommandError

SCORE_TOLERANCE = 1e-3


@dataclass
class Arguments:
    """Simulate the saved actions of a run again, compare the score and write the video.

    Example:
      pliant replay runs/finger
    """

    run: tyro.conf.Positional[str]
    """Folder of a run, as `pliant optimize` and `pliant demo` write it."""
    out: str = ""
    """Folder for the video; empty writes into the run itself."""


def run(arguments: Arguments) -> int:
    """Read the run, record the episode, write ``replay.mp4``."""
    from pliant.scripts import video
    from pliant.scripts.registry import make, resolve
    from pliant.scripts.runs import RunFolder

    source = RunFolder(arguments.run)
    config = source.read_json("config.json")
    actions, _ = source.read_actions()
    stored = source.read_json("metrics.json").get("summary", {}).get("score")
    settings, options = config.get("settings"), config.get("environment_options")
    if (
        not isinstance(config.get("environment"), str)
        or not isinstance(settings, dict)
        or not isinstance(options, dict)
    ):
        raise CommandError(f"{source.path / 'config.json'} lacks environment, environment_options or settings")
    env_id = resolve(config["environment"])
    target = RunFolder(arguments.out or source.path)
    target.prepare()
    env = make(env_id, render_mode="rgb_array", **options)
    try:
        if actions.shape[1:] != env.action_space.shape or len(actions) > env.horizon:
            raise CommandError(
                f"{source.path} holds actions of shape {actions.shape}; {env_id} takes up to {env.horizon} steps of "
                f"shape {env.action_space.shape}"
            )
        frames, value, score = video.record(env, actions, seed=int(settings.get("seed", 0)))
    finally:
        env.close()
    path = target.path / "replay.mp4"
    video.write_video(path, frames)
    print(f"{env_id}: score {score:.3f}, return {value:.4g}; {path}")
    if isinstance(stored, float) and abs(stored - score) > SCORE_TOLERANCE:
        print(f"the run reports a score of {stored:.3f}: versions or device differ from those in config.json")
    return 0
