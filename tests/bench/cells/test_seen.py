"""Test images that an encoder was pre-trained on stop a run, or are counted in its table."""

import csv
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from backbones.shared.pretraining.trainer import pretrain
from bench.cells.encoders import PretrainRequest, resolve_encoder
from bench.cells.results import ResultStore
from bench.cells.seen import seen_in
from bench.contracts import PairData
from bench.core.progress import Silent
from bench.data.filling import _content
from bench.data.splits import default_split
from bench.report import csv_files, leaderboard, leaderboard_pages
from tests.support.commands import BARE, place_bench
from tests.support.example_plugin import EXAMPLE
from tests.support.pairs import make_subset, recipe
from tests.support.results import add


def _radiographs(root: Path) -> dict[str, bytes]:
    """Write 24 images of 12 patients with a lesion each in the example's layout; return the bytes
    of each image."""
    rng = np.random.default_rng(0)
    images = {}
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for number in range(24):
        image = rng.integers(0, 90, (96, 80), dtype=np.uint8)
        mask = np.zeros((96, 80), np.uint8)
        mask[30:60, 20:50] = 255
        image[30:60, 20:50] += 120
        cv2.imwrite(str(root / "images" / f"{number}.png"), image)
        cv2.imwrite(str(root / "masks" / f"{number}.png"), mask)
        images[f"{number}.png"] = (root / "images" / f"{number}.png").read_bytes()
    with (root / "list.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "patient"])
        writer.writerows([[f"{number}.png", f"p{number // 2}"] for number in range(24)])
    return images


def _trained_on(files: list[bytes], folder: Path) -> Path:
    """Return a checkpoint whose eight training images were these files."""
    train = make_subset(8, 144, 1)
    digests = {
        image: _content((content,), b"").hex()
        for image, content in zip(train.index["image_id"], files, strict=True)
    }
    pairs = PairData("elsewhere", "real", train, make_subset(4, 144, 2), "0123", digests)
    return pretrain(recipe("convirt", epochs="1"), pairs, progress=Silent(), out=folder)


def test_a_run_stops_at_test_images_seen_in_pretraining_and_can_count_them(tmp_path: Path) -> None:
    images = _radiographs(tmp_path / "data" / "stranger")
    patients = [f"p{number // 2}" for number in range(24)]
    index = pd.DataFrame({"image_id": list(images), "patient_id": patients, "split": ""})
    split = default_split(index, seed=0).set_index("image_id")["split"]
    tested = [image for image in images if split[image] == "test"]
    trained = [image for image in images if split[image] == "train"]
    files = [images[image] for image in [*tested[:2], *trained[:6]]]
    folder = _trained_on(files, tmp_path / "checkpoint")
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps({**card, "supervision": ["labels"]}))

    words = ["--plugin", str(EXAMPLE), "run", "stranger_seg", "--data-root", str(tmp_path / "data")]
    words += [
        "--backbones",
        "convirt",
        "--checkpoint",
        f"convirt={folder}",
        "--set",
        "epochs=1",
        *BARE,
    ]
    stopped = place_bench(*words, code=2, cwd=tmp_path)
    sentence = f"2 of {len(tested)} test images and 0 of {len(tested) // 2} test patients"
    assert f"encoder 'convirt': {sentence} were seen in pre-training." in stopped.stderr
    assert "--allow-seen" in stopped.stderr

    place_bench(*words, "--allow-seen", cwd=tmp_path)
    records = list(map(json.loads, (tmp_path / "results/results.jsonl").open()))
    counts = {r["backbone"]: (r["seen:images"], r["seen:patients"]) for r in records}
    assert counts == {"baseline:prior_mask": (0, 0), "convirt": (2, 0)}
    supervision = {r["backbone"]: r["supervision"] for r in records}
    assert supervision == {"baseline:prior_mask": [], "convirt": ["labels"]}
    table = (tmp_path / "results" / "leaderboards" / "stranger_seg.md").read_text()
    assert f"**convirt (resnet_demo)**: {sentence} were seen in pre-training." in table
    assert "| n | supervision |" in table


def test_a_card_that_says_nothing_means_unknown_and_not_zero(tmp_path: Path) -> None:
    folder = _trained_on([str(number).encode() for number in range(8)], tmp_path)
    given = PretrainRequest("convirt", checkpoint=folder)
    assert resolve_encoder(given, Silent()).seen == folder / "seen.npz"
    card = json.loads((folder / "card.json").read_text())
    del card["seen"]
    (folder / "card.json").write_text(json.dumps(card))
    old = resolve_encoder(given, Silent())
    random = resolve_encoder(PretrainRequest("random"), Silent())
    elsewhere = resolve_encoder(PretrainRequest("timm:resnet18?pretrained=false"), Silent())
    assert (old.seen, old.untrained, random.untrained, elsewhere.untrained) == (
        None,
        False,
        True,
        False,
    )
    unread: Any = None
    assert seen_in(unread, old) is None and seen_in(unread, elsewhere) is None


def test_a_table_says_what_its_test_images_are_known_for(store: ResultStore) -> None:
    caution = "3 of 200 test images are of another split."
    for name, images in (("a", 0), ("b", "unknown"), ("c", 5)):
        seen = {"seen:images": images, "seen:patients": images, "cautions": [caution]}
        add(store, name, 0.8, seen)
    (table,), _ = leaderboard.build(store, "fake_task")
    text = leaderboard_pages.to_markdown(table)
    assert text.count(caution) == 1
    assert "5 of 200 test images and 5 of 200 test patients were seen in pre-training." in text
    assert "is unknown: b (net)." in text
    seen_column = {row["encoder"]: row["seen_test_images"] for row in csv_files.to_rows(table)}
    assert seen_column == {"a (net)": 0, "b (net)": "unknown", "c (net)": 5}


def test_drawn_test_sets_say_which_images_are_of_a_training_split() -> None:
    from bench.contracts import DATASETS

    test = pd.DataFrame({"official_split": ["train", "test", "validate", "train"]})
    (sentence,) = DATASETS.get("mimic5x200").cautions(test)
    assert sentence.startswith("2 of 4 test images are of MIMIC-CXR's training split")
    assert DATASETS.get("mimic5x200").cautions(test[1:3]) == ()
    for name in ("chexpert5x200", "chexpert8x200"):
        (sentence,) = DATASETS.get(name).cautions(test)
        assert sentence.startswith("All 4 test images are of CheXpert's training table")
