"""Score images against prompts and read the scores out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.contracts import Backbone, CellContext, ImageTextEncoder, Predictions, Subset
from bench.core.errors import DataError
from bench.core.hashing import digest
from bench.encoding.similarity import need_text_side, similarity_matrix
from bench.metrics.decision import log_softmax
from tasks.classification import readout
from tasks.classification.fit import labelled
from tasks.zero_shot.prompt_file import draw, read_prompt_sets
from tasks.zero_shot.prompts import ClassPrompts, build
from tasks.zero_shot.settings import ZeroShotSettings


@dataclass(frozen=True)
class ZeroShot:
    """What `predict` needs: the encoder, the prompts of every class, and the readout (None where
    validation has no images)."""

    backbone: ImageTextEncoder
    prompts: tuple[ClassPrompts, ...]
    readout: readout.Readout
    facts: Mapping[str, Any]


def fit(backbone: Backbone, train: Subset, val: Subset, context: CellContext) -> ZeroShot:
    """Make the prompts and, unless classes are exclusive, choose thresholds and temperatures on
    validation."""
    encoder = need_text_side(backbone, "zero-shot classification")
    settings: ZeroShotSettings = context.settings
    shared = settings.labelling()
    prompts = _prompts(settings, context.seed)
    facts: dict[str, Any] = {
        "prompts": sum(len(each.positive) + len(each.negative) for each in prompts)
    }
    if not len(val):
        unread = settings.labels if settings.mode != "multiclass" else ()
        chosen = readout.Readout((1.0,) * len(prompts), (0.0,) * len(prompts), unread)
    else:
        known = labelled(val, shared, "validation")
        chosen = readout.choose(
            class_scores(encoder, prompts, known.subset, context), known.values, shared
        )
    return ZeroShot(encoder, prompts, chosen, {**facts, **chosen.facts(settings.labels)})


def _prompts(settings: ZeroShotSettings, seed: int) -> tuple[ClassPrompts, ...]:
    """Return the prompts of every class: drawn from `prompt_file`, else ours."""
    if settings.prompt_file is None:
        rng = np.random.default_rng([seed, 6])
        return tuple(
            build(settings.prompts, label, settings.prompts_per_class, rng)
            for label in settings.labels
        )
    sets = read_prompt_sets(Path(settings.prompt_file).expanduser(), settings.labels)
    if digest(sets) != settings.prompt_hash:
        raise DataError(
            f"prompt file {settings.prompt_file} changed after the run had begun.", "Run it again."
        )
    drawn = draw(sets, settings.prompts_per_class, settings.prompt_seed)
    return tuple(ClassPrompts(tuple(drawn[label])) for label in settings.labels)


def predict(classifier: ZeroShot, test: Subset, context: CellContext) -> Predictions:
    """Return the table of `bench.metrics.classification` for the wanted views of `test`."""
    settings: ZeroShotSettings = context.settings
    shared = settings.labelling()
    found = labelled(test, shared, "test")
    scores = class_scores(classifier.backbone, classifier.prompts, found.subset, context)
    table = readout.table(found.subset.index, scores, found.values, classifier.readout, shared)
    facts = {
        **classifier.facts,
        **readout.facts_on_test(scores, found.values, classifier.readout, shared),
        **readout.counts(table, shared),
    }
    return Predictions(table, {}, facts)


def class_scores(
    backbone: ImageTextEncoder,
    prompts: tuple[ClassPrompts, ...],
    subset: Subset,
    context: CellContext,
) -> np.ndarray:
    """Return one score per image and class [n, C]: logits, or log probabilities of exclusive
    classes."""
    settings: ZeroShotSettings = context.settings
    texts = list(
        dict.fromkeys(text for each in prompts for text in (*each.positive, *each.negative))
    )
    place = {text: column for column, text in enumerate(texts)}
    similar = similarity_matrix(backbone, subset, texts, settings.similarity, context).astype(
        np.float64
    )
    scores = np.stack(
        [_score(similar, each, place, settings.aggregate) for each in prompts], axis=1
    )
    if settings.normalise_per_class and len(scores) > 1:
        spread = scores.std(axis=0)
        scores = (scores - scores.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    scores = settings.scale * scores
    return log_softmax(scores) if settings.mode == "multiclass" else scores


def _score(
    similar: np.ndarray, prompts: ClassPrompts, place: Mapping[str, int], aggregate: str
) -> np.ndarray:
    def part(texts: tuple[str, ...]) -> np.ndarray:
        columns = similar[:, [place[text] for text in texts]]
        return columns.mean(axis=1) if aggregate == "mean" else columns.max(axis=1)

    return (
        part(prompts.positive) - part(prompts.negative)
        if prompts.negative
        else part(prompts.positive)
    )
