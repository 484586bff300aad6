"""Store, weights and parameters → checkpoint and history."""

from xview2_siamese_unet.pipelines.modelling.pipeline import create_pipeline

__all__ = ["create_pipeline"]
