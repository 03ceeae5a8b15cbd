"""What ``pliant train`` does: settings, budget, rows, evaluations, checkpoints and the files of the run.

config.json      what is trained: environment and its options, algorithm, settings, versions, machine
checkpoint.npz   what `--resume` goes on from
metrics.csv      one row per iteration
metrics.json     the same rows, the evaluations, and a summary
policy.npz/.json the best policy of the evaluations
plot.png         return and score against simulated steps and against seconds
video.mp4        an episode with that policy
tensorboard/     logs
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib import import_module
from typing import TYPE_CHECKING, Any

from pliant.policies.files.checkpoints import load_arrays
from pliant.policies.networks.policy_files import LEARNED, load_policy, save_policy
from pliant.scripts.errors import CommandError
from pliant.scripts.runs import available_memory
from pliant.scripts.training.seeds import EVALUATION_SEED, TEST_SEED
from pliant.scripts.training.settings import BUDGET, hyperparameters, parse_settings
from pliant.scripts.video import record_policy

if TYPE_CHECKING:
    from pliant.scripts.runs import RunFolder
    from pliant.scripts.training.options import Arguments

METHODS = {
    "bptt": "pliant.policies.through_physics.bptt",
    "shac": "pliant.policies.through_physics.shac",
    "sapo": "pliant.policies.through_physics.sapo",
    "mixed": "pliant.policies.through_physics.mixed_gradients",
    "ppo": "pliant.policies.reinforcement.ppo",
    "sac": "pliant.policies.reinforcement.sac",
    "td3": "pliant.policies.reinforcement.td3",
}
SHARED = ("environment", "algorithm", "num_envs", "evaluation_episodes", "environment_options", "settings")
"""Entries of the configuration that a run goes on with."""
EVALUATIONS = 10
UNLIMITED = 10**12  # steps
SHARE_OF_MEMORY = 0.9


class Training:
    """One run of ``pliant train``.

    Args:
        env_id: of the environment.
        arguments: of the command.
        folder: where the run is written.

    Raises:
        CommandError: settings are wrong, the worlds do not fit into memory, or the folder holds another run.
    """

    def __init__(self, env_id: str, arguments: Arguments, folder: RunFolder) -> None:
        from pliant.scripts.runs import machine, versions

        self.env_id, self.arguments, self.folder = env_id, arguments, folder
        self.algorithm = arguments.algo
        self.method = import_module(METHODS[self.algorithm])
        given = hyperparameters(env_id, self.algorithm) | {"seed": arguments.seed}
        self.num_envs = arguments.num_envs or int(given["num_envs"])
        del given["num_envs"]
        given |= parse_settings(arguments.settings, self.method.Settings)
        self.env_options = arguments.keywords()
        self._check_memory()
        self.settings = self._with_budget(given)
        self.method.check_settings(self.settings)
        self.config = {
            "environment": env_id,
            "environment_options": self.env_options,
            "algorithm": self.algorithm,
            "num_envs": self.num_envs,
            "evaluation_episodes": arguments.evaluation_episodes,
            "settings": asdict(self.settings),
            "versions": versions(("pliant", "taichi", "gymnasium", "numpy", "torch", "stable-baselines3")),
            "machine": machine(),
        }
        self.evaluations: list[dict[str, float]] = []
        self.history: list[dict[str, float]] = []
        self.wall_seconds = 0.0  # of earlier sessions
        self.state = self._stored_state() if arguments.resume else None

    def _with_budget(self, given: dict[str, Any]) -> Any:
        """The settings with the budget of the command."""
        steps, minutes = self.arguments.steps or UNLIMITED, self.arguments.minutes
        if self.algorithm == "bptt":
            episode = self._episode if not given.get("horizon") else min(given["horizon"], self._episode)
            return self.method.Settings(iterations=-(-steps // (episode * self.num_envs)), minutes=minutes, **given)
        return self.method.Settings(steps=steps, minutes=minutes, **given)

    def _check_memory(self) -> None:
        """Refuse a batch that cannot fit, judged by a small one; note how long an episode is."""
        from pliant.scripts.registry import make_vector
        from pliant.sims.runtime import thread_count

        probe = min(self.num_envs, thread_count())  # from here on memory grows by the same amount a world
        env = make_vector(self.env_id, probe, differentiable=self.algorithm not in LEARNED, **self.env_options)
        self._episode, need = env.horizon, env.memory_bytes * self.num_envs / probe
        env.close()
        free = available_memory()
        if free is not None and need > SHARE_OF_MEMORY * free:
            most = int(SHARE_OF_MEMORY * free / need * self.num_envs)
            raise CommandError(
                f"num_envs={self.num_envs} worlds of {self.env_id} need {need / 2**30:.1f} GiB; {free / 2**30:.1f} GiB "
                f"are free, enough for about {most}"
            )

    def _stored_state(self) -> Any:
        """The state to go on from, after a check that the run in the folder is the same one; None if there is none yet.

        Raises:
            CommandError: the folder holds another run, or a broken one.
        """
        if not self.folder.can_resume():
            return None
        if "algorithm" not in self.folder.read_json("config.json"):
            raise CommandError(f"cannot resume {self.folder.path}: it is no run of `pliant train`")
        self.folder.check_same_run(self.config, shared=SHARED, may_differ=BUDGET)
        path = self.folder.path / "checkpoint.npz"
        from pliant.policies.files.training_state import history_from_tree, unpack

        try:
            tree = unpack(load_arrays(path))
            if (tree["environment"], tree["algorithm"]) != (self.env_id, self.algorithm):
                raise CommandError(
                    f"cannot resume {self.folder.path}: its checkpoint is of {tree['algorithm']} on "
                    f"{tree['environment']}, not of {self.algorithm} on {self.env_id}"
                )
            self.evaluations = history_from_tree(tree["evaluations"])
            self.wall_seconds = tree["wall_seconds"]
            return self.method.State.from_arrays(tree["state"]) if self.algorithm == "bptt" else tree["state"]
        except (KeyError, TypeError, ValueError) as error:
            raise CommandError(f"cannot resume {self.folder.path}: {error}") from error

    def run(self) -> None:
        """Train, and write all files."""
        import torch
        from rich.console import Console

        from pliant.scripts.interrupts import interrupts
        from pliant.scripts.registry import make_vector

        torch.set_num_threads(1)  # the networks are small
        console = Console(stderr=True)
        if self.arguments.resume and self.state is None:
            self.folder.say_that_it_starts(console)
        learned = self.algorithm in LEARNED
        survives = {"on_divergence": "truncate"} | self.env_options  # one world's divergence ends its episode only
        worlds = {"autoreset_mode": "SameStep", **survives} if learned else {"differentiable": True, **self.env_options}
        with console.status(f"making {self.env_id}"):
            env = make_vector(self.env_id, self.num_envs, **worlds)
            self._judge = make_vector(self.env_id, self._evaluation_worlds(), **survives)
        self._began, self._saved = time.monotonic(), -math.inf
        self._log = self._open_log()
        self.folder.begin(self.config, resumed=self.state is not None)
        with interrupts() as self._interrupts:
            try:
                with training_progress(console, self) as self._show:
                    policy = self._train(env)
                if self._interrupts.received:  # after the last iteration
                    self._checkpoint()
                    self._interrupts.end()
                self._finish(console, policy)
            except (KeyboardInterrupt, SystemExit):
                self.folder.print_hint(console)
                raise
            finally:
                env.close()
                self._judge.close()
                if self._log is not None:
                    self._log.close()

    def _train(self, env: Any) -> Any:
        """The policy after the last update. A signal waits until an iteration is over, a second one does not."""
        with self._interrupts.held(until_the_second=True):
            if self.algorithm == "bptt":
                return self._train_bptt(env)
            result = self.method.train(env, self.settings, on_iteration=self._on_iteration, state=self.state)
            self.history, self._snapshot = result.history, lambda: result.state
            return result.policy

    def _train_bptt(self, env: Any) -> Any:
        from pliant.policies.through_physics.learning import make_controller

        controller = make_controller(env, self.settings)

        def on_iteration(state: Any, row: dict[str, float]) -> None:
            self._on_iteration(state.to_arrays, controller, row)

        result = self.method.train(
            env, self.settings, controller=controller, state=self.state, on_iteration=on_iteration
        )
        self.history, self._snapshot = result.history, result.state.to_arrays
        return result.controller

    # ------------------------------------------------------------------ while it trains

    def _on_iteration(self, snapshot: Any, policy: Any, row: dict[str, float]) -> None:
        self._snapshot = snapshot
        if self._log is not None:
            for name, value in row.items():
                if math.isfinite(value) and name not in ("iteration", "simulated_steps"):
                    self._log.add_scalar(f"train/{name}", value, int(row["simulated_steps"]))
        if self._due(row):
            self._evaluate(policy, row)
        self._show(row, self.evaluations)
        if self._interrupts.received or time.monotonic() - self._saved > self.arguments.checkpoint_seconds:
            self._checkpoint()
        self._interrupts.check()

    def _due(self, row: dict[str, float]) -> bool:
        """Whether an evaluation is: at fixed numbers of steps or, where there is no budget of steps, at fixed times."""
        last = self.evaluations[-1] if self.evaluations else {"simulated_steps": 0.0, "seconds": 0.0}
        every = self.arguments.evaluate_every or -(-self.arguments.steps // EVALUATIONS)
        if every:
            return row["simulated_steps"] // every > last["simulated_steps"] // every
        seconds = 60 * self.arguments.minutes / EVALUATIONS
        return row["seconds"] // seconds > last["seconds"] // seconds

    def _evaluation_worlds(self) -> int:
        return min(self.arguments.evaluation_episodes, self.num_envs)

    def _play(self, policy: Any, first: int) -> tuple[float, float]:
        from pliant.policies.evaluation import evaluate

        horizon = getattr(self.settings, "horizon", 0)
        seeds = range(first, first + self.arguments.evaluation_episodes)
        returns, scores = evaluate(self._judge, policy.act, seeds, horizon)
        return float(returns.mean()), float(scores.mean())

    def _evaluate(self, policy: Any, row: dict[str, float]) -> None:
        """Judge the policy without noise; keep it if it is the best so far."""
        value, score = self._play(policy, EVALUATION_SEED)
        steps, seconds = row["simulated_steps"], row["seconds"]
        best = max((entry["score"] for entry in self.evaluations), default=-math.inf)
        self.evaluations.append({"simulated_steps": steps, "seconds": seconds, "return": value, "score": score})
        if score >= best:
            save_policy(self.folder.path / "policy", policy)
        if self._log is not None:
            self._log.add_scalar("evaluation/return", value, int(steps))
            self._log.add_scalar("evaluation/score", score, int(steps))

    def _checkpoint(self) -> None:
        from pliant.policies.files.training_state import history_to_tree, pack

        tree = {
            "environment": self.env_id,
            "algorithm": self.algorithm,
            "state": self._snapshot(),
            "evaluations": history_to_tree(self.evaluations),
            "wall_seconds": self.wall_seconds + time.monotonic() - self._began,
        }
        self.folder.write_checkpoint(pack(tree))
        self._saved = time.monotonic()

    def _open_log(self) -> Any:
        if not self.arguments.tensorboard:
            return None
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise CommandError(
                "TensorBoard is not installed: pip install 'pliant[rl]', or pass --no-tensorboard"
            ) from error
        folder = self.folder.path / "tensorboard"
        done = None  # steps after which an interrupted run's entries are void
        if self.state is None:
            for earlier in folder.glob("events.*"):
                earlier.unlink()
        else:
            done = int(getattr(self.state, "simulated_steps", 0) or _steps_of(self.state)) + 1
        return SummaryWriter(str(folder), purge_step=done)

    # ------------------------------------------------------------------ at the end

    def _finish(self, console: Any, policy: Any) -> None:
        row = self.history[-1]
        if not self.evaluations or self.evaluations[-1]["simulated_steps"] != row["simulated_steps"]:
            self._evaluate(policy, row)
        best = load_policy(self.folder.path / "policy")
        value, score = self._play(best, TEST_SEED)
        summary: dict[str, Any] = {
            "environment": self.env_id,
            "algorithm": self.algorithm,
            "seed": self.arguments.seed,
            "score": score,
            "return": value,
            "iterations": len(self.history),
            "simulated_steps": row["simulated_steps"],
            "reverse_steps": row.get("reverse_steps", 0.0),
            "seconds": row["seconds"],
            "wall_seconds": self.wall_seconds + time.monotonic() - self._began,
            "test_episodes": self.arguments.evaluation_episodes,
            "evaluations": self.evaluations,
        }
        self._checkpoint()
        title = f"{self.env_id}, {self.algorithm}, seed {self.arguments.seed}"
        self.folder.write_training_plot(self.history, self.evaluations, title)
        if self.arguments.video:
            from pliant.scripts import video

            with console.status("recording the video"):
                frames, _, shown = record_policy(self.env_id, self.env_options, best, TEST_SEED)
                video.write_video(self.folder.path / "video.mp4", frames)
            summary |= {"video_seed": TEST_SEED, "video_score": shown}
        self.folder.write_metrics(self.history, summary)
        console.print(
            f"score [bold]{score:.3f}[/bold], return {value:.4g} over {self.arguments.evaluation_episodes} new "
            f"episodes; {row['simulated_steps']:,.0f} simulated steps, {row['seconds']:.1f} s of training; written to "
            f"{self.folder.path}",
            highlight=False,
        )


@contextmanager
def training_progress(
    console: Any, training: Training
) -> Iterator[Callable[[dict[str, float], list[dict[str, float]]], None]]:
    """A bar over the budget; yields the function that shows a row and the best of the evaluations so far."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from pliant.scripts.registry import short_name

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=8),
        TextColumn("reward {task.fields[reward]} score {task.fields[score]} best {task.fields[best]}"),
        TextColumn("{task.fields[speed]}/s"),
        TimeRemainingColumn(compact=True),
        TextColumn("left"),
    )
    budget = training.arguments
    with Progress(*columns, console=console) as progress:
        label = f"{short_name(training.env_id)} {training.algorithm}"
        task = progress.add_task(label, total=1.0, reward="-", score="-", best="-", speed="- steps")

        def show(row: dict[str, float], evaluations: list[dict[str, float]]) -> None:
            by_steps = row["simulated_steps"] / budget.steps if budget.steps else 0.0
            by_clock = row["seconds"] / (60 * budget.minutes) if budget.minutes else 0.0
            progress.update(
                task,
                completed=min(max(by_steps, by_clock), 1.0),
                reward=format(row["return"], ".4g"),
                score=format(row["score"], ".3f"),
                best=format(max(e["score"] for e in evaluations), ".3f") if evaluations else "-",
                speed=format(row["simulated_steps"] / row["seconds"], ".0f") + " steps",
            )

        yield show


def _steps_of(state: dict[str, Any]) -> int:
    return int(state["counters"]["num_timesteps"] if "counters" in state else state["simulated_steps"])
