from __future__ import annotations

import pytest
from sample_on_disk import SIZE, Sample

from xview2_siamese_unet.config.dataset import SampleParams
from xview2_siamese_unet.synthetic import plan_sample, write_scene


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """The sample of the default parameters, rendered once."""
    root = tmp_path_factory.mktemp("sample")
    scenes = plan_sample(SampleParams())
    for scene in scenes:
        write_scene(root, scene, SIZE)
    return Sample(root, scenes)
