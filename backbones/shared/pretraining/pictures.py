"""Pictures of a method: the curve of its training, where it reads, how alike its observations are,
a map of its embeddings."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from backbones.shared.pretraining.pairs import normalise_images
from bench.contracts import InputSpec
from bench.report.pictures import COLOURS, TRUTH, save, show, wrapped


def _figure(rows: int, columns: int, size: tuple[float, float]) -> tuple[Any, np.ndarray]:
    """Return a figure without a display, and its axes [rows, columns]."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False)


def plot_curve(curve: Path, out: Path, title: str = "") -> Path:
    """Draw a `curve.jsonl`: training losses on the left, validation figures on the right."""
    rows = [json.loads(line) for line in curve.read_text().splitlines()]
    figure, axes = _figure(1, 2, (9, 3.6))
    for axis, kind in zip(axes[0], ("train", "val"), strict=True):
        for name in sorted({key for row in rows for key in row if key.startswith(f"{kind}/")}):
            points = [(row["epoch"], row[name]) for row in rows if name in row]
            axis.plot(*zip(*points, strict=True), marker=".", label=name.partition("/")[2])
        axis.set(xlabel="epoch", title={"train": "training loss", "val": "validation"}[kind])
        axis.legend(fontsize="small", loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=3)
        axis.grid(alpha=0.3)
    figure.suptitle(title)
    figure.savefig(out, dpi=120)
    return out


class HasMaps(Protocol):
    """A method or backbone that can say where its observations were read."""

    def attention_maps(self, images: torch.Tensor) -> torch.Tensor | None:
        """Return maps [B, K, h, w] of normalised images [B, 3, H, W]."""
        ...


@torch.no_grad()
def draw_attention(
    method: HasMaps,
    spec: InputSpec,
    images: np.ndarray,
    out: Path,
    titles: Sequence[str] = (),
    shown: int = 6,
) -> Path | None:
    """Draw where the observations of uint8 images [n, S, S] were read: image, mean map, the `shown`
    most peaked maps.

    Return None, drawing nothing, for a method without such maps.
    """
    maps = method.attention_maps(normalise_images(torch.from_numpy(images), spec))
    if maps is None:
        return None
    maps = maps.cpu()
    columns = shown + 2
    figure, axes = _figure(len(images), columns, (1.5 * columns, 1.62 * len(images)))
    for number, (image, heats) in enumerate(zip(images, maps, strict=True)):
        order = heats.flatten(1).max(1).values.argsort(descending=True)[:shown]
        panels = [
            ("radiograph", None),
            ("mean", heats.mean(0)),
            *((f"query {int(k)}", heats[k]) for k in order),
        ]
        for axis, (title, heat) in zip(axes[number], panels, strict=False):
            _panel(axis, image, heat, title if number == 0 or title.startswith("query") else "")
        if number < len(titles):
            axes[number][0].set_ylabel(titles[number], fontsize=7)
    figure.savefig(out, dpi=130)
    return out


def _panel(
    axis: Any, image: np.ndarray, heat: torch.Tensor | np.ndarray | None, title: str
) -> None:
    show(axis, image, title)
    axis.set_axis_on()
    axis.set(xticks=[], yticks=[])
    if heat is None:
        return
    values = np.asarray(heat, dtype=float)
    scaled = (values - values.min()) / max(float(np.ptp(values)), 1e-12)
    extent = (-0.5, image.shape[1] - 0.5, image.shape[0] - 0.5, -0.5)
    # The radiograph stays as it is where little is read.
    axis.imshow(
        scaled,
        cmap="inferno",
        alpha=0.6 * scaled,
        extent=extent,
        interpolation="bilinear",
        vmin=0,
        vmax=1,
    )


# --------------------------------------------------------------------------------- maps of findings
PANELS = 6
"""Images side by side in a picture of maps."""


@dataclass(frozen=True)
class Example:
    """An image as the encoder sees it, uint8 [S, S], and where it reads the finding `asked`.

    `outlines`: masks, bool [S, S], by finding; `heats`: maps [h, w] by title, the first that of the
    finding, with its peak at `peak` (row, column).
    """

    image: np.ndarray
    asked: str
    outlines: Mapping[str, np.ndarray]
    heats: Mapping[str, np.ndarray]
    peak: tuple[int, int]


