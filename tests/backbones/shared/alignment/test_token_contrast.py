"""Token contrast inside a pair: against a loop over pairs and words; what the quirks change."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from backbones.shared.alignment.token_contrast import clipped_weights, cls_attention, token_contrast


def inputs(lengths: tuple[int, ...] = (6, 3, 1), seed: int = 0) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    words, patches = (
        F.normalize(
            torch.randn(len(lengths), n, 8, generator=generator, dtype=torch.float64), dim=-1
        )
        for n in (max(lengths), 7)
    )
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    weights = torch.rand(mask.shape, generator=generator, dtype=torch.float64) * mask
    return words, patches, mask, weights / weights.sum(1, keepdim=True)


def one_side(tokens: torch.Tensor, others: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    attended = F.normalize((tokens @ others.T / 0.1).softmax(-1) @ others, dim=-1)
    logits, target = tokens @ attended.T / 0.1, torch.arange(len(tokens))
    losses = F.cross_entropy(logits, target, reduction="none") + F.cross_entropy(
        logits.T, target, reduction="none"
    )
    return (losses * weights).sum() / 2


def test_equals_the_loop_over_pairs_without_their_padding() -> None:
    words, patches, mask, weights = inputs()
    expected = torch.zeros((), dtype=torch.float64)
    for word, patch, real, weight in zip(words, patches, mask, weights, strict=True):
        expected += one_side(word[real], patch, weight[real]) + one_side(
            patch, word[real], torch.full((7,), 1 / 7, dtype=torch.float64)
        )
    torch.testing.assert_close(token_contrast(words, patches, mask, weights), expected / len(words))


def test_padding_changes_nothing_by_default_and_does_under_quirks() -> None:
    words, patches, mask, weights = inputs()
    other = torch.where(mask[..., None], words, F.normalize(words + 1, dim=-1))
    plain, quirky = (
        [token_contrast(w, patches, mask, weights, quirks=q) for w in (words, other)]
        for q in (False, True)
    )
    assert torch.equal(plain[0], plain[1])
    assert not torch.isclose(quirky[0], quirky[1])


def test_a_report_without_words_has_a_finite_gradient_and_no_part() -> None:
    words, patches, mask, weights = inputs((4, 0))
    leaf = patches.requires_grad_()
    loss = token_contrast(words, leaf, mask, weights.nan_to_num())
    loss.backward()
    assert leaf.grad is not None
    assert leaf.grad.isfinite().all()
    assert not leaf.grad[1].any()


def test_weights_are_clipped_to_the_quantiles_of_the_words() -> None:
    attention = torch.arange(1.0, 13.0)[None]
    mask = torch.arange(12)[None] < 11
    weights = clipped_weights(attention, mask)
    expected = torch.arange(1.0, 12.0).clamp(2.0, 10.0)
    torch.testing.assert_close(weights[0, :11], expected / expected.sum())
    assert weights[0, 11] == 0


def test_quirks_shift_the_attention_by_one_token() -> None:
    attention = torch.rand(2, 3, 5, 5)
    right, shifted = (cls_attention(attention[:, :, 0], quirks=quirks) for quirks in (False, True))
    torch.testing.assert_close(right, attention[:, :, 0].mean(1))
    assert torch.equal(shifted[:, :-1], right[:, 1:])
    assert not shifted[:, -1].any()
