"""TBX11K as first released: `imgs/{health,sick,tb}/`, `lists/` and COCO JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

PARTS = ("train", "val")
LIST, BOXES, FILES = "lists/TBX11K_{}.txt", "annotations/json/TBX11K_{}.json", "imgs"
TYPES = {"health": "healthy", "sick": "sick_but_no_tb", "tb": "tb"}
CATEGORIES = ("ActiveTuberculosis", "ObsoletePulmonaryTuberculosis", "PulmonaryTuberculosis")


def read_release(root: Path, how_to_get: str) -> pd.DataFrame:
    """Return one row per image of the train and val lists, sorted by name; columns as of the
    simplified version.

    An image of `tb/` without a box (one in the release) is left out, as in the simplified version:
    attribute `dropped`. Raise DataError naming the file for a name outside the three folders or in
    two lists, an unknown category, an annotation of an image that is not in the list, or of one
    outside `tb/`, and for images without a file.
    """
    import pandas as pd

    from tasks.datasets._files import locate

    listed = _lists(root)
    files = {name: f"{FILES}/{name}" for name in listed if (root / FILES / name).is_file()}
    paths = locate(list(listed), files, root / "lists", root / FILES, how_to_get)
    facts = {part: _annotations(root / BOXES.format(part), listed) for part in PARTS}
    bare = _sizes(
        root,
        [
            path
            for (name, part), path in zip(listed.items(), paths, strict=True)
            if name not in facts[part]
        ],
    )
    rows = [
        {
            "image_id": name.rsplit("/", 1)[-1],
            "path": path,
            "image_type": TYPES[name.split("/")[0]],
            "table": BOXES.format(part),
            **(facts[part][name] if name in facts[part] else bare[path]),
        }
        for (name, part), path in zip(listed.items(), paths, strict=True)
    ]
    index = pd.DataFrame(rows).sort_values("image_id")
    boxless = (index["image_type"] == "tb") & (index["boxes"].map(len) == 0)
    kept = index[~boxless].reset_index(drop=True)
    kept["label:Tuberculosis"] = (kept["image_type"] == "tb").astype(int)
    kept = kept.assign(patient_id=kept["image_id"], split="")
    kept.attrs["dropped"] = {"tuberculosis without a box": int(boxless.sum())}
    return kept


def _sizes(root: Path, paths: list[str]) -> dict[str, dict[str, Any]]:
    """Return path -> size, without a box, of images not in the boxes file; raise DataError where a
    header does not say."""
    from bench.data.headers import read_shape
    from bench.data.tables import remember

    shapes = remember(
        paths, read_shape, root=root, name="image-shapes-v1", columns=("height", "width")
    )
    unread = shapes["path"][shapes["height"] == ""].tolist()
    if unread:
        raise DataError(f"image {root / unread[0]} does not state its size.", "Download it again.")
    return {
        path: {"rows": int(height), "columns": int(width), "boxes": (), "lines": ()}
        for path, height, width in shapes[["path", "height", "width"]].itertuples(
            index=False, name=None
        )
    }


def _lists(root: Path) -> dict[str, str]:
    """Return image name (relative to `imgs/`) -> the list it stands in."""
    from bench.data.tables import read_text

    found: dict[str, str] = {}
    for part in PARTS:
        path = root / LIST.format(part)
        for line, name in enumerate(read_text(path).split(), start=1):
            if name.split("/")[0] not in TYPES or name in found:
                reason = (
                    f"also in the list of {found[name]}"
                    if name in found
                    else f"not in {', '.join(TYPES)}"
                )
                raise DataError(
                    f"list {path}, line {line}: image '{name}' is {reason}.", "Download it again."
                )
            found[name] = part
    return found


def _annotations(path: Path, listed: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Return image name -> its size and boxes (all categories as one) of one COCO file, with the
    annotations' ids as `lines`."""
    try:
        coco = json.loads(path.read_text())
        names = {image["id"]: image["file_name"] for image in coco["images"]}
        facts = {
            image["file_name"]: {
                "rows": image["height"],
                "columns": image["width"],
                "boxes": (),
                "lines": (),
            }
            for image in coco["images"]
        }
        kinds = {category["id"]: category["name"] for category in coco["categories"]}
        for entry in coco["annotations"]:
            where = f"file {path}, annotation {entry['id']}"
            name = names.get(entry["image_id"], "")
            _check(where, name, kinds.get(entry["category_id"], ""), listed)
            x, y, width, height = (float(value) for value in entry["bbox"])
            facts[name]["boxes"] += ((x, y, x + width, y + height, 0),)
            facts[name]["lines"] += (entry["id"],)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"file {path} is not in COCO form: {type(error).__name__}: {error}.",
            "Download it again.",
        ) from error
    return facts


def _check(where: str, name: str, kind: str, listed: dict[str, str]) -> None:
    if kind not in CATEGORIES:
        raise DataError(f"{where}: category '{kind}'.", f"Known: {', '.join(CATEGORIES)}.")
    if name not in listed or not name.startswith("tb/"):
        raise DataError(
            f"{where}: image '{name}' is not a tuberculosis image of the lists.",
            "Download it again.",
        )
