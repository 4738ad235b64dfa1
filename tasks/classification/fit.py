"""Train a classification head on one encoder and predict with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from bench.contracts import Backbone, CellContext, Predictions, Subset
from bench.encoding.features import FeatureCache
from bench.metrics.decision import log_softmax
from bench.metrics.ranking import class_aurocs, influence
from tasks.classification.linear import logistic_path, nearest_neighbours, ridge_path
from tasks.classification.settings import ClassificationSettings
from tasks.labelling import readout
from tasks.labelling.targets import Labelled, check_trainable, few_shot, labelled

if TYPE_CHECKING:
    from tasks.classification.looks import Looks


class Scorer(Protocol):
    """A trained head on its encoder."""

    def scores(self, subset: Subset) -> np.ndarray:
        """Return one logit per image and class [n, C] (exclusive classes: before the softmax)."""
        ...


@dataclass(frozen=True)
class Classifier:
    """What `predict` needs: the head, its readout and what happened while it was trained."""

    scorer: Scorer
    readout: readout.Readout
    facts: Mapping[str, Any]


def fit(backbone: Backbone, train: Subset, val: Subset, context: CellContext) -> Classifier:
    """Train the head, choose what is chosen on validation, and return the classifier."""
    settings: ClassificationSettings = context.settings
    training = labelled(train, settings, "training")
    validation = labelled(val, settings, "validation")
    if settings.shots is not None:
        rows = few_shot(training.values, settings.shots, settings.mode, context.seed)
        training = Labelled(training.subset.take(rows), training.values[rows])
    untrained = check_trainable(training.values, settings, "training")
    check_trainable(validation.values, settings, "validation")
    scorer, facts = _train(backbone, training, validation, context)
    if untrained:
        scorer = _Silenced(scorer, tuple(settings.labels.index(label) for label in untrained))
    chosen_readout = readout.choose(
        scored(scorer, validation.subset, settings), validation.values, settings
    )
    facts |= {
        "head": settings.head,
        "train_images": len(training.subset),
        **chosen_readout.facts(settings.labels),
    }
    if untrained:
        facts["untrained_classes"] = ", ".join(untrained)
        context.progress.say(
            f"one label value only in training: {', '.join(untrained)} (scored at chance)"
        )
    return Classifier(scorer, chosen_readout, facts)


def scored(scorer: Scorer, subset: Subset, settings: ClassificationSettings) -> np.ndarray:
    """Return the scores that are kept [n, C], float64: logits, or log probabilities of exclusive
    classes."""
    scores = scorer.scores(subset).astype(np.float64)
    return log_softmax(scores) if settings.mode == "multiclass" else scores


def predict(classifier: Classifier, test: Subset, context: CellContext) -> Predictions:
    """Return the table of `bench.metrics.classification` for the wanted views of `test`."""
    settings: ClassificationSettings = context.settings
    labelled_test = labelled(test, settings, "test")
    scores = scored(classifier.scorer, labelled_test.subset, settings)
    table = readout.table(
        labelled_test.subset.index, scores, labelled_test.values, classifier.readout, settings
    )
    facts = {
        **classifier.facts,
        **readout.facts_on_test(scores, labelled_test.values, classifier.readout, settings),
        **readout.counts(table, settings),
    }
    if settings.saliency_metrics:
        measured = _looks(classifier.scorer, labelled_test, context)
        table = table.assign(**measured.columns)
        facts |= measured.facts
    if "undefined_on_test" in facts:
        context.progress.say(
            f"one label value only on test, AUROC undefined: {facts['undefined_on_test']}"
        )
    return Predictions(table, {}, facts)


def _looks(scorer: Scorer, test: Labelled, context: CellContext) -> Looks:
    """Return what is measured of the saliency of a head that was trained by gradient steps, for the
    classes that it had an example of."""
    from tasks.classification.looks import looks

    trained: Any = scorer
    values = test.values.copy()
    if isinstance(scorer, _Silenced):
        trained = scorer.scorer
        values[:, scorer.classes] = np.nan
    return looks(trained, Labelled(test.subset, values), context)


def _train(
    backbone: Backbone, known: Labelled, held_out: Labelled, context: CellContext
) -> tuple[Scorer, dict[str, Any]]:
    settings: ClassificationSettings = context.settings
    if settings.head in ("linear", "finetune"):
        from tasks.classification.trained import train_head

        return train_head(backbone, known, held_out, context)
    cache = FeatureCache(backbone, context)
    features = cache.pooled(known.subset)
    sweep, facts = _SWEEPS[settings.head](features, known.values, settings)
    levels = sweep.scores(cache.pooled(held_out.subset))
    values = sweep.values
    best = best_levels(levels, held_out.values, settings.mode == "multiclass", settings.selection)
    names = settings.labels if settings.mode != "multiclass" else ("all",) * len(best)
    facts |= {
        f"{sweep.name}:{name}": values[level] for name, level in zip(names, best, strict=True)
    }
    return _Probe(cache, sweep, best), facts


@dataclass(frozen=True)
class _Silenced:
    """A scorer that says nothing about classes it had no example of: what it makes of them is an
    accident of the training."""

    scorer: Scorer
    classes: tuple[int, ...]

    def scores(self, subset: Subset) -> np.ndarray:
        """Return logits [n, C], 0 for the classes without examples."""
        logits = self.scorer.scores(subset).copy()
        logits[:, self.classes] = 0.0
        return logits


@dataclass(frozen=True)
class _Sweep:
    """Heads of L strengths: `scores` gives logits [L, n, C] of features."""

    name: str
    values: tuple[float, ...]
    scores: Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class _Probe:
    """A head on kept features, one level of the sweep per class."""

    cache: FeatureCache
    sweep: _Sweep
    levels: tuple[int, ...]

    def scores(self, subset: Subset) -> np.ndarray:
        """Return logits [n, C]."""
        logits = self.sweep.scores(self.cache.pooled(subset))
        return np.stack([logits[level, :, c] for c, level in enumerate(self.levels)], axis=1)


def best_levels(
    levels: np.ndarray, values: np.ndarray, exclusive: bool, selection: str = "best"
) -> tuple[int, ...]:
    """Return for every class its level of `levels` [L, n, C], from strong to weak regularisation,
    by AUROC on targets [n, C].

    `best`: the highest AUROC, ties: the first. `one_se`: the first whose AUROC is within one
    standard error of that, the error being that of the paired difference (Breiman et al. 1984;
    DeLong 1988): noise takes the strong end. Exclusive classes share one level (mean AUROC of one
    class against the rest), and so does a class with one label value (mean over the others).
    """
    scores = log_softmax(levels) if exclusive else levels
    classes = range(values.shape[1])
    table = np.array([class_aurocs(level, values) for level in scores])
    defined = ~np.isnan(table[0])

    def chosen(which: list[int]) -> int:
        """Return the level that some classes, by their columns, choose together."""
        means = table[:, which].mean(axis=1)
        best = int(np.argmax(means))
        if selection == "best":
            return best
        pulls = np.array([_pulls(level, values, which) for level in scores])
        error = np.sqrt(((pulls[best] - pulls) ** 2).sum(axis=1))
        return int(np.argmax(means >= means[best] - error))

    shared = chosen(np.flatnonzero(defined).tolist())
    return tuple(chosen([c]) if defined[c] and not exclusive else shared for c in classes)


def _pulls(scores: np.ndarray, values: np.ndarray, which: list[int]) -> np.ndarray:
    """Return the influence of every image [n] on the mean AUROC of some classes."""
    pulls = np.zeros(len(values))
    for c in which:
        rows = ~np.isnan(values[:, c])
        pulls[rows] += influence(scores[rows, c], values[rows, c]) / len(which)
    return pulls


def _ridge(
    features: np.ndarray, values: np.ndarray, settings: ClassificationSettings
) -> tuple[_Sweep, dict[str, Any]]:
    penalties = sorted(settings.penalties, reverse=True)
    path = ridge_path(features, values, np.array(penalties))
    return _Sweep("penalty", tuple(penalties), path.scores), {}


def _logistic(
    features: np.ndarray, values: np.ndarray, settings: ClassificationSettings
) -> tuple[_Sweep, dict[str, Any]]:
    penalties = sorted(settings.penalties, reverse=True)
    fitted = logistic_path(features, values, np.array(penalties), settings.mode == "multiclass")
    return _Sweep("penalty", tuple(penalties), fitted.path.scores), {
        "unconverged": fitted.unconverged
    }


def _knn(
    features: np.ndarray, values: np.ndarray, settings: ClassificationSettings
) -> tuple[_Sweep, dict[str, Any]]:
    counts = sorted(settings.neighbours, reverse=True)
    return _Sweep(
        "neighbours",
        tuple(counts),
        lambda asked: nearest_neighbours(features, values, asked, np.array(counts)),
    ), {}


_SWEEPS: Mapping[
    str, Callable[[np.ndarray, np.ndarray, ClassificationSettings], tuple[_Sweep, dict[str, Any]]]
] = {
    "ridge": _ridge,
    "logistic": _logistic,
    "knn": _knn,
}
