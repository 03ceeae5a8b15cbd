"""What ``pliant bench`` is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import tyro


@dataclass
class Speed:
    """Measure the speed of the simulators.

    One row per scene: element-substeps (of particles, vertices, nodes) a second forward, time of a substep of the whole
    batch, time of the reverse sweep (recomputation included) in units of the forward sweep, and the cold start: a fresh
    process without compiled kernels up to its first whole gradient.

    Examples:
      pliant bench speed
      pliant bench speed --json > speed.json
    """

    precision: Literal["f32", "f64"] = "f32"
    """Floating-point type of the simulation."""
    device: Literal["auto", "cpu", "cuda", "vulkan", "metal"] = "auto"
    """Where the simulation runs; "auto": CUDA, else a Vulkan device of hardware, else the CPU."""
    repeats: int = 5
    """Timed repeats per scene; the median counts."""
    cold_start: bool = True
    """Measure the cold start too."""
    json: bool = False
    """Print a JSON list instead of a table."""


@dataclass
class Methods:
    """Compare methods on tasks: gradients, black boxes and reinforcement learning, same physics, rewards and seeds.

    Every cell (task, method, seed) is a run of its own, in a process of its own, in the folder
    OUT/cells/TASK/METHOD/seedN. The same command again goes on where it was killed.

    A plan (`pliant optimize`) is one sequence of actions for the episode of its seed; a policy (`pliant train`) is
    judged on episodes that it has not seen. They answer different questions, and are ranked apart.

    Examples:
      pliant bench methods --suite smoke --out runs/smoke
      pliant bench methods --tasks FingerReach,Move --methods gradient,cmaes,shac,tqc --seeds 3 \\
          --budget-steps 20000 --out runs/mine --workers 2
      pliant bench report runs/mine
    """

    suite: str = ""
    """Tasks, methods, seeds and budgets together: smoke, quick or full; flags replace parts of it."""
    tasks: str = ""
    """Tasks by name, TASK,TASK,...; "all" takes every registered one."""
    methods: str = ""
    """Methods by name, METHOD,METHOD,... (those of `pliant optimize --method` and `pliant train --algo`)."""
    seeds: int = 0
    """Seeds 0 to N - 1 of each task and method."""
    budget_steps: int = 0
    """Simulated forward steps of a cell, all worlds together."""
    budget_seconds: float = 0.0
    """In place of steps: seconds of a cell. What comes out then depends on the machine."""
    out: str = ""
    """Folder of the benchmark; empty makes runs/bench-SUITE."""
    workers: int = 0
    """Cells that run at a time, a thread each; 0 takes the number of cores."""
    cluster: Literal["none", "ray"] = "none"
    """Run cells on a Ray cluster: that of RAY_ADDRESS, else one that Ray starts here (extra `cluster`)."""
    tuned: str = ""
    """File of settings by task and method, as `pliant bench tune` writes it; empty takes the methods' own."""
    videos: bool = False
    """Film what each method has found on each task, with the first seed; the report shows it."""
    retry: bool = False
    """Run the cells that failed once more."""
    limit_minutes: float = 0.0
    """Begin no cell after this time, and write the tables of what there is; 0 is none."""
    list: bool = False
    """Print the cells, and how far they are, and run nothing."""


@dataclass
class Tune:
    """Search settings for methods: as many random trials for each, over published ranges, on seeds of their own.

    The first trial of each is its defaults. The same command again goes on where it was killed.

    Examples:
      pliant bench tune --tasks FingerReach,Move --methods gradient,shac,sac --budget-steps 8000 --out runs/tune
      pliant bench methods --tasks FingerReach,Move --methods gradient,shac,sac --tuned runs/tune/tuned.json ...
    """

    suite: str = ""
    """Tasks, methods and budgets together: smoke, quick or full; flags replace parts of it."""
    tasks: str = ""
    """Tasks by name, TASK,TASK,...; "all" takes every registered one."""
    methods: str = ""
    """Methods by name, METHOD,METHOD,..."""
    trials: int = 16
    """Settings that are tried for each method and task."""
    seeds: int = 2
    """Runs of each trial."""
    budget_steps: int = 0
    """Simulated forward steps of a run, all worlds together."""
    out: str = ""
    """Folder of the trials; empty makes runs/tune-SUITE."""
    workers: int = 0
    """Runs at a time, a thread each; 0 takes the number of cores."""
    cluster: Literal["none", "ray"] = "none"
    """Run on a Ray cluster, as `pliant bench methods` does."""
    retry: bool = False
    """Run those that failed once more."""
    limit_minutes: float = 0.0
    """Begin no run after this time; 0 is none."""


@dataclass
class Gradients:
    """Measure gradients: how right they are, what they cost, and how far back they reach, task by task.

    Every task is measured in a process of its own. With --out, a table that is there is gone on with.

    Examples:
      pliant bench gradients --tasks FingerReach,Move
      pliant bench gradients --out runs/gradients.json
    """

    tasks: str = "all"
    """Tasks by name, TASK,TASK,...; "all" takes every registered one."""
    steps: int = 10
    """Environment steps over which gradients are compared with central differences, in float64."""
    directions: int = 10
    """Random directions per quantity."""
    repeats: int = 5
    """Timed whole episodes, in float32; the median counts."""
    longest: int = 4
    """Gradients are followed up to this many episodes in length."""
    seed: int = 0
    """Seed of episodes, actions and directions."""
    out: str = ""
    """JSON file of the table; empty writes none."""
    json: bool = False
    """Print JSON instead of a table."""


@dataclass
class Report:
    """Write the tables, the leaderboard, the plots and the report of a benchmark again, from the folders of its cells.

    Examples:
      pliant bench report runs/smoke
    """

    folder: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="DIR")] = tyro.MISSING
    """Folder of the benchmark."""
