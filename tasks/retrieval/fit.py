"""Score all pairs of images and reports, and say for each image what it found and was found by."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from bench.contracts import Backbone, CellContext, ImageTextEncoder, Predictions, Subset
from bench.core.errors import DataError
from bench.encoding.similarity import need_text_side, similarity_matrix
from bench.metrics.weights import group_matrix
from tasks.labelling.settings import Mode
from tasks.labelling.targets import targets
from tasks.labelling.views import keep_views
from tasks.retrieval.attributes import attribute_values, study_similarity
from tasks.retrieval.metrics import (
    CANDIDATE,
    candidate_effects,
    label_values,
    own_values,
    relevance,
)
from tasks.retrieval.settings import RetrievalSettings
from tasks.retrieval.truth import StudyFindings

if TYPE_CHECKING:
    import pandas as pd
    from scipy.sparse import csr_matrix


@dataclass(frozen=True)
class _Labels:
    """The labels by which a candidate is relevant, as `targets` asks for them."""

    mode: Mode
    labels: tuple[str, ...]
    uncertain: tuple[str, ...]
    blank: Literal["zeros", "ignore"] = "zeros"
    views: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pairs:
    """Images with their reports: report `texts[text_of[i]]` and labels `kinds[kind_of[i]]` belong
    to image i."""

    texts: list[str]
    text_of: np.ndarray
    kinds: np.ndarray
    kind_of: np.ndarray
    patient_of: np.ndarray
    """[n] The number of each image's patient."""
    similarity: np.ndarray | None = None
    """How alike the study of each image and each report are [n, T], where that is asked for."""

    def part(self, rows: np.ndarray) -> Pairs:
        """Return some images with the reports they have."""
        texts, text_of = np.unique(self.text_of[rows], return_inverse=True)
        similarity = None if self.similarity is None else self.similarity[np.ix_(rows, texts)]
        return Pairs(
            [self.texts[i] for i in texts],
            text_of,
            self.kinds,
            self.kind_of[rows],
            self.patient_of[rows],
            similarity,
        )


def fit(backbone: Backbone, train: Subset, val: Subset, context: CellContext) -> ImageTextEncoder:
    """Return the encoder itself; raise NotApplicableError where it has no text side."""
    return need_text_side(backbone, "retrieval")


def fit_random_order(train: Subset, val: Subset, context: CellContext) -> None:
    """Return no encoder: `predict` then puts reports and images into a random order."""


def predict(backbone: ImageTextEncoder | None, test: Subset, context: CellContext) -> Predictions:
    """Return one row per image that has a report."""
    settings: RetrievalSettings = context.settings
    asked = asked_of(test, settings)
    texts = asked.pairs.texts
    scores = (
        np.random.default_rng([context.seed, 11]).random((len(asked.images), len(texts)))
        if backbone is None
        else similarity_matrix(backbone, asked.images, texts, settings.similarity, context)
    )
    return measured(scores, asked, context)


@dataclass(frozen=True)
class Asked:
    """The images of a test set that have a report, what belongs to each, and how many have none."""

    images: Subset
    pairs: Pairs
    dropped: int


def asked_of(test: Subset, settings: RetrievalSettings) -> Asked:
    """Return what is ranked of a test set."""
    images, dropped = with_text(keep_views(test, settings.views), settings)
    pairs = pair(images.index, settings)
    if settings.attributes:
        truth = images.get(StudyFindings)
        pairs = replace(
            pairs, similarity=study_similarity(pairs.texts, pairs.text_of, truth.tolist())
        )
    return Asked(images, pairs, dropped)


def measured(scores: np.ndarray, asked: Asked, context: CellContext) -> Predictions:
    """Return what is kept of the scores of all images and reports [n, T]."""
    settings: RetrievalSettings = context.settings
    images = asked.images
    pairs = asked.pairs
    table = images.index[["image_id", "patient_id"]].copy()
    for name, values in evaluate(scores, pairs, settings, context.seed).items():
        table[name] = values
    facts = {
        "images": len(images),
        "reports": len(pairs.texts),
        "images_without_report": asked.dropped,
    }
    return Predictions(table, {}, facts)


def normalised(text: str) -> str:
    """Return a report as it is compared: lower case, single spaces."""
    return " ".join(str(text).lower().split())


def with_text(subset: Subset, settings: RetrievalSettings) -> tuple[Subset, int]:
    """Return the images that have a report, and how many have none; raise DataError where nothing
    is left."""
    if settings.text not in subset.index:
        raise DataError(
            f"the index has no column '{settings.text}'.",
            "Choose a dataset with reports, or another text=.",
        )
    texts = subset.index[settings.text].fillna("").astype(str).str.strip()
    rows = np.flatnonzero(texts != "")
    if len(rows) < 2:
        raise DataError(
            f"{len(rows)} of {len(subset)} images have a report.", "Retrieval needs at least 2."
        )
    return subset.take(rows), len(subset) - len(rows)


