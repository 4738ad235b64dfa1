"""The segmentation task kind: what the engine asks of it; the body is imported when first needed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.contracts import DATASETS, Backbone, CellContext, Predictions, Profile, Subset, TaskKind, TaskSpec
from bench.errors import SettingError
from tasks.segmentation.settings import PRESETS, SegmentationSettings, resolve

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

_logger = logging.getLogger(__name__)


class SegmentationKind(TaskKind):
    """One mask per class and image, several may overlap; scored by Dice and IoU."""

    name = "segmentation"
    evaluator_version = 1
    metrics = ("dice_per_image", "dice_global", "iou")
    needs = "masks"

    def settings(self, task: TaskSpec, protocol: str, profile: Profile, overrides: Mapping[str, str]) -> SegmentationSettings:
        """Return the preset of `protocol` and `profile` with `overrides`."""
        return resolve(protocol, profile, overrides)

    def protocols(self) -> tuple[str, ...]:
        """Return the names of the protocol presets."""
        return tuple(PRESETS)

    def split(self, index: pd.DataFrame, task: TaskSpec, protocol: str, seed: int) -> pd.DataFrame:
        """Return the default split, or under a reference protocol that reference's own, its leaks counted in a warning."""
        if protocol == "default":
            return super().split(index, task, protocol, seed)
        from bench.data.splits import check_leaks

        split = DATASETS.get(task.dataset).reference_split(index, protocol, seed)
        if split is None:
            raise SettingError(
                f"dataset '{task.dataset}' has no '{protocol}' split.", "Use --protocol default, or a task of that protocol."
            )
        leaks = check_leaks(split, allow=True)
        if leaks:
            _logger.warning("%s, protocol %s: %s Use protocol default for a fair test.", task.name, protocol, leaks)
        return split

    def subset(self, train: pd.DataFrame, fraction: float, task: TaskSpec, protocol: str, seed: int) -> pd.DataFrame:
        """Return the training rows of one label fraction; a reference protocol may have a rule of its own."""
        if protocol != "default":
            found = DATASETS.get(task.dataset).reference_subset(train, protocol, fraction, seed)
            if found is not None:
                return found
        return super().subset(train, fraction, task, protocol, seed)

    def fit(self, backbone: Backbone, train: Subset, val: Subset, context: CellContext) -> Any:
        """Train the head; return a `tasks.segmentation.fit.Segmenter`."""
        from tasks.segmentation.fit import fit

        return fit(backbone, train, val, context)

    def predict(self, predictor: Any, test: Subset, context: CellContext) -> Predictions:
        """Return integer pixel counts per image and class, and the masks packed to bits."""
        from tasks.segmentation.fit import predict

        return predict(predictor, test, context)

    def statistics(self, predictions: Predictions, task: TaskSpec) -> Mapping[str, Callable[[np.ndarray], np.ndarray]]:
        """Return every Dice and IoU variant as a function of resampling weights [R, n]."""
        from tasks.segmentation.metrics import statistics

        return statistics(predictions.table)

    def figure(self, task: TaskSpec, test: Subset, predictions: Mapping[str, Predictions], out: Path) -> Path | None:
        """Draw a few images with the ground truth and each method's masks."""
        from tasks.segmentation.figures import draw_predictions

        return draw_predictions(test, predictions, out)
