"""COVIDx's lists: three classes, two classes, official splits, refusals, the references' splits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.model_selection import train_test_split

from bench.contracts import KINDS, TASKS
from bench.core.errors import DataError
from bench.data.loading import prepare
from bench.data.reference import split_for
from bench.data.split_lists import find_lists
from bench.data.splits import check_leaks, default_split
from tasks.datasets.covidx import Covidx, Covidx4
from tests.support.published import reference_split, reference_subset

THREE, TWO = Covidx(), Covidx4()
CLASSES = ("normal", "pneumonia", "COVID-19")


def write(root: Path, dataset: Covidx | Covidx4, n: int = 30) -> Path:
    words = CLASSES if dataset is THREE else ("negative", "positive")
    for start, (_, name, folder) in enumerate(dataset.lists):
        (root / folder).mkdir(parents=True)
        lines = []
        for i in range(n):
            file = f"f{start}_{i}.png" if i != 5 else f"a file {start}.png"
            Image.fromarray(np.full((8, 8), i, np.uint8)).save(root / folder / file)
            lines.append(f"p{start}_{i // 2} {file} {words[i % len(words)]} rsna")
        (root / name).write_text("\n".join(lines) + "\n")
    return root


def test_three_classes(tmp_path: Path) -> None:
    index = THREE.index(write(tmp_path, THREE))
    assert index["split"].value_counts().to_dict() == {"train": 30, "test": 30}
    assert (index[["label:Normal", "label:Pneumonia", "label:COVID-19"]].sum(axis=1) == 1).all()
    row = index.set_index("image_id").loc["train/a file 0.png"]
    assert (row["patient_id"], row["source"], row["label:COVID-19"]) == ("rsna/p0_2", "rsna", 1)
    split = default_split(index)
    check_leaks(split)
    assert set(split["split"]) == {"train", "val", "test"}
    assert len(prepare(THREE, tmp_path, size=8).index) == 60


def test_two_classes_with_official_lists(tmp_path: Path) -> None:
    index = TWO.index(write(tmp_path, TWO))
    assert index["split"].value_counts().to_dict() == {"train": 30, "val": 30, "test": 30}
    assert index["label:COVID-19"].sum() == 45
    assert find_lists(tmp_path, index, TWO.official_lists) is None, (
        "its own lists are not the user's"
    )
    (tmp_path / "splits").mkdir()
    for name, line in (("train", "train/f0_1.png"), ("test", "f1_2.png")):
        (tmp_path / "splits" / f"{name}.txt").write_text(line + "\n")
    lists = find_lists(tmp_path, index, TWO.official_lists)
    assert lists is not None and lists.left_out == 88


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("p9 x.png covid rsna", r"line 31: class 'covid'.*normal, pneumonia, COVID-19"),
        ("p9 x.png normal", "line 31: 3 fields"),
        ("p9 f0_1.png normal rsna", r"file 'f0_1\.png' occurs twice \(1 duplicates\)"),
    ],
)
def test_bad_lines(tmp_path: Path, line: str, message: str) -> None:
    write(tmp_path, THREE)
    with (tmp_path / "train_COVIDx9A.txt").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(DataError, match=message):
        THREE.index(tmp_path)


def test_missing_and_empty_lists(tmp_path: Path) -> None:
    write(tmp_path, THREE)
    (tmp_path / "test_COVIDx9A.txt").write_text("\n")
    with pytest.raises(DataError, match="has no rows"):
        THREE.index(tmp_path)
    (tmp_path / "test_COVIDx9A.txt").unlink()
    with pytest.raises(DataError, match=r"test_COVIDx9A\.txt does not exist"):
        THREE.index(tmp_path)


def test_published_counts_and_leaks_are_said(tmp_path: Path) -> None:
    write(tmp_path, THREE)
    messages = [finding.message for finding in THREE.validate(tmp_path)]
    assert "rows of test_COVIDx9A.txt: 30 found, 400 expected (published)." in messages
    text = (tmp_path / "test_COVIDx9A.txt").read_text()
    (tmp_path / "test_COVIDx9A.txt").write_text(text.replace("p1_3 ", "p0_3 "))
    levels = {finding.message: finding.level for finding in THREE.validate(tmp_path)}
    assert levels["1 patients stand in more than one list."] == "error"


def test_mgca_splits_by_image(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    index = THREE.index(write(tmp_path, THREE))
    rows = index[index["split"] == "train"]
    train, val = train_test_split(rows["image_id"], train_size=0.8, random_state=0)
    split = split_for(KINDS.get("classification"), index, TASKS.get("covidx_cls"), "mgca", 0)
    assert split[split["split"] == "train"]["image_id"].tolist() == train.tolist()
    assert split[split["split"] == "val"]["image_id"].tolist() == val.tolist()
    assert "patients stand in more than one split" in caplog.text


def test_benchx_loses_the_first_row_of_each_list(tmp_path: Path) -> None:
    index = TWO.index(write(tmp_path, TWO))
    split = reference_split(TWO, index, "benchx", 0)
    assert len(split) == 87
    assert not {"train/f0_0.png", "val/f1_0.png", "test/f2_0.png"} & set(split["image_id"])
    subset = reference_subset(TWO, split[split["split"] == "train"], "benchx", 0.2, 0)
    assert len(subset) == 5 and 1 <= subset["label:COVID-19"].sum() <= 4


def test_a_file_name_keeps_its_blanks(tmp_path: Path) -> None:
    write(tmp_path, THREE)
    text = (tmp_path / "train_COVIDx9A.txt").read_text()
    (tmp_path / "train_COVIDx9A.txt").write_text(text.replace("a file 0.png", "a  file   0.png"))
    (tmp_path / "train" / "a file 0.png").rename(tmp_path / "train" / "a  file   0.png")
    prepared = prepare(THREE, tmp_path, size=8)
    assert "train/a  file   0.png" in set(prepared.index["image_id"])


def test_the_same_id_of_two_sources_is_two_people(tmp_path: Path) -> None:
    write(tmp_path, THREE)
    for name, source, old in (("train", "cohen", "p0_4 "), ("test", "rsna", "p1_4 ")):
        path = tmp_path / f"{name}_COVIDx9A.txt"
        lines = [line.replace(old, "8 ") for line in path.read_text().splitlines()]
        lines = [line.replace("rsna", source) if line.startswith("8 ") else line for line in lines]
        path.write_text("\n".join(lines) + "\n")
    index = THREE.index(tmp_path)
    assert {"cohen/8", "rsna/8"} <= set(index["patient_id"])
    check_leaks(default_split(index))


def test_the_lists_of_cxr_4_beside_9a_do_not_replace_its_split(tmp_path: Path) -> None:
    index = THREE.index(write(tmp_path, THREE))
    for name in ("train", "val", "test"):
        (tmp_path / f"{name}.txt").write_text("p0_1 f0_3.png negative rsna\n")
    assert find_lists(tmp_path, index, THREE.official_lists) is None
    (said,) = [each for each in THREE.counts(index, tmp_path) if "CXR-4" in each.message]
    assert said.level == "warning" and "lists of your own go into splits/" in said.message
