"""Nets, their checkpoints, and prediction from grey values to damage classes."""
