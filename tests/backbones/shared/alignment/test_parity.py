"""Losses and gradients of the published codes, on their recorded inputs, to 1e-4."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from backbones.shared.alignment.kernels import (
    Pooling,
    attention_pooled_similarity,
    info_nce,
    region_attention,
    symmetric_info_nce,
)
from backbones.shared.alignment.kernels.options import Implementation
from backbones.shared.alignment.prototypes import balance, prototype_loss
from backbones.shared.alignment.token_contrast import clipped_weights, token_contrast

PARITY = Path(__file__).parents[3] / "parity"
CLOSE: dict[str, Any] = {"rtol": 1e-4, "atol": 1e-4}


def load(name: str) -> tuple[dict[str, torch.Tensor], dict]:
    with np.load(PARITY / f"{name}.npz") as archive:
        arrays = {
            key: torch.from_numpy(archive[key])
            for key in archive.files
            if archive[key].dtype.kind in "fiub"
        }
        return arrays, json.loads(str(archive["meta_json"]))


def named(name: str) -> Callable[[str], str]:
    """Return a message of a comparison that says what was compared."""
    return lambda text: f"{name}: {text}"


def leaf(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.clone().requires_grad_()


@pytest.mark.parametrize("implementation", ["reference", "tiled"])
def test_gloria_global_loss(implementation: Implementation) -> None:
    data, meta = load("gloria_global_loss")
    image, text = leaf(data["cnn_code"]), leaf(data["rnn_code"])
    a, b = F.normalize(image, dim=1), F.normalize(text, dim=1)
    to_text, to_image = (
        info_nce(x, y, tau=1 / meta["temp3"], implementation=implementation)
        for x, y in ((a, b), (b, a))
    )
    torch.testing.assert_close(to_text, data["loss0"], **CLOSE)
    torch.testing.assert_close(to_image, data["loss1"], **CLOSE)
    both = symmetric_info_nce(a, b, tau=1 / meta["temp3"], implementation=implementation)
    for mine, name in zip(
        torch.autograd.grad(both, (image, text)), ("grad_cnn", "grad_rnn"), strict=True
    ):
        torch.testing.assert_close(mine, data[name], **CLOSE)


def test_gloria_attention() -> None:
    data, meta = load("gloria_attention")
    regions = data["context"].flatten(2).transpose(1, 2)
    every = region_attention(
        data["query"].transpose(1, 2), regions, Pooling(attention_scale=meta["temp1"])
    )
    own = torch.stack([every[pair, :, pair] for pair in range(len(every))])
    torch.testing.assert_close(own.view_as(data["attn"]), data["attn"], **CLOSE)
    torch.testing.assert_close((own @ regions).transpose(1, 2), data["weighted_context"], **CLOSE)


def test_gloria_attention_maps() -> None:
    data, meta = load("gloria_local_loss")
    regions = data["img_features"].flatten(2).transpose(1, 2)
    for pair, length in enumerate(meta["cap_lens"]):
        words, expected = (
            data["words_emb"][pair : pair + 1, :, :length].transpose(1, 2),
            data[f"att_maps_{pair}"],
        )
        mine = region_attention(
            words, regions[pair : pair + 1], Pooling(attention_scale=meta["temp1"])
        )
        torch.testing.assert_close(mine.view_as(expected), expected, **CLOSE)


@pytest.mark.parametrize("implementation", ["reference", "chunked"])
@pytest.mark.parametrize("chunk_bytes", [1 << 20, 1000])
def test_gloria_local_loss(implementation: Implementation, chunk_bytes: int) -> None:
    data, meta = load("gloria_local_loss")
    image, words = leaf(data["img_features"]), leaf(data["words_emb"])
    similarity = attention_pooled_similarity(
        words.transpose(1, 2),
        image.flatten(2).transpose(1, 2),
        text_mask=torch.arange(words.shape[2]) < torch.tensor(meta["cap_lens"])[:, None],
        attention_scale=meta["temp1"],
        score_scale=meta["temp2"],
        similarity_scale=meta["temp3"],
        implementation=implementation,
        chunk_bytes=chunk_bytes,
        keep_bytes=chunk_bytes,
    )
    target = torch.arange(len(image))
    losses = F.cross_entropy(similarity.T, target), F.cross_entropy(similarity, target)
    torch.testing.assert_close(losses[0], data["loss0"], **CLOSE)
    torch.testing.assert_close(losses[1], data["loss1"], **CLOSE)
    for mine, name in zip(
        torch.autograd.grad(losses[0] + losses[1], (image, words)),
        ("grad_img", "grad_words"),
        strict=True,
    ):
        torch.testing.assert_close(mine, data[name], **CLOSE)


def test_mgca_losses() -> None:
    data, meta = load("mgca_losses")
    settings = meta["hparams"]
    raw = [leaf(data[name]) for name in ("img_global", "img_local", "report_global", "word_local")]
    image, patches, report, words = (F.normalize(tensor, dim=-1) for tensor in raw)
    prototypes = leaf(F.normalize(data["prototype_weight_before"], dim=1))
    torch.testing.assert_close(prototypes.detach(), data["prototype_weight_after"], **CLOSE)
    mask = data["word_attn"] > 0
    ita = symmetric_info_nce(image, report, tau=settings["softmax_temperature"])
    weights = clipped_weights(data["word_attn"], mask)
    local = token_contrast(
        words, patches, mask, weights, tau=settings["local_temperature"], quirks=True
    )
    proto = prototype_loss(
        image @ prototypes.T,
        report @ prototypes.T,
        tau=settings["proto_temperature"],
        epsilon=settings["epsilon"],
        iterations=settings["sinkhorn_iterations"],
    )
    for mine, name in ((ita, "loss_ita"), (local, "loss_local"), (proto, "loss_proto")):
        torch.testing.assert_close(mine, data[name], **CLOSE)
    names = (
        "grad_img_global",
        "grad_img_local",
        "grad_report_global",
        "grad_word_local",
        "grad_proto",
    )
    gradients = torch.autograd.grad(ita + local + proto, [*raw, prototypes])
    for mine, name in zip(gradients, names, strict=True):
        torch.testing.assert_close(mine, data[name], msg=named(name), **CLOSE)


def test_mgca_sinkhorn() -> None:
    data, meta = load("mgca_sinkhorn")
    torch.testing.assert_close(balance(data["Q"], iterations=meta["iters"]), data["out"], **CLOSE)
