"""Regions: maps of masks, boxes and gaze on the padded square, kept as uint8, through any window on
any grid."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional

from bench.contracts import REGION_SIDE, CheckResult, Dataset, Region
from bench.core.errors import DataError
from bench.data.annotations import Regions
from bench.data.loading import Prepared, prepare
from bench.data.regions import (
    RegionRows,
    axis_weights,
    map_of_box,
    map_of_mask,
    map_of_points,
)

SIDE = 112
How = Literal["area", "bilinear"]


# ------------------------------------------------------------------------------------- making maps
@pytest.mark.parametrize("shape", [(112, 112), (112, 84), (60, 100), (3, 7)])
def test_the_map_of_a_box_is_that_of_its_mask(shape: tuple[int, int]) -> None:
    height, width = shape
    box = (width // 3, height // 3, width - 1, height - 1)
    mask = np.zeros(shape, np.uint8)
    mask[box[1] : box[3], box[0] : box[2]] = 1
    heat = map_of_box(box, shape)
    np.testing.assert_allclose(map_of_mask(mask), heat, atol=1e-6)
    covered = (box[2] - box[0]) * (box[3] - box[1]) / max(shape) ** 2
    assert heat.mean() == pytest.approx(covered), "the share of the padded square"


def test_gaze_is_a_sum_of_gaussians_over_its_maximum() -> None:
    points = np.array([[30.0, 40.0], [80.0, 40.0]])
    sigmas = np.array([[8.0, 6.0], [4.0, 4.0]])
    heat = map_of_points(points, sigmas, np.array([0.3, 0.6]), (112, 100))
    centres = 2 * np.arange(REGION_SIDE) + 1.0
    x, y = np.meshgrid(centres - 6, centres)  # 100 columns are padded by 6 px at each side
    expected = np.zeros((REGION_SIDE, REGION_SIDE))
    for (px, py), (sx, sy), weight in zip(points, sigmas, (0.3, 0.6), strict=True):
        expected += weight * np.exp(-(((x - px) / sx) ** 2 + ((y - py) / sy) ** 2) / 2)
    np.testing.assert_allclose(heat, expected / expected.max(), atol=1e-6)
    assert not map_of_points(np.zeros((0, 2)), np.zeros((0, 2)), np.zeros(0), (9, 9)).any()


# -------------------------------------------------------------------------------- windows and grids
def weighted(maps: np.ndarray, grid: tuple[int, int], how: How, *window: float) -> np.ndarray:
    top, left, height, width = window or (0.0, 0.0, 1.0, 1.0)
    rows = axis_weights(top, height, grid[0], how)
    columns = axis_weights(left, width, grid[1], how)
    return rows @ maps @ columns.T


@pytest.mark.parametrize("grid", [7, 8, 14])
def test_whole_maps_on_a_grid_are_those_of_torch(grid: int) -> None:
    maps = np.random.default_rng(0).random((3, REGION_SIDE, REGION_SIDE))
    tensor = torch.from_numpy(maps)[None]
    area = functional.adaptive_avg_pool2d(tensor, grid)[0]
    smooth = functional.interpolate(tensor, (grid, grid), mode="bilinear", antialias=True)[0]
    np.testing.assert_allclose(weighted(maps, (grid, grid), "area"), area, atol=1e-9)
    np.testing.assert_allclose(weighted(maps, (grid, grid), "bilinear"), smooth, atol=1e-9)


def test_a_window_is_a_crop_of_the_map() -> None:
    maps = np.random.default_rng(0).random((REGION_SIDE, REGION_SIDE))
    window = (7 / 56, 14 / 56, 28 / 56, 42 / 56)
    cropped = torch.from_numpy(maps[7:35, 14:56])[None, None]
    expected = functional.adaptive_avg_pool2d(cropped, (7, 7))[0, 0]
    np.testing.assert_allclose(weighted(maps, (7, 7), "area", *window), expected, atol=1e-9)
    for how in get_args(How):
        flat = weighted(np.ones_like(maps), (8, 5), how, 0.11, 0.07, 0.889, 0.9)
        np.testing.assert_allclose(flat, 1.0, atol=1e-9)


def test_a_cell_that_only_meets_a_region_is_not_labelled() -> None:
    assert np.count_nonzero(axis_weights(0.0, 1.0, 7, "area")) == REGION_SIDE
    heat = np.zeros((REGION_SIDE, REGION_SIDE))
    heat[8:16, 8:16] = 1
    assert np.argwhere(weighted(heat, (7, 7), "area") > 0).tolist() == [[1, 1]]


# ------------------------------------------------------------------------------------------ keeping
class Looked(Dataset):
    """Three images; the report of each and a file of where it was looked at."""

    name, title, licence, citation, how_to_get = "looked", "Looked", "none", "none", "none"
    has_regions = True
    has_reports = True
    box_classes = ("nodule",)
    mask_classes = ("lung",)
    calls = 0

    def index(self, root: Path) -> pd.DataFrame:
        names = [str(number) for number in range(3)]
        report = "Left nodule seen. No effusion."
        rows = {"image_id": names, "patient_id": names, "split": "", "report": report}
        paths = [f"{name}.png" for name in names]
        looks = [(f"{name}.txt",) for name in names]
        return pd.DataFrame({**rows, "path": paths, "region_paths": looks})

    def validate(self, root: Path) -> list[CheckResult]:
        return []

    def mask(self, row: pd.Series, root: Path) -> np.ndarray:
        return np.full((1, SIDE, SIDE), row["image_id"] == "0", np.uint8)

    def boxes(self, row: pd.Series, root: Path) -> np.ndarray:
        return np.array([[0, 0, SIDE / 2, SIDE, 0]], np.float32)

    def regions(self, row: pd.Series, root: Path) -> list[Region]:
        type(self).calls += 1
        regions = []
        for line in Path(root, row["region_paths"][0]).read_text().splitlines():
            sentence, value = line.split()
            heat = np.full((REGION_SIDE, REGION_SIDE), float(value), np.float32)
            regions.append(Region(heat, int(sentence), phrase="here" if sentence == "-1" else ""))
        return regions


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PLACE_BENCH_CACHE", str(tmp_path / "cache"))
    home = tmp_path / "looked"
    home.mkdir()
    for number, text in enumerate(("0 0.25\n1 1\n", "", "1 0.5\n-1 0\n")):
        cv2.imwrite(str(home / f"{number}.png"), np.full((SIDE, SIDE), number, np.uint8))
        (home / f"{number}.txt").write_text(text)
    return home


def read(root: Path, annotation: Regions | None = None, **options: str) -> Prepared:
    chosen: dict[str, str] = {"on_error": "stop", **options}
    return prepare(Looked(), root, size=32, annotations=[annotation or Regions()], **chosen)  # type: ignore[arg-type]


def rows_of(prepared: Prepared) -> RegionRows:
    return prepared.subset(prepared.index).get(Regions)


def facts(rows: RegionRows, row: int) -> list[tuple[int, str, str, str, float]]:
    return [
        (each.sentence, each.label, each.source, each.phrase, round(float(each.map.mean()), 3))
        for each in rows[row]
    ]


def test_regions_come_back_as_they_were_made(root: Path) -> None:
    rows = rows_of(read(root))
    assert facts(rows, 0) == [(0, "", "gaze", "", 0.251), (1, "", "gaze", "", 1.0)]
    assert facts(rows, 1) == []
    assert facts(rows, 2) == [(1, "", "gaze", "", 0.502), (-1, "", "gaze", "here", 0.0)]
    assert rows.maps.dtype == np.uint8 and rows.maps.shape[1:] == (REGION_SIDE, REGION_SIDE)
    taken = Regions.take(rows, np.array([2, 0, 2]))
    assert facts(taken, 1) == facts(rows, 0) and facts(taken, 2) == facts(rows, 2)


def test_kept_regions_are_not_made_again(root: Path) -> None:
    read(root)
    Looked.calls = 0
    rows_of(read(root))
    assert Looked.calls == 0


def test_a_changed_file_is_read_again_and_decides_the_cell_not_the_features(root: Path) -> None:
    before = read(root)
    (root / "2.txt").write_text("0 0.75\n")
    after = read(root)
    assert facts(rows_of(after), 2) == [(0, "", "gaze", "", 0.749)]
    assert facts(rows_of(after), 0) == facts(rows_of(before), 0)
    assert after.content_hash != before.content_hash and after.data_hash == before.data_hash


def test_another_version_makes_them_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read(root)
    monkeypatch.setattr(Looked, "regions_version", 2)
    Looked.calls = 0
    read(root)
    assert Looked.calls > 0


def test_masks_and_boxes_are_regions_where_asked_for(root: Path) -> None:
    rows = rows_of(read(root, Regions(derived=True)))
    assert facts(rows, 0)[2:] == [(-1, "lung", "mask", "", 1.0), (-1, "nodule", "box", "", 0.5)]
    assert facts(rows, 1) == [(-1, "nodule", "box", "", 0.5)], "an empty mask is none"
    assert not Regions().offered(_without_regions()) and Regions(True).offered(_without_regions())


def _without_regions() -> Dataset:
    class Boxed(Looked):
        has_regions = False

    return Boxed()


@pytest.mark.parametrize(
    "line, reason",
    [
        ("2 1", "has a region of sentence 2, its report has 2"),
        ("-2 1", "has a region of sentence -2; -1 stands for none"),
        ("0 1.5", r"has a region with values outside \[0, 1\]"),
        ("0 nan", r"has a region with values outside \[0, 1\]"),
    ],
)
def test_an_impossible_region_is_named_and_skipped(root: Path, line: str, reason: str) -> None:
    (root / "1.txt").write_text(f"{line}\n")
    with pytest.raises(DataError, match=rf"dataset 'looked', image .*/1\.png {reason}"):
        read(root)
    left = read(root, on_error="skip")
    assert left.index["image_id"].tolist() == ["0", "2"]
    assert [item.id for item in left.skipped] == ["1"]
    assert facts(rows_of(left), 1)[0][0] == 1, "the others keep their own"


@pytest.mark.parametrize("missing", [np.nan, None, ""])
def test_a_region_of_a_sentence_of_a_missing_report_is_named(
    root: Path, missing: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = Looked.index
    monkeypatch.setattr(Looked, "index", lambda *of: index(*of).assign(report=missing))
    with pytest.raises(DataError, match=r"has a region of sentence \d, its report has 0"):
        read(root)


@pytest.mark.parametrize(
    "region, reason",
    [
        (Region(np.zeros((8, 8))), r"has a region of shape \[8, 8\], \[56, 56\] was expected"),
        (Region(np.zeros((56, 56)), source="eye"), "of source 'eye', none of gaze, mask, box"),  # type: ignore[arg-type]
    ],
)
def test_a_wrong_map_or_source_is_named(
    root: Path, region: Region, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Looked, "regions", lambda *_: [region])
    with pytest.raises(DataError, match=reason):
        read(root)


def test_a_dataset_without_regions_is_refused(root: Path) -> None:
    with pytest.raises(DataError, match="dataset 'looked' has no regions"):
        prepare(_without_regions(), root, size=32, annotations=[Regions()])
