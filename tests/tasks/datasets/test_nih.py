"""NIH ChestX-ray14 as downloaded: findings, official lists, folders, MRM's lists, and files that
are wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.core.errors import DataError
from bench.data.loading import prepare
from bench.data.roots import resolve_root
from bench.data.splits import check_leaks, default_split
from tasks.datasets.nih import Nih
from tests.support.nih import TABLE, name, write_nih
from tests.support.published import reference_split, reference_subset

NIH = Nih()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_nih(tmp_path / "nih")


def edit(root: Path, file: str, old: str, new: str) -> None:
    text = (root / file).read_text()
    assert old in text
    (root / file).write_text(text.replace(old, new, 1))


def test_index(root: Path) -> None:
    index = NIH.index(root)
    assert index["image_id"].tolist() == [name(number) for number in range(40)]
    row = index.iloc[21]
    assert row["path"] == f"images_002/images/{name(21)}"
    assert (row["patient_id"], row["age"], row["sex"], row["view"], row["split"]) == (
        "11",
        61,
        "F",
        "PA",
        "train",
    )
    assert [label for label in NIH.label_names if row[f"label:{label}"]] == [
        "Cardiomegaly",
        "Emphysema",
    ]
    assert index[[f"label:{label}" for label in NIH.label_names]].to_numpy().sum() == 10 * (
        0 + 2 + 1 + 1
    )
    assert index["split"].value_counts().to_dict() == {"train": 30, "test": 10}


def test_an_impossible_age_is_unknown_and_counted(root: Path) -> None:
    assert np.isnan(NIH.index(root).iloc[5]["age"])
    assert any(
        "1 images without an age of 0 to 120 years" in finding.message
        for finding in NIH.validate(root)
    )


def test_the_older_age_form_is_read(root: Path) -> None:
    edit(root, TABLE, ",47,", ",047Y,")
    edit(root, TABLE, ",48,", ",006M,")
    ages = NIH.index(root)["age"]
    assert 47 in ages.to_numpy()
    assert 0.5 in ages.to_numpy()


def test_validation_is_drawn_by_patient_and_the_official_test_kept(root: Path) -> None:
    assert resolve_root(NIH, root).path == root
    prepared = prepare(NIH, root, size=16)
    split = default_split(prepared.index)
    check_leaks(split)
    assert set(split.loc[split["split"] == "test", "image_id"]) == {
        name(number) for number in range(30, 40)
    }
    assert {"train", "val", "test"} == set(split["split"])


def test_one_folder_of_images_and_the_newer_table(root: Path) -> None:
    (root / "images").mkdir()
    for path in sorted(root.glob("images_*/images/*.png")):
        path.rename(root / "images" / path.name)
    (root / TABLE).rename(root / "Data_Entry_2017_v2020.csv")
    assert NIH.index(root)["path"].iloc[0] == f"images/{name(0)}"


def test_counts_are_compared(root: Path) -> None:
    messages = [finding.message for finding in NIH.validate(root)]
    for message in (
        "images: 40 found, 112120",
        "patients: 20 found, 30805",
        "Hernia: 10 found, 227",
        "No Finding: 10 found, 60361",
    ):
        assert any(line.startswith(message) for line in messages), message
    assert "images of test_list.txt: 10 found, 25596 expected (published)." in messages


def test_published_counts_add_up() -> None:
    from tasks.datasets.nih import PUBLISHED_COUNTS

    assert (
        PUBLISHED_COUNTS["images of train_val_list.txt"]
        + PUBLISHED_COUNTS["images of test_list.txt"]
        == PUBLISHED_COUNTS["images"]
    )
    assert sum(PUBLISHED_COUNTS[label] for label in NIH.label_names) == 81176


def test_benchx_follows_mrms_lists(root: Path) -> None:
    with pytest.raises(DataError, match="from the lists of MRM.*Put train_list.txt.*into mrm/"):
        reference_split(NIH, NIH.index(root), "benchx", 0, "classification")
    with pytest.raises(
        DataError, match="label fractions from the lists of MRM.*train_1.txt, train_10.txt"
    ):
        reference_subset(NIH, NIH.index(root), "benchx", 0.1, 0)
    folder = root / "mrm"
    folder.mkdir()
    parts = {
        "train_list.txt": range(20),
        "val_list.txt": range(20, 24),
        "test_list.txt": range(24, 36),
    }
    parts |= {"train_1.txt": range(2), "train_10.txt": range(6)}
    for file, numbers in parts.items():
        (folder / file).write_text("".join(f"{name(number)} {' 0' * 14}\n" for number in numbers))
    split = reference_split(NIH, NIH.index(root), "benchx", 0, "classification")
    assert split["split"].value_counts().to_dict() == {"train": 20, "val": 4, "test": 12}
    train = split[split["split"] == "train"]
    for fraction, count in ((0.01, 2), (0.1, 6)):
        assert len(reference_subset(NIH, train, "benchx", fraction, 0)) == count
    assert NIH.reference_subset(train, "benchx", 1.0, 0) is None
    assert NIH.reference_subset(train, "default", 0.1, 0) is None
    with pytest.raises(DataError, match=r"no list of 0\.5 .*Use 0\.01, 0\.1 or 1"):
        reference_subset(NIH, train, "benchx", 0.5, 0)
    assert NIH.reference_split(NIH.index(root), "default", 0) is None


def test_mrms_lists_need_not_nest(root: Path) -> None:
    """Of the 785 images of MRM's 1 % list only 77 are among the 7,847 of its 10 % list."""
    folder = root / "mrm"
    folder.mkdir()
    parts = {"train_list.txt": range(20), "val_list.txt": [20], "test_list.txt": [24]}
    parts |= {"train_1.txt": (0, 1, 2), "train_10.txt": (2, 3, 4, 5, 6)}
    for file, numbers in parts.items():
        (folder / file).write_text("".join(f"{name(number)}\n" for number in numbers))
    split = reference_split(NIH, NIH.index(root), "benchx", 0, "classification")
    train = split[split["split"] == "train"]
    for fraction, numbers in ((0.01, (0, 1, 2)), (0.1, (2, 3, 4, 5, 6))):
        chosen = reference_subset(NIH, train, "benchx", fraction, 0)
        assert set(chosen["image_id"]) == {name(number) for number in numbers}


