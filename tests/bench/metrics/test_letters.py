"""Two rows share no letter exactly where they differ."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from bench.metrics.letters import compact_letters

ROWS = list("ABCDEFG")
PAIRS = [frozenset(pair) for pair in combinations(ROWS, 2)]


@given(st.sets(st.sampled_from(PAIRS)))
def test_rows_share_a_letter_exactly_where_they_do_not_differ(
    differing: set[frozenset[str]],
) -> None:
    letters = compact_letters(ROWS, differing)
    for pair in PAIRS:
        one, other = pair
        assert bool(set(letters[one]) & set(letters[other])) == (pair not in differing)
    assert letters["A"].startswith("a")


@given(st.sets(st.sampled_from(PAIRS)))
def test_no_letter_can_be_left_out(differing: set[frozenset[str]]) -> None:
    letters = compact_letters(ROWS, differing)
    groups = {
        letter: {row for row in ROWS if letter in letters[row]}
        for letter in set("".join(letters.values()))
    }
    for letter, group in groups.items():
        others = [other for name, other in groups.items() if name != letter]
        assert not any(group <= other for other in others)


def test_the_middle_row_ties_with_both_ends() -> None:
    assert compact_letters(list("ABC"), {frozenset("AC")}) == {"A": "a", "B": "ab", "C": "b"}


def test_what_leaders_letters_got_wrong() -> None:
    """B and D differ, B and C do not: no rule with one letter per row can say that."""
    differing = {frozenset("AC"), frozenset("BD")}
    letters = compact_letters(list("ABCD"), differing)
    assert not set(letters["B"]) & set(letters["D"])
    assert set(letters["B"]) & set(letters["C"])
    assert set(letters["A"]) & set(letters["D"])


def test_equal_rows_all_have_a() -> None:
    assert set(compact_letters(ROWS, set()).values()) == {"a"}


def test_more_letters_than_the_alphabet_stay_apart() -> None:
    rows = [f"row {number}" for number in range(30)]
    letters = compact_letters(rows, {frozenset(pair) for pair in combinations(rows, 2)})
    assert letters["row 25"] == "z"
    assert letters["row 26"] == "(aa)"
    assert len(set(letters.values())) == 30
