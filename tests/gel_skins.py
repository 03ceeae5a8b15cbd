"""Skins of gels for tests, with some nodes more, as a gel has inside."""

import numpy as np

SIZE = (0.02, 0.015)
TOP = 0.004


def flat_pad(columns=15, rows=12, *, size=SIZE, top=TOP, inside=7):
    """Triangles (S, 3) and nodes (N, 3) of a flat skin at z = top: nodes in an order of their own, some inside."""
    x, y = np.meshgrid(np.linspace(-0.5, 0.5, columns) * size[0], np.linspace(-0.5, 0.5, rows) * size[1], indexing="ij")
    skin = np.stack([x, y, np.full_like(x, top)], axis=-1).reshape(-1, 3)
    number = np.arange(columns * rows).reshape(columns, rows)
    a, b, c, d = (part.ravel() for part in (number[:-1, :-1], number[1:, :-1], number[1:, 1:], number[:-1, 1:]))
    triangles = np.concatenate([np.stack([a, b, c], axis=1), np.stack([a, c, d], axis=1)])
    random = np.random.default_rng(5)
    nodes = np.concatenate([skin, random.uniform(-0.5, 0.5, (inside, 3)) * (*size, 0.002) + (0, 0, 0.001)])
    order = random.permutation(len(nodes))
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    return place[triangles], nodes[order]


def dome(columns=33, rows=33, *, radius=0.03, half=0.008, top=TOP):
    """A skin on a sphere whose highest point is (0, 0, top), and the sphere's centre."""
    triangles, nodes = flat_pad(columns, rows, size=(2 * half, 2 * half), top=top, inside=0)
    centre = np.array([0.0, 0.0, top - radius])
    nodes[:, 2] = centre[2] + np.sqrt(radius**2 - nodes[:, 0] ** 2 - nodes[:, 1] ** 2)
    return triangles, nodes, centre


def dent(nodes, *, centre=(0.001, -0.0005), depth=0.0008, width=0.002):
    """Nodes pressed down by a smooth bump."""
    moved = np.array(nodes)
    distance = ((moved[:, :2] - centre) ** 2).sum(axis=1)
    moved[:, 2] -= depth * np.exp(-distance / (2 * width**2))
    return moved


def rumpled(nodes, batch=1, seed=0, amount=1e-4):
    """Worlds (B, N, 3) of a dented gel, every node moved by up to ``amount``."""
    random = np.random.default_rng(seed)
    return dent(nodes) + random.uniform(-amount, amount, (batch, *nodes.shape))
