"""Named cleanings and the vocabulary: what becomes words, and that only the training split is
learned from."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.core.errors import DataError
from tasks.report_generation.cleaning import clean, clean_plain, sentences, split_sentences
from tasks.report_generation.settings import ReportSettings
from tasks.report_generation.vocabulary import (
    UNKNOWN,
    WordPieceVocabulary,
    WordVocabulary,
    learn_vocabulary,
)


def test_plain_keeps_decimals_and_drops_list_numbers() -> None:
    text = "1. A 1.5 cm nodule; new.  2. No effusion\u2028seen!\r\nHeart: normal"
    assert clean_plain(text) == "a 1.5 cm nodule . new . no effusion seen . heart normal ."
    assert sentences("T-tube, left-sided. Émphysème modéré.") == [
        "t-tube left-sided",
        "émphysème modéré",
    ]


def test_r2gen_deletes_marks_as_the_reference_does() -> None:
    assert (
        clean("1. Heart size, normal. 2. A 1.5 cm nodule (new).. XXXX-ray", "iu")
        == "heart size normal . a 15 cm nodule new . xxxx-ray ."
    )
    assert clean("Comparison ___ . No effusion", "mimic") == "comparison . no effusion ."


@pytest.mark.parametrize("how", ["plain", "iu", "mimic"])
@pytest.mark.parametrize("text", ["", " \n\u2028", "...", None, float("nan"), "!?."])
def test_no_word_is_no_text(how: str, text: str | float | None) -> None:
    assert clean(text, how) == ""


@given(st.text(max_size=200))
@settings(deadline=None)
def test_cleaned_text_is_one_line_and_clean(text: str) -> None:
    cleaned = clean_plain(text)
    assert cleaned == " ".join(cleaned.split())
    assert clean_plain(cleaned) == cleaned
    assert not cleaned or cleaned.endswith(" .")
    assert " . ".join(split_sentences(cleaned)) == cleaned[:-2].strip()


def test_a_report_of_2000_words_comes_through() -> None:
    text = " ".join(["The heart is normal."] * 500)
    assert len(clean_plain(text).split()) == 2500


def test_rare_words_are_unknown_and_only_training_texts_are_learned() -> None:
    vocabulary = WordVocabulary.learn(
        ["no effusion .", "no effusion .", "no rarity ."], min_count=2
    )
    assert vocabulary.words[4:] == [".", "effusion", "no"]
    assert vocabulary.encode("no rarity in test .")[1:4] == [UNKNOWN] * 3
    assert vocabulary.decode([*vocabulary.encode("no effusion ."), 2, 5]) == "no effusion ."
    with pytest.raises(DataError, match="no word occurs 9 times"):
        WordVocabulary.learn(["a b"], 9)


def test_wordpiece_spells_unseen_words() -> None:
    texts = ["no pleural effusion .", "small pneumothorax .", "no pneumothorax or effusions ."] * 5
    vocabulary = learn_vocabulary(texts, ReportSettings(vocabulary="wordpiece", pieces=80))
    assert isinstance(vocabulary, WordPieceVocabulary) and len(vocabulary) <= 80
    for text in (*texts[:3], "pneumothoraxs ."):
        assert vocabulary.decode(vocabulary.encode(text)) == text
    assert vocabulary.encode("ж") == [UNKNOWN]
