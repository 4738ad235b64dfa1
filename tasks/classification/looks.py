"""How well a saliency says what a classifier looks at, and where it looks: deletion and insertion,
the pointing game, overlap and energy inside what is marked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
from torch import Tensor

from bench.contracts import CellContext
from bench.encoding.features import centre_crop, normalise, resize, to_grey
from bench.metrics.weights import ratio
from tasks.classification.areas import Areas
from tasks.classification.kind import SALIENCY_METRICS
from tasks.classification.saliency import look

if TYPE_CHECKING:
    from tasks.classification.settings import ClassificationSettings
    from tasks.classification.trained import Trained
    from tasks.labelling.targets import Labelled

PATCHES = 14
"""Patches along a side of an image that are deleted or inserted together."""
STEPS = 14
"""Steps in which all patches are."""
TOLERANCE = 15 / 224
"""How far from what is marked the most salient pixel may lie, as a share of the image's side."""

Probability = Callable[[Tensor], Tensor]
"""Images [n, C, H, W] -> the probability of one class [n]."""


# ------------------------------------------------------------------------------------ one saliency
def blurred(image: Tensor) -> Tensor:
    """Return an image [C, H, W] blurred by a Gaussian as wide as a patch."""
    sigma = image.shape[-1] / PATCHES
    pixels = np.ascontiguousarray(image.cpu().numpy().transpose(1, 2, 0))
    smooth = cv2.GaussianBlur(pixels, (0, 0), sigma).reshape(pixels.shape)
    return torch.from_numpy(smooth.transpose(2, 0, 1).copy()).to(image)


def replaced(saliency: np.ndarray, steps: int = STEPS) -> np.ndarray:
    """Return which pixels are replaced after each of the steps 0 to `steps`, bool [steps + 1, H,
    W]: whole patches, those with the most saliency [H, W] first, of equal ones the upper left."""
    rows, columns = (np.arange(side) * PATCHES // side for side in saliency.shape)
    patches = rows[:, None] * PATCHES + columns
    sums = np.bincount(patches.ravel(), saliency.ravel().astype(float), PATCHES**2)
    order = np.argsort(-sums, kind="stable")
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    counts = np.round(np.linspace(0, len(order), steps + 1))
    return rank[patches] < counts[:, None, None]


def deletion_and_insertion(
    probability: Probability, image: Tensor, saliency: np.ndarray, steps: int = STEPS
) -> tuple[float, float]:
    """Return the areas under the probability while patches of an image [C, H, W] give way to its
    blurred self, the most salient first, and while they come back in it (Petsiuk et al. 2018).

    Both axes go from 0 to 1, so that an area is a mean probability: the lower the deletion and the
    higher the insertion, the better the saliency.
    """
    blur = blurred(image)
    is_replaced = torch.from_numpy(replaced(saliency, steps)).to(image.device)[:, None]
    deleted = torch.where(is_replaced, blur, image)
    inserted = torch.where(is_replaced, image, blur)
    values = probability(torch.cat([deleted, inserted])).double().cpu().numpy()
    curves = values.reshape(2, steps + 1)
    areas = (curves[:, 1:] + curves[:, :-1]).mean(axis=1) / 2
    return float(areas[0]), float(areas[1])


def pointing(saliency: np.ndarray, area: np.ndarray) -> float:
    """Return 1 where the most salient pixel lies in an area [H, W] or at most `TOLERANCE` beside
    it, else 0 (Zhang et al. 2018)."""
    y, x = np.unravel_index(int(saliency.argmax()), saliency.shape)
    rows, columns = np.nonzero(area)
    nearest = ((rows - y) ** 2 + (columns - x) ** 2).min()
    return float(nearest <= (TOLERANCE * len(saliency)) ** 2)


def overlap(saliency: np.ndarray, area: np.ndarray) -> float:
    """Return the IoU of an area [H, W] and as many of the most salient pixels."""
    count = int(area.sum())
    salient = np.argsort(-saliency.ravel(), kind="stable")[:count]
    both = int(area.ravel()[salient].sum())
    return both / (2 * count - both)


def energy(saliency: np.ndarray, area: np.ndarray) -> float:
    """Return the share of the saliency that lies in an area; NaN without any saliency."""
    total = float(saliency.sum())
    return float(saliency[area > 0].sum()) / total if total > 0 else np.nan


# -------------------------------------------------------------------------------------- a test set
@dataclass(frozen=True)
class Looks:
    """Per image the columns `value:<metric>` [n], NaN where there is none, and what the result
    states beside."""

    columns: dict[str, np.ndarray]
    facts: dict[str, Any]


def looks(trained: Trained, test: Labelled, context: CellContext) -> Looks:
    """Measure the saliency of every positive label of every image; an image's value is the mean
    over its labels. Images without a positive label, or without a mark of it, have none."""
    settings: ClassificationSettings = context.settings
    values = np.full((len(test.subset), len(SALIENCY_METRICS)), np.nan)
    positive = np.flatnonzero((test.values == 1).any(axis=1)).tolist()
    trained.network.eval()
    with context.progress.track("measuring saliency", total=len(positive)) as advance:
        for row in positive:
            classes = np.flatnonzero(test.values[row] == 1).tolist()
            of_labels = np.stack([_look(trained, test, row, c, settings) for c in classes])
            defined = (~np.isnan(of_labels)).sum(axis=0)
            values[row] = ratio(np.nansum(of_labels, axis=0), defined)
            advance()
    columns = {f"value:{name}": values[:, m] for m, name in enumerate(SALIENCY_METRICS)}
    marked = int((~np.isnan(columns["value:pointing"])).sum())
    if marked < len(positive):
        context.progress.say(
            f"{marked} of {len(positive)} test images with a label have a mask or box of it: "
            "pointing, saliency_iou and energy_inside stand on these"
        )
    return Looks(columns, {"saliency_images": len(positive), "marked_images": marked})


def _look(
    trained: Trained, test: Labelled, row: int, c: int, settings: ClassificationSettings
) -> np.ndarray:
    """Return the metrics [M] of one label of one image."""
    network = trained.network
    spec = trained.cache.backbone.input
    grey = to_grey(test.subset.images(np.array([row])), trained.device)
    marks = test.subset.get(Areas).area(row, settings.labels[c])
    marked = torch.from_numpy(marks).to(grey)[None, None]
    both = centre_crop(resize(torch.cat([grey, marked], dim=1), spec), spec.size)
    image = normalise(both[:, :1], spec)
    area = (both[0, 1] >= 0.5).cpu().numpy()
    classes = torch.tensor([c], device=image.device)
    saliency = look(network, image, classes, settings.saliency).saliency[0].cpu().numpy()

    @torch.no_grad()
    def probability(images: Tensor) -> Tensor:
        """Return the probability of the label."""
        logits = network(images)
        return logits.softmax(1)[:, c] if network.exclusive else logits[:, c].sigmoid()

    values = list(deletion_and_insertion(probability, image[0], saliency))
    if area.any():
        values += [metric(saliency, area) for metric in (pointing, overlap, energy)]
    return np.array(values + [np.nan] * (len(SALIENCY_METRICS) - len(values)))
