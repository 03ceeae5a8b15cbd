"""Tasks of tactile sensors: a gel that touches, holds and moves things."""
