"""What a loaded encoder says about test images: embeddings, where it reads each finding, how alike
its observations are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from backbones.shared.pretraining.vision_language import GivesQueries
from backbones.studies.look.lesions import Lesions
from bench.contracts import (
    Backbone,
    GivesGrounding,
    GivesObservations,
    ImageTextEncoder,
    Progress,
    Subset,
)
from bench.encoding.features import BATCH, centre_crop, resize, to_grey, to_input

QUERIES_SHOWN = 4


@dataclass(frozen=True)
class Reading:
    """`embeddings` [n, d]; `maps` [P, h, w], one per lesion, None without a local part; `cosines`
    [K, K] by what is compared, the observations of an image and where they were read, means over
    images (none without observations)."""

    embeddings: np.ndarray
    maps: np.ndarray | None
    cosines: Mapping[str, np.ndarray]


@torch.inference_mode()
def read(
    backbone: ImageTextEncoder,
    test: Subset,
    lesions: Lesions,
    prompts: Sequence[str],
    device: str,
    progress: Progress,
) -> Reading:
    """Read every test image once; `prompts` has one text per finding."""
    embeddings = []
    maps = []
    cosines = dict[str, np.ndarray]()
    with progress.track(f"looking with {backbone.name}", total=len(test)) as advance:
        for start in range(0, len(test), BATCH):
            rows = np.arange(start, min(start + BATCH, len(test)))
            pixels = to_input(test.images(rows), backbone.input, device)
            embeddings.append(backbone.embed_images(pixels).float().cpu())
            inside = np.flatnonzero((lesions.rows >= start) & (lesions.rows <= rows[-1]))
            grounded = (
                backbone.grounding(pixels, prompts)
                if isinstance(backbone, GivesGrounding)
                else None
            )
            if grounded is not None:
                maps.append(
                    grounded[lesions.rows[inside] - start, lesions.classes[inside]].float().cpu()
                )
            cosines = {
                name: cosine + cosines.get(name, 0)
                for name, cosine in _cosines(backbone, pixels).items()
            }
            advance(len(rows))
    means = {name: total / len(test) for name, total in cosines.items()}
    class_maps = torch.cat(maps).numpy() if maps else None
    return Reading(torch.cat(embeddings).numpy(), class_maps, means)


def _cosines(backbone: Backbone, pixels: torch.Tensor) -> dict[str, np.ndarray]:
    """Return the cosines [K, K] between observations, and between their maps, summed over the
    images of a batch."""
    tokens = {}
    if isinstance(backbone, GivesObservations):
        tokens["V-PORs"] = backbone.observations(pixels)
    if isinstance(backbone, GivesQueries):
        tokens["maps of V-PORs"] = backbone.attention_maps(pixels).flatten(2)
    units = {name: functional.normalize(vectors.float(), dim=2) for name, vectors in tokens.items()}
    return {
        name: torch.einsum("bkd,bld->kl", vectors, vectors).cpu().numpy()
        for name, vectors in units.items()
    }


def seen(backbone: Backbone, test: Subset, rows: np.ndarray) -> np.ndarray:
    """Return the images of `rows` as the encoder sees them, not yet normalised: uint8 [n, size,
    size]."""
    grey = centre_crop(resize(to_grey(test.images(rows)), backbone.input), backbone.input.size)
    return (255 * grey[:, 0]).round().to(torch.uint8).numpy()


@torch.inference_mode()
def query_maps(
    backbone: Backbone, test: Subset, row: int, prompt: str, device: str
) -> Mapping[str, np.ndarray]:
    """Return the maps [h, w] of the observations that count most for a prompt, by title; none
    without observations."""
    if not isinstance(backbone, GivesQueries):
        return {}
    pixels = to_input(test.images(np.array([row])), backbone.input, device)
    weights = backbone.query_weights(pixels, [prompt])[0, 0]
    maps = backbone.attention_maps(pixels)[0]
    best = weights.argsort(descending=True)[:QUERIES_SHOWN].tolist()
    return {f"query {k}: {float(weights[k]):.2f}": maps[k].float().cpu().numpy() for k in best}
