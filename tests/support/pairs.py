"""Squares with reports, and tiny recipes that learn from them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import torch

from backbones.shared.pretraining.keys import (
    Recipe,
)
from backbones.shared.pretraining.pairs import (
    PairLoader,
    encode_reports,
    normalise_images,
)
from backbones.shared.pretraining.regions import RegionFields
from backbones.shared.pretraining.vision_language import VisionLanguageMethod
from bench.contracts import REGION_SIDE, InputSpec, PairData, Subset
from bench.data.annotations import Regions
from bench.data.regions import RegionEntry, RegionRows

TINY = {
    "epochs": "2",
    "batch_size": "4",
    "projection_hidden": "16",
    "text_width": "32",
    "text_layers": "1",
    "vocabulary": "200",
    "embed_dim": "16",
}
FINDINGS = ("pneumothorax", "pleural effusion", "consolidation", "nodule")
PLACE_TINY = {**TINY, "vpoe_width": "16", "queries": "3", "heads": "2", "cce_dim": "8"}


def make_subset(count: int, size: int, seed: int) -> Subset:
    """Noise with one bright square per finding named in the report."""
    generator = np.random.default_rng(seed)
    images = generator.integers(40, 80, (count, size, size), dtype=np.uint8)
    reports = []
    for image in images:
        present = generator.random(len(FINDINGS)) < 0.5
        for number in np.flatnonzero(present):
            image[20 + 20 * number :, 30:60][:15] += 120
        reports.append(
            " ".join(
                f"There is a {f}." if p else f"No {f}."
                for f, p in zip(FINDINGS, present, strict=True)
            )
        )
    names = [f"s{seed}-{number}" for number in range(count)]
    return Subset(
        pd.DataFrame({"image_id": names, "patient_id": names, "report": reports}),
        np.arange(count),
        images,
    )


def with_regions(subset: Subset) -> Subset:
    """Return a subset whose sentences each have a map, a band of rows that differs from one to the
    next, but the last one of every report; every other image has one of the study too."""
    maps = np.zeros((len(FINDINGS) + 1, REGION_SIDE, REGION_SIDE), np.uint8)
    for number in range(len(FINDINGS)):
        maps[number, 12 * number : 12 * number + 14, 8:40] = 50 * number + 55
    maps[-1, 30:50, 30:50] = 255
    entries = []
    for row in range(len(subset)):
        listed = [RegionEntry(n, n, "", "gaze", "") for n in range(len(FINDINGS) - 1)]
        study = [RegionEntry(len(FINDINGS), -1, "", "gaze", "")] if row % 2 else []
        entries.append((*listed, RegionEntry(0, -1, "nodule", "box", ""), *study))
    return replace(subset, annotations={Regions: RegionRows(maps, tuple(entries))})


def recipe(method: str = "place", architecture: str = "resnet", **changes: str) -> Recipe:
    settings = PLACE_TINY if method == "place" else TINY
    return Recipe(method, "demo", architecture, 0, {**settings, **changes})


def pair_loader(
    method: VisionLanguageMethod, batch_size: int = 4, regions: float | None = None
) -> PairLoader:
    """Return batches of eight squares; with `regions`, the share of them that keep theirs."""
    subset, spec = with_regions(make_subset(8, 144, 1)), method.image_encoder.architecture.input
    reports = encode_reports(subset.index["report"].tolist(), method.vocabulary, method.settings)
    fields = None
    if regions is not None:
        fields = RegionFields(subset, reports, spec, fraction=regions)
    return PairLoader(
        subset, reports, method.vocabulary, spec, batch_size, fields, arrange=method.arrange
    )


def images(pairs: PairData) -> torch.Tensor:
    return normalise_images(
        torch.from_numpy(pairs.val.images(np.arange(4))[:, 8:136, 8:136]), InputSpec(128, 144)
    )
