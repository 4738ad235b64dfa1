"""The report generation task kind: what the engine asks of it; the body is imported when first
needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from bench.contracts import (
    Annotation,
    Backbone,
    CellContext,
    Predictions,
    Profile,
    Subset,
    TaskKind,
    TaskSpec,
)
from bench.core.errors import SettingError
from bench.data.annotations import Reports
from tasks.report_generation.settings import PRESETS, ReportOptions, ReportSettings, resolve

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


_SCORES = ("precision", "recall", "f1")
METRICS = (
    *(f"ce_{score}_{mean}" for score in _SCORES for mean in ("micro", "macro")),
    *(f"ce_{score}_{mean}_abnormal" for score in _SCORES for mean in ("micro", "macro")),
    *(f"ce_{score}_{mean}_5" for score in _SCORES for mean in ("micro", "macro")),
    *(f"ce_{score}_example" for score in _SCORES),
    "ce_f1:*",
    *(f"bleu{order}" for order in (1, 2, 3, 4)),
    "meteor",
    "rouge_l",
    "cider",
    "normal_copied",
    "normal_sentences",
    "copied_sentences",
    "words",
    "words_ratio",
    "repeated_reports",
    "empty_reports",
    "distinct1",
    "distinct2",
)
"""All that `statistics` gives, F1 of single observations too."""


class ReportGenerationKind(TaskKind):
    """Write the report of a study; scored by the words it shares with the reference and by the
    findings both name."""

    name = "report_generation"
    evaluator_version = 2
    metrics = (
        "ce_f1_micro_abnormal",
        "ce_f1_macro_abnormal",
        "ce_f1_micro",
        "ce_f1_macro",
        "bleu1",
        "bleu4",
        "meteor",
        "rouge_l",
        "cider",
        "repeated_reports",
    )
    baselines: ClassVar[Mapping[str, str]] = {
        "constant_report": "tasks.report_generation.fit:fit_constant",
        "random_report": "tasks.report_generation.fit:fit_random",
    }
    lower_is_better = ("repeated_reports", "normal_copied", "copied_sentences", "empty*")
    options = ReportOptions

    def settings(
        self, task: TaskSpec, protocol: str, profile: Profile, overrides: Mapping[str, str]
    ) -> ReportSettings:
        """Return the preset of `protocol` and `profile` for `task`, with `overrides`."""
        return resolve(task, protocol, profile, overrides)

    def needs(self, settings: ReportSettings) -> tuple[Annotation[Any], ...]:
        """Return the reports."""
        return (Reports(),)

    def protocols(self) -> tuple[str, ...]:
        """Return the names of the protocol presets."""
        return tuple(PRESETS)

    def metric_names(self, task: TaskSpec, settings: ReportSettings) -> tuple[str, ...]:
        """Return the metrics of these settings."""
        return METRICS

    def split(
        self, index: pd.DataFrame, task: TaskSpec, protocol: str, seed: int
    ) -> pd.DataFrame | None:
        """Return the official split, or under `default` one by patient where there is none."""
        if protocol != "default" and not (index["split"] != "").any():
            message = (
                f"dataset '{task.dataset}' in this layout has no published split for protocol "
                f"{protocol}."
            )
            raise SettingError(message, "Use R2Gen's annotation.json, or --protocol default.")
        return None

    def fit(self, backbone: Backbone, train: Subset, val: Subset, context: CellContext) -> Any:
        """Train the decoder, or prepare the baseline that was asked for; return a
        `tasks.report_generation.fit.Fitted`."""
        from tasks.report_generation.fit import fit

        return fit(backbone, train, val, context)

    def predict(self, predictor: Any, test: Subset, context: CellContext) -> Predictions:
        """Return one row per study that has a reference, with the counts that every metric is made
        of."""
        from tasks.report_generation.fit import predict

        return predict(predictor, test, context)

    def statistics(
        self, predictions: Predictions, task: TaskSpec
    ) -> Mapping[str, Callable[[np.ndarray], np.ndarray]]:
        """Return every metric as a function of resampling weights [R, n]; METEOR is missing where
        Java was."""
        from tasks.report_generation.metrics import statistics

        return statistics(predictions)

    def complete(self, predictions: Predictions, settings: Any) -> Predictions | None:
        """Return predictions whose texts were kept with the counts that needed Java, where it is
        there now; None otherwise."""
        from tasks.report_generation.fit import complete

        return complete(predictions, settings)

    def figure(
        self, task: TaskSpec, test: Subset, predictions: Mapping[str, Predictions], out: Path
    ) -> Path | None:
        """Draw images with reference and generated text, findings coloured; the findings alone
        where text may not be shown."""
        from tasks.report_generation.figures import draw_reports

        return draw_reports(test, predictions, out)
