"""Fixtures for rasters, shared with other test folders."""

from image_pair import smooth, write_raster

__all__ = ["smooth", "write_raster"]
