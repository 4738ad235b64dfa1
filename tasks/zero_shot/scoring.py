"""From similarities of images and prompts to a score per class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from bench.contracts import CellContext, ImageTextEncoder, Subset
from bench.encoding.similarity import similarity_matrix
from tasks.zero_shot.prompts import ClassPrompts


def whole_scores(
    encoder: ImageTextEncoder,
    prompts: Sequence[ClassPrompts],
    subset: Subset,
    context: CellContext,
) -> np.ndarray:
    """Return the score [n, C] of every image as a whole and every class."""
    settings = context.settings
    texts = texts_of(prompts)
    similar = similarity_matrix(encoder, subset, texts, settings.similarity, context)
    return aggregated(similar, prompts, texts, settings.aggregate)


def texts_of(prompts: Sequence[ClassPrompts]) -> list[str]:
    """Return every prompt once, in the order of the classes."""
    every = (text for prompt in prompts for text in (*prompt.positive, *prompt.negative))
    return list(dict.fromkeys(every))


def aggregated(
    similar: np.ndarray,
    prompts: Sequence[ClassPrompts],
    texts: Sequence[str],
    aggregate: str,
    weights: Mapping[tuple[str, ...], np.ndarray] | None = None,
) -> np.ndarray:
    """Return scores of classes [n, C], float64, from similarities [n, T] to `texts`: the mean or
    highest of a class's prompts, less that of its negations.

    `weights`: group of prompts -> the share [P] of each in a weighted mean.
    """
    column_of = {text: column for column, text in enumerate(texts)}
    values = similar.astype(np.float64)

    def score_of(group: tuple[str, ...]) -> np.ndarray:
        """Return the score [n] of some prompts of a class."""
        columns = values[:, [column_of[text] for text in group]]
        if weights is not None:
            return columns @ weights[group]
        return columns.mean(axis=1) if aggregate == "mean" else columns.max(axis=1)

    return np.stack(
        [
            score_of(prompt.positive) - score_of(prompt.negative)
            if prompt.negative
            else score_of(prompt.positive)
            for prompt in prompts
        ],
        axis=1,
    )
