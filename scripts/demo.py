"""``pliant demo``: the main job in one command."""

from __future__ import annotations

from dataclasses import dataclass

from pliant.policies.trajectory.settings import GradientSettings

DEMO_ENVIRONMENT = "pliant/FingerReach-v0"


@dataclass
class Arguments:
    """Optimise a soft robot by its analytic gradient; write a video of before and after, and a plot.

    Example:
      pliant demo --out pliant-demo
    """

    environment: str = DEMO_ENVIRONMENT
    """Environment (see `pliant list`)."""
    iterations: int = 40
    """Gradient steps at most."""
    seed: int = 0
    """Seed of the episode and of the initial actions."""
    out: str = "pliant-demo"
    """Folder to write; an earlier demo in it is replaced."""
    video: bool = True
    """Write the video."""


def run(arguments: Arguments) -> int:
    """Optimise, write the folder, say where things are."""
    from pliant.policies.trajectory.settings import check_settings
    from pliant.scripts.environments import resolve
    from pliant.scripts.options import EnvironmentOptions
    from pliant.scripts.runs import RunFolder

    settings = GradientSettings(
        iterations=arguments.iterations, learning_rate=0.1, seed=arguments.seed, target_score=0.95
    )
    check_settings(settings)
    env_id = resolve(arguments.environment)
    folder = RunFolder(arguments.out)
    from pliant.scripts.optimize import execute

    with folder.claim(resume=False, overwrite=True):
        execute(env_id, "gradient", settings, EnvironmentOptions().keywords(), folder, video=arguments.video)
    for name, text in (("video.mp4", "before and after"), ("plot.png", "return and score"), ("metrics.csv", "figures")):
        if (folder.path / name).exists():
            print(f"{folder.path / name}  {text}")
    return 0
