"""The retrieval task kind: a declaration; its body is imported when it is used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from bench.contracts import Annotation, Body, Scaling, SubmissionForm, TaskSpec
from bench.data.annotations import Reports
from bench.data.reference import UntrainedKind
from tasks.retrieval.settings import PRESETS, RetrievalOptions, RetrievalSettings, resolve
from tasks.retrieval.truth import StudyFindings


class RetrievalKind(UntrainedKind):
    """Rank all reports for an image (`i2t_`) and all images for a report (`t2i_`); nothing is
    trained."""

    name = "retrieval"
    presets = PRESETS
    evaluator_version = 2
    scaling: ClassVar[Mapping[str, Scaling]] = {"gloria": "mgca"}
    metrics = (
        "i2t_p@5",
        "i2t_hit@5",
        "i2t_r@5",
        "i2t_ndcg@10",
        "i2t_mean_rank",
        "i2t_median_rank",
        "t2i_r@5",
        "attr_rho",
        "attr_ndcg@10",
        "attr_rho_within",
    )
    baselines: ClassVar[Mapping[str, Body]] = {
        "random_order": Body("tasks.retrieval.fit:fit_random_order")
    }
    lower_is_better = ("*_rank",)
    options = RetrievalOptions
    compares_texts = True
    submission = SubmissionForm(
        name="retrieval",
        path="FILE.npz",
        option="scores",
        help="The score of every image and report: an NPZ of scores, images and reports, or a CSV.",
        read=Body("tasks.retrieval.submitted:read"),
        not_kept="scores of images and reports",
    )
    settings = staticmethod(resolve)
    fit: Callable[..., Any] = Body("tasks.retrieval.fit:fit")
    predict: Callable[..., Any] = Body("tasks.retrieval.fit:predict")
    statistics: Callable[..., Any] = Body("tasks.retrieval.metrics:score")

    def needs(self, settings: RetrievalSettings) -> tuple[Annotation[Any], ...]:
        """Return the reports, and for their attributes what is known of the studies."""
        return (Reports(), StudyFindings()) if settings.attributes else (Reports(),)

    def metric_names(self, task: TaskSpec, settings: RetrievalSettings) -> tuple[str, ...]:
        """Return the metrics of these settings."""
        of_reports = [f"r@{k}" for k in settings.ks] + ["mean_rank", "median_rank"]
        worth = ("p", "hit", "ndcg") if settings.labels else ()
        of_labels = [f"{name}@{k}" for name in worth for k in settings.ks]
        within = ("attr_rho_within",) if settings.labels else ()
        of_attributes = ("attr_rho", "attr_ndcg@10", *within) if settings.attributes else ()
        ranked = [f"{side}_{name}" for side in ("i2t", "t2i") for name in of_reports + of_labels]
        return (*ranked, *of_attributes)
