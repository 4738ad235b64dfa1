"""How well a method finds the report of an image among others: what pre-training watches."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import torch

from backbones.shared.pretraining.pairs import PairLoader
from backbones.shared.pretraining.vision_language import VisionLanguageMethod, text_batch

MAXIMUM = 512
"""Pairs used, so that watching costs little next to training."""


@torch.no_grad()
def retrieval_scores(
    method: VisionLanguageMethod, pairs: PairLoader, device: str
) -> dict[str, float]:
    """Return image-to-text retrieval on the first pairs of a subset, every report a candidate.

    `recall_1`, `recall_5`: the image's own report is among the first K (chance K / n); `rank`: the
    share of other reports that score below the own one, ties counting half (chance 0.5). What the
    method itself watches (`VisionLanguageMethod.watched`) stands beside them.
    """
    scores, watched = _scored(method, pairs, device)
    matching = scores.diagonal()[:, None]
    above = (scores > matching).sum(1)
    equal = (scores == matching).sum(1) - 1
    rank = above + equal / 2
    count = max(1, len(scores) - 1)
    return {
        "recall_1": float((rank < 1).double().mean()),
        "recall_5": float((rank < 5).double().mean()),
        "rank": float((1 - rank / count).mean()),
        **{name: float(np.mean(values)) for name, values in watched.items() if values},
    }


def _scored(
    method: VisionLanguageMethod, pairs: PairLoader, device: str
) -> tuple[torch.Tensor, dict[str, list[float]]]:
    """Return the scores of all images with all reports, and what the method watches."""
    rows = np.arange(min(MAXIMUM, len(pairs.subset)))
    batches = [pairs.centre(some) for some in np.array_split(rows, max(1, len(rows) // 64))]
    texts = [text_batch(batch).to(device) for batch in batches]
    lines = []
    watched: dict[str, list[float]] = defaultdict(list)
    for batch in batches:
        features = method.image_encoder.features(batch["images"].to(device))
        lines.append(torch.cat([method.score(features, text) for text in texts], 1))
        for name, values in method.watched(batch, features).items():
            watched[name] += values
    return torch.cat(lines).cpu(), watched
