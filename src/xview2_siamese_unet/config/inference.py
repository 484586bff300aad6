"""How a pair of one's own images is assessed."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from xview2_siamese_unet.config.base import Strict
from xview2_siamese_unet.config.prediction import Tta

Bands = tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]]
Share = Annotated[float, Field(ge=0, le=1)]
_WORD_OFF = BeforeValidator(lambda value: "off" if value is False else value)
"""YAML reads the bare word off as false."""
Format = Literal["geojson", "geoparquet"]
"""What buildings are written in, beside the GeoPackage."""


class ImageParams(Strict):
    """How grey values become the bytes that the net was trained on."""

    pre_bands: Bands | None = None
    """Numbers of red, green and blue in the image before; nothing: as its colour interpretation says."""
    post_bands: Bands | None = None
    """The same for the image after."""
    stretch: tuple[float, float] | None = None
    """Values of both dates that become 0 and 255; nothing: 8-bit as it is, more bits by common percentiles."""
    black_is_no_data: bool = True
    """A pixel that is 0 in all three bands holds no data, as in xBD."""

    @field_validator("stretch")
    @classmethod
    def _low_below_high(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and not -math.inf < value[0] < value[1] < math.inf:
            raise ValueError("two finite numbers, the first below the second")
        return value


class WindowParams(Strict):
    """How the net walks over the grid."""

    size: int = Field(default=1024, ge=64, multiple_of=32)
    """Side of a window in pixels; a scene of xBD fits into one of 1024, and is assessed as it is scored."""
    overlap: int = Field(default=128, ge=0, multiple_of=4)
    """Pixels that neighbours share; a quarter at each inner side is context only, the half between is blended."""
    batch_size: int | None = Field(default=None, ge=1)
    """Windows at a time, halved when memory runs out; nothing: 1 on a CPU, 4 on a GPU."""
    tta: Tta | None = None
    """Test-time augmentation: `none`, four `flips`, or the eight symmetries of a square (`d4`), each view as slow as
    the first; nothing: as the model was scored."""

    @model_validator(mode="after")
    def _overlap_below_half(self) -> Self:
        if self.overlap * 2 > self.size:
            raise ValueError("an overlap of at most half the size")
        return self


class BuildingParams(Strict):
    """What a building is and when it is judged."""

    id_column: str | None = None
    """Column of the footprints that holds their ids; nothing: the first of `building_id`, `id`, `objectid`, `fid`, in
    any case, that does not repeat, or else their order."""
    min_area: float = Field(default=10.0, ge=0)
    """Square metres below which a patch of the model's own mask is no building."""
    simplify: float = Field(default=0.75, ge=0)
    """Pixels by which an outline of the model's own mask may be straightened."""
    min_visible: Share = 0.5
    """Share of a building that both dates must show for it to be judged."""
    abstain_below: Share = 0.0
    """Confidence below which the answer is withheld."""
    footprint_shift: Annotated[Literal["off", "auto"], _WORD_OFF] = "off"
    """`auto` measures how far given footprints lie beside the buildings that the model sees, and moves all of them."""


class InferenceParams(Strict):
    """Two images of one's own → which buildings are damaged."""

    pre: Path | None = None
    """Image before the disaster: a GeoTIFF, a VRT, or a folder of GeoTIFF tiles."""
    post: Path | None = None
    """Image after the disaster."""
    out: Path | None = None
    """Folder of the products; only with `--params` or `kedro assess`, because the catalog has to know it too."""
    model: Path | None = None
    """File of a checkpoint; nothing: the best one of this environment."""
    footprints: Path | None = None
    """Building outlines (GeoPackage, GeoJSON, GeoJSON lines, FlatGeobuf, Shapefile, GeoParquet); of several layers one
    is named as in QGIS, `city.gpkg|layername=houses`, here and below; nothing: the model's own mask."""
    aoi: Path | None = None
    """Polygons outside of which nothing is assessed."""
    zones: Path | None = None
    """Polygons, such as districts, to count buildings by."""
    zone_column: str | None = None
    """Column of the zones with their names; nothing: the first of `name`, `id` that is not empty, or else row
    numbers. Rows of one name are one zone."""
    formats: tuple[Format, ...] = ()
    """What buildings are also written in: GeoJSON after RFC 7946, GeoParquet."""
    overwrite: bool = False
    """Replace an assessment that the folder holds."""
    pixel_size: float | None = Field(default=None, gt=0)
    """Metres; nothing: the coarser of the two dates."""
    max_pixels: int = Field(default=20_000_000_000, ge=1)
    """Largest grid that is begun."""
    registration: Annotated[Literal["auto", "global", "off"], _WORD_OFF] = "auto"
    """`global` corrects one shift between the dates where it is sure, `auto` also one that changes from place to place;
    `off` leaves them."""
    images: ImageParams = ImageParams()
    windows: WindowParams = WindowParams()
    buildings: BuildingParams = BuildingParams()
