"""Reports as they are written, and what they name: lists, lines, marks, doubt, negation and where
it ends."""

from __future__ import annotations

import pytest

from bench.text.observations import OBSERVATIONS, POSITIVE, UNCERTAIN
from bench.text.rules import label_reports
from tasks.datasets._reports import clean_text
from tasks.report_generation.cleaning import clean
from tests.bench.text.cases import FLAT, SHORT


def _named(text: str) -> set[str]:
    """Return what a report names, in the short names of the table."""
    labels = dict(zip(OBSERVATIONS, label_reports([text])[0].tolist(), strict=True))
    found = {
        ("?" if labels[name] == UNCERTAIN else "") + short
        for short, name in SHORT.items()
        if labels[name] in (POSITIVE, UNCERTAIN)
    }
    nothing = not {name.removeprefix("?") for name in found} - {"SD"}
    assert (labels["No Finding"] == POSITIVE) == nothing
    return found


@pytest.mark.parametrize(("text", "wanted"), FLAT)
def test_reports_as_written(text: str, wanted: str) -> None:
    assert _named(text) == set(wanted.split())


@pytest.mark.parametrize(("text", "wanted"), FLAT)
def test_reports_as_they_reach_the_metrics(text: str, wanted: str) -> None:
    """Through the index and the cleaning of the task, which leave words and full stops."""
    assert _named(clean(clean_text(text), "plain")) == set(wanted.split())
