"""What is recorded: keys of every task, protocol and profile, and the numbers of a seeded cell of
every kind. `python -m tests.recorded.cells` writes them anew; say in the commit why they moved."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from backbones.shared.pretraining.keys import Recipe, checkpoint_key
from backbones.shared.pretraining.trainer import pretrain
from bench.cells.request import RunRequest, head_settings
from bench.cells.results import ResultStore
from bench.commands.run import run_command
from bench.contracts import BACKBONES, KINDS, TASKS, PairData, Profile
from bench.core.hashing import digest, flatten
from bench.core.progress import Silent
from tests.damage.scenes import write_objects
from tests.support.mimic5x200 import FIVE, NAMES
from tests.support.pairs import make_subset, recipe
from tests.tasks.datasets.fakes import write_csv, write_mimic, write_siim

RECORDED = Path(__file__).with_name("cells.json")
PROFILES: tuple[Profile, ...] = ("demo", "paper")
RUNS: dict[str, dict[str, str]] = {
    "siim_cls": {},
    "siim_seg": {"epochs": "1", "steps_per_epoch": "4"},
    "object_cxr_det": {"epochs": "1", "steps_per_epoch": "4"},
    "mimic_rg": {"epochs": "1", "max_words": "12"},
    "mimic5x200_zs": {},
    "mimic5x200_ret": {},
}
"""One task of every kind, made short."""


def settings_keys() -> dict[str, str]:
    """Return a hash of the resolved settings of every task under every protocol and profile."""
    keys = {}
    for name, task in TASKS.items():
        for protocol in KINDS.get(task.kind).protocols():
            for profile in PROFILES:
                request = RunRequest(tasks=(name,), protocol=protocol, profile=profile)
                settings = flatten(head_settings(task, request))
                keys[f"{name} {protocol} {profile}"] = digest(settings)
    return keys


def checkpoint_keys() -> dict[str, str]:
    """Return the key of every method's checkpoint in both profiles, on data of a made-up hash."""
    methods = [name for name, spec in BACKBONES.items() if spec.method.startswith("backbones.")]
    return {
        f"{name} {profile}": checkpoint_key(Recipe(name, profile, threads=1), "0123456789abcdef")
        for name in methods
        for profile in PROFILES
    }


def write_data(root: Path) -> None:
    """Write small SIIM, MIMIC and Object-CXR downloads of noise; a MIMIC study has one finding."""
    for folder in ("siim", "mimic_cxr", "object_cxr"):
        (root / folder).mkdir(parents=True)
    write_siim(root / "siim", images=36)
    write_objects(root / "object_cxr")
    write_mimic(root / "mimic_cxr", studies=40)
    labels = [
        (
            f"{10000000 + n // 2}",
            f"{50000000 + n}",
            *("1.0" * (name == FIVE[n % 5]) for name in NAMES),
        )
        for n in range(40)
    ]
    header = ("subject_id", "study_id", *NAMES)
    write_csv(root / "mimic_cxr", "chexpert", header, labels, zipped=True)
    rng = np.random.default_rng(0)
    for path in sorted((root / "mimic_cxr").rglob("*.jpg")):
        Image.fromarray(rng.integers(0, 255, (40, 32), dtype=np.uint8)).save(path)


def run_cells(home: Path) -> dict[str, dict[str, Any]]:
    """Run every task of `RUNS` with a random or a tiny trained encoder; return keys and metrics."""
    write_data(home / "data")
    pairs = PairData("squares", "demo", make_subset(8, 144, 1), make_subset(4, 144, 2), "0123abcd")
    trained = pretrain(recipe("convirt", epochs="1"), pairs, progress=Silent(), out=home / "net")
    for task, settings in RUNS.items():
        aligned = task.startswith("mimic5x200")
        request = RunRequest(
            tasks=(task,),
            backbones=("convirt",) if aligned else ("random",),
            fractions=(1.0,),
            settings=settings,
            checkpoints={"convirt": trained} if aligned else {},
            data="real",
            data_root=home / "data",
            results=home / "results",
            threads=1,
        )
        run_command(request, dry_run=False)
    records = ResultStore(home / "results").records().values()
    return {
        f"{record['task']} {record['backbone']}": {
            "key": "" if record["backbone"] == "convirt" else record["key"],
            **{k: v for k, v in record.items() if k.startswith("metric:")},
        }
        for record in records
    }


def main() -> None:
    """Write what holds now."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        cells = run_cells(Path(folder))
    content = {"settings": settings_keys(), "checkpoints": checkpoint_keys(), "cells": cells}
    RECORDED.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
