"""SIIM-ACR as downloaded: masks, patients, quirks, errors, and the row-level split of the
references."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bench.core.errors import DataError
from bench.data.annotations import Masks
from bench.data.loading import prepare
from bench.data.roots import resolve_root
from bench.data.splits import check_leaks, default_split
from tasks.datasets._mgca_siim import balanced_subset, row_level_split
from tasks.datasets.siim import Siim
from tests.support.published import reference_split
from tests.tasks.datasets.fakes import write_siim

SIIM = Siim()


@pytest.fixture
def truth(tmp_path: Path) -> dict[str, np.ndarray]:
    return write_siim(tmp_path / "siim")


@pytest.fixture
def root(tmp_path: Path, truth: dict[str, np.ndarray]) -> Path:
    return tmp_path / "siim"


def test_index(root: Path, truth: dict[str, np.ndarray]) -> None:
    index = SIIM.index(root)
    assert len(index) == index["image_id"].nunique() == 30
    assert index["patient_id"].nunique() == 15
    row = index.set_index("image_id").loc["1.2.276.6"]
    assert (row["patient_id"], row["sex"], row["age"], row["view"], row["study_id"]) == (
        "patient-3",
        "M",
        26.0,
        "PA",
        "1.2.study.6",
    )
    assert (len(row["rle"]), row["label:Pneumothorax"], row["rows"], row["columns"]) == (
        2,
        1,
        32,
        32,
    )
    assert index["label:Pneumothorax"].sum() == 10
    assert set(index["split"]) == {""}


def test_masks_are_the_union_of_the_rows(root: Path, truth: dict[str, np.ndarray]) -> None:
    index = SIIM.index(root)
    for _, row in index.iterrows():
        assert (SIIM.mask(row, root)[0] == truth[row["image_id"]]).all()


def test_stage_2_spelling_without_blanks(tmp_path: Path) -> None:
    truth = write_siim(tmp_path / "s", blank="")
    (tmp_path / "s" / "train-rle.csv").rename(tmp_path / "s" / "stage_2_train.csv")
    index = SIIM.index(tmp_path / "s")
    assert (
        index["label:Pneumothorax"] == index["image_id"].map(lambda image: int(truth[image].any()))
    ).all()


def test_prepared_masks_lie_on_the_images(root: Path, truth: dict[str, np.ndarray]) -> None:
    prepared = prepare(SIIM, root, size=32, annotations=(Masks(),))
    index = default_split(prepared.index)
    check_leaks(index)
    test = prepared.subset(index[index["split"] == "test"])
    for number, image in enumerate(test.index["image_id"]):
        assert (test.masks(slice(number, number + 1))[0, 0] == truth[image]).all()
    assert prepared.data_hash == prepare(SIIM, root, size=32, annotations=(Masks(),)).data_hash


def test_headers_are_read_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = SIIM.index(root)
    monkeypatch.setattr("bench.data.headers.read_header", lambda *_: pytest.fail("read again"))
    pd.testing.assert_frame_equal(SIIM.index(root), first)


def test_found_by_its_folder(root: Path) -> None:
    assert resolve_root(SIIM, root.parent).path == root
    assert resolve_root(SIIM, root).path == root


def test_published_counts_are_compared(root: Path) -> None:
    messages = [finding.message for finding in SIIM.validate(root)]
    assert "images: 30 found, 10675 expected (published for stage 1)." in messages
    (root / "DEMO.json").write_text(json.dumps({"counts": {"images": 30, "positive images": 10}}))
    assert {finding.level for finding in SIIM.validate(root)} == {"ok"}


def test_images_without_a_row_are_left_out_and_counted(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tasks.datasets._files import scan

    table = root / "train-rle.csv"
    lines = table.read_text().splitlines()
    table.write_text("\n".join(line for line in lines if not line.startswith("1.2.276.1,")) + "\n")
    assert len(SIIM.index(root)) == 29
    walks = []

    def counted(*given: Any) -> Any:
        walks.append(given)
        return scan(*given)

    monkeypatch.setattr("tasks.datasets._files.scan", counted)
    assert any(
        "1 images on disk without a row" in finding.message for finding in SIIM.validate(root)
    )
    assert len(walks) == 1


def test_blank_patient_falls_back_to_the_study(root: Path) -> None:
    from tests.bench.data.dicoms import write_dicom

    path = next((root / "dicom-images-train").rglob("1.2.276.5.dcm"))
    write_dicom(path, np.zeros((32, 32), np.uint8), uid="1.2.276.5")
    row = SIIM.index(root).set_index("image_id").loc["1.2.276.5"]
    assert row["patient_id"] == "1.2.study.5"
    assert np.isnan(row["age"])


# ------------------------------------------------------------------------------------------- errors
def edit(root: Path, old: str, new: str) -> None:
    table = root / "train-rle.csv"
    text = table.read_text()
    assert old in text
    table.write_text(text.replace(old, new, 1))


def test_table_without_its_column(root: Path) -> None:
    edit(root, "EncodedPixels", "Pixels")
    with pytest.raises(
        DataError,
        match=r"train-rle\.csv lacks the column 'EncodedPixels'. Columns found: ImageId, Pixels",
    ):
        SIIM.index(root)


def test_missing_table(root: Path) -> None:
    (root / "train-rle.csv").unlink()
    with pytest.raises(DataError, match=r"train-rle\.csv does not exist"):
        SIIM.index(root)


def test_runs_longer_than_the_image(root: Path) -> None:
    edit(root, "1.2.276.1, -1", "1.2.276.1, 5 2000")
    with pytest.raises(
        DataError,
        match=r"train-rle\.csv, line \d+, image '1\.2\.276\.1': the runs end at pixel 2005",
    ):
        prepare(SIIM, root, size=16, annotations=(Masks(),))
    prepared = prepare(SIIM, root, size=16, annotations=(Masks(),), on_error="skip")
    assert [item.id for item in prepared.skipped] == ["1.2.276.1"]
    assert len(prepared.index) == 29


def test_line_named_in_an_error_is_the_line_of_the_file(root: Path) -> None:
    edit(root, "1.2.276.1, -1", "1.2.276.1, 5 2000")
    lines = (root / "train-rle.csv").read_text().splitlines()
    number = next(number for number, line in enumerate(lines, 1) if line.startswith("1.2.276.1,"))
    with pytest.raises(DataError, match=f"line {number},"):
        prepare(SIIM, root, size=16, annotations=(Masks(),))


def test_truncated_dicom(root: Path) -> None:
    path = next((root / "dicom-images-train").rglob("1.2.276.4.dcm"))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"1\.2\.276\.4\.dcm is truncated or corrupt"):
        prepare(SIIM, root, size=16)
    prepared = prepare(SIIM, root, size=16, annotations=(Masks(),), on_error="skip")
    assert [item.id for item in prepared.skipped] == ["1.2.276.4"]
    subset = prepared.subset(SIIM.index(root))
    assert len(subset) == 29
    assert "1.2.276.4" not in set(subset.index["image_id"])


def test_missing_dicom(root: Path) -> None:
    next((root / "dicom-images-train").rglob("1.2.276.4.dcm")).unlink()
    with pytest.raises(
        DataError, match=r"1 of 30 images of .*train-rle\.csv have no file .*'1\.2\.276\.4\.dcm'"
    ):
        SIIM.index(root)


def test_blank_runs(root: Path) -> None:
    edit(root, "1.2.276.1, -1", "1.2.276.1, ")
    with pytest.raises(DataError, match=r"train-rle\.csv, line \d+: a blank"):
        SIIM.index(root)


# ---------------------------------------------------------------------------- the references' split
def big_index(images: int = 10675, positive: int = 2379, several: int = 624) -> pd.DataFrame:
    """Return an index with the counts of stage 1: 11,582 rows, 624 images with 2 to 10 of them."""
    rng = np.random.default_rng(0)
    masks = np.ones(images, int)
    masks[:several] = 2
    masks[rng.choice(several, 11582 - images - several)] += 1
    while masks.sum() < 11582:
        masks[rng.integers(several)] += 1
    label = np.arange(images) < positive
    owner = rng.permutation(np.repeat(np.arange(images), masks))
    lines: list[list[int]] = [[] for _ in range(images)]
    for line, image in enumerate(owner):
        lines[image].append(line)
    index = pd.DataFrame(
        {
            "image_id": [f"i{number}" for number in range(images)],
            "csv_rows": [tuple(rows) for rows in lines],
        }
    )
    index["rle"] = [
        tuple("0 1" if label[number] else "-1" for _ in rows) for number, rows in enumerate(lines)
    ]
    index["patient_id"], index["path"], index["split"] = (
        index["image_id"],
        index["image_id"] + ".dcm",
        "",
    )
    return index.assign(**{"label:Pneumothorax": label.astype(int)})


def test_row_level_split_has_the_published_sizes_and_leaks() -> None:
    index = big_index()
    split = row_level_split(index)
    rows = split.assign(n=split["rle"].map(len)).groupby("split")["n"].sum().to_dict()
    assert rows == {"train": 8107, "val": 1738, "test": 1737}
    warning = check_leaks(split, allow=True)
    assert "images stand in more than one split" in warning
    shared = split[split["image_id"].duplicated(keep=False)]
    whole = index.set_index("image_id")["rle"].map(len)
    parts = shared["rle"].map(len).groupby(shared["image_id"]).sum()
    assert (parts == whole.loc[parts.index]).all()


def test_row_level_split_is_the_one_sklearn_makes_of_the_table() -> None:
    from sklearn.model_selection import train_test_split

    index = big_index(200, 60, 20)
    table = (
        index[["image_id", "csv_rows"]]
        .explode("csv_rows")
        .sort_values("csv_rows")
        .reset_index(drop=True)
    )
    train, rest = train_test_split(table, test_size=0.3, random_state=0)
    test, val = train_test_split(rest, test_size=0.5, random_state=0)
    split = row_level_split(index)
    for name, rows in (("train", train), ("val", val), ("test", test)):
        assert (
            split[split["split"] == name]["image_id"].tolist() == rows["image_id"].unique().tolist()
        )


def test_balanced_subset_draws_as_the_reference() -> None:
    train = row_level_split(big_index(600, 100, 40)).query("split == 'train'")
    positive = train[train["label:Pneumothorax"] == 1]["image_id"].tolist()
    negative = train[train["label:Pneumothorax"] == 0]["image_id"].to_numpy()
    state = np.random.get_state()
    np.random.seed(42)
    chosen = set(np.random.choice(negative, size=len(positive), replace=False))
    images = np.array(positive + [image for image in negative if image in chosen], dtype=object)
    tenth = set(np.random.choice(images, size=int(len(images) * 0.1), replace=False))
    np.random.set_state(state)
    assert set(balanced_subset(train, 1.0, 42)["image_id"]) == set(images)
    assert set(balanced_subset(train, 0.1, 42)["image_id"]) == tenth


def test_balanced_subset_refuses_what_it_cannot_draw() -> None:
    train = row_level_split(big_index(600, 100, 40)).query("split == 'train'")
    with pytest.raises(DataError, match="0.001 of"):
        balanced_subset(train, 0.001, 42)
    with pytest.raises(DataError, match="negative images for"):
        balanced_subset(train[train["label:Pneumothorax"] == 1], 1.0, 42)


def test_scattered_masks_are_decoded_per_split(root: Path, truth: dict[str, np.ndarray]) -> None:
    prepared = prepare(SIIM, root, size=32, annotations=(Masks(),))
    split = reference_split(SIIM, prepared.index, "mgca", 0)
    assert SIIM.reference_split(prepared.index, "default", 0) is None
    areas = {
        name: prepared.subset(split[split["split"] == name]) for name in ("train", "val", "test")
    }
    found = {image: np.zeros((32, 32), np.uint8) for image in truth}
    for subset in areas.values():
        for number, (_, row) in enumerate(subset.index.iterrows()):
            mask = subset.masks(number)[0]
            assert (mask == SIIM.mask(row, root)[0]).all()
            found[row["image_id"]] |= mask
    assert all((found[image] == truth[image]).all() for image in truth)


def test_kaggles_stage_2_with_all_images_in_one_folder(tmp_path: Path) -> None:
    from tests.tasks.datasets.every_fake import write_siim_flat

    root = tmp_path / "pneumothorax"
    write_siim_flat(root)
    assert resolve_root(SIIM, tmp_path).path == root
    index = SIIM.index(root)
    assert len(index) == 30 and index["path"].str.startswith("stage_2_images/").all()
    assert index["study_id"].tolist() == index["image_id"].tolist()
    messages = {finding.message: finding.level for finding in SIIM.validate(root)}
    assert messages["images: 30 found, 12047 expected (published for stage 2)."] == "error"
    assert messages["positive images: 10 found, 2669 expected (published for stage 2)."] == "error"


def test_stage_2_labels_the_test_images_of_stage_1_too(root: Path) -> None:
    (root / "train-rle.csv").rename(root / "stage_2_train.csv")
    path = next((root / "dicom-images-train").rglob("1.2.276.7.dcm"))
    (root / "dicom-images-test" / "study" / "series").mkdir(parents=True)
    path.rename(root / "dicom-images-test" / "study" / "series" / path.name)
    assert SIIM.index(root)["path"].str.startswith("dicom-images-test/").sum() == 1
