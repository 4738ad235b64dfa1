"""A tiny MS-CXR beside a tiny MIMIC-CXR: eight images of 16 x 20 px."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tasks.datasets.ms_cxr import FILES
from tests.support.gaze import IMAGES, write_mimic_images

CATEGORIES = ("Pneumonia", "Pneumothorax", "Pleural Effusion")
SPLITS = ("train", "train", "train", "train", "val", "val", "test", "test")


def write_ms_cxr(root: Path) -> None:
    """Write MS-CXR in `ms_cxr/` and MIMIC-CXR in `mimic_cxr/`: each image has a phrase with one
    box, every third one with two."""
    write_mimic_images(root / "mimic_cxr")
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, image in enumerate(IMAGES):
        facts = {"id": 100 + number, "file_name": f"{image}.jpg", "width": 16, "height": 20}
        images.append({**facts, "path": f"files/{image}.jpg", "num_annotations": 1})
        for box in [[2, 3, 6, 8], [9, 4, 5, 10]][: 2 if number % 3 == 0 else 1]:
            annotations.append(
                {
                    "id": len(annotations),
                    "image_id": 100 + number,
                    "category_id": 1 + number % 3,
                    "bbox": box,
                    "label_text": f"opacity {number} at the base",
                    "split": SPLITS[number],
                }
            )
    categories = [{"id": number, "name": name} for number, name in enumerate(CATEGORIES, 1)]
    content = {"categories": categories, "images": images, "annotations": annotations}
    path = root / "ms_cxr" / FILES[0]
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(content))
