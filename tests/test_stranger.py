"""A dataset and an encoder from one file outside the project run without any edit, by --plugin and
by entry point."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np

from tests.support.commands import BARE, place_bench
from tests.support.example_plugin import EXAMPLE


def test_plugin_file_runs_and_is_not_run_twice(example_data: Path, tmp_path: Path) -> None:
    words = [
        "run",
        "stranger_seg",
        "--backbones",
        "stranger_net",
        *BARE,
        "--data-root",
        str(example_data),
        "--set",
        "epochs=2",
    ]
    first = place_bench("--plugin", str(EXAMPLE), *words, cwd=tmp_path)
    assert "2 cell(s) run" in first.stderr  # the encoder's and the baseline's
    record, chance = map(
        json.loads, (tmp_path / "results" / "results.jsonl").read_text().splitlines()
    )
    assert record["threads"] == 2, "a fixed number, whatever the machine has"
    assert (record["backbone"], chance["backbone"]) == ("stranger_net", "baseline:prior_mask")
    assert (
        record["data_kind"] == "real"
        and record["n:test"] >= 3
        and 0 <= record["metric:dice_per_image"] <= 1
    )
    table = (tmp_path / "results" / "leaderboards" / "stranger_seg.md").read_text()
    assert "stranger_net" in table and "Rendered data" not in table
    views = [tmp_path / "results" / "leaderboards" / f"stranger_seg.{end}" for end in ("md", "png")]
    for view in views:  # as a kill between the last result and its views leaves them
        view.unlink()
    second = place_bench("--plugin", str(EXAMPLE), *words, cwd=tmp_path)
    assert all(view.is_file() for view in views)
    assert "0 cell(s) run, 2 had a result" in second.stderr
    assert len((tmp_path / "results" / "results.jsonl").read_text().splitlines()) == 2


def test_a_mask_of_another_size_stops_the_run_and_can_be_left_out(
    example_data: Path, tmp_path: Path
) -> None:
    cv2.imwrite(str(example_data / "stranger" / "masks" / "3.png"), np.zeros((48, 40), np.uint8))
    words = [
        "run",
        "stranger_seg",
        "--backbones",
        "stranger_net",
        *BARE,
        "--data-root",
        str(example_data),
        "--set",
        "epochs=1",
    ]
    stopped = place_bench("--plugin", str(EXAMPLE), *words, code=2, cwd=tmp_path)
    assert "3.png" in stopped.stderr and "has 40 x 48 px, the image 80 x 96" in stopped.stderr
    went_on = place_bench("--plugin", str(EXAMPLE), *words, "--on-error", "skip", cwd=tmp_path)
    assert "3.png" in went_on.stderr and "2 cell(s) run" in went_on.stderr


def test_entry_point_is_found(tmp_path: Path) -> None:
    site = tmp_path / "site"
    info = site / "strangers_package-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: strangers-package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[place_bench.plugins]\nstranger = strangers_module\n")
    (site / "strangers_module.py").write_text(EXAMPLE.read_text())
    listed = place_bench("list", "tasks", "--json", cwd=tmp_path, PYTHONPATH=str(site))
    assert "stranger_seg" in [row["name"] for row in json.loads(listed.stdout)]


def test_a_dry_run_says_which_cells_have_a_result(example_data: Path, tmp_path: Path) -> None:
    words = ["--plugin", str(EXAMPLE), "run", "stranger_seg", "--backbones", "stranger_net"]
    words += ["--data-root", str(example_data), "--set", "epochs=1", *BARE]
    before = place_bench(*words, "--dry-run", cwd=tmp_path).stdout
    assert f"real data: {example_data / 'stranger'}" in " ".join(before.split())
    assert "its images are decoded first" in before and "2 cells (would run: 2)" in before
    assert not (tmp_path / "results").exists() and not (tmp_path / "cache" / "images").exists()
    place_bench(*words, cwd=tmp_path)
    after = place_bench(*words, "--dry-run", "--seeds", "0,1", cwd=tmp_path).stdout
    assert "1 of labels: has a result (seed 0), would run (seed 1, about" in " ".join(after.split())
    assert "Time: about" in after and "for 2 cells" in " ".join(after.split())
    assert "4 cells (has a result: 2, would run: 2)" in after
    again = place_bench(*words, "--dry-run", "--set", "lr=0.5", cwd=tmp_path).stdout
    assert "2 cells (would run: 2)" in again
    shutil.rmtree(tmp_path / "cache")
    unknown = place_bench(*words, "--dry-run", cwd=tmp_path).stdout
    assert "2 cells (has a result if its data is the same: 2)" in unknown


def test_a_task_of_texts_refuses_a_strangers_encoder_before_any_data_is_read(
    tmp_path: Path,
) -> None:
    words = ("run", "mimic5x200_zs", "mimic5x200_ret", "--backbones", "stranger_net")
    refused = place_bench("--plugin", str(EXAMPLE), *words, code=2, cwd=tmp_path)
    said = " ".join(refused.stderr.split())
    assert "'mimic5x200_zs' needs a text encoder, backbone 'stranger_net' has none." in said
    assert not (tmp_path / "cache" / "images").exists()
