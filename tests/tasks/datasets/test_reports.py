"""Sections are found under every spelling; cleaning keeps sentences whole."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.datasets._reports import clean_text, parse_sections, report_columns, section_name
from tests.tasks.datasets.fakes import REPORT


def test_sections_of_a_report():
    sections = parse_sections(REPORT)
    assert sections["findings"].startswith("The lungs are clear.")
    assert sections["impression"].splitlines()[0] == "1. Study number {number}."
    assert sections["comparison"] == "None."
    assert sections["indication"] == "___ year old woman with cough."


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("IMPRESSION", "impression"),
        ("IMPRESSON", "impression"),
        ("IMPRESSSION", "impression"),
        ("CONCLUSION", "impression"),
        ("FINDING", "findings"),
        ("PA AND LATERAL VIEWS OF THE CHEST", "findings"),
        ("SINGLE FRONTAL RADIOGRAPH", "findings"),
        ("COMPARISONS", "comparison"),
        ("REASON FOR EXAM", "indication"),
        ("WET READ", "wet read"),
    ],
)
def test_header_spellings(header, name):
    assert section_name(header) == name


def test_last_occurrence_wins_and_empty_does_not_count():
    text = "\n IMPRESSION:  First.\n\n IMPRESSION:  Second.\n\n IMPRESSION:   \n"
    assert parse_sections(text)["impression"] == "Second."


def test_report_without_sections_has_a_last_paragraph():
    sections = parse_sections(" FINAL REPORT\n CHEST\n\n Clear lungs.\n No effusion.\n")
    assert "findings" not in sections
    assert sections["last_paragraph"] == "Clear lungs.\n No effusion."


def test_words_with_a_colon_inside_a_line_are_no_header():
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
def test_cleaning(text, clean):
    assert clean_text(text) == clean


@given(st.text(alphabet="aB1. ,\n_()", max_size=60))
def test_cleaning_twice_changes_nothing_and_stays_on_one_line(text):
    clean = clean_text(text)
    assert "\n" not in clean
    assert "  " not in clean
    assert "__" not in clean
    assert not clean or clean[-1] in ".!?"


def test_columns_are_cleaned_once_and_the_impression_comes_first(monkeypatch):
    from tasks.datasets import _reports

    seen = []
    monkeypatch.setattr(_reports, "clean_text", lambda text: seen.append(text) or clean_text(text))
    columns = report_columns(["Nodule", ""], ["Lungs  clear", "Lungs clear"])
    assert columns == {
        "impression": ["Nodule.", ""],
        "findings": ["Lungs clear.", "Lungs clear."],
        "report": ["Nodule. Lungs clear.", "Lungs clear."],
    }
    assert len(seen) == 4
