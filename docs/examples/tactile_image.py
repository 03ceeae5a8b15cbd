"""The image of a tactile sensor into which a ball is pressed, and what would have to change to make it brighter."""

import numpy as np

from pliant.sims.sensor.optics import Optics

optics = Optics.load("gelsight", size=(320, 240))
y, x = np.mgrid[:240, :320]
offset = np.stack([x - 160.0, y - 120.0], axis=-1) * 5.9e-5  # on the gel [m]
ball, contact = 2e-3, 1.5e-3  # radii [m]
apart = np.linalg.norm(offset, axis=-1)
inside = apart < contact
lean = -offset / ball * inside[..., None]  # the outward normal leans towards the deepest point
normals = np.concatenate([lean, np.sqrt(1.0 - (lean**2).sum(-1, keepdims=True))], axis=-1)
depth = np.sqrt(ball**2 - np.minimum(apart, contact) ** 2) - np.sqrt(ball**2 - contact**2)
image, kept = optics(normals[None], depth[None])
print(f"image {image.shape}, {image.min():.0f} to {image.max():.0f} grey levels")
normals_bar, depth_bar = optics.adjoint(kept, np.ones_like(image))
print(f"steepest: {np.abs(normals_bar).max():.0f} grey levels per unit of a normal, {inside.sum()} pixels in contact")
