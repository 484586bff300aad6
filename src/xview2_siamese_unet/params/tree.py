"""The whole tree of parameters, so that sections which this run does not read are checked as well."""

from __future__ import annotations

from xview2_siamese_unet.params.base import Strict
from xview2_siamese_unet.params.dataset import DatasetParams


class Parameters(Strict):
    """Everything that parameters files may say; `params:<section>` gives one field to a node."""

    dataset: DatasetParams = DatasetParams()
