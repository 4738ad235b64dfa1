"""Classification: a probe on frozen features, neighbours or a fine-tuned encoder; binary, exclusive
or multiple labels."""

import importlib
import pkgutil

from bench.contracts import KINDS
from tasks.classification import regularizers
from tasks.classification.kind import ClassificationKind
from tasks.classification.settings import ClassificationSettings

__all__ = ["ClassificationKind", "ClassificationSettings"]

KINDS.add("classification", ClassificationKind())
for module in pkgutil.iter_modules(regularizers.__path__):
    importlib.import_module(f"{regularizers.__name__}.{module.name}")
