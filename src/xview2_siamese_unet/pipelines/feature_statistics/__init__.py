"""Store and splits → class counts, class weights, sample weights, channel statistics, charts."""

from xview2_siamese_unet.pipelines.feature_statistics.pipeline import create_pipeline

__all__ = ["create_pipeline"]
