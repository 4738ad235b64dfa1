"""The loss against a plain double-precision formula and against reference numbers where present."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from tasks.segmentation.losses import (
    MaskLoss,
    cross_entropy_loss,
    focal_dice_loss,
    focal_loss,
    soft_dice,
)

PARITY = Path(__file__).parents[2] / "parity" / "segmentation_losses.npz"


def _plain(logits: torch.Tensor, target: torch.Tensor) -> tuple[float, float]:
    """Return focal loss and batch Dice, pixel by pixel."""
    focal, both, total = 0.0, 0.0, 0.0
    for x, t in zip(logits.flatten().tolist(), target.flatten().tolist(), strict=True):
        p = 1 / (1 + math.exp(-x))
        p_t = p if t == 1 else 1 - p
        focal += -((1 - p_t) ** 2) * math.log(p_t)
        both, total = both + p * t, total + p + t
    return focal / logits.numel(), (2 * both + 1) / (total + 1)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_losses_equal_the_formula(share: float) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 2, 5, 4, generator=generator, dtype=torch.float64) * 4
    target = (torch.rand(3, 2, 5, 4, generator=generator) < share).double()
    plain = [_plain(logits[:, c], target[:, c]) for c in range(2)]
    assert focal_loss(logits[:, 0], target[:, 0]).item() == pytest.approx(plain[0][0], rel=1e-9)
    assert soft_dice(logits[:, 0].sigmoid(), target[:, 0]).item() == pytest.approx(
        plain[0][1], rel=1e-9
    )
    expected = np.mean([10 * focal - math.log(dice) for focal, dice in plain])
    assert focal_dice_loss(logits, target).item() == pytest.approx(expected, rel=1e-9)


def test_cross_entropy_of_one_sigmoid_is_that_of_a_softmax_over_two() -> None:
    generator = torch.Generator().manual_seed(0)
    two = torch.randn(2, 2, 3, 3, generator=generator, dtype=torch.float64)
    target = (torch.rand(2, 1, 3, 3, generator=generator) < 0.4).double()
    expected = torch.nn.functional.cross_entropy(two, target[:, 0].long())
    logit = two[:, 1:] - two[:, :1]
    assert cross_entropy_loss(logit, target).item() == pytest.approx(expected.item(), rel=1e-12)
    dice = soft_dice(logit.sigmoid(), target)
    assert cross_entropy_loss(logit, target, dice_weight=1.0).item() == pytest.approx(
        (expected + 1 - dice).item(), rel=1e-12
    )


@pytest.mark.parametrize("kind", ["focal_dice", "ce", "ce_dice"])
def test_loss_by_name_is_weighted_and_named(kind: str) -> None:
    logits, target = (
        torch.randn(1, 2, 4, 4, generator=torch.Generator().manual_seed(0)),
        torch.ones(1, 2, 4, 4),
    )
    whole, part = MaskLoss(kind), MaskLoss(kind, loss_weight=0.4)
    assert whole.loss_name == f"loss_{kind}"
    assert part(logits, target).item() == pytest.approx(0.4 * whole(logits, target).item())


def test_gradient_equals_finite_differences() -> None:
    logits = torch.randn(
        2,
        2,
        3,
        3,
        dtype=torch.float64,
        generator=torch.Generator().manual_seed(1),
        requires_grad=True,
    )
    target = (torch.rand(2, 2, 3, 3, generator=torch.Generator().manual_seed(2)) < 0.5).double()
    assert torch.autograd.gradcheck(lambda x: focal_dice_loss(x, target), (logits,))


def test_extreme_logits_stay_finite_in_half_precision() -> None:
    logits = (
        torch.tensor([[-60.0, 60.0], [60.0, -60.0]], dtype=torch.bfloat16)
        .reshape(1, 1, 2, 2)
        .requires_grad_()
    )
    loss = focal_dice_loss(logits, torch.tensor([[0.0, 1.0], [0.0, 1.0]]).reshape(1, 1, 2, 2))
    loss.backward()
    assert torch.isfinite(loss)
    assert logits.grad is not None and torch.isfinite(logits.grad).all()


def test_parity_with_the_reference_implementation() -> None:
    from tasks.segmentation.metrics import Counts, count_pixels, image_dice

    with np.load(PARITY) as file:
        reference = {name: file[name] for name in file}
    logits, target, soft = (
        torch.from_numpy(reference[name])[:, None] for name in ("logits", "target", "soft_target")
    )
    found = {
        "focal_gamma2": focal_loss(logits, target),
        "dice_coefficient_sigmoid": soft_dice(logits.sigmoid(), target),
        "mixed_alpha10": focal_dice_loss(logits, target),
        "mixed_alpha10_soft": focal_dice_loss(logits, soft),
    }
    for name, value in found.items():
        assert value.item() == pytest.approx(float(reference[name]), abs=1e-4), name
    masks = (logits.sigmoid() > 0.5).numpy(), (target > 0.5).numpy()
    hit, cut, true = count_pixels(*masks)[:, 0].T
    dice = image_dice(Counts(hit, cut, true, masks[0][0].size)).mean()
    assert dice == pytest.approx(json.loads(str(reference["meta_json"]))["get_dice_05"], abs=1e-6)
