"""The demo with a burnt-in letter: read back, the letter as it is linked, each test study in three
parts that differ by the letter alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tasks.datasets.demos import marker
from tasks.datasets.marker import PARTS, Marker
from tasks.demo.beam.render import Rendering
from tasks.demo.body.patient import Study
from tasks.demo.writers import manifest
from tests.tasks.demo.conftest import content

SIZE = 64


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("marker") / "marker"
    marker.write(out, studies=12, size=SIZE, seed=3, workers=1)
    return out


def test_the_loader_agrees_with_the_manifest(demo: Path) -> None:
    assert {finding.level for finding in Marker().validate(demo)} == {"ok"}
    lines = (demo / manifest.TRUTH).read_text().splitlines()
    images = [json.loads(line)["image_id"] for line in lines]
    index = Marker().index(demo)
    assert sorted(index["image_id"]) == sorted(images)
    boxed = index["boxes"].map(len) > 0
    assert (index.loc[boxed, "label:Effusion"] == 1).all() and boxed.any()


def test_two_workers_write_the_same_bytes_as_one(demo: Path, tmp_path: Path) -> None:
    marker.write(tmp_path / "again", studies=12, size=SIZE, seed=3, workers=2)
    assert content(tmp_path / "again") == content(demo)


def test_the_parts_of_a_test_study_differ_by_the_letter_alone(demo: Path) -> None:
    index = Marker().index(demo)
    test = index[index["split"] == "test"]
    assert len(test) and (test.groupby("patient_id")["part"].agg(tuple) == PARTS).all()
    assert (index.loc[index["split"] == "train", "part"] == "train").all()
    for _, rows in test.groupby("patient_id"):
        assert rows["label:Effusion"].nunique() == 1
        images = [cv2.imread(str(demo / path), cv2.IMREAD_GRAYSCALE) for path in rows["path"]]
        for one in range(3):
            for other in range(one):
                differs = images[one] != images[other]
                letters = rows["marker"].iloc[[one, other]].tolist()
                assert differs.any() == (sum(letters) > 0)
                assert not differs[: SIZE * 3 // 4].any() and not differs[:, SIZE // 4 :].any()


def test_the_letter_is_linked_as_each_part_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 600 studies, none of them rendered, each with an image in every part."""
    blank = np.zeros((SIZE, SIZE), np.uint8)

    def rendered(study: Study, size: int) -> Rendering:
        return Rendering(blank, {}, {}, {}, blank, 0.5)

    monkeypatch.setattr(marker, "render", rendered)
    monkeypatch.setattr(marker, "write_png", lambda *_: None)
    monkeypatch.setattr(manifest, "truth", lambda *_: {})
    studies: dict[str, list[Any]] = {"train": [], "test": []}
    for number in range(600):
        for split in studies:
            monkeypatch.setattr(marker, "split_of", lambda *_, split=split: split)
            job = manifest.Job(tmp_path, SIZE, 0, 600)
            studies[split] += marker._write_study(job, number)["images"]
    agree: dict[str, list[bool]] = {part: [] for part in ("train", *PARTS)}
    for image in (*studies["train"], *studies["test"]):
        agree[image["part"]].append(image["marker"] == ("Effusion" in image["labels"]))
    shares = {part: np.mean(flags) for part, flags in agree.items()}
    expected = {"train": 0.95, "same": 0.95, "unlinked": 0.5, "reversed": 0.05}
    assert shares == pytest.approx(expected, abs=0.05)
    positives = np.mean(["Effusion" in image["labels"] for image in studies["train"]])
    assert positives == pytest.approx(0.5, abs=0.06)
