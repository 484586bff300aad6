"""Store and splits → counts and weights of classes and scenes, moments of channels, histogram."""

from xview2_siamese_unet.pipelines.feature_statistics.pipeline import create_pipeline

__all__ = ["create_pipeline"]
