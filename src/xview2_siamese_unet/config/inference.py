"""Assessment of a pair of images."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from xview2_siamese_unet.config.modelling import Tta
from xview2_siamese_unet.config.validation import Share, Strict

BandNumbers = tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]]
_WORD_OFF = BeforeValidator(lambda value: "off" if value is False else value)
"""YAML reads the bare word off as false."""


class ImageParams(Strict):
    """Grey values → the bytes that the net was trained on."""

    pre_bands: BandNumbers | None = None
    """Band numbers of red, green and blue in the pre-disaster image; `null`: by its colour interpretation."""
    post_bands: BandNumbers | None = None
    """The same for the post-disaster image."""
    stretch: tuple[float, float] | None = None
    """Values of both images that become 0 and 255; `null`: 8-bit as it is, more bits by common percentiles."""
    black_is_no_data: bool = True
    """A pixel that is 0 in all three bands is no data, as in xBD."""
    find_obscured: bool = True
    """Look for clouds, dense haze, smoke and night, in which no building is assessed."""

    @field_validator("stretch")
    @classmethod
    def _low_below_high(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and not -math.inf < value[0] < value[1] < math.inf:
            raise ValueError("must be two finite numbers, the first below the second")
        return value


class WindowParams(Strict):
    """Windows in which the net is applied to the grid."""

    size: int = Field(default=1024, ge=64, multiple_of=32)
    """Side of a window in pixels; at 1024 a scene of xBD is one window, and is assessed as it is scored."""
    overlap: int = Field(default=128, ge=0, multiple_of=4)
    """Pixels that neighbouring windows share; a quarter at each inner side is context, the half between is blended."""
    batch_size: int | None = Field(default=None, ge=1)
    """Windows at a time, halved when memory runs out; `null`: 1 on a CPU, 4 on a GPU."""
    tta: Tta | None = None
    """Test-time augmentation: `none`, four `flips`, or the eight symmetries of a square (`d4`), each view as slow as
    the first; `null`: as the model was scored."""

    @model_validator(mode="after")
    def _overlap_below_half(self) -> Self:
        if self.overlap * 2 > self.size:
            raise ValueError("must have an overlap of at most half the size")
        return self


class BuildingParams(Strict):
    """Buildings, and the conditions for assessing them."""

    id_column: str | None = None
    """Column of the footprints that holds their ids; `null`: the first of `building_id`, `id`, `objectid`, `fid`, in
    any case, that does not repeat, or else their order."""
    min_area: float = Field(default=10.0, ge=0)
    """Smallest building in square metres, of the model's own mask."""
    simplify: float = Field(default=0.75, ge=0)
    """Tolerance in pixels of the simplified outlines of the model's own mask."""
    min_visible: Share = 0.5
    """Share of a building that both images must show for it to be assessed."""
    abstain_below: Share = 0.0
    """Confidence below which a building is not assessed."""
    footprint_shift: Annotated[Literal["off", "auto"], _WORD_OFF] = "off"
    """`auto` measures the shift between given footprints and predicted buildings, and corrects it for all of them."""


class InferenceParams(Strict):
    """Two images → damaged buildings."""

    pre: Path | None = None
    """Pre-disaster image: a GeoTIFF, a VRT, or a folder of GeoTIFF tiles; `none`: only the post-disaster image."""
    post: Path | None = None
    """Post-disaster image."""
    out: Path | None = None
    """Folder of the products; only with `--params` or `kedro assess`, because the catalog needs it too."""
    model: Path | None = None
    """File of a checkpoint; `null`: the best one of this environment; `none`: no model, only what is visible."""
    footprints: Path | None = None
    """Building footprints (GeoPackage, GeoJSON, GeoJSON lines, FlatGeobuf, Shapefile, GeoParquet); name one of several
    layers as in QGIS, `city.gpkg|layername=houses`, here and below; `null`: the model's own mask."""
    aoi: Path | None = None
    """Polygons outside of which nothing is assessed."""
    masks: tuple[Path, ...] = ()
    """Cloud masks of either image: polygons of clouds, usable-data masks (UDM2), or rasters of one band in which any
    value but 0 is obscured."""
    zones: Path | None = None
    """Polygons, such as districts, to count buildings by."""
    zone_column: str | None = None
    """Column of the zones with their names; `null`: the first of `name`, `id` that is not empty, or else row
    numbers. Rows of one name are one zone."""
    formats: tuple[str, ...] = ()
    """Additional formats of the buildings: `geojson` (RFC 7946), `geoparquet`, or another name in
    `inference/building_formats.py`."""
    overwrite: bool = False
    """Replace an earlier assessment in the folder."""
    pixel_size: float | None = Field(default=None, gt=0)
    """Metres; `null`: that of the coarser image."""
    max_pixels: int = Field(default=20_000_000_000, ge=1)
    """Largest grid that is assessed."""
    registration: Annotated[Literal["auto", "global", "off"], _WORD_OFF] = "auto"
    """Co-registration: `global` corrects one shift of 2 pixels or more between the images if it is reliable, `auto`
    also one that varies over the image; `off` corrects none."""
    images: ImageParams = ImageParams()
    windows: WindowParams = WindowParams()
    buildings: BuildingParams = BuildingParams()
