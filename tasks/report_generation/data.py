"""Studies: the images of one report together, its cleaned text, and the batches a decoder trains
on."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.contracts import Subset
from bench.core.errors import DataError
from tasks.report_generation.cleaning import clean
from tasks.report_generation.settings import ReportSettings
from tasks.report_generation.vocabulary import BEGIN, END, PAD

if TYPE_CHECKING:
    import torch

    from tasks.report_generation.visual import VisualSource


@dataclass(frozen=True)
class Studies:
    """Some studies: `rows[i]` are the places of study i's images in `subset`, `texts[i]` its full
    cleaned report."""

    subset: Subset
    rows: tuple[np.ndarray, ...]
    texts: tuple[str, ...]
    without_text: int

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def first(self) -> np.ndarray:
        """Return the place of each study's first image."""
        return np.array([rows[0] for rows in self.rows], np.int64)


def group_studies(subset: Subset, settings: ReportSettings) -> Studies:
    """Return the studies that have a report after cleaning, in the order of their first image; the
    others are counted.

    A study has at most `settings.images` images, in the order of the index. Raise DataError where
    the index has no such text.
    """
    if settings.text not in subset.index:
        raise DataError(
            f"the index has no column '{settings.text}'.",
            "Choose a dataset with reports, or another text=.",
        )
    texts = [clean(text, settings.cleaning) for text in subset.index[settings.text]]
    names = subset.index["study_id"] if "study_id" in subset.index else subset.index["image_id"]
    places: dict[str, list[int]] = {}
    for row, name in enumerate(names.astype(str)):
        places.setdefault(name, []).append(row)
    rows_of_study = [
        np.array(rows[: settings.images], np.int64) for rows in places.values() if texts[rows[0]]
    ]
    return Studies(
        subset,
        tuple(rows_of_study),
        tuple(texts[rows[0]] for rows in rows_of_study),
        len(places) - len(rows_of_study),
    )


def require_studies(studies: Studies, what: str) -> Studies:
    """Return `studies`; raise DataError where there is none with a report."""
    if not len(studies):
        raise DataError(
            f"none of the {studies.without_text} {what} studies has a report.",
            "Use more data, or another text=.",
        )
    return studies


def pad_ids(sequences: Sequence[Sequence[int]]) -> np.ndarray:
    """Return [n, longest] int64, padded behind."""
    padded = np.full((len(sequences), max(len(ids) for ids in sequences)), PAD, np.int64)
    for row, ids in enumerate(sequences):
        padded[row, : len(ids)] = ids
    return padded


def framed(ids: Sequence[int], settings: ReportSettings) -> list[int]:
    """Return begin, at most `max_words` ids, and the end (left out where the text was cut).

    R2Gen cuts the whole: of a report that is too long begin and `max_words` - 1 ids are left.
    """
    if settings.counts_begin:
        return [BEGIN, *ids, END][: settings.max_words]
    end = [END] if len(ids) <= settings.max_words else []
    return [BEGIN, *ids[: settings.max_words], *end]


@dataclass(frozen=True)
class ReportBatches:
    """What the trainer iterates over: studies in an order drawn from the generator, with their
    visual inputs and ids [B, L]."""

    visual: VisualSource
    ids: Sequence[Sequence[int]]
    batch_size: int
    beside: Mapping[str, np.ndarray] = field(default_factory=dict)
    """What a decoder reads of every report beside its words."""

    def __len__(self) -> int:
        return math.ceil(len(self.ids) / self.batch_size)

    def batches(self, generator: np.random.Generator) -> Iterator[dict[str, Any]]:
        """Yield one pass."""
        order = generator.permutation(len(self.ids))
        for start in range(0, len(order), self.batch_size):
            yield self.batch(order[start : start + self.batch_size])

    def batch(self, rows: np.ndarray) -> dict[str, torch.Tensor]:
        """Return the inputs of the studies `rows`."""
        import torch

        return {
            **self.visual.inputs(rows),
            "ids": torch.from_numpy(pad_ids([self.ids[row] for row in rows])),
            **{name: torch.from_numpy(values[rows]) for name, values in self.beside.items()},
        }
