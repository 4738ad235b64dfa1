"""Losses and their gradients against explicit float64 loops, published parity numbers, and two
processes against one."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from backbones.place.losses import (
    known_matches,
    pairwise_cosine,
    patch_pixels,
    pcma_query_loss,
    pcma_sentence_loss,
)
from backbones.shared.alignment.correlation import correlation_loss, standardise_rows
from backbones.shared.alignment.gather import gather, gather_padded
from backbones.shared.alignment.kernels import score_info_nce, symmetric_info_nce
from backbones.shared.alignment.kernels.options import Implementation


def unit(*shape: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return functional.normalize(
        torch.randn(*shape, generator=generator, dtype=torch.float64), dim=-1
    )


def normal(x: torch.Tensor) -> torch.Tensor:
    """Embeddings reach the losses normalised: gradients are compared in front of that."""
    return functional.normalize(x, dim=-1)


def same_value_and_gradient(
    own: Callable[..., torch.Tensor],
    reference: Callable[..., torch.Tensor],
    *inputs: torch.Tensor,
    tolerance: float = 1e-9,
) -> None:
    """Compare in float64 to `tolerance`, and the float32 value to 1e-4."""
    mine, theirs = ([x.clone().requires_grad_() for x in inputs] for _ in range(2))
    first, second = own(*mine), reference(*theirs)
    torch.testing.assert_close(first, second, atol=tolerance, rtol=tolerance)
    first.backward()
    second.backward()
    for a, b in zip(mine, theirs, strict=True):
        zero = torch.zeros_like(a)
        torch.testing.assert_close(
            a.grad if a.grad is not None else zero,
            b.grad if b.grad is not None else zero,
            atol=tolerance,
            rtol=1e-7,
        )
    single = own(*(x.float() for x in inputs))
    torch.testing.assert_close(single.double(), second.detach(), atol=1e-4, rtol=1e-4)


# ---------------------------------------------------------------------------------- reference forms
def attend(sentence: torch.Tensor, regions: torch.Tensor, tau: float) -> torch.Tensor:
    """<u, q> with q formed and normalised, region by region."""
    weights = torch.stack([torch.dot(sentence, region) / tau for region in regions]).softmax(0)
    pooled = sum(
        (weight * region for weight, region in zip(weights, regions, strict=True)),
        torch.zeros_like(sentence),
    )
    return torch.dot(sentence, pooled / pooled.norm())


def pcma_reference(
    sentences: torch.Tensor,
    keys: torch.Tensor,
    regions: torch.Tensor,
    tau2: float,
    tau3: float,
    duplicate: float | None,
) -> torch.Tensor:
    """PCMA as it is defined: loops over sentences and images."""
    pairs = [
        (i, j)
        for i, j in itertools.product(range(len(keys)), range(keys.shape[1]))
        if keys[i, j] >= 0
    ]

    def says_the_same(i: int, j: int, m: int) -> bool:
        for other in range(keys.shape[1]):
            if keys[m, other] < 0:
                continue
            cosine = float(torch.dot(sentences[i, j].detach(), sentences[m, other].detach()))
            if keys[m, other] == keys[i, j] or (duplicate is not None and cosine > duplicate):
                return True
        return False

    score = {
        (i, j, m): attend(sentences[i, j], regions[m], tau2) / tau3
        for i, j in pairs
        for m in range(len(keys))
    }
    counts = {
        (i, j, m): m == i or not says_the_same(i, j, m) for i, j in pairs for m in range(len(keys))
    }
    to_image = []
    for i, j in pairs:
        total = total_of([score[i, j, m].exp() for m in range(len(keys)) if counts[i, j, m]])
        to_image.append(-(score[i, j, i].exp() / total).log())
    to_text = []
    for m in range(len(keys)):
        own = [score[i, j, m].exp() for i, j in pairs if i == m]
        if own:
            total = total_of([score[i, j, m].exp() for i, j in pairs if counts[i, j, m]])
            to_text.append(-(total_of(own) / total).log())
    return (torch.stack(to_image).mean() + torch.stack(to_text).mean()) / 2


def total_of(terms: list[torch.Tensor]) -> torch.Tensor:
    """Add numbers one by one, as a loop does."""
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


def random_keys(images: int, sentences: int, seed: int, kinds: int = 4) -> torch.Tensor:
    """Keys with repeats within and between reports and between 1 and `sentences` sentences each."""
    generator = torch.Generator().manual_seed(seed)
    keys = torch.randint(0, kinds, (images, sentences), generator=generator)
    counts = torch.randint(1, sentences + 1, (images, 1), generator=generator)
    return keys.masked_fill(torch.arange(sentences) >= counts, -1)


# --------------------------------------------------------------------------------------------- PCMA
@pytest.mark.parametrize(
    "images, count, regions", [(1, 1, 1), (1, 3, 5), (2, 1, 16), (5, 4, 3), (7, 3, 2)]
)
@pytest.mark.parametrize("duplicate", [None, 0.3])
@pytest.mark.parametrize("form", ["reference", "chunked"])
def test_pcma_equals_the_loops(
    images: int, count: int, regions: int, duplicate: float | None, form: Implementation
) -> None:
    sentences, observed = unit(images, count, 6, seed=1), unit(images, regions, 6, seed=2)
    keys = random_keys(images, count, seed=3)
    options: dict[str, Any] = {"tau2": 0.1, "tau3": 0.1, "duplicate_cosine": duplicate}
    same_value_and_gradient(
        lambda u, p: pcma_sentence_loss(normal(u), keys, normal(p), **options, implementation=form),
        lambda u, p: pcma_reference(normal(u), keys, normal(p), 0.1, 0.1, duplicate),
        sentences * 1.3,
        observed * 0.8,
        tolerance=1e-8,
    )


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 6), st.integers(1, 5), st.integers(1, 6), st.integers(0, 10_000))
def test_pcma_equals_the_loops_for_any_shape(
    images: int, count: int, regions: int, seed: int
) -> None:
    sentences, observed = unit(images, count, 4, seed=seed), unit(images, regions, 4, seed=seed + 1)
    keys = random_keys(images, count, seed=seed, kinds=3)
    own = pcma_sentence_loss(sentences, keys, observed, tau2=0.2, tau3=0.3, duplicate_cosine=0.8)
    torch.testing.assert_close(own, pcma_reference(sentences, keys, observed, 0.2, 0.3, 0.8))


def test_masking_of_false_negatives_matters_and_padding_does_not() -> None:
    sentences, observed = unit(4, 2, 8, seed=1), unit(4, 3, 8, seed=2)
    distinct = torch.arange(8).view(4, 2)
    shared = distinct.clone()
    shared[1, 0] = shared[0, 0]
    options: dict[str, Any] = {"tau2": 0.1, "tau3": 0.1}
    plain = pcma_sentence_loss(sentences, distinct, observed, **options)
    assert pcma_sentence_loss(sentences, shared, observed, **options) < plain - 1e-3
    padded = functional.pad(sentences, (0, 0, 0, 3), value=0.7)
    with_padding = pcma_sentence_loss(
        padded, functional.pad(distinct, (0, 3), value=-1), observed, **options
    )
    torch.testing.assert_close(with_padding, plain)


def test_pcma_without_any_sentence_is_zero_with_a_gradient() -> None:
    observed = unit(3, 2, 4, seed=1).requires_grad_()
    loss = pcma_sentence_loss(
        torch.zeros(3, 1, 4, dtype=torch.float64),
        torch.full((3, 1), -1),
        observed,
        tau2=0.1,
        tau3=0.1,
    )
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert observed.grad is not None and not observed.grad.any()


def test_known_matches_by_key_and_by_cosine() -> None:
    keys = torch.tensor([[7, 8], [8, -1], [9, -1]])
    assert known_matches(keys)[0].tolist() == [[True, False, False], [True, True, False]]
    close = torch.zeros(3, 2, 2, dtype=torch.float64)
    close[..., 0] = 1.0
    close[1, 0] = torch.tensor([0.0, 1.0])
    assert known_matches(keys, close, 0.95)[0, 0].tolist() == [True, False, True]
    assert not known_matches(keys, close, 0.95)[1, 1].any()


def test_pcma_by_query_equals_the_loops() -> None:
    textual, visual, keys = (
        unit(4, 3, 5, seed=1),
        unit(4, 3, 5, seed=2),
        torch.tensor([[1, 2], [2, 1], [3, -1], [4, 5]]),
    )
    same = {(0, 1), (1, 0)}

    def reference(t: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        terms = []
        for k, i in itertools.product(range(3), range(4)):
            for a, b in ((v, t), (t, v)):
                logits = {
                    m: torch.dot(a[i, k], b[m, k]) / 0.2 for m in range(4) if (i, m) not in same
                }
                terms.append(torch.stack(list(logits.values())).logsumexp(0) - logits[i])
        return torch.stack(terms).mean()

    same_value_and_gradient(
        lambda t, v: pcma_query_loss(t, v, keys, tau3=0.2), reference, textual, visual
    )


def test_pairwise_cosine_leaves_out_the_diagonal() -> None:
    observed = unit(3, 4, 5, seed=1)
    pairs = [
        observed[i, a] @ observed[i, b]
        for i in range(3)
        for a in range(4)
        for b in range(4)
        if a != b
    ]
    torch.testing.assert_close(pairwise_cosine(observed), torch.stack(pairs).mean())
    assert float(pairwise_cosine(observed[:, :1])) == pytest.approx(0.0, abs=1e-12)


# ------------------------------------------------------------------------------------------ InfoNCE
@pytest.mark.parametrize("size", [1, 2, 7])
def test_info_nce_equals_cross_entropy(size: int) -> None:
    x, y = unit(size, 5, seed=1), unit(size, 5, seed=2)
    targets = torch.arange(size)

    def reference(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        logits = a @ b.T / 0.07
        return functional.cross_entropy(logits, targets) + functional.cross_entropy(
            logits.T, targets
        )

    same_value_and_gradient(lambda a, b: symmetric_info_nce(a, b, tau=0.07), reference, x, y)


def test_ignored_pairs_leave_and_positives_stay() -> None:
    logits = unit(3, 4, seed=5) * 3
    positives = torch.tensor([[1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]], dtype=torch.bool)
    ignored = torch.tensor([[1, 0, 1, 0], [1, 1, 0, 1], [0, 0, 0, 0]], dtype=torch.bool)

    def reference(x: torch.Tensor) -> torch.Tensor:
        first = (x[0, [0, 1, 3]].exp().sum() / x[0, :2].exp().sum()).log()
        return (first + 0.0) / 2  # the second row has nothing but its positive, the third has none

    same_value_and_gradient(lambda x: score_info_nce(x, positives, ignored), reference, logits)


# -------------------------------------------------------------------------------------- correlation
@pytest.mark.parametrize("patches, width, other", [(1, 4, 4), (2, 3, 5), (9, 4, 20), (12, 30, 6)])
@pytest.mark.parametrize("kind", ["frobenius", "pearson"])
def test_correlation_loss_equals_formed_matrices(
    patches: int, width: int, other: int, kind: str
) -> None:
    predicted, target = unit(3, patches, width, seed=1), unit(3, patches, other, seed=2)
    if patches > 2:
        target[1, 0] = (
            0.25  # a constant row: its correlation with everything, itself included, is 0
        )
    off = ~torch.eye(patches, dtype=torch.bool)

    def reference(p: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        if patches == 1:
            return p.sum() * 0 + t.sum() * 0
        losses = []
        for image in range(3):
            rows = [x[image] - x[image].mean(1, keepdim=True) for x in (p, t)]
            rows = [x / x.norm(dim=1, keepdim=True).clamp(min=1e-6) for x in rows]
            a, b = ((x @ x.T)[off] for x in rows)
            if kind == "frobenius":
                losses.append((a - b).square().mean())
            else:
                a, b = a - a.mean(), b - b.mean()
                spread = a.square().mean().clamp(min=1e-8) * b.square().mean().clamp(min=1e-8)
                losses.append(1 - (a * b).mean() / spread.sqrt())
        return torch.stack(losses).mean()

    def own(p: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return correlation_loss(standardise_rows(p), standardise_rows(t), kind)  # type: ignore[arg-type]

    if kind == "pearson" and patches == 2:
        pytest.skip("two equal entries have no spread: the clamp decides")
    same_value_and_gradient(own, reference, predicted, target, tolerance=1e-7)


def test_patch_pixels_are_the_pixels_of_the_patch() -> None:
    image = torch.arange(2 * 3 * 8 * 12, dtype=torch.float64).view(2, 3, 8, 12).sin()
    rows = patch_pixels(image, (2, 3))
    expected = standardise_rows(image[1].mean(0)[4:8, 8:12].reshape(1, -1))
    torch.testing.assert_close(rows[1, 5:6], expected)
    assert rows.shape == (2, 6, 16)


# -------------------------------------------------------------------------------------- distributed
def _global_losses(
    sentences: torch.Tensor, keys: torch.Tensor, observed: torch.Tensor, texts: torch.Tensor
) -> torch.Tensor:
    pcma = pcma_sentence_loss(
        gather_padded(sentences, 0.0), gather_padded(keys, -1), gather(observed), tau2=0.1, tau3=0.1
    )
    return pcma + symmetric_info_nce(gather(observed[:, 0]), gather(texts), tau=0.07)


def _inputs() -> list[torch.Tensor]:
    keys = torch.tensor(
        [[1, 2, -1], [3, -1, -1], [2, 4, 5], [6, -1, -1]]
    )  # the ranks differ in their sentences at most
    return [unit(4, 3, 5, seed=6), keys, unit(4, 2, 5, seed=7), unit(4, 5, seed=8)]


def _rank(rank: int, port: int, out: str) -> None:
    import torch.distributed as dist

    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    sentences, keys, observed, texts = (x[2 * rank : 2 * rank + 2].clone() for x in _inputs())
    width = int((keys >= 0).sum(1).max())
    inputs = [sentences[:, :width].clone(), observed, texts]
    for x in inputs:
        x.requires_grad_()
    loss = _global_losses(inputs[0], keys[:, :width], inputs[1], inputs[2])
    loss.backward()
    gradients = [x.grad / 2 for x in inputs if x.grad is not None]  # DDP's average
    torch.save([loss.detach(), *gradients], f"{out}/{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_equal_one(tmp_path: Path) -> None:
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(_rank, (port, str(tmp_path)), nprocs=2)
    sentences, keys, observed, texts = _inputs()
    inputs = [x.requires_grad_() for x in (sentences, observed, texts)]
    loss = _global_losses(inputs[0], keys, inputs[1], inputs[2])
    loss.backward()
    ranks = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1)]
    for found in ranks:
        torch.testing.assert_close(found[0], loss.detach())
    ranks[0][1] = functional.pad(ranks[0][1], (0, 0, 0, 1))
    for number, x in enumerate(inputs, 1):
        torch.testing.assert_close(torch.cat([ranks[0][number], ranks[1][number]]), x.grad)


# ------------------------------------------------------------------------------------------ imports
@pytest.mark.parametrize("module", ["backbones.shared.alignment.kernels", "backbones.place.model"])
def test_imports_without_openmmlab(module: str) -> None:
    code = (
        "import sys\nfor name in ('mmcv', 'mmseg', 'mmdet', 'mmengine'):\n    sys.modules[name] "
        f"= None\nimport {module}\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    "module",
    [
        "backbones.shared.pretraining.trainer",
        "backbones.shared.alignment",
        "backbones.place",
        "backbones.gloria",
        "backbones.mgca",
        "backbones.shared.weights",
    ],
)
def test_declarations_import_no_torch(module: str) -> None:
    code = (
        f"import sys, {module}\nassert not {{'torch', 'pandas', 'numpy', 'timm'}} & "
        "set(sys.modules), 'heavy import'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
