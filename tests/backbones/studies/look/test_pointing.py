"""The pointing game on lesions made by hand: peaks, chance, the prior, intervals, and the words
about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from backbones.studies.look import pointing
from backbones.studies.look.lesions import NONE, SEVERAL, Lesions, find_lesions, outlines
from bench.contracts import InputSpec, Subset
from bench.data.annotations import Boxes, BoxRows, MaskRows, Masks

SPEC = InputSpec(size=32, resize=36)
CORNERS = {"upper left": (0, 0), "upper right": (0, 1), "lower left": (1, 0), "lower right": (1, 1)}


def quarter(name: str, size: int = 8) -> np.ndarray:
    mask = np.zeros((size, size), bool)
    row, column = CORNERS[name]
    mask[row * size // 2 :, column * size // 2 :][: size // 2, : size // 2] = True
    return mask


def lesions(*where: str, classes: tuple[int, ...] = (), prior: str = "upper left") -> Lesions:
    kinds = np.array(classes or [0] * len(where))
    names = tuple("abc"[: kinds.max() + 1])
    rows = np.arange(len(where))
    patients = tuple(f"p{row}" for row in rows)
    frequent = np.stack([quarter(prior).astype(float)] * len(names))
    return Lesions(
        names, rows, kinds, patients, np.stack([quarter(own) for own in where]), frequent
    )


def peaked(*where: str) -> np.ndarray:
    """Maps [P, 4, 4] whose largest cell lies in a quarter, at its outer corner."""
    maps = np.full((len(where), 4, 4), 0.1)
    for own, name in zip(maps, where, strict=True):
        own[CORNERS[name][0] * 3, CORNERS[name][1] * 3] = 1
    return maps


def test_a_peak_is_the_middle_of_the_largest_cell() -> None:
    maps = np.zeros((2, 2, 4))
    maps[0, 1, 2], maps[1, 0, 3] = 1, 1
    assert pointing.peaks(maps, 16).tolist() == [[12, 10], [4, 14]]
    assert pointing.peaks(np.ones((1, 2, 2)), 16).tolist() == [[4, 4]]


def test_known_accuracies() -> None:
    own = lesions("upper left", "upper left", "lower right", "lower left", classes=(0, 0, 0, 1))
    game = pointing.play(
        own, {"m": peaked("upper left", "lower left", "lower right", "upper right"), "none": None}
    )
    assert list(game) == ["a", "b", pointing.MEAN]
    assert [game[name]["m"].value for name in game] == pytest.approx([2 / 3, 0, 1 / 3])
    assert [game[name][pointing.PRIOR].value for name in game] == pytest.approx([2 / 3, 0, 1 / 3])
    assert all(found[pointing.CHANCE].value == pytest.approx(0.25) for found in game.values())
    assert all("none" not in found for found in game.values())
    assert game["a"]["m"].low < 2 / 3 < game["a"]["m"].high
    assert np.isnan(game["b"]["m"].high)  # one patient


def test_patients_are_resampled_whole() -> None:
    """Four patients of five images, two always hit and two never: an interval over 20 independent
    images would be half as wide."""
    patients = tuple(name for name in "pqrs" for _ in range(5))
    own = replace(lesions(*["upper left"] * 20), patients=patients)
    estimate = pointing.play(own, {"m": peaked(*["upper left"] * 10, *["lower left"] * 10)})["a"][
        "m"
    ]
    assert estimate.value == 0.5
    assert estimate.spread.patient_freedom == 3
    assert estimate.spread.patients == pytest.approx(0.25, abs=0.01)
    assert estimate.low < 0.1 and estimate.high > 0.9


@pytest.mark.parametrize(
    ("pointed", "prior", "word", "bold"),
    [
        (
            "lower right",
            "upper left",
            (
                "`m`, a: better than the centre prior (+1.000 [+1.000, +1.000]) and better than "
                "chance (+0.750 [+0.750, +0.750])."
            ),
            True,
        ),
        (
            "lower right",
            "lower right",
            (
                "`m`, a: not better than the centre prior (+0.000 [+0.000, +0.000]) and better "
                "than chance"
            ),
            False,
        ),
        (
            "upper right",
            "lower right",
            "`m`, a: worse than the centre prior (-1.000 [-1.000, -1.000]) and worse than chance",
            False,
        ),
    ],
)
def test_the_table_says_who_beats_the_prior(
    pointed: str, prior: str, word: str, bold: bool
) -> None:
    own = lesions(*["lower right"] * 6, prior=prior)
    game = pointing.play(own, {"m": peaked(*[pointed] * 6), "n": None})
    table = pointing.table(own, game, ["m", "n"])
    assert word in table and ("**" in table) == bold
    assert "| a | 6 | 0.250 |" in table and pointing.NO_MAP in table and pointing.MEAN not in table
    lines = pointing.rows(own, game, {"task": "t"})
    assert {line["method"] for line in lines} == {pointing.CHANCE, pointing.PRIOR, "m"}
    assert all(line["images"] == 6 and line["task"] == "t" for line in lines)


# ------------------------------------------------------------------------------ lesions of a subset
def subset(side: int, boxes: Sequence[Sequence[Sequence[float]]]) -> Subset:
    names = [f"i{row}" for row in range(len(boxes))]
    lists = tuple(np.array(own, np.float32).reshape(-1, 5) for own in boxes)
    images = np.zeros((len(boxes), side, side), np.uint8)
    return Subset(
        pd.DataFrame({"image_id": names, "patient_id": names}),
        np.arange(len(boxes)),
        images,
        {Boxes: BoxRows(lists)},
    )


@pytest.mark.parametrize("scale", [1, 2])
def test_outlines_follow_resize_and_crop(scale: int) -> None:
    """A box at 10..20 x 6..12 of the 36 px square is 2 px closer to the corner in the middle 32 px,
    whatever was cached."""
    own = subset(36 * scale, [[[10 * scale, 6 * scale, 20 * scale, 12 * scale, 1]]])
    expected = np.zeros((2, 32, 32), bool)
    expected[1, 4:10, 8:18] = True
    np.testing.assert_array_equal(outlines(own, 0, 2, SPEC), expected)
    masks = np.zeros((1, 2, 36 * scale, 36 * scale), np.uint8)
    masks[0, 1, 6 * scale : 12 * scale, 10 * scale : 20 * scale] = 1
    np.testing.assert_array_equal(
        outlines(replace(own, annotations={Masks: MaskRows(masks, np.arange(1))}), 0, 2, SPEC),
        expected,
    )


def test_lesions_labels_and_prior() -> None:
    left, right, cropped = [4, 4, 12, 12, 0], [24, 20, 32, 28, 1], [0, 0, 2, 36, 1]
    train = subset(36, [[[4, 4, 12, 12, 0]], [[6, 6, 14, 14, 0]], [right], [left]])
    own = find_lesions(train, subset(36, [[left], [], [left, right], [cropped]]), ("a", "b"), SPEC)
    assert (
        own.rows.tolist() == [0, 2, 2]
        and own.classes.tolist() == [0, 0, 1]
        and own.patients == ("i0", "i2", "i2")
    )
    assert own.labels(4) == ["a", NONE, SEVERAL, NONE]
    a, b = pointing.peaks(own.prior, 32).tolist()
    assert 4 <= min(a) <= max(a) < 10 and 22 <= b[1] < 30 and 18 <= b[0] < 26
    assert [found[pointing.PRIOR].value for found in pointing.play(own, {}).values()] == [1, 1, 1]


def test_the_prior_knows_the_training_split_alone() -> None:
    train, test = subset(36, [[[4, 4, 12, 12, 0]]]), subset(36, [[[24, 20, 32, 28, 0]]])
    assert (
        pointing.play(find_lesions(train, test, ("a",), SPEC), {})["a"][pointing.PRIOR].value == 0
    )
    assert pointing.play(find_lesions(test, test, ("a",), SPEC), {})["a"][pointing.PRIOR].value == 1


def test_examples_take_the_findings_in_turn_and_no_image_twice() -> None:
    own = lesions(*["upper left"] * 6, classes=(0, 0, 0, 1, 1, 2))
    assert own.examples(4) == [0, 3, 5, 1] and own.examples(9) == [0, 3, 5, 1, 4, 2]
    shared = replace(own, rows=np.array([0, 1, 2, 0, 1, 0]))
    assert shared.rows[shared.examples(9)].tolist() == [0, 1, 2]
