"""Words are cut at a length, so that no tokenizer takes minutes; other texts stay as they are."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backbones.shared.encoders.vocabulary import Vocabulary
from bench.core.words import LONGEST_WORD, cut_words
from tasks.report_generation.settings import ReportSettings
from tasks.report_generation.vocabulary import learn_vocabulary

REPORTS = ["The lungs are clear.", "Small left effusion, 1.5 cm."] * 3
WORDS = ("x" * 1_000_000, "ab" * 500_000, "-" * 1_000_000, "é" * 1_000_000, "1.5" * 300_000)


@given(st.lists(st.text(max_size=LONGEST_WORD), max_size=5), st.sampled_from([" ", "\n", "\t  "]))
def test_texts_without_a_long_word_stay_as_they_are(words: list[str], blank: str) -> None:
    assert cut_words(blank.join(words)) == blank.join(words)


def test_a_long_word_is_cut_and_the_text_goes_on() -> None:
    assert cut_words(f"a {'x' * 5000}\n b") == f"a {'x' * LONGEST_WORD}\n b"


@pytest.mark.parametrize("word", WORDS)
def test_one_word_of_a_million_letters_takes_no_time(word: str) -> None:
    text = f"The lungs are clear. {word} is seen. No effusion."
    begun = time.perf_counter()
    vocabulary = Vocabulary.train([*REPORTS, text], 200)
    encoded = vocabulary.encode(text, max_tokens=5000, max_sentences=9, min_words=2)
    learned = learn_vocabulary([*REPORTS, text], ReportSettings(vocabulary="wordpiece", pieces=90))
    ids = learned.encode(text)
    assert time.perf_counter() - begun < 10
    assert len(encoded.keys) >= 2 and len(ids) < 5000
