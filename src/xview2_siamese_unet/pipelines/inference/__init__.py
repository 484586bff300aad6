"""A pair of images and a checkpoint → damage, buildings, numbers."""

from xview2_siamese_unet.pipelines.inference.pipeline import create_pipeline

__all__ = ["create_pipeline"]
