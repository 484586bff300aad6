"""The numbers of one assessment as a page to read and print; the map is another page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from xview2_siamese_unet.damage import SCORED
from xview2_siamese_unet.report.environment import escaping_environment
from xview2_siamese_unet.report.map import ByteArray, jpeg
from xview2_siamese_unet.report.page import LIMITS

_CELLS: Final = 15


@dataclass(frozen=True, slots=True)
class AssessmentContent:
    """Everything on the page.

    Attributes:
        title: heading.
        note: what the reader must know before anything else.
        warnings: what was noticed on the way.
        whole: counts and shares of all buildings.
        classes: count and shares of each class and of each kind of not knowing.
        cells: counts and shares of each cell.
        zones: the same of each zone that the user named.
        pictures: caption → picture (h, w, 3).
        provenance: flat, name → value.
    """

    title: str
    note: str
    warnings: Sequence[str]
    whole: Mapping[str, Any]
    classes: Sequence[Mapping[str, Any]]
    cells: Sequence[Mapping[str, Any]]
    zones: Sequence[Mapping[str, Any]]
    pictures: Mapping[str, ByteArray]
    provenance: Mapping[str, str]


def render_assessment(content: AssessmentContent) -> str:
    """Return the page; every text that comes from data is escaped."""
    damaged = [code.word for code in SCORED[1:]]
    harmed = [row for row in content.cells if any(row[word] for word in damaged)]
    ranked = sorted(harmed, key=lambda row: (-sum(row[word] for word in damaged), row["name"]))
    return (
        escaping_environment()
        .get_template("assessment.html.j2")
        .render(
            content=content,
            whole=content.whole,
            cells=ranked[:_CELLS],
            cell_count=len(content.cells),
            colours={code.word: code.colour for code in SCORED},
            pictures={caption: jpeg(picture) for caption, picture in content.pictures.items()},
            limits=LIMITS[:3],
            share=lambda value: "–" if value is None else f"{value:.1%}",
        )
    )
