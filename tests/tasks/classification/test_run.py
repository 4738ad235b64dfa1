"""Through the engine, on a CheXpert in its layout: same numbers whatever the workers, the user's
lists, edited labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from bench.cells.prepare import make_cell, plan_task
from bench.cells.request import RunRequest
from bench.cells.results import ResultStore
from bench.commands.run import run_command
from bench.core.errors import DataError, SettingError, SplitLeakError
from bench.core.progress import Silent
from tests.tasks.datasets.chexpert_fakes import FIVE, write_chexpert


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """120 + 40 images: the brighter the left half, the more atelectasis."""
    monkeypatch.setenv("PLACE_BENCH_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "data" / "chexpert"
    write_chexpert(root, 120, 40, reports=False)
    rng = np.random.default_rng(0)
    for split in ("train", "valid"):
        table = pd.read_csv(root / f"{split}.csv")
        for path, label in zip(table["Path"], table["Atelectasis"].fillna(0), strict=True):
            pixels = rng.integers(0, 120, (40, 40), dtype=np.uint8)
            pixels[:, :20] += np.uint8(60 * label)
            Image.fromarray(pixels).save(
                root.parent / path.replace("CheXpert-v1.0-small", "chexpert"), quality=95
            )
    return root.parent


def request(data: Path, results: str = "results", **changes: Any) -> RunRequest:
    facts = {
        "tasks": ("chexpert_cls",),
        "backbones": ("random",),
        "fractions": (1.0,),
        "device": "cpu",
        "data_root": data,
    }
    return RunRequest(
        **{**facts, "settings": {"image_size": "40"}, "results": data.parent / results, **changes}
    )


def run(
    data: Path, results: str = "results", **changes: Any
) -> tuple[dict[float, dict[str, Any]], dict[float, pd.DataFrame]]:
    """Return the records of a run by label fraction, and its predictions."""
    asked = request(data, results, **changes)
    assert run_command(asked, dry_run=False) == 0
    store = ResultStore(asked.results)
    found = {record["label_fraction"]: record for record in store.records().values()}
    return found, {
        fraction: store.load_predictions(record["key"]).table for fraction, record in found.items()
    }


def test_same_numbers_on_another_number_of_workers(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, tables = run(data, "one", workers=1)
    monkeypatch.setenv("PLACE_BENCH_CACHE", str(tmp_path / "another cache"))
    second, others = run(data, "three", workers=3)
    assert first[1.0]["key"] == second[1.0]["key"]
    metrics = {name for name in first[1.0] if name.split(":")[0] in ("metric", "low", "high", "n")}
    assert {name: first[1.0][name] for name in metrics} == {
        name: second[1.0][name] for name in metrics
    }
    pd.testing.assert_frame_equal(tables[1.0], others[1.0], check_exact=True)
    assert first[1.0]["split_source"] == "official"
    assert first[1.0]["setting:uncertain"][0] == "Atelectasis=ones"
    assert first[1.0]["setting:views"] == ["PA", "AP", "frontal"]


def test_lists_of_the_user(data: Path) -> None:
    index = plan_task("chexpert_cls", request(data), Silent()).index
    train = index[(index["split"] == "train")]["path"].tolist()
    lists = {
        "train": train[:80],
        "val": train[-20:],
        "test": index[index["split"] == "test"]["path"].tolist()[:30],
    }
    lists["train_10"] = train[:20]
    patients = index.set_index("path")["patient_id"]
    lists["val"] = [
        path for path in lists["val"] if patients[path] not in set(patients[lists["train"]])
    ]
    for name, paths in lists.items():
        (data / "chexpert" / f"{name}.txt").write_text("\n".join(paths) + "\n")
    found, _ = run(data, fractions=(0.1, 1.0))
    assert (found[0.1]["n:train"], found[1.0]["n:train"], found[1.0]["n:test"]) == (20, 80, 30)
    assert found[1.0]["split_source"] == "lists: train.txt, val.txt, test.txt, train_10.txt"
    assert found[1.0]["split_left_out"] == len(index) - 80 - len(lists["val"]) - 30
    (data / "chexpert" / "train_10.txt").write_text("\n".join(train[1:21]) + "\n")
    again, _ = run(data, "again", fractions=(0.1,))
    assert again[0.1]["key"] != found[0.1]["key"], "another list, another result"
    (data / "chexpert" / "val.txt").write_text(train[0].replace("study1", "study2") + "\n")
    (data / "chexpert" / "train.txt").write_text("\n".join(train[:1] + train[2:80]) + "\n")
    with pytest.raises((SplitLeakError, DataError)):
        plan_task("chexpert_cls", request(data), Silent())


def test_edited_labels_are_another_cell(data: Path) -> None:
    def key() -> str:
        from bench.cells.prepare import EncoderRef
        from bench.contracts import BACKBONES

        plan = plan_task("chexpert_cls", request(data), Silent())
        return make_cell(plan, BACKBONES.get("random"), EncoderRef("x"), 1.0, 0, request(data)).key

    before = key()
    assert key() == before
    table = data / "chexpert" / "train.csv"
    table.write_text(table.read_text().replace(",-1.0,", ",0.0,", 1))
    assert key() != before


def test_a_file_under_two_names_in_two_splits_is_counted_and_said(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train, valid = (
        next(Path(data / "chexpert" / name).rglob("*frontal.jpg")) for name in ("train", "valid")
    )
    valid.write_bytes(train.read_bytes())
    found, _ = run(data)
    assert found[1.0]["duplicates_across_splits"] == 2
    assert (
        "2 images have the same file as one of another name in another split"
        in capsys.readouterr().err
    )


def test_the_mgca_protocol_runs_and_warns(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    found, _ = run(data, protocol="mgca", settings={"image_size": "144", "epochs": "1"})
    assert "images stand in more than one split" in caplog.text
    assert found[1.0]["split_source"] == "mgca"


def test_a_fraction_that_empties_a_class_is_counted_or_refused(data: Path) -> None:
    found, _ = run(data, fractions=(0.05,))
    assert set(found[0.05]["fit:untrained_classes"].split(", ")) < set(FIVE)
    table = data / "chexpert" / "train.csv"
    table.write_text(table.read_text().replace(",1.0", ",").replace(",-1.0", ","))
    with pytest.raises(DataError, match="one label value only"):
        run(data, "negative")
    failed = ResultStore(data.parent / "negative").failures()
    assert "one label value only" in next(iter(failed.values()))["error"]


def test_a_missing_image_stops_or_is_skipped_and_counted(data: Path) -> None:
    next(Path(data / "chexpert" / "valid").rglob("*frontal.jpg")).unlink()
    with pytest.raises(DataError, match=r"frontal\.jpg cannot be read"):
        run(data)
    found, _ = run(data, "skip", on_error="skip")
    assert found[1.0]["skipped_images"] == 1
    (row,) = pd.read_csv(data.parent / "skip" / found[1.0]["skipped_list"]).to_dict("records")
    assert row["image_id"].startswith("valid/") and "cannot be read" in row["reason"]
    assert json.loads(json.dumps(found[1.0]))["n:test"] == 39


def test_a_result_says_what_filled_its_encoder_and_another_file_is_another_result(
    data: Path,
) -> None:
    """One name, two files: two keys; what was changed to fit stands in record and table."""
    import timm

    torch.manual_seed(0)
    state = timm.create_model("test_vit", num_classes=0).state_dict()
    path = data.parent / "encoder.pth"
    stem = "patch_embed.proj.weight"
    name = f"file:{path}?arch=test_vit&size=32&fit=squash&pool=mean"
    keys = set()
    for factor in (1.0, 3.0):
        grey = state[stem][:, :1] * factor
        torch.save({**state, stem: grey, "head.weight": torch.ones(3, 64)}, path)
        found, _ = run(data, backbones=(name,))
        keys |= {record["key"] for record in found.values()}
    record = found[1.0]
    assert len(keys) == 2
    assert (record["encoder:coverage"], record["encoder:unused"]) == (1.0, ["head.weight"])
    assert record["encoder:architecture"] == record["architecture"] == "test_vit"
    assert record["encoder:weights"] == str(path)
    assert any(stem in sentence for sentence in record["encoder:adaptations"])
    page = (data.parent / "results" / "leaderboards" / "chexpert_cls.md").read_text()
    assert f"changed to fit: {stem}: one grey channel" in page


def test_a_wrong_architecture_for_an_encoder_stops_before_any_data_is_read(data: Path) -> None:
    with pytest.raises(SettingError, match="is a test_vit, architecture 'resnet' was asked for"):
        run(data, backbones=("timm:test_vit?pretrained=false",), architecture="resnet")
