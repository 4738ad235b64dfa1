"""Plug-ins written before the house had rooms still run: their imports are kept."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bench.contracts import DATASETS
from bench.data.splits import by_image_id, default_split
from tests.support.commands import BARE, place_bench
from tests.tasks.datasets.fakes import write_siim

EXAMPLES = Path(__file__).parent / "examples"
TRAIN = """
import sys
from pathlib import Path
import torch
from backbones.pretrain import pretrain
from bench.contracts import BACKBONES, BackboneRequest, PairData
from bench.progress import Silent
from bench.registry import load_plugin
from tests.support.pairs import images, make_subset, recipe
load_plugin(Path(sys.argv[1]))
pairs = PairData("squares", "demo", make_subset(8, 144, 1), make_subset(4, 144, 2), "0123abcd")
folder = pretrain(recipe("siglip"), pairs, progress=Silent(), out=Path("net"))
loaded = BACKBONES.get("siglip").build(BackboneRequest("demo", checkpoint=folder))
with torch.no_grad():
    print(list(loaded.similarity(images(pairs), ["Normal.", "A nodule."]).shape))
"""


def test_a_dataset_a_task_and_an_encoder_of_before_are_declared(tmp_path: Path) -> None:
    plugin = str(EXAMPLES / "stranger.py")
    listed = place_bench("--plugin", plugin, "list", "tasks", "--json", cwd=tmp_path)
    assert "stranger_seg" in [row["name"] for row in json.loads(listed.stdout)]
    words = ("--plugin", plugin, "run", "stranger_seg", "--backbones", "stranger_net")
    refused = place_bench(*words, "--data-root", str(tmp_path), code=2, cwd=tmp_path)
    assert "does not hold 'stranger'" in refused.stderr


def test_a_kind_of_before_gets_masks_by_a_word(tmp_path: Path) -> None:
    write_siim(tmp_path / "data" / "siim", images=36)
    words = ["--plugin", str(EXAMPLES / "kind.py"), "run", "siim_share", "--backbones", "random"]
    words += ["--data-root", str(tmp_path / "data"), "--fractions", "1.0", *BARE]
    place_bench(*words, cwd=tmp_path)
    [record] = map(json.loads, (tmp_path / "results" / "results.jsonl").read_text().splitlines())
    dataset = DATASETS.get("siim")
    index = default_split(by_image_id(dataset.index(tmp_path / "data" / "siim")), seed=0)
    cover = {
        split: np.array([dataset.mask(row, tmp_path / "data" / "siim").mean() for _, row in rows])
        for split in ("train", "test")
        for rows in [index[index["split"] == split].iterrows()]
    }
    expected = abs(cover["test"] - cover["train"].mean()).mean()
    assert record["metric:error"] == pytest.approx(expected, abs=1e-3)


def test_a_method_of_before_trains_and_is_used(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", TRAIN, str(EXAMPLES / "method.py")],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[4, 2]"


@pytest.mark.parametrize(
    ("module", "before", "now"),
    [
        ("backbones.place.model", "Place", "PLACE"),
        ("backbones.place.model", "LoadedPlace", "LoadedPLACE"),
        ("backbones.place.settings", "Settings", "PLACESettings"),
        ("backbones.gloria.model", "Gloria", "GLoRIA"),
        ("backbones.gloria.settings", "Settings", "GLoRIASettings"),
        ("backbones.mgca.model", "Mgca", "MGCA"),
        ("backbones.mgca.settings", "Settings", "MGCASettings"),
        ("bench.contracts", "Backbone", "ImageEncoder"),
    ],
)
def test_a_name_of_before_is_another_name_of_the_same(module: str, before: str, now: str) -> None:
    imported = importlib.import_module(module)
    assert getattr(imported, before) is getattr(imported, now)
