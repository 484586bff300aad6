"""Predictions → files under the names of the xView2 challenge."""

from xview2_siamese_unet.pipelines.submission.pipeline import create_pipeline

__all__ = ["create_pipeline"]
