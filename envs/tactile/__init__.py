"""Tactile sensors: soft fingertips that touch, hold and move things."""
