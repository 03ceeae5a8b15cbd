"""``pliant optimize``: optimise the actions of one episode, at once or as it goes, and write a run folder."""

from __future__ import annotations

import math
import sys
import time
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
SHOWN = (
    ("return", "return", ".4g"),
    ("score", "score", ".3f"),
    ("best", "best_return", ".4g"),
    ("its score", "best_score", ".3f"),
    ("steps/s", "steps_per_second", ",.0f"),
)
SHARED = ("environment", "method", "environment_options", "settings", "control")  # what a run goes on with
EXTENDABLE = ("iterations", "max_simulated_steps", "target_score")
SECONDS_BETWEEN_CHECKPOINTS = 5.0
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
    state = _stored_state(folder, config, console) if resume else None
    with console.status(f"making {env_id}"):
        simulated = replace(settings, horizon=control.receding_horizon) if receding else settings
        env = _make_environment(env_id, simulated, env_options, worlds)
        controlled = make(env_id, **env_options) if receding else None
    course = _Course(console, folder, config, env, settings, control, controlled, state)
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


class _Course:
    """One run: its environments, its files, and how far it is."""

    def __init__(
        self,
        console: Any,
        folder: RunFolder,
        config: dict[str, Any],
        env: Any,
        settings: TrajectorySettings,
        control: MpcSettings,
        controlled: Any,
        state: Any,
    ) -> None:
        self.console, self.folder, self.config = console, folder, config
        self.env, self.settings, self.control, self.controlled, self.state = env, settings, control, controlled, state
        self.method: str = config["method"]
        self.interrupts: Any = None
        self._began = False
        self._latest: Any = None  # the state after the last iteration of this session
        self._total = settings.iterations
        self._show: Any = None
        self._saved = -math.inf
        if controlled is not None:
            from pliant.policies.trajectory.mpc import plans_of

            self._total = plans_of(settings.horizon or controlled.horizon, control)

    def run(self) -> Result:
        """Optimise, and write all files but the video."""
        from pliant.scripts.environments import short_name
        from pliant.scripts.progress import iteration_progress

        label = f"{short_name(self.config['environment'])} {self.method}" + (" receding" if self.controlled else "")
        optimizer = _module(self.method).optimize
        hooks = {"state": self.state, "on_iteration": self._on_iteration}
        with iteration_progress(self.console, self._total, label=label, shown=SHOWN) as self._show:
            if self.controlled is None:
                result = optimizer(self.env, self.settings, **hooks)
            else:
                from pliant.policies.trajectory import mpc

                result = mpc.optimize(self.controlled, self.env, optimizer, self.settings, self.control, **hooks)
        self._begin()
        _write_result(self.folder, self.config, result)
        title = f"{self.config['environment']}, seed {self.settings.seed}"
        best_by = "" if self.controlled else self.settings.best_by  # a receding horizon has one episode
        self.folder.write_plot({self.method: result.history}, title, best_by=best_by)
        return result

    def keep(self) -> None:
        """Write how far the run has come in this session: the checkpoint, the best actions, the figures."""
        if self._latest is None:
            return
        if self.controlled is None:
            from pliant.policies.trajectory.episode import interim_result

            result = interim_result(self.method, self.env, self.settings, self._latest)
        else:
            from pliant.policies.trajectory import mpc

            result = mpc.interim_result(self.controlled, self.settings, self.control, self._latest)
        _write_result(self.folder, self.config, result)

    def _begin(self) -> None:
        if not self._began:
            self.folder.begin(self.config, resumed=self.state is not None)
            self._began = True

    def _on_iteration(self, current: Any, row: dict[str, float]) -> None:
        self._begin()
        self._latest = current.copy()
        self._show(row | _progress(row, self._total, self.settings.max_simulated_steps))
        if time.monotonic() - self._saved > SECONDS_BETWEEN_CHECKPOINTS or row["iteration"] == self._total:
            self.folder.write_checkpoint(current.to_arrays())
            self._saved = time.monotonic()
        self.interrupts.check()


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


def _module(method: str) -> Any:
    """The module of a method: its file in ``policies/trajectory``."""
    return import_module(f"pliant.policies.trajectory.{method.replace('-', '_')}")


def _progress(row: dict[str, float], iterations: int, budget: int) -> dict[str, float]:
    """What the bar shows beside the row: simulated steps a second, and the iterations that the budget allows."""
    allowed = budget * row["iteration"] / row["simulated_steps"] if budget and row["simulated_steps"] else iterations
    return {"steps_per_second": row["simulated_steps"] / max(row["seconds"], 1e-9), "of": min(iterations, allowed)}


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


def _stored_state(folder: RunFolder, config: dict[str, Any], console: Any) -> Any:
    """The state to go on from, after a check that the run in the folder is the same one; None if there is none yet.

    Raises:
        CommandError: the folder holds a run of other settings, or a broken one.
    """
    if not folder.can_resume():
        folder.say_that_it_starts(console)
        return None
    folder.check_same_run(config, shared=SHARED, may_differ=EXTENDABLE)
    arrays = folder.read_checkpoint()
    try:
        module = import_module("pliant.policies.trajectory.mpc") if config["control"] else _module(config["method"])
        name = "MpcState" if config["control"] else SETTINGS[config["method"]].__name__.replace("Settings", "State")
        return getattr(module, name).from_arrays(arrays)
    except (KeyError, ValueError) as error:
        raise CommandError(f"cannot resume {folder.path}: its checkpoint is of another kind ({error})") from error


def _write_result(folder: RunFolder, config: dict[str, Any], result: Result) -> None:
    folder.write_checkpoint(result.state.to_arrays())
    folder.write_actions(result.actions, result.initial_actions)
    folder.write_metrics(
        result.history,
        {
            "environment": config["environment"],
            "method": config["method"],
            "seed": config["settings"]["seed"],
            "score": result.score,
            "return": result.value,
            "iterations": len(result.history),
            "simulated_steps": result.simulated_steps,
            "reverse_steps": result.reverse_steps,
            "seconds": result.seconds,
        },
    )


def _report(console: Any, result: Result, folder: RunFolder) -> None:
    first = result.history[0]["score"] if result.history else float("nan")
    console.print(
        f"score {first:.3f} -> [bold]{result.score:.3f}[/bold], return {result.value:.4g}, "
        f"{result.simulated_steps:,} simulated steps, {result.seconds:.1f} s; written to {folder.path}",
        highlight=False,
    )
