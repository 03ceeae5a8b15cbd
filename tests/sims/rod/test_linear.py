"""The linear system of a rod's implicit step, factored on its tree, against dense matrices."""

import functools

import numpy as np
import pytest

from pliant.sims.fields import Entries, Memory
from pliant.sims.rod import places as at
from pliant.sims.rod.linear import tree_functions
from pliant.sims.rod.places import Setup
from pliant.sims.runtime import ti

FLOATS = ti.types.ndarray(ti.f64, 1)
INTEGERS = ti.types.ndarray(ti.i32, 1)
TREE = np.array((-1, 0, 1, 2, 3, 4, 3, 6, 2, 8))
FREE, DRIVEN = at.FREE, at.DRIVEN
ENTRIES = Entries(0, {"count": 1, "parents": 2, "grips": 3})


@functools.cache
def tree_kernel():
    tree = tree_functions(Setup(ENTRIES, ti.f64))

    @ti.kernel
    def solve(scratch: FLOATS, integers: INTEGERS, definite: INTEGERS):
        mem = ti.static(Memory(*[None] * (len(Memory._fields) - 2), scratch, integers))
        for _ in range(1):
            definite[0] = tree.solve(mem, 0, at.BLOCK)

    return solve


def solve_tree(parents, grips, matrix, right):
    """The solution (4 n,) that the tree finds for a dense symmetric matrix of the tree's pattern; whether definite."""
    n = len(parents)
    scratch = np.zeros((n, at.WORK_RECORD))
    blocks = matrix.reshape(n, 4, n, 4).swapaxes(1, 2)
    for i, p in enumerate(parents):
        line = [i] if p < 0 else [i, p] if parents[p] < 0 else [i, p, parents[p]]
        for place, j in zip((at.BLOCK, at.PARENT_BLOCK, at.GRAND_BLOCK), line, strict=False):
            scratch[i, place : place + 16] = blocks[i, j].ravel()
        scratch[i, at.RIGHT : at.RIGHT + 4] = right[4 * i : 4 * i + 4]
    integers = np.zeros(128 + 2 * n, np.int32)
    integers[[ENTRIES.count, ENTRIES.parents, ENTRIES.grips]] = n, 128, 128 + n
    integers[128 : 128 + n], integers[128 + n :] = parents, grips
    definite, flat = np.zeros(1, np.int32), scratch.ravel()
    tree_kernel()(flat, integers, definite)
    return flat.reshape(n, -1)[:, at.RIGHT : at.RIGHT + 4].ravel(), bool(definite[0])


def random_system(parents):
    """A positive definite matrix made of one term a joint, as a rod's is, and a right-hand side."""
    rng = np.random.default_rng(6)
    n = len(parents)
    A = np.diag(0.1 + rng.random(4 * n))
    for i, p in enumerate(parents):
        nodes = [k for k in (i, p, parents[p] if p >= 0 else -1) if k >= 0]
        at_nodes = np.concatenate([np.arange(4 * k, 4 * k + 4) for k in nodes])
        at_nodes = at_nodes[at_nodes != 4 * nodes[-1] + 3] if len(nodes) == 3 else at_nodes
        root = rng.standard_normal((len(at_nodes), 3))
        A[np.ix_(at_nodes, at_nodes)] += root @ root.T
    return A, rng.standard_normal(4 * n)


@pytest.mark.parametrize(
    ("grips", "held"),
    [
        ([FREE] * 10, [3]),
        ([DRIVEN, DRIVEN - 1, *[FREE] * 8], [0, 1, 2, 3, 4, 5, 6, 7]),
        ([FREE, FREE, FREE, 0, *[FREE] * 5, 1], [3, 12, 13, 14, 36, 37, 38]),
        ([0, 0, 1, *[FREE] * 4, 1, FREE, FREE], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 28, 29, 30]),
    ],
    ids=["free", "driven", "inner", "grippers"],
)
def test_the_tree_is_solved_as_a_dense_matrix_is(grips, held):
    """To 1e-12; what is held stays: a vertex in a grip, an edge with both ends in one, the root's turn."""
    A, b = random_system(TREE)
    found, definite = solve_tree(TREE, grips, A, b)
    free = np.setdiff1d(np.arange(4 * len(TREE)), held)
    expected = np.zeros(4 * len(TREE))
    expected[free] = np.linalg.solve(A[np.ix_(free, free)], b[free])
    assert definite
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * np.abs(expected).max())
    assert not found[held].any()


def test_the_tree_tells_an_indefinite_matrix():
    A, b = random_system(TREE)
    A[20, 20] -= 30.0
    found, definite = solve_tree(TREE, [FREE] * 10, A, b)
    free = np.setdiff1d(np.arange(40), [3])
    assert not definite
    np.testing.assert_allclose(A[np.ix_(free, free)] @ found[free], b[free], rtol=0, atol=1e-10)


def test_a_spin_without_stiffness_is_left_alone():
    """Turns that only twist holds: a right-hand side without resultant is met (1e-12), and the last turn stays zero."""
    n = 6
    chain = np.arange(-1, n - 1)
    A = np.eye(4 * n)
    turns = 4 * np.arange(1, n) + 3
    A[turns, turns] = 0.0
    for k in range(len(turns) - 1):
        pair = turns[k : k + 2]
        A[np.ix_(pair, pair)] += 0.37 * np.array([[1, -1], [-1, 1]])
    b = np.zeros(4 * n)
    b[turns] = [0.3, -0.7, 0.2, 0.9, -0.7]
    found, definite = solve_tree(chain, [FREE] * n, A, b)
    assert definite
    np.testing.assert_allclose(A @ found, b, rtol=0, atol=1e-12)
    assert found[turns[0]] == 0.0
