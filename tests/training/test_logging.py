from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny_training import draw_scene

from xview2_siamese_unet.config.modelling import Recipe
from xview2_siamese_unet.damage import Damage
from xview2_siamese_unet.training.data import TrainingData
from xview2_siamese_unet.training.logging import Panels, draw_panel
from xview2_siamese_unet.training.trainer import Folders, fit


def test_tensorboard_has_scalars_and_an_image_and_no_histogram(
    data: TrainingData, folders: Folders, recipe: Callable[..., Recipe]
) -> None:
    fit(data, recipe(training={"epochs": 2, "crops_per_scene": 8}), folders, cores=1)
    (written,) = folders.tensorboard_logs.rglob("events.*")
    events = EventAccumulator(str(written.parent))
    events.Reload()
    tags = events.Tags()
    classes = {f"validation_damage_f1_{code.name.lower()}" for code in (*Damage,)[1:5]}
    wanted = {"train_loss_step", "train_loss_epoch", "lr-AdamW", "gradient_norm", "validation_score", "validation_loss"}
    wanted |= {"train_loss_localization", "train_loss_damage"}
    assert wanted | classes <= set(tags["scalars"])
    images = events.Images("validation")
    assert [(image.width, image.height) for image in images] == [(256, 128)] * 2  # two scenes, four pictures of each
    assert not tags["histograms"]


def test_the_scenes_with_most_damage_are_shown_in_any_order_of_input() -> None:
    def town(damaged: int) -> np.ndarray:
        scene = np.zeros((64, 64, 8), np.uint8)
        scene[..., 7].flat[:damaged] = Damage.DESTROYED
        scene[..., 7].flat[damaged : 2 * damaged] = Damage.NO_DAMAGE
        scene[..., 0] = damaged
        return scene

    pictures = []
    for order in ([1, 2, 3, 4, 5, 6], [6, 3, 1, 5, 4, 2]):
        panels = Panels()
        for damaged in order:
            scenes = torch.from_numpy(town(damaged))[None]
            panels.offer(scenes, torch.zeros(1, 64, 64, dtype=torch.uint8))
        pictures.append(panels.image())
    assert [int(pictures[0][64 * n, 0, 0]) for n in range(4)] == [6, 5, 4, 3]
    assert np.array_equal(*pictures)


def test_a_panel_is_four_images_side_by_side() -> None:
    scene = draw_scene(0)
    panel = draw_panel(scene, np.full((64, 64), 4, np.uint8))
    assert panel.shape == (64, 256, 3)
    assert np.array_equal(panel[:, 64:128], scene[..., 3:6])
    assert (panel[:, 192:] == Damage.DESTROYED.rgb).all()
    assert draw_panel(np.zeros((1024, 1024, 8), np.uint8), np.zeros((1024, 1024), np.uint8)).shape == (256, 1024, 3)
