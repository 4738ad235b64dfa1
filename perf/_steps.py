"""One training step of a dense head on a frozen encoder: encoder and head against the head on kept
feature maps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from perf._timing import row, timed


def step_row(
    name: str, model: Any, images: torch.Tensor, batch: Callable[[Any], dict[str, Any]]
) -> dict[str, Any]:
    """Time forward and backward of an OpenMMLab model whose encoder is frozen, on images [B, 3, S,
    S] and on their kept maps.

    `batch` packs the one or the other as the model takes it. Equal: both losses agree.
    """
    model.train()
    with torch.no_grad():
        maps = model.backbone(images)

    def step(inputs: Any) -> float:
        """Run one step forward and backward; return its loss."""
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
