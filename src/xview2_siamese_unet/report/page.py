"""The report of one experiment, a single HTML file, and helpers of all pages."""

from __future__ import annotations

import base64
import io
import platform
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any, Final

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from xview2_siamese_unet.damage import SCORED, Damage
from xview2_siamese_unet.metrics.calibration import FEW

LIMITS: Final = (
    "This is an automated reading of satellite images. A person must check it before anybody acts on it, and it must "
    "not be the only ground for a decision on safety.",
    "Images from above under-report damage: by over 20 % against labels from drones of the same buildings "
    "(arXiv 2505.08117). Collapsed storeys and broken walls are often invisible under an intact roof.",
    "The four classes are those of xBD's Joint Damage Scale. They are not the grades of EMS-98.",
    "The train and test sets of xBD share events. A score on an unseen disaster is usually much lower; the split "
    "leave_events_out measures it.",
    "The official score counts pixels: one large building counts as much as many small ones. The scores of buildings "
    "on this page count each building once; they are ours and cannot be compared with published ones.",
)
"""What the reader must know before quoting a number; the first three apply to assessments too."""
XBD_LICENCE: Final = (
    "Trained or scored on xBD (Gupta et al. 2019), which is licensed CC BY-NC-SA 4.0: no commercial use, attribution, "
    "share alike. Anyone who passes on the weights of a model must settle whether and how that applies to them."
)
NAMES: Final = {
    "score": "official score",
    "localization_f1": "localisation F1",
    "damage_f1": "damage F1",
    **{f"damage_f1_{code.name.lower()}": f"F1 of {code.word}" for code in SCORED},
    "present_class_damage_f1": "damage F1, present classes (ours)",
}
"""Key in `metrics.json` → words on a page."""
CHARTS: Final = {
    "localization_confusion": "Localisation. Shade and upper number: share of the truth; ↓ share of the predictions.",
    "damage_confusion": "Damage. First column: missed buildings.",
    "building_confusion": "Damage of whole buildings. First row: false alarms; first column: missed buildings.",
    "scored_classes": "Pixels of each class in the scored scenes.",
    "training_curves": "Training curves.",
    "class_histogram": "Pixels of each class in the training split.",
}
"""Dataset → caption in the report."""
CALIBRATION: Final = {
    "precision_recall": "Precision-recall curves. AP: average precision, the area under the curve.",
    "reliability": "Reliability diagrams. On the dotted line the model is calibrated; below it, over-confident. "
    f"ECE: expected calibration error. Bins of fewer than {FEW} pixels are not drawn.",
}
"""Dataset → caption in the section on probabilities."""
_FEW_SCENES: Final = 30
"""Scenes below which a bootstrap interval is rough."""


def render_report(
    *,
    title: str,
    metrics: Mapping[str, Any],
    figures: Mapping[str, bytes],
    settings: Mapping[str, str],
    provenance: Mapping[str, str],
    warnings: Sequence[str] = (),
) -> str:
    """Return the page; every text that comes from data or settings is escaped.

    Args:
        title: heading.
        metrics: what `metrics.summary.summarise_scores` returns.
        figures: the files of `CHARTS` and `CALIBRATION` as SVG, `panels` and `worst_buildings` as PNG.
        settings: dotted key → value; `dataset.source` selects the notes on synthetic scenes and on the licence.
        provenance: flat, name → value.
        warnings: sentences.
    """
    source = settings["dataset.source"]
    pictures = {name: jpeg_uri(Image.open(io.BytesIO(figures[name]))) for name in ("panels", "worst_buildings")}
    return (
        page_environment()
        .get_template("report.html.j2")
        .render(
            title=title,
            source=source,
            metrics=metrics,
            charts={caption: svg_uri(figures[name]) for name, caption in CHARTS.items()},
            calibration={caption: svg_uri(figures[name]) for name, caption in CALIBRATION.items()},
            pictures=pictures,
            settings=settings,
            provenance=provenance,
            warnings=warnings,
            names=NAMES,
            colours={code.word: code.colour for code in Damage},
            limits=LIMITS,
            licence=XBD_LICENCE if source == "xbd" else None,
        )
    )


def percent(share: float) -> str:
    """Return a share as text that is 0 only for 0: 12.3 %, 0.04 %, < 0.01 %."""
    if share == 0:
        return "0 %"
    if share < 1e-4:
        return "< 0.01 %"
    return f"{100 * share:.1f} %" if share >= 1e-3 else f"{100 * share:.2f} %"


