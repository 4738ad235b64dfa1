"""The demos with boxes, and NIH's: native layout, readers that agree, same bytes whatever the
workers, restart after a kill."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pydicom
import pytest
from PIL import Image

from bench.contracts import DATASETS
from bench.data.splits import check_leaks, default_split
from tasks.datasets._shapes import parse_shapes
from tasks.datasets.demos import nih, object_cxr, rsna, tbx11k, vindr
from tasks.demo.beam.render import Rendering
from tasks.demo.body import foreign
from tasks.demo.body.patient import Study
from tasks.demo.writers import manifest
from tests.tasks.demo.conftest import content

WRITERS = (nih, object_cxr, rsna, tbx11k, vindr)
SIZE, STUDIES, SEED = 96, 24, 5


def name_of(writer: ModuleType) -> str:
    return writer.__name__.rsplit(".", 1)[-1]


@pytest.fixture(scope="module")
def demos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every demo, written once."""
    home = tmp_path_factory.mktemp("demos")
    for writer in WRITERS:
        writer.write(home / name_of(writer), studies=STUDIES, size=SIZE, seed=SEED, workers=1)
    return home


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open() as stream:
        return list(csv.DictReader(stream))


def truth_of(folder: Path) -> dict[str, dict[str, Any]]:
    return {
        record["image_id"]: record
        for record in map(json.loads, (folder / manifest.TRUTH).read_text().splitlines())
    }


@pytest.mark.parametrize("writer", WRITERS)
def test_the_reader_agrees_with_the_manifest_and_can_split(demos: Path, writer: ModuleType) -> None:
    dataset = DATASETS.get(name_of(writer))
    root = demos / name_of(writer)
    assert {finding.level for finding in dataset.validate(root)} == {"ok"}
    index = dataset.index(root)
    assert len(index) == STUDIES
    split = default_split(index)
    check_leaks(split)
    assert set(split["split"]) == {"train", "val", "test"}


@pytest.mark.parametrize("writer", [object_cxr, rsna, tbx11k, vindr])
def test_boxes_and_masks_belong_together(demos: Path, writer: ModuleType) -> None:
    dataset, root = DATASETS.get(name_of(writer)), demos / name_of(writer)
    found = 0
    for _, row in dataset.index(root).iterrows():
        boxes, mask = dataset.boxes(row, root), dataset.mask(row, root)
        assert bool(len(boxes)) == bool(mask.any())
        found += len(boxes)
        for x1, y1, x2, y2, _ in boxes:
            assert mask[0, int(y1) : int(np.ceil(y2)), int(x1) : int(np.ceil(x2))].any()
    assert found > 2


def test_rsna_boxes_are_the_truth_one_row_each(demos: Path) -> None:
    root = demos / "rsna"
    truth, rows = truth_of(root), rows_of(root / rsna.TABLE)
    positive = [row for row in rows if row["Target"] == "1"]
    assert len(rows) == len(rows_of(root / rsna.CLASSES_TABLE)) > STUDIES, (
        "an image with two boxes occurs twice in both tables"
    )
    for row in positive:
        box = [round(float(row[key])) for key in ("x", "y", "width", "height")]
        assert box in truth[row["patientId"]]["boxes"]["consolidation"]
    assert {row["x"] for row in rows if row["Target"] == "0"} == {""}


def test_rsna_files_are_compressed_and_ages_have_no_unit(demos: Path) -> None:
    for path in sorted((demos / "rsna" / rsna.FILES).glob("*.dcm"))[:3]:
        file = pydicom.dcmread(path)
        assert file.file_meta.TransferSyntaxUID == pydicom.uid.JPEGBaseline8Bit
        assert file.pixel_array.shape == (SIZE, SIZE)
    assert DATASETS.get("rsna").index(demos / "rsna")["age"].between(18, 95).all()


def test_nih_quirks(demos: Path) -> None:
    root = demos / "nih"
    text = (root / nih.TABLE).read_text().splitlines()
    assert text[0].endswith("OriginalImagePixelSpacing[x,y],")
    assert {path.name for path in root.glob("images_*")} == {
        "images_001",
        "images_002",
        "images_003",
    }
    assert {Image.open(path).mode for path in root.rglob("*.png")} == {"L", "RGBA"}
    assert any(row["Follow-up #"] == "1" for row in rows_of(root / nih.TABLE))
    truth = truth_of(root)
    for row in rows_of(root / nih.TABLE):
        names = {finding["name"] for finding in truth[row["Image Index"]]["findings"]}
        assert ("Effusion" in row["Finding Labels"]) == ("effusion" in names)


