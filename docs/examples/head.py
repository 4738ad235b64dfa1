"""A head of one's own for classification: the nearest class centre instead of a trained probe."""

from dataclasses import dataclass

import numpy as np

from bench.contracts import KINDS, Backbone, CellContext, Subset, TaskSpec, task
from bench.encoding.features import FeatureCache
from tasks.classification import ClassificationKind, readout
from tasks.classification.fit import Classifier, labelled, scored
from tasks.classification.labels import check_trainable


@dataclass(frozen=True)
class NearestCentre:
    """The mean feature vector of the images with a finding, and of those without: [C, D] each."""

    features: FeatureCache
    present: np.ndarray
    absent: np.ndarray

    def scores(self, subset: Subset) -> np.ndarray:
        """Return by how much each image is closer to `present` than to `absent` [n, C]."""
        vectors = self.features.pooled(subset)[:, None]
        to_absent = np.linalg.norm(vectors - self.absent, axis=2)
        return to_absent - np.linalg.norm(vectors - self.present, axis=2)


class NearestCentreKind(ClassificationKind):
    """Classification by the nearest class centre; data, metrics and tables stay as they are."""

    name = "nearest_centre"

    def fit(
        self, backbone: Backbone, train: Subset, val: Subset, context: CellContext
    ) -> Classifier:
        """Average the features of each class; choose the thresholds on the validation images."""
        training = labelled(train, context.settings, "training")
        validation = labelled(val, context.settings, "validation")
        check_trainable(training.values, context.settings, "training")
        features = FeatureCache(backbone, context)
        vectors = features.pooled(training.subset)
        present = [vectors[labels == 1].mean(axis=0) for labels in training.values.T]
        absent = [vectors[labels == 0].mean(axis=0) for labels in training.values.T]
        head = NearestCentre(features, np.stack(present), np.stack(absent))
        scores = scored(head, validation.subset, context.settings)
        chosen = readout.choose(scores, validation.values, context.settings)
        return Classifier(head, chosen, {"head": self.name})


KINDS.add("nearest_centre", NearestCentreKind())
task(TaskSpec("siim_centre", "nearest_centre", "siim", "Pneumothorax", main_metric="auroc"))
