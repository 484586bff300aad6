"""Counts, and scores as pure functions of counts."""
