"""Model cards: one YAML file that describes a model as one or several files, their inputs, outputs and licence.

A member is an ONNX network, a checkpoint of this project, or another card. Reading a card runs no code. The content has
the keys of a checkpoint (`models/checkpoint.py`), so that both are described and tuned in the same way.
"""

from __future__ import annotations

import re
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Final, Literal, Self

import yaml  # type: ignore[import-untyped]
from pydantic import Field, ValidationInfo, field_validator, model_validator

from xview2_siamese_unet.atomic import sha256
from xview2_siamese_unet.config.modelling import PredictionParams
from xview2_siamese_unet.config.validation import Share, Strict, validate
from xview2_siamese_unet.damage import SCORED, Damage
from xview2_siamese_unet.errors import CheckpointError

SUFFIXES: Final = (".yml", ".yaml")
ONNX: Final = ".onnx"
MODEL_SUFFIXES: Final = frozenset({".pth", ".pt", ".ckpt", ".safetensors", ONNX, *SUFFIXES})
"""Endings of checkpoints, ONNX networks and cards; any other name that is not a file is a run."""
_LARGEST: Final = 2**20  # bytes of a card
_DAMAGE: Final = tuple(Damage(code).word for code in SCORED)
_BACKGROUND, _UNCLASSIFIED, _BUILDING = Damage.BACKGROUND.word, Damage.UNCLASSIFIED.word, "building"
CLASSES: Final = {
    "building": (_BUILDING,),
    "damage": _DAMAGE,
    "heads": (_BUILDING, *_DAMAGE),
    "five": (_BACKGROUND, *_DAMAGE),
}
"""Output of a network → its classes, in the order in which this project uses them."""
_UNSAFE: Final = re.compile(r"^[/~\\]|^[A-Za-z]:|\\|\x00")

Rgb = tuple[float, float, float]
PositiveRgb = tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def _require_inside(name: str) -> str:
    if not name or _UNSAFE.search(name) or ".." in PurePosixPath(name).parts:
        raise ValueError("must be a path inside the folder of the card")
    return name


class Member(Strict):
    """A file of a model; a checkpoint or a card needs `file` and `sha256` only."""

    file: str
    """Relative to the folder of the card, and inside it."""
    sha256: Sha256
    """Digest of the file."""
    data: dict[str, Sha256] = Field(default_factory=dict)
    """Files of external data of an ONNX network, and their digests."""
    input: Literal["pre", "post", "pair"] = "pair"
    """Images in the input: `pair` is both, pre-disaster first, as six channels."""
    output: Literal["building", "damage", "heads", "five"] | None = None
    """`building`: one logit; `damage`: the four classes; `heads`: both of these; `five`: background and the classes."""
    activation: Literal["logits", "probabilities"] = "logits"
    """Whether the output is taken before or after the softmax (the sigmoid, for a building)."""
    classes: tuple[str, ...] = ()
    """Classes in the order of the output's channels; by default that of `output`."""
    channels: Literal["rgb", "bgr"] = "rgb"
    """Order of the colours of an image."""
    scale: float = Field(default=1.0, gt=0)
    """Grey values, 0 to 255, are divided by it."""
    mean: Rgb = (0.0, 0.0, 0.0)
    """Subtracted from scaled values, in the order of `channels`."""
    std: PositiveRgb = (1.0, 1.0, 1.0)
    """Then values are divided by it."""
    multiple: int = Field(default=1, ge=1, le=1024)
    """Height and width of the input must be multiples of it; images are padded below and to the right."""
    padding: Literal["reflect", "edge", "black"] = "reflect"
    """Content of the padding."""

    _inside = field_validator("file")(_require_inside)

    @field_validator("data")
    @classmethod
    def _data_inside(cls, data: dict[str, str]) -> dict[str, str]:
        return {_require_inside(name): digest for name, digest in data.items()}

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if not self.is_onnx:
            if more := sorted(self.model_fields_set - {"file", "sha256"}):
                raise ValueError(
                    f"is not an ONNX network ({self.file}) and must have only file and sha256, not {more[0]}"
                )
            return self
        if self.output is None:
            raise ValueError(f"needs output, one of {', '.join(CLASSES)}, for {self.file}")
        expected = CLASSES[self.output]
        more = [_UNCLASSIFIED] if self.output == "heads" and len(self.classes) == len(expected) + 1 else []
        if self.classes and sorted(self.classes) != sorted([*expected, *more]):
            raise ValueError(
                f"must have {len(expected)} classes for output {self.output}, {', '.join(expected)} in any order, "
                f"got {len(self.classes)}: {', '.join(self.classes)}"
            )
        return self

    @property
    def is_onnx(self) -> bool:
        """Whether the file is an ONNX network."""
        return self.file.endswith(ONNX)

    @property
    def is_card(self) -> bool:
        """Whether the file is another card."""
        return self.file.endswith(SUFFIXES)

    @property
    def order(self) -> list[int]:
        """Channels of the output in the order of `CLASSES`."""
        expected = CLASSES[self.output or "heads"]
        named = self.classes or expected
        return [named.index(name) for name in (*expected, *(name for name in named if name == _UNCLASSIFIED))]


