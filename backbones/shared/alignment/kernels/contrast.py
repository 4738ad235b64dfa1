"""InfoNCE over large batches: one or several positives by id, negatives left out, plain, tiled or
in Triton."""

from __future__ import annotations

import torch
from torch import Tensor

from backbones.shared.alignment.kernels import reference, tiled
from backbones.shared.alignment.kernels.device import choose
from backbones.shared.alignment.kernels.options import Implementation
from bench.core.errors import SettingError

MAX_TRITON_WIDTH = 1024
PLAIN_BYTES = 64 << 20
"""Logits up to this size (4096 x 4096 in float32) are stored whole: tiles save no memory worth
having there, and cost time."""


def info_nce(
    queries: Tensor,
    keys: Tensor,
    *,
    tau: float | Tensor,
    query_ids: Tensor | None = None,
    key_ids: Tensor | None = None,
    ignore: Tensor | None = None,
    implementation: Implementation = "auto",
) -> Tensor:
    """Return the mean over queries of -log(sum of exp over the positives / sum of exp over all that
    are not ignored).

    queries [N, D] and keys [M, D], already normalised; logits are <q, k> / tau. A key is positive
    where its id equals the query's (ids [N], [M] of integers; default: row i belongs to row i).
    `ignore` [N, M] bool: pairs that are no negatives; a positive is never ignored. A query without
    a positive is left out. (van den Oord et al. 2018, arXiv 1807.03748; several positives as in
    MIL-NCE, arXiv 1912.06430.) `implementation`: reference | tiled | triton; auto takes the plain
    form where the logits are small, else goes by device.
    """
    return _mean_loss(
        *_log_sums(queries, keys, tau, query_ids, key_ids, ignore, implementation, columns=False)[
            :2
        ]
    )


def symmetric_info_nce(
    queries: Tensor,
    keys: Tensor,
    *,
    tau: float | Tensor,
    query_ids: Tensor | None = None,
    key_ids: Tensor | None = None,
    ignore: Tensor | None = None,
    implementation: Implementation = "auto",
) -> Tensor:
    """Return `info_nce` from queries to keys plus from keys to queries, both in one pass over the
    logits."""
    sums = _log_sums(queries, keys, tau, query_ids, key_ids, ignore, implementation, columns=True)
    return _mean_loss(*sums[:2]) + _mean_loss(*sums[2:])


def score_info_nce(
    scores: Tensor, positives: Tensor | None = None, ignore: Tensor | None = None
) -> Tensor:
    """Return `info_nce` of scores [N, M] that are no products of embeddings, temperature included.

    positives, ignore [N, M] bool; by default row i belongs to column i. A row without a positive is
    left out; with none left the loss is 0.
    """
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
    if positives is None:
        positives = torch.eye(*scores.shape, dtype=torch.bool, device=scores.device)
    candidates = torch.ones_like(positives) if ignore is None else positives | ~ignore
    return _mean_loss(
        reference.masked_logsumexp(scores, candidates, 1),
        reference.masked_logsumexp(scores, positives, 1),
    )


def _log_sums(
    queries: Tensor,
    keys: Tensor,
    tau: float | Tensor,
    query_ids: Tensor | None,
    key_ids: Tensor | None,
    ignore: Tensor | None,
    implementation: str,
    columns: bool,
) -> tuple[Tensor, ...]:
    _check_ids(queries, keys, query_ids, key_ids)
    form = _form(implementation, queries, keys)
    scaled = (queries / tau).to(keys.dtype)
    if form == "reference":
        return reference.log_sums(scaled, keys, query_ids, key_ids, ignore)
    rows = torch.arange(len(queries), device=queries.device)
    ids = (rows if query_ids is None else query_ids, rows if key_ids is None else key_ids)
    if form == "tiled":
        return tiled.log_sums(scaled, keys, *ids, ignore, columns)
    from backbones.shared.alignment.kernels import triton_contrast

    return triton_contrast.log_sums(scaled, keys, *ids, ignore, columns)


def _form(implementation: str, queries: Tensor, keys: Tensor) -> str:
    wide = (
        torch.promote_types(queries.dtype, torch.float32) == queries.dtype
    )  # the plain form computes in the type given
    if (
        implementation == "auto"
        and wide
        and len(queries) * len(keys) * queries.itemsize <= PLAIN_BYTES
    ):
        return "reference"
    return choose(
        implementation,
        ("reference", "tiled", "triton"),
        queries,
        queries.shape[1] <= MAX_TRITON_WIDTH,
    )


def _check_ids(
    queries: Tensor, keys: Tensor, query_ids: Tensor | None, key_ids: Tensor | None
) -> None:
    lacking = (query_ids is None) + (key_ids is None)
    if lacking == 1 or (lacking == 2 and len(queries) != len(keys)):
        raise SettingError(
            f"{len(queries)} queries and {len(keys)} keys without ids of both.",
            "Give query_ids and key_ids, or pair the rows one to one.",
        )


def _mean_loss(total: Tensor, own: Tensor) -> Tensor:
    has_positive = own != float("-inf")  # not a number must not pass for a row without a positive
    losses = torch.where(has_positive, total - own, 0.0)
    return losses.sum() / has_positive.sum().clamp_min(1)
