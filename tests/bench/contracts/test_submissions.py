"""What a kind says of the files it reads is checked where the kind is declared, and stated
thresholds where they are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.contracts import EVERY, KINDS, Submission, SubmissionForm
from bench.contracts.declared import kind_faults
from bench.core.errors import SettingError


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        ("FILE.csv", "submission is 'FILE.csv'. It must be a SubmissionForm"),
        (SubmissionForm("angles", "FILE.csv", "A CSV.", read="mine:read"), "submission.read is"),  # type: ignore[arg-type]
    ],
)
def test_a_submission_that_is_no_form_is_refused_with_the_kind(
    monkeypatch: pytest.MonkeyPatch, declared: Any, said: str
) -> None:
    kind = KINDS.get("retrieval")
    assert not list(kind_faults("retrieval", kind))
    monkeypatch.setattr(type(kind), "submission", declared)
    (fault,) = kind_faults("retrieval", kind)
    assert said in str(fault)


def test_the_option_of_a_form_is_its_name_unless_it_says_another() -> None:
    plain = SubmissionForm("angles", "FILE.csv", "A CSV.", read=print)  # type: ignore[arg-type]
    assert plain.flag == "--angles"
    assert KINDS.get("retrieval").submission.flag == "--scores"  # type: ignore[union-attr]


def test_a_threshold_is_that_of_its_class_else_the_one_for_all() -> None:
    none: Any = None

    def stated(**thresholds: float) -> list[float] | None:
        given = {EVERY if name == "every" else name: value for name, value in thresholds.items()}
        submission = Submission(Path("x"), none, Path("x"), none, none, none, given)
        return submission.thresholds_of(("a", "b"))

    assert stated() is None
    assert stated(every=0.3) == [0.3, 0.3]
    assert stated(every=0.3, b=0.0) == [0.3, 0.0]
    assert stated(a=0.1, b=0.2) == [0.1, 0.2]
    with pytest.raises(SettingError, match="names none for 'a'"):
        stated(b=0.2)
    with pytest.raises(SettingError, match="names 'c'"):
        stated(every=0.2, c=0.1)