class ThresholdParams(Strict):
    """Thresholds of the decision rule, as in a checkpoint."""

    building: Share = 0.5
    damaged: Share = 0.5


class TemperatureParams(Strict):
    """Divisors of the logits of each head."""

    building: float = Field(default=1.0, gt=0)
    damage: float = Field(default=1.0, gt=0)


class ChannelParams(Strict):
    """Mean and standard deviation of the training images in grey values."""

    mean: Rgb
    std: PositiveRgb


class Card(Strict):
    """A model. `architecture`, `framework`, `tasks`, `total_parameters` and the like are named as in STAC MLM."""

    name: str
    """Of the model."""
    licence: str
    """Of the weights."""
    origin: str = ""
    """Author, version and address."""
    members: tuple[Member, ...] = Field(min_length=1)
    """Files; probabilities of members with the same output are averaged."""
    pixel_size: float | None = Field(default=None, gt=0)
    """Metres of a pixel of the training images."""
    thresholds: ThresholdParams = ThresholdParams()
    temperatures: TemperatureParams = TemperatureParams()
    """Of ONNX networks."""
    ensemble_temperatures: TemperatureParams = TemperatureParams()
    """Of the averaged probabilities."""
    prediction: PredictionParams = PredictionParams()
    """Test-time augmentation of all members, vote and vote weights."""
    dataset: str = "data that the card does not name"
    """Training data."""
    events: tuple[str, ...] = ()
    """Disasters in the training data."""
    channels: ChannelParams | None = None
    """Channel statistics, for information; the normalisation is part of each member."""
    scores: dict[str, float] = Field(default_factory=dict)
    """Metrics, such as `score` and `localization_f1`."""
    intervals: dict[str, tuple[float, float]] = Field(default_factory=dict)
    """Confidence intervals of these, 95 %."""
    scored_on: str = ""
    """Data behind the scores."""
    version: str = ""
    """Of the code that trained the model."""
    commit: str = ""
    """Of the code that trained the model."""
    architecture: str = ""
    framework: str = ""
    tasks: tuple[str, ...] = ("semantic-segmentation",)
    total_parameters: int | None = None
    pretrained_source: str = ""

    @field_validator("members")
    @classmethod
    def _both_heads(cls, members: tuple[Member, ...]) -> tuple[Member, ...]:
        if len({member.output for member in members} & {"building", "damage"}) == 1:
            raise ValueError("must have both output building and output damage, not one of them")
        return members

    @field_validator("temperatures")
    @classmethod
    def _of_networks(cls, temperatures: TemperatureParams, info: ValidationInfo) -> TemperatureParams:
        if temperatures != TemperatureParams() and not any(member.is_onnx for member in info.data.get("members", ())):
            raise ValueError("must be left out without ONNX members: checkpoints and cards have their own")
        return temperatures


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """Rejects aliases, because a few lines of them can expand to more values than fit in memory."""

    def compose_node(self, parent: yaml.Node | None, index: object) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise yaml.YAMLError(f"aliases such as *{event.anchor} are not allowed")
        return super().compose_node(parent, index)


