"""Score images against prompts and read the scores out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.contracts import Backbone, CellContext, ImageTextEncoder, Predictions, Subset
from bench.core.errors import DataError, PlaceBenchError
from bench.core.hashing import digest
from bench.encoding.similarity import need_text_side, require_finite
from bench.metrics.decision import log_softmax
from tasks.labelling import readout
from tasks.labelling.targets import Labelled, labelled
from tasks.zero_shot.inference import INFERENCES
from tasks.zero_shot.prompt_file import draw, read_prompt_sets
from tasks.zero_shot.prompts import ClassPrompts, build
from tasks.zero_shot.settings import ZeroShotSettings


@dataclass(frozen=True)
class ZeroShot:
    """What `predict` needs: the encoder, the prompts of every class, and the readout (None where
    validation has no images)."""

    backbone: ImageTextEncoder | None
    """None: the row without an image, whose scores are drawn at random."""
    prompts: tuple[ClassPrompts, ...]
    readout: readout.Readout
    facts: Mapping[str, Any]
    settings: ZeroShotSettings
    """Those of the cell, with what the inference strategy chose on validation."""


def fit(backbone: Backbone, train: Subset, val: Subset, context: CellContext) -> ZeroShot:
    """Make the prompts and, unless classes are exclusive, choose thresholds and temperatures on
    validation."""
    return _fit(need_text_side(backbone, "zero-shot classification"), val, context)


def fit_random_order(train: Subset, val: Subset, context: CellContext) -> ZeroShot:
    """Return what looks at no image: scores drawn at random, read out as those of an encoder."""
    return _fit(None, val, context)


def _fit(encoder: ImageTextEncoder | None, val: Subset, context: CellContext) -> ZeroShot:
    settings: ZeroShotSettings = context.settings
    prompts = _prompts(settings, context.seed)
    facts: dict[str, Any] = {}
    validation = labelled(val, settings, "validation") if len(val) else None
    if encoder is not None:
        facts["prompts"] = sum(len(prompt.positive) + len(prompt.negative) for prompt in prompts)
        settings, chosen = _chosen(encoder, prompts, validation, context)
        facts |= chosen
    context = dataclasses.replace(context, settings=settings)
    if validation is None:
        unread = settings.labels if settings.mode != "multiclass" else ()
        chosen_readout = readout.Readout((1.0,) * len(prompts), (0.0,) * len(prompts), unread)
    else:
        chosen_readout = readout.choose(
            class_scores(encoder, prompts, validation.subset, context), validation.values, settings
        )
    return ZeroShot(
        encoder,
        prompts,
        chosen_readout,
        {**facts, **chosen_readout.facts(settings.labels)},
        settings,
    )


def _chosen(
    encoder: ImageTextEncoder,
    prompts: tuple[ClassPrompts, ...],
    validation: Labelled | None,
    context: CellContext,
) -> tuple[ZeroShotSettings, dict[str, Any]]:
    """Return the settings with what the inference strategy chooses on validation, and that as
    facts."""
    before: ZeroShotSettings = context.settings
    choose = INFERENCES.get(before.inference).choose
    if choose is None:
        return before, {}
    after: ZeroShotSettings = choose(encoder, prompts, validation, context)
    values = dataclasses.asdict(before)
    changed = {k: v for k, v in dataclasses.asdict(after).items() if v != values[k]}
    return after, changed


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
    settings = classifier.settings
    context = dataclasses.replace(context, settings=settings)
    labelled_test = labelled(test, settings, "test")
    scores = class_scores(classifier.backbone, classifier.prompts, labelled_test.subset, context)
    table = readout.table(
        labelled_test.subset.index, scores, labelled_test.values, classifier.readout, settings
    )
    facts = {
        **classifier.facts,
        **readout.facts_on_test(scores, labelled_test.values, classifier.readout, settings),
        **readout.counts(table, settings),
    }
    return Predictions(table, {}, facts)


def class_scores(
    backbone: ImageTextEncoder | None,
    prompts: tuple[ClassPrompts, ...],
    subset: Subset,
    context: CellContext,
) -> np.ndarray:
    """Return one score per image and class [n, C]: logits, or log probabilities of exclusive
    classes; without an encoder drawn at random."""
    settings: ZeroShotSettings = context.settings
    if backbone is None:
        rng = np.random.default_rng([context.seed, 11, len(subset)])
        scores = rng.normal(size=(len(subset), len(prompts)))
    else:
        scores = _encoder_scores(backbone, prompts, subset, context)
    if settings.normalise_per_class and len(scores) > 1:
        spread = scores.std(axis=0)
        scores = (scores - scores.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    scores = settings.scale * scores
    return log_softmax(scores) if settings.mode == "multiclass" else scores


def _encoder_scores(
    backbone: ImageTextEncoder,
    prompts: tuple[ClassPrompts, ...],
    subset: Subset,
    context: CellContext,
) -> np.ndarray:
    """Return what the inference strategy says [n, C], checked."""
    settings: ZeroShotSettings = context.settings
    inference = INFERENCES.get(settings.inference)
    scores = np.asarray(inference.scores(backbone, prompts, subset, context))
    if scores.shape != (len(subset), len(prompts)):
        raise PlaceBenchError(
            f"inference strategy '{settings.inference}' gives scores of shape {scores.shape} for "
            f"{len(subset)} images and {len(prompts)} classes.",
            f"It must return [{len(subset)}, {len(prompts)}].",
        )
    require_finite(backbone, scores)
    return scores
