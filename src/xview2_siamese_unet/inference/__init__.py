"""Predictions for scenes and for pairs of rasters, and their products."""
