"""Multi-resolution inference: random crops, weighted by how much they look like any class, and
their mean mixed with the whole image (after arXiv 2503.10731)."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import softmax

from bench.contracts import CellContext, ImageTextEncoder, Subset
from bench.core.errors import SettingError
from bench.encoding.features import FeatureCache, Tokens, Views
from bench.encoding.similarity import cosines, require_finite, text_embeddings
from bench.metrics.ranking import mean_auroc
from tasks.labelling.wording import sentence
from tasks.zero_shot.inference.multi_resolution import MultiResolutionSettings
from tasks.zero_shot.prompts import ClassPrompts
from tasks.zero_shot.scoring import aggregated, texts_of

if TYPE_CHECKING:
    from tasks.labelling.targets import Labelled

NAME_SCALE = float(np.exp(2))
"""Factor on cosines of prompts with the class's name, before the softmax that weighs prompts."""
NAMED = "a photo of a {}."
MIXES = tuple(number / 10 for number in range(11))
"""Of which `mix=validation` takes the best."""
BLOCK = 512
"""Images whose crops are read together."""


# -------------------------------------------------------------------------------------------- crops
def crop_views(settings: MultiResolutionSettings, seed: int) -> Views:
    """Return the views that the crops are; their facts are all that decides them."""
    facts = {
        "scales": list(settings.scales),
        "crops": settings.crops,
        "crop_min": settings.crop_min,
        "crop_max": settings.crop_max,
        "seed": seed,
    }
    count = len(settings.scales) * settings.crops
    return Views("crops", count, partial(draw_crops, settings, seed), facts)


def draw_crops(
    settings: MultiResolutionSettings, seed: int, image: np.ndarray, image_id: str
) -> list[np.ndarray]:
    """Return the random crops of one image uint8 [S, S], drawn by the seed and the image's id: at
    every scale `crops` squares, whose side is uniform between `crop_min` and `crop_max`."""
    from PIL import Image

    name = hashlib.blake2b(image_id.encode(), digest_size=8).digest()
    rng = np.random.default_rng([seed, 9, int.from_bytes(name)])
    crops = []
    for scale in settings.scales:
        side = round(scale * image.shape[0])
        picture = Image.fromarray(image).resize((side, side), Image.Resampling.LANCZOS)
        pixels = np.asarray(picture)
        for _ in range(settings.crops):
            length = int(rng.uniform(settings.crop_min, settings.crop_max) * side)
            top, left = rng.integers(0, side - length + 1, 2)
            crops.append(pixels[top : top + length, left : left + length])
    return crops


# ------------------------------------------------------------------------------------ the algorithm
def unit(vectors: np.ndarray) -> np.ndarray:
    """Return vectors [..., d] at length 1; one of length 0 stays."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.where(length > 0, length, 1.0)


def name_weights(prompts: np.ndarray, name: np.ndarray) -> np.ndarray:
    """Return the share [P] of each prompt [P, d] by its likeness to the class's name [d]."""
    shares: np.ndarray = softmax(NAME_SCALE * (prompts @ name))
    return shares


