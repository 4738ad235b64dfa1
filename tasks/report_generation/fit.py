"""Train a report writer on one encoder (or fit a baseline), write the test reports and count what
the metrics need."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from bench.contracts import Backbone, CellContext, Predictions, Subset
from bench.text.observations import OBSERVATIONS
from tasks.report_generation.cleaning import STOP, split_sentences
from tasks.report_generation.data import Studies, group_studies, require_studies
from tasks.report_generation.labeler import make_labeler
from tasks.report_generation.metrics import java
from tasks.report_generation.metrics.counting import caption_counts
from tasks.report_generation.metrics.scoring import count_all
from tasks.report_generation.settings import ReportSettings


class Writer(Protocol):
    """Writes a report for each study."""

    def write(self, studies: Studies) -> list[str]:
        """Return one cleaned report per study."""
        ...

    def through_vocabulary(self, texts: Sequence[str]) -> list[str]:
        """Return texts as the writer's vocabulary holds them."""
        ...


@dataclass(frozen=True)
class Fitted:
    """What `predict` needs: the writer, the sentences it was trained on, and what happened in
    training."""

    writer: Writer
    sentences: frozenset[str]
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class ConstantReport:
    """Writes the most frequent sentences of the training reports, as many as a report has on
    average: one report for all."""

    text: str

    @classmethod
    def learn(cls, texts: Sequence[str]) -> ConstantReport:
        """Return the constant report of training texts; ties go to the sentence first in the
        alphabet."""
        parts = [split_sentences(text) for text in texts]
        counts = Counter(sentence for sentences in parts for sentence in set(sentences))
        ranked = sorted(counts, key=lambda sentence: (-counts[sentence], sentence))
        length = float(np.mean([len(sentences) for sentences in parts]))
        commonest = ranked[: max(1, round(length))]
        return cls(f" {STOP} ".join(commonest) + f" {STOP}")

    def write(self, studies: Studies) -> list[str]:
        """Return the one report for every study."""
        return [self.text] * len(studies)

    def through_vocabulary(self, texts: Sequence[str]) -> list[str]:
        """Return the texts: there is no vocabulary."""
        return list(texts)


@dataclass(frozen=True)
class RandomReport:
    """Writes the report of a training study drawn at random."""

    texts: tuple[str, ...]
    seed: int

    def write(self, studies: Studies) -> list[str]:
        """Return a training report for every study."""
        rows = np.random.default_rng([self.seed, 9]).integers(0, len(self.texts), len(studies))
        return [self.texts[row] for row in rows]

    def through_vocabulary(self, texts: Sequence[str]) -> list[str]:
        """Return the texts: there is no vocabulary."""
        return list(texts)


def fit(backbone: Backbone, train: Subset, val: Subset, context: CellContext) -> Fitted:
    """Return the trained writer."""
    settings: ReportSettings = context.settings
    training = require_studies(group_studies(train, settings), "training")
    from tasks.report_generation.model import parameters, train_writer

    validation = require_studies(group_studies(val, settings), "validation")
    writer, summary = train_writer(backbone, training, validation, context)
    facts = {
        "epochs": summary.epochs,
        "best_epoch": summary.best_epoch,
        "best_metric": summary.best_metric,
    }
    facts |= {
        "train_studies": len(training),
        "vocabulary": len(writer.vocabulary),
        "parameters": parameters(writer.model),
    }
    return Fitted(writer, sentences_of(training), facts)


def fit_constant(train: Subset, val: Subset, context: CellContext) -> Fitted:
    """Return the writer of one report for every study."""
    studies = require_studies(group_studies(train, context.settings), "training")
    writer = ConstantReport.learn(studies.texts)
    return Fitted(writer, sentences_of(studies), {"train_studies": len(studies)})


def fit_random(train: Subset, val: Subset, context: CellContext) -> Fitted:
    """Return the writer of training reports drawn at random."""
    studies = require_studies(group_studies(train, context.settings), "training")
    writer = RandomReport(studies.texts, context.seed)
    return Fitted(writer, sentences_of(studies), {"train_studies": len(studies)})


def sentences_of(studies: Studies) -> frozenset[str]:
    """Return the sentences of the reports of some studies."""
    return frozenset(sentence for text in studies.texts for sentence in split_sentences(text))


def predict(fitted: Fitted, test: Subset, context: CellContext) -> Predictions:
    """Return one row per study with a reference: its first image, its patient, and the counts of
    `metrics.statistics`.

    The texts themselves are kept where the data is rendered or `show_text` asks for it, and nowhere
    else.
    """
    settings: ReportSettings = context.settings
    studies = require_studies(group_studies(test, settings), "test")
    with context.progress.track("reports"):
        hypotheses = fitted.writer.write(studies)
    references = (
        list(studies.texts)
        if settings.reference == "full"
        else fitted.writer.through_vocabulary(studies.texts)
    )
    labeler = make_labeler(settings, context.device)
    arrays, facts = count_all(hypotheses, references, fitted.sentences, settings, labeler)
    for reason in facts.values():
        context.progress.say(reason)
    table = studies.subset.index.iloc[studies.first][["image_id", "patient_id"]].reset_index(
        drop=True
    )
    if context.data_kind == "demo" or settings.show_text:
        table = table.assign(hypothesis=hypotheses, reference=references)
        arrays |= _attention(fitted.writer, studies, hypotheses, arrays["reference_named"])
    facts = {
        **fitted.facts,
        **facts,
        "studies": len(studies),
        "studies_without_report": studies.without_text,
    }
    return Predictions(table, arrays, facts)


def complete(predictions: Predictions, settings: ReportSettings) -> Predictions | None:
    """Return predictions with the captioning counts that they lack; None where nothing is lacking,
    the texts were not kept (licensed data), or Java is still missing."""
    table = predictions.table
    reasons = [
        str(value) for name, value in predictions.extra.items() if name.startswith("missing:")
    ]
    if "hypothesis" not in table or not any(map(java.is_there_now, reasons)):
        return None
    texts = [table[column].tolist() for column in ("hypothesis", "reference")]
    arrays, facts = caption_counts(texts[0], texts[1], settings)
    if not arrays.keys() - predictions.arrays.keys():
        return None
    extra = {
        name: value
        for name, value in predictions.extra.items()
        if not name.startswith(("missing:", "note:"))
    }
    return Predictions(table, {**predictions.arrays, **arrays}, {**extra, **facts})


def _attention(
    writer: Writer, studies: Studies, hypotheses: Sequence[str], named: np.ndarray
) -> dict[str, np.ndarray]:
    """Return where the words of a few reports looked, for the picture; nothing for a writer that
    does not look."""
    from tasks.report_generation.attention import Looking, example_rows, look

    if not isinstance(writer, Looking):
        return {}
    return look(writer, studies, hypotheses, example_rows(named[:, : len(OBSERVATIONS) - 1]))
