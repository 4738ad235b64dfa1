"""The run-length code: relative offsets, columns first; what is wrong is named."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bench.core.errors import DataError
from tasks.datasets._rle import decode_rle, encode_rle


def test_offsets_are_relative_and_pixels_run_down_the_columns() -> None:
    mask = decode_rle("1 2 3 1", 4, 3)
    assert mask.tolist() == [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 0, 0]]


@given(
    arrays(np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.integers(0, 1))
)
def test_round_trip(mask: np.ndarray) -> None:
    text = encode_rle(mask)
    if text == "-1":
        assert not mask.any()
    else:
        assert (decode_rle(text, *mask.shape) == mask).all()


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("0 17", "the runs end at pixel 17, the image has 4 x 4 = 16"),
        ("3 1 12 1", "the runs end at pixel 17"),
        ("1 2 3", "3 numbers; pairs"),
        ("", "0 numbers"),
        ("1 x", "'x' is not a whole number"),
        ("1 -2", "'-2' is not a whole number"),
        ("1 " + "9" * 5000, "'99999999999999999999' is not a whole number of 0 to 10 digits"),
        ("1.5 2", "'1.5' is not a whole number"),
    ],
)
def test_wrong_runs_are_named(text: str, match: str) -> None:
    with pytest.raises(DataError, match=f"table T, image 'I': {match}"):
        decode_rle(text, 4, 4, "table T, image 'I'")
