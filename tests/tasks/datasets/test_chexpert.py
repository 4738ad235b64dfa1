"""CheXpert as downloaded: values, views, refusals; the references' split with its leak; 5x200 and
8x200."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench.contracts import KINDS, TASKS
from bench.core.errors import DataError
from bench.data.indexing import read_index
from bench.data.loading import prepare
from bench.data.reference import split_for
from bench.data.roots import find_dataset, resolve_root
from bench.data.splits import check_leaks, default_split
from tasks.datasets._chexpert import LABELS
from tasks.datasets._exclusive import EIGHT, FIVE, draw, only
from tasks.datasets.chexpert import Chexpert
from tasks.datasets.chexpert5x200 import Chexpert5x200, Chexpert8x200
from tests.support.published import reference_split, reference_subset
from tests.tasks.datasets.chexpert_fakes import big_table, write_chexpert

CHEXPERT, MEMBERS = Chexpert(), Chexpert5x200()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_chexpert(tmp_path / "chexpert")
    return tmp_path / "chexpert"


def test_index(root: Path) -> None:
    index = CHEXPERT.index(root)
    assert index["split"].value_counts().to_dict() == {"train": 24, "test": 6}
    row = index.set_index("image_id").loc["train/patient00002/study2/view1_frontal"]
    assert (row["patient_id"], row["study_id"], row["sex"], row["age"]) == (
        "patient00002",
        "patient00002/study2",
        "F",
        45.0,
    )
    assert (
        row["view"],
        row["label:Edema"],
        row["label:Fracture"],
        np.isnan(row["label:Atelectasis"]),
    ) == ("PA", -1, 1, True)
    assert (index["view"] == "LL").sum() == 3
    check_leaks(default_split(index))
    assert len(prepare(CHEXPERT, root, size=16).index) == 30


@pytest.mark.parametrize("folder", ["CheXpert-v1.0", "CheXpert-v1.0-small"])
def test_full_and_small_are_found_by_their_folders(tmp_path: Path, folder: str) -> None:
    write_chexpert(tmp_path / folder, folder=folder)
    for dataset in (CHEXPERT, MEMBERS):
        assert (
            resolve_root(dataset, tmp_path).path
            == tmp_path / folder
            == find_dataset(dataset, tmp_path / folder)
        )
    assert set(CHEXPERT.index(tmp_path / folder)["path"].str.split("/").str[0]) == {
        "train",
        "valid",
    }


def test_published_counts_are_compared_and_missing_files_named(root: Path) -> None:
    (root / "valid/patient00014/study1/view1_frontal.jpg").unlink()
    messages = {finding.message: finding.level for finding in CHEXPERT.validate(root)}
    assert messages["rows of train.csv: 24 found, 223414 expected (published)."] == "error"
    assert any(
        "1 files are missing" in message and level == "error" for message, level in messages.items()
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (",1.0,", ",2.0,", r"train\.csv, line \d+: \w[\w ]* is '2\.0'"),
        (",1.0,", ",yes,", r"line \d+: \w[\w ]* is 'yes' \(1 such rows\)"),
        ("Atelectasis", "Atelektasis", "lacks the column 'Atelectasis'"),
        ("Frontal,PA", "Oblique,PA", "Frontal/Lateral is 'Oblique'"),
        (",41,", ",old,", "Age is 'old'"),
        ("/study1/", "/x/", "is not that of an image"),
    ],
)
def test_bad_tables_are_named(root: Path, old: str, new: str, message: str) -> None:
    table = root / "train.csv"
    text = table.read_text()
    assert old in text
    table.write_text(text.replace(old, new, 1))
    with pytest.raises(DataError, match=message):
        CHEXPERT.index(root)


def test_an_image_that_stands_twice(root: Path) -> None:
    table = root / "train.csv"
    lines = table.read_text().splitlines()
    table.write_text("\n".join([*lines, lines[3]]) + "\n")
    with pytest.raises(
        DataError, match=r"train\.csv, line 26: Path '.*' occurs twice \(1 duplicates\)"
    ):
        CHEXPERT.index(root)


# ---------------------------------------------------------------------------- the references' split
def reference(table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """The procedure as described, in the steps of the description: positions chosen, row labels
    dropped."""
    labels = [f"label:{name}" for name in LABELS]
    train = table[table["split"] == "train"].fillna(dict.fromkeys(labels, 0))
    frontal = train[train["view"] != "LL"]
    others = [name for name in LABELS if name != "No Finding"]
    taken = []
    for name in FIVE:
        keep = [
            all(row[f"label:{o}"] == (o == name) for o in others)
            for row in frontal[labels].to_dict("records")
        ]
        taken.append(frontal[keep].sample(n=200, random_state=0))
    rest = train[~train["path"].isin(pd.concat(taken)["path"])]
    state = np.random.get_state()
    np.random.seed(0)
    chosen = np.random.choice(len(rest), size=5000, replace=False)
    np.random.set_state(state)
    return pd.concat(taken), rest.drop(chosen, errors="ignore"), rest.iloc[chosen]


def test_reference_split_has_the_membership_of_the_description() -> None:
    table = big_table()
    taken, train, val = reference(table)
    split = reference_split(CHEXPERT, table, "mgca", 0)
    parts = {
        name: split[split["split"] == name]["image_id"].tolist()
        for name in ("train", "val", "test")
    }
    assert parts["train"] == train["image_id"].tolist()
    assert parts["val"] == val["image_id"].tolist()
    assert parts["test"] == table[table["split"] == "test"]["image_id"].tolist()
    assert (
        len(set(parts["val"]) & set(parts["train"]))
        == len(set(val.index) & set(train.index))
        > 4000
    )
    assert not set(taken["image_id"]) & set(parts["train"] + parts["val"])
    assert CHEXPERT.reference_split(table, "benchx", 0) is None


def test_mgca_warns_of_its_leak_and_default_has_none(caplog: pytest.LogCaptureFixture) -> None:
    kind, task, table = KINDS.get("classification"), TASKS.get("chexpert_cls"), big_table()
    with caplog.at_level(logging.WARNING):
        split_for(kind, table, task, "mgca", 0)
    assert "images stand in more than one split" in caplog.text
    split = split_for(kind, table, task, "default", 0)
    assert check_leaks(split) == ""
    assert set(split["split"]) == {"train", "val", "test"}


def test_fractions_of_the_references() -> None:
    table = big_table()
    train = reference_split(CHEXPERT, table, "mgca", 0).query("split == 'train'")
    expected = train[train["view"] != "LL"].sample(frac=0.01, random_state=42)["image_id"].tolist()
    assert reference_subset(CHEXPERT, train, "mgca", 0.01, 3)["image_id"].tolist() == expected
    assert set(reference_subset(CHEXPERT, train, "gloria", 0.01, 3)["view"]) == {"PA", "AP", "LL"}
    assert CHEXPERT.reference_subset(train, "default", 0.01, 3) is None
    with pytest.raises(DataError, match="is none"):
        reference_subset(CHEXPERT, train.head(20), "mgca", 0.01, 3)


# ---------------------------------------------------------------------------------- 5x200 and 8x200
def test_draw_is_the_reference_membership() -> None:
    table = big_table()
    taken, _, _ = reference(table)
    frontal = table[(table["split"] == "train") & (table["view"] != "LL")]
    assert draw(frontal, FIVE, LABELS)["image_id"].tolist() == taken["image_id"].tolist()


@pytest.mark.parametrize("value", [1.0, -1.0])
def test_any_other_finding_excludes(value: float) -> None:
    row = pd.DataFrame([{f"label:{name}": np.nan for name in LABELS} | {"label:Edema": 1.0}])
    assert only(row, "Edema", LABELS).all()
    assert only(row.assign(**{"label:No Finding": value}), "Edema", LABELS).all()
    assert not only(row.assign(**{"label:Support Devices": value}), "Edema", LABELS).any()
    assert not only(row.assign(**{"label:No Finding": 1.0}), "No Finding", LABELS).any()


def test_members_are_exclusive_with_reports(root: Path) -> None:
    index = MEMBERS.index(root)
    labels = index[[f"label:{name}" for name in FIVE]]
    assert (labels.sum(axis=1) == 1).all() and labels.sum().nunique() == 1
    assert set(index["split"]) == {"test"} and "LL" not in set(index["view"])
    assert [c for c in index if c.startswith("label:")] == list(labels)
    number = int(index.loc[0, "age"]) - 40
    assert index.loc[0, "impression"] == f"Impression of {number}."
    assert index.loc[0, "report"] == f"Impression of {number}. Findings of {number} next line."
    levels = {finding.level for finding in MEMBERS.validate(root)}
    assert levels == {"ok", "error"}
    (root / "DEMO.json").write_text(json.dumps({"counts": {"x": 1}}))
    assert {finding.level for finding in MEMBERS.validate(root)} == {"ok"}


def test_without_reports(tmp_path: Path) -> None:
    write_chexpert(tmp_path, reports=False)
    index = MEMBERS.index(tmp_path)
    assert set(index["report"]) == {""}
    assert any(
        "0 of" in finding.message and finding.level == "warning"
        for finding in MEMBERS.validate(tmp_path)
    )


def test_a_list_of_the_users_own_fixes_the_members(root: Path) -> None:
    paths = [
        "CheXpert-v1.0/train/patient00000/study2/view1_frontal.jpg",
        "train/patient00000/study1/view1_frontal.jpg",
    ]
    own = root / "chexpert_5x200.csv"
    own.write_text(
        "Path,Report Impression\n"
        + "\n".join(f"{path},Text of {n}" for n, path in enumerate(paths))
        + "\n"
    )
    index = MEMBERS.index(root)
    assert index["image_id"].tolist() == [
        "train/patient00000/study2/view1_frontal",
        "train/patient00000/study1/view1_frontal",
    ]
    assert index["report"].tolist() == ["Text of 0.", "Text of 1."]
    own.write_text("Path\ntrain/patient09999/study1/view1_frontal.jpg\n")
    with pytest.raises(
        DataError, match=r"1 of 1 images of .*chexpert_5x200\.csv are not in the dataset"
    ):
        MEMBERS.index(root)
    own.write_text(
        f"Path,Report Impression\n{paths[0]},One\ntrain/patient09999/study1/view1_frontal.jpg,Two\n"
        f"{paths[1]},Three\n"
    )
    index, skipped = read_index(MEMBERS, root, "skip")
    assert index["report"].tolist() == ["One.", "Three."]
    assert [item.id for item in skipped] == ["train/patient09999/study1/view1_frontal"]
    own.write_text("Path\n" + f"{paths[1]}\n" * 2)
    with pytest.raises(DataError, match="names an image twice"):
        MEMBERS.index(root)
    own.write_text("Path\ntrain/patient00002/study2/view1_frontal.jpg\n")
    with pytest.raises(DataError, match="does not have exactly one of"):
        MEMBERS.index(root)


def test_eight_classes_need_all_of_them(root: Path) -> None:
    with pytest.raises(DataError, match="no image has Fracture and no other finding"):
        Chexpert8x200().index(root)
    table = big_table()
    frontal = table[(table["split"] == "train") & (table["view"] != "LL")]
    rows = draw(frontal, EIGHT, LABELS)
    assert len(rows) == 1600
