"""kill -9 through the command line, in every long phase: the same command completes and no result
is lost or doubled."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.support.commands import BARE, place_bench

STRANGER = str(Path(__file__).parents[1] / "docs" / "examples" / "stranger.py")
PATIENCE = 200.0


@pytest.fixture(scope="module")
def many_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 images of 1400 px, so that decoding them takes a while; the stranger's layout."""
    root = tmp_path_factory.mktemp("killed") / "data" / "stranger"
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    rng = np.random.default_rng(0)
    small = rng.integers(0, 120, (200, 40, 40), dtype=np.uint8)
    for number, seed in enumerate(small):
        image = cv2.resize(seed, (1400, 1400), interpolation=cv2.INTER_NEAREST)
        mask = np.zeros_like(image)
        top, left = rng.integers(100, 800, 2)
        mask[top : top + 400, left : left + 400] = 255
        cv2.imwrite(
            str(root / "images" / f"{number}.png"),
            np.where(mask, image + 100, image).astype(np.uint8),
        )
        cv2.imwrite(str(root / "masks" / f"{number}.png"), mask)
    with (root / "list.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows(
            [("image", "patient"), *((f"{number}.png", f"p{number // 2}") for number in range(200))]
        )
    return root.parent


def kill_when(happened: Callable[[], bool], *words: str, cwd: Path) -> None:
    """Start the command line in a group of its own and kill -9 the group as soon as `happened()`;
    fail where it ends before."""
    settings = {k: v for k, v in os.environ.items() if not k.startswith("PLACE_BENCH")}
    settings["PLACE_BENCH_CACHE"] = str(cwd / "cache")
    with (cwd / "killed.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "bench.commands.cli", *words],
            cwd=cwd,
            env=settings,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        deadline = time.monotonic() + PATIENCE
        try:
            while not happened() and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.005)
        finally:
            os.killpg(process.pid, signal.SIGKILL) if process.poll() is None else None
            code = process.wait()
    assert code == -signal.SIGKILL, (cwd / "killed.log").read_text()


def records_of(folder: Path) -> list[dict[str, object]]:
    """Return the results of a run in `folder`."""
    file = folder / "results" / "results.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


@pytest.mark.slow
def test_cache_build_and_segmentation(many_images: Path, tmp_path: Path) -> None:
    words = [
        "--plugin",
        STRANGER,
        "run",
        "stranger_seg",
        "--backbones",
        "stranger_net",
        "--data-root",
        str(many_images),
    ]
    words += ["--set", "epochs=3", "--set", "steps_per_epoch=6", "--device", "cpu", *BARE]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    whole.mkdir()
    broken.mkdir()
    place_bench(*words, cwd=whole)

    cached = broken / "cache" / "images"
    kill_when(
        lambda: any(path.stat().st_size > 200 for path in cached.rglob("records.bin")),
        *words,
        cwd=broken,
    )
    full = max(path.stat().st_size for path in (whole / "cache" / "images").rglob("records.bin"))
    assert 0 < sum(path.stat().st_size for path in cached.rglob("records.bin")) < full, (
        "killed too late: the cache was complete"
    )
    kill_when(lambda: any((broken / "results").rglob("epoch_1.pth")), *words, cwd=broken)
    assert records_of(broken) == []

    again = place_bench(*words, cwd=broken).stderr
    assert (
        "going on after epoch" in again and "2 cell(s) run" in again
    )  # the encoder's and the baseline's
    for expected, found in zip(records_of(whole), records_of(broken), strict=True):
        assert found["key"] == expected["key"]
        metrics = [name for name in expected if name.startswith("metric:")]
        assert metrics and [found[name] for name in metrics] == [expected[name] for name in metrics]
    assert "0 cell(s) run, 2 had a result" in place_bench(*words, cwd=broken).stderr
    assert len(records_of(broken)) == 2


@pytest.mark.slow
def test_pretraining(tmp_path: Path) -> None:
    data = tmp_path / "data"
    place_bench(
        "data",
        "make-demo",
        "mimic_cxr",
        "--studies",
        "48",
        "--size",
        "96",
        "--out",
        str(data),
        cwd=tmp_path,
    )
    words = ["pretrain", "convirt", "--data-root", str(data), "--device", "cpu"]
    for setting in ("epochs=3", "batch_size=16", "vocabulary=300"):
        words += ["--set", setting]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    whole.mkdir()
    broken.mkdir()
    place_bench(*words, cwd=whole)
    kill_when(lambda: any((broken / "cache").rglob("epoch_1.pth")), *words, cwd=broken)
    assert not list((broken / "cache").rglob("*.safetensors"))

    again = place_bench(*words, cwd=broken)
    assert "going on after epoch" in again.stderr
    (expected,), (found,) = (
        list((folder / "cache").rglob("*.safetensors")) for folder in (whole, broken)
    )
    assert sha256(found.read_bytes()).hexdigest() == sha256(expected.read_bytes()).hexdigest()
    assert found.parent.name == expected.parent.name
