"""A benchmark on a Ray cluster gives the tables that it gives on this machine, also when a node is lost."""

import threading
import time

import point_mass
import pytest
from bench_runs import RUN, TABLES, WORDS

from pliant.scripts.bench import pool
from pliant.scripts.main import main

pytestmark = pytest.mark.slow


@pytest.fixture
def cluster(monkeypatch):
    """Two nodes of one processor each, on loopback; and the command."""
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    point_mass.register()
    monkeypatch.setattr(pool, "PROGRAM", (pool.PROGRAM[0], "-c", RUN))
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    nodes.add_node(num_cpus=1)
    ray.init(address=nodes.address, log_to_driver=False)
    yield nodes
    ray.shutdown()
    nodes.shutdown()


def test_local_and_ray_give_the_same_tables_though_a_node_is_lost(cluster, tmp_path):
    words = ["bench", "methods", *WORDS, "--methods", "gradient,lbfgs,random-search", "--budget-steps", "8000"]
    assert main([*words, "--out", str(tmp_path / "local")]) == 0
    (lost,) = cluster.worker_nodes
    running = []

    def lose_a_node():
        folders = tmp_path / "ray" / "cells"
        while len(list(folders.glob("*/*/*/checkpoint.npz"))) < 2:
            time.sleep(0.05)
        running.extend(path for path in folders.glob("*/*/*") if not (path / "cell.json").exists())
        cluster.remove_node(lost, allow_graceful=False)

    thread = threading.Thread(target=lose_a_node, daemon=True)
    thread.start()
    assert main([*words, "--cluster", "ray", "--out", str(tmp_path / "ray")]) == 0
    thread.join(10)
    assert not thread.is_alive() and len(running) >= 2  # both nodes were at work
    for name in TABLES:
        assert (tmp_path / "ray" / name).read_bytes() == (tmp_path / "local" / name).read_bytes()
