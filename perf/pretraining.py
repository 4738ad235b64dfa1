"""One pre-training step of every method (demo encoders, 2 threads): images per second beside
ConVIRT's, memory over batch size.

Forward, backward and update on random images and reports of about 50 words. ConVIRT is what
encoders and global loss alone cost. Peak memory is the growth of a fresh process's resident set in
its second step.
"""

from __future__ import annotations

import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from backbones.shared.encoders.vocabulary import collate
from backbones.shared.pretraining.keys import Recipe, recipe_settings
from backbones.shared.pretraining.pairs import encode_reports
from backbones.shared.pretraining.trainer import build_method, speed_up
from backbones.shared.pretraining.vision_language import VisionLanguageMethod
from bench.core.registry import discover
from perf.alignment import THREADS, reset_peak, resident

METHODS = ("convirt", "place", "gloria", "mgca")
BATCH = 64
SIZES = (16, 32, 64, 128)
TEXT = (
    "no small left right pleural effusion pneumothorax consolidation heart lung normal size seen "
    "base apex is the in of"
)


def run() -> list[dict[str, Any]]:
    """Return a row per method at one batch size, then a row per method and batch size with and
    without recomputed activations."""
    threads = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    try:
        return _speed_rows() + [_memory_row(method, size) for method in METHODS for size in SIZES]
    finally:
        torch.set_num_threads(threads)


def _speed_rows() -> list[dict[str, Any]]:
    steps = {name: Step(name, BATCH) for name in METHODS}
    best = dict.fromkeys(METHODS, float("inf"))
    for _ in range(4):  # in turn, so that a busy machine is busy for all
        for name, step in steps.items():
            best[name] = min(best[name], step())
    return [
        {
            "name": f"pre-training step, {name} beside ConVIRT",
            "size": f"batch {BATCH}: {BATCH / seconds:.0f} images/s",
            "usual_s": best["convirt"],
            "ours_s": seconds,
            "ratio": best["convirt"] / seconds,
            "equal": "",
            "wanted": "",
        }
        for name, seconds in best.items()
    ]


def _memory_row(method: str, batch: int) -> dict[str, Any]:
    (plain_s, plain_mb), (again_s, again_mb) = (
        _apart(method, batch, recompute) for recompute in ("false", "true")
    )
    return {
        "name": f"memory, {method}, activations recomputed against kept",
        "size": f"batch {batch}; peak {plain_mb:.0f} -> {again_mb:.0f} MB",
        "usual_s": plain_s,
        "ours_s": again_s,
        "ratio": plain_s / again_s,
        "equal": "",
        "wanted": "",
    }


@cache
def reports_of_words(count: int) -> list[str]:
    """Return reports of six sentences of random words."""
    generator = np.random.default_rng(0)
    sentences = [
        " ".join(generator.choice(TEXT.split(), generator.integers(4, 12))).capitalize() + "."
        for _ in range(6 * count)
    ]
    return [" ".join(sentences[6 * n : 6 * n + 6]) for n in range(count)]


class Step:
    """One training step of a method on a fixed batch; calling it returns its seconds."""

    def __init__(self, name: str, batch: int, recompute: str = "false") -> None:
        discover()
        recipe = Recipe(name, "demo", "resnet", 0, {"recompute": recompute})
        settings = recipe_settings(recipe)
        reports = reports_of_words(batch)
        self.method: VisionLanguageMethod = build_method(recipe, settings, reports)
        speed_up(self.method, settings)
        self.method.train()
        text = collate(
            encode_reports(reports, self.method.vocabulary, settings), self.method.vocabulary.pad
        )
        images = torch.randn(batch, 3, 128, 128, generator=torch.Generator().manual_seed(0))
        fields = {"ids": text.ids, "mask": text.mask, "sentence": text.sentence, "keys": text.keys}
        self.batch = {"images": images, "image_ids": list(range(batch)), **fields}
        self.optimizer = torch.optim.AdamW(self.method.parameters(), 1e-4)

    def __call__(self) -> float:
        """Run one step."""
        start = time.perf_counter()
        losses = self.method.losses(self.batch)
        torch.stack([value for name, value in losses.items() if "loss" in name]).sum().backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return time.perf_counter() - start


def _apart(method: str, batch: int, recompute: str) -> tuple[float, float]:
    """Return seconds and peak megabytes of a step in a process of its own."""
    command = [sys.executable, "-m", "perf.pretraining", method, str(batch), recompute]
    output = subprocess.run(
        command, cwd=Path(__file__).parents[1], check=True, capture_output=True, text=True
    ).stdout
    seconds, megabytes = output.split()[-2:]
    return float(seconds), float(megabytes)


def _measure(method: str, batch: int, recompute: str) -> str:
    torch.set_num_threads(THREADS)
    before = resident("VmRSS")
    step = Step(method, batch, recompute)
    step()
    reset_peak()
    return f"{step()} {resident('VmHWM') - before}"


if __name__ == "__main__":
    print(_measure(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
