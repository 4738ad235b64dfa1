"""Regions in a training batch: those of every sentence of a report and of the whole study, seen
through the window of the random crop."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import torch

from backbones.shared.encoders.vocabulary import EncodedReport
from bench.contracts import REGION_SIDE, InputSpec, Subset
from bench.data.annotations import Regions
from bench.data.regions import RegionEntry, RegionRows, axis_weights


def keeps_regions(image_id: str, seed: int, fraction: float) -> bool:
    """Tell whether an image keeps its regions where only a share of the images does: by a hash of
    its id and the seed, so that a smaller share is part of a larger one, whatever the order."""
    digest = hashlib.sha256(f"{image_id}{seed}".encode()).digest()
    return int.from_bytes(digest, "big") < fraction * 2.0**256


class RegionFields:
    """The fields of regions in the batches of a subset whose reports are encoded.

    `regions` uint8 [B, S, REGION_SIDE, REGION_SIDE] and `has_region` bool [B, S], S the most
    sentences of a report of the batch; `study_region` uint8 [B, REGION_SIDE, REGION_SIDE];
    `region_window` [B, 4], the crop that the image shows (top, left, height, width as shares of the
    square). Maps lie on the whole square: `region_maps` brings them to a grid.
    """

    def __init__(
        self,
        subset: Subset,
        reports: Sequence[EncodedReport],
        spec: InputSpec,
        *,
        fraction: float = 1.0,
        seed: int = 0,
    ) -> None:
        rows: RegionRows = subset.get(Regions)
        images = subset.index["image_id"].astype(str)
        self.maps = rows.maps
        self.spec = spec
        keeps = [keeps_regions(image, seed, fraction) for image in images]
        entries = zip(rows.entries, keeps, strict=True)
        self.entries = [listed if kept else () for listed, kept in entries]
        self.reports = reports

    @property
    def images(self) -> int:
        """Return how many images have a region that is used."""
        return sum(
            any(entry.of_study or entry.sentence in report.numbers for entry in listed)
            for listed, report in zip(self.entries, self.reports, strict=True)
        )

    def batch(self, rows: np.ndarray, corners: np.ndarray) -> dict[str, torch.Tensor]:
        """Return the fields of `rows`, cropped at `corners` [n, 2] (top, left)."""
        count = max(1, *(len(self.reports[row].keys) for row in rows))
        cells = (REGION_SIDE, REGION_SIDE)
        regions = np.zeros((len(rows), count, *cells), np.uint8)
        has = np.zeros((len(rows), count), bool)
        study = np.zeros((len(rows), *cells), np.uint8)
        for place, row in enumerate(rows):
            units = {number: unit for unit, number in enumerate(self.reports[row].numbers)}
            for entry in self.entries[row]:
                self._add(entry, units, regions[place], has[place], study[place])
        whole = self.spec.resize
        sides = np.full((len(rows), 2), self.spec.size)
        window = np.concatenate([corners, sides], axis=1) / whole
        fields = {
            "regions": regions,
            "has_region": has,
            "study_region": study,
            "region_window": window,
        }
        return {name: torch.from_numpy(value) for name, value in fields.items()}

    def _add(
        self,
        entry: RegionEntry,
        units: Mapping[int, int],
        regions: np.ndarray,
        has: np.ndarray,
        study: np.ndarray,
    ) -> None:
        """Lay one region over those that are there, in place."""
        if entry.of_study:
            np.maximum(study, self.maps[entry.position], out=study)
        elif entry.sentence in units:
            unit = units[entry.sentence]
            np.maximum(regions[unit], self.maps[entry.position], out=regions[unit])
            has[unit] = True


def region_maps(
    maps: torch.Tensor,
    windows: torch.Tensor,
    grid: tuple[int, int],
    how: Literal["area", "bilinear"],
) -> torch.Tensor:
    """Return uint8 maps [B, ..., REGION_SIDE, REGION_SIDE] in [0, 1] on an encoder's grid, float32
    [B, ..., h, w], through the window [B, 4] of each image.

    Area interpolation is for labels, antialiased bilinear for weights
    (`bench.data.regions.axis_weights`).
    """
    sides: list[torch.Tensor] = []
    for axis in (0, 1):
        weights = [
            axis_weights(window[axis], window[2 + axis], grid[axis], how)
            for window in windows.tolist()
        ]
        sides.append(torch.from_numpy(np.stack(weights)).to(maps.device, torch.float32))
    return torch.einsum("bhi,b...ij,bwj->b...hw", sides[0], maps.float() / 255, sides[1])
