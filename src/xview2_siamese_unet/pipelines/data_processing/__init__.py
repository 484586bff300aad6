"""Raw folder → scenes, buildings, masks, splits, store."""

from xview2_siamese_unet.pipelines.data_processing.pipeline import create_pipeline

__all__ = ["create_pipeline"]
