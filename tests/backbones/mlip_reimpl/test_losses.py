"""The losses that `mlip_reimpl` adds, against float64 references written row by row."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from backbones.mlip_reimpl.losses import (
    category_loss,
    divergence_loss,
    draw_alike,
    telling_apart,
    with_definitions,
)


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    rows = np.random.default_rng(seed).normal(size=shape)
    return torch.from_numpy(rows / np.linalg.norm(rows, axis=-1, keepdims=True))


def nce(one: np.ndarray, other: np.ndarray, tau: float) -> float:
    """Return the contrast of rows in both directions."""
    total = 0.0
    for rows, columns in ((one, other), (other, one)):
        for number, row in enumerate(rows):
            logits = [float(row @ column) / tau for column in columns]
            total -= logits[number] - math.log(sum(map(math.exp, logits)))
    return total / len(one)


@pytest.mark.parametrize("delta", [0.9, -0.2])
def test_divergence_equals_its_equation_pair_by_pair(delta: float) -> None:
    images, texts, moved_images, moved_texts = (unit(5, 4, seed=seed) for seed in range(4))
    moved_images[0] = images[0]  # one that has not moved is nearer than any delta
    found = divergence_loss(
        images, texts, moved_images, moved_texts, tau=0.1, beta=0.3, delta=delta
    )
    x, y, moved_x, moved_y = (t.numpy() for t in (images, texts, moved_images, moved_texts))
    expected = (nce(moved_x, y, 0.1) + nce(x, moved_y, 0.1)) / 2
    for vectors, moved in ((x, moved_x), (y, moved_y)):
        near = [max(0.0, float(a @ b) - delta) for a, b in zip(vectors, moved, strict=True)]
        expected += 0.3 * sum(near) / len(near)
    assert float(found) == pytest.approx(expected, rel=1e-9)


def test_words_attend_to_the_definitions_that_their_report_names() -> None:
    words = unit(3, 4, 5)
    definitions = unit(6, 5, seed=1)
    mask = torch.tensor([[True] * 4, [True, True, False, False], [True] * 4])
    named = torch.zeros(3, 6, dtype=torch.bool)
    named[0, [1, 4]] = True
    named[1, 2] = True
    found = with_definitions(words, mask, definitions, named, tau=0.2)
    for study, names in ((0, [1, 4]), (1, [2])):
        for place in range(4):
            word = words[study, place].numpy()
            if not mask[study, place]:
                assert torch.equal(found[study, place], words[study, place])
                continue
            rows = definitions[names].numpy()
            weights = np.exp(rows @ word / 0.2)
            mixed = word + weights @ rows / weights.sum()
            expected = mixed / np.linalg.norm(mixed)
            np.testing.assert_allclose(found[study, place].numpy(), expected, rtol=1e-9)
    assert torch.equal(found[2], words[2])  # names nothing: its words stay, to the last bit


def test_words_of_a_report_without_a_definition_have_finite_gradients() -> None:
    words = unit(2, 3, 4).requires_grad_()
    named = torch.tensor([[True, False], [False, False]])
    everything = torch.ones(2, 3, dtype=torch.bool)
    with_definitions(words, everything, unit(2, 4, seed=1), named, tau=0.1).sum().backward()
    assert words.grad is not None and bool(words.grad.isfinite().all())


def test_categories_draw_both_views_to_the_assignment_of_the_definitions() -> None:
    image, text, target = (unit(6, 4, seed=seed) @ unit(3, 4, seed=9).T for seed in range(3))
    found = category_loss(image, text, target, tau=0.2, epsilon=0.05, iterations=3)
    codes = np.exp((target.numpy() - target.numpy().max()) / 0.05).T
    codes /= codes.sum()
    for _ in range(3):
        codes /= codes.sum(1, keepdims=True) * 3
        codes /= codes.sum(0, keepdims=True) * 6
    codes = (codes / codes.sum(0, keepdims=True)).T
    expected = 0.0
    for scores in (image.numpy(), text.numpy()):
        for code, row in zip(codes, scores / 0.2, strict=True):
            expected -= float(code @ (row - math.log(np.exp(row).sum()))) / 6
    assert float(found) == pytest.approx(expected / 2, rel=1e-9)


def test_no_study_with_a_finding_gives_a_category_loss_of_0() -> None:
    scores = torch.zeros(0, 3, requires_grad=True)
    loss = category_loss(scores, scores, scores, tau=0.2, epsilon=0.05, iterations=3)
    assert loss.item() == 0
    loss.backward()


def test_negatives_are_drawn_in_proportion_to_their_similarity() -> None:
    similarity = torch.tensor([[0.0, 1.0, 2.0, 9.0]]).double().repeat(40_000, 1)
    allowed = torch.tensor([[True, True, True, False]]).expand(40_000, 4)
    torch.manual_seed(0)
    shares = torch.bincount(draw_alike(similarity, allowed), minlength=4) / 40_000
    expected = similarity[0, :3].softmax(0)
    torch.testing.assert_close(shares[:3].double(), expected, atol=0.01, rtol=0)
    assert shares[3] == 0


def test_telling_apart_counts_both_kinds_alike() -> None:
    logits = torch.tensor([2.0, -1.0, 0.5, 0.0], dtype=torch.float64)
    positive = torch.tensor([True, False, False, False])

    def loss(logit: float, sign: int) -> float:
        return math.log(1 + math.exp(-sign * logit))

    expected = (loss(2, 1) + (loss(-1, -1) + loss(0.5, -1) + loss(0, -1)) / 3) / 2
    assert float(telling_apart(logits, positive)) == pytest.approx(expected, rel=1e-9)
    alone = float(telling_apart(logits[1:2], positive[1:2]))
    assert alone == pytest.approx(loss(-1, -1), rel=1e-9)
    assert float(telling_apart(logits[:0], positive[:0])) == 0
