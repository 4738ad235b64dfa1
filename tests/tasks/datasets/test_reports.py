"""Sections are found under every spelling; cleaning keeps sentences whole."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.text.lines import close_lines
from tasks.datasets._reports import (
    clean_text,
    has_unread_text,
    parse_sections,
    report_columns,
    section_name,
)
from tests.tasks.datasets.fakes import REPORT


def test_sections_of_a_report() -> None:
    sections = parse_sections(REPORT)
    assert sections["findings"].startswith("The lungs are clear.")
    assert sections["impression"].splitlines()[0] == "1. Study number {number}."
    assert sections["comparison"] == "None."
    assert sections["indication"] == "___ year old woman with cough."


PUBLISHED = {
    "impression": (
        "IMPRESSION", "CONCLUSION", "FINDINGS/IMPRESSION", "FINDINGS/ IMPRESSION",
        "FINDINGS / IMPRESSION",
        "FINDINGS AND IMPRESSION", "IMPRESSION AND FINDINGS", "IMPRESSION/FINDINGS",
        "FINDINGS  AND  IMPRESSION",
        "FINDINGS, IMPRESSION", "IMPRESSION (PA AND LATERAL)", "FINAL IMPRESSION",
        "PRELIMINARY IMPRESSION",
        "IMPRESSON", "IMPRESSSION", "IMPRRESSION", "IMOPRESSION", "IMPRESSOIN", "IMPRSSION",
        "IMPERSSION",
        "MPRESSION", "IMPESSION",
    ),
    "findings": (
        "FINDINGS", "FINDING", "REFERENCE FINDINGS", "FINDINGS AND COMPARISON",
        "COMPARISON/FINDINGS", "FINDINGS/CONCLUSION",
        "FINDINS", "FINDINDGS", "FINDNGS", "FINIDNGS", "BONE WINDOW", "BONE WINDOWS", "RIBS",
        "LEFT RIBS", "FRONTAL UPRIGHT",
        "FRONTAL SEMI-UPRIGHT", "PA AND LAT", "PA  AND  LAT", "FRONTAL AND LATERAL",
        "FRONTAL AND LATERAL VIEWS", "CHEST",
        "CHEST, TWO VIEWS", "CHEST, PA AND LATERAL", "CHEST (PORTABLE AP)", "PORTABLE",
        "PORTABLE UPRIGHT AP", "PA AND LATERAL",
        "LATERAL AND PA", "AP AND LATERAL", "LATERAL AND AP", "TWO VIEWS", "ONE VIEW",
        "FRONTAL VIEW", "PA VIEW", "AP VIEW",
        "LATERAL VIEW", "PA AND LATERAL VIEWS OF THE CHEST", "CHEST/RIBS",
    ),
    "history": ("HISTORY", "CLINICAL HISTORY", "PATIENT HISTORY", "CLINICAL INFORMATION",
    "HISTORY/INDICATION", "PFI"),
    "comparison": (
        "COMPARISON", "COMPARISONS", "COMPARISON EXAM", "COMPARISON FILM", "REFERENCE EXAM",
        "COMPARISION", "COMPARRISON",
    ),
    "indication": ("INDICATION", "REASON FOR EXAM", "REASON FOR EXAMINATION", "CLINICAL INDICATION",
    "INDICATIONS"),
    "examination": ("EXAMINATION", "EXAM", "TYPE OF EXAMINATION"),
    "recommendations": ("RECOMMENDATION(S)", "RECOMMENDATIONS", "RECOMMENDATION"),
    "addendum": ("ADDENDUM", "ADDENDUM TO REPORT"),
    "technique": ("TECHNIQUE",),
    "wet read": ("WET READ", "WETREAD"),
    "notification": ("NOTIFICATION",),
    "date": ("DATE",),
}  # fmt: skip
"""How MIT-LCP's section parser names headers, by section."""


@pytest.mark.parametrize(
    ("header", "name"),
    [(header, name) for name, headers in PUBLISHED.items() for header in headers],
)
def test_headers_are_named_as_published(header: str, name: str) -> None:
    assert section_name(header) == name


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("SINGLE FRONTAL RADIOGRAPH", "findings"),
        ("PA/LATERAL", "findings"),
        ("UPRIGHT PA", "findings"),
        ("SINGLE VIEW", "findings"),
        ("LEFT LATERAL DECUBITUS", "findings"),
        ("REPORT", "findings"),
        ("SUMMARY", "impression"),
        ("OPINION", "impression"),
        ("CONCLUSIONS", "impression"),
        ("REASON FOR RADIOGRAPH", "reason for radiograph"),
        ("NDICATION", "indication"),
    ],
)
def test_headers_that_the_published_code_leaves_unread(header: str, name: str) -> None:
    assert section_name(header) == name


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("FINDINGS/IMPRESSION", "impression"),
        ("BONE WINDOW", "findings"),
        ("PA AND LAT", "findings"),
    ],
)
def test_text_under_every_header_is_read(header: str, name: str) -> None:
    assert parse_sections(f" FINAL REPORT\n {header}:  Clear lungs.\n")[name] == "Clear lungs."


