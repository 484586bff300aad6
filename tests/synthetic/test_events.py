from __future__ import annotations

import pickle
from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from xview2_siamese_unet.config.dataset import SampleParams, SampleScenes
from xview2_siamese_unet.synthetic import plan_sample
from xview2_siamese_unet.synthetic.events import EVENTS, SEVERITIES
from xview2_siamese_unet.xbd.scenes import parse_stem

counts = st.integers(0, 40)
scene_counts = st.builds(SampleScenes, tier1=counts, tier3=counts, hold=counts, test=counts)


@given(scene_counts, st.integers(0, 2**40))
def test_the_plan_has_the_requested_scenes_with_unique_names(scenes: SampleScenes, seed: int) -> None:
    plan = plan_sample(SampleParams(seed=seed, scenes=scenes))
    assert Counter(s.tier for s in plan) == Counter(scenes.model_dump())
    assert len({s.id for s in plan}) == len(plan)
    assert all(parse_stem(s.id.stem("post")) == (s.id, "post") for s in plan)


@given(scene_counts, scene_counts)
def test_more_scenes_do_not_change_the_others(few: SampleScenes, more: SampleScenes) -> None:
    most = SampleScenes(**{k: max(v, more.model_dump()[k]) for k, v in few.model_dump().items()})
    assert set(plan_sample(SampleParams(scenes=few))) <= set(plan_sample(SampleParams(scenes=most)))


def test_tier3_has_other_disasters_than_the_other_tiers() -> None:
    plan = plan_sample(SampleParams())
    names = {tier: {s.event.name for s in plan if s.tier == tier} for tier in EVENTS}
    assert names["tier1"] == names["hold"] == names["test"]
    assert not names["tier1"] & names["tier3"]
    assert {event.latitude > 0 for events in EVENTS.values() for event in events} == {True, False}


def test_class_shares_are_imbalanced_and_take_turns() -> None:
    np.testing.assert_allclose(np.sum(SEVERITIES, axis=1), 1)
    np.testing.assert_allclose(np.mean(SEVERITIES, axis=0), (0.60, 0.13, 0.13, 0.14), atol=0.015)
    plan = plan_sample(SampleParams(scenes=SampleScenes(tier1=4, tier3=4, hold=4, test=4)))
    assert all({s.shares for s in plan if s.tier == tier} == set(SEVERITIES) for tier in EVENTS)


def test_a_scene_can_be_pickled_and_its_random_streams_are_independent() -> None:
    scene = plan_sample(SampleParams())[0]
    assert pickle.loads(pickle.dumps(scene)) == scene  # noqa: S301
    assert scene.rng("layout").random() == scene.rng("layout").random()
    assert scene.rng("layout").random() != scene.rng("trees").random()
