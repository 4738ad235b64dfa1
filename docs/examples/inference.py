"""A zero-shot inference strategy of one's own: an image and its mirror image."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.contracts import CellContext, ImageTextEncoder, Subset
from bench.core.settings import Share
from bench.encoding.features import FeatureCache, Views
from bench.encoding.similarity import cosines, text_embeddings
from tasks.zero_shot.inference import INFERENCES, Inference
from tasks.zero_shot.prompts import ClassPrompts
from tasks.zero_shot.scoring import aggregated, texts_of
from tasks.zero_shot.settings import ZeroShotSettings


@dataclass(frozen=True)
class MirroredSettings(ZeroShotSettings):
    """What `--set` takes beside the settings of zero-shot classification."""

    share: Share = 0.5
    """Weight of the mirror image."""


def mirror(image: np.ndarray, image_id: str) -> list[np.ndarray]:
    """Return the only view of an image: its mirror image."""
    return [image[:, ::-1]]


def scores(
    encoder: ImageTextEncoder,
    prompts: Sequence[ClassPrompts],
    subset: Subset,
    context: CellContext,
) -> np.ndarray:
    """Return the score of every image and class [n, C]."""
    settings: MirroredSettings = context.settings
    cache = FeatureCache(encoder, context)
    views = cache.views(subset, Views("mirror", 1, mirror))
    mirrored = views[np.arange(len(subset))][:, 0]
    mixed = (1 - settings.share) * cache.embeddings(subset) + settings.share * mirrored
    images = mixed / np.linalg.norm(mixed, axis=1, keepdims=True)
    texts = texts_of(prompts)
    similar = cosines(images.astype(np.float64), text_embeddings(encoder, texts))
    return aggregated(similar, prompts, texts, settings.aggregate)


INFERENCES.add("mirrored", Inference("an image and its mirror image", scores, MirroredSettings))
