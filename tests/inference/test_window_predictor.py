"""Predictions of a net, also after memory runs out: smaller batches, then smaller windows, and the same result."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import uniform_filter

from xview2_siamese_unet.config.modelling import HardwareParams, ModelParams, Tta
from xview2_siamese_unet.inference.prediction import WindowPredictor
from xview2_siamese_unet.models.build import build_net
from xview2_siamese_unet.models.postprocess import probabilities

MODEL: dict[str, object] = {"encoder": {"name": "tu-test_resnet"}, "decoder_channels": [32, 32, 16, 16, 8]}
DECODERS = ["unet", "unetplusplus", "fpn", "upernet", "segformer"]
MODELS = [
    {"encoder": {"name": "mit_b0"}},  # cannot be traced, and is not folded
    {"encoder": {"name": "tu-convnext_atto"}},
    {"architecture": "seed"},
    {"share_weights": False, "fusion_levels": "all"},
    *({"decoder": decoder, "fusion_levels": levels} for decoder in DECODERS for levels in ("last", "all")),
]


def checkpoint_of(net: torch.nn.Module, model: dict[str, object]) -> dict[str, object]:
    return {
        "state": net.state_dict(),
        "model": model,
        "classes": {"unclassified": "ignore"},
        "channels": {"mean": [127.0] * 3, "std": [60.0] * 3},
        "fingerprint": "x",
    }


@pytest.mark.parametrize("variant", MODELS, ids=str)
def test_the_predictor_returns_the_probabilities_of_the_net(variant: dict[str, object]) -> None:
    torch.manual_seed(0)
    model = MODEL | variant
    net = build_net(ModelParams.model_validate(model), 5).eval()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
    checkpoint = checkpoint_of(net, model)
    predictor = WindowPredictor(checkpoint, HardwareParams(device="cpu", precision="32-true"))
    images = np.random.default_rng(0).integers(1, 255, (2, 1, 96, 64, 3), dtype=np.uint8)
    inputs = [(torch.from_numpy(image).permute(0, 3, 1, 2).float() - 127) / 60 for image in images]
    with torch.inference_mode():
        expected = probabilities(net(*inputs)).permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(predictor(*images), expected, atol=1e-5)
    flipped = WindowPredictor(checkpoint, HardwareParams(device="cpu", precision="32-true"), tta="flips")(*images)
    assert np.abs(flipped - expected).max() > 1e-4
    np.testing.assert_allclose(flipped.sum(axis=3), 1, atol=1e-5)
    assert (predictor.usual_batch, predictor.device) == (1, "cpu")


class Cramped(WindowPredictor):
    """A stand-in with a receptive field of 8 pixels on each side and memory for `capacity` pixels."""

    def __init__(self, capacity: int, error: Exception) -> None:
        self.device, self.capacity, self.error = "cpu", capacity, error
        self.warnings = []
        self.shapes: list[tuple[int, ...]] = []
        self.failed = 0

    def _predict(self, pre: np.ndarray, post: np.ndarray) -> np.ndarray:
        if pre[..., 0].size > self.capacity:
            self.failed += 1
            raise self.error
        self.shapes.append(pre.shape[:3])
        light = uniform_filter((pre.astype(np.float32) - post).mean(axis=3), (1, 17, 17), mode="constant")
        return np.repeat(light[..., None], 5, axis=3)


ERRORS = [
    torch.OutOfMemoryError("CUDA out of memory"),
    RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    RuntimeError("CUDA error: out of memory"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    MemoryError(),
]


@pytest.mark.parametrize("error", ERRORS, ids=str)
def test_half_batches_and_windows_give_the_same_prediction(error: Exception) -> None:
    pre, post = np.random.default_rng(0).integers(0, 255, (2, 3, 320, 416, 3), dtype=np.uint8)
    whole = Cramped(10**9, error)(pre, post)
    cramped = Cramped(320 * 300, error)
    np.testing.assert_allclose(cramped(pre, post), whole, atol=1e-4)
    assert {shape[0] for shape in cramped.shapes} == {1}
    assert len(cramped.shapes) == 6
    assert all(side % 32 == 0 for shape in cramped.shapes for side in shape[1:])
    assert all("out of memory" in warning for warning in cramped.warnings)
    assert len(cramped.warnings) == len(set(cramped.warnings)) > 0


def test_a_batch_size_that_ran_out_of_memory_is_not_tried_again() -> None:
    pre = np.zeros((2, 320, 320, 3), np.uint8)
    cramped = Cramped(320 * 320, ERRORS[0])
    for _ in range(3):
        cramped(pre, pre)
    assert cramped.failed == 1
    assert cramped.shapes == [(1, 320, 320)] * 6


VIEWS: list[tuple[Tta | None, Tta, bool]] = [(None, "d4", False), ("d4", "d4", False), ("none", "none", True)]


@pytest.mark.parametrize(("requested", "applied", "warned"), VIEWS)
def test_another_augmentation_than_in_scoring_gives_a_warning(
    requested: Tta | None, applied: Tta, warned: bool
) -> None:
    checkpoint = {**checkpoint_of(build_net(ModelParams.model_validate(MODEL), 5), MODEL), "prediction": {"tta": "d4"}}
    predictor = WindowPredictor(checkpoint, HardwareParams(device="cpu", precision="32-true"), tta=requested)
    assert predictor.tta == applied
    assert all("scored with test-time augmentation 'd4'" in warning for warning in predictor.warnings)
    assert len(predictor.warnings) == warned


def test_errors_that_smaller_windows_do_not_solve_are_raised() -> None:
    pre = np.zeros((2, 320, 320, 3), np.uint8)
    with pytest.raises(torch.OutOfMemoryError):
        Cramped(100, ERRORS[0])(pre, pre)
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        Cramped(100, RuntimeError("mat1 and mat2 shapes cannot be multiplied"))(pre, pre)