def draw_grounding(examples: Sequence[Example], out: Path, title: str) -> Path:
    """Draw per example the image with all its lesions named, then every map with the outline of
    what was asked.

    Maps are scaled from their smallest to their largest value. Examples of few maps stand side by
    side.
    """
    columns = 1 + max(len(example.heats) for example in examples)
    beside = min(len(examples), max(1, PANELS // columns))
    lines = -(-len(examples) // beside)
    panels = columns * beside
    figure, axes = _figure(lines, panels, (1.7 * panels, 1.85 * lines + 0.3))
    figure.suptitle(title, fontsize=9)
    for axis in axes.flat:
        axis.set_axis_off()
    for example, row in zip(examples, axes.reshape(lines * beside, columns), strict=False):
        _draw_example(row, example)
    return save(figure, out)


def _draw_example(row: np.ndarray, example: Example) -> None:
    _panel(row[0], example.image, None, example.asked)
    for number, (name, mask) in enumerate(example.outlines.items()):
        colour = COLOURS[(number - 1) % len(COLOURS)] if number else TRUTH
        _outline(row[0], mask, colour, name)
    for axis, (name, heat) in zip(row[1:], example.heats.items(), strict=False):
        _panel(axis, example.image, heat, name)
        _outline(axis, example.outlines[example.asked], TRUTH)
    row[1].plot(
        example.peak[1], example.peak[0], "+", color="white", markersize=9, markeredgewidth=1.6
    )


def _outline(axis: Any, mask: np.ndarray, colour: str, label: str = "") -> None:
    """Draw the edge of a mask [S, S], closed where it meets the edge of the image; `label` stands
    above it."""
    rows, columns = (np.arange(-1, side + 1) for side in mask.shape)
    axis.contour(
        columns, rows, np.pad(mask, 1).astype(float), levels=[0.5], colors=[colour], linewidths=1.0
    )
    axis.set(xlim=(-0.5, mask.shape[1] - 0.5), ylim=(mask.shape[0] - 0.5, -0.5))
    if label:
        y = int(np.flatnonzero(mask.any(axis=1))[0])
        left, right = np.flatnonzero(mask[y])[[0, -1]]
        x, side = (left, "left") if left < 0.65 * mask.shape[1] else (right, "right")
        box = {"facecolor": colour, "edgecolor": "none", "pad": 0.6}
        axis.text(
            x, y, label, fontsize=5, color="black", va="bottom", ha=side, clip_on=True, bbox=box
        )


def draw_cosines(cosines: Mapping[str, np.ndarray], out: Path, title: str) -> Path:
    """Draw mean cosines [K, K] within images side by side; the titles have the mean of different
    ones."""
    figure, axes = _figure(1, len(cosines), (3.9 * len(cosines) + 0.7, 4.2))
    figure.set_layout_engine("compressed")  # square panels: "constrained" cuts what is below them
    for axis, (name, cosine) in zip(axes[0], cosines.items(), strict=True):
        count = len(cosine)
        mean = (cosine.sum() - np.trace(cosine)) / max(1, count * (count - 1))
        image = axis.imshow(cosine, cmap="RdBu_r", vmin=-1, vmax=1)
        ticks = range(0, count, max(1, count // 8))
        axis.set(xlabel="query", ylabel="query", xticks=ticks, yticks=ticks)
        axis.set_title(f"{wrapped(name, 44)}\nmean cosine of different ones {mean:.2f}", fontsize=9)
    figure.colorbar(image, ax=axes, shrink=0.8)
    figure.suptitle(title, fontsize=9)
    return save(figure, out)


def draw_embeddings(
    points: Mapping[str, np.ndarray],
    labels: list[str],
    greys: Mapping[str, str],
    out: Path,
    title: str,
) -> Path:
    """Draw points [n, 2] per encoder side by side, coloured by the label of each image; those in
    `greys` have that colour."""
    from matplotlib import colormaps

    label_of = np.array(labels)
    coloured = sorted(set(labels) - set(greys), key=lambda name: (-labels.count(name), name))
    palette = colormaps["tab10" if len(coloured) <= 10 else "tab20"]
    colours: dict[str, Any] = {name: grey for name, grey in greys.items() if name in labels}
    colours |= {name: palette(number) for number, name in enumerate(coloured)}
    figure, axes = _figure(1, len(points), (3.1 * len(points) + 1.6, 3.4))
    for axis, (method, places) in zip(axes[0], points.items(), strict=True):
        for name, colour in colours.items():
            axis.scatter(*places[label_of == name].T, s=18, color=colour, label=name, linewidths=0)
        axis.set(xticks=[], yticks=[])
        axis.set_title(wrapped(method, 36), fontsize=9)
    figure.legend(
        *axes[0, 0].get_legend_handles_labels(),
        loc="outside right center",
        fontsize=8,
        frameon=False,
    )
    figure.suptitle(title, fontsize=9)
    return save(figure, out)
