"""EGMA's losses: the numbers of the published code, an independent float64 reference, and what is
corrected."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from backbones.egma.losses import (
    GazeRule,
    gaze_losses,
    instance_loss,
    instance_scores,
    multilabel_loss,
    pooling_losses,
)

PARITY = Path(__file__).parents[2] / "parity" / "egma"
RULES = (1, 2, 3, 4, 5)


def published(name: str) -> Any:
    return torch.load(PARITY / f"{name}.pt", weights_only=True)


def padded(vectors: torch.Tensor, counts: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return vectors [sum of counts, ...] as [B, S, ...] with zeros, and their mask [B, S]."""
    rows = torch.nn.utils.rnn.pad_sequence(list(vectors.split(counts)), batch_first=True)
    mask = torch.arange(rows.shape[1]) < torch.tensor(counts)[:, None]
    return rows, mask


# ------------------------------------------------------------------------------------------- parity
@pytest.mark.parametrize("number", range(3))
def test_instance_and_gaze_losses_are_those_of_the_published_code(number: int) -> None:
    case = published("losses")[number]
    patches = case["patches"].requires_grad_()
    flat = case["sentences"].requires_grad_()
    counts, scale = case["sentences_per_image"], case["scale"]
    sentences, mask = padded(flat, counts)
    best_sentence, best_patch = instance_scores(patches, sentences, mask, published=True)
    torch.testing.assert_close(scale * best_sentence, case["image_to_text"], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(scale * best_patch, case["text_to_image"], rtol=1e-5, atol=1e-6)
    instance = instance_loss(scale * best_sentence, scale * best_patch, published=True)
    torch.testing.assert_close(instance, case["instance_loss"], rtol=1e-5, atol=0)
    has_gaze = torch.tensor(case["has_gaze"], dtype=torch.bool)
    labels = padded(case["maps_small"], counts)[0] > 0
    scores = scale * patches @ sentences.transpose(1, 2)
    gazed = mask & has_gaze[:, None]
    each = gaze_losses(scores, labels, gazed, case["alpha"])
    gaze = each.sum() / has_gaze.sum().clamp(min=1)
    torch.testing.assert_close(gaze, torch.as_tensor(case["gaze_loss"]) + 0.0, rtol=1e-5, atol=0)
    total = instance + gaze
    if not all(has_gaze):
        # The published code takes all images as soon as one has no gaze, and for an image of one
        # sentence the sum of squares between it and what it pools.
        within = pooling_losses(patches, sentences, mask, scale, GazeRule())
        for image in np.flatnonzero(np.array(counts) == 1):
            cosines = patches[image] @ sentences[image, 0]
            weights = GazeRule().alone(cosines, torch.ones_like(cosines, dtype=torch.bool))
            apart = (weights @ patches[image] - sentences[image, 0]).square().sum()
            within = within + 0.3 * apart * functional.one_hot(torch.tensor(image), len(counts))
        fine = within.mean()
        torch.testing.assert_close(fine, case["fine_grained_loss"], rtol=1e-5, atol=0)
        total = total + fine
    total.backward()
    for own, theirs in ((patches, "grad_patches"), (flat, "grad_sentences")):
        assert own.grad is not None
        scaled = float(case[theirs].abs().max())
        torch.testing.assert_close(own.grad, case[theirs], rtol=1e-5, atol=1e-5 * scaled)


def test_the_multilabel_loss_is_that_of_the_published_code() -> None:
    case = published("multilabel_cross_entropy")
    losses = multilabel_loss(case["scores"], case["labels"])
    torch.testing.assert_close(losses, case["loss"], rtol=1e-5, atol=0)
    assert not case["labels"][-1].any(), "a row without a positive is among them"


@pytest.mark.parametrize("number", RULES)
def test_the_gaze_rules_are_those_of_the_published_code(number: int) -> None:
    case = published("gaze_pooling")
    expected = case[f"variant{number}"]
    patches, sentences, gaze = case["patches"], case["sentences"], case["gaze"]
    rule = GazeRule(number, published=True)
    cosines = patches @ sentences.T
    every = torch.ones_like(cosines, dtype=torch.bool)
    of_text = rule.weights(cosines.T, gaze, every.T) @ patches
    of_image = rule.weights(cosines, gaze.T, every, of_patches=True) @ sentences
    torch.testing.assert_close(of_text, expected["text_from_image"], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(of_image, expected["image_from_text"], rtol=1e-5, atol=1e-6)
    mask = torch.ones(1, 4, dtype=torch.bool)
    loss = pooling_losses(patches[None], sentences[None], mask, case["scale"], rule, gaze[None])
    torch.testing.assert_close(loss[0], expected["loss"], rtol=1e-5, atol=0)


# ------------------------------------------------------------------- an independent float64 reference
def unit(generator: torch.Generator, *shape: int) -> torch.Tensor:
    vectors = torch.randn(*shape, dtype=torch.float64, generator=generator)
    return functional.normalize(vectors, dim=-1)


def cross_entropy(rows: list[list[float]]) -> float:
    """Return the mean over rows of -log softmax at the diagonal, in plain numbers."""
    errors = [
        math.log(sum(math.exp(value) for value in row)) - row[n] for n, row in enumerate(rows)
    ]
    return sum(errors) / len(errors)


def transposed(rows: list[list[float]]) -> list[list[float]]:
    return [list(column) for column in zip(*rows, strict=True)]


def slow_instance(patches: torch.Tensor, reports: list[torch.Tensor], scale: float) -> float:
    best_sentence, best_patch = [], []
    for image in patches:
        matrices = [scale * (image @ report.T) for report in reports]
        best_sentence.append([float(matrix.max(1).values.mean()) for matrix in matrices])
        best_patch.append([float(matrix.max(0).values.mean()) for matrix in matrices])
    return (cross_entropy(best_sentence) + cross_entropy(transposed(best_patch))) / 2


def test_the_corrected_instance_loss_asks_both_ways_and_leaves_padding_out() -> None:
    generator = torch.Generator().manual_seed(0)
    patches, counts = unit(generator, 3, 9, 16), [1, 4, 2]
    flat = unit(generator, sum(counts), 16)
    flat[0] = -patches[0].mean(0)  # below 0 everywhere: a padded zero would be the best sentence
    flat[0] /= flat[0].norm()
    sentences, mask = padded(flat, counts)
    scores = instance_scores(patches, sentences, mask)
    loss = instance_loss(*(10 * each for each in scores))
    expected = slow_instance(patches, list(flat.split(counts)), 10)
    assert float(loss) == pytest.approx(expected, rel=1e-9)
    wide = functional.pad(sentences, (0, 0, 0, 3)), functional.pad(mask, (0, 3))
    assert float(instance_loss(*(10 * each for each in instance_scores(patches, *wide)))) == (
        pytest.approx(expected, rel=1e-9)
    )
    one_sided = instance_scores(patches, sentences, mask, published=True)
    assert float(instance_loss(*one_sided, published=True)) != pytest.approx(expected, rel=1e-3)


def test_blocks_of_images_give_the_same_scores_and_gradients(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    generator = torch.Generator().manual_seed(1)
    patches, sentences = unit(generator, 5, 6, 8), unit(generator, 5, 3, 8)
    mask = torch.arange(3) < torch.tensor([3, 1, 2, 3, 2])[:, None]
    results = []
    for largest in (1 << 24, 200):  # 200 numbers: two images at a time
        monkeypatch.setattr("backbones.egma.losses._LARGEST_BLOCK", largest)
        inputs = patches.clone().requires_grad_(), sentences.clone().requires_grad_()
        loss = instance_loss(*instance_scores(*inputs, mask))
        results.append((loss, *torch.autograd.grad(loss, inputs)))
    for whole, blocked in zip(*results, strict=True):
        torch.testing.assert_close(whole, blocked, rtol=1e-12, atol=1e-15)


def slow_multilabel(scores: torch.Tensor, labels: torch.Tensor) -> float:
    above = sum(math.exp(float(x)) for x, y in zip(scores, labels, strict=True) if not y)
    below = sum(math.exp(-float(x)) for x, y in zip(scores, labels, strict=True) if y)
    return math.log1p(above) + math.log1p(below)


def test_the_gaze_loss_is_the_mean_over_sentences_and_patches_with_gaze() -> None:
    generator = torch.Generator().manual_seed(2)
    scores = 5 * torch.randn(2, 6, 4, dtype=torch.float64, generator=generator)
    labels = torch.rand(2, 4, 6, generator=generator) < 0.4
    gazed = torch.tensor([[True, True, False, True], [False] * 4])
    losses = gaze_losses(scores, labels, gazed, 0.8)
    rows = [0, 1, 3]
    of_sentences = [slow_multilabel(scores[0, :, row], labels[0, row]) for row in rows]
    of_patches = [slow_multilabel(scores[0, p, rows], labels[0, rows, p]) for p in range(6)]
    expected = 0.8 * sum(of_sentences) / 3 + 0.2 * sum(of_patches) / 6
    assert losses.tolist() == [pytest.approx(expected, rel=1e-9), 0.0]


def slow_weights(scores: list[float], gaze: list[float] | None, number: int) -> list[float]:
    """Return the weights of one row by the words of the paper, brackets put right."""

    def scaled(values: list[float]) -> list[float]:
        low, high = min(values), max(values)
        return [(value - low) / (high - low) if high > low else 0.0 for value in values]

    def above(values: list[float], limit: float) -> list[float]:
        return [0.0 if value < limit else value for value in values]

    def normed(values: list[float]) -> list[float]:
        raised = [value + 0.01 for value in values]
        return [value / sum(raised) for value in raised]

    r = scaled(scores)
    if gaze is None:
        return normed(above(r, 2 / 7))
    pairs = list(zip(r, gaze, strict=True))
    if number == 1:
        return [(a + g) / 2 for a, g in zip(normed(above(r, 1 / 7)), gaze, strict=True)]
    if number == 2:
        return normed(above([(a + g) / 2 for a, g in pairs], 3 / 7))
    if number == 3:
        return normed([(a + g) / 2 for a, g in zip(above(r, 2 / 7), gaze, strict=True)])
    if number == 4:
        times = [score * g for score, g in zip(scores, gaze, strict=True)]
        return normed(above(scaled(times), 2 / 7))
    return normed(
        [0.8 * a + 0.2 * g for a, g in zip(above(r, 2 / 7), above(gaze, 2 / 7), strict=True)]
    )


def slow_pooling(
    patches: torch.Tensor, sentences: torch.Tensor, gaze: torch.Tensor | None, number: int
) -> float:
    """Return the loss of one image, pooled row by row."""
    cosines = patches @ sentences.T
    total = 0.0
    turned = None if gaze is None else gaze.T
    sides = ((cosines.T, patches, sentences, gaze), (cosines, sentences, patches, turned))
    shares = (0.3, 0.7) if gaze is None else (0.8, 0.2)
    for share, (scores, pooled, keys, maps) in zip(shares, sides, strict=True):
        rows = []
        for place, row in enumerate(scores):
            heat = None if maps is None else maps[place].tolist()
            weights = torch.tensor(slow_weights(row.tolist(), heat, number), dtype=torch.float64)
            rows.append((10 * (weights @ pooled) @ keys.T).tolist())
        total += share * (cross_entropy(rows) + cross_entropy(transposed(rows))) / 2
    return total


@pytest.mark.parametrize("number", RULES)
def test_the_pooling_loss_of_images_with_and_without_gaze(number: int) -> None:
    generator = torch.Generator().manual_seed(3)
    patches, counts = unit(generator, 4, 7, 16), [3, 2, 1, 4]
    flat = unit(generator, sum(counts), 16)
    sentences, mask = padded(flat, counts)
    gaze = torch.rand(4, 4, 7, dtype=torch.float64, generator=generator) * mask[:, :, None]
    gaze[:, :, 2] = 0  # nobody looked there
    gaze[1] = 0
    scale = torch.tensor(10.0, dtype=torch.float64)
    losses = pooling_losses(patches, sentences, mask, scale, GazeRule(number), gaze)
    texts = flat.split(counts)
    expected = [
        slow_pooling(patches[0], texts[0], gaze[0, :3], number),
        slow_pooling(patches[1], texts[1], None, number),
        0.0,
        slow_pooling(patches[3], texts[3], gaze[3], number),
    ]
    assert losses.tolist() == pytest.approx(expected, rel=1e-9)


def test_a_threshold_replaces_that_of_every_rule() -> None:
    scores = torch.linspace(0, 1, 11, dtype=torch.float64)
    every = torch.ones(11, dtype=torch.bool)
    for rule in (GazeRule(3, 0.5), GazeRule(1, 0.5)):
        assert int((rule.alone(scores, every) > 0.01).sum()) == 6


def test_rows_that_are_all_alike_have_even_weights_and_no_nan() -> None:
    scores = torch.full((2, 5), 0.3, requires_grad=True)
    every = torch.ones(2, 5, dtype=torch.bool)
    weights = GazeRule().alone(scores, every)
    torch.testing.assert_close(weights, torch.full((2, 5), 0.2))
    weights.square().sum().backward()
    assert scores.grad is not None and bool(scores.grad.isfinite().all())
