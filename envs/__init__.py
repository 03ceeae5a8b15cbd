"""Gymnasium environments of soft things with analytic gradients. Importing this registers every ``pliant/...`` id."""

from pliant.envs.registry import ENTRIES, Entry, register, register_all

__all__ = ["ENTRIES", "Entry", "register"]

register_all()