# ------------------------------------------------------------------------------------------- errors
@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        (TABLE, "Hernia", "Hernias", r"line 4: Finding Labels is 'Hernias'"),
        (TABLE, "Hernia", "", r"line 4: Finding Labels is ''"),
        (TABLE, "Hernia", "Hernia|No Finding", r"line 4: Finding Labels is 'Hernia\|No Finding'"),
        (TABLE, name(7), name(6), r"Image Index '00000004_000\.png' occurs twice"),
        (TABLE, "Finding Labels", "Findings", r"lacks the column 'Finding Labels'"),
        (
            TABLE,
            name(7),
            "gone.png",
            r"1 of 40 images of .* have no file under .*images\*, e\.g\. 'gone\.png'",
        ),
        (
            "test_list.txt",
            name(39) + "\n",
            "",
            r"1 images of .* are in neither train_val_list\.txt nor test_list\.txt",
        ),
        (
            "test_list.txt",
            name(39),
            name(1),
            r"test_list\.txt: image '00000001_001\.png' is also in the list of train",
        ),
    ],
)
def test_wrong_files_are_named(root: Path, file: str, old: str, new: str, message: str) -> None:
    edit(root, file, old, new)
    with pytest.raises(DataError, match=message):
        NIH.index(root)


def test_missing_list_and_an_image_in_two_folders(root: Path) -> None:
    (root / "images_001" / "images" / name(30)).write_bytes(b"")
    with pytest.raises(DataError, match="also is"):
        NIH.index(root)
    (root / "images_001" / "images" / name(30)).unlink()
    (root / "test_list.txt").unlink()
    with pytest.raises(DataError, match=r"test_list\.txt does not exist"):
        NIH.index(root)