def pair(index: pd.DataFrame, settings: RetrievalSettings) -> Pairs:
    """Return images, reports and labels; identical reports are one."""
    texts = [str(text) for text in index[settings.text]]
    keys = (
        [normalised(text) for text in texts]
        if settings.identical_as_one
        else [str(i) for i in range(len(texts))]
    )
    first = {key: i for i, key in reversed(list(enumerate(keys)))}
    order = sorted(first.values())
    number_of = {keys[i]: number for number, i in enumerate(order)}
    text_of = np.array([number_of[key] for key in keys], np.int64)
    kinds, kind_of = _kinds(index, settings)
    patient_of = np.unique(index["patient_id"].astype(str), return_inverse=True)[1].reshape(-1)
    return Pairs([texts[i] for i in order], text_of, kinds, kind_of, patient_of)


def _kinds(index: pd.DataFrame, settings: RetrievalSettings) -> tuple[np.ndarray, np.ndarray]:
    if not settings.labels:
        return np.zeros((1, 0)), np.zeros(len(index), np.int64)
    mode: Mode = "binary" if len(settings.labels) == 1 else "multilabel"
    values = np.nan_to_num(targets(index, _Labels(mode, settings.labels, settings.uncertain)))
    kinds, kind_of = np.unique(values, axis=0, return_inverse=True)
    return kinds, kind_of.reshape(-1)


def evaluate(
    scores: np.ndarray, pairs: Pairs, settings: RetrievalSettings, seed: int
) -> dict[str, np.ndarray]:
    """Return the values of every image [n] in both directions from scores [n images, T reports],
    and `share`."""
    values_of: dict[str, np.ndarray] = {}
    for rows in _groups(len(scores), settings.batch, seed):
        group = pairs.part(rows)
        columns = np.unique(pairs.text_of[rows])
        for name, values in _evaluate(scores[np.ix_(rows, columns)], group, settings).items():
            values_of.setdefault(name, np.empty(len(scores)))[rows] = values
    return values_of


def _groups(n: int, batch: int | None, seed: int) -> Iterator[np.ndarray]:
    """Yield all images at once, or shuffled groups of `batch`."""
    if batch is None:
        yield np.arange(n)
        return
    order = np.random.default_rng([seed, 8]).permutation(n)
    for start in range(0, n, batch):
        yield np.sort(order[start : start + batch])


def _evaluate(
    scores: np.ndarray, pairs: Pairs, settings: RetrievalSettings
) -> dict[str, np.ndarray]:
    n, reports = scores.shape
    images = np.arange(n)
    directions = {
        "i2t": (scores, np.arange(reports), pairs.text_of, reports),
        "t2i": (np.ascontiguousarray(scores.T)[pairs.text_of], pairs.text_of, images, n),
    }
    share = 1 / np.bincount(pairs.text_of)[pairs.text_of]
    counted_of = {"i2t": np.ones(n), "t2i": share}
    columns = {"share": share}
    for name, (table, item, item_of, items) in directions.items():
        values = own_values(table, pairs.text_of, item, settings.ks)
        if settings.labels:
            worth = relevance(pairs.kinds, pairs.kind_of, item_of, items)
            whole_k = settings.batch is not None
            values |= label_values(table, pairs.kind_of, worth, settings.ks, whole_k=whole_k)
            effects = candidate_effects(
                table,
                pairs.kind_of,
                worth,
                counted_of[name],
                _same_patient(pairs.patient_of, item_of, items),
                settings.ks,
                whole_k=whole_k,
            )
            images_of = np.bincount(item_of)[item_of]
            for metric, effect in effects.items():
                columns[f"{CANDIDATE}{name}_{metric}"] = effect[item_of] / images_of
        for metric, value in values.items():
            columns[f"{name}_{metric}"] = value
    if pairs.similarity is not None:
        columns |= attribute_values(scores, pairs.similarity, _same_class(pairs, settings))
    return columns


def _same_patient(patient_of: np.ndarray, item_of: np.ndarray, items: int) -> csr_matrix:
    """Return for every image [n] which candidates [m] hold an image of its patient."""
    patients = int(patient_of.max()) + 1
    return group_matrix(patient_of, item_of, patients, items)[patient_of]


def _same_class(pairs: Pairs, settings: RetrievalSettings) -> np.ndarray | None:
    """Return which reports are of a study with the labels of each image [n, T]; None without
    labels."""
    if not settings.labels:
        return None
    worth = relevance(pairs.kinds, pairs.kind_of, pairs.text_of, len(pairs.texts))
    return worth.relevant[pairs.kind_of]