def test_vindr_has_three_readers_in_train_and_none_in_test(demos: Path) -> None:
    root = demos / "vindr"
    train, test = (rows_of(root / vindr.LABELS.format(split)) for split in ("train", "test"))
    assert len(train) == 3 * len({row["image_id"] for row in train})
    assert "rad_id" not in test[0]
    boxes = rows_of(root / vindr.BOXES.format("train"))
    assert {(row["image_id"], row["rad_id"]) for row in boxes} == {
        (row["image_id"], row["rad_id"]) for row in train
    }
    files = [pydicom.dcmread(path) for path in root.rglob("*.dicom")]
    assert {file.BitsStored for file in files} == {12}
    assert len({file.Columns for file in files}) > 2
    assert not any("PatientID" in file for file in files)


def test_object_cxr_names_and_types(demos: Path) -> None:
    root = demos / "object_cxr"
    rows = [row for part in ("train", "dev", "test") for row in rows_of(root / f"{part}.csv")]
    kinds = {shape.kind for row in rows for shape in parse_shapes(row["annotation"], "")}
    assert {"0", "1", "2"} == kinds
    assert {next(iter(row)) for row in rows} == {"image_name", "image_path"}
    assert 4 < sum(bool(row["annotation"]) for row in rows) < STUDIES - 4


def test_foreign_objects_are_bright_where_their_masks_are_and_nothing_else_changes() -> None:
    image, lungs = np.full((SIZE, SIZE), 90, np.uint8), np.zeros((SIZE, SIZE), np.uint8)
    lungs[20:70, 20:70] = 1
    counts = set()
    for seed in range(20):
        changed, masks = foreign.add_objects(image, lungs, np.random.default_rng(seed))
        union = np.maximum.reduce(masks)
        assert sum(int(mask.sum()) for mask in masks) == union.sum(), "objects lie apart"
        assert (changed[union > 0] > 130).all()
        assert (changed[cv2.dilate(union, np.ones((5, 5), np.uint8)) == 0] == 90).all()
        counts.add(len(masks))
    assert len(counts) > 2


def test_tbx11k_boxes_are_dictionaries_of_upper_opacities(demos: Path) -> None:
    root = demos / "tbx11k"
    truth = truth_of(root)
    for row in rows_of(root / tbx11k.TABLE):
        upper = any(
            finding["name"] == "consolidation" and finding["location"] == "upper"
            for finding in truth[row["fname"]]["findings"]
        )
        assert (row["target"] == "tb") == upper == row["fname"].startswith("tb")
        assert (row["bbox"] == "none") == (row["target"] == "no_tb")


@pytest.mark.parametrize("writer", [rsna, vindr])
def test_two_workers_write_the_same_bytes_as_one(writer: ModuleType, tmp_path: Path) -> None:
    for workers in (1, 2):
        writer.write(tmp_path / str(workers), studies=5, size=64, seed=1, workers=workers)
    assert content(tmp_path / "1") == content(tmp_path / "2")


@pytest.mark.parametrize("writer", WRITERS)
def test_restart_after_a_kill_completes_the_same_folder(
    writer: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer.write(tmp_path / "whole", studies=4, size=64, seed=1, workers=1)
    real, calls = writer.render, []

    def dying(*arguments: Study | int) -> Rendering:
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(writer, "render", dying)
    with pytest.raises(KeyboardInterrupt):
        writer.write(tmp_path / "killed", studies=4, size=64, seed=1, workers=1)
    assert not (tmp_path / "killed" / manifest.MANIFEST).exists()
    writer.write(tmp_path / "killed", studies=4, size=64, seed=1, workers=1)
    assert content(tmp_path / "killed") == content(tmp_path / "whole")


@pytest.mark.parametrize("writer", WRITERS)
def test_another_seed_writes_other_images(writer: ModuleType, tmp_path: Path) -> None:
    for seed in (1, 2):
        writer.write(tmp_path / str(seed), studies=2, size=64, seed=seed, workers=1)
    images = [
        {
            data
            for name, data in content(tmp_path / str(seed)).items()
            if name.endswith((".dcm", ".dicom", ".jpg", ".png"))
        }
        for seed in (1, 2)
    ]
    assert len(images[0]) == 2
    assert not images[0] & images[1]
