"""The kernels on a CUDA device: equal to the float64 reference, and in memory that does not grow as
B^2. `make test-gpu`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from backbones.shared.alignment.kernels import (
    attention_pooled_similarity,
    info_nce,
    symmetric_info_nce,
)
from backbones.shared.alignment.kernels.options import Implementation, Order
from tests.backbones.shared.alignment.kernels import loops
from tests.backbones.shared.alignment.kernels.cases import contrast_inputs, pooled_inputs

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
PRECISIONS = [(torch.float32, 1e-4), (torch.bfloat16, 3e-2), (torch.float16, 4e-3)]
POOLED = [(5, 25, 3, 361, 128), (1, 67, 9, 16, 128), (1, 1, 1, 5, 16)]


def rounded(tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return tensor.to(dtype).cuda()


@pytest.mark.parametrize("order", ["words_then_regions", "regions"])
@pytest.mark.parametrize("shape", POOLED)
@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
@pytest.mark.parametrize("form", ["chunked", "triton"])
def test_pooling_equals_the_reference(
    form: Implementation, dtype: torch.dtype, tolerance: float, shape: tuple, order: Order
) -> None:
    text, regions, text_mask, region_mask = pooled_inputs(shape, padded=True)
    inputs = [rounded(tensor / shape[-1] ** 0.25, dtype) for tensor in (text, regions)]
    options: dict[str, Any] = {
        "order": order,
        "text_mask": text_mask.cuda(),
        "region_mask": region_mask.cuda(),
        "aggregate": "none",
        "chunk_bytes": 1 << 16,
    }
    results = [
        loops.value_and_gradients(
            lambda a, b, name=name: attention_pooled_similarity(
                a, b, implementation=name, **options
            ),
            *tensors,
        )
        for name, tensors in (("reference", [tensor.double() for tensor in inputs]), (form, inputs))
    ]
    loops.assert_same(results[1], results[0], tolerance)


@pytest.mark.parametrize("shape", [(130, 130, 128), (70, 300, 64), (33, 33, 768), (1, 1, 16)])
@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
@pytest.mark.parametrize("function", [info_nce, symmetric_info_nce])
def test_contrast_equals_the_reference(
    function: Callable[..., Any], dtype: torch.dtype, tolerance: float, shape: tuple
) -> None:
    a, b, ids = contrast_inputs(*shape)
    ids = {name: value.cuda() for name, value in ids.items()}
    inputs = [rounded(tensor, dtype) for tensor in (a, b)]
    results = [
        loops.value_and_gradients(
            lambda x, y, name=name: function(x, y, tau=0.25, implementation=name, **ids), *tensors
        )
        for name, tensors in (
            ("reference", [tensor.double() for tensor in inputs]),
            ("triton", inputs),
        )
    ]
    loops.assert_same(results[1], results[0], tolerance)


@pytest.mark.parametrize("form", ["tiled", "triton"])
def test_contrast_of_32k_rows_stores_no_logits(form: Implementation) -> None:
    rows, width = 32768, 128
    sides = [
        torch.nn.functional.normalize(
            torch.randn(rows, width, device="cuda"), dim=1
        ).requires_grad_()
        for _ in range(2)
    ]
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    symmetric_info_nce(*sides, tau=0.07, implementation=form).backward()
    peak = torch.cuda.max_memory_allocated() - before
    assert peak < 16 * rows * width * 4, (
        f"{peak >> 20} MB; the logits alone are {rows * rows * 4 >> 20} MB"
    )


def test_auto_is_triton_here() -> None:
    text, regions, _, _ = pooled_inputs((2, 3, 2, 5, 16), padded=False)
    inputs = [rounded(tensor, torch.float32) for tensor in (text, regions)]
    same = [
        attention_pooled_similarity(*inputs, implementation=form) for form in ("auto", "triton")
    ]
    assert torch.equal(*same)
