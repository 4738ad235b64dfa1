"""The retrieval task kind: what the engine asks of it; the body is imported when first needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from bench.contracts import (
    Annotation,
    Backbone,
    CellContext,
    ImageTextEncoder,
    Predictions,
    Profile,
    Scaling,
    Subset,
    TaskKind,
    TaskSpec,
)
from bench.data.annotations import Reports
from tasks.retrieval.settings import PRESETS, RetrievalOptions, RetrievalSettings, resolve

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


class RetrievalKind(TaskKind):
    """Rank all reports for an image (`i2t_`) and all images for a report (`t2i_`); nothing is
    trained."""

    name = "retrieval"
    evaluator_version = 1
    scaling: ClassVar[Mapping[str, Scaling]] = {"gloria": "mgca"}
    metrics = (
        "i2t_p@5",
        "i2t_hit@5",
        "i2t_r@5",
        "i2t_ndcg@10",
        "i2t_mean_rank",
        "i2t_median_rank",
        "t2i_r@5",
    )
    lower_is_better = ("*_rank",)
    options = RetrievalOptions
    trained = False
    compares_texts = True

    def settings(
        self, task: TaskSpec, protocol: str, profile: Profile, overrides: Mapping[str, str]
    ) -> RetrievalSettings:
        """Return the preset of `protocol` and `profile` for `task`, with `overrides`."""
        return resolve(task, protocol, profile, overrides)

    def needs(self, settings: RetrievalSettings) -> tuple[Annotation[Any], ...]:
        """Return the reports."""
        return (Reports(),)

    def protocols(self) -> tuple[str, ...]:
        """Return the names of the protocol presets."""
        return tuple(PRESETS)

    def metric_names(self, task: TaskSpec, settings: RetrievalSettings) -> tuple[str, ...]:
        """Return the metrics of these settings."""
        own = [f"r@{k}" for k in settings.ks] + ["mean_rank", "median_rank"]
        worth = ("p", "hit", "ndcg") if settings.labels else ()
        shared = [f"{name}@{k}" for name in worth for k in settings.ks]
        return tuple(f"{side}_{name}" for side in ("i2t", "t2i") for name in own + shared)

    def split(
        self, index: pd.DataFrame, task: TaskSpec, protocol: str, seed: int
    ) -> pd.DataFrame | None:
        """Return the official split; a dataset that is a test set as a whole stays one."""
        return index if set(index["split"]) == {"test"} else None

    def subset(
        self, train: pd.DataFrame, fraction: float, task: TaskSpec, protocol: str, seed: int
    ) -> pd.DataFrame:
        """Return all training rows: nothing is trained on them."""
        return train

    def fit(
        self, backbone: Backbone, train: Subset, val: Subset, context: CellContext
    ) -> ImageTextEncoder:
        """Return the backbone itself; raise SettingError where it has no text side."""
        from bench.encoding.similarity import need_text_side

        return need_text_side(backbone, "retrieval")

    def predict(self, predictor: Any, test: Subset, context: CellContext) -> Predictions:
        """Return what every image found and was found by: one value per cut-off and direction."""
        from tasks.retrieval.fit import predict

        return predict(predictor, test, context)

    def statistics(
        self, predictions: Predictions, task: TaskSpec
    ) -> Mapping[str, Callable[[np.ndarray], np.ndarray]]:
        """Return every metric as a function of resampling weights [R, n]: queries are resampled,
        candidates stay."""
        from tasks.retrieval.metrics import statistics

        return statistics(predictions.table)
