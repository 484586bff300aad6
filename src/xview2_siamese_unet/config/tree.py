"""The tree of all parameters."""

from __future__ import annotations

from xview2_siamese_unet.config.adaptation import AdaptationParams
from xview2_siamese_unet.config.data_processing import DataProcessingParams
from xview2_siamese_unet.config.dataset import DatasetParams
from xview2_siamese_unet.config.execution import ExecutorParams
from xview2_siamese_unet.config.feature_statistics import FeatureStatisticsParams
from xview2_siamese_unet.config.inference import InferenceParams
from xview2_siamese_unet.config.modelling import (
    ClassesParams,
    DataloaderParams,
    FocalLossParams,
    HardwareParams,
    LossWeightsParams,
    ModelParams,
    PredictionParams,
    TrainingParams,
)
from xview2_siamese_unet.config.reporting import ReportingParams, SubmissionParams
from xview2_siamese_unet.config.validation import Strict
from xview2_siamese_unet.config.validation_sample import ValidationParams


class Parameters(Strict):
    """All parameters; `params:<section>` passes one section to a node."""

    run: str | None = None
    """Id of a run; `null`: the run of these settings, data and code, or the newest one for commands that only read."""
    dataset: DatasetParams = DatasetParams()
    executor: ExecutorParams = ExecutorParams()
    data_processing: DataProcessingParams = DataProcessingParams()
    feature_statistics: FeatureStatisticsParams = FeatureStatisticsParams()
    model: ModelParams = ModelParams()
    classes: ClassesParams = ClassesParams()
    training: TrainingParams = TrainingParams()
    prediction: PredictionParams = PredictionParams()
    loss_weights: LossWeightsParams = LossWeightsParams()
    focal_loss: FocalLossParams = FocalLossParams()
    dataloader: DataloaderParams = DataloaderParams()
    hardware: HardwareParams = HardwareParams()
    reporting: ReportingParams = ReportingParams()
    submission: SubmissionParams = SubmissionParams()
    inference: InferenceParams = InferenceParams()
    adaptation: AdaptationParams = AdaptationParams()
    validation: ValidationParams = ValidationParams()
