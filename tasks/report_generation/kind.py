"""The report generation task kind: a declaration; its body is imported when it is used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from bench.contracts import Annotation, Body, Profile, SubmissionForm, TaskKind, TaskSpec
from bench.core.errors import SettingError
from bench.core.registry import Registry
from bench.data.annotations import Reports
from tasks.report_generation.decoders import DECODERS
from tasks.report_generation.settings import (
    PRESETS,
    ReportOptions,
    ReportSettings,
    end_to_end,
    resolve,
)

if TYPE_CHECKING:
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
    presets = PRESETS
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
    baselines: ClassVar[Mapping[str, Body]] = {
        "constant_report": Body("tasks.report_generation.fit:fit_constant"),
        "random_report": Body("tasks.report_generation.fit:fit_random"),
    }
    lower_is_better = ("repeated_reports", "normal_copied", "copied_sentences", "empty*")
    options = ReportOptions
    choices: ClassVar[Mapping[str, Registry[Any]]] = {"decoder": DECODERS}
    submission = SubmissionForm(
        name="reports",
        path="FILE.csv",
        suffix=".csv",
        help="A CSV with the columns study_id and text: one report per study of the test split.",
        read=Body("tasks.report_generation.submitted:read"),
        write=Body("tasks.report_generation.submitted:write"),
    )
    settings = staticmethod(resolve)
    fit: Callable[..., Any] = Body("tasks.report_generation.fit:fit")
    predict: Callable[..., Any] = Body("tasks.report_generation.fit:predict")
    statistics: Callable[..., Any] = Body("tasks.report_generation.metrics:score")
    basis: Callable[..., Any] = Body("tasks.report_generation.basis:basis")
    complete: Callable[..., Any] = Body("tasks.report_generation.fit:complete")
    figure: Callable[..., Any] = Body("tasks.report_generation.figures:draw_reports")

    def needs(self, settings: ReportSettings) -> tuple[Annotation[Any], ...]:
        """Return the reports."""
        return (Reports(),)

    def end_to_end(self, settings: ReportSettings, profile: Profile) -> ReportSettings:
        """Return the settings of training encoder and writer together."""
        return end_to_end(settings, profile)

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
