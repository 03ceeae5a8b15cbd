"""Finite elements: soft gels on rigid mounts, their meshes and the solutions they are compared with."""
