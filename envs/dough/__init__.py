"""Dough: elastoplastic dough on a table, which rigid tools push, press, wrap, grasp and bend."""
