"""Torch modules, and the one place where a name becomes a module."""
