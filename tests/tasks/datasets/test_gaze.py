"""What data sets of gaze share: words as sentences with their times, fixations as maps."""

from __future__ import annotations

import numpy as np
import pytest

from bench.contracts import REGION_SIDE
from bench.core.errors import DataError
from bench.core.sentences import split_sentences
from tasks.datasets._gaze import (
    LOOK_BACK,
    NO_DURATION,
    OUTSIDE,
    Fixation,
    checked_word,
    gaze_map,
    gaze_regions,
    kept_fixations,
    looked_at,
    timed_report,
)
from tests.support.gaze import WORDS


def look(x: float, y: float, start: float, duration: float = 0.2) -> Fixation:
    return (x, y, start, duration, 4.0, 4.0)


def test_words_become_sentences_with_their_times() -> None:
    timed = timed_report(WORDS)
    assert timed.text == "No effusion. Nodule of 1.5 cm."
    assert timed.spoken == ((2.0, 2.9), (4.0, 5.4))


@pytest.mark.parametrize(
    "words",
    [
        ["1.", "Clear lungs.", "2.", "Dr. Hale", "told"],
        ["___", "small", "effusion", ",", "left", ".", ".", "End"],
        ["-", "one", "-", "two."],
        ["No. 3 rib", "?"],
        ["...", "Clear."],
    ],
)
def test_every_sentence_of_the_report_has_a_time(words: list[str]) -> None:
    timed = timed_report([(word, float(n), n + 0.5) for n, word in enumerate(words)])
    assert len(timed.spoken) == len(split_sentences(timed.text))
    assert timed.text == " ".join(timed.text.split()) and "_" not in timed.text
    assert all(begin <= end for begin, end in timed.spoken)


def test_words_are_ordered_by_their_time() -> None:
    assert timed_report([("lungs", 1.0, 1.2), ("Clear", 0.5, 0.9)]).text == "Clear lungs."


@pytest.mark.parametrize(
    "times, reason",
    [
        ((None, 1.0), "its begin is 'None', a number was expected"),
        ((1.0, "x"), "its end is 'x'"),
        ((1.0, float("nan")), "its end is 'nan'"),
        ((2.0, 1.0), "it ends before it begins"),
    ],
)
def test_a_word_without_times_is_named(times: tuple[object, object], reason: str) -> None:
    with pytest.raises(DataError, match=f"word 3: {reason}"):
        checked_word("clear", *times, "word 3")


def test_what_is_outside_or_takes_no_time_is_dropped_and_counted() -> None:
    counts: dict[str, int] = {}
    looks = [look(5, 5, 2), look(16, 5, 1), look(5, -1, 1), look(3, 3, 0.5), look(3, 3, 9, 0.0)]
    kept = kept_fixations(looks, 20, 16, counts)
    assert [each[2] for each in kept] == [0.5, 2], "in the order of time"
    assert counts == {OUTSIDE: 2, NO_DURATION: 1}
    assert len(kept_fixations(looks, 0, 0, counts)) == 4, "an image whose size is not known"


def test_a_sentence_is_looked_at_from_a_little_before_its_words() -> None:
    begin = 4.0
    looks = [look(1, 1, start) for start in (2.4, 2.5, 3.9, 4.6, 5.0)]
    chosen = looked_at(looks, (begin, 5.0))
    assert [each[2] for each in chosen] == [2.5, 3.9, 4.6] and LOOK_BACK == 1.5


def test_maps_of_sentences_and_of_the_study() -> None:
    looks = [look(4, 4, 2.0), look(50, 30, 4.2, 0.4), look(4, 40, 9.0)]
    reading = (looks, [(2.0, 3.0), (4.0, 5.0), (20.0, 21.0)], ["One.", "Two.", "Three."])
    regions = gaze_regions([reading], 56, 56)
    assert [each.sentence for each in regions] == [-1, 0, 1], "nobody looked during the third"
    np.testing.assert_allclose(regions[0].map, gaze_map(looks, 56, 56))
    both = gaze_map(looks[:1], 56, 56)
    np.testing.assert_allclose(regions[1].map, both)
    peak = np.unravel_index(regions[2].map.argmax(), (REGION_SIDE, REGION_SIDE))
    assert peak in [(29, 49), (30, 50), (29, 50), (30, 49)]


def test_maps_of_several_readers_are_averaged() -> None:
    first = ([look(10, 10, 2.0)], [(2.0, 3.0)], ["Clear lungs."])
    second = ([look(40, 40, 7.0)], [(6.0, 8.0), (8.0, 9.0)], ["clear lungs.", "Normal heart."])
    silent: tuple[list[Fixation], list[tuple[float, float]], list[str]] = ([], [], [])
    study, sentence = gaze_regions([first, second, silent], 56, 56)
    for region in (study, sentence):
        assert region.map.max() == pytest.approx(1)
        assert region.map[10, 10] == pytest.approx(region.map[40, 40], rel=1e-4)
    assert gaze_regions([silent], 56, 56) == []
