"""REFLACX as downloaded: readings of three phases, several readers, ellipses, errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.core.errors import DataError
from bench.data.annotations import Regions
from bench.data.indexing import read_index
from bench.data.loading import prepare
from bench.data.notes import notes
from bench.data.regions import RegionRows
from bench.data.roots import find_dataset
from tasks.datasets._gaze import NO_DURATION, OUTSIDE, gaze_map
from tasks.datasets.reflacx import DISCARDED, Reflacx
from tests.support.gaze import FIXATIONS, IMAGES, lines, write_reflacx

REFLACX = Reflacx()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_reflacx(tmp_path / "data")
    return tmp_path / "data"


def main(root: Path) -> Path:
    return root / "reflacx" / "main_data"


def regions_of(root: Path) -> RegionRows:
    prepared = prepare(REFLACX, root, size=32, annotations=[Regions()])
    return prepared.subset(prepared.index).get(Regions)


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_index(root: Path) -> None:
    index = REFLACX.index(root)
    assert index["image_id"].tolist() == list(IMAGES)
    row = index.iloc[0]
    assert row["report"] == "No effusion. Nodule of 1.5 cm."
    assert row["path"] == "mimic_cxr/files/p10/p10000000/s50000000/00000000-AP.jpg"
    assert [len(readings) for readings in index["readings"]] == [2, *[1] * 7]
    assert notes(index).left_out == {DISCARDED: 1, OUTSIDE: 9, NO_DURATION: 9}
    assert notes(index).facts == {"readings": 10, "images": 8}
    assert find_dataset(REFLACX, root) == root


def test_maps_and_ellipses(root: Path) -> None:
    regions = regions_of(root)[1]
    facts = [(each.sentence, each.label, each.source) for each in regions]
    assert facts == [
        *((-1, "", "gaze"), (0, "", "gaze"), (1, "", "gaze")),
        *((-1, "Consolidation", "mask"), (-1, "Consolidation", "mask")),
        (-1, "Pleural abnormality", "mask"),
    ]
    looks = [(12, 15, 3.1, 0.4, 2.0, 1.0)]
    np.testing.assert_allclose(regions[2].map, gaze_map(looks, 20, 16), atol=0.003)
    area = float(regions[3].map.mean()) * 20**2
    assert area == pytest.approx(np.pi * 4 * 4, rel=0.05), "an ellipse of 8 x 8 px"


def test_an_image_of_several_readers_is_one_row_with_maps_averaged(root: Path) -> None:
    path = main(root) / "P300R100" / "fixations.csv"
    lines(path, FIXATIONS, ["4.5,4.9,3.0,4.0,2.0,1.0"])
    alone, both = (regions_of(root)[row] for row in (1, 0))
    degree = (2.0, 1.0)
    means = (
        gaze_map([(12, 15, 3.1, 0.4, *degree)], 20, 16)
        + gaze_map([(3, 4, 4.5, 0.4, *degree)], 20, 16)
    ) / 2
    np.testing.assert_allclose(both[2].map, means / means.max(), atol=0.003)
    np.testing.assert_allclose(both[1].map, alone[1].map, atol=0.003)
    assert len(REFLACX.index(root)) == 8


def test_every_phase_that_is_there_is_read(root: Path) -> None:
    table = (main(root) / "metadata_phase_1.csv").read_text().splitlines()
    (main(root) / "metadata_phase_1.csv").write_text("\n".join(table[:5]) + "\n")
    (main(root) / "metadata_phase_3.csv").write_text("\n".join([table[0], *table[5:]]) + "\n")
    assert notes(REFLACX.index(root)).facts == {"readings": 10, "images": 8}
    (main(root) / "metadata_phase_1.csv").unlink()
    assert find_dataset(REFLACX, root) == root
    assert len(REFLACX.index(root)) == 5
    (main(root) / "metadata_phase_3.csv").unlink()
    with pytest.raises(
        DataError, match=r"no file main_data/metadata_phase_1\.csv nor .*3\.csv is in"
    ):
        REFLACX.index(root)


def test_an_image_that_nobody_found_anything_in_has_no_ellipse(root: Path) -> None:
    path = main(root) / "P300R002" / "anomaly_location_ellipses.csv"
    path.write_text(path.read_text().splitlines()[0] + "\n")
    assert [each.source for each in regions_of(root)[2]] == ["gaze"] * 3


# ------------------------------------------------------------------------------------------- errors
def test_an_image_of_another_size_than_stated_is_named_or_left_out(root: Path) -> None:
    edit(main(root) / "metadata_phase_1.csv", f"{IMAGES[2]},1,16,20", f"{IMAGES[2]},1,20,16")
    message = (
        f"metadata_phase_1.csv, line 4: image '{IMAGES[2]}' is stated to have 20 x 16 px, its file "
        "has 16 x 20"
    )
    with pytest.raises(DataError, match=message):
        REFLACX.index(root)
    index, skipped = read_index(REFLACX, root, "skip")
    assert len(index) == 7 and [item.id for item in skipped] == [IMAGES[2]]


def test_an_image_that_mimic_cxr_lacks_is_named_or_left_out(root: Path) -> None:
    edit(main(root) / "metadata_phase_1.csv", f"{IMAGES[4]},1", "unknown-id,1")
    with pytest.raises(DataError, match="dicom_id 'unknown-id' is not in MIMIC-CXR"):
        REFLACX.index(root)
    index, _ = read_index(REFLACX, root, "skip")
    assert len(index) == 7


@pytest.mark.parametrize(
    "file, old, new, reason",
    [
        ("timestamps_transcription.csv", "effusion,2.4", "effusion,", "line 3: its begin is ''"),
        ("timestamps_transcription.csv", "word,", "text,", "lacks the column 'word'"),
        ("fixations.csv", "0.1,0.4", "0.1,x", "line 2: timestamp_end_fixation is 'x'"),
        ("fixations.csv", "2.0,1.0", "2.0,0.0", "line 2: a visual degree of no pixels"),
        ("fixations.csv", "x_position", "x", "lacks the column 'x_position'"),
        ("anomaly_location_ellipses.csv", "2,4,10", "2,4,1", "line 2: an ellipse without area"),
        ("anomaly_location_ellipses.csv", "True,False", "Maybe,False", "is neither True nor False"),
        ("anomaly_location_ellipses.csv", "xmin", "left", "lacks the column 'xmin'"),
    ],
)
def test_a_faulty_file_of_a_reading_is_named_or_left_out(
    root: Path, file: str, old: str, new: str, reason: str
) -> None:
    edit(main(root) / "P300R003" / file, old, new)
    with pytest.raises(DataError, match=f"P300R003/{file}.*{reason}"):
        REFLACX.index(root)
    index, skipped = read_index(REFLACX, root, "skip")
    assert IMAGES[3] not in set(index["image_id"]) and len(index) == 7
    assert ["P300R003" in item.reason for item in skipped] == [True]


def test_a_flag_that_is_none_is_named(root: Path) -> None:
    edit(main(root) / "metadata_phase_1.csv", "train,False", "train,perhaps")
    with pytest.raises(DataError, match="eye_tracking_data_discarded is neither True nor False"):
        REFLACX.index(root)
