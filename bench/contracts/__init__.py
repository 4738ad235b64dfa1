"""The seams: what a dataset, a backbone and a task declare, and what crosses between them.

It imports neither torch nor pandas, so that declarations stay light, and nothing of the house but
`bench.core`. Import from here: which room a name stands in may change.
"""

from __future__ import annotations

from bench.contracts.annotations import (
    ANNOTATIONS,
    Annotation,
    Cache,
    Source,
    Stored,
    annotation,
)
from bench.contracts.backbones import (
    BACKBONES,
    FAMILIES,
    Backbone,
    BackboneRequest,
    BackboneSpec,
    Features,
    GivesAccount,
    GivesLocalSimilarity,
    GivesObservations,
    ImageEncoder,
    ImageTextEncoder,
    InputSpec,
    backbone,
    configured,
    has_text_side,
    images_only,
    weights_named,
)
from bench.contracts.baselines import FitBaseline, baseline_row
from bench.contracts.common import DEMO_NOTE, DataKind, OnError, Profile, Progress, Scaling, Skipped
from bench.contracts.datasets import DATASETS, Dataset, Finding, PairData, Subset, dataset
from bench.contracts.pretraining import GivesSettings, MethodSpec, Recipe, Trainer
from bench.contracts.tasks import (
    KINDS,
    TASKS,
    Body,
    CellContext,
    NoOptions,
    Predictions,
    Score,
    TaskKind,
    TaskSpec,
    needs_of,
    task,
)

__all__ = [
    "ANNOTATIONS",
    "BACKBONES",
    "DATASETS",
    "DEMO_NOTE",
    "FAMILIES",
    "KINDS",
    "TASKS",
    "Annotation",
    "Backbone",
    "BackboneRequest",
    "BackboneSpec",
    "Body",
    "Cache",
    "CellContext",
    "DataKind",
    "Dataset",
    "Features",
    "Finding",
    "FitBaseline",
    "GivesAccount",
    "GivesLocalSimilarity",
    "GivesObservations",
    "GivesSettings",
    "ImageEncoder",
    "ImageTextEncoder",
    "InputSpec",
    "MethodSpec",
    "NoOptions",
    "OnError",
    "PairData",
    "Predictions",
    "Profile",
    "Progress",
    "Recipe",
    "Scaling",
    "Score",
    "Skipped",
    "Source",
    "Stored",
    "Subset",
    "TaskKind",
    "TaskSpec",
    "Trainer",
    "annotation",
    "backbone",
    "baseline_row",
    "configured",
    "dataset",
    "has_text_side",
    "images_only",
    "needs_of",
    "task",
    "weights_named",
]
