"""``pliant optimize``: optimise the actions of one episode, at once or as it goes, and write a run folder."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass, fields, replace
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from pliant.policies.trajectory.settings import (
    POPULATION,
    CemSettings,
    CmaesSettings,
    GradientSettings,
    LbfgsSettings,
    MpcSettings,
    MppiSettings,
    RandomSearchSettings,
    SamplingSettings,
    TrajectorySettings,
    check_settings,
)
from pliant.scripts.errors import CommandError
from pliant.scripts.options import EnvironmentOptions

if TYPE_CHECKING:
    from pliant.envs.timing import Timing
    from pliant.policies.trajectory.episode import Result
    from pliant.scripts.runs import RunFolder

SETTINGS: dict[str, type[TrajectorySettings]] = {
    "gradient": GradientSettings,
    "lbfgs": LbfgsSettings,
    "cmaes": CmaesSettings,
    "cem": CemSettings,
    "mppi": MppiSettings,
    "random-search": RandomSearchSettings,
}
SHARED = ("environment", "method", "environment_options", "settings", "control")  # what a run goes on with
EXTENDABLE = ("iterations", "max_simulated_steps", "max_seconds", "target_score")
MOST_WORLDS = 32  # simulated at a time, unless the flag says otherwise


@dataclass
class RunOptions:
    """What is optimised, how, and where the run is written."""

    environment: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="ENV")] = tyro.MISSING
    """Environment, for example FingerReach or pliant/FingerReach-v0 (see `pliant list`)."""
    method: Literal["gradient", "lbfgs", "cmaes", "cem", "mppi", "random-search"] = "gradient"
    """Optimiser: Adam or L-BFGS on the analytic gradient; CMA-ES, the cross-entropy method, MPPI or random search."""
    max_simulated_steps: Annotated[int, tyro.conf.arg(aliases=("--budget",))] = 0
    """Stop before the forward environment steps would exceed this number; 0 sets no limit."""
    out: str = ""
    """Folder of the run; empty makes runs/ENVIRONMENT-METHOD-seedSEED."""
    resume: bool = False
    """Go on with the run in the folder, up to a larger number of iterations or after an interruption."""
    overwrite: bool = False
    """Replace the run that the folder holds."""
    video: bool = True
    """Write a video of the episode before and after."""
    worlds: int = 0
    """Methods with populations: candidates simulated at a time, in one batch; 0 takes the whole one, up to 32."""


@dataclass
class Arguments(
    RunOptions,
    EnvironmentOptions,
    GradientSettings,
    LbfgsSettings,
    CmaesSettings,
    CemSettings,
    MppiSettings,
    RandomSearchSettings,
    MpcSettings,
):
    """Optimise the actions of one episode: by its analytic gradient (Adam, L-BFGS), or by simulating populations of
    candidates (CMA-ES, cross-entropy method, MPPI, random search); at once, or over a receding horizon.

    Examples:
      pliant optimize FingerReach --iterations 50 --out runs/finger
      pliant optimize FingerReach --method lbfgs --iterations 40
      pliant optimize FingerReach --method cmaes --parametrisation knots --budget 20000
      pliant optimize FingerReach --method cem --parametrisation knots --knots 8 --knot-degree 3
      pliant optimize FingerReach --method mppi --parametrisation sinusoids --sigma-decay 0.97
      pliant optimize FingerReach --method random-search --parametrisation knots --sampling around-best
      pliant optimize ArmReach --set target_speed=0.1 --receding-horizon 10 --iterations 8
      pliant optimize FingerReach --iterations 100 --out runs/finger --resume
    """


def run(arguments: Arguments) -> int:
    """Check everything cheap, optimise, write the folder."""
    settings = pick_settings(arguments)
    check_settings(settings)
    control = MpcSettings(**{field.name: getattr(arguments, field.name) for field in fields(MpcSettings)})
    check_settings(control)
    if arguments.worlds < 0:
        raise CommandError(f"worlds={arguments.worlds} must be 0 (automatic) or positive")
    keywords = arguments.keywords()
    from pliant.scripts.environments import resolve, short_name
    from pliant.scripts.runs import RunFolder

    env_id = resolve(arguments.environment)
    taken = {name: value for name, value in defaults_for(arguments).items() if getattr(settings, name) == value}
    if taken:
        print(f"settings for {short_name(env_id)}: {flags_of(taken)}", file=sys.stderr)
    kind = f"{arguments.method}-mpc" if control.receding_horizon else arguments.method
    folder = RunFolder(arguments.out or f"runs/{short_name(env_id)}-{kind}-seed{arguments.seed}")
    with folder.claim(resume=arguments.resume, overwrite=arguments.overwrite):
        execute(
            env_id,
            arguments.method,
            settings,
            keywords,
            folder,
            control=control,
            resume=arguments.resume,
            worlds=arguments.worlds,
            video=arguments.video,
        )
    return 0


def defaults_for(arguments: Arguments) -> dict[str, Any]:
    """Settings that suit the environment better than the method's own defaults, where no flag says otherwise.

    They are those of whole episodes: plans over a receding horizon take the method's own.
    """
    from pliant.scripts.environments import resolve
    from pliant.scripts.hyperparameters import hyperparameters

    env_id = resolve(arguments.environment)
    return {} if arguments.receding_horizon else hyperparameters(env_id, arguments.method)


def flags_of(settings: dict[str, Any]) -> str:
    """Settings as they are written on the command line."""
    return " ".join(f"--{name.replace('_', '-')} {value}" for name, value in settings.items())


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
    control: MpcSettings | None = None,
    resume: bool = False,
    worlds: int = 0,
    video: bool = True,
) -> Result:
    """Optimise and write all files of the run folder; what ``optimize`` and ``demo`` have in common.

    The folder is as it was until the first iteration is over: what is refused or stopped before costs no earlier run.
    A run that is stopped later leaves the checkpoint of its last iteration and the best actions so far.
    """
    from rich.console import Console

    from pliant.envs.timing import NO_TIME
    from pliant.scripts.course import Course
    from pliant.scripts.environments import make
    from pliant.scripts.interrupts import interrupts
    from pliant.scripts.runs import machine, versions

    console = Console(stderr=True)
    control = control or MpcSettings()
    receding = control.receding_horizon > 0
    config = {
        "environment": env_id,
        "environment_options": env_options,
        "method": method,
        "settings": asdict(settings),
        "control": asdict(control) if receding else {},
        "versions": versions(),
        "machine": machine(),
    }
    state, earlier = _stored_state(folder, config, console) if resume else (None, NO_TIME)
    with console.status(f"making {env_id}"):
        simulated = replace(settings, horizon=control.receding_horizon) if receding else settings
        env = _make_environment(env_id, simulated, env_options, worlds)
        controlled = make(env_id, **env_options) if receding else None
    course = Course(console, folder, config, env, settings, control, controlled, state, earlier)
    try:
        with interrupts() as course.interrupts:
            result = course.run()
            if video:
                with console.status("recording the video"):
                    write_before_and_after(
                        env_id, env_options, settings.seed, result.initial_actions, result.actions, folder
                    )
    except (KeyboardInterrupt, SystemExit):
        with course.interrupts.held():
            course.keep()
        raise
    finally:
        env.close()
        if controlled is not None:
            controlled.close()
    _report(console, result, folder)
    return result


def write_before_and_after(
    env_id: str, env_options: dict[str, Any], seed: int, initial_actions: Any, actions: Any, folder: RunFolder
) -> None:
    """``video.mp4``: the episodes of two action sequences side by side, with their scores."""
    from pliant.scripts import video
    from pliant.scripts.environments import make

    env = make(env_id, render_mode="rgb_array", **env_options)
    try:
        clips = {}
        for label, sequence in (("before", initial_actions), ("after", actions)):
            frames, _, score = video.record(env, sequence, seed=seed)
            clips[f"{label}: score {score:.2f}   (speed x {video.playing_speed(env, len(sequence)):.2g})"] = frames
    finally:
        env.close()
    video.write_video(folder.path / "video.mp4", video.side_by_side(clips))


def _make_environment(env_id: str, settings: TrajectorySettings, env_options: dict[str, Any], worlds: int) -> Any:
    """The environment that candidates are simulated in: differentiable, or a batch for a method with populations."""
    from pliant.scripts.environments import make, make_vector

    if not isinstance(settings, SamplingSettings):
        return make(env_id, differentiable=True, **env_options)
    if worlds == 0:
        worlds = min(_population(env_id, settings, env_options), MOST_WORLDS)
    return make(env_id, **env_options) if worlds == 1 else make_vector(env_id, worlds, **env_options)


def _population(env_id: str, settings: SamplingSettings, env_options: dict[str, Any]) -> int:
    """Candidates per population."""
    if not isinstance(settings, CmaesSettings):
        return settings.population or POPULATION
    from pliant.policies.trajectory.cmaes import population_size
    from pliant.policies.trajectory.episode import settle_parametrisation
    from pliant.scripts.environments import make

    env = make(env_id, **env_options)
    try:
        return population_size(settings, settle_parametrisation(env, settings, None))
    finally:
        env.close()


def _stored_state(folder: RunFolder, config: dict[str, Any], console: Any) -> tuple[Any, Timing]:
    """The state to go on from, None if there is none yet, and the time simulated; the run must be the same one.

    Raises:
        CommandError: the folder holds a run of other settings, or a broken one.
    """
    from pliant.envs.timing import NO_TIME, Timing
    from pliant.scripts.course import optimizer_of

    if not folder.can_resume():
        folder.say_that_it_starts(console)
        return None, NO_TIME
    folder.check_same_run(config, shared=SHARED, may_differ=EXTENDABLE)
    arrays = folder.read_checkpoint()
    try:
        module = (
            import_module("pliant.policies.trajectory.mpc") if config["control"] else optimizer_of(config["method"])
        )
        name = "MpcState" if config["control"] else SETTINGS[config["method"]].__name__.replace("Settings", "State")
        timing = Timing(*map(float, arrays["timing"])) if "timing" in arrays else NO_TIME
        return getattr(module, name).from_arrays(arrays), timing
    except (KeyError, ValueError) as error:
        raise CommandError(f"cannot resume {folder.path}: its checkpoint is of another kind ({error})") from error


def _report(console: Any, result: Result, folder: RunFolder) -> None:
    first = result.history[0]["score"] if result.history else float("nan")
    console.print(
        f"score {first:.3f} -> [bold]{result.score:.3f}[/bold], return {result.value:.4g}, "
        f"{result.simulated_steps:,} simulated steps, {result.seconds:.1f} s; written to {folder.path}",
        highlight=False,
    )
