"""Fixtures of rasters, and of an assessment of some roofs."""

from roofs import pair, roofs

from image_pair import write_raster

__all__ = ["pair", "roofs", "write_raster"]
