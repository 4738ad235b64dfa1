"""Pictures of a method: the curve of its training, and where its observations were read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from backbones.pairs import normalise_images
from bench.contracts import InputSpec


def _figure(rows: int, columns: int, size: tuple[float, float]) -> tuple[Any, np.ndarray]:
    """Return a figure without a display, and its axes [rows, columns]."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False)


def plot_curve(curve: Path, out: Path, title: str = "") -> Path:
    """Draw a `curve.jsonl`: training losses on the left, validation figures on the right."""
    rows = [json.loads(line) for line in curve.read_text().splitlines()]
    figure, axes = _figure(1, 2, (9, 3.2))
    for axis, kind in zip(axes[0], ("train", "val"), strict=True):
        for name in sorted({key for row in rows for key in row if key.startswith(f"{kind}/")}):
            points = [(row["epoch"], row[name]) for row in rows if name in row]
            axis.plot(*zip(*points, strict=True), marker=".", label=name.partition("/")[2])
        axis.set(xlabel="epoch", title={"train": "training loss", "val": "validation"}[kind])
        axis.legend(fontsize="small")
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
    method: HasMaps, spec: InputSpec, images: np.ndarray, out: Path, titles: Sequence[str] = (), shown: int = 6
) -> Path | None:
    """Draw where the observations of uint8 images [n, S, S] were read: image, mean map, the `shown` most peaked maps.

    Return None, drawing nothing, for a method without such maps.
    """
    maps = method.attention_maps(normalise_images(torch.from_numpy(images), spec))
    if maps is None:
        return None
    maps = maps.cpu()
    figure, axes = _figure(len(images), shown + 2, (1.5 * (shown + 2), 1.62 * len(images)))
    for number, (image, own) in enumerate(zip(images, maps, strict=True)):
        order = own.flatten(1).max(1).values.argsort(descending=True)[:shown]
        panels = [("radiograph", None), ("mean", own.mean(0)), *((f"query {int(k)}", own[k]) for k in order)]
        for axis, (title, heat) in zip(axes[number], panels, strict=False):
            _panel(axis, image, heat, title if number == 0 or title.startswith("query") else "")
        if number < len(titles):
            axes[number][0].set_ylabel(titles[number], fontsize=7)
    figure.savefig(out, dpi=130)
    return out


def _panel(axis: Any, image: np.ndarray, heat: torch.Tensor | None, title: str) -> None:
    axis.imshow(image, cmap="gray", vmin=0, vmax=255)
    if heat is not None:
        scaled = (heat / heat.max().clamp(min=1e-12)).numpy()
        extent = (-0.5, image.shape[1] - 0.5, image.shape[0] - 0.5, -0.5)
        axis.imshow(scaled, cmap="inferno", alpha=0.45, extent=extent, interpolation="bilinear", vmin=0, vmax=1)
    axis.set(xticks=[], yticks=[])
    axis.set_title(title, fontsize=7)