def page_environment() -> Environment:
    """Return the template environment, which escapes text and requires variables."""
    environment = Environment(
        loader=PackageLoader("xview2_siamese_unet.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"score": _score, "interval": _interval, "percent": percent}
    return environment


def _interval(bounds: Sequence[float]) -> str:
    return f"{_score(bounds[0])} to {_score(bounds[1])}"


def _score(value: float) -> str:
    """Return three decimals; only 0 is shown as 0."""
    return "< 0.001" if 0 < value < 0.0005 else f"{value:.3f}"


# Figures are data URIs: a page stays one file, and no figure can reach into it or clash with another's ids.
def svg_uri(svg: bytes) -> str:
    """Return a chart as a data URI."""
    return _uri(svg, "svg+xml")


def png_uri(png: bytes) -> str:
    """Return a PNG as a data URI."""
    return _uri(png, "png")


def jpeg_uri(picture: Image.Image, *, quality: int = 90, subsampling: int = 0) -> str:
    """Return a picture made of photographs as JPEG, which is smaller than PNG."""
    buffer = io.BytesIO()
    picture.convert("RGB").save(buffer, "jpeg", quality=quality, subsampling=subsampling)
    return _uri(buffer.getvalue(), "jpeg")


def _uri(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


def provenance_of(
    checkpoint: Mapping[str, Any],
    run: Mapping[str, Any],
    model_file: str | None,
    fingerprint: str,
    settings: Mapping[str, str],
) -> dict[str, str]:
    """Return code, data, model and seeds as a flat table: name → value.

    Args:
        checkpoint: the scored model, see `models.checkpoint.Checkpoint`.
        run: see `runs.describe_run`.
        model_file: name of the file of weights.
        fingerprint: of the scored scenes and their truth.
        settings: dotted key → value.
    """
    dataset, commit = run["settings"]["dataset"], checkpoint.get("commit")
    source = {"sample": "synthetic scenes", "xbd": "xBD"}.get(dataset["source"], "a dataset in another layout")
    seeds = {key.removesuffix(".seed"): value for key, value in settings.items() if key.endswith(".seed")}
    code = f"{checkpoint['version']} ({commit})" if commit else checkpoint["version"]  # an installed copy has none
    return {
        "code": ", ".join(f"{name} {version(name)}" for name in ("xview2-siamese-unet", "kedro", "torch", "numpy")),
        "computer": f"Python {platform.python_version()}, {platform.system()}, {platform.machine()}",
        "run": run["id"],
        "data": f"{dataset['name']} ({source})",
        "fingerprint of the scored scenes and their truth": fingerprint,
        "model file": model_file or "not named (reporting.model_file)",
        "trained by": f"xview2-siamese-unet {code} on {checkpoint['dataset']}",
        "fingerprint of the training, its scenes and settings": checkpoint["fingerprint"],
        "epoch": f"{checkpoint['epoch']}, the best of {len(checkpoint['history'])}",
        **dict(_tuned(checkpoint)),
        "seeds": ", ".join(f"{key} {value}" for key, value in seeds.items()),
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }


def _tuned(checkpoint: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield thresholds, temperatures and the calibration error on validation scenes."""
    for key in ("thresholds", "temperatures"):
        if values := checkpoint.get(key):
            yield key, ", ".join(f"{name} {value:.2f}" for name, value in values.items())
    errors = checkpoint.get("calibration") or {}
    heads = [name.removesuffix("_ece_before") for name in errors if name.endswith("_ece_before")]
    if heads:
        changes = (f"{head} {errors[f'{head}_ece_before']:.3f} → {errors[f'{head}_ece_after']:.3f}" for head in heads)
        yield "ECE on validation, before and after the temperatures", ", ".join(changes)


def warnings_of(
    metrics: Mapping[str, Any],
    problems: pd.DataFrame,
    checkpoint: Mapping[str, Any],
    class_counts: Mapping[str, Mapping[str, int]],
) -> list[str]:
    """Return the warnings of a report, as sentences.

    Args:
        metrics: what `metrics.summary.summarise_scores` returns.
        problems: one row a problem of the dataset; columns problem, consequence.
        checkpoint: the scored model, see `models.checkpoint.Checkpoint`.
        class_counts: pixels of each class in the training split, see `stats.count_classes`.
    """
    warnings = []
    if metrics["n_scenes"] < _FEW_SCENES:
        warnings.append(f"Only {metrics['n_scenes']} scenes were scored: the intervals are rough.")
    if absent := [word for word, row in metrics["damage"].items() if not row["support"]]:
        classes = ", ".join(absent)
        warnings.append(f"No scored scene holds {classes}: the official damage F1 is nearly 0 whatever the model does.")
    last = checkpoint["history"][-1]["epoch"] if checkpoint["history"] else None
    if last is not None and checkpoint["epoch"] == last:
        warnings.append(f"The best epoch, {last}, was the last one: longer training may be better.")
    if absent := [code.word for code in SCORED if not class_counts["post"][code.word]]:
        warnings.append(f"No training scene shows {', '.join(absent)}: the model cannot predict untrained classes.")
    for consequence, rows in problems.groupby("consequence", sort=True):
        first = rows["problem"].iloc[0].removesuffix(".")
        warnings.append(f"{len(rows)} scenes {consequence}; the first: {first}.")
    return warnings
