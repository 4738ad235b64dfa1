"""The triplet losses against the published code's numbers and a float64 reference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from backbones.medtrim.losses import Views, triplet_losses

CASES: list[dict[str, Any]] = torch.load(
    Path(__file__).parents[2] / "parity" / "medtrim" / "triplet_loss.pt", weights_only=True
)


def views(inputs: list[torch.Tensor]) -> list[Views]:
    """Return anchor, positive and negative from the order of the file: images, then texts."""
    return [Views(inputs[place], inputs[place + 3]) for place in range(3)]


@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float64, 1e-9), (torch.float32, 1e-5)])
@pytest.mark.parametrize("case", range(len(CASES)))
def test_losses_and_gradients_equal_the_published_code(
    case: int, dtype: torch.dtype, rtol: float
) -> None:
    given = CASES[case]
    inputs = [tensor.to(dtype).detach().clone().requires_grad_() for tensor in given["inputs"]]
    image, text = triplet_losses(*views(inputs), margin=given["margin"])
    torch.testing.assert_close(image, given["loss_image"].to(dtype), rtol=rtol, atol=0)
    torch.testing.assert_close(text, given["loss_text"].to(dtype), rtol=rtol, atol=0)
    (image + text).backward()
    for tensor, expected in zip(inputs, given["grads_of_sum"], strict=True):
        assert tensor.grad is not None
        scale = float(expected.abs().max())  # entries near 0 are differences of larger ones
        torch.testing.assert_close(tensor.grad, expected.to(dtype), rtol=rtol, atol=rtol * scale)


def reference(rows: np.ndarray, margin: float, own_pair: bool) -> tuple[float, float]:
    """Return both losses of vectors [3 roles, 2 views, B, d] in float64, triplet by triplet."""

    def distance(one: np.ndarray, other: np.ndarray) -> float:
        return 1 - float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))

    losses = []
    for own, other in ((0, 1), (1, 0)):
        terms = []
        for anchor, positive, negative in rows.transpose(2, 0, 1, 3):
            across = anchor if own_pair else positive
            for drawn, pushed in ((positive[own], negative[own]), (across[other], negative[other])):
                gap = distance(anchor[own], drawn) - distance(anchor[own], pushed) + margin
                terms.append(max(0.0, gap))
        losses.append(sum(terms) / 2 / rows.shape[2])
    return losses[0], losses[1]


@pytest.mark.parametrize("own_pair", [False, True])
@pytest.mark.parametrize("margin", [0.0, 0.3, 1.0])
def test_losses_equal_a_float64_reference(margin: float, own_pair: bool) -> None:
    rows = np.random.default_rng(0).normal(size=(3, 2, 5, 6))
    roles = [Views(*torch.from_numpy(role)) for role in rows]
    image, text = triplet_losses(*roles, margin=margin, own_pair=own_pair)
    assert (float(image), float(text)) == pytest.approx(reference(rows, margin, own_pair), rel=1e-9)


def test_no_term_draws_an_image_to_its_own_report_unless_asked() -> None:
    """Everything is where its positive is and away from its negative; only the anchor's own report
    is far from its image."""
    here, there = (torch.tensor([[sign, 0.0]], dtype=torch.float64) for sign in (1, -1))
    anchor, alike, other = Views(here, there), Views(here, here), Views(there, there)
    published = triplet_losses(anchor, alike, other, margin=0.3)[0]
    own = triplet_losses(anchor, alike, other, margin=0.3, own_pair=True)[0]
    assert float(published) == 0
    assert float(own) == pytest.approx(0.15)
