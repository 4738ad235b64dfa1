"""A tiny TBX11K in both layouts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIDE = 32
HEADER = "fname,image_height,image_width,source,bbox,target,tb_type,image_type"


def picture(path: Path, grey: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((SIDE, SIDE), grey, np.uint8)).save(path)


def bbox(x: float, y: float, width: float, height: float) -> str:
    return f"\"{{'xmin': {x}, 'ymin': {y}, 'width': {width}, 'height': {height}}}\""


def write_tbx11k(root: Path) -> Path:
    """Twenty healthy, twelve sick, eight tuberculous images; tb0001 has two boxes."""
    rows = []
    for number in range(20):
        rows.append((f"h{number:04d}.png", "none", "no_tb,none,healthy"))
    for number in range(12):
        rows.append((f"s{number:04d}.png", "none", "no_tb,none,sick_but_no_tb"))
    for number in range(8):
        rows.append((f"tb{number:04d}.png", bbox(4.0, 6.0, 10.0, 8.0), "tb,active_tb,tb"))
    rows.append(("tb0001.png", bbox(20.5, 20, 5, 5), "tb,latent_tb,tb"))
    for place, (name, *_) in enumerate(rows):
        picture(root / "images" / name, 3 * place)
    lines = [f"{name},{SIDE},{SIDE},train,{box},{tail}" for name, box, tail in rows]
    (root / "data.csv").write_text("\n".join([HEADER, *lines]) + "\n")
    return root


def write_release(root: Path) -> Path:
    """The first release: six healthy, four sick and three tuberculous images, one of these without
    a box."""
    names = (
        [f"health/h{n}.png" for n in range(6)]
        + [f"sick/s{n}.png" for n in range(4)]
        + [f"tb/tb{n}.png" for n in range(3)]
    )
    for place, name in enumerate(names):
        picture(root / "imgs" / name, 10 * place)
    (root / "lists").mkdir()
    (root / "annotations" / "json").mkdir(parents=True)
    categories = [
        {"id": 1, "name": "ActiveTuberculosis"},
        {"id": 2, "name": "ObsoletePulmonaryTuberculosis"},
    ]
    for part, own in (
        ("train", [name for name in names if "0" in name or "1" in name]),
        ("val", [n for n in names if "0" not in n and "1" not in n]),
    ):
        (root / "lists" / f"TBX11K_{part}.txt").write_text("\n".join(own) + "\n")
        images: list[dict[str, Any]] = [
            {"id": place, "file_name": name, "height": SIDE, "width": SIDE}
            for place, name in enumerate(own)
        ]
        ill = [
            image["id"]
            for image in images
            if image["file_name"].startswith("tb/") and "2" not in image["file_name"]
        ]
        entries = [
            {
                "id": 7 + place,
                "image_id": image,
                "category_id": 1 + place % 2,
                "bbox": [2, 3, 10, 12],
            }
            for place, image in enumerate(ill)
        ]
        coco = {"images": images, "categories": categories, "annotations": entries}
        (root / "annotations" / "json" / f"TBX11K_{part}.json").write_text(json.dumps(coco))
    return root
