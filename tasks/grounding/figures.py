"""Pictures: each method's best, median and worst image with its map and the true region; how many
images have which shuffled AUC."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bench.contracts import REGION_SIDE, Predictions, Subset, TaskSpec
from bench.report.pictures import TRUTH, as_it_is, best_median_worst, example_frame, save, show
from tasks.grounding.fit import SHOWN_LABEL, SHOWN_TEXT
from tasks.grounding.metrics import SHUFFLED

_WORDS = 34
"""Characters of a line of what was asked."""


def draw_predictions(
    task: TaskSpec, test: Subset, predictions: Mapping[str, Predictions], out: Path
) -> Path:
    """Write the picture of some methods on one test set to `out`.

    A row per method: its best, median and worst image by shuffled AUC, with the map and the region
    (red) of the first thing that the image is asked. Below, the share of the images that have at
    most each shuffled AUC.
    """
    figure, axes, below = example_frame(list(predictions), columns=3, curves=1)
    for row, method in zip(axes, predictions.values(), strict=True):
        scores = image_scores(method)
        examples = best_median_worst(scores, np.isfinite(scores))
        for axis, (name, image) in zip(row, examples.items(), strict=False):
            pixels = test.images(np.array([image]))[0]
            show(axis, pixels, f"{name}: {scores[image]:.2f}")
            _draw_map(axis, method, image, len(pixels))
    _draw_shares(below[0], predictions)
    return save(figure, out)


def image_scores(predictions: Predictions) -> np.ndarray:
    """Return the shuffled AUC of what is shown of each image [n], NaN where it has none."""
    table = predictions.table
    of_label = {
        label: table[f"{SHUFFLED}:{label}"].to_numpy(dtype=float)
        for label in table[SHOWN_LABEL].unique()
    }
    labels = table[SHOWN_LABEL].tolist()
    return np.array([of_label[label][row] for row, label in enumerate(labels)], float)


def unpack_regions(predictions: Predictions) -> np.ndarray:
    """Return the true regions that are shown, bool [n, G, G]."""
    packed = predictions.arrays["regions"]
    return np.unpackbits(packed, axis=-1, count=REGION_SIDE).astype(bool)


def _draw_map(axis: Any, predictions: Predictions, image: int, side: int) -> None:
    """Lay a map over an image of `side` px, the stronger the higher it is, and draw the outline of
    the region; write below what was asked."""
    heat = predictions.arrays["maps"][image]
    edge = side - 0.5
    axis.imshow(
        heat,
        cmap="inferno",
        vmin=0,
        vmax=255,
        alpha=0.6 * heat / 255,
        extent=(-0.5, edge, edge, -0.5),
        interpolation="bilinear",
    )
    region = unpack_regions(predictions)[image]
    if region.any() and not region.all():
        middles = (np.arange(REGION_SIDE) + 0.5) * side / REGION_SIDE - 0.5
        axis.contour(middles, middles, region, levels=[0.5], colors=[TRUTH], linewidths=0.9)
    words = textwrap.shorten(str(predictions.table[SHOWN_TEXT].iloc[image]), 2 * _WORDS)
    axis.set_xlabel(as_it_is(textwrap.fill(words, _WORDS)), fontsize=7)


def _draw_shares(axis: Any, predictions: Mapping[str, Predictions]) -> None:
    """Draw the share of the images that have at most each shuffled AUC."""
    for number, method in enumerate(predictions.values()):
        scores = image_scores(method)
        ordered = np.sort(scores[np.isfinite(scores)])
        if len(ordered):
            shares = np.arange(1, len(ordered) + 1) / len(ordered)
            axis.step(ordered, shares, where="post", color=f"C{number}", linewidth=1.2)
    axis.axvline(0.5, color="0.5", linewidth=0.8, linestyle="--")
    axis.set(xlabel="shuffled AUC", ylabel="share of the images", xlim=(0, 1), ylim=(0, 1.02))
    axis.set_title("images with at most this shuffled AUC", fontsize=9)
