"""An assessment without a model (`--model none`): grid, co-registration, footprints and visibility."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from xview2_siamese_unet.config.inference import InferenceParams
from xview2_siamese_unet.damage import SCORED, Damage
from xview2_siamese_unet.errors import ConfigError
from xview2_siamese_unet.raster.io import NO_DATA
from xview2_siamese_unet.raster.reader import Pair
from xview2_siamese_unet.raster.windows import WindowPlan
from xview2_siamese_unet.types import AnyArray

NONE: Final = Path("none")
"""Value of `inference.model` for no model, and of `inference.pre` for no pre-disaster image."""
NO_MODEL_ID: Final = "none"


def no_model() -> dict[str, Any]:
    """Return the substitute for a checkpoint."""
    return {"fingerprint": NO_MODEL_ID, "dataset": None}


def is_no_model(checkpoint: Mapping[str, Any]) -> bool:
    """Return whether a checkpoint, or the record of a model, is the substitute for one."""
    return bool(checkpoint.get("fingerprint") == NO_MODEL_ID)


def check_no_model(params: InferenceParams) -> None:
    """Check that the parameters fit an assessment without a model, or without a pre-disaster image.

    Raises:
        ConfigError: no footprints, or a model that would need both images.
    """
    if params.pre == NONE and params.model != NONE:
        raise ConfigError(
            "A model needs both images, but PRE is none.",
            hint="Add --model none and --footprints FILE, then run kedro label and kedro adapt on the folder.",
        )
    if params.model == NONE and params.footprints is None:
        raise ConfigError(
            "An assessment without a model needs footprints.",
            hint="Add --footprints FILE.",
        )


def visible_rows(pair: Pair, plan: WindowPlan) -> Iterator[tuple[int, Iterator[dict[str, AnyArray | None]]]]:
    """Yield rows of blocks as `prediction.predict_rows` does: un-classified where both images hold data.

    All probabilities are 0, also of background, because nothing is predicted.
    """
    with pair.open() as reader:
        for i in range(plan.rows):
            blocks = []
            for j in range(plan.columns):
                rows, columns = plan.block(i, j)
                height, width = rows.stop - rows.start, columns.stop - columns.start
                valid = reader.read(rows.start, columns.start, height, width).valid
                block = np.full((len(SCORED) + 2, height, width), NO_DATA, np.uint8)
                block[:, valid] = 0
                block[-1, valid] = int(Damage.UNCLASSIFIED)
                blocks.append({"block": block if valid.any() else None, "below": None})
            yield i, iter(blocks)
