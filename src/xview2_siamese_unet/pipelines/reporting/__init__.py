"""Predictions → counts, scores, figures, report."""

from xview2_siamese_unet.pipelines.reporting.pipeline import create_pipeline

__all__ = ["create_pipeline"]
