"""``pliant train``: train a closed-loop policy and write a run folder."""

from __future__ import annotations

from pliant.scripts.errors import CommandError
from pliant.scripts.options import check_range
from pliant.scripts.training.options import Arguments


def run(arguments: Arguments) -> int:
    """Check everything cheap, train, write the folder."""
    for name, least in (("steps", 0), ("minutes", 0), ("num_envs", 0), ("evaluate_every", 0)):
        value = getattr(arguments, name)
        if not least <= value < float("inf"):
            raise CommandError(f"{name}={value} must be at least {least}")
    check_range("seed", arguments.seed, 0, 2**32 - 1)
    check_range("checkpoint_seconds", arguments.checkpoint_seconds, 0.0, 1e9)
    if not 1 <= arguments.evaluation_episodes <= 100_000:
        raise CommandError(f"evaluation_episodes={arguments.evaluation_episodes} must be at least 1, at most 100000")
    if not arguments.steps and not arguments.minutes:
        raise CommandError("give the training a budget: --steps, --minutes or both")
    arguments.keywords()  # a wrong --set is refused before a folder is made
    from pliant.scripts.environments import resolve, short_name
    from pliant.scripts.runs import RunFolder

    env_id = resolve(arguments.environment)
    folder = RunFolder(arguments.out or f"runs/{short_name(env_id)}-{arguments.algo}-seed{arguments.seed}")
    with folder.claim(resume=arguments.resume, overwrite=arguments.overwrite):
        try:
            import torch  # noqa: F401  the extra ``rl``
        except ImportError as error:
            raise CommandError("training needs torch and stable-baselines3: pip install 'pliant[rl]'") from error
        from pliant.scripts.training.session import Training

        Training(env_id, arguments, folder).run()
    return 0
