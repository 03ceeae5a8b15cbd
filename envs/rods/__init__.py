"""Cables and wire harnesses: rods that grippers hold; recordings of real wires, how predictions of them are scored, and
parameters fitted to them.
"""
