"""A task kind written before there were annotations: what it needs is a word, and it asks the subset
for its masks and the context for their names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.contracts import (
    KINDS,
    Backbone,
    CellContext,
    Predictions,
    Profile,
    Subset,
    TaskKind,
    TaskSpec,
    task,
)
from bench.settings import override

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


@dataclass(frozen=True)
class Settings:
    """The side of the images."""

    image_size: int = 32


class ShareKind(TaskKind):
    """How much of an image its masks cover, guessed by the mean of the training images."""

    name = "share"
    metrics = ("error",)
    lower_is_better = ("error",)
    needs = "masks"  # type: ignore[assignment]  # a word, as it was before

    def settings(
        self, task: TaskSpec, protocol: str, profile: Profile, overrides: Mapping[str, str]
    ) -> Settings:
        """Return the settings."""
        return override(Settings(), overrides)

    def protocols(self) -> tuple[str, ...]:
        """Return the protocols."""
        return ("default",)

    def split(self, index: pd.DataFrame, task: TaskSpec, protocol: str, seed: int) -> pd.DataFrame:
        """Draw a split by patient."""
        from bench.data.splits import default_split

        return default_split(index, seed=0)

    def subset(
        self, train: pd.DataFrame, fraction: float, task: TaskSpec, protocol: str, seed: int
    ) -> pd.DataFrame:
        """Return all training rows."""
        return train

    def fit(self, backbone: Backbone, train: Subset, val: Subset, context: CellContext) -> Any:
        """Return the mean share of every class."""
        assert len(context.mask_classes) == train.masks(slice(None)).shape[1]
        return train.masks(slice(None)).mean()

    def predict(self, predictor: Any, test: Subset, context: CellContext) -> Predictions:
        """Return the error of every image."""
        share = test.masks(slice(None)).mean(axis=(1, 2, 3))
        table = test.index[["image_id", "patient_id"]].copy()
        table["error"] = abs(share - predictor)
        return Predictions(table)

    def statistics(
        self, predictions: Predictions, task: TaskSpec
    ) -> Mapping[str, Callable[[np.ndarray], np.ndarray]]:
        """Return the mean error."""
        error = predictions.table["error"].to_numpy()
        return {"error": lambda weights: weights @ error / weights.sum(axis=1)}


KINDS.add("share", ShareKind())
task(TaskSpec("siim_share", "share", "siim", "Covered share", main_metric="error"))