def read_card(path: Path) -> dict[str, Any]:
    """Check the files of a card; return it with the keys of a checkpoint.

    Returns:
        The keys of `Card` as plain values, and `card`, `folder` and `fingerprint`, the digest of the file.

    Raises:
        CheckpointError: no YAML file, or a member that is missing, outside of the folder, or changed.
        ConfigError: unknown keys or values.
    """
    if not path.is_file():
        raise CheckpointError(f"{path} is {'a folder' if path.is_dir() else 'not a file'}.", hint="Name a model card.")
    card = parse_card(path)
    for member in card.members:
        for name, digest in {member.file: member.sha256, **member.data}.items():
            _check_file(path, name, digest)
        if member.is_card:
            read_card(path.parent / member.file)
    members = [member.model_dump(mode="json", exclude_defaults=True) for member in card.members]
    content = {**card.model_dump(mode="json"), "members": members}
    return {**content, "card": card, "folder": path.parent, "fingerprint": sha256(path)}


def parse_card(path: Path) -> Card:
    """Return a card without checking the files of its members.

    Raises:
        CheckpointError: no YAML file with keys.
        ConfigError: unknown keys or values.
    """
    try:
        with path.open("rb") as file:
            raw = _Loader(file.read(_LARGEST)).get_single_data()
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{path} cannot be read as YAML ({' '.join(str(error).split())}).", hint="Correct the model card."
        ) from error
    if not isinstance(raw, dict) or not all(isinstance(key, str) for key in raw):
        raise CheckpointError(f"{path} is not a model card: it has no keys.", hint="docs/assess.md has an example.")
    return validate(raw, Card, str(path))


def find_card(path: Path) -> Path:
    """Return the card next to an ONNX network, `x.yml` for `x.onnx`.

    Raises:
        CheckpointError: there is no such network, no card, or one that describes other files.
    """
    if not path.is_file():
        raise CheckpointError(f"{path} is {'a folder' if path.is_dir() else 'not a file'}.", hint="Name a model card.")
    card = next((file for suffix in SUFFIXES if (file := path.with_suffix(suffix)).is_file()), None)
    if card is None:
        raise CheckpointError(
            f"{path} has no model card {path.with_suffix(SUFFIXES[0]).name} next to it.",
            hint="Write one (docs/assess.md has an example), or name a card with --model.",
        )
    if path.name not in {member.file for member in parse_card(card).members}:
        raise CheckpointError(f"{card} does not describe {path.name}.", hint="Add it as a member, or name the card.")
    return card


def runtime_version() -> str | None:
    """Return the version of ONNX Runtime, `None` if it is not installed."""
    for package in ("onnxruntime", "onnxruntime-gpu"):
        with suppress(PackageNotFoundError):
            return version(package)
    return None


def write_card(card: Card) -> str:
    """Return a card as YAML, without values that are the defaults."""
    plain = card.model_dump(mode="json", exclude_defaults=True)
    text: str = yaml.dump(plain, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
    return text


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]
    """Writes no aliases, and short lists in one line."""

    def ignore_aliases(self, data: object) -> bool:
        return True

    def represent_sequence(self, tag: str, sequence: Any, flow_style: bool | None = None) -> Any:  # noqa: ANN401
        plain = not any(isinstance(item, dict) for item in sequence)
        return super().represent_sequence(tag, sequence, flow_style=plain or flow_style)


_Dumper.add_representer(list, lambda dumper, data: dumper.represent_sequence("tag:yaml.org,2002:seq", data))


def _check_file(card: Path, name: str, digest: str) -> None:
    file = card.parent / name
    if not file.resolve().is_relative_to(card.parent.resolve()):
        raise CheckpointError(
            f"{name} in {card} is outside of the folder of the card.", hint="Copy the file into the folder."
        )
    if not file.is_file():
        raise CheckpointError(f"{name} in {card} is not a file.", hint=f"Put it into {card.parent}.")
    if (actual := sha256(file)) != digest:
        raise CheckpointError(
            f"{file} is not the file that {card.name} describes: its SHA-256 is {actual}, not {digest}.",
            hint="Get the original file again.",
        )
