"""Seeds of the episodes that a training plays, is judged by and never sees."""

from __future__ import annotations

EVALUATION_SEED, TEST_SEED = 1_000_000, 2_000_000  # far from those of training
