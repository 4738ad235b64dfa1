"""TBX11K as first released: `imgs/{health,sick,tb}/`, `lists/` and COCO JSON."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.core.errors import DataError
from bench.data.faults import fault
from bench.data.notes import note, notes
from bench.data.text import read_json
from tasks.datasets._boxes import Box

if TYPE_CHECKING:
    import pandas as pd

PARTS = ("train", "val")
LIST = "lists/TBX11K_{}.txt"
BOXES = "annotations/json/TBX11K_{}.json"
FILES = "imgs"
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

    listed = _lists(root)
    images = _located(root, listed, how_to_get)
    facts = {list_name: _annotations(root / BOXES.format(list_name), listed) for list_name in PARTS}
    parts = images["name"].map(listed)
    bare = _sizes(
        root,
        [
            path
            for name, list_name, path in zip(images["name"], parts, images["path"], strict=True)
            if name not in facts[list_name]
        ],
    )
    rows = [
        {
            "image_id": image,
            "path": path,
            "image_type": TYPES[name.split("/")[0]],
            "table": BOXES.format(listed[name]),
            **facts[listed[name]].get(name, bare.get(path, {})),
        }
        for image, name, path in images.itertuples(index=False, name=None)
    ]
    index = pd.DataFrame(rows).sort_values("image_id")
    boxless = (index["image_type"] == "tb") & (index["boxes"].map(len) == 0)
    boxed = index[~boxless].reset_index(drop=True)
    boxed["label:Tuberculosis"] = (boxed["image_type"] == "tb").astype(int)
    boxed = boxed.assign(patient_id=boxed["image_id"], split="")
    note(
        boxed,
        left_out={"images of tuberculosis without a box": int(boxless.sum())},
        unmatched=notes(images).unmatched,
    )
    return boxed


def _located(root: Path, listed: dict[str, str], how_to_get: str) -> pd.DataFrame:
    """Return `image_id`, `name` (relative to `imgs/`) and `path` of the listed images."""
    import pandas as pd

    from bench.data.tree import plain_suffix
    from tasks.datasets._files import UNLISTED, locate, scan

    files = {
        plain_suffix(path.removeprefix(f"{FILES}/")): path
        for folder in TYPES
        for path in scan(root, [f"{FILES}/{folder}"], ".png").values()
    }
    located = []
    for list_name in PARTS:
        names = [name for name, of in listed.items() if of == list_name]
        ids = [name.rsplit("/", 1)[-1] for name in names]
        images = pd.DataFrame({"image_id": ids, "name": names})
        table = root / LIST.format(list_name)
        located.append(
            locate(images, names, files, table=table, folder=root / FILES, how_to_get=how_to_get)
        )
    images = pd.concat(located, ignore_index=True)
    note(images, unmatched={UNLISTED: len(files) - len(images)})
    return images


def _sizes(root: Path, paths: list[str]) -> dict[str, dict[str, Any]]:
    """Return path -> size, without a box, of images not in the boxes file; raise DataError where a
    header does not say."""
    from bench.data.headers import read_shape
    from bench.data.tables import remember

    shapes = remember(
        paths, read_shape, root=root, name="image-shapes-v1", columns=("height", "width")
    )
    for path in shapes["path"][shapes["height"] == ""]:
        error = DataError(f"image {root / path} does not state its size.", "Download it again.")
        fault(error, path, root / path)
    sizes = shapes[["path", "height", "width"]].replace("", "0").itertuples(index=False, name=None)
    return {
        path: {"rows": int(height), "columns": int(width), "boxes": (), "lines": ()}
        for path, height, width in sizes
    }


def _lists(root: Path) -> dict[str, str]:
    """Return image name (relative to `imgs/`) -> the list it stands in."""
    from bench.data.text import read_lines

    listed: dict[str, str] = {}
    for list_name in PARTS:
        path = root / LIST.format(list_name)
        for line, name in read_lines(path):
            if name.split("/")[0] in TYPES and name not in listed:
                listed[name] = list_name
                continue
            reason = (
                f"also in the list of {listed[name]}"
                if name in listed
                else f"not in {', '.join(TYPES)}"
            )
            message = f"list {path}, line {line}: image '{name}' is {reason}."
            fault(DataError(message, "Download it again."), name.rsplit("/", 1)[-1], path)
    return listed


def _annotations(path: Path, listed: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Return image name -> its size and boxes (all categories as one) of one COCO file, with the
    annotations' ids as `lines`."""
    coco = read_json(path)
    try:
        names = _by_id(coco["images"], "file_name", path)
        facts: dict[str, dict[str, Any]] = {
            image["file_name"]: {
                "rows": int(image["height"]),
                "columns": int(image["width"]),
                "boxes": (),
                "lines": (),
            }
            for image in coco["images"]
        }
        kinds = _by_id(coco["categories"], "name", path)
        _by_id(coco["annotations"], "image_id", path)
        for entry in coco["annotations"]:
            where = f"file {path}, annotation {entry['id']}"
            name = names.get(entry["image_id"], "")
            try:
                _check(where, name, kinds.get(entry["category_id"], ""), listed)
                box = _box(where, entry["bbox"])
            except DataError as error:
                fault(error, name.rsplit("/", 1)[-1], path)
                continue
            facts[name]["boxes"] += (box,)
            facts[name]["lines"] += (entry["id"],)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"file {path} is not in COCO form: {type(error).__name__}: {error}.",
            "Download it again.",
        ) from error
    return facts


def _by_id(entries: list[dict[str, Any]], field: str, path: Path) -> dict[Any, Any]:
    """Return id -> `field` of a list of COCO; raise DataError for an id that occurs twice."""
    fields = {}
    for entry in entries:
        if entry["id"] in fields:
            raise DataError(f"file {path}: id {entry['id']} occurs twice.", "Download it again.")
        fields[entry["id"]] = entry[field]
    return fields


def _box(where: str, values: Any) -> Box:
    """Return x, y, width, height as corners, with the class."""
    try:
        x, y, width, height = (float(value) for value in values)
    except (ValueError, TypeError) as error:
        raise DataError(
            f"{where}: bbox '{str(values)[:60]}' is not a box.",
            "x, y, width and height were expected.",
        ) from error
    return (x, y, x + width, y + height, 0)


def _check(where: str, name: str, kind: str, listed: dict[str, str]) -> None:
    if kind not in CATEGORIES:
        raise DataError(f"{where}: category '{kind}'.", f"Known: {', '.join(CATEGORIES)}.")
    if name not in listed or not name.startswith("tb/"):
        raise DataError(
            f"{where}: image '{name}' is not a tuberculosis image of the lists.",
            "Download it again.",
        )
