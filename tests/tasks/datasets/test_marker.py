"""The dataset with a burnt-in letter: its columns, boxes and parts, and tables that are wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench.contracts import TASKS, Predictions
from bench.core.errors import DataError
from bench.data.annotations import Boxes, Labels
from bench.data.loading import prepare
from bench.data.roots import find_dataset
from bench.metrics.bootstrap import point
from tasks.classification import ClassificationKind
from tasks.datasets.marker import BOXES, PARTS, Marker
from tests.support.marker import write_marker
from tests.support.nih import TABLE, name

MARKER = Marker()
KIND = ClassificationKind()
SPEC = TASKS.get("marker_cls")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PLACE_BENCH_CACHE", str(tmp_path / "cache"))
    return write_marker(tmp_path / "marker")


def test_index(root: Path) -> None:
    index = MARKER.index(root)
    assert index["image_id"].tolist() == [name(number) for number in range(40)]
    assert index["marker"].tolist() == [0, 1] * 20
    assert index["part"].tolist() == ["train"] * 30 + [PARTS[n % 3] for n in range(30, 40)]
    assert index["label:Effusion"].sum() == 10
    boxes = MARKER.boxes(index.iloc[34], root)
    assert boxes.dtype == np.float32
    np.testing.assert_array_equal(boxes, [[2, 3, 10, 9.5, 0], [1, 1, 3, 3, 0]])
    assert MARKER.boxes(index.iloc[0], root).shape == (0, 5)


def edit(root: Path, file: str, old: str, new: str) -> None:
    text = (root / file).read_text()
    assert old in text
    (root / file).write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        (TABLE, ",0,train", ",2,train", r"line 2: Marker is '2'. Known: 0, 1"),
        (TABLE, ",1,train", ",1,val", r"Part is 'val'.*Known: train, same, unlinked, reversed"),
        (TABLE, "Marker,Part", "Marker,Piece", "Part"),
        (BOXES, "Effusion", "Mass", r"line 2: a box of 'Mass' in image '00000002_000.png'"),
        (BOXES, name(2), "other.png", r"line 2: a box of 'Effusion' in image 'other.png'"),
    ],
)
def test_a_wrong_row_names_table_and_line(
    root: Path, file: str, old: str, new: str, said: str
) -> None:
    edit(root, file, old, new)
    with pytest.raises(DataError, match=said):
        MARKER.index(root)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [("8.0,6.5", "0,6.5", "has no area"), ("8.0,6.5", "wide,6.5", "is not finite")],
)
def test_a_box_that_cannot_be_names_its_image(root: Path, old: str, new: str, said: str) -> None:
    edit(root, BOXES, old, new)
    with pytest.raises(DataError, match=rf"00000002_000\.png: box .*{said}"):
        prepare(MARKER, root, size=16, annotations=[Boxes()])


def test_a_download_of_nih_is_not_taken_for_it(root: Path, tmp_path: Path) -> None:
    """Both have the same files."""
    (tmp_path / "data").mkdir()
    root.rename(tmp_path / "data" / "nih")
    assert find_dataset(MARKER, tmp_path / "data") is None
    (tmp_path / "data" / "nih").rename(tmp_path / "data" / "marker")
    assert find_dataset(MARKER, tmp_path / "data") == tmp_path / "data" / "marker"


def test_another_part_is_another_cell(root: Path) -> None:
    before = prepare(MARKER, root, size=16, annotations=[Labels()]).content_hash
    edit(root, TABLE, "0,same", "0,unlinked")
    assert prepare(MARKER, root, size=16, annotations=[Labels()]).content_hash != before


def test_the_task_scores_each_part_and_the_gap_between_two() -> None:
    """Scores that follow the letter: right where it goes with the label, wrong where not."""
    label = np.tile([0.0, 1.0], 30)
    part = np.repeat(PARTS, 20)
    score = np.where(part == "same", label, 1 - label)
    score[part == "unlinked"] = 0.5
    table = pd.DataFrame(
        {
            "image_id": [f"i{n}" for n in range(60)],
            "patient_id": [f"p{n % 20}" for n in range(60)],
            "label:Effusion": label,
            "score:Effusion": score,
            "prob:Effusion": score,
            "pred:Effusion": (score > 0.5).astype(float),
            "group:part": part,
        }
    )
    predictions = Predictions(table, {}, {"mode": "binary"})
    statistics = KIND.statistics(predictions, SPEC)
    values = {name: point(statistic, 60) for name, statistic in statistics.items()}
    assert [values[f"auroc@part={name}"] for name in PARTS] == [1.0, 0.5, 0.0]
    assert values["auroc_gap"] == 1.0
    assert KIND.basis(predictions, "auroc_gap").labels is None
    assert "auroc_gap" in KIND.metric_names(SPEC, KIND.settings(SPEC, "default", "demo", {}))
    assert "auroc_gap" not in KIND.statistics(predictions, TASKS.get("siim_cls"))
