"""Liquids and pastes: milk, coffee, water and ice cream, poured, stirred and pushed, and what floats in them."""
