"""Alignment losses on 2 threads: attention-pooled similarity against a loop over captions, InfoNCE
in tiles.

Forward and backward. GLoRIA's shape (361 regions, 25 words, 768 channels); the loop follows the
published description, one caption at a time against all images. Peak memory is the growth of a
fresh process's resident set. InfoNCE: both directions, 128 channels.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from backbones.shared.alignment.kernels import attention_pooled_similarity, symmetric_info_nce
from perf._timing import row

REGIONS = 361
WORDS = 25
CHANNELS = 768
THREADS = 2
POOLED_SIZES = (4, 8, 16, 32)
CONTRAST_SIZES = (2048, 4096, 8192, 16384)
TAU = 0.07
Loss = Callable[[Tensor, Tensor], Tensor]


def caption_loop(text: Tensor, regions: Tensor) -> Tensor:
    """Return GLoRIA's local similarities [captions, images] with temperatures 4, 5, 10, one caption
    at a time."""
    columns = []
    for words in text:
        query = words.repeat(len(regions), 1, 1)
        over_words = torch.bmm(regions, query.transpose(1, 2)).softmax(dim=2)
        over_regions = (4 * over_words.transpose(1, 2).contiguous()).softmax(dim=2)
        context = torch.bmm(over_regions, regions)
        of_words = 5 * F.cosine_similarity(query, context, dim=2)
        columns.append(of_words.exp().sum(dim=1).log())
    return 10 * torch.stack(columns)


def _local_loss(similarity: Loss, text: Tensor, regions: Tensor) -> Tensor:
    scores = similarity(text, regions)
    target = torch.arange(len(text))
    return F.cross_entropy(scores, target) + F.cross_entropy(scores.T, target)


def _plain_contrast(queries: Tensor, keys: Tensor) -> Tensor:
    logits = queries @ keys.T / TAU
    target = torch.arange(len(queries))
    return F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)


POOLED: dict[str, Loss] = {
    "loop": partial(_local_loss, caption_loop),
    "chunked": partial(
        _local_loss,
        partial(attention_pooled_similarity, similarity_scale=10.0, implementation="chunked"),
    ),
    "nothing kept": partial(
        _local_loss,
        partial(
            attention_pooled_similarity,
            similarity_scale=10.0,
            implementation="chunked",
            keep_bytes=0,
        ),
    ),
}
CONTRAST: dict[str, Loss] = {
    "plain": _plain_contrast,
    "tiled": partial(symmetric_info_nce, tau=TAU, implementation="tiled"),
    "by size": partial(symmetric_info_nce, tau=TAU),
}


def pooled_inputs(batch: int) -> tuple[Tensor, Tensor]:
    """Return words and regions of length 5, where both softmaxes are neither flat nor one-hot."""
    generator = torch.Generator().manual_seed(batch)
    shapes = (batch, WORDS, CHANNELS), (batch, REGIONS, CHANNELS)
    text, regions = (
        5 * F.normalize(torch.randn(shape, generator=generator), dim=2) for shape in shapes
    )
    return text, regions


def contrast_inputs(batch: int) -> tuple[Tensor, Tensor]:
    """Return unit queries and keys that agree in part."""
    generator = torch.Generator().manual_seed(batch)
    queries, noise = (torch.randn(batch, 128, generator=generator) for _ in range(2))
    return F.normalize(queries, dim=1), F.normalize(queries + noise, dim=1)


FAMILIES = {"pooled": (POOLED, pooled_inputs), "contrast": (CONTRAST, contrast_inputs)}


def run() -> list[dict[str, Any]]:
    """Return the rows of both operations over four batch sizes each."""
    threads = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    try:
        pooled = [
            _row("pooled", ("loop", "chunked"), batch, 3.0 if batch == 32 else "")
            for batch in POOLED_SIZES
        ]
        bounded = [_row("pooled", ("loop", "nothing kept"), POOLED_SIZES[-1], "")]
        tiled = [
            _row("contrast", ("plain", "tiled"), batch, 0.83 if batch == 8192 else "")
            for batch in CONTRAST_SIZES
        ]
        by_size = [_row("contrast", ("plain", "by size"), batch, "") for batch in CONTRAST_SIZES]
        return pooled + bounded + tiled + by_size
    finally:
        torch.set_num_threads(threads)


def _row(family: str, forms: tuple[str, str], batch: int, wanted: float | str) -> dict[str, Any]:
    losses, make_inputs = FAMILIES[family]
    usual, ours = forms
    timings = _interleaved([losses[usual], losses[ours]], make_inputs(batch))
    (usual_s, usual_values), (ours_s, our_values) = timings
    operation = "attention-pooled similarity" if family == "pooled" else "InfoNCE"
    usual_mb = _peak_megabytes(family, usual, batch)
    ours_mb = _peak_megabytes(family, ours, batch)
    return row(
        f"{operation}, {ours} against {usual}",
        f"B={batch}; peak {usual_mb:.0f} -> {ours_mb:.0f} MB",
        usual_s,
        ours_s,
        all(_close(a, b) for a, b in zip(usual_values, our_values, strict=True)),
        wanted,
    )


def _interleaved(
    losses: list[Loss], inputs: tuple[Tensor, Tensor], rounds: int = 3
) -> list[tuple[float, list[Tensor]]]:
    """Return the best time of each loss over rounds taken in turn, and its value and gradients."""
    times: list[list[float]] = [[] for _ in losses]
    results: list[list[Tensor]] = [[] for _ in losses]
    for _ in range(rounds):
        for number, loss in enumerate(losses):
            start = time.perf_counter()
            results[number] = _step(loss, inputs)
            times[number].append(time.perf_counter() - start)
    return [(min(seconds), result) for seconds, result in zip(times, results, strict=True)]


def _step(loss: Loss, inputs: tuple[Tensor, Tensor]) -> list[Tensor]:
    leaves = [tensor.clone().requires_grad_() for tensor in inputs]
    value = loss(leaves[0], leaves[1])
    value.backward()
    return [value.detach(), *(leaf.grad for leaf in leaves if leaf.grad is not None)]


def _close(one: Tensor, other: Tensor) -> bool:
    return bool((one - other).abs().max() <= 1e-4 * one.abs().max())


def _peak_megabytes(family: str, form: str, batch: int) -> float:
    """Return by how much one step raises the resident set of a process of its own."""
    command = [sys.executable, "-m", "perf.alignment", family, form, str(batch)]
    root = Path(__file__).parents[1]
    return float(
        subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout
    )


def _measure(family: str, form: str, batch: int) -> float:
    losses, make = FAMILIES[family]
    torch.set_num_threads(THREADS)
    _step(losses[form], make(2))  # what libraries allocate once is no part of the step
    inputs = make(batch)
    before = resident("VmRSS")
    reset_peak()
    _step(losses[form], inputs)
    return resident("VmHWM") - before


def reset_peak() -> None:
    """Forget the peak of the resident set so far."""
    Path("/proc/self/clear_refs").write_text("5")


def resident(field: str) -> float:
    """Return a field of the process's memory status in MB; ru_maxrss would include the parent's."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    kilobytes = re.search(rf"{field}:\s+(\d+) kB", status)
    if kilobytes is None:
        raise OSError(f"/proc/self/status has no {field}")
    return int(kilobytes.group(1)) / 1024


if __name__ == "__main__":
    print(_measure(sys.argv[1], sys.argv[2], int(sys.argv[3])))
