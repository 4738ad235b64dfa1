"""The demo in the layout of simplified TBX11K: one folder of PNG files, and data.csv with one row
per box."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tasks.datasets.demos.lists import Member, write_lists
from tasks.datasets.tbx11k import FILES, TABLE, TYPES, Tbx11k
from tasks.demo.beam.render import LEAST_SIDE, Box, render
from tasks.demo.body.patient import PATHOLOGY, RATES, Finding, Study, sample_study
from tasks.demo.writers import manifest
from tasks.demo.writers.files import write_png

DEMO = Tbx11k.demo
HEADER = "fname,image_height,image_width,source,bbox,target,tb_type,image_type"
TB_SHARE = 0.2
HEALTHY_SHARE = 0.35
LETTERS = dict(zip(TYPES, ("h", "s", "tb"), strict=True))


def _tables(out: Path, written: list[dict[str, Any]], seed: int) -> dict[str, int]:
    """Write the tables; return their counts."""
    written.sort(key=lambda study: study["name"])
    manifest.write_table(out / TABLE, HEADER, [row for study in written for row in study["rows"]])
    write_lists(out, DEMO, written)
    kinds = [study["type"] for study in written]
    counts = {"images": len(written)} | {kind: kinds.count(kind) for kind in TYPES}
    counts["boxes"] = sum(len(study["rows"]) for study in written if study["type"] == TYPES[2])
    return counts


def study_of(seed: int, number: int) -> Study:
    """Return study `number`: tuberculosis is an opacity of an upper lobe (never there without it);
    the others healthy or sick."""
    rng = DEMO.generator(seed, number)
    study = sample_study(rng, number, RATES)
    draw = rng.random()
    healthy = TB_SHARE <= draw < TB_SHARE + HEALTHY_SHARE
    findings = [
        finding
        for finding in study.findings
        if not (_is_tuberculosis(finding) or (healthy and finding.name in PATHOLOGY))
    ]
    if draw < TB_SHARE:
        sides = ("right", "left") if rng.random() < 0.3 else (str(rng.choice(["right", "left"])),)
        findings += [_tuberculosis(rng, side) for side in sides]
    return replace(study, findings=tuple(findings))


def _tuberculosis(rng: np.random.Generator, side: str) -> Finding:
    amount = 0.2 + 0.8 * float(rng.beta(1.3, 1.5))
    contrast = float(rng.uniform(0.3, 1))
    return Finding(
        "consolidation", side, "upper", amount, contrast, int(rng.integers(2**31)), "opacity"
    )


def _is_tuberculosis(finding: Finding) -> bool:
    return finding.name in ("consolidation", "nodule") and finding.location == "upper"


def image_name(kind: str, number: int) -> str:
    """Return the name of an image file: letters of its type, then its number."""
    return f"{LETTERS[kind]}{number + 1:04d}.png"


def _write_study(job: manifest.Job, number: int) -> dict[str, Any]:
    study = study_of(job.seed, number)
    rendering = render(study, job.size)
    boxes = _boxes(study, rendering.boxes)
    kind = _type_of(study, boxes)
    name = image_name(kind, number)
    write_png(job.out / FILES / name, rendering.image)
    facts = f"{name},{job.size},{job.size},{'val' if number % 5 == 4 else 'train'}"
    tail = "tb,active_tb,tb" if boxes else f"no_tb,none,{kind}"
    return {
        "name": name,
        "type": kind,
        "member": Member(name, name, number, int(bool(boxes))),
        "rows": [f'{facts},"{_text(box)}",{tail}' for box in boxes] or [f"{facts},none,{tail}"],
        "truth": [manifest.truth(name, rendering, study.findings, study.view)],
    }


def _type_of(study: Study, boxes: list[Box]) -> str:
    healthy, sick, tuberculous = TYPES
    if boxes:
        return tuberculous
    return sick if any(study.has(name) for name in PATHOLOGY) else healthy


def _boxes(study: Study, boxes: dict[str, list[Box]]) -> list[Box]:
    """Return the boxes of the tuberculosis: the parts of the consolidations that are any."""
    findings = study.named("consolidation")
    parts = boxes.get("consolidation", [])
    if not any(map(_is_tuberculosis, findings)):
        return []
    if len(parts) != len(
        findings
    ):  # a part too small to be seen was left out: all that is left counts
        return [box for box in parts if min(box[2:]) >= LEAST_SIDE]
    return [
        box
        for finding, box in zip(findings, parts, strict=True)
        if _is_tuberculosis(finding) and min(box[2:]) >= LEAST_SIDE
    ]


def _text(box: Box) -> str:
    return str(
        {
            name: float(value)
            for name, value in zip(("xmin", "ymin", "width", "height"), box, strict=True)
        }
    )


write = partial(manifest.write, "tbx11k", _write_study, _tables, version=DEMO.version)
"""Write `studies` images at `size` px into `out`, as `manifest.write` says."""
