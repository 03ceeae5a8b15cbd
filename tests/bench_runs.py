"""Programs and words of benchmarks on the particle, whose cells are processes that have to know it."""

from pathlib import Path

import point_mass

TESTS = str(Path(point_mass.__file__).parent)
RUN = f"""
import sys
sys.path.insert(0, {TESTS!r})
import point_mass
from pliant.policies.methods import METHODS, Method
from pliant.scripts.main import main
point_mass.register()
METHODS["hill-climbing"] = Method("hill_climbing", "noise on the best weights", worlds={{}}, num_envs=2)
sys.exit(main(sys.argv[1:]))
"""
BENCH = f"""
import sys
sys.path.insert(0, {TESTS!r})
import point_mass
from pliant.scripts.bench import pool
from pliant.scripts.main import main
point_mass.register()
pool.PROGRAM = (sys.executable, "-c", {RUN!r})
sys.exit(main(sys.argv[1:]))
"""
TABLES = ("cells.csv", "curves.csv", "leaderboard.csv")
WORDS = ("--tasks", point_mass.ID, "--methods", "gradient,random-search", "--seeds", "1", "--budget-steps", "2400")
