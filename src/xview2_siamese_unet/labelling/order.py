"""The order in which buildings are labelled: any first part of it covers the map."""

from __future__ import annotations

from collections.abc import Collection
from itertools import islice

import geopandas as gpd
import numpy as np


def visible_buildings(buildings: gpd.GeoDataFrame, min_visible: float, without: Collection[str]) -> gpd.GeoDataFrame:
    """Return the buildings that can be labelled.

    Args:
        buildings: the assessed buildings.
        min_visible: share that the images must show.
        without: ids to leave out.
    """
    seen = (buildings["visible_fraction"] >= min_visible) & (buildings["visible_fraction"] > 0)
    named = buildings["building_id"].notna() & ~buildings["building_id"].isin(list(without))
    return buildings[seen & named]


def spread(buildings: gpd.GeoDataFrame, count: int) -> list[str]:
    """Return the ids of at most `count` buildings, spread over the map, the same in every run.

    Buildings are sorted along a Hilbert curve, on which neighbours lie close to each other. The positions are taken in
    the order of the van der Corput sequence: 1/2, 1/4, 3/4, 1/8, ... of the curve.
    """
    if buildings.empty:
        return []
    along = buildings["building_id"].to_numpy()[np.argsort(buildings.hilbert_distance().to_numpy(), kind="stable")]
    bits = max(len(along) - 1, 1).bit_length()
    reversed_bits = (int(f"{number:0{bits}b}"[::-1], 2) for number in (*range(1, 2**bits), 0))
    return [str(along[position]) for position in islice((each for each in reversed_bits if each < len(along)), count)]
