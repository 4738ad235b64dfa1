"""What regions cost a pre-training step: nothing to ConVIRT, which reads none, something to EGMA.

A step takes a batch from the loader, forward, backward and update (demo encoder, one thread);
seconds are those of the processor, so that a busy machine does not count. Equal, for ConVIRT: both
losses are the same to the last bit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch

from backbones.shared.pretraining.keys import Recipe, recipe_settings
from backbones.shared.pretraining.pairs import PairLoader, encode_reports
from backbones.shared.pretraining.regions import RegionFields
from backbones.shared.pretraining.trainer import build_method
from bench.contracts import REGION_SIDE, Subset
from bench.core.registry import discover
from bench.data.annotations import Regions
from bench.data.regions import RegionEntry, RegionRows
from perf._timing import row
from perf.pretraining import reports_of_words

BATCH = 32
IMAGES = 128
SENTENCES = 6
ROUNDS = 4


def run() -> list[dict[str, Any]]:
    """Return a row for ConVIRT and one for EGMA."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    discover()
    try:
        plain = _subset()
        mapped = replace(plain, annotations={Regions: _regions()})
        size = f"batch {BATCH}, {SENTENCES} sentences an image"
        return [
            _row("ConVIRT step, data with regions against without", "convirt", plain, mapped, size),
            _row("EGMA step, with gaze against without", "egma", plain, mapped, size),
        ]
    finally:
        torch.set_num_threads(threads)


def _row(name: str, method: str, plain: Subset, mapped: Subset, size: str) -> dict[str, Any]:
    """Time the steps in turn."""
    without, with_them = _Steps(method, plain), _Steps(method, mapped)
    usual_s = ours_s = float("inf")
    equal = True
    for _ in range(ROUNDS):
        seconds, expected = _processor_time(without)
        usual_s = min(usual_s, seconds)
        seconds, value = _processor_time(with_them)
        ours_s = min(ours_s, seconds)
        equal = equal and value == expected
    reads = bool(with_them.loader.regions)
    return row(name, size, usual_s, ours_s, "" if reads else equal, "" if reads else 0.95)


def _processor_time(step: Callable[[], float]) -> tuple[float, float]:
    """Return the processor seconds of a step, and its loss."""
    start = time.process_time()
    loss = step()
    return time.process_time() - start, loss


class _Steps:
    """Training steps of a method on a subset; regions are read where the method asks for them and
    the subset has them."""

    def __init__(self, method: str, subset: Subset) -> None:
        recipe = Recipe(method, "demo", "resnet", 0, {"clip": "none"})
        settings = recipe_settings(recipe)
        reports = subset.index["report"].tolist()
        self.method = build_method(recipe, settings, reports).train()
        encoded = encode_reports(reports, self.method.vocabulary, settings)
        spec = self.method.image_encoder.architecture.input
        asked = any(isinstance(need, Regions) for need in settings.needs())
        fields = RegionFields(subset, encoded, spec) if asked and subset.has(Regions) else None
        vocabulary = self.method.vocabulary
        self.loader = PairLoader(subset, encoded, vocabulary, spec, BATCH, fields)
        self.optimizer = torch.optim.AdamW(self.method.parameters(), 1e-4)
        self.batches = self._endless()

    def _endless(self) -> Iterator[dict[str, Any]]:
        generator = np.random.default_rng(0)
        while True:
            yield from self.loader.batches(generator)

    def __call__(self) -> float:
        """Run one step and return its loss."""
        losses = self.method.losses(next(self.batches))
        loss = torch.stack([value for name, value in losses.items() if "loss" in name]).sum()
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return float(loss.detach())


def _subset() -> Subset:
    rng = np.random.default_rng(0)
    names = [str(number) for number in range(IMAGES)]
    facts = {"image_id": names, "patient_id": names, "report": reports_of_words(IMAGES)}
    pixels = rng.integers(0, 255, (IMAGES, 144, 144), dtype=np.uint8)
    return Subset(pd.DataFrame(facts), np.arange(IMAGES), pixels)


def _regions() -> RegionRows:
    """Return a map for every sentence of every image."""
    rng = np.random.default_rng(1)
    cells = (IMAGES * SENTENCES, REGION_SIDE, REGION_SIDE)
    maps = rng.integers(0, 255, cells, dtype=np.uint8)
    entries = tuple(
        tuple(RegionEntry(image * SENTENCES + n, n, "", "gaze", "") for n in range(SENTENCES))
        for image in range(IMAGES)
    )
    return RegionRows(maps, entries)
