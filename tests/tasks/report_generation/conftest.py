"""Studies with two views whose report follows from the pixels, and a decoder small enough to train
in a second."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from bench.contracts import (
    CellContext,
    Features,
    FitBaseline,
    InputSpec,
    Predictions,
    Subset,
    TaskSpec,
)
from bench.metrics.bootstrap import point
from tasks.report_generation import ReportGenerationKind
from tests.tasks.fakes import context

KIND = ReportGenerationKind()
TASK = TaskSpec(
    "fake_rg",
    "report_generation",
    "fake",
    "Fake",
    "ce_f1_micro",
    options={"text": "findings", "images": 2},
)
TINY = {
    "width": "32", "layers": "1", "heads": "2", "feedforward": "32", "epochs": "2",
    "updates": "140", "batch_size": "8",
    "lr": "0.005", "min_count": "1", "dropout": "0", "max_words": "20", "monitor": "loss",
    "tokenizer": "cleaned",
    "warmup": "0", "patience": "none",
}  # fmt: skip
SHORT = {"epochs": "1", "updates": "4"}


class GridEncoder:
    """Brightness of the cells of a 2 x 2 grid, one token each."""

    name, architecture, family, has_text = "grid", "grid", "resnet", False
    input = InputSpec(size=16, resize=16)
    pooled_dim = patch_dim = 4
    pyramid_channels, pyramid_strides = (4,), (8,)

    def __init__(self) -> None:
        self.module = torch.nn.Conv2d(3, 4, 1).eval()
        self.module.weight.data = torch.arange(12.0).view(4, 3, 1, 1) / 12

    def features(self, images: torch.Tensor) -> Features:
        maps = self.module(torch.nn.functional.avg_pool2d(images, 8))
        patches = maps.flatten(2).transpose(1, 2)
        return Features(patches.mean(1), patches, (2, 2), (maps,))


class CountingEncoder(GridEncoder):
    """The same, counting the batches of images it is given; the blank one that asks for its sizes
    does not count."""

    batches = 0

    def features(self, images: torch.Tensor) -> Features:
        self.batches += bool(images.any())
        return super().features(images)


class SeeingEncoder(GridEncoder):
    """The same with tokens of its own."""

    def observations(self, images: torch.Tensor) -> torch.Tensor:
        return self.features(images).patches.mean(1, keepdim=True).repeat(1, 3, 2)


def studies(n: int = 40, seed: int = 0, views: int = 2) -> Subset:
    """Return studies whose first image is bright on the left where there is an effusion; some have
    one image only."""
    rng = np.random.default_rng(seed)
    rows, pixels = [], []
    for number in range(n):
        ill = bool(rng.random() < 0.5)
        text = (
            "There is a left pleural effusion. The heart is normal."
            if ill
            else "No pleural effusion. The heart is normal."
        )
        for view in range(views if number % 5 else 1):
            image = rng.integers(0, 40, (16, 16))
            image[:, :8] += 150 * ill
            rows.append(
                {
                    "image_id": f"i{seed}_{number}_{view}",
                    "study_id": f"s{seed}_{number}",
                    "patient_id": f"p{seed}_{number // 2}",
                    "findings": text,
                }
            )
            pixels.append(image)
    return Subset(pd.DataFrame(rows), np.arange(len(rows)), np.stack(pixels).astype(np.uint8))


def cell(folder: Path, protocol: str = "default", **changes: str | Any) -> CellContext:
    """Return a cell's context of the tiny decoder."""
    settings = KIND.settings(TASK, protocol, "demo", {**TINY, **changes})
    return context(TASK, settings, folder, data_kind="demo")


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLACE_BENCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def no_java(monkeypatch: pytest.MonkeyPatch) -> None:
    """METEOR starts a Java program for seconds: its own tests run it."""
    from tasks.report_generation.metrics import java

    def missing() -> None:
        raise java.JavaError("Java was not found.", "Install it.")

    monkeypatch.setattr(java, "java_command", missing)


def run(
    context: CellContext,
    encoder: Any = None,
    train: Subset | None = None,
    test: Subset | None = None,
    fit: FitBaseline | None = None,
) -> tuple[Predictions, dict[str, float]]:
    fit = fit or partial(KIND.fit, encoder or GridEncoder())
    fitted = fit(train or studies(40, 1), studies(12, 2), context)
    found = KIND.predict(fitted, test or studies(24, 3), context)
    scores = {name: point(f, len(found.table)) for name, f in KIND.statistics(found, TASK).items()}
    return found, scores


def language_model(folder: Path) -> Path:
    """Write a two-layer GPT-2 with random weights and a word tokenizer."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    words = [
        "<end>",
        *sorted(
            {"there", "is", "a", "left", "pleural", "effusion", "the", "heart", "normal", "no", "."}
        ),
    ]
    tokenizer = Tokenizer(
        models.WordLevel({word: place for place, word in enumerate(words)}, unk_token="<end>")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<end>", bos_token="<end>"
    ).save_pretrained(folder)
    torch.manual_seed(0)
    GPT2LMHeadModel(
        GPT2Config(vocab_size=len(words), n_positions=64, n_embd=32, n_layer=2, n_head=2)
    ).save_pretrained(folder)
    return folder
