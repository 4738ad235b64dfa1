"""Attention-pooled similarity: plain and chunked forms against loops, in values and gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from backbones.shared.alignment.kernels import attention_pooled_similarity
from backbones.shared.alignment.kernels.options import Implementation, Order
from bench.core.errors import SettingError
from tests.backbones.shared.alignment.kernels import loops
from tests.backbones.shared.alignment.kernels.cases import SHAPES, pooled_inputs

ORDERS = ["words_then_regions", "regions"]


def compare(
    shape: tuple,
    order: Order,
    padded: bool,
    seed: int = 0,
    tolerance: float = 1e-9,
    dtype: torch.dtype = torch.float64,
    **options: Any,
) -> None:
    text, regions, text_mask, region_mask = pooled_inputs(shape, padded, seed)
    expected = loops.value_and_gradients(
        lambda a, b: (
            5 * loops.pooled(a, b, text_mask, region_mask, order == "words_then_regions", 4.0)
        ),
        text,
        regions,
    )
    masks: dict[str, Any] = {"text_mask": text_mask, "region_mask": region_mask} if padded else {}
    mine = loops.value_and_gradients(
        lambda a, b: attention_pooled_similarity(
            a, b, order=order, aggregate="none", **masks, **options
        ),
        text.to(dtype),
        regions.to(dtype),
    )
    loops.assert_same(mine, expected, tolerance)


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("form", ["reference", "chunked"])
def test_equals_the_loop(form: Implementation, shape: tuple, order: Order, padded: bool) -> None:
    compare(shape, order, padded, implementation=form)
    compare(shape, order, padded, implementation=form, dtype=torch.float32, tolerance=1e-4)


@settings(max_examples=40, deadline=None)
@given(
    shape=st.tuples(
        st.integers(1, 6),
        st.integers(1, 5),
        st.integers(1, 6),
        st.integers(1, 12),
        st.integers(2, 9),
    ),
    order=st.sampled_from(ORDERS),
    chunk=st.integers(1, 4000),
    keep=st.sampled_from([0, 700, 1 << 20]),
    seed=st.integers(0, 9),
)
def test_every_chunk_size_equals_the_loop(
    shape: tuple, order: Order, chunk: int, keep: int, seed: int
) -> None:
    compare(shape, order, True, seed, implementation="chunked", chunk_bytes=chunk, keep_bytes=keep)


@pytest.mark.parametrize("form", ["reference", "chunked"])
def test_aggregates_leave_padding_out(form: Implementation) -> None:
    text, regions, mask, _ = pooled_inputs((4, 6, 3, 5, 7), padded=True)
    units = attention_pooled_similarity(
        text, regions, text_mask=mask, aggregate="none", implementation=form
    )
    total, log_mean, mean = (
        attention_pooled_similarity(
            text, regions, text_mask=mask, aggregate=how, similarity_scale=10.0, implementation=form
        )
        for how in ("logsumexp", "log_mean_exp", "mean_of_scores")
    )
    for caption, real in enumerate(mask):
        torch.testing.assert_close(total[caption], 10 * units[caption, real].exp().sum(0).log())
        torch.testing.assert_close(log_mean[caption], 10 * units[caption, real].exp().mean(0).log())
        torch.testing.assert_close(mean[caption], 10 * units[caption, real].mean(0))
        assert not units[caption, ~real].any()


@pytest.mark.parametrize("masked", [False, True])
def test_log_mean_exp_is_glorias_mean(masked: bool) -> None:
    """GLoRIA: exp of 5 times the cosine, the mean over the words, then the log, times 10."""
    text, regions, mask, _ = pooled_inputs((4, 6, 3, 5, 7), padded=True)
    mask = mask if masked else torch.ones_like(mask)
    options: dict[str, Any] = {"text_mask": mask if masked else None, "score_scale": 5.0}
    cosine = attention_pooled_similarity(text, regions, aggregate="none", **options) / 5
    mine = attention_pooled_similarity(
        text, regions, aggregate="log_mean_exp", similarity_scale=10.0, **options
    )
    for caption, real in enumerate(mask):
        published = cosine[caption, real].mul(5).exp().mean(0).log() * 10
        torch.testing.assert_close(mine[caption], published)


def test_the_mean_of_what_has_to_be_said() -> None:
    text, regions, _, _ = pooled_inputs((2, 3, 2, 4, 5), padded=False)
    unsaid: Any = "mean"
    with pytest.raises(SettingError, match=r"aggregate is 'mean'.*GLoRIA's agg='mean'"):
        attention_pooled_similarity(text, regions, aggregate=unsaid)


@pytest.mark.parametrize("form", ["reference", "chunked"])
def test_a_caption_of_padding_alone_has_no_gradient_and_spoils_none(form: Implementation) -> None:
    text, regions, mask, _ = pooled_inputs((3, 4, 2, 5, 6), padded=False)
    mask = mask.clone()
    mask[1] = False
    leaf = text.requires_grad_()
    score = attention_pooled_similarity(leaf, regions, text_mask=mask, implementation=form)
    assert score[1].eq(float("-inf")).all()
    score[[0, 2]].sum().backward()
    assert leaf.grad is not None
    assert leaf.grad.isfinite().all()
    assert not leaf.grad[1].any()


def test_large_scores_stay_finite() -> None:
    text, regions, _, _ = pooled_inputs((3, 4, 2, 5, 6), padded=False)
    for order in ORDERS:
        out = loops.value_and_gradients(
            lambda a, b, order=order: attention_pooled_similarity(
                a, b, order=order, implementation="chunked"
            ),
            text * 1e3,
            regions * 1e3,
        )
        assert all(tensor.isfinite().all() for tensor in out)


def test_half_precision_input_is_computed_in_float32() -> None:
    text, regions, _, _ = (
        t.bfloat16() if t.is_floating_point() else t
        for t in pooled_inputs((3, 4, 2, 5, 6), padded=False)
    )
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = attention_pooled_similarity(text, regions, implementation="chunked")
    assert low.dtype == torch.float32
    torch.testing.assert_close(
        low,
        attention_pooled_similarity(text.float(), regions.float(), implementation="reference"),
        rtol=1e-5,
        atol=1e-5,
    )


def test_wrong_input_is_named() -> None:
    text, regions = torch.zeros(2, 3, 4), torch.zeros(2, 5, 4)
    with pytest.raises(SettingError, match="do not fit"):
        attention_pooled_similarity(text, regions[:, :, :3])
    with pytest.raises(SettingError, match="text_mask"):
        attention_pooled_similarity(text, regions, text_mask=torch.ones(2, 4, dtype=torch.bool))
    with pytest.raises(SettingError, match="no implementation 'tiled'"):
        attention_pooled_similarity(text, regions, implementation="tiled")
