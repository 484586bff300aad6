"""Of several crops, the same one as by the plain way: a choice that moved would move every training with it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from small_store import write_store
from xview2_siamese_unet.raster.store import Store
from xview2_siamese_unet.training.crops import Crops
from xview2_siamese_unet.training.draws import Draw
from xview2_siamese_unet.training.resident import Resident, ResidentCrops

HEIGHT, WIDTH = 96, 128
NAMES = ["nothing", "squares", "corner", "sparse", "noise", "edge"]


@pytest.fixture(scope="module")
def masks(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Masks in which few crops are equally rare, many, or all of them; images that tell them apart."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (len(NAMES), HEIGHT, WIDTH, 8), dtype=np.uint8)
    damage = pixels[..., 7]
    damage[:4] = 0
    for top, left in rng.integers((HEIGHT, WIDTH), size=(12, 2)):
        damage[1, top : top + 6, left : left + 6] = rng.integers(1, 6)
    damage[2, :8, :8] = 2
    damage[3, ::16, ::16] = 4
    damage[4] %= 6
    damage[5] = 3
    damage[5, :, :20] = 0
    pixels[..., 6] = damage > 0
    return write_store(tmp_path_factory.mktemp("masks") / "store", dict(zip(NAMES, pixels, strict=True)))


def plain(scene: np.ndarray, seed: int, side: int, candidates: int) -> np.ndarray:
    random, weights = np.random.default_rng(seed), np.array([0, 1, 5, 5, 2, 0])
    tried = [random.integers((HEIGHT - side + 1, WIDTH - side + 1)) for _ in range(candidates)]
    crops = [scene[top : top + side, left : left + side] for top, left in tried]
    rarities = [int(weights[crop[..., 7]].sum()) for crop in crops]
    return crops[rarities.index(max(rarities))]


@pytest.mark.parametrize("candidates", [1, 2, 3, 10])
@pytest.mark.parametrize("side", [1, 5, 16, 40, 63])
def test_the_first_of_the_rarest_is_taken_wherever_the_scenes_lie(masks: Store, side: int, candidates: int) -> None:
    host = Crops(masks, NAMES, side, candidates)
    device = ResidentCrops(Resident(masks, NAMES, torch.device("cpu")), NAMES, side, candidates)
    draws = [Draw(seed % len(NAMES), seed) for seed in range(60)]
    wanted = [plain(masks.pixels[draw.scene], draw.seed, side, candidates) for draw in draws]
    assert np.array_equal(np.stack([host[draw].numpy() for draw in draws]), wanted)
    assert np.array_equal(device.__getitems__(draws).numpy(), wanted)


@pytest.mark.parametrize(("side", "candidates"), [(5, 1), (5, 10), (40, 10)])
def test_lines_of_the_candidates_are_asked_for_once(
    masks: Store, monkeypatch: pytest.MonkeyPatch, side: int, candidates: int
) -> None:
    spans: list[range] = []
    monkeypatch.setattr(Store, "prefetch", lambda _, row, top, bottom: spans.append(range(top, bottom)))
    for seed in range(20):
        spans.clear()
        Crops(masks, NAMES, side, candidates)[Draw(1, seed)]
        random = np.random.default_rng(seed)
        tops = [random.integers((HEIGHT - side + 1, WIDTH - side + 1))[0] for _ in range(candidates)]
        asked = [line for span in spans for line in span]
        assert asked == sorted({line for top in tops for line in range(top, top + side)})
