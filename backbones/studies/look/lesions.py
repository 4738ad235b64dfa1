"""The outlined lesions of a dataset as an encoder sees them: after resizing, padding and
cropping."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.contracts import InputSpec, Subset
from bench.data.annotations import Boxes, Masks
from bench.data.boxes import fill_boxes
from bench.encoding.features import centre_crop, resize, to_grey

SPREAD = 0.03
"""Width of the blur of the training split's lesion map, as a share of the side: many pixels are
equally frequent without it."""
SEVERAL = "several findings"
NONE = "no finding"
GREYS = {NONE: "#cfcfcf", SEVERAL: "#6f6f6f"}
"""Colours of the images that are of no one finding."""


@dataclass(frozen=True)
class Lesions:
    """Pair p is finding `classes[p]` in test image `rows[p]`, of `patients[p]`, outlined by
    `masks[p]`, bool [P, S, S].

    `prior` float [C, S, S]: how often each pixel lies in each finding over the training split
    (slightly blurred).
    """

    names: tuple[str, ...]
    rows: np.ndarray
    classes: np.ndarray
    patients: tuple[str, ...]
    masks: np.ndarray
    prior: np.ndarray

    def labels(self, images: int) -> list[str]:
        """Return the one finding of every test image, or that it has none or several."""
        names_of_image: list[set[str]] = [set() for _ in range(images)]
        for row, kind in zip(self.rows, self.classes, strict=True):
            names_of_image[row].add(self.names[kind])
        return [_label(present) for present in names_of_image]

    def examples(self, count: int) -> list[int]:
        """Return `count` pairs: the most frequent findings in turn, each time the next image not
        yet shown. No score decides."""
        waiting = [list(np.flatnonzero(self.classes == kind)) for kind in self.frequent()]
        pairs: list[int] = []
        while len(pairs) < count and any(waiting):
            for queue in waiting:
                rows_drawn = self.rows[pairs].tolist()
                fresh = next((pair for pair in queue if self.rows[pair] not in rows_drawn), None)
                queue[:] = [] if fresh is None else queue[queue.index(fresh) + 1 :]
                pairs += [] if fresh is None else [int(fresh)]
        return pairs[:count]

    def frequent(self) -> list[int]:
        """Return the findings that the test images have, most frequent first."""
        counts = np.bincount(self.classes, minlength=len(self.names))
        return [int(kind) for kind in np.argsort(-counts, kind="stable") if counts[kind]]


def _label(names: set[str]) -> str:
    if not names:
        return NONE
    return min(names) if len(names) == 1 else SEVERAL


def outlines(subset: Subset, row: int, classes: int, spec: InputSpec) -> np.ndarray:
    """Return the pixels of each class in one image as the encoder sees it, bool [classes, size,
    size]; boxes are filled."""
    side = subset.image_store.shape[-1]
    if subset.has(Masks):
        stored = subset.get(Masks)[[row]][0]
    else:
        stored = fill_boxes(subset.get(Boxes)[row], side, side, classes)
    seen = centre_crop(resize(255 * to_grey(stored), spec), spec.size)
    return (seen[:, 0] >= 0.5).numpy()


def find_lesions(train: Subset, test: Subset, names: Sequence[str], spec: InputSpec) -> Lesions:
    """Return the lesions of `test` that the encoder sees, and the prior of `train`."""
    pairs = []
    for row in range(len(test)):
        masks_of_row = outlines(test, row, len(names), spec)
        pairs += [
            (row, int(kind), masks_of_row[kind])
            for kind in np.flatnonzero(masks_of_row.any(axis=(1, 2)))
        ]
    rows, classes = (np.array([pair[item] for pair in pairs], np.int64) for item in (0, 1))
    masks = (
        np.stack([pair[2] for pair in pairs])
        if pairs
        else np.empty((0, spec.size, spec.size), bool)
    )
    patients = tuple(test.index["patient_id"].astype(str).iloc[rows])
    return Lesions(
        tuple(names), rows, classes, patients, masks, lesion_prior(train, len(names), spec)
    )


def lesion_prior(train: Subset, classes: int, spec: InputSpec) -> np.ndarray:
    """Return how often each pixel lies in each class over `train`, float [classes, size, size],
    blurred by `SPREAD`."""
    from scipy.ndimage import gaussian_filter

    total = np.zeros((classes, spec.size, spec.size))
    for row in range(len(train)):
        total += outlines(train, row, classes, spec)
    return gaussian_filter(
        total / max(1, len(train)), (0, SPREAD * spec.size, SPREAD * spec.size), mode="constant"
    )
