"""The examples of the how-to pages run as they are, from outside the project and without an edit."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from tests.support.commands import BARE, place_bench
from tests.support.pairs import TINY
from tests.tasks.datasets.fakes import write_mimic, write_siim

EXAMPLES = Path(__file__).parents[1] / "docs" / "examples"


@pytest.fixture
def hospital(tmp_path: Path) -> Path:
    """A data root with 24 images of 12 patients; half of the patients have a bright lower corner."""
    images = tmp_path / "data" / "hospital" / "images"
    images.mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows = [("image", "patient", "effusion")]
    for number in range(24):
        patient = number // 2
        pixels = rng.integers(0, 90, (64, 64), dtype=np.uint8)
        pixels[40:, :32] += 120 * (patient % 2)
        cv2.imwrite(str(images / f"{number}.png"), pixels)
        rows.append((f"{number}.png", f"p{patient}", str(patient % 2)))
    with (images.parent / "list.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return tmp_path / "data"


def results(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the results of a run by task."""
    lines = (folder / "results" / "results.jsonl").read_text().splitlines()
    return {record["task"]: record for record in map(json.loads, lines)}


def test_a_dataset_in_one_file_is_checked_run_and_ranked(hospital: Path, tmp_path: Path) -> None:
    plugin = ("--plugin", str(EXAMPLES / "dataset.py"))
    root = ("--data-root", str(hospital))
    words = (
        *plugin,
        "run",
        "hospital_cls",
        "--backbones",
        "random",
        "--fractions",
        "1.0",
        *root,
        *BARE,
    )
    place_bench(*words, cwd=tmp_path)
    record = results(tmp_path)["hospital_cls"]
    assert record["data_kind"] == "real" and record["metric:auroc"] > 0.9
    table = (tmp_path / "results" / "leaderboards" / "hospital_cls.md").read_text()
    assert table.startswith("### Effusion") and "| random (resnet_demo) |" in table
    (hospital / "hospital" / "images" / "3.png").unlink()
    verified = place_bench(*plugin, "data", "verify", "hospital", *root, code=2, cwd=tmp_path)
    assert "3.png is missing" in " ".join((verified.stdout + verified.stderr).split())


def test_a_head_in_one_file_shares_data_and_metrics_of_its_kind(tmp_path: Path) -> None:
    (tmp_path / "data" / "siim").mkdir(parents=True)
    write_siim(tmp_path / "data" / "siim", images=36)
    words = ("run", "siim_centre", "siim_cls", "--backbones", "random", "--fractions", "1.0")
    root = ("--data-root", str(tmp_path / "data"), *BARE)
    place_bench("--plugin", str(EXAMPLES / "head.py"), *words, *root, cwd=tmp_path)
    centre, probe = (results(tmp_path)[task] for task in ("siim_centre", "siim_cls"))
    assert centre["fit:head"] == "nearest_centre" and probe["fit:head"] == "logistic"
    assert centre["hash:split"] == probe["hash:split"]
    metrics = {name for name in probe if name.startswith("metric:")}
    assert metrics == {name for name in centre if name.startswith("metric:")}


def test_an_encoder_of_timm_in_one_file_reads_a_checkpoint_and_is_ranked(
    hospital: Path, tmp_path: Path
) -> None:
    from timm import create_model

    weights = tmp_path / "weights.pth"
    torch.save(create_model("resnet18", features_only=True).state_dict(), weights)
    plugins = [
        word
        for name in ("dataset", "encoder")
        for word in ("--plugin", str(EXAMPLES / f"{name}.py"))
    ]
    words = ("run", "hospital_cls", "--backbones", "my_resnet", "--fractions", "1.0")
    given = ("--checkpoint", f"my_resnet={weights}", "--data-root", str(hospital))
    place_bench(*plugins, *words, *given, *BARE, cwd=tmp_path)
    record = results(tmp_path)["hospital_cls"]
    assert record["encoder:architecture"] == "resnet18" and record["hash:checkpoint"]
    assert record["metric:auroc"] > 0.9
    table = (tmp_path / "results" / "leaderboards" / "hospital_cls.md").read_text()
    assert "| my_resnet (resnet18) |" in table


@pytest.mark.parametrize(("name", "lines"), [("encoder", 25), ("method", 60)])
def test_a_how_to_example_is_short(name: str, lines: int) -> None:
    assert len((EXAMPLES / f"{name}.py").read_text(encoding="utf-8").splitlines()) <= lines


def test_a_method_in_one_file_is_pretrained_on_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "data" / "mimic_cxr").mkdir(parents=True)
    write_mimic(tmp_path / "data" / "mimic_cxr", studies=20)
    words = ("--plugin", str(EXAMPLES / "method.py"), "pretrain", "siglip", "--data", "real")
    places = ("--data-root", str(tmp_path / "data"), "--out", str(tmp_path / "net"))
    tiny = {**TINY, "epochs": "1", "scale": "5"}
    changes = [word for key, value in tiny.items() for word in ("--set", f"{key}={value}")]
    made = place_bench(*words, *places, *changes, cwd=tmp_path)
    card = json.loads((tmp_path / "net" / "card.json").read_text())
    assert made.stdout.strip().startswith(str(tmp_path / "net"))
    assert card["method"] == "siglip" and card["settings"]["scale"] == 5.0


def test_a_source_of_regions_in_one_file_is_pretrained_on(tmp_path: Path) -> None:
    images = tmp_path / "data" / "phrases" / "images"
    images.mkdir(parents=True)
    rng = np.random.default_rng(0)
    reports = [("image", "patient", "width", "height", "report")]
    boxes = [("image", "phrase", "x1", "y1", "x2", "y2")]
    for number in range(24):
        cv2.imwrite(str(images / f"{number}.png"), rng.integers(0, 90, (64, 48), dtype=np.uint8))
        text = f"The heart is normal. A small nodule is seen in image {number}."
        reports.append((f"{number}.png", f"p{number}", "48", "64", text))
        boxes.append((f"{number}.png", "small nodule", "10", "20", "30", "40"))
    for name, rows in (("reports", reports), ("phrases", boxes)):
        with (images.parent / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows(rows)
    words = ("--plugin", str(EXAMPLES / "region.py"), "pretrain", "egma", "--dataset", "phrases")
    places = ("--data-root", str(tmp_path / "data"), "--out", str(tmp_path / "net"))
    changes = [
        word
        for key, value in {**TINY, "epochs": "1"}.items()
        for word in ("--set", f"{key}={value}")
    ]
    place_bench(*words, *places, *changes, cwd=tmp_path)
    card = json.loads((tmp_path / "net" / "card.json").read_text())
    assert card["data"]["train_pairs_with_regions"] == card["data"]["train_pairs"] > 10
    curve = json.loads((tmp_path / "net" / "curve.jsonl").read_text())
    assert curve["train/gaze"] == 1 and curve["train/loss_egf"] > 0
