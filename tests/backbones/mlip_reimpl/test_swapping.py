"""Exchanges make a report say what is not so, and leave the others alone."""

from __future__ import annotations

import itertools

import pytest

from backbones.mlip_reimpl.swapping import NAMES, exchange, mirrored, renamed
from bench.text.attributes import findings
from bench.text.observations import DISEASES


@pytest.mark.parametrize(
    ("report", "other"),
    [
        ("Small left pleural effusion.", "Small right pleural effusion."),
        ("LARGE RIGHT PNEUMOTHORAX.", "LARGE LEFT PNEUMOTHORAX."),
        ("Right-sided effusion. Left lung is clear.", "Left-sided effusion. Right lung is clear."),
        ("Consolidation in the RUL.", "Consolidation in the LUL."),
        ("No left effusion.", None),  # what is denied on one side is not there on the other
        ("Left effusion and right effusion.", None),
        ("Bilateral effusions.", None),
        ("The heart is enlarged.", None),
        ("", None),
    ],
)
def test_sides_are_exchanged_where_a_finding_is_on_one_alone(
    report: str, other: str | None
) -> None:
    assert mirrored(report) == other
    if other is not None:
        assert mirrored(other) == report


@pytest.mark.parametrize("draw", [0.0, 0.3, 0.6, 0.999])
def test_a_finding_gets_the_name_of_one_that_the_report_has_not(draw: float) -> None:
    report = "Pleural effusion is seen. No pneumothorax. There is a nodule."
    text = renamed(report, draw)
    assert text is not None
    before, after = (set(findings(each)) for each in (report, text))
    assert len(before - after) == len(after - before) == 1


def test_every_name_that_is_put_in_is_read_as_that_finding() -> None:
    assert set(NAMES) <= set(DISEASES)
    for name, word in NAMES.items():
        assert set(findings(f"There is {word}.")) == {name}


@pytest.mark.parametrize("report", ["Normal.", "No pneumothorax.", ""])
def test_a_report_in_which_nothing_can_be_exchanged_is_left_out(report: str) -> None:
    assert renamed(report, 0.5) is None
    assert exchange(report, (0.0, 0.0, 0.0)) is None


def test_half_of_the_reports_are_exchanged_by_the_first_number() -> None:
    report = "Left effusion."
    seen = set()
    for which, what in itertools.product((0.0, 0.9), repeat=2):
        changed, same = (exchange(report, (u, which, what)) for u in (0.4999, 0.5))
        assert changed is not None and changed.is_changed and changed.text != report
        assert same is not None and not same.is_changed and same.text == report
        seen.add(changed.text)
    assert "Right effusion." in seen and "Left cardiomegaly." in seen
