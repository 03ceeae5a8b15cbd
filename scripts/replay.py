"""``pliant replay``: play the saved actions or the saved policy of a run again and write the video."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from pliant.scripts.errors import CommandError

if TYPE_CHECKING:
    from pliant.scripts.run_descriptions import RunDescription
    from pliant.scripts.runs import RunFolder

SCORE_TOLERANCE = 1e-3


@dataclass
class Arguments:
    """Play the saved actions or the saved policy of a run again, compare the score and write the video.

    Examples:
      pliant replay runs/finger
      pliant replay runs/finger-shac --seed 7
    """

    run: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RUN")]
    """Folder of a run, as `pliant optimize`, `pliant train` and `pliant demo` write it."""
    out: str = ""
    """Folder for the video; empty writes into the run itself."""
    seed: int = -1
    """Seed of the episode that a policy plays; -1 takes that of the run's own video."""


def run(arguments: Arguments) -> int:
    """Read the run, record the episode, write ``replay.mp4``."""
    from pliant.scripts import video
    from pliant.scripts.run_descriptions import read_description
    from pliant.scripts.runs import RunFolder

    source = RunFolder(arguments.run)
    described = read_description(source)
    play = _play_policy if described.is_training else _play_actions
    target = RunFolder(arguments.out or source.path)
    target.prepare()
    frames, value, score, stored = play(source, described, arguments.seed)
    path = target.path / "replay.mp4"
    video.write_video(path, frames)
    print(f"{described.environment}: score {score:.3f}, return {value:.4g}; {path}")
    if stored is not None and abs(stored - score) > SCORE_TOLERANCE:
        print(f"the run reports a score of {stored:.3f}: versions or device differ from those in config.json")
    return 0


def _play_actions(source: RunFolder, described: RunDescription, seed: int) -> tuple[Any, float, float, float | None]:
    """Frames, return, score and the score that the run reports, of the actions of `pliant optimize`."""
    from pliant.scripts import video
    from pliant.scripts.environments import make
    from pliant.scripts.run_descriptions import read_summary

    if seed >= 0:
        raise CommandError(f"seed={seed}: {source.path} holds actions for one episode; only policies play others")
    actions, _ = source.read_actions()
    stored = read_summary(source).get("score")
    env_id = described.environment
    env = make(env_id, render_mode="rgb_array", **described.options)
    try:
        if actions.shape[1:] != env.action_space.shape or not 1 <= len(actions) <= env.horizon:
            raise CommandError(
                f"{source.path / 'actions.npz'} holds actions of shape {actions.shape}; {env_id} takes 1 to "
                f"{env.horizon} steps of shape {env.action_space.shape}"
            )
        return *video.record(env, actions, seed=described.seed), stored
    finally:
        env.close()


def _play_policy(source: RunFolder, described: RunDescription, seed: int) -> tuple[Any, float, float, float | None]:
    """The same of the policy of `pliant train`; an interrupted training has one, but reports no score yet."""
    from pliant.scripts.run_descriptions import read_summary
    from pliant.scripts.training.seeds import TEST_SEED
    from pliant.scripts.video import record_policy

    try:
        from pliant.policies.networks.policy_files import load_policy
    except ImportError as error:
        raise CommandError(f"policies need torch: pip install 'pliant[rl]' ({error})") from error
    policy = load_policy(source.path / "policy")
    summary = read_summary(source) if (source.path / "metrics.json").exists() else {}
    own = summary.get("video_seed", TEST_SEED)
    stored = summary.get("video_score") if seed in (-1, own) else None
    return *record_policy(described.environment, described.options, policy, own if seed < 0 else seed), stored
