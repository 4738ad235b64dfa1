"""Regions in training batches: who keeps them, which sentence they belong to, and the window of the
crop."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
import torch

from backbones.shared.pretraining.pairs import encode_reports
from backbones.shared.pretraining.regions import RegionFields, keeps_regions, region_maps
from bench.contracts import REGION_SIDE, InputSpec
from bench.data.annotations import Regions
from tests.support.methods import build
from tests.support.pairs import make_subset, pair_loader, with_regions

SPEC = InputSpec(128, 144)
IMAGES = [f"image-{number}" for number in range(400)]


def test_shares_of_images_are_nested_and_depend_on_id_and_seed_alone() -> None:
    kept = {
        share: {image for image in IMAGES if keeps_regions(image, 3, share)}
        for share in (0, 0.1, 0.5, 1)
    }
    assert not kept[0] and kept[1] == set(IMAGES)
    assert kept[0.1] < kept[0.5]
    assert len(kept[0.5]) / 400 == pytest.approx(0.5, abs=0.08)
    assert kept[0.5] != {image for image in IMAGES if keeps_regions(image, 4, 0.5)}
    first = int(hashlib.sha256(b"image-03").hexdigest(), 16) / 2**256
    assert keeps_regions("image-0", 3, first + 1e-9)
    assert not keeps_regions("image-0", 3, first - 1e-9)


def fields(min_words: str = "1", **options: Any) -> tuple[RegionFields, Any]:
    method = build("convirt", min_words=min_words)
    subset = with_regions(make_subset(4, 144, 1))
    reports = subset.index["report"].tolist()
    encoded = encode_reports(reports, method.vocabulary, method.settings)
    return RegionFields(subset, encoded, SPEC, **options), subset


def test_every_sentence_has_its_own_map() -> None:
    regions, subset = fields()
    batch = regions.batch(np.arange(4), np.zeros((4, 2), int))
    maps = subset.get(Regions).maps
    assert batch["regions"].shape == (4, 4, REGION_SIDE, REGION_SIDE)
    assert batch["has_region"].tolist() == [[True, True, True, False]] * 4
    np.testing.assert_array_equal(batch["regions"][2, :3], maps[:3])
    assert not batch["regions"][:, 3].any()
    of_study = batch["study_region"].flatten(1).any(1).tolist()
    assert of_study == [False, True, False, True], "a region of a label alone is of no sentence"
    assert regions.images == 4


def test_sentences_that_are_no_units_keep_their_numbers() -> None:
    """Two or three words where a finding is absent, four and more where it is there."""
    regions, subset = fields(min_words="4")
    for row, report in enumerate(subset.index["report"]):
        long = [number for number, one in enumerate(report.split(". ")) if one[:2] != "No"]
        assert list(regions.reports[row].numbers) == long
        batch = regions.batch(np.array([row]), np.zeros((1, 2), int))
        shown = [bool(value) for value in batch["has_region"][0]][: len(long)]
        assert shown == [number < 3 for number in long]


def test_an_image_counts_where_a_region_of_it_is_used() -> None:
    regions, _ = fields(min_words="99")
    batch = regions.batch(np.arange(4), np.zeros((4, 2), int))
    assert not batch["has_region"].any()
    assert regions.images == int(batch["study_region"].flatten(1).any(1).sum()) == 2


def test_a_share_of_images_keeps_regions() -> None:
    regions, _ = fields(fraction=0.0)
    batch = regions.batch(np.arange(4), np.zeros((4, 2), int))
    assert not batch["has_region"].any() and not batch["study_region"].any()
    assert regions.images == 0


@pytest.mark.parametrize("grid", [(7, 7), (8, 8), (14, 14), (8, 4)])
def test_a_crop_takes_the_same_window_of_image_and_map(grid: tuple[int, int]) -> None:
    """The image is its own region: cropped and resized, both are alike."""
    rng = np.random.default_rng(0)
    cells = rng.integers(0, 256, (REGION_SIDE, REGION_SIDE)).astype(np.uint8)
    corner = np.array([[9, 2]])
    window = torch.tensor([[9 / 144, 2 / 144, 128 / 144, 128 / 144]], dtype=torch.float64)
    regions, _ = fields()
    assert torch.equal(regions.batch(np.arange(1), corner)["region_window"], window)
    fine = np.kron(cells, np.ones((18, 18)))  # 1008 px, what 56 and 144 both divide
    top, left, side = 9 * 7, 2 * 7, 128 * 7
    crop = fine[top : top + side, left : left + side]
    expected = crop.reshape(grid[0], side // grid[0], grid[1], -1).mean((1, 3)) / 255
    maps = torch.from_numpy(cells)
    brought = region_maps(maps[None, None], window, grid, "area")
    np.testing.assert_allclose(brought[0, 0], expected, atol=1e-5)
    np.testing.assert_allclose(
        region_maps(maps[None], window, grid, "area")[0], expected, atol=1e-5
    )
    smooth = region_maps(maps[None], window, grid, "bilinear")[0]
    assert abs(float(smooth.mean()) - expected.mean()) < 0.02


def test_a_loader_without_regions_makes_no_field_of_them() -> None:
    plain = next(pair_loader(build("convirt")).batches(np.random.default_rng(0)))
    with_fields = pair_loader(build("convirt"), regions=1.0)
    more = next(with_fields.batches(np.random.default_rng(0)))
    assert set(more) - set(plain) == {"regions", "has_region", "study_region", "region_window"}
    assert all(torch.equal(plain[name], more[name]) for name in ("images", "ids", "keys"))
