"""Image-text scores of a backbone for all pairs of images and texts: what zero-shot and retrieval
are made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from bench.contracts import (
    Backbone,
    CellContext,
    GivesLocalSimilarity,
    ImageTextEncoder,
    Subset,
    has_text_side,
    weights_named,
)
from bench.core.errors import DataError, NotApplicableError
from bench.encoding.features import FeatureCache, to_input

if TYPE_CHECKING:
    import torch

Score = Callable[["torch.Tensor", Sequence[str]], "torch.Tensor"]
IMAGES = 128
"""Images scored together; the method's own score encodes them again for every block of texts."""
TEXTS = 256
"""Texts scored together; the method's own score encodes them again for every block of images."""


def need_text_side(backbone: Backbone, what: str) -> ImageTextEncoder:
    """Return the backbone where it can compare images with texts; else raise NotApplicableError."""
    if has_text_side(backbone):
        return backbone
    why = getattr(backbone, "why_no_text", "")
    raise NotApplicableError(
        f"{what} needs a text encoder, backbone '{backbone.name}' has none"
        f"{why and f' here: {why}'}.",
        "Choose one trained on reports.",
    )


def similarity_matrix(
    backbone: ImageTextEncoder,
    subset: Subset,
    texts: Sequence[str],
    which: str,
    context: CellContext,
) -> np.ndarray:
    """Return scores [n, T] of every image of `subset` and every text, float32.

    `which` method: the backbone's own score; global: the cosine of its embeddings, those of the
    images from the feature cache; local: its part over words and regions alone. Raise
    NotApplicableError where the backbone has no such part.
    """
    if which == "global":
        scores = _cosines(backbone, subset, texts, context)
    else:
        scores = _method_scores(backbone, _score(backbone, which), subset, texts, context)
    return require_finite(backbone, scores)


def require_finite(backbone: Backbone, scores: np.ndarray, what: str = "scores") -> np.ndarray:
    """Return the scores of a backbone; raise DataError naming it where one is not finite."""
    if not np.isfinite(scores).all():
        raise DataError(
            f"backbone '{backbone.name}'{weights_named(backbone)} gives {what} that are not "
            "finite.",
            "Check its weights.",
        )
    return scores


def _cosines(
    backbone: ImageTextEncoder, subset: Subset, texts: Sequence[str], context: CellContext
) -> np.ndarray:
    images = FeatureCache(backbone, context).embeddings(subset).astype(np.float64)
    return cosines(images, text_embeddings(backbone, texts))


def cosines(images: np.ndarray, texts: np.ndarray) -> np.ndarray:
    """Return the cosines [n, T], float32, of unit vectors [n, d] and [T, d] (float64)."""
    return (images @ texts.T).astype(np.float32)


def text_embeddings(backbone: ImageTextEncoder, texts: Sequence[str]) -> np.ndarray:
    """Return the embeddings of texts, float64 [T, d], a block at a time."""
    import torch

    with torch.inference_mode():
        blocks = []
        for start in range(0, len(texts), TEXTS):
            block = backbone.embed_texts(list(texts[start : start + TEXTS]))
            blocks.append(block.double().cpu().numpy())
    return np.concatenate(blocks)


def _score(backbone: ImageTextEncoder, which: str) -> Score:
    if which != "local":
        return backbone.similarity
    if not isinstance(backbone, GivesLocalSimilarity):
        raise NotApplicableError(
            f"backbone '{backbone.name}' has no local similarity.",
            "Use similarity=method or global.",
        )
    return backbone.local_similarity


def _method_scores(
    backbone: ImageTextEncoder,
    score: Score,
    subset: Subset,
    texts: Sequence[str],
    context: CellContext,
) -> np.ndarray:
    import torch

    scores = np.empty((len(subset), len(texts)), np.float32)
    title = f"image-text scores of {backbone.name}"
    with context.progress.track(title, total=len(subset)) as advance, torch.inference_mode():
        for start in range(0, len(subset), IMAGES):
            rows = np.arange(start, min(start + IMAGES, len(subset)))
            pixels = to_input(subset.images(rows), backbone.input, context.device)
            for first in range(0, len(texts), TEXTS):
                block = list(texts[first : first + TEXTS])
                columns = slice(first, first + len(block))
                scores[rows, columns] = score(pixels, block).float().cpu().numpy()
            advance(len(rows))
    return scores
