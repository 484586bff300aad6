"""Confusion counts, and scores as pure functions of them."""
