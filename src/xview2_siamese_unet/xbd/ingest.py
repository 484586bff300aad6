"""Tables of scenes, buildings and problems from the labels of a dataset.

Each step reads the labels that it needs: parsing one again is cheaper than keeping its content.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, fields
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import shapely

from xview2_siamese_unet.errors import DataError, LabelError
from xview2_siamese_unet.xbd.georeference import Georeference, fit_georeference
from xview2_siamese_unet.xbd.labels import Building, Label, PolygonArray, parse_label, parse_polygons
from xview2_siamese_unet.xbd.scenes import PHASES, Phase, ScenePair

SCENE_COLUMNS: Final = {
    "scene": "str", "tier": "str", "disaster": "str", "disaster_type": "str",
    "pre_image": "str", "post_image": "str", "pre_date": "str", "post_date": "str",
    "width": "int64", "height": "int64", "buildings": "int64", "clipped": "int64", "outside": "int64",
    "epsg": "Int64", "left": "float64", "top": "float64", "pixel": "float64", "residual": "float64",
    "labels_key": "str",
}  # fmt: skip
"""One row per scene: paths below the dataset folder, size in pixels, buildings, and the UTM grid in metres if known.
`clipped` counts buildings that extend over the edge of an image, `outside` those entirely outside of one."""
BUILDING_COLUMNS: Final = {
    "uid": "str", "scene": "str", "damage": "str", "polygon": "str", "pre_polygon": "str", "area": "float64",
}  # fmt: skip
"""One row per building: its damage label, WKT in pixels of the post- and of the pre-disaster image, and the area of the
former in square pixels."""
PROBLEM_COLUMNS: Final = {name: "str" for name in ("scene", "problem", "remedy", "consequence")}
"""One row per problem: what is wrong, what to do, and the consequence (`LEFT_OUT` or `NO_GEOREFERENCE`)."""
BUILDING_SCHEMA: Final = pa.schema(
    [(name, pa.float64() if kind == "float64" else pa.string()) for name, kind in BUILDING_COLUMNS.items()]
)
LEFT_OUT: Final = "left out"
NO_GEOREFERENCE: Final = "used without georeference"

_GROUP: Final = 2048
"""About how many buildings are in memory at a time."""

ReadShape = Callable[[Path], tuple[int, int, int]]
Row = dict[str, Any]


class SceneLabels(NamedTuple):
    """The labels of one scene.

    Attributes:
        scene: a row of `SCENE_COLUMNS`, `None` if the scene is left out; unknown values are missing.
        problem: a row of `PROBLEM_COLUMNS`, if there is one.
    """

    scene: Row | None
    problem: tuple[str, ...] | None


def read_labels(root: Path, pair: ScenePair, *, read_shape: ReadShape, stop: bool) -> SceneLabels:
    """Read both labels of a scene.

    Args:
        root: the dataset folder.
        pair: the files of the scene.
        read_shape: path of an image → bands, height, width.
        stop: raise a problem instead of leaving the scene out.

    Raises:
        DataError: the scene cannot be used, and `stop` is true.
    """
    try:
        row = _read_scene(root, pair, read_shape)
    except DataError as error:
        return SceneLabels(None, problem_row(str(pair.scene), error, stop=stop))
    return SceneLabels(row, _no_georeference(pair) if row["buildings"] and "epsg" not in row else None)


def tabulate_labels(
    root: Path, files: pd.DataFrame, results: Iterable[SceneLabels]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the table of usable scenes and the table of problems.

    Args:
        root: the dataset folder.
        files: of `FILE_COLUMNS`; its problems come first.
        results: of `read_labels`, for the requested scenes.

    Raises:
        DataError: no scene can be used.
    """
    incomplete = files.loc[files["problem"] != "", ["scene", "problem", "remedy"]].assign(consequence=LEFT_OUT)
    problems, scenes = list(incomplete.itertuples(index=False, name=None)), []
    for scene, problem in results:
        scenes += [scene] if scene is not None else []
        problems += [problem] if problem is not None else []
    if not scenes:
        first = f" The first problem: {problems[0][1].removesuffix('.')}." if problems else ""
        raise DataError(
            f"{root} has no usable scene.{first}", hint="Set dataset.root to the folder of the unpacked xBD download."
        )
    return _table(scenes, SCENE_COLUMNS), _table(problems, PROBLEM_COLUMNS)


