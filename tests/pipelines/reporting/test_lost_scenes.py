"""A scene of a split that is no longer in the dataset."""

from __future__ import annotations

from types import SimpleNamespace

import pandas as pd
import pytest

from xview2_siamese_unet.config.modelling import HardwareParams
from xview2_siamese_unet.config.reporting import ReportingParams
from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.pipelines.reporting.nodes import predict
from xview2_siamese_unet.xbd.ingest import SCENE_COLUMNS

NAMES = [f"socal-fire_{number:08d}" for number in range(3)]


def test_it_is_named_before_anything_is_predicted() -> None:
    answers = predict(
        checkpoint={},
        store=SimpleNamespace(),
        scenes=pd.DataFrame({"scene": NAMES[:2]}, columns=list(SCENE_COLUMNS)),
        splits=pd.DataFrame({"scene": NAMES, "split": "test"}),
        params=ReportingParams(),
        hardware=HardwareParams(),
    )
    with pytest.raises(DataError, match=rf"not in the table of scenes.*{NAMES[2]}.*--pipelines data_processing"):
        next(answers)
