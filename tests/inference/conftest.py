"""Fixtures for rasters."""

from image_pair import smooth, write_raster

__all__ = ["smooth", "write_raster"]
