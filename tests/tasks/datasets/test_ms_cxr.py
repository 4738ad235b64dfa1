"""MS-CXR as downloaded: phrases with their boxes, its own split, errors by file and entry; and its
demo."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.core.errors import DataError
from bench.data.annotations import Regions
from bench.data.indexing import read_index
from bench.data.loading import prepare
from bench.data.regions import map_of_box
from bench.data.roots import find_dataset
from tasks.datasets.demos import ms_cxr as demo
from tasks.datasets.ms_cxr import FILES, MsCxr
from tasks.demo.writers.manifest import TRUTH
from tests.support.gaze import IMAGES
from tests.support.ms_cxr import write_ms_cxr

DATA = MsCxr()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_ms_cxr(tmp_path / "data")
    return tmp_path / "data"


def edit(root: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    path = root / "ms_cxr" / FILES[0]
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return path


def test_index(root: Path) -> None:
    index = DATA.index(root)
    assert index["image_id"].tolist() == list(IMAGES)
    assert index["split"].tolist() == ["train"] * 4 + ["val"] * 2 + ["test"] * 2
    row = index.iloc[0]
    words = "opacity 0 at the base"
    assert row["phrases"] == (
        ("Pneumonia", words, (2, 3, 8, 11)),
        ("Pneumonia", words, (9, 4, 14, 14)),
    )
    assert row["path"] == "mimic_cxr/files/p10/p10000000/s50000000/00000000-AP.jpg"
    messages = [result.message for result in DATA.counts(index, root)]
    assert any("8" in message and "1047" in message for message in messages)


def test_regions_are_the_boxes_of_the_phrase(root: Path) -> None:
    prepared = prepare(DATA, root, size=32, annotations=[Regions()])
    regions = prepared.subset(prepared.index).get(Regions)[0]
    assert [(each.label, each.phrase, each.source) for each in regions] == [
        ("Pneumonia", "opacity 0 at the base", "box")
    ] * 2
    assert regions[0].map == pytest.approx(map_of_box((2, 3, 8, 11), (20, 16)), abs=1 / 255)


def test_without_a_split_patients_are_drawn(root: Path) -> None:
    edit(root, lambda content: [entry.pop("split") for entry in content["annotations"]])
    assert set(DATA.index(root)["split"]) == {""}


def test_an_image_without_a_phrase_is_not_in_the_index(root: Path) -> None:
    edit(root, lambda content: content["annotations"].pop())
    assert IMAGES[-1] not in DATA.index(root)["image_id"].tolist()


def test_it_is_found_beside_mimic_cxr(root: Path) -> None:
    assert find_dataset(DATA, root) == root


FAULTS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "box without area": (
        lambda content: content["annotations"][2].update(bbox=[1, 2, 0, 4]),
        r"entry 3 of 'annotations': a box of 0 x 4 px",
    ),
    "box of three numbers": (
        lambda content: content["annotations"][2].update(bbox=[1, 2, 3]),
        r"entry 3 of 'annotations': bbox is \[1, 2, 3\], four numbers were expected",
    ),
    "no text": (
        lambda content: content["annotations"][1].update(label_text=" "),
        r"entry 2 of 'annotations': label_text is ' '",
    ),
    "unknown category": (
        lambda content: content["annotations"][1].update(category_id=9),
        r"entry 2 of 'annotations': category_id 9 is unknown",
    ),
    "unknown image": (
        lambda content: content["annotations"][1].update(image_id=9),
        r"entry 2 of 'annotations': image_id 9 is unknown",
    ),
    "two splits": (
        lambda content: content["annotations"][1].update(split="test"),
        r"split 'test', an earlier phrase of the image has 'train'",
    ),
    "unknown split": (
        lambda content: content["annotations"][1].update(split="dev"),
        r"split is 'dev'; train, val, validate, validation, test were expected",
    ),
    "other size": (
        lambda content: content["images"][2].update(width=17),
        r"image '00000002-AP' is stated to have 17 x 20 px, its file has 16 x 20",
    ),
    "not in MIMIC-CXR": (
        lambda content: content["images"][2].update(file_name="other.jpg"),
        r"dicom_id 'other' is not in MIMIC-CXR",
    ),
    "image twice": (
        lambda content: content["images"].append(content["images"][0]),
        r"entry 9 of 'images': image '00000000-AP' or its id occurs twice",
    ),
    "no list": (
        lambda content: content.pop("annotations"),
        r"has no list 'annotations' of entries",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_wrong_is_named(root: Path, fault: str) -> None:
    change, message = FAULTS[fault]
    path = edit(root, change)
    with pytest.raises(DataError, match=message) as caught:
        DATA.index(root)
    assert path.name in str(caught.value)


def test_faults_are_skipped_where_asked(root: Path) -> None:
    edit(root, lambda content: content["annotations"][3].update(bbox=[1, 2, 0, 4]))
    index, skipped = read_index(DATA, root, "skip")
    assert len(index) == 7 and [each.id for each in skipped] == [IMAGES[2]]


def test_a_box_outside_its_image_is_named(root: Path) -> None:
    edit(root, lambda content: content["annotations"][0].update(bbox=[40, 2, 5, 4]))
    with pytest.raises(DataError, match=r"MS_CXR.*json, image '00000000-AP'"):
        prepare(DATA, root, size=32, annotations=[Regions()])


def test_both_parts_are_asked_for_by_name(root: Path, tmp_path: Path) -> None:
    (root / "ms_cxr" / FILES[0]).unlink()
    with pytest.raises(
        DataError, match=r"no file MS_CXR_Local_Alignment_v1\.1\.0\.json nor MS_CXR"
    ):
        DATA.index(root)


def test_the_demo_is_read_back_with_phrases_where_the_finding_is(tmp_path: Path) -> None:
    demo.write(tmp_path, studies=12, size=96, seed=3, workers=1)
    index = DATA.index(tmp_path)
    assert {result.level for result in DATA.validate(tmp_path)} == {"ok"}
    truth = {
        record["image_id"]: record
        for line in (tmp_path / TRUTH).read_text().splitlines()
        for record in [json.loads(line)]
    }
    assert len(index) > 2
    for row in index.itertuples():
        drawn = [tuple(box) for boxes in truth[row.image_id]["boxes"].values() for box in boxes]
        for category, text, (x1, y1, x2, y2) in row.phrases:
            assert (x1, y1, x2 - x1, y2 - y1) in drawn
            assert category in demo.CATEGORIES and len(text.split()) > 1
    assert np.isin(index["split"], ["train", "val", "test"]).all()
