"""``pliant replay``: play the saved actions or the saved policy of a run again and write the video."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import tyro

from pliant.scripts.errors import CommandError

if TYPE_CHECKING:
    from pliant.scripts.runs import RunFolder

SCORE_TOLERANCE = 1e-3


@dataclass
class Arguments:
    """Play the saved actions or the saved policy of a run again, compare the score and write the video.

    Examples:
      pliant replay runs/finger
      pliant replay runs/finger-shac --seed 7
    """

    run: tyro.conf.Positional[str]
    """Folder of a run, as `pliant optimize`, `pliant train` and `pliant demo` write it."""
    out: str = ""
    """Folder for the video; empty writes into the run itself."""
    seed: int = -1
    """Seed of the episode that a policy plays; -1 takes that of the run's own video."""


def run(arguments: Arguments) -> int:
    """Read the run, record the episode, write ``replay.mp4``."""
    from pliant.scripts import video
    from pliant.scripts.registry import resolve
    from pliant.scripts.runs import RunFolder

    source = RunFolder(arguments.run)
    config = source.read_json("config.json")
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
    play = _play_policy if "algorithm" in config else _play_actions
    frames, value, score, stored = play(source, env_id, options, settings, arguments.seed)
    path = target.path / "replay.mp4"
    video.write_video(path, frames)
    print(f"{env_id}: score {score:.3f}, return {value:.4g}; {path}")
    if isinstance(stored, float) and abs(stored - score) > SCORE_TOLERANCE:
        print(f"the run reports a score of {stored:.3f}: versions or device differ from those in config.json")
    return 0


def _play_actions(
    source: RunFolder, env_id: str, options: dict[str, Any], settings: dict[str, Any], seed: int
) -> tuple[Any, float, float, Any]:
    """Frames, return, score and the score that the run reports, of the actions of `pliant optimize`."""
    from pliant.scripts import video
    from pliant.scripts.registry import make

    if seed >= 0:
        raise CommandError(f"seed={seed}: {source.path} holds actions for one episode; only policies play others")
    actions, _ = source.read_actions()
    stored = source.read_json("metrics.json").get("summary", {}).get("score")
    env = make(env_id, render_mode="rgb_array", **options)
    try:
        if actions.shape[1:] != env.action_space.shape or len(actions) > env.horizon:
            raise CommandError(
                f"{source.path} holds actions of shape {actions.shape}; {env_id} takes up to {env.horizon} steps of "
                f"shape {env.action_space.shape}"
            )
        return *video.record(env, actions, seed=int(settings.get("seed", 0))), stored
    finally:
        env.close()


def _play_policy(
    source: RunFolder, env_id: str, options: dict[str, Any], settings: dict[str, Any], seed: int
) -> tuple[Any, float, float, Any]:
    """The same of the policy of `pliant train`; an interrupted training has one, but reports no score yet."""
    from pliant.scripts.training_parts import TEST_SEED, record_policy

    try:
        from pliant.policies.policy_files import load_policy
    except ImportError as error:
        raise CommandError(f"policies need torch: pip install 'pliant[rl]' ({error})") from error
    policy = load_policy(source.path / "policy")
    summary: dict[str, Any] = {}
    if (source.path / "metrics.json").exists():
        summary = source.read_json("metrics.json").get("summary", {})
    own = int(summary.get("video_seed", TEST_SEED))
    stored = summary.get("video_score") if seed in (-1, own) else None
    return *record_policy(env_id, options, policy, own if seed < 0 else seed), stored
