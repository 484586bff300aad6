"""Pipeline `adaptation`: an assessment and a few labels → adapted buildings."""

from xview2_siamese_unet.pipelines.adaptation.pipeline import create_pipeline

__all__ = ["create_pipeline"]
