"""InfoNCE: plain and tiled forms against loops, in values and gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from backbones.shared.alignment.kernels import info_nce, score_info_nce, symmetric_info_nce, tiled
from backbones.shared.alignment.kernels.options import Implementation
from bench.core.errors import SettingError
from tests.backbones.shared.alignment.kernels import loops
from tests.backbones.shared.alignment.kernels.cases import contrast_inputs

FORMS = ["reference", "tiled"]


def compare(form: Implementation, rows: int, keys: int, width: int, seed: int = 0) -> None:
    a, b, ids = contrast_inputs(rows, keys, width, seed)
    for function, plain in (
        (info_nce, loops.info_nce),
        (symmetric_info_nce, loops.symmetric_info_nce),
    ):
        expected = loops.value_and_gradients(lambda x, y, plain=plain: plain(x, y, **ids), a, b)
        mine = loops.value_and_gradients(
            lambda x, y, function=function: function(x, y, tau=0.07, implementation=form, **ids),
            a,
            b,
        )
        loops.assert_same(mine, expected, 1e-9)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("rows", "keys", "width"), [(1, 1, 3), (7, 7, 5), (13, 30, 4), (9, 1, 2)])
def test_equals_the_loop(form: Implementation, rows: int, keys: int, width: int) -> None:
    compare(form, rows, keys, width)


@settings(max_examples=30, deadline=None)
@given(
    rows=st.integers(1, 12),
    keys=st.integers(1, 12),
    tile=st.integers(1, 7),
    seed=st.integers(0, 20),
)
def test_every_tile_equals_the_plain_form(rows: int, keys: int, tile: int, seed: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiled, "TILE", tile)
        compare("tiled", rows, keys, 5, seed)


@pytest.mark.parametrize("form", FORMS)
def test_pairs_are_the_default_positives(form: Implementation) -> None:
    a, b, _ = contrast_inputs(6, 6, 8)
    expected = torch.nn.functional.cross_entropy(a @ b.T / 0.1, torch.arange(6))
    torch.testing.assert_close(info_nce(a, b, tau=0.1, implementation=form), expected)


@pytest.mark.parametrize("form", FORMS)
def test_a_query_without_a_positive_is_left_out(form: Implementation) -> None:
    a, b, _ = contrast_inputs(3, 3, 4)
    ids = {"query_ids": torch.tensor([0, 9, 2]), "key_ids": torch.arange(3)}
    expected = info_nce(
        a[[0, 2]], b, tau=0.1, query_ids=torch.tensor([0, 2]), key_ids=torch.arange(3)
    )
    torch.testing.assert_close(info_nce(a, b, tau=0.1, implementation=form, **ids), expected)
    nothing = loops.value_and_gradients(
        lambda x, y: info_nce(
            x,
            y,
            tau=0.1,
            implementation=form,
            query_ids=torch.tensor([7, 8, 9]),
            key_ids=torch.arange(3),
        ),
        a,
        b,
    )
    assert not any(tensor.any() for tensor in nothing)


@pytest.mark.parametrize("form", FORMS)
def test_a_learned_temperature_gets_its_gradient(form: Implementation) -> None:
    a, b, _ = contrast_inputs(5, 5, 4)

    def at(tau: torch.Tensor) -> torch.Tensor:
        return info_nce(a, b, tau=tau, implementation=form)

    assert torch.autograd.gradcheck(at, torch.tensor(0.3, dtype=torch.float64, requires_grad=True))


def test_ids_are_needed_where_rows_are_not_pairs() -> None:
    with pytest.raises(SettingError, match="3 queries and 4 keys"):
        info_nce(torch.zeros(3, 2), torch.zeros(4, 2), tau=0.1)


@pytest.mark.parametrize("form", ["chunked", "typo"])
def test_an_unknown_form_is_named(form: Any) -> None:
    with pytest.raises(SettingError, match="reference, tiled, triton"):
        info_nce(torch.zeros(3, 2), torch.zeros(3, 2), tau=0.1, implementation=form)


@pytest.mark.parametrize("form", ["auto", *FORMS])
def test_what_is_not_a_number_is_not_hidden(form: Implementation) -> None:
    a, b, _ = contrast_inputs(4, 4, 3)
    a[1, 2] = float("nan")
    assert bool(symmetric_info_nce(a, b, tau=0.1, implementation=form).isnan())
    assert bool(score_info_nce(a @ b.T).isnan())
