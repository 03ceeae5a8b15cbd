"""Whatever actions do within their bounds, no task diverges and matter stays whole and inside its domain.

Each pattern is one world of a batch: all actions at +1 or at -1, or each of them at +1 or -1 at random, drawn anew in
every step or held for several. Policies that learn begin like this, and black-box optimisers never stop.

How torn an elastic body is, is measured by `inspection.largest_gap`: how far two neighbouring particles
have parted along an axis, in cells; beyond ``GAP`` they no longer act on each other, and the step is a
`SimulationDiverged`. Dough and paste are meant to come apart; a wire keeps the lengths of its edges.
"""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest

import pliant.envs  # noqa: F401  registers the ids
from pliant.envs.registry import ENTRIES, Entry
from pliant.sims.failures import SimulationDiverged
from pliant.sims.mpm.tearing.inspection import GAP, largest_gap

HELD = {"random": 1, "held for 4 steps": 4, "held for 8 steps": 8}  # steps between draws
PATTERNS = ("plus", "minus", *HELD)
LONGEST_EDGE = 1.1  # of a wire, in rest lengths
SLOW_SEEDS = range(6)
MANY_SUBSTEPS = 100  # in a step, beyond which the quick suite plays the beginning of an episode


def corner_actions(pattern: str, entry: Entry, seed: int) -> np.ndarray:
    """An episode's actions, each +1 or -1, shape (horizon, action size)."""
    shape = (entry.horizon, entry.action_size)
    if pattern not in HELD:
        return np.full(shape, 1.0 if pattern == "plus" else -1.0)
    held = HELD[pattern]
    drawn = np.random.default_rng([seed, held]).choice([-1.0, 1.0], (-(-entry.horizon // held), entry.action_size))
    return np.repeat(drawn, held, axis=0)[: entry.horizon]


def matter_of(world):
    """The scene of particles or of a rod, also of those that gels hold; of rigid bodies alone there is none."""
    return getattr(world.scene, "matter", world.scene)


def longest_edges(world) -> np.ndarray:
    """Length of each world's most stretched edge in rest lengths, shape (B,)."""
    parents = matter_of(world).rod.tree[1:]
    position = world.state("position").astype(float)
    lengths = np.linalg.norm(position[:, 1:] - position[:, parents], axis=-1)
    return (lengths / world.parameter("rest_length")[:, 1:]).max(axis=1)


def is_within(world) -> np.ndarray:
    """Whether all particles of each world are a cell or more from the edges of the domain, shape (B,)."""
    position, scene = world.state("position"), matter_of(world)
    return ((position >= scene.cell) & (position <= scene.size - scene.cell)).all(axis=(1, 2))


def faults(
    entry: Entry, seed: int, patterns: tuple[str, ...] = PATTERNS, *, longest: int | None = None
) -> dict[str, str]:
    """What goes wrong, by pattern. A divergence ends the whole batch; the others then begin again without it.

    ``longest``: steps of the episodes of tasks with many substeps a step; None: all.
    """
    envs = gym.make_vec(entry.id, num_envs=len(patterns), vectorization_mode="vector_entry_point")
    world = envs.unwrapped._rollout.world
    actions = np.stack([corner_actions(pattern, entry, seed) for pattern in patterns], axis=1)
    if world.substeps > MANY_SUBSTEPS:
        actions = actions[:longest]
    found: dict[str, str] = {}
    envs.reset(seed=[seed] * len(patterns))
    try:
        for step, action in enumerate(actions):
            observation, reward, _, _, _ = envs.step(action)
            wrong = {"not finite": ~(np.isfinite(observation).all(axis=1) & np.isfinite(reward))}
            if "rest_length" in world.parameter_names:
                wrong["an edge is stretched"] = longest_edges(world) > LONGEST_EDGE
            elif hasattr(matter_of(world), "cell"):
                wrong["a particle is outside"] = ~is_within(world)
            for what, where in wrong.items():
                for b in np.flatnonzero(where):
                    found.setdefault(patterns[b], f"step {step}: {what}")
        if hasattr(matter_of(world), "cell"):
            for body, gaps in largest_gap(world).items():
                for b in np.flatnonzero(gaps > GAP):
                    found.setdefault(patterns[b], f"at the end: {body} is torn, {gaps[b]:.2f} cells")
    except SimulationDiverged as error:
        left = tuple(pattern for b, pattern in enumerate(patterns) if b != error.world)
        rest = faults(entry, seed, left, longest=longest) if left else {}
        return {patterns[error.world]: str(error), **rest}
    finally:
        envs.close()
    return found


every_task = pytest.mark.parametrize("entry", ENTRIES, ids=[entry.id for entry in ENTRIES])


@every_task
def test_corner_actions_do_no_harm(entry: Entry) -> None:
    assert faults(entry, 0, longest=12) == {}


@pytest.mark.slow
@every_task
@pytest.mark.parametrize("seed", SLOW_SEEDS)
def test_corner_actions_do_no_harm_with_other_seeds(entry: Entry, seed: int) -> None:
    assert faults(entry, seed) == {}
