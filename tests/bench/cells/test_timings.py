"""How long cells take, from earlier results: medians of the same work, and words for seconds."""

from __future__ import annotations

from typing import Any

import pytest

from bench.cells.timings import Timings, Workload, in_words, seconds_of

WORK = Workload("segmentation", "siim", "resnet_demo", "demo")


def record(seconds: dict[str, Any], **changes: str) -> dict[str, Any]:
    facts = {
        "kind": "segmentation",
        "dataset": "siim",
        "architecture": "resnet_demo",
        "profile": "demo",
    }
    return {**facts, **changes, **{f"seconds:{phase}": value for phase, value in seconds.items()}}


def test_the_expected_time_is_the_median_of_the_same_work() -> None:
    cells = [record({"fit": 8.0, "predict": 1.5, "score": 0.5}), record({"fit": 60.0})]
    cells += [record({"fit": 19.0, "score": 1.0})]
    assert [seconds_of(cell) for cell in cells] == [10.0, 60.0, 20.0]
    assert Timings.of(cells).expected(WORK) == 20.0
    assert Timings.of(cells[:2]).expected(WORK) == 35.0


@pytest.mark.parametrize("fact", ["kind", "dataset", "architecture", "profile"])
def test_other_work_says_nothing_of_this(fact: str) -> None:
    assert Timings.of([record({"fit": 8.0}, **{fact: "other"})]).expected(WORK) is None


@pytest.mark.parametrize(
    "seconds", [{}, {"fit": "8"}, {"fit": None, "score": 1.0}, {"fit": float("nan")}]
)
def test_a_record_that_does_not_state_its_time_is_left_out(seconds: dict[str, Any]) -> None:
    assert seconds_of(record(seconds)) is None
    assert Timings.of([record(seconds), record({"fit": 5.0})]).expected(WORK) == 5.0


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "under 1 s"),
        (1.0, "1 s"),
        (89.4, "89 s"),
        (90.0, "2 min"),
        (59.4 * 60, "59 min"),
        (3600.0, "1 h"),
        (2 * 3600.0 + 299, "2 h 5 min"),
    ],
)
def test_a_duration_is_said_in_words(seconds: float, words: str) -> None:
    assert in_words(seconds) == words
