"""One training step of a dense head on a frozen encoder: encoder and head against the head on kept feature maps."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch


def timed(function: Callable[[], Any], repeats: int = 1) -> tuple[float, Any]:
    """Return the least seconds of some calls, and what the last returned."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        found = function()
        seconds.append(time.perf_counter() - start)
    return min(seconds), found


def row(name: str, size: str, usual_s: float, ours_s: float, equal: bool, wanted: float | str) -> dict[str, Any]:
    """Return a row of the results file."""
    times = {"usual_s": usual_s, "ours_s": ours_s, "ratio": usual_s / ours_s}
    return {"name": name, "size": size, **times, "equal": equal, "wanted": wanted}


def step_row(name: str, model: Any, images: torch.Tensor, batch: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
    """Time forward and backward of an OpenMMLab model whose encoder is frozen, on images [B, 3, S, S] and on their kept maps.

    `batch` packs the one or the other as the model takes it. Equal: both losses agree.
    """
    model.train()
    with torch.no_grad():
        maps = model.backbone(images)

    def step(inputs: Any) -> float:
        torch.manual_seed(0)
        model.zero_grad()
        loss, _ = model.parse_losses(model(**batch(inputs), mode="loss"))
        loss.backward()
        return float(loss.detach())

    step(maps)
    usual_s, expected = timed(lambda: step(images))
    ours_s, value = timed(lambda: step(maps), repeats=2)
    size = f"{len(images)} images of {images.shape[-1]} px, {len(images) / ours_s:.1f} images/s"
    return row(name, size, usual_s, ours_s, abs(expected - value) < 1e-4 * abs(expected), "")
