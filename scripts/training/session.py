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
from typing import TYPE_CHECKING, Any

from pliant.envs.timing import NO_TIME, Timing, timing_of
from pliant.policies.files.checkpoints import load_arrays
from pliant.policies.methods import BUDGETS, find_method
from pliant.policies.networks.policy_files import load_policy, save_policy
from pliant.scripts.errors import CommandError
from pliant.scripts.hyperparameters import hyperparameters
from pliant.scripts.runs import available_memory
from pliant.scripts.training.log import TrainingLog
from pliant.scripts.training.seeds import EVALUATION_SEED, TEST_SEED
from pliant.scripts.training.settings import parse_settings
from pliant.scripts.video import record_policy

if TYPE_CHECKING:
    from pliant.scripts.runs import RunFolder
    from pliant.scripts.training.options import Arguments

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
        self.method = find_method(self.algorithm)
        self.module = self.method.load()
        given = hyperparameters(env_id, self.algorithm) | {"seed": arguments.seed}
        self.num_envs = arguments.num_envs or int(given.get("num_envs", self.method.num_envs))
        given.pop("num_envs", None)
        given |= parse_settings(arguments.settings, self.module.Settings)
        self.env_options = arguments.keywords()
        self.settings = self.method.make_settings(
            given,
            steps=arguments.steps or UNLIMITED,
            minutes=arguments.minutes,
            episode=self._check_memory(),
            num_envs=self.num_envs,
        )
        self.config = {
            "environment": env_id,
            "environment_options": self.env_options,
            "algorithm": self.algorithm,
            "num_envs": self.num_envs,
            "evaluation_episodes": arguments.evaluation_episodes,
            "settings": asdict(self.settings),
            "versions": versions(
                ("pliant", "taichi", "gymnasium", "numpy", "torch", "stable-baselines3", "sb3-contrib")
            ),
            "machine": machine(),
        }
        self.evaluations: list[dict[str, float]] = []
        self.history: list[dict[str, float]] = []
        self.wall_seconds = 0.0  # of earlier sessions
        self.timing = NO_TIME  # likewise
        self.training_seconds = 0.0  # of all sessions, without evaluations and files
        self.state = self._stored_state() if arguments.resume else None

    def _check_memory(self) -> int:
        """Refuse a batch that cannot fit, judged by a small one, which also tells the steps of an episode."""
        from pliant.scripts.environments import make_vector
        from pliant.sims.runtime import thread_count

        probe = min(self.num_envs, thread_count())  # from here on memory grows by the same amount a world
        env = make_vector(self.env_id, probe, differentiable=self.method.differentiable, **self.env_options)
        episode, need = env.horizon, env.memory_bytes * self.num_envs / probe
        env.close()
        free = available_memory()
        if free is not None and need > SHARE_OF_MEMORY * free:
            most = int(SHARE_OF_MEMORY * free / need * self.num_envs)
            raise CommandError(
                f"num_envs={self.num_envs} worlds of {self.env_id} need {need / 2**30:.1f} GiB; {free / 2**30:.1f} GiB "
                f"are free, enough for about {most}"
            )
        return int(episode)

    def _stored_state(self) -> dict[str, Any] | None:
        """The state to go on from, after a check that the run in the folder is the same one; None if there is none yet.

        Raises:
            CommandError: the folder holds another run, or a broken one.
        """
        if not self.folder.can_resume():
            return None
        if "algorithm" not in self.folder.read_json("config.json"):
            raise CommandError(f"cannot resume {self.folder.path}: it is no run of `pliant train`")
        self.folder.check_same_run(self.config, shared=SHARED, may_differ=BUDGETS)
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
            self.timing = Timing(*tree.get("timing", NO_TIME))
            self.training_seconds = tree.get("training_seconds", 0.0)
            return tree["state"]
        except (KeyError, TypeError, ValueError) as error:
            raise CommandError(f"cannot resume {self.folder.path}: {error}") from error

    def run(self) -> None:
        """Train, and write all files."""
        import torch
        from rich.console import Console

        from pliant.scripts.environments import make_vector
        from pliant.scripts.interrupts import interrupts

        torch.set_num_threads(1)  # the networks are small
        console = Console(stderr=True)
        if self.arguments.resume and self.state is None:
            self.folder.say_that_it_starts(console)
        survives = {"on_divergence": "truncate"}  # one world's divergence ends its episode only
        with console.status(f"making {self.env_id}"):
            env = self._env = make_vector(self.env_id, self.num_envs, **self.method.worlds, **self.env_options)
            self._judge = make_vector(self.env_id, self._evaluation_worlds(), **survives, **self.env_options)
        self._began, self._saved = time.monotonic(), -math.inf
        self._log = None
        if self.arguments.tensorboard:
            self._log = TrainingLog(self.folder.path / "tensorboard", resumed=self.state is not None)
        self.folder.begin(self.config, resumed=self.state is not None)
        with interrupts() as self._interrupts:
            try:
                with training_progress(console, self) as self._show:
                    policy = self._train(env)
                if self._interrupts.received:  # after the last iteration
                    self._checkpoint()
                    self._interrupts.end()
                self._finish(console, policy)
            finally:
                env.close()
                self._judge.close()
                if self._log is not None:
                    self._log.close()

    def _train(self, env: Any) -> Any:
        """The policy after the last update. A signal waits until an iteration is over, a second one does not."""
        self._resumed_at = time.perf_counter()
        with self._interrupts.held(until_the_second=True):
            result = self.module.train(env, self.settings, on_iteration=self._on_iteration, state=self.state)
            self.training_seconds += time.perf_counter() - self._resumed_at
            self.history, self._snapshot = result.history, lambda: result.state
            return result.policy

    # ------------------------------------------------------------------ while it trains

    def _on_iteration(self, snapshot: Any, policy: Any, row: dict[str, float]) -> None:
        self.training_seconds += time.perf_counter() - self._resumed_at
        self._snapshot = snapshot
        if self._log is not None:
            self._log.add_iteration(row)
        if self._due(row):
            self._evaluate(policy, row)
        self._show(row, self.evaluations)
        if self._interrupts.received or time.monotonic() - self._saved > self.arguments.checkpoint_seconds:
            self._checkpoint()
        self._interrupts.check()
        self._resumed_at = time.perf_counter()

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
        entry = {
            "simulated_steps": steps,
            "reverse_steps": row.get("reverse_steps", 0.0),
            "seconds": seconds,
            "return": value,
            "score": score,
        }
        self.evaluations.append(entry)
        if score >= best:
            save_policy(self.folder.path / "policy", policy)
        if self._log is not None:
            self._log.add_evaluation(entry)

    def _checkpoint(self) -> None:
        from pliant.policies.files.training_state import history_to_tree, pack

        tree = {
            "environment": self.env_id,
            "algorithm": self.algorithm,
            "state": self._snapshot(),
            "evaluations": history_to_tree(self.evaluations),
            "wall_seconds": self.wall_seconds + time.monotonic() - self._began,
            "timing": list(self.timing + timing_of(self._env)),
            "training_seconds": self.training_seconds,
        }
        self.folder.write_checkpoint(pack(tree))
        self._saved = time.monotonic()

    # ------------------------------------------------------------------ at the end

    def _finish(self, console: Any, policy: Any) -> None:
        row = self.history[-1]
        if not self.evaluations or self.evaluations[-1]["simulated_steps"] != row["simulated_steps"]:
            self._evaluate(policy, row)
        best = load_policy(self.folder.path / "policy")
        value, score = self._play(best, TEST_SEED)
        timing = self.timing + timing_of(self._env)
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
            "training_seconds": self.training_seconds,
            "simulation_seconds": timing.forward,
            "gradient_seconds": timing.reverse,
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

    from pliant.scripts.environments import short_name

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
