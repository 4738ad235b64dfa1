"""The frame of a task's picture: a row of example images per method, and below it curves over all
methods."""

from __future__ import annotations

import itertools
import re
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.core.storage import atomic_path

COLOURS = ("#00c8ff", "#ffb000", "#7dff5a", "#ff4fa0")
TRUTH = "#ff2020"
_LINES = 3
"""Most lines of a method's name."""


def best_median_worst(scores: np.ndarray, among: np.ndarray) -> dict[str, int]:
    """Return the rows of the best, median and worst image by `scores` [n] (NaN counts as 0), of
    those `among` (bool [n])."""
    rows = np.flatnonzero(among)
    ordered = rows[np.argsort(-np.nan_to_num(scores[rows]), kind="stable")]
    if not len(ordered):
        return {}
    return {
        "best": int(ordered[0]),
        "median": int(ordered[len(ordered) // 2]),
        "worst": int(ordered[-1]),
    }


def wrapped(name: str, width: int) -> str:
    """Return a name on up to three lines of `width` characters, cut behind blanks and the signs of
    a path or setting; what does not fit is an ellipsis."""
    words = re.findall(r"[^\s/?&:_,(]*[\s/?&:_,(]?", name)
    lines = [""]
    for piece in itertools.chain.from_iterable(_cut(word, width) for word in words):
        if lines[-1] and len(lines[-1]) + len(piece) > width:
            lines.append("")
        lines[-1] += piece
    if len(lines) > _LINES:
        shortened = lines[_LINES - 1][: width - 1] + "…"
        lines = [*lines[: _LINES - 1], shortened]
    return as_it_is("\n".join(line.strip() for line in lines))


def _cut(text: str, width: int) -> list[str]:
    return [text[start : start + width] for start in range(0, len(text), width)]


def as_it_is(text: str) -> str:
    """Return a text that matplotlib does not read as mathematics."""
    return text.replace("$", r"\$")


def example_frame(methods: Sequence[str], columns: int, curves: int) -> tuple[Any, Any, Any]:
    """Return (figure, image axes [methods, columns], curve axes [curves]); rows carry the names of
    the methods, and a legend below the curves has the colour of each: C0, C1 and so on."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    height = 2.6 * len(methods)
    below_height = 3.2 + 0.17 * len(methods)
    size = (2.5 * columns, height + below_height)
    figure: Any = Figure(figsize=size, dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    top, bottom = figure.subfigures(2, 1, height_ratios=(height, below_height))
    _method_legend(bottom, methods, width=int(17 * size[0]))
    axes = top.subplots(len(methods), columns, squeeze=False)
    for row, name in zip(axes, methods, strict=True):
        row[0].set_ylabel(wrapped(name, 30), fontsize=8)
        for axis in row:
            axis.set_xticks([])
            axis.set_yticks([])
    below = bottom.subplots(1, curves, squeeze=False)[0]
    for axis in below:
        axis.tick_params(labelsize=7)
        axis.grid(alpha=0.3)
    return figure, axes, below


def _method_legend(figure: Any, methods: Sequence[str], width: int) -> None:
    """Write the methods below the curves, where they cover none."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=f"C{number}", label=as_it_is(textwrap.shorten(name, width)))
        for number, name in enumerate(methods)
    ]
    figure.legend(handles=handles, loc="outside lower center", fontsize=7, frameon=False)


def show(axis: Any, image: np.ndarray, title: str) -> None:
    """Draw a grey uint8 image [S, S] under a title."""
    axis.imshow(image, cmap="gray", vmin=0, vmax=255)
    axis.set_title(title, fontsize=8)


def save(figure: Any, out: Path) -> Path:
    """Write the figure to `out`, making its folder."""
    with atomic_path(out) as temporary:
        figure.savefig(temporary, format=out.suffix[1:])
    return out


def stamp(path: Path, text: str) -> None:
    """Write one line on a white strip below a PNG, in place."""
    from PIL import Image, ImageDraw, ImageFont

    with Image.open(path) as opened:
        picture = opened.convert("RGB")
    size = max(12, picture.width // 80)
    stamped = Image.new("RGB", (picture.width, picture.height + 2 * size), "white")
    stamped.paste(picture, (0, 0))
    corner = (size // 2, picture.height + size // 3)
    font = ImageFont.load_default(size)
    ImageDraw.Draw(stamped).text(corner, text, fill="#a00000", font=font)
    with atomic_path(path) as temporary:
        stamped.save(temporary, format="PNG")
