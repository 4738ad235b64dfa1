"""Classification: a probe on frozen features, neighbours or a fine-tuned encoder; binary, exclusive
or multiple labels."""

from bench.contracts import KINDS
from tasks.classification.kind import ClassificationKind
from tasks.classification.settings import ClassificationSettings

__all__ = ["ClassificationKind", "ClassificationSettings"]

KINDS.add("classification", ClassificationKind())