def _table(rows: list[Any], columns: dict[str, str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(columns)).astype(columns)


def read_again(root: Path, pair: ScenePair, labels_key: str) -> dict[Phase, Label]:
    """Return both labels of a scene in the table of scenes.

    Raises:
        DataError: they have changed since.
    """
    labels, key = _parse(root, pair, georeferenced=False)
    if key != labels_key:
        raise DataError(
            f"The labels of {pair.scene} have changed since parse_labels read them.",
            hint="Run kedro run --pipelines data_processing again.",
        )
    return labels


def read_buildings(root: Path, work: tuple[ScenePair, str]) -> list[Row]:
    """Return the rows of `BUILDING_COLUMNS` of one scene, given its files and its `labels_key`."""
    pair, key = work
    joined = _joined(read_again(root, pair, key), pair)
    areas = shapely.area(parse_polygons([post.xy for post, _ in joined], pair.labels["post"])).tolist()
    return [
        {
            "uid": post.uid,
            "scene": str(pair.scene),
            "damage": post.damage.word,
            "polygon": post.xy,
            "pre_polygon": pre.xy,
            "area": area,
        }
        for (post, pre), area in zip(joined, areas, strict=True)
        if post.damage is not None  # always: parse_label requires it of a post-disaster label
    ]


def building_tables(scenes: Iterable[list[Row]]) -> Iterator[pa.Table]:
    """Yield the buildings of all scenes in tables of some thousand rows, so that memory does not grow with them."""
    rows: list[Row] = []
    for buildings in scenes:
        rows += buildings
        if len(rows) >= _GROUP:
            yield pa.Table.from_pylist(rows, BUILDING_SCHEMA)
            rows = []
    yield pa.Table.from_pylist(rows, BUILDING_SCHEMA)


def georeferences(scenes: pd.DataFrame) -> dict[str, Georeference | None]:
    """Return the georeference of each scene of a scenes table, `None` if it is not known."""
    return {row["scene"]: georeference(row) for row in scenes.to_dict("records")}


def georeference(scene: Mapping[Any, Any]) -> Georeference | None:
    """Return the georeference of a row of the scenes table, `None` if it is not known."""
    known = pd.notna(scene["epsg"])
    return Georeference(**{field.name: scene[field.name] for field in fields(Georeference)}) if known else None


def problem_row(scene: str, error: DataError, *, stop: bool) -> tuple[str, ...]:
    """Return the row of a scene that is left out.

    Raises:
        DataError: the error itself, if `stop` is true.
    """
    if stop:
        raise error
    return scene, error.message, error.hint, LEFT_OUT


def _no_georeference(pair: ScenePair) -> tuple[str, ...]:
    return (
        str(pair.scene),
        f"{pair.labels['post']} has features.lng_lat that no north-up UTM grid fits within a pixel.",
        "Restore the label from the download if its masks need a georeference.",
        NO_GEOREFERENCE,
    )


def _parse(root: Path, pair: ScenePair, *, georeferenced: bool) -> tuple[dict[Phase, Label], str]:
    """Return both labels, and a text that changes with them."""
    data = {phase: _read(root / pair.labels[phase]) for phase in PHASES}
    labels = {
        phase: parse_label(
            data[phase], phase, where=pair.labels[phase], georeferenced=georeferenced and phase == "post"
        )
        for phase in PHASES
    }
    return labels, blake2b(data["pre"] + data["post"], digest_size=16).hexdigest()


def _read_scene(root: Path, pair: ScenePair, read_shape: ReadShape) -> Row:
    labels, key = _parse(root, pair, georeferenced=True)
    for phase in PHASES:
        _check_size(root / pair.images[phase], labels[phase], read_shape)
    joined = _joined(labels, pair)
    before = parse_polygons([pre.xy for _, pre in joined], pair.labels["pre"])
    xy = parse_polygons([post.xy for post, _ in joined], pair.labels["post"])
    degrees = [post.lng_lat or "" for post, _ in joined]
    # Another layout may have no degrees at all.
    grid = fit_georeference(xy, parse_polygons(degrees, pair.labels["post"])) if any(degrees) else None
    row = _scene_row(pair, labels)
    clipped, outside = _beyond((before, xy), row["width"], row["height"])
    counted = {"buildings": len(joined), "clipped": clipped, "outside": outside, "labels_key": key}
    return row | counted | (asdict(grid) if grid else {})


def _beyond(phases: Iterable[PolygonArray], width: int, height: int) -> tuple[int, int]:
    """Return how many buildings extend over the edge of either image, and how many are entirely outside of one."""
    over, outside = [], []
    for polygons in phases:
        left, top, right, bottom = shapely.bounds(polygons).reshape(-1, 4).T
        over.append((left < 0) | (top < 0) | (right > width) | (bottom > height))
        outside.append((right <= 0) | (bottom <= 0) | (left >= width) | (top >= height))
    gone = np.any(outside, axis=0)
    return int((np.any(over, axis=0) & ~gone).sum()), int(gone.sum())


def _read(label: Path) -> bytes:
    try:
        return label.read_bytes()
    except OSError as error:
        raise LabelError(
            f"{label} cannot be read ({error.strerror}).",
            hint="Restore the file from the download, or set data_processing.on_problem: skip.",
        ) from error


def _scene_row(pair: ScenePair, labels: dict[Phase, Label]) -> Row:
    metadata = labels["post"].metadata
    return {
        "scene": str(pair.scene),
        "tier": pair.tier,
        "disaster": metadata.disaster,  # early names, such as test_pre_00000, do not have it
        "disaster_type": metadata.disaster_type,
        **{f"{phase}_image": pair.images[phase] for phase in PHASES},
        **{f"{phase}_date": labels[phase].metadata.capture_date for phase in PHASES},
        "width": metadata.width,
        "height": metadata.height,
    }


def _joined(labels: dict[Phase, Label], pair: ScenePair) -> list[tuple[Building, Building]]:
    """Pair the two polygons of each building by uid: their geometry differs between the images in every scene."""
    before = {building.uid: building for building in labels["pre"].buildings}
    after = labels["post"].buildings
    if before.keys() != {building.uid for building in after}:
        raise LabelError(
            f"{pair.labels['pre']} has {len(before)} buildings, but {pair.labels['post']} has {len(after)} or others.",
            hint="Restore both labels from the download, or set data_processing.on_problem: skip.",
        )
    return [(building, before[building.uid]) for building in after]


def _check_size(image: Path, label: Label, read_shape: ReadShape) -> None:
    bands, height, width = read_shape(image)
    expected = label.metadata.height, label.metadata.width
    if (height, width) != expected or bands == 2:
        raise DataError(
            f"{image} has {width} × {height} pixels in {bands} band(s), not {expected[1]} × {expected[0]} as in its "
            "label, in 3 bands or one.",
            hint="Restore the image from the download, or set data_processing.on_problem: skip.",
        )
