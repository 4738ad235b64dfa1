"""Pictures: an image, the outline of the ground truth and each method's mask."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bench.contracts import Predictions, Subset

_COLOURS = ("#ffb000", "#00c8ff", "#ff4fa0", "#7dff5a")
_TRUTH = "#ff2020"


def unpack_masks(predictions: Predictions) -> np.ndarray:
    """Return the predicted masks, bool [n, C, S, S]."""
    packed = predictions.arrays["masks"]
    return np.unpackbits(packed, axis=-1, count=packed.shape[-2]).astype(bool)


def pick_examples(targets: np.ndarray, count: int) -> np.ndarray:
    """Return up to `count` rows of `targets` [n] (pixels of the true masks): positive from large to small, then an empty one."""
    positive = np.flatnonzero(targets > 0)
    ordered = positive[np.argsort(-targets[positive], kind="stable")]
    empty = np.flatnonzero(targets == 0)[:1]
    wanted = count - len(empty)
    places = np.unique(np.linspace(0, len(ordered) - 1, min(wanted, len(ordered))).round().astype(int))
    return np.concatenate([ordered[places], empty])


def draw_predictions(test: Subset, predictions: Mapping[str, Predictions], out: Path, count: int = 5) -> Path:
    """Draw a few test images with every method's masks into `out`."""
    counts = next(iter(predictions.values())).table
    classes = tuple(str(name).removeprefix("target:") for name in counts if str(name).startswith("target:"))
    targets = counts[[f"target:{name}" for name in classes]].sum(axis=1).to_numpy()
    rows = pick_examples(targets, count)
    found = {name: unpack_masks(each)[rows] for name, each in predictions.items()}
    return draw_examples(test.images(rows), test.masks(rows).astype(bool), found, out, classes)


def draw_examples(
    images: np.ndarray, truth: np.ndarray, predicted: Mapping[str, np.ndarray], out: Path, classes: tuple[str, ...] = ()
) -> Path:
    """Write a grid to `out`: a row per image; first the ground truth, then a column per method with its Dice.

    `images` uint8 [n, S, S], `truth` and each of `predicted` bool [n, C, S, S]. The true outline is in every column: red, or
    with several classes in the colour of its class; the Dice figures stand in the order of `classes`.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns: dict[str, np.ndarray | None] = {"ground truth": None, **predicted}
    figure = Figure(figsize=(2.2 * len(columns), 2.2 * len(images) + 0.3), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(images), len(columns), squeeze=False)
    for r, image in enumerate(images):
        for axis, (name, masks) in zip(axes[r], columns.items(), strict=True):
            _panel(axis, image, truth[r], None if masks is None else masks[r], classes)
            if r == 0:
                axis.set_title(name, fontsize=9)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out)
    return out


def _panel(axis: Any, image: np.ndarray, truth: np.ndarray, masks: np.ndarray | None, classes: tuple[str, ...]) -> None:
    axis.imshow(image, cmap="gray", vmin=0, vmax=255)
    if masks is not None:
        _fill(axis, masks)
        axis.set_xlabel(f"Dice {_dice(masks, truth, classes)}", fontsize=7, labelpad=2)
    for c in np.flatnonzero(truth.any(axis=(1, 2))):
        axis.contour(truth[c], levels=[0.5], colors=[_TRUTH if len(truth) == 1 else _COLOURS[c % len(_COLOURS)]], linewidths=0.8)
    axis.set_xticks([])
    axis.set_yticks([])


def _fill(axis: Any, masks: np.ndarray) -> None:
    from matplotlib.colors import to_rgba

    for c, mask in enumerate(masks):
        axis.imshow(mask[..., None] * np.array(to_rgba(_COLOURS[c % len(_COLOURS)], 0.45)))


def _dice(masks: np.ndarray, truth: np.ndarray, classes: tuple[str, ...]) -> str:
    from tasks.segmentation.metrics import Counts, count_pixels, image_dice

    counts = count_pixels(masks[None], truth[None])[0]
    values = image_dice(Counts(*counts.T))
    names = [f"{name} " for name in classes] if len(values) == len(classes) > 1 else [""] * len(values)
    return ", ".join(f"{name}{value:.2f}" for name, value in zip(names, values, strict=True))
