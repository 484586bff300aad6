"""Weights change here."""
