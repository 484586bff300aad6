"""What a net learns from, and the marks by which a run knows its own traces."""

from __future__ import annotations

from hashlib import blake2b, file_digest
from typing import NamedTuple

from xview2_siamese_unet.config.modelling import Recipe
from xview2_siamese_unet.raster.store import Store
from xview2_siamese_unet.training.commit import code_digest


class TrainingData(NamedTuple):
    """What a net learns from.

    Attributes:
        name: of the dataset, for the checkpoint.
        store: where the scenes are.
        train: names of the scenes that are learnt from.
        validation: names of the scenes that decide which epoch was best; none of them is in `train`.
        sample_weights: how often each scene of `train` is drawn, (n,).
        class_weights: `pre` (2,) and `post` (k,).
        channels: `mean` and `std` of red, green and blue, in grey values.
        events: disasters of `train`, as the labels name them.
    """

    name: str
    store: Store
    train: list[str]
    validation: list[str]
    sample_weights: list[float]
    class_weights: dict[str, list[float]]
    channels: dict[str, list[float]]
    events: list[str]


def data_fingerprint(data: TrainingData) -> str:
    """Return a text that changes with any scene, its place in the splits, and any number measured on the scenes."""
    digest = blake2b(digest_size=16)
    for names in (data.train, data.validation):
        rows = data.store.rows(names)
        digest.update("\n".join(names).encode() + data.store.records[rows]["key"].tobytes())
    digest.update(repr((data.sample_weights, data.class_weights, data.channels)).encode())
    return digest.hexdigest()


def fingerprint(data: TrainingData, recipe: Recipe) -> str:
    """Return a text that changes with anything that changes the result: settings, scenes, first weights, code."""
    without: dict[str, bool | set[str]] = {"dataloader": True, "hardware": True, "training": {"reuse", "lr_find"}}
    digest = blake2b(code_digest("training.fit").encode(), digest_size=16)
    digest.update(recipe.model_dump_json(exclude=without).encode() + data_fingerprint(data).encode())
    weights = recipe.model.encoder.weights
    if weights.source == "file" and weights.path is not None and weights.path.is_file():
        with weights.path.open("rb") as file:
            digest.update(file_digest(file, "sha256").digest())
    return digest.hexdigest()
