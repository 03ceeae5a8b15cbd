"""Soft robots: bodies of soft matter with muscles that reach for a point or run."""
