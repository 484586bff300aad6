"""Weights answer here."""
