"""The benchmark's rows, measured on a scene small enough for a test."""

import json

import pytest

from pliant.scripts.bench import speed as bench
from pliant.scripts.main import main

KEYS = {
    "solver",
    "scene",
    "batch",
    "elements",
    "precision",
    "device",
    "forward_per_second",
    "substep_milliseconds",
    "reverse_over_forward",
    "cold_start_seconds",
    "versions",
}


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(bench, "CASES", (bench.Case("block, 32^3", 2, (4, 4, 8), 32, substeps=4),))
    monkeypatch.setattr(bench, "STEPS", 2)


def test_speed_prints_a_list_of_rows(small, capsys):
    assert main(["bench", "speed", "--json", "--no-cold-start", "--repeats", "2"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert set(row) >= KEYS
    assert (row["solver"], row["batch"], row["elements"], row["precision"]) == ("mpm", 2, 128, "f32")
    assert row["forward_per_second"] > 0 and row["reverse_over_forward"] > 0 and row["cold_start_seconds"] is None
    assert "taichi" in row["versions"]


def test_speed_prints_a_table(small, capsys):
    assert main(["bench", "speed", "--no-cold-start", "--repeats", "1"]) == 0
    output = capsys.readouterr().out
    assert "block, 32^3" in output and "cores" in output


def test_speed_of_rods(small, monkeypatch, capsys):
    monkeypatch.setattr(bench, "CASES", (bench.RodCase("13 vertices, both ends driven", 2, 13, substeps=4),))
    assert main(["bench", "speed", "--json", "--no-cold-start", "--repeats", "1"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert set(row) >= KEYS
    assert (row["solver"], row["batch"], row["elements"], row["precision"]) == ("rod", 2, 13, "f32")
    vertices = row["batch"] * row["elements"]
    assert row["forward_per_second"] == pytest.approx(vertices / (1e-3 * row["substep_milliseconds"]))
    assert row["reverse_over_forward"] > 0


def test_speed_of_gels(small, monkeypatch, capsys):
    monkeypatch.setattr(bench, "CASES", (bench.GelCase("dome", 1, 120, substeps=2),))
    assert main(["bench", "speed", "--json", "--no-cold-start", "--repeats", "1"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["solver"], row["batch"], row["precision"]) == ("gel", 1, "f32") and 60 < row["elements"] < 200
    assert row["forward_per_second"] == pytest.approx(row["elements"] / (1e-3 * row["substep_milliseconds"]))


@pytest.mark.slow
def test_cold_start_is_measured_in_a_fresh_process():
    row = bench.cold_start(precision="f32", device="cpu")
    assert set(row) >= KEYS and row["cold_start_seconds"] > 0


def test_repeats_are_checked(capsys):
    assert main(["bench", "speed", "--repeats", "0"]) == 1
    assert "repeats=0 must be at least 1" in capsys.readouterr().err
