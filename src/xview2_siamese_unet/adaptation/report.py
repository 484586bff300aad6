"""Paragraphs about a head: labels, scores with intervals, learning curve, and warnings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from xview2_siamese_unet.adaptation.head import FEW, Head
from xview2_siamese_unet.adaptation.scores import MORE, Scores
from xview2_siamese_unet.damage import Damage

_NAMES = {
    "damaged_f1": "F1 of damaged buildings",
    "macro_f1": "macro-F1 of the classes",
    "accuracy": "accuracy",
}


def describe_head(head: Head, scores: Scores | None, classes: Sequence[int]) -> list[str]:
    """Return paragraphs about a fitted head.

    Args:
        head: the head.
        scores: cross-validated, `None` if there were too few labels.
        classes: code of each label.
    """
    counts = Counter(int(code) for code in classes)
    named = ", ".join(f"{count} {Damage(code).word}" for code, count in sorted(counts.items()))
    sources = " and ".join(head.facts.get("features", ())) or "unknown features"
    lines = [f"The head was fitted on {len(classes)} labels ({named}), on features of {sources}."]
    if scores is None:
        return [*lines, "There are too few labels for cross-validation: its accuracy is unknown."]
    values = "; ".join(
        f"{name} {scores.values[key]:.2f} ({scores.intervals[key][0]:.2f} to {scores.intervals[key][1]:.2f}), "
        f"majority {scores.values[f'majority_{key}']:.2f}"
        for key, name in _NAMES.items()
    )
    lines.append(
        f"Cross-validation over {scores.blocks} spatial blocks, with 95 % intervals over blocks: {values}. "
        "Labels that were chosen on purpose are not a random sample: only the commands validate and estimate give "
        "accuracies and counts for all buildings."
    )
    if not scores.beats_majority:
        lines.append(
            "The head is no better than always predicting the most frequent class, or than guessing, within its "
            "interval. Do not use its classes; label more buildings."
        )
    curve = ", ".join(f"{scores.curve[count]:.2f} with {count}" for count in sorted(scores.curve))
    if scores.gain is not None:
        lines.append(
            f"Learning curve, macro-F1 by number of labels: {curve}. {MORE} more labels are expected to add "
            f"{scores.gain:.2f}."
        )
    return lines


def head_warnings(head: Head, scores: Scores | None) -> list[str]:
    """Return the warnings that belong on every product of a head."""
    labels = head.facts["labels"]
    warnings = [f"the classes rest on {labels} labels of this event"] if labels < FEW else []
    if scores is None:
        warnings.append("too few labels for cross-validation: the accuracy of the classes is unknown")
    elif not scores.beats_majority:
        warnings.append("the adapted classes are no better than always predicting the most frequent class")
    return warnings
