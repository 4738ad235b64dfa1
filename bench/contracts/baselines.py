"""Rows without an encoder: what a task's kind predicts without looking at an image.

A kind declares them, `baselines = {"constant_report": fit}`, and each stands in the tables of its
tasks as `baseline:constant_report`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from bench.contracts.backbones import BACKBONES, BackboneRequest, BackboneSpec
from bench.core.errors import NotApplicableError

if TYPE_CHECKING:
    from bench.contracts.datasets import Subset
    from bench.contracts.tasks import CellContext

SCHEME = "baseline"
FitBaseline: TypeAlias = Callable[["Subset", "Subset", "CellContext"], Any]
"""From training data, validation data and context to what the kind's `predict` takes."""


def baseline_row(baseline: str) -> str:
    """Return the name of a baseline among the rows of a table."""
    return f"{SCHEME}:{baseline}"


def _declare(baseline: str) -> BackboneSpec:
    name = baseline_row(baseline)

    def build(request: BackboneRequest) -> NoReturn:
        """Raise NotApplicableError: there is nothing to build."""
        raise NotApplicableError(
            f"{name} has no encoder.", "It is a row of the tasks that name it."
        )

    return BackboneSpec(
        name=name,
        title="No encoder",
        build=build,
        source="this repository",
        baseline=baseline,
    )


BACKBONES.add_scheme(
    SCHEME,
    _declare,
    title="No encoder: a row that every encoder has to beat",
    example="baseline:constant_report",
)
