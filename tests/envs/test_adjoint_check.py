"""The dot-product test itself: passes right adjoints, catches wrong ones."""

import numpy as np
import pytest

from pliant.envs.features.check import check_adjoint

POINT = {"x": np.array([0.3, -1.2, 2.0]), "a": np.array(1.7), "count": np.array([3])}


def forward(v):
    return {"y": v["a"] * np.sin(v["x"]) + v["count"], "total": np.array((v["x"] ** 3).sum())}


def adjoint(v, c):
    x_bar = c["y"] * v["a"] * np.cos(v["x"]) + 3 * c["total"] * v["x"] ** 2
    return {"x": x_bar, "a": np.vdot(c["y"], np.sin(v["x"]))}


def test_a_right_adjoint_passes_for_every_pair_of_input_and_output():
    comparisons = check_adjoint(forward, adjoint, POINT)
    assert {(c.input, c.output) for c in comparisons} == {(i, o) for i in ("x", "a") for o in ("y", "total")}
    assert max(c.error for c in comparisons) < 1e-9


@pytest.mark.parametrize("factor", [-1.0, 0.0, 1.0 + 1e-5, np.nan])
@pytest.mark.parametrize("name", ["x", "a"])
def test_a_wrong_adjoint_is_named(name, factor):
    def wrong(v, c):
        bars = adjoint(v, c)
        return {**bars, name: bars[name] * factor}

    with pytest.raises(AssertionError, match=f"d y / d {name}: central differences"):
        check_adjoint(forward, wrong, POINT)


def test_a_dependence_that_is_not_there_is_caught():
    with pytest.raises(AssertionError, match="d total / d a"):
        check_adjoint(forward, lambda v, c: {**adjoint(v, c), "a": adjoint(v, c)["a"] + 1e-3 * c["total"]}, POINT)


def test_only_what_is_asked_for_is_checked():
    comparisons = check_adjoint(forward, adjoint, POINT, outputs=["y"], wrt=["x"], trials=1)
    assert [(c.input, c.output) for c in comparisons] == [("x", "y")]
