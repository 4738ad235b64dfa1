"""Pictures: each method's best, median and worst image with boxes and scores, precision-recall and
FROC curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.contracts import Predictions, Subset, TaskSpec
from bench.report.pictures import (
    COLOURS,
    TRUTH,
    as_it_is,
    best_median_worst,
    example_frame,
    save,
    show,
)
from tasks.detection.matching import IOUS
from tasks.detection.metrics import (
    FROC_IOU,
    RATES,
    Ranked,
    class_names,
    froc_curve,
    image_scores,
    precision_recall,
    ranked,
)

_SHOWN = 8
"""Most boxes drawn per image."""


def draw_predictions(
    task: TaskSpec, test: Subset, predictions: Mapping[str, Predictions], out: Path
) -> Path:
    """Write the picture of some methods on one test set to `out`: a row of images per method, then
    the curves of all."""
    figure, axes, below = example_frame(list(predictions), columns=3, curves=2)
    for row, method in zip(axes, predictions.values(), strict=True):
        scores = image_scores(method)
        examples = best_median_worst(scores, np.any(method.arrays["truth_classes"] >= 0, axis=1))
        for axis, (name, image) in zip(row, examples.items(), strict=False):
            show(
                axis,
                test.images(np.array([image]))[0],
                f"{name}: {np.nan_to_num(scores[image]):.2f}",
            )
            _draw_boxes(axis, method, image)
    names = class_names(next(iter(predictions.values())))
    figure.legend(
        handles=_legend(names), loc="outside upper center", ncols=4, fontsize=7, frameon=False
    )
    _draw_precision(below[0], predictions)
    _draw_froc(below[1], predictions)
    return save(figure, out)


def _draw_boxes(axis: Any, predictions: Predictions, row: int) -> None:
    """Draw the true boxes (red), and the detections above the confidence chosen on validation with
    their scores.

    With several classes each box also has the name of its own.
    """
    arrays = predictions.arrays
    names = class_names(predictions)
    names = names if len(names) > 1 else [""]
    for number in np.flatnonzero(arrays["truth_classes"][row] >= 0):
        corners = arrays["truth"][row, number]
        _rectangle(axis, corners, TRUTH, 1.4)
        _label(
            axis,
            corners[0],
            corners[3] + 1,
            names[arrays["truth_classes"][row, number]],
            TRUTH,
            "top",
        )
    confidence = float(predictions.extra.get("confidence") or 0.0)
    confident = np.flatnonzero(
        (arrays["classes"][row] >= 0) & (arrays["scores"][row] >= confidence)
    )[:_SHOWN]
    for number in confident:
        kind = arrays["classes"][row, number]
        corners = arrays["corners"][row, number]
        colour = COLOURS[kind % len(COLOURS)]
        _rectangle(axis, corners, colour, 1.0)
        _label(
            axis,
            corners[0],
            corners[1] - 1,
            f"{names[kind]} {arrays['scores'][row, number]:.2f}".strip(),
            colour,
            "bottom",
        )


def _legend(names: Sequence[str]) -> list[Any]:
    """Return what the colours of the boxes mean."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=COLOURS[kind % len(COLOURS)], label=f"{as_it_is(name)}, detected")
        for kind, name in enumerate(names)
    ]
    return [Line2D([], [], color=TRUTH, label="true box"), *handles]


def _label(axis: Any, x: float, y: float, text: str, colour: str, edge: str) -> None:
    from matplotlib.patheffects import withStroke

    label = axis.text(x, y, text, fontsize=6, color=colour, va=edge, clip_on=True)
    label.set_path_effects([withStroke(linewidth=1.5, foreground="black")])


def _rectangle(axis: Any, corners: np.ndarray, colour: str, width: float) -> None:
    from matplotlib.patches import Rectangle

    x1, y1, x2, y2 = map(float, corners)
    axis.add_patch(
        Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=colour, linewidth=width)
    )


def _draw_precision(axis: Any, predictions: Mapping[str, Predictions]) -> None:
    for number, method in enumerate(predictions.values()):
        recall, precision = precision_recall(pooled(method), FROC_IOU)
        if len(recall):
            axis.plot(
                np.append(0.0, recall),
                np.append(precision[0], precision),
                color=f"C{number}",
                linewidth=1.2,
            )
    axis.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
    axis.set_title(f"precision-recall, IoU {IOUS[FROC_IOU]:.2f}", fontsize=9)


def _draw_froc(axis: Any, predictions: Mapping[str, Predictions]) -> None:
    lowest = RATES[0] / 2
    for number, method in enumerate(predictions.values()):
        data = pooled(method)
        rate, sensitivity = froc_curve(data, np.ones((1, len(data.truth))))
        axis.step(
            rate[0].clip(min=lowest),
            sensitivity[0],
            where="post",
            color=f"C{number}",
            linewidth=1.2,
        )
    axis.set(xlabel="false positives per image", ylabel="sensitivity", ylim=(0, 1.02))
    axis.set_title(f"FROC, IoU {IOUS[FROC_IOU]:.2f}", fontsize=9)
    axis.set_xscale("log", base=2)
    axis.set_xlim(lowest, RATES[-1] * 1.1)
    axis.set_xticks(RATES, [f"{rate:g}" for rate in RATES])


def pooled(predictions: Predictions) -> Ranked:
    """Return the detections of all classes ranked together."""
    arrays = predictions.arrays
    as_one_class = {
        name: np.where(arrays[name] >= 0, 0, -1) for name in ("classes", "truth_classes")
    }
    return ranked(Predictions(predictions.table, {**arrays, **as_one_class}), 0)
