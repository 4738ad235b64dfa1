"""Tests of the Triton kernels in Triton's interpreter; test_triton.py runs this file in a process
of its own."""

from __future__ import annotations

from typing import Any

import pytest

from backbones.shared.alignment.kernels import (
    attention_pooled_similarity,
    info_nce,
    symmetric_info_nce,
)
from backbones.shared.alignment.kernels.options import Order
from tests.backbones.shared.alignment.kernels import loops
from tests.backbones.shared.alignment.kernels.cases import SHAPES, contrast_inputs, pooled_inputs


@pytest.mark.parametrize(
    ("shape", "padded"), [*((shape, True) for shape in SHAPES), ("contexts", False)]
)
@pytest.mark.parametrize("order", ["words_then_regions", "regions"])
def test_pooling_equals_the_loop(shape: str, order: Order, padded: bool) -> None:
    text, regions, text_mask, region_mask = pooled_inputs(SHAPES[shape], padded)
    expected = loops.value_and_gradients(
        lambda a, b: (
            5 * loops.pooled(a, b, text_mask, region_mask, order == "words_then_regions", 4.0)
        ),
        text,
        regions,
    )
    masks = {"text_mask": text_mask, "region_mask": region_mask} if padded else {}
    options: dict[str, Any] = {
        "order": order,
        "aggregate": "none",
        "implementation": "triton",
        "chunk_bytes": 1200,
        "keep_bytes": 2400,
        **masks,
    }
    mine = loops.value_and_gradients(
        lambda a, b: attention_pooled_similarity(a, b, **options), text.float(), regions.float()
    )
    loops.assert_same(mine, expected, 1e-4)


@pytest.mark.parametrize("order", ["words_then_regions", "regions"])
def test_pooling_over_more_regions_and_words_than_a_block(order: Order) -> None:
    text, regions, _, _ = pooled_inputs((1, 67, 2, 150, 5), padded=False)
    results = [
        loops.value_and_gradients(
            lambda a, b, form=form: attention_pooled_similarity(
                a, b, order=order, implementation=form
            ),
            *tensors,
        )
        for form, tensors in (
            ("reference", (text, regions)),
            ("triton", (text.float(), regions.float())),
        )
    ]
    loops.assert_same(results[1], results[0], 1e-4)


@pytest.mark.parametrize(
    ("rows", "keys", "width"), [(1, 1, 3), (7, 7, 5), (67, 70, 20), (9, 1, 130)]
)
def test_contrast_equals_the_loop(rows: int, keys: int, width: int) -> None:
    a, b, ids = contrast_inputs(rows, keys, width)
    for function, plain in (
        (info_nce, loops.info_nce),
        (symmetric_info_nce, loops.symmetric_info_nce),
    ):
        expected = loops.value_and_gradients(lambda x, y, plain=plain: plain(x, y, **ids), a, b)
        mine = loops.value_and_gradients(
            lambda x, y, function=function: function(
                x, y, tau=0.07, implementation="triton", **ids
            ),
            a.float(),
            b.float(),
        )
        loops.assert_same(mine, expected, 1e-4)


def test_contrast_in_half_precision() -> None:
    """float16 only: the interpreter multiplies the bits of bfloat16 as integers."""
    a, b, ids = contrast_inputs(19, 21, 16)
    a, b = a.half(), b.half()
    expected = loops.value_and_gradients(
        lambda x, y: info_nce(x, y, tau=0.25, implementation="reference", **ids),
        a.double(),
        b.double(),
    )
    mine = loops.value_and_gradients(
        lambda x, y: info_nce(x, y, tau=0.25, implementation="triton", **ids), a, b
    )
    loops.assert_same(mine, expected, 4e-3)