def test_a_header_of_our_own_gives_only_what_is_missing() -> None:
    text = "\n FINDINGS:  Clear.\n SUMMARY:  Normal.\n LATERAL:  No effusion.\n"
    sections = parse_sections(text)
    assert sections["findings"] == "Clear."
    assert sections["impression"] == "Normal."


def test_a_header_right_below_an_empty_one_is_a_header() -> None:
    sections = parse_sections("\n FINDINGS:\n IMPRESSION:  Clear lungs.\n")
    assert sections["impression"] == "Clear lungs." and "findings" not in sections


@pytest.mark.parametrize("indent", ["", " ", "   "])
def test_a_header_may_be_indented(indent: str) -> None:
    assert parse_sections(f"REPORT\n{indent}FINDINGS:  Clear.\n")["findings"] == "Clear."


def test_last_occurrence_wins_and_empty_does_not_count() -> None:
    text = "\n IMPRESSION:  First.\n\n IMPRESSION:  Second.\n\n IMPRESSION:   \n"
    assert parse_sections(text)["impression"] == "Second."


def test_last_paragraph_begins_behind_a_line_of_one_blank() -> None:
    sections = parse_sections(" FINAL REPORT\n TECHNIQUE:  AP.\n\n One.\n \n Two.\n \n Three.\n")
    assert sections["last_paragraph"] == "Two.\n \n Three."
    assert sections["technique"] == "AP.\n\n One."


def test_report_without_sections_has_a_last_paragraph() -> None:
    sections = parse_sections(" FINAL REPORT\n CHEST\n \n Clear lungs.\n No effusion.\n")
    assert "findings" not in sections
    assert sections["last_paragraph"] == "Clear lungs.\n No effusion."
    assert sections["preamble"] == "FINAL REPORT\n CHEST"


@pytest.mark.parametrize(
    "text", [" FINAL REPORT\n One.\n\n Two.\n", "\n FINDINGS:  Clear.\n \n More.\n"]
)
def test_no_last_paragraph_without_such_a_line_or_beside_findings(text: str) -> None:
    assert "last_paragraph" not in parse_sections(text)


@pytest.mark.parametrize(
    ("text", "unread"),
    [
        ("\n TECHNIQUE:  AP.\n \n Clear lungs.\n", True),
        ("Clear lungs.", True),
        ("\n FINDINGS:  \n \n IMPRESSION:\n", False),
        ("\n FINDINGS:  Clear.\n", False),
        (" \n ", False),
    ],
)
def test_text_without_a_section_is_noticed(text: str, unread: bool) -> None:
    assert has_unread_text(text) == unread


def test_words_with_a_colon_inside_a_line_are_no_header() -> None:
    assert (
        parse_sections("\n FINDINGS:  Tubes: ETT at the carina. NOTE: none.\n")["findings"]
        == "Tubes: ETT at the carina. NOTE: none."
    )


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("1. Clear lungs.\n 2. No effusion", "Clear lungs. No effusion."),
        ("Nodule of 1.5 cm.\u2028Stable\r\nsince ___ .", "Nodule of 1.5 cm. Stable since."),
        ("Compared to ___, the 2 nodules are stable.", "Compared to, the 2 nodules are stable."),
        ("Stable. (1) Small effusion.", "Stable. Small effusion."),
        ("T. 12 Compression?", "T. 12 Compression?"),
        ("  ", ""),
        ("___", ""),
    ],
)
def test_cleaning(text: str, clean: str) -> None:
    assert clean_text(text) == clean


@given(st.text(alphabet="aB1. ,\n_()", max_size=60))
def test_cleaning_twice_changes_nothing_and_stays_on_one_line(text: str) -> None:
    clean = clean_text(text)
    assert "\n" not in clean
    assert "  " not in clean
    assert "__" not in clean
    assert not clean or clean[-1] in ".!?"


def test_columns_are_cleaned_once_and_the_impression_comes_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from tasks.datasets import _reports

    seen = []

    def counted(text: str) -> str:
        seen.append(text)
        return clean_text(text)

    monkeypatch.setattr(_reports, "clean_text", counted)
    columns = report_columns(["Nodule", ""], ["Lungs  clear", "Lungs clear"])
    assert columns == {
        "impression": ["Nodule.", ""],
        "findings": ["Lungs clear.", "Lungs clear."],
        "report": ["Nodule. Lungs clear.", "Lungs clear."],
    }
    assert len(seen) == 4


def cleaned_step_by_step(text: str) -> str:
    """The description of `clean_text`, every step taken on every text."""
    text = re.sub(r"[_\ufffd]{2,}|\ufffd", " ", text)
    text = " ".join(close_lines(text).split())
    text = re.sub(r"(?:^|(?<=[.:;!?])\s)\(?\d{1,2}[.)]\s+(?=[A-Z])", " ", text)
    text = re.sub(r"\s+([.,;:])", r"\1", " ".join(text.split())).strip(" ,;:-")
    return text if not text or text[-1] in ".!?" else text + "."


@given(st.text("aB1. \n\t\x1c\u2028(),;:!?-_\ufffd)", max_size=40))
@settings(max_examples=400)
def test_steps_that_change_nothing_may_be_left_out(text: str) -> None:
    assert clean_text(text) == cleaned_step_by_step(text)
