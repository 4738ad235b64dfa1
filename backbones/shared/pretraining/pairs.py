"""Radiographs with their reports as training batches: sentences encoded once, images cropped from
the cached store."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from backbones.shared.encoders.tokens import words_of
from backbones.shared.encoders.vocabulary import EncodedReport, Vocabulary, collate
from backbones.shared.pretraining.regions import RegionFields
from backbones.shared.pretraining.settings import MethodSettings
from backbones.shared.pretraining.vision_language import VisionLanguageMethod
from bench.contracts import InputSpec, Subset
from bench.core.errors import DataError, SettingError
from bench.training.processes import rank, world_size

Arrange = Callable[[Sequence[str], np.ndarray, int], np.ndarray]
"""(reports, shuffled rows, batch size) -> the rows in the order of their batches."""


def reports_of(subset: Subset) -> list[str]:
    """Return the reports of a subset; a missing one is empty."""
    return subset.index["report"].fillna("").astype(str).tolist()


def with_words(subset: Subset, name: str) -> Subset:
    """Return the pairs whose report has a word; raise DataError where the dataset has no reports,
    or none with a word."""
    if "report" not in subset.index.columns:
        raise DataError(
            f"dataset '{name}' has no reports.",
            "Pre-train on an image-report dataset, e.g. mimic_cxr.",
        )
    rows = [row for row, report in enumerate(reports_of(subset)) if words_of(report)]
    if len(subset) and not rows:
        raise DataError(
            f"dataset '{name}': none of {len(subset)} reports has a word.",
            "Check that its report files are there, e.g. with `place-bench data verify`.",
        )
    return _take(subset, rows)


def learnable(
    subset: Subset, reports: Sequence[str], method: VisionLanguageMethod
) -> tuple[Subset, list[str]]:
    """Return the pairs a method learns from, their reports as it reads them; the pixels stay where
    they are."""
    rows = [row for row, report in enumerate(reports) if method.learns_from(report)]
    return _take(subset, rows), [method.read(reports[row]) for row in rows]


def _take(subset: Subset, rows: Sequence[int]) -> Subset:
    if len(rows) == len(subset):
        return subset
    return subset.take(np.array(rows, np.int64))


def encode_reports(
    reports: Sequence[str], vocabulary: Vocabulary, settings: MethodSettings
) -> list[EncodedReport]:
    """Encode reports with a method's limits."""
    limits = {
        "max_tokens": settings.max_tokens,
        "max_sentences": settings.max_sentences,
        "min_words": settings.min_words,
    }
    return [vocabulary.encode(report, **limits) for report in reports]


class PairLoader:
    """Batches of a training subset: shuffled, randomly cropped; the last incomplete batch is left
    out.

    Several processes share each batch: process r gets the r-th part of its rows. With `regions`
    their fields are part of a batch. `texts` are the reports as the method reads them, by default
    those of the subset; `arrange` chooses the order of a pass (`VisionLanguageMethod.arrange`).
    """

    def __init__(
        self,
        subset: Subset,
        reports: Sequence[EncodedReport],
        vocabulary: Vocabulary,
        spec: InputSpec,
        batch_size: int,
        regions: RegionFields | None = None,
        texts: Sequence[str] = (),
        arrange: Arrange | None = None,
    ) -> None:
        if subset.image_store.shape[1] != spec.resize:
            raise DataError(
                f"images are cached at {subset.image_store.shape[1]} px, the encoder wants "
                f"{spec.resize} px.",
                "Prepare the data with pretrain_image_size().",
            )
        if len(subset) < 2:
            raise DataError(
                f"{len(subset)} training pairs.", "Contrastive training needs at least 2."
            )
        self.subset = subset
        self.reports = reports
        self.texts = texts or reports_of(subset)
        self.arrange = arrange
        self.pad = vocabulary.pad
        self.spec = spec
        self.regions = regions
        self.batch_size = min(batch_size, len(subset))
        if self.batch_size % world_size():
            raise SettingError(
                f"a batch of {self.batch_size} on {world_size()} processes.", "Choose a multiple."
            )

    def __len__(self) -> int:
        return len(self.subset) // self.batch_size

    def batches(self, generator: np.random.Generator) -> Iterator[dict[str, Any]]:
        """Yield the batches of one pass."""
        order = generator.permutation(len(self.subset))
        if self.arrange:
            order = self.arrange(self.texts, order, self.batch_size)
        for start in range(0, len(self) * self.batch_size, self.batch_size):
            rows = order[start : start + self.batch_size]
            corners = generator.integers(0, self.spec.resize - self.spec.size + 1, (len(rows), 2))
            share = len(rows) // world_size()
            span = slice(rank() * share, (rank() + 1) * share)
            yield self.batch(rows[span], corners[span])

    def batch(self, rows: np.ndarray, corners: np.ndarray) -> dict[str, Any]:
        """Return the pairs of `rows` with their image ids, images cropped at `corners` [n, 2] (top,
        left)."""
        size = self.spec.size
        stored = self.subset.images(rows)
        crops = np.stack(
            [
                image[top : top + size, left : left + size]
                for image, (top, left) in zip(stored, corners, strict=True)
            ]
        )
        text = collate([self.reports[row] for row in rows], self.pad)
        return {
            "images": normalise_images(torch.from_numpy(crops), self.spec),
            "ids": text.ids,
            "mask": text.mask,
            "sentence": text.sentence,
            "keys": text.keys,
            "image_ids": self.subset.index["image_id"].iloc[rows].tolist(),
            "reports": [self.texts[row] for row in rows],
            **(self.regions.batch(rows, corners) if self.regions else {}),
        }

    def centre(self, rows: np.ndarray) -> dict[str, Any]:
        """Return the pairs of `rows` with the centre crop of evaluation."""
        corner = (self.spec.resize - self.spec.size) // 2
        return self.batch(rows, np.full((len(rows), 2), corner))


def normalise_images(images: torch.Tensor, spec: InputSpec) -> torch.Tensor:
    """Return uint8 images [B, H, W] as an encoder wants them: float [B, 3, H, W], (x / 255 - mean)
    / std."""
    mean, std = (
        torch.tensor(values, device=images.device).view(1, -1, 1, 1)
        for values in (spec.mean, spec.std)
    )
    return (images[:, None].float() / 255 - mean) / std
