"""Pictures: each method's best, median and worst image with what it found, missed and invented;
Dice against lesion size."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bench.contracts import Predictions, Subset
from bench.pictures import TRUTH, best_median_worst, example_frame, save, show
from tasks.segmentation.metrics import SIZES, Counts, image_dice

_FOUND, _MISSED, _INVENTED = "#3ddc5a", "#ff9f1c", "#3aa0ff"
"""Pixels in both masks, in the true one alone, in the predicted one alone."""


def unpack_masks(predictions: Predictions) -> np.ndarray:
    """Return the predicted masks, bool [n, C, S, S]."""
    packed = predictions.arrays["masks"]
    return np.unpackbits(packed, axis=-1, count=packed.shape[-2]).astype(bool)


def pooled_counts(predictions: Predictions) -> Counts:
    """Return the pixel counts of all classes added up, per image."""
    table = predictions.table
    classes = [
        str(name).removeprefix("target:") for name in table if str(name).startswith("target:")
    ]
    parts = ("tp", "pred", "target")
    tp, pred, target = (
        table[[f"{part}:{name}" for name in classes]].sum(axis=1).to_numpy(np.int64)
        for part in parts
    )
    return Counts(tp, pred, target, int(table["pixels"].iloc[0]))


def draw_predictions(test: Subset, predictions: Mapping[str, Predictions], out: Path) -> Path:
    """Write the picture of some methods on one test set to `out`.

    A row per method: its best, median and worst image with a lesion, by Dice over all classes, the
    true outline in red; then the Dice of every image against the size of its lesions.
    """
    figure, axes, below = example_frame(list(predictions), columns=3, curves=1)
    for row, own in zip(axes, predictions.values(), strict=True):
        counts = pooled_counts(own)
        dice, masks = image_dice(counts), unpack_masks(own)
        for axis, (name, image) in zip(
            row, best_median_worst(dice, counts.target > 0).items(), strict=False
        ):
            show(axis, test.images(np.array([image]))[0], f"{name}: Dice {dice[image]:.2f}")
            _draw_errors(axis, masks[image], test.masks(np.array([image]))[0].astype(bool))
    _legend(figure)
    _draw_sizes(below[0], predictions)
    return save(figure, out)


def _draw_errors(axis: Any, masks: np.ndarray, truth: np.ndarray) -> None:
    """Tint the pixels of masks [C, S, S] by what is right, missing and invented, and draw the
    outline of each true class."""
    from matplotlib.colors import to_rgba

    parts = {_FOUND: masks & truth, _MISSED: truth & ~masks, _INVENTED: masks & ~truth}
    for colour, where in parts.items():
        axis.imshow(where.any(axis=0)[..., None] * np.array(to_rgba(colour, 0.45)))
    for own in truth[truth.any(axis=(1, 2))]:
        axis.contour(own, levels=[0.5], colors=[TRUTH], linewidths=0.8)


def _legend(figure: Any) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    names = {"found": _FOUND, "missed": _MISSED, "invented": _INVENTED}
    handles = [
        *(Patch(color=colour, label=name) for name, colour in names.items()),
        Line2D([], [], color=TRUTH, label="true outline"),
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=4, fontsize=7, frameon=False)


def _draw_sizes(axis: Any, predictions: Mapping[str, Predictions]) -> None:
    """Draw Dice against the share of the image a lesion takes, with the mean per size class."""
    from matplotlib.ticker import LogLocator, NullFormatter

    for place, (name, own) in enumerate(predictions.items()):
        counts = pooled_counts(own)
        present = counts.target > 0
        share, dice = counts.target[present] / counts.pixels, image_dice(counts)[present]
        axis.scatter(share, dice, s=7, alpha=0.5, color=f"C{place}", linewidths=0, label=name)
        for low, high in SIZES.values():
            inside = (share >= low) & (share < high)
            if inside.any():
                edges = [max(low, share.min()), min(high, share.max())]
                axis.plot(edges, [dice[inside].mean()] * 2, color=f"C{place}", linewidth=1.6)
    axis.set_xscale("log")
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.xaxis.set_major_formatter(lambda share, _: f"{100 * share:g}%")
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.set(xlabel="lesion, share of the image", ylabel="Dice", ylim=(-0.03, 1.03))
    axis.set_title("Dice against lesion size (lines: mean of small, medium, large)", fontsize=9)
    axis.legend(fontsize=7, loc="lower right")