def class_vector(prompts: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Return the unit vector [d] of a class: the mean of its prompts [P, d], or that with
    `weights` [P]."""
    return unit(prompts.mean(axis=0) if weights is None else weights @ prompts)


def patch_weights(crops: np.ndarray, classes: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Return the share [n, P] of each crop [n, P, d]: the softmax of its highest cosine with any of
    the class vectors [C, d]."""
    shares: np.ndarray = softmax((crops @ classes.T).max(axis=2) / temperature, axis=-1)
    return shares


def local_vectors(crops: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the unit vector [n, d] of an image's crops [n, P, d] by their weights [n, P]."""
    return unit(np.einsum("np,npd->nd", weights, crops))


def mixed(local: np.ndarray, whole: np.ndarray, mix: float) -> np.ndarray:
    """Return unit vectors [n, d] between crops and whole image; `whole` as it is where `mix` is
    0."""
    return whole if mix == 0 else unit(mix * local + (1 - mix) * whole)


# ---------------------------------------------------------------------------------------- in a cell
def scores(
    encoder: ImageTextEncoder,
    prompts: Sequence[ClassPrompts],
    subset: Subset,
    context: CellContext,
) -> np.ndarray:
    """Return the score [n, C] of every image and class; with `mix=0` those of `inference=whole`,
    and no crop is encoded."""
    settings: MultiResolutionSettings = context.settings
    if settings.mix == "validation":
        raise SettingError(
            "mix is validation, and none was chosen.", "Choose it before images are scored."
        )
    return _Scored(encoder, prompts, subset, context).at(settings.mix)


def choose(
    encoder: ImageTextEncoder,
    prompts: Sequence[ClassPrompts],
    validation: Labelled | None,
    context: CellContext,
) -> MultiResolutionSettings:
    """Return the settings with the `mix` of the highest mean AUROC on validation, where it is to be
    chosen; of equal ones the smallest. Raise SettingError without validation images."""
    settings: MultiResolutionSettings = context.settings
    if settings.mix != "validation":
        return settings
    if validation is None:
        raise SettingError(
            f"mix is validation, and task '{context.task.name}' has no validation images.",
            "Give a number, e.g. mix=0.5.",
        )
    scored = _Scored(encoder, prompts, validation.subset, context)
    values = [
        mean_auroc(require_finite(encoder, scored.at(mix)), validation.values) for mix in MIXES
    ]
    return dataclasses.replace(settings, mix=MIXES[int(np.argmax(np.round(values, 12)))])


class _Scored:
    """Images and prompts encoded once, to be scored at any mix."""

    def __init__(
        self,
        encoder: ImageTextEncoder,
        prompts: Sequence[ClassPrompts],
        subset: Subset,
        context: CellContext,
    ) -> None:
        self._settings: MultiResolutionSettings = context.settings
        self._prompts = prompts
        self._texts = texts_of(prompts)
        self._vectors = text_embeddings(encoder, self._texts)
        self._weights = self._weights_of_prompts(encoder)
        self._cache = FeatureCache(encoder, context)
        self._subset = subset
        self._whole = self._cache.embeddings(subset).astype(np.float64)
        self._local: np.ndarray | None = None
        self._views = crop_views(self._settings, context.seed)

    def at(self, mix: float) -> np.ndarray:
        """Return the scores [n, C] at one mix of crops and whole image."""
        local = self._whole if mix == 0 else self._crops()
        similar = cosines(mixed(local, self._whole, mix), self._vectors)
        aggregate = self._settings.aggregate
        return aggregated(similar, self._prompts, self._texts, aggregate, self._weights)

    def _crops(self) -> np.ndarray:
        """Return the vector of each image's crops [n, d], a block of images at a time."""
        if self._local is None:
            tokens = self._cache.views(self._subset, self._views)
            classes = self._classes()
            rows = np.arange(len(self._subset))
            blocks = [self._local_of(tokens, block, classes) for block in _blocks(rows)]
            self._local = np.concatenate(blocks)
        return self._local

    def _local_of(self, tokens: Tokens, rows: np.ndarray, classes: np.ndarray) -> np.ndarray:
        crops = unit(tokens[rows].astype(np.float64))
        return local_vectors(crops, patch_weights(crops, classes, self._settings.patch_temperature))

    def _classes(self) -> np.ndarray:
        groups = [prompt.positive for prompt in self._prompts]
        weights = self._weights or {}
        return np.stack([class_vector(self._of(group), weights.get(group)) for group in groups])

    def _weights_of_prompts(
        self, encoder: ImageTextEncoder
    ) -> Mapping[tuple[str, ...], np.ndarray] | None:
        if self._settings.prompt_weights == "mean":
            return None
        labels = self._settings.labels
        names = text_embeddings(encoder, [sentence(NAMED, label) for label in labels])
        weights = {}
        for prompt, name in zip(self._prompts, names, strict=True):
            for group in filter(None, (prompt.positive, prompt.negative)):
                weights[group] = name_weights(self._of(group), name)
        return weights

    def _of(self, group: Sequence[str]) -> np.ndarray:
        """Return the embeddings of some prompts [P, d]."""
        return self._vectors[[self._texts.index(text) for text in group]]


def _blocks(rows: np.ndarray) -> list[np.ndarray]:
    return [rows[start : start + BLOCK] for start in range(0, len(rows), BLOCK)] or [rows]
