"""Predictions for scenes and for pairs of rasters, and the products made of them."""
