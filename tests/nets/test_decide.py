from __future__ import annotations

import torch

from xview2_siamese_unet.nets.decide import decide
from xview2_siamese_unet.nets.siamese_unet import Logits
from xview2_siamese_unet.nets.thresholds import Thresholds


def logits(building: float, damage: list[float]) -> Logits:
    """Of one pixel; `building` is the probability of one."""
    one = torch.tensor([1 - building, building]).log().view(1, 2, 1, 1)
    return Logits(one, torch.tensor(damage).view(1, -1, 1, 1))


def test_the_localisation_head_says_where_and_the_damage_head_what() -> None:
    assert decide(logits(0.9, [0.0, 1.0, 5.0, 2.0, 3.0])).item() == 2
    assert decide(logits(0.4, [0.0, 1.0, 5.0, 2.0, 3.0])).item() == 0
    assert decide(logits(0.4, [0.0, 1.0, 5.0, 2.0, 3.0]), Thresholds(0.3)).item() == 2


def test_where_there_is_damage_less_of_a_building_is_enough() -> None:
    thresholds = Thresholds(building=0.5, damaged=0.2)
    assert decide(logits(0.3, [0.0, 1.0, 5.0, 2.0, 3.0]), thresholds).item() == 2
    assert decide(logits(0.3, [0.0, 5.0, 1.0, 2.0, 3.0]), thresholds).item() == 0
    assert decide(logits(0.3, [0.0, 0.0, 1.0, 2.0, 3.0, 9.0]), thresholds).item() == 0


def test_the_background_of_the_damage_head_says_nothing() -> None:
    assert decide(logits(0.9, [9.0, 1.0, 0.0, 0.0, 0.0])).item() == 1


def test_with_a_class_of_its_own_unclassified_can_be_answered() -> None:
    code = decide(logits(0.9, [0.0, 0.0, 0.0, 0.0, 0.0, 9.0]))
    assert (code.item(), code.dtype) == (5, torch.uint8)
