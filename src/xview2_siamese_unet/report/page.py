"""The report of one experiment as one HTML file that needs nothing beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from jinja2 import Environment

from xview2_siamese_unet.damage import SCORED, Damage
from xview2_siamese_unet.plots.style import percent
from xview2_siamese_unet.report.embed import jpeg_uri, svg_uri
from xview2_siamese_unet.report.environment import escaping_environment

LIMITS: Final = (
    "This is an automated reading of satellite images. It needs a person's check before anybody acts on it, "
    "and must not be the only ground for a decision on safety.",
    "A view from above under-reports damage: over 20 % against labels from drones of the same buildings "
    "(arXiv 2505.08117). Collapsed storeys and broken walls are often invisible under an intact roof.",
    "The four classes are those of xBD's Joint Damage Scale. They are not the grades of EMS-98.",
    "The train and test sets of xBD share events. A score on a disaster that the model has never seen is usually much "
    "lower; the split leave_events_out measures it.",
    "The official score counts pixels: one large building weighs as much as many small ones. The scores of buildings "
    "on this page weigh each the same; they are ours and cannot be compared with published ones.",
)
"""What the reader must know before quoting a number."""

XBD_LICENCE: Final = (
    "Trained or scored on xBD (Gupta et al. 2019), which is licensed CC BY-NC-SA 4.0: no commercial use, attribution, "
    "share alike. Whether and how that reaches the weights of a model is for whoever passes them on to settle."
)

_COLOURS: Final = {code.word: code.colour for code in Damage}


NAMES: Final = {
    "score": "official score",
    "localization_f1": "localisation F1",
    "damage_f1": "damage F1",
    **{f"damage_f1_{code.name.lower()}": f"F1 of {code.word}" for code in SCORED},
    "present_class_damage_f1": "damage F1, present classes (ours)",
}
"""Key in `metrics` → words on a page."""


@dataclass(frozen=True, slots=True)
class ReportContent:
    """Everything on the page.

    Attributes:
        title: heading.
        source: where the scenes come from; `sample` says that they are fabricated, `xbd` brings the licence note.
        metrics: what `metrics.summary.summarise` returns.
        charts: caption → SVG.
        calibration: caption → SVG of probabilities.
        panels: PNG of scenes.
        buildings: PNG of buildings.
        settings: flat, name → value.
        provenance: flat, name → value.
        warnings: sentences.
    """

    title: str
    source: Literal["sample", "xbd"]
    metrics: Mapping[str, Any]
    charts: Mapping[str, bytes]
    calibration: Mapping[str, bytes]
    panels: bytes
    buildings: bytes
    settings: Mapping[str, str]
    provenance: Mapping[str, str]
    warnings: Sequence[str] = ()


def render_report(content: ReportContent) -> str:
    """Return the page; every text that comes from data or settings is escaped."""
    return (
        page_environment()
        .get_template("report.html.j2")
        .render(
            content=content,
            metrics=content.metrics,
            charts=_uris(content.charts),
            calibration=_uris(content.calibration),
            panels=jpeg_uri(content.panels),
            buildings=jpeg_uri(content.buildings),
            names=NAMES,
            colours=_COLOURS,
            limits=LIMITS,
            licence=XBD_LICENCE if content.source == "xbd" else None,
        )
    )


def page_environment() -> Environment:
    """Return what turns the templates of experiments into pages."""
    environment = escaping_environment()
    environment.filters |= {"score": _score, "interval": _interval, "percent": percent}
    return environment


def _uris(charts: Mapping[str, bytes]) -> dict[str, str]:
    return {caption: svg_uri(svg) for caption, svg in charts.items()}


def _interval(bounds: Sequence[float]) -> str:
    return f"{_score(bounds[0])} to {_score(bounds[1])}"


def _score(value: float) -> str:
    """Three decimals, and never a rounded zero for something that is not zero."""
    return "< 0.001" if 0 < value < 0.0005 else f"{value:.3f}"
