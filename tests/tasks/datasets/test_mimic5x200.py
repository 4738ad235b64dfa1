"""MIMIC-CXR 5x200: one finding alone, held-out patients first, BenchX's list of ids, unknown label
values."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from bench.contracts import TASKS
from bench.core.errors import DataError
from bench.data.splits import check_leaks
from tasks.datasets._exclusive import FIVE
from tasks.datasets.mimic5x200 import MEMBERS, Mimic5x200
from tasks.datasets.mimic_cxr import MimicCxr
from tests.support.mimic5x200 import relabel, write_mimic5x200
from tests.support.published import reference_split


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_mimic5x200(tmp_path)


def test_members(root: Path) -> None:
    index = Mimic5x200().index(root)
    assert (index[[f"label:{name}" for name in FIVE]].sum(axis=1) == 1).all()
    assert set(index["split"]) == {"test"} and set(index["view"]) <= {"PA", "AP"}
    assert index["label:Pleural Effusion"].sum() == index["label:Edema"].sum() == 4, (
        "of eight, four have an uncertain finding"
    )
    held_out = index[index["label:Atelectasis"] == 1]["official_split"].tolist()
    assert held_out == sorted(held_out, key="train".__eq__), "held-out patients come first"
    assert (index["report"] != "").all()
    messages = [finding.message for finding in Mimic5x200().validate(root)]
    assert any("of MIMIC-CXR's training split" in message for message in messages)


def test_the_published_list_of_ids_wins(root: Path) -> None:
    ids = [row for row in MimicCxr().index(root)["image_id"] if int(row[:8], 16) in (10, 11)]
    (root / MEMBERS).write_text(
        "Path,dicom_id,subject_id,study_id,Report\n" + "".join(f"x,{i},1,2,text\n" for i in ids)
    )
    assert Mimic5x200().index(root)["image_id"].tolist() == ids


def test_unknown_label_values_are_named(root: Path) -> None:
    relabel(root, lambda number, name: "7" if (number, name) == (3, "Edema") else "")
    with pytest.raises(DataError, match=r"chexpert\.csv\.gz, line 5: Edema is '7' \(1 such rows\)"):
        MimicCxr().index(root)


def test_a_study_that_stands_twice_in_the_labels(root: Path) -> None:
    path = root / "mimic-cxr-2.0.0-chexpert.csv.gz"
    lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    path.write_bytes(gzip.compress("\n".join([*lines, lines[-1]]).encode()))
    with pytest.raises(DataError, match="study_id '50000039' occurs twice"):
        MimicCxr().index(root)


def test_mgca_validates_on_its_test_set(root: Path) -> None:
    index = MimicCxr().index(root)
    split = reference_split(MimicCxr(), index, "mgca", 0)
    parts = {
        name: set(split[split["split"] == name]["image_id"]) for name in ("train", "val", "test")
    }
    assert parts["val"] == parts["test"] == set(index[index["split"] != "train"]["image_id"])
    assert "stand in more than one split" in check_leaks(split, allow=True)


def test_policies_are_settings_of_the_tasks() -> None:
    assert TASKS.get("mimic_cls").options["uncertain"] == "ignore"
    assert TASKS.get("mimic5_cls").options["uncertain"]["Cardiomegaly"] == "zeros"
