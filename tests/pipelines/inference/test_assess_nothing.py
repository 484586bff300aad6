"""An assessment without predicted buildings has the layers and columns of any other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pytest

from xview2_siamese_unet.assessment import assess

FACTS = ("geometry_type", "crs", "ogr_types", "ogr_subtypes")


@pytest.mark.slow
def test_a_layer_without_a_building_has_the_same_geometry_and_columns(material: Path, project: Path) -> None:
    images = material / "pre.tif", material / "post.tif"
    model: dict[str, Any] = {"model": material / "model.pth"}
    some = assess(*images, project / "some", **model).products["buildings.gpkg"]
    none = assess(*images, project / "none", **model, buildings={"min_area": 1e7}).products["buildings.gpkg"]
    usual, empty = (pyogrio.read_info(path, layer="buildings") for path in (some, none))
    assert (usual["features"] > 0, empty["features"]) == (True, 0)
    assert usual["geometry_type"] == "MultiPolygon"
    assert {fact: [*empty[fact]] for fact in FACTS} == {fact: [*usual[fact]] for fact in FACTS}
    np.testing.assert_array_equal(empty["fields"], usual["fields"])
