"""Labels, counts and georeferences of the real scenes in ../shared, compared with an independent parser."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from read_tables import Tables, read_tables

REAL = Path(__file__).parents[3] / "shared" / "xbd"
pytestmark = pytest.mark.skipif(not REAL.is_dir(), reason="../shared/xbd is missing")
WORDS = ("no-damage", "minor-damage", "major-damage", "destroyed", "un-classified")


@pytest.fixture(scope="module")
def read() -> Tables:
    return read_tables(REAL)


@pytest.fixture(scope="module")
def raw() -> dict[str, list[dict[str, Any]]]:
    """Scene → features of its post-disaster label."""
    labels = sorted(REAL.glob("*/labels/*_post_disaster.json"))
    return {path.name[:-19]: json.loads(path.read_text())["features"]["xy"] for path in labels}


def test_every_building_of_every_scene_is_read(read: Tables, raw: dict) -> None:
    scenes, buildings, problems = read
    assert problems.empty
    assert sorted(scenes["scene"]) == sorted(raw)
    ours = {(row.scene, row.uid): (row.damage, row.polygon) for row in buildings.itertuples()}
    theirs = {
        (scene, feature["properties"]["uid"]): (feature["properties"]["subtype"], feature["wkt"])
        for scene, features in raw.items()
        for feature in features
    }
    assert ours == theirs
    assert dict(zip(scenes["scene"], scenes["buildings"], strict=True)) == {s: len(f) for s, f in raw.items()}


def test_folders_have_the_counts_of_their_readme(read: Tables) -> None:
    rows = re.findall(r"^\| (tier1|tier3|hold|test) \|(.*)\|$", (REAL / "README.md").read_text(), re.MULTILINE)
    stated = {tier: [int(number) for number in numbers.split("|")] for tier, numbers in rows}
    assert len(stated) == 4
    tiers = read.scenes.set_index("scene")["tier"]
    counted = {
        tier: [
            int((tiers == tier).sum()),
            *(Counter(read.buildings.loc[read.buildings["scene"].map(tiers) == tier, "damage"])[w] for w in WORDS),
        ]
        for tier in stated
    }
    assert counted == stated


def test_every_scene_with_buildings_is_georeferenced_within_a_centimetre(read: Tables) -> None:
    built = read.scenes[read.scenes["buildings"] > 0]
    assert built["residual"].max() < 0.01
    assert built["pixel"].between(0.44, 0.50).all()
    assert read.scenes.loc[read.scenes["buildings"] == 0, "epsg"].isna().all()
    zones = {
        "guatemala-volcano": {32615}, "hurricane-harvey": {32615}, "midwest-flooding": {32615},
        "hurricane-michael": {32616}, "mexico-earthquake": {32614}, "hurricane-matthew": {32618},
        "hurricane-florence": {32617, 32618}, "palu-tsunami": {32750}, "santa-rosa-wildfire": {32610},
        "socal-fire": {32611},
    }  # fmt: skip
    for event, codes in built.groupby("disaster")["epsg"]:
        assert set(codes) <= zones[event], event
