"""Sentences of a report: where they begin and end."""

from __future__ import annotations

from itertools import pairwise

import pytest

from bench.core.sentences import sentence_spans, split_sentences

REPORTS = [
    "No effusion. 1. Nodule of 1.5 cm. 2. Dr. Hale was told.",
    "clear lungs",
    "- One thing . Another thing !",
    "... . Heart is normal.  ",
    "",
]


@pytest.mark.parametrize("report", REPORTS)
def test_spans_hold_the_sentences_in_order(report: str) -> None:
    text = " ".join(report.split())
    spans = sentence_spans(text)
    sentences = split_sentences(report)
    assert len(spans) == len(sentences)
    for (start, end), sentence in zip(spans, sentences, strict=True):
        assert text[start:end].rstrip().endswith(sentence)
    assert all(first[1] <= second[0] for first, second in pairwise(spans))


def test_decimals_abbreviations_and_list_numbers() -> None:
    assert split_sentences(REPORTS[0]) == [
        "No effusion.",
        "Nodule of 1.5 cm.",
        "Dr. Hale was told.",
    ]
