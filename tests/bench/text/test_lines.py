"""A line break ends a sentence, or the sentence goes on: both as reports are written."""

from __future__ import annotations

import textwrap

import pytest

from bench.text.lines import close_lines
from tasks.datasets._reports import clean_text


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("No effusion\nSmall nodule", "No effusion. Small nodule."),
        ("No effusion\nSmall nodule.\nMild edema", "No effusion. Small nodule. Mild edema."),
        ("No evidence of\npleural effusion", "No evidence of pleural effusion."),
        ("No evidence of\nPneumothorax", "No evidence of Pneumothorax."),
        ("A nodule of\n5 mm", "A nodule of 5 mm."),
        ("A nodule measuring\n5 mm", "A nodule measuring 5 mm."),
        ("No effusion\n\nsmall nodule", "No effusion. small nodule."),
        ("no effusion\nsmall nodule", "no effusion. small nodule."),
        ("NO EFFUSION\nSMALL NODULE", "NO EFFUSION. SMALL NODULE."),
        ("No effusion\n2. Small nodule", "No effusion. Small nodule."),
        ("No effusion\n- small nodule", "No effusion. - small nodule."),
        ("Findings:\nNo effusion", "Findings: No effusion."),
        ("No effusion,\nnodule", "No effusion, nodule."),
        ("No effusion  \n  Small nodule", "No effusion. Small nodule."),
        ("\n\n No effusion\n\n", "No effusion."),
    ],
)
def test_lines_that_end_a_sentence_get_a_full_stop(text: str, clean: str) -> None:
    assert clean_text(text) == clean


SENTENCES = (
    "The heart is normal in size. There is a right PICC line with its tip in the superior "
    "vena cava. "
    "Comparison is made with the CT of the chest. No Kerley B lines are seen, and no effusion or "
    "pneumothorax. Old Hill-Sachs deformity of the left humerus. Status post CABG with a Swan-Ganz "
    "catheter and a Dobbhoff tube. The XXXX is stable."
)


@pytest.mark.parametrize("width", range(45, 100))
def test_wrapping_a_report_changes_nothing(width: int) -> None:
    lines = textwrap.wrap(SENTENCES, width, break_on_hyphens=False)
    assert clean_text("\n ".join(lines)) == SENTENCES


def test_wrapping_a_report_in_capitals_changes_nothing() -> None:
    text = (
        "NO FOCAL CONSOLIDATION, EFFUSION OR PNEUMOTHORAX IS SEEN ON THIS STUDY. THE BONES ARE "
        "INTACT."
    )
    for width in range(50, 90):
        assert clean_text("\n".join(textwrap.wrap(text, width))) == text


def test_text_of_one_line_is_left_alone() -> None:
    assert close_lines("No effusion") == "No effusion"
    assert close_lines("") == ""
