"""A tiny MIMIC-CXR whose studies have one finding."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tasks.datasets._exclusive import FIVE
from tasks.datasets.mimic_cxr import MimicCxr
from tests.tasks.datasets.fakes import write_csv, write_mimic

NAMES = MimicCxr.label_names


def write_mimic5x200(root: Path) -> Path:
    """40 studies; study i has class i % 5 alone, every tenth an uncertain other finding."""
    write_mimic(root, studies=40)
    relabel(
        root,
        lambda number, name: (
            "1.0"
            if name == FIVE[number % 5]
            else "-1.0"
            if number % 10 == 9 and name == "Fracture"
            else ""
        ),
    )
    return root


def relabel(root: Path, value: Callable[..., Any]) -> None:
    rows = [
        (str(10000000 + n // 2), str(50000000 + n), *(value(n, name) for name in NAMES))
        for n in range(40)
    ]
    write_csv(root, "chexpert", ("subject_id", "study_id", *NAMES), rows, zipped=True)
