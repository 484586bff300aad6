"""Scenes as 8-bit PNGs in the layout of the challenge, for other tools."""

from xview2_siamese_unet.pipelines.png_export.pipeline import create_pipeline

__all__ = ["create_pipeline"]
