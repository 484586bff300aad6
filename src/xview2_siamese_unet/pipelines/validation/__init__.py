"""An assessment → a random sample to label → estimates with intervals."""

from xview2_siamese_unet.pipelines.validation.pipeline import create_pipeline

__all__ = ["create_pipeline"]
