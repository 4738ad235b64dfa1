"""EGD-CXR as downloaded: reports as dictated, gaze in the time of each sentence, boxes, errors."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bench.core.errors import DataError
from bench.data.annotations import Regions
from bench.data.indexing import read_index
from bench.data.loading import prepare
from bench.data.notes import notes
from bench.data.regions import RegionRows, map_of_box
from bench.data.roots import find_dataset
from tasks.datasets._gaze import NO_DURATION, OUTSIDE, gaze_map
from tasks.datasets.egd_cxr import INVALID, UNLISTED_BOXES, UNLISTED_FIXATIONS, EgdCxr
from tests.support.gaze import IMAGES, write_egd

EGD = EgdCxr()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_egd(tmp_path / "data")
    return tmp_path / "data"


def transcript(root: Path, image: str = IMAGES[2]) -> Path:
    folder = root / "egd_cxr" / "audio_segmentation_transcripts"
    return folder / image / "transcript.json"


def regions_of(root: Path) -> RegionRows:
    prepared = prepare(EGD, root, size=32, annotations=[Regions()])
    return prepared.subset(prepared.index).get(Regions)


def test_index(root: Path) -> None:
    index = EGD.index(root)
    assert index["image_id"].tolist() == list(IMAGES)
    row = index.iloc[0]
    assert row["report"] == row["findings"] == "No effusion. Nodule of 1.5 cm."
    assert row["path"] == "mimic_cxr/files/p10/p10000000/s50000000/00000000-AP.jpg"
    assert (row["patient_id"], row["view"], row["height"], row["width"]) == (
        *("10000000", "AP"),
        *(20, 16),
    )
    assert index["split"].value_counts().to_dict() == {"train": 4, "val": 2, "test": 2}
    assert row["spoken"] == ((2.0, 2.9), (4.0, 5.4))
    assert [each[2] for each in row["fixations"]] == [0.1, 0.6, 2.4, 3.1]
    assert notes(index).left_out == {INVALID: 1, OUTSIDE: 8, NO_DURATION: 8}


def test_maps_of_sentences_of_the_study_and_of_parts_of_the_body(root: Path) -> None:
    regions = regions_of(root)[0]
    facts = [(each.sentence, each.label, each.source) for each in regions]
    assert facts == [(-1, "", "gaze"), (0, "", "gaze"), (1, "", "gaze"), (-1, "heart", "box")]
    degree = 20 / 25
    looks = [
        (x, y, start, long, degree, degree)
        for x, y, start, long in ((4, 5, 0.6, 0.5), (6, 15, 2.4, 0.2), (12, 15, 3.1, 0.4))
    ]
    np.testing.assert_allclose(regions[1].map, gaze_map(looks[:2], 20, 16), atol=0.003)
    np.testing.assert_allclose(regions[2].map, gaze_map(looks[2:], 20, 16), atol=0.003)
    np.testing.assert_allclose(regions[3].map, map_of_box((4, 6, 12, 14), (20, 16)), atol=0.003)


def test_it_is_found_beside_mimic_cxr_and_inside_it(root: Path, tmp_path: Path) -> None:
    assert find_dataset(EGD, root) == root
    (root / "egd_cxr").rename(root / "mimic_cxr" / "egd-cxr-1.0.0")
    assert find_dataset(EGD, root) == root / "mimic_cxr"
    assert EGD.index(root / "mimic_cxr")["path"].str.startswith("files/").all()


def test_without_mimic_cxr_it_says_where_it_looked(root: Path) -> None:
    (root / "mimic_cxr").rename(root / "elsewhere")
    with pytest.raises(DataError, match=r"MIMIC-CXR, whose images .* is not in .*mimic_cxr/"):
        EGD.index(root)


def test_boxes_are_optional(root: Path) -> None:
    (root / "egd_cxr" / "bounding_boxes.csv").unlink()
    assert [each.source for each in regions_of(root)[0]] == ["gaze"] * 3


def test_what_belongs_to_no_listed_image_is_counted_alone(root: Path) -> None:
    before = notes(EGD.index(root))
    assert (before.unmatched[UNLISTED_FIXATIONS], before.unmatched[UNLISTED_BOXES]) == (0, 0)
    home = root / "egd_cxr"
    looks = ["s1,unlisted,1.0,0.2,0,3,3", "s1,unlisted,soon,0.2,1,99,3"]
    for name, rows in (
        ("fixations.csv", looks),
        ("bounding_boxes.csv", ["unlisted,heart,4,4,6,6"]),
    ):
        with (home / name).open("a") as file:
            file.writelines(f"{row}\n" for row in rows)
    after = notes(EGD.index(root))
    assert after.left_out == before.left_out
    assert (after.unmatched[UNLISTED_FIXATIONS], after.unmatched[UNLISTED_BOXES]) == (2, 1)


# ------------------------------------------------------------------------------------------- errors
@pytest.mark.parametrize(
    "content, reason",
    [
        ({"time_stamped_text": [{"phrase": "Clear"}]}, "entry 1 .*its begin is 'None'"),
        ({"full_text": "Clear lungs."}, "has no list 'time_stamped_text'"),
        ({"time_stamped_text": []}, "has no list 'time_stamped_text'"),
        ([1], "has no list 'time_stamped_text'"),
        (
            {"time_stamped_text": [{"phrase": ".", "begin_time": 0, "end_time": 1}]},
            "has no word",
        ),
    ],
)
def test_a_transcript_without_times_is_named_or_left_out(
    root: Path, content: object, reason: str
) -> None:
    transcript(root).write_text(json.dumps(content))
    with pytest.raises(DataError, match=f"transcript .*{IMAGES[2]}/transcript.json.*{reason}"):
        EGD.index(root)
    index, skipped = read_index(EGD, root, "skip")
    assert len(index) == 7 and IMAGES[2] not in set(index["image_id"])
    assert [IMAGES[2] in item.reason for item in skipped] == [True]


def test_a_transcript_that_is_not_there_is_named(root: Path) -> None:
    transcript(root).unlink()
    with pytest.raises(DataError, match="transcript.json does not exist"):
        EGD.index(root)


def test_an_image_that_mimic_cxr_lacks_is_named_or_left_out(root: Path) -> None:
    path = root / "egd_cxr" / "master_sheet.csv"
    path.write_text(path.read_text().replace(IMAGES[3], "unknown-id", 1))
    with pytest.raises(
        DataError, match=r"master_sheet.csv, line 5: dicom_id 'unknown-id' is not in MIMIC-CXR"
    ):
        EGD.index(root)
    index, skipped = read_index(EGD, root, "skip")
    assert len(index) == 7 and [item.id for item in skipped] == ["unknown-id"]


@pytest.mark.parametrize("column", ["FPOGS", "FPOGD", "FPOGV", "X_ORIGINAL", "Y_ORIGINAL"])
def test_a_missing_column_of_the_fixations_is_named(root: Path, column: str) -> None:
    path = root / "egd_cxr" / "fixations.csv"
    path.write_text(path.read_text().replace(column, "other", 1))
    with pytest.raises(DataError, match=rf"fixations.csv lacks the column '{column}'"):
        EGD.index(root)


def test_a_fixation_that_is_no_number_is_named_or_its_image_left_out(root: Path) -> None:
    path = root / "egd_cxr" / "fixations.csv"
    path.write_text(path.read_text().replace(f"{IMAGES[1]},0.6", f"{IMAGES[1]},soon", 1))
    with pytest.raises(DataError, match=r"fixations.csv, line 10: FPOGS is no number"):
        EGD.index(root)
    index, skipped = read_index(EGD, root, "skip")
    assert IMAGES[1] not in set(index["image_id"]) and [item.id for item in skipped] == [IMAGES[1]]
