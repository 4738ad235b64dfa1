"""A tiny dataset with a burnt-in letter in its layout."""

from __future__ import annotations

from pathlib import Path

from tasks.datasets.marker import BOX_COLUMNS, BOXES, PARTS
from tests.support.nih import TABLE, name, write_nih


def write_marker(root: Path) -> Path:
    """NIH's forty images; those with a hernia have an effusion, and three of them boxes."""
    write_nih(root)
    header, *rows = (root / TABLE).read_text().splitlines()
    rows = [row.replace("Hernia", "Effusion") for row in rows]
    parts = [PARTS[number % 3] if number >= 30 else "train" for number in range(len(rows))]
    lines = [
        f"{row}{number % 2},{part}"
        for number, (row, part) in enumerate(zip(rows, parts, strict=True))
    ]
    (root / TABLE).write_text("\n".join([f"{header}Marker,Part", *lines]) + "\n")
    boxes = [f"{name(number)},Effusion,2.0,3.0,8.0,6.5,,," for number in (2, 6, 34)]
    boxes.append(f"{name(34)},Effusion,1.0,1.0,2.0,2.0,,,")
    (root / BOXES).write_text("\n".join([",".join((*BOX_COLUMNS, "", "", "")), *boxes]) + "\n")
    return root
