"""The zones of a campaign; `test_merge` tests their counts."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import pytest
import shapely

from made_campaign import tile_at
from xview2_siamese_unet.campaign.footprints import read_zones


@pytest.mark.parametrize(
    ("box", "words"),
    [
        ((36, 37, 36.1, 37.1), ()),
        ((37, 36, 37.1, 36.1), ("latitude and longitude are swapped",)),
        ((1, 1, 2, 2), ("check their position",)),
    ],
)
def test_zones_outside_of_all_tiles_give_a_warning(
    tmp_path: Path, box: tuple[float, float, float, float], words: tuple[str, ...]
) -> None:
    zones = gpd.GeoDataFrame({"name": ["a"]}, geometry=[shapely.box(*box)], crs=4326)
    zones.to_file(tmp_path / "zones.gpkg", engine="pyogrio")
    given = read_zones(tmp_path / "zones.gpkg", None, [tile_at(36.05, 37.05)])
    assert given.frame["name"].tolist() == ["a"]
    assert len(given.warnings) == len(words)
    assert all(word in warning for word, warning in zip(words, given.warnings, strict=True))
    assert all("the tiles of the plan" in warning for warning in given.warnings)
