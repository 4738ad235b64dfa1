"""What one attention-pooled similarity computes, as plain settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Order = Literal["words_then_regions", "regions"]
Aggregate = Literal["logsumexp", "log_mean_exp", "mean_of_scores", "max", "none"]
Implementation = Literal["auto", "reference", "chunked", "tiled", "triton"]


@dataclass(frozen=True)
class Pooling:
    """How a text unit attends to regions.

    `order`: "regions" is softmax over regions of `attention_scale` times the dot products (PLACE: 1
    / tau2); "words_then_regions" is first a softmax over the words of the caption, then over
    regions of `attention_scale` times that (GLoRIA: temp1). `eps` bounds the product of the two
    norms from below in the cosine. `chunk_bytes` is the size of one temporary of the chunked forms,
    of which about six are alive at once. Tiles of the forward pass are kept for the backward while
    they fit in `keep_bytes` together, the rest is computed again.
    """

    order: Order = "words_then_regions"
    attention_scale: float = 4.0
    eps: float = 1e-8
    chunk_bytes: int = 4 << 20
    keep_bytes: int = 256 << 20

    @property
    def words_first(self) -> bool:
        """Whether the first softmax runs over the words of a caption."""
        return self.order == "words_then_regions"
