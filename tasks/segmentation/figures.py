"""Pictures: each method's best, median and worst image with what it marked of every class; Dice
against the size of the true mask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.contracts import Predictions, Subset, TaskSpec
from bench.data.annotations import Masks
from bench.report.pictures import COLOURS, TRUTH, best_median_worst, example_frame, save, show
from tasks.segmentation.metrics import SIZES, Counts, class_names, image_dice

_FOUND = "#3ddc5a"
"""Pixels in both masks."""
_MISSED = "#ff9f1c"
"""Pixels in the true mask alone."""
_INVENTED = "#3aa0ff"
"""Pixels in the predicted mask alone."""


def unpack_masks(predictions: Predictions) -> np.ndarray:
    """Return the predicted masks, bool [n, C, S, S]."""
    packed = predictions.arrays["masks"]
    return np.unpackbits(packed, axis=-1, count=packed.shape[-2]).astype(bool)


def class_counts(predictions: Predictions, names: Sequence[str]) -> Counts:
    """Return the pixel counts of some classes added up, per image."""
    table = predictions.table
    tp, pred, target = (
        table[[f"{count}:{name}" for name in names]].sum(axis=1).to_numpy(np.int64)
        for count in ("tp", "pred", "target")
    )
    return Counts(tp, pred, target, int(table["pixels"].iloc[0]))


def draw_predictions(
    task: TaskSpec, test: Subset, predictions: Mapping[str, Predictions], out: Path
) -> Path:
    """Write the picture of some methods on one test set to `out`.

    A row per method: its best, median and worst image with something to find, by Dice over all
    classes. One class: what is found, missed and invented; several: each in a colour of its own.
    Below, for every class, the Dice of each image against the size of its true mask.
    """
    names = class_names(next(iter(predictions.values())).table)
    figure, axes, below = example_frame(list(predictions), columns=3, curves=len(names))
    for row, method in zip(axes, predictions.values(), strict=True):
        counts = class_counts(method, names)
        masks = unpack_masks(method)
        examples = best_median_worst(image_dice(counts), counts.target > 0)
        for axis, (which, image) in zip(row, examples.items(), strict=False):
            rows = np.array([image])
            show(axis, test.images(rows)[0], f"{which}: {_dice_text(method, names, image)}")
            truth = test.get(Masks)[rows][0].astype(bool)
            if len(names) == 1:
                _draw_errors(axis, masks[image, 0], truth[0])
            else:
                _draw_classes(axis, masks[image], truth)
    figure.legend(
        handles=_legend(names), loc="outside upper center", ncols=4, fontsize=7, frameon=False
    )
    for axis, name in zip(below, names, strict=True):
        _draw_sizes(axis, predictions, name)
    return save(figure, out)


def _dice_text(predictions: Predictions, names: Sequence[str], image: int) -> str:
    """Return the Dice of one image: of each class by its name where there are several."""
    dice = {name: image_dice(class_counts(predictions, [name]))[image] for name in names}
    if len(dice) == 1:
        return f"Dice {next(iter(dice.values())):.2f}"
    return ", ".join(f"{name} {value:.2f}" for name, value in dice.items())


def _draw_errors(axis: Any, mask: np.ndarray, truth: np.ndarray) -> None:
    """Tint the pixels of a mask [S, S] by what is right, missing and invented, and draw the true
    outline."""
    errors = {_FOUND: mask & truth, _MISSED: truth & ~mask, _INVENTED: mask & ~truth}
    for colour, where in errors.items():
        _tint(axis, where, colour)
    _outline(axis, truth, TRUTH)


def _draw_classes(axis: Any, masks: np.ndarray, truth: np.ndarray) -> None:
    """Tint what was marked of each class [C, S, S] and draw its true outline, in the class's
    colour."""
    for number, (mask, true_mask) in enumerate(zip(masks, truth, strict=True)):
        _tint(axis, mask, _class_colour(number))
        _outline(axis, true_mask, _class_colour(number))


def _class_colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def _tint(axis: Any, mask: np.ndarray, colour: str) -> None:
    from matplotlib.colors import to_rgba

    axis.imshow(mask[..., None] * np.array(to_rgba(colour, 0.4)))


def _outline(axis: Any, mask: np.ndarray, colour: str) -> None:
    if mask.any():
        axis.contour(mask, levels=[0.5], colors=[colour], linewidths=0.9)


def _legend(names: Sequence[str]) -> list[Any]:
    """Return what the colours mean."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    if len(names) > 1:
        areas = {name: _class_colour(number) for number, name in enumerate(names)}
        outline = Line2D([], [], color="black", label="line: true outline, tint: predicted")
    else:
        areas = {"found": _FOUND, "missed": _MISSED, "invented": _INVENTED}
        outline = Line2D([], [], color=TRUTH, label=f"true outline of {names[0]}")
    return [*(Patch(color=colour, label=name) for name, colour in areas.items()), outline]


def _draw_sizes(axis: Any, predictions: Mapping[str, Predictions], name: str) -> None:
    """Draw Dice against the share of the image a class takes, with the mean per range of sizes."""
    from matplotlib.ticker import LogLocator, NullFormatter

    for number, method in enumerate(predictions.values()):
        counts = class_counts(method, [name])
        present = counts.target > 0
        if not present.any():
            continue
        share = counts.target[present] / counts.pixels
        dice = image_dice(counts)[present]
        axis.scatter(share, dice, s=7, alpha=0.5, color=f"C{number}", linewidths=0)
        for low, high in SIZES.values():
            inside = (share >= low) & (share < high)
            if inside.any():
                edges = [max(low, share.min()), min(high, share.max())]
                axis.plot(edges, [dice[inside].mean()] * 2, color=f"C{number}", linewidth=1.6)
    axis.set_xscale("log")
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.xaxis.set_major_formatter(lambda share, _: f"{100 * share:g}%")
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.set(xlabel=f"{name}, share of the image", ylabel="Dice", ylim=(-0.03, 1.03))
    limits = ", ".join(f"{100 * low:g}%" for low, _ in list(SIZES.values())[1:])
    axis.set_title(f"{name}: Dice against size (lines: means, cut at {limits})", fontsize=8)
