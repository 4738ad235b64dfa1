"""The frame of a task's picture: a row of example images per method, and below it curves over all
methods."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

COLOURS = ("#00c8ff", "#ffb000", "#7dff5a", "#ff4fa0")
TRUTH = "#ff2020"


def best_median_worst(scores: np.ndarray, among: np.ndarray) -> dict[str, int]:
    """Return the rows of the best, median and worst image by `scores` [n] (NaN counts as 0), of
    those `among` (bool [n])."""
    rows = np.flatnonzero(among)
    ordered = rows[np.argsort(-np.nan_to_num(scores[rows]), kind="stable")]
    places = {"best": 0, "median": len(ordered) // 2, "worst": len(ordered) - 1}
    return {name: int(ordered[place]) for name, place in places.items()} if len(ordered) else {}


def example_frame(methods: Sequence[str], columns: int, curves: int) -> tuple[Any, Any, Any]:
    """Return (figure, image axes [methods, columns], curve axes [curves]); rows carry the names of
    the methods."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    height = 2.6 * len(methods)
    figure: Any = Figure(figsize=(2.5 * columns, height + 3.2), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    top, bottom = figure.subfigures(2, 1, height_ratios=(height, 3.2))
    axes = top.subplots(len(methods), columns, squeeze=False)
    for row, name in zip(axes, methods, strict=True):
        row[0].set_ylabel(name, fontsize=8)
        for axis in row:
            axis.set_xticks([])
            axis.set_yticks([])
    below = bottom.subplots(1, curves, squeeze=False)[0]
    for axis in below:
        axis.tick_params(labelsize=7)
        axis.grid(alpha=0.3)
    return figure, axes, below


def show(axis: Any, image: np.ndarray, title: str) -> None:
    """Draw a grey uint8 image [S, S] under a title."""
    axis.imshow(image, cmap="gray", vmin=0, vmax=255)
    axis.set_title(title, fontsize=8)


def save(figure: Any, out: Path) -> Path:
    """Write the figure to `out`, making its folder."""
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out)
    return out


def stamp(path: Path, text: str) -> None:
    """Write one line on a white strip below a PNG, in place."""
    from PIL import Image, ImageDraw, ImageFont

    with Image.open(path) as opened:
        picture = opened.convert("RGB")
    size = max(12, picture.width // 80)
    stamped = Image.new("RGB", (picture.width, picture.height + 2 * size), "white")
    stamped.paste(picture, (0, 0))
    place = (size // 2, picture.height + size // 3)
    ImageDraw.Draw(stamped).text(place, text, fill="#a00000", font=ImageFont.load_default(size))
    stamped.save(path)
