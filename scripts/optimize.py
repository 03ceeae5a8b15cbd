"""``pliant optimize``: optimise the actions of one episode and write a run folder."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

import tyro

from pliant.policies.trajectory.settings import CmaesSettings, GradientSettings, TrajectorySettings, check_settings
from pliant.scripts.errors import CommandError
from pliant.scripts.options import EnvironmentOptions

if TYPE_CHECKING:
    from pliant.policies.trajectory.episode import Result
    from pliant.scripts.runs import RunFolder

SETTINGS = {"gradient": GradientSettings, "cmaes": CmaesSettings}
EXTENDABLE = ("iterations", "max_simulated_steps", "target_score")
SECONDS_BETWEEN_CHECKPOINTS = 5.0


@dataclass
class RunOptions:
    """What is optimised, how, and where the run is written."""

    environment: tyro.conf.Positional[str] = tyro.MISSING
    """Environment, for example FingerReach or pliant/FingerReach-v0 (see `pliant list`)."""
    method: Literal["gradient", "cmaes"] = "gradient"
    """Optimiser."""
    out: str = ""
    """Folder of the run; empty makes runs/ENVIRONMENT-METHOD-seedSEED."""
    resume: bool = False
    """Go on with the run in the folder, up to a larger number of iterations or after an interruption."""
    overwrite: bool = False
    """Replace the run that the folder holds."""
    video: bool = True
    """Write a video of the episode before and after."""
    worlds: int = 0
    """CMA-ES: candidates simulated at a time, in one batch; 0 takes the whole population, up to 32."""


@dataclass
class Arguments(EnvironmentOptions, GradientSettings, CmaesSettings, RunOptions):
    """Optimise the actions of one episode, by the analytic gradient or by CMA-ES.

    Examples:
      pliant optimize FingerReach --iterations 50 --out runs/finger
      pliant optimize FingerReach --method cmaes --parametrisation knots --max-simulated-steps 20000
      pliant optimize FingerReach --iterations 100 --out runs/finger --resume
    """


def run(arguments: Arguments) -> int:
    """Check everything cheap, optimise, write the folder."""
    settings = pick_settings(arguments)
    check_settings(settings)
    if arguments.worlds < 0:
        raise CommandError(f"worlds={arguments.worlds} must be 0 (automatic) or positive")
    from pliant.scripts.registry import resolve, short_name
    from pliant.scripts.runs import RunFolder

    env_id = resolve(arguments.environment)
    folder = RunFolder(arguments.out or f"runs/{short_name(env_id)}-{arguments.method}-seed{arguments.seed}")
    folder.prepare()
    if folder.holds_run() and not (arguments.resume or arguments.overwrite):
        raise CommandError(f"{folder.path} holds a run already; pass --resume, --overwrite or another --out")
    execute(
        env_id,
        arguments.method,
        settings,
        arguments.keywords(),
        folder,
        resume=arguments.resume,
        worlds=arguments.worlds,
        video=arguments.video,
    )
    return 0


def pick_settings(arguments: Arguments) -> TrajectorySettings:
    """The settings of the chosen method among all flags."""
    kind = SETTINGS[arguments.method]
    return kind(**{field.name: getattr(arguments, field.name) for field in fields(kind)})


def execute(
    env_id: str,
    method: str,
    settings: TrajectorySettings,
    env_options: dict[str, Any],
    folder: RunFolder,
    *,
    resume: bool = False,
    worlds: int = 0,
    video: bool = True,
) -> Result:
    """Optimise and write all files of the run folder; what ``optimize`` and ``demo`` have in common."""
    from rich.console import Console

    from pliant.scripts.progress import iteration_progress
    from pliant.scripts.registry import short_name
    from pliant.scripts.runs import machine, versions

    console = Console(stderr=True)
    config = {
        "environment": env_id,
        "environment_options": env_options,
        "method": method,
        "settings": asdict(settings),
        "versions": versions(),
        "machine": machine(),
    }
    state = _stored_state(folder, config) if resume else None
    with console.status(f"making {env_id}"):
        env = _make_environment(env_id, method, settings, env_options, worlds)
    folder.write_json("config.json", config)
    saved = time.monotonic()

    try:
        with iteration_progress(console, settings.iterations, label=f"{short_name(env_id)} {method}") as show:

            def on_iteration(current: Any, row: dict[str, float]) -> None:
                nonlocal saved
                show(row)
                if time.monotonic() - saved > SECONDS_BETWEEN_CHECKPOINTS or row["iteration"] == settings.iterations:
                    folder.write_checkpoint(current.to_arrays())
                    saved = time.monotonic()

            result = _optimizer(method)(env, settings, state=state, on_iteration=on_iteration)
    except KeyboardInterrupt:
        console.print(f"go on with the same command and --resume; the run so far is in {folder.path}", highlight=False)
        raise
    finally:
        env.close()
    _write_result(folder, config, result)
    if video:
        with console.status("recording the video"):
            write_before_and_after(env_id, env_options, settings.seed, result.initial_actions, result.actions, folder)
    _report(console, result, folder)
    return result


def write_before_and_after(
    env_id: str, env_options: dict[str, Any], seed: int, initial_actions: Any, actions: Any, folder: RunFolder
) -> None:
    """``video.mp4``: the episodes of two action sequences side by side, with their scores."""
    from pliant.scripts import video
    from pliant.scripts.registry import make

    env = make(env_id, render_mode="rgb_array", **env_options)
    try:
        clips = {}
        for label, sequence in (("before", initial_actions), ("after", actions)):
            frames, _, score = video.record(env, sequence, seed=seed)
            clips[f"{label}: score {score:.2f}   (speed x {video.playing_speed(env, len(sequence)):.2g})"] = frames
    finally:
        env.close()
    video.write_video(folder.path / "video.mp4", video.side_by_side(clips))


def _optimizer(method: str) -> Any:
    if method == "gradient":
        from pliant.policies.trajectory import gradient

        return gradient.optimize
    from pliant.policies.trajectory import cmaes

    return cmaes.optimize


def _make_environment(
    env_id: str, method: str, settings: TrajectorySettings, env_options: dict[str, Any], worlds: int
) -> Any:
    from pliant.scripts.registry import make, make_vector

    if method == "gradient":
        return make(env_id, differentiable=True, **env_options)
    if worlds == 0:
        worlds = _population(env_id, settings, env_options)
    return make(env_id, **env_options) if worlds == 1 else make_vector(env_id, worlds, **env_options)


def _population(env_id: str, settings: TrajectorySettings, env_options: dict[str, Any]) -> int:
    """Candidates per generation, at most 32."""
    from pliant.policies.trajectory.cmaes import population_size
    from pliant.policies.trajectory.episode import settle_parametrisation
    from pliant.scripts.registry import make

    assert isinstance(settings, CmaesSettings)
    env = make(env_id, **env_options)
    try:
        return min(population_size(settings, settle_parametrisation(env, settings, None)), 32)
    finally:
        env.close()


def _stored_state(folder: RunFolder, config: dict[str, Any]) -> Any:
    """The state to go on from, after a check that the run in the folder is the same one.

    Raises:
        CommandError: the folder holds no run, or one of other settings.
    """
    stored = folder.read_json("config.json")
    for name, now in _identity(config).items():
        before = _identity(stored).get(name)
        if before != now:
            raise CommandError(f"cannot resume {folder.path}: it was run with {name}={before!r}, not {now!r}")
    arrays = folder.read_checkpoint()
    try:
        if config["method"] == "gradient":
            from pliant.policies.trajectory.gradient import GradientState

            return GradientState.from_arrays(arrays)
        from pliant.policies.trajectory.cmaes import CmaesState

        return CmaesState.from_arrays(arrays)
    except (KeyError, ValueError) as error:
        raise CommandError(f"cannot resume {folder.path}: its checkpoint is of another kind ({error})") from error


def _identity(config: dict[str, Any]) -> dict[str, Any]:
    """What two runs must share for one to go on with the other, flat."""
    flat = {"environment": config.get("environment"), "method": config.get("method")}
    for part in ("environment_options", "settings"):
        values = config.get(part)
        flat |= {name: value for name, value in (values or {}).items() if name not in EXTENDABLE}
    return flat


def _write_result(folder: RunFolder, config: dict[str, Any], result: Result) -> None:
    folder.write_checkpoint(result.state.to_arrays())
    folder.write_actions(result.actions, result.initial_actions)
    folder.write_metrics(
        result.history,
        {
            "environment": config["environment"],
            "method": result.method,
            "seed": config["settings"]["seed"],
            "score": result.score,
            "return": result.value,
            "iterations": len(result.history),
            "simulated_steps": result.simulated_steps,
            "reverse_steps": result.reverse_steps,
            "seconds": result.seconds,
        },
    )
    folder.write_plot({result.method: result.history}, f"{config['environment']}, seed {config['settings']['seed']}")


def _report(console: Any, result: Result, folder: RunFolder) -> None:
    first = result.history[0]["score"] if result.history else float("nan")
    console.print(
        f"score {first:.3f} -> [bold]{result.score:.3f}[/bold], return {result.value:.4g}, "
        f"{result.simulated_steps:,} simulated steps, {result.seconds:.1f} s; written to {folder.path}",
        highlight=False,
    )
