"""MS-CXR: phrases of reports with boxes on images of MIMIC-CXR, as downloaded from PhysioNet,
beside MIMIC-CXR-JPG; and the task on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from bench.contracts import Region, TaskSpec, dataset, task
from bench.core.errors import DataError
from bench.data.faults import fault
from bench.data.notes import note
from tasks.datasets._beside_mimic import BesideMimic, find_home, join_mimic
from tasks.datasets._boxes import number
from tasks.datasets.mimic_cxr import MimicCxr
from tasks.demo.members import Demo

if TYPE_CHECKING:
    import pandas as pd

FILES = ("MS_CXR_Local_Alignment_v1.1.0.json", "MS_CXR_Local_Alignment_v1.0.0.json")
FOLDERS = ("ms-cxr*", "ms_cxr*", "MS-CXR*")
SPLITS = {"train": "train", "val": "val", "validate": "val", "validation": "val", "test": "test"}
AGAIN = "Download it again."
Phrase = tuple[str, str, tuple[float, float, float, float]]
"""Category, words, and one box: x1, y1, x2, y2 in pixels of the image."""


@dataset
class MsCxr(BesideMimic):
    """Frontal radiographs of MIMIC-CXR with phrases of their reports, each with the boxes of what
    it tells of; eight findings.

    Release 1.1.0 states a split with every phrase; without it patients are drawn. It is not that of
    MIMIC-CXR: an encoder that was trained on MIMIC-CXR may have seen images of the test part,
    without their boxes.
    """

    name = "ms_cxr"
    title = "MS-CXR 1.1.0 (PhysioNet): phrases with boxes on images of MIMIC-CXR"
    licence = "PhysioNet Credentialed Health Data License 1.5.0: no redistribution"
    citation = (
        "Boecking et al., Making the most of text semantics to improve biomedical vision-language "
        f"processing, ECCV 2022; {MimicCxr.citation}"
    )
    how_to_get = (
        f"https://physionet.org/content/ms-cxr/ ({FILES[0]}) into $PLACE_BENCH_DATA/ms_cxr/, "
        "beside MIMIC-CXR-JPG, whose images these are, in $PLACE_BENCH_DATA/mimic_cxr/: "
        f"{MimicCxr.how_to_get}"
    )
    marker = tuple(f"{folder}/{name}" for folder in FOLDERS for name in FILES)
    published_counts: ClassVar = {"images": 1047, "phrases with boxes": 1162}
    demo = Demo(stream=34, as_original=520, more_test=640, test_share=0.05)

    def index(self, root: Path) -> pd.DataFrame:
        """Return one row per image that has a phrase; private columns: `phrases`, `height` and
        `width`.

        Raise DataError naming file and entry for one without its fields, a box without area, an
        unknown category or image, one that MIMIC-CXR lacks, and one of another size than stated.
        """
        import pandas as pd

        path = _alignment(root)
        listed = _listed(path)
        table = pd.DataFrame({"dicom_id": list(listed)})
        images, unmatched = join_mimic(table, path, root, self.how_to_get)
        rows = images.assign(
            split=[listed[image].split for image in images["image_id"]],
            phrases=[tuple(listed[image].phrases) for image in images["image_id"]],
        )
        rows = rows[[_has_size(row, listed[row.image_id], path) for row in rows.itertuples()]]
        rows = rows.reset_index(drop=True)
        note(
            rows,
            unmatched=unmatched,
            facts={
                "images": len(listed),
                "phrases with boxes": sum(len(image.texts) for image in listed.values()),
            },
        )
        return rows

    def regions(self, row: pd.Series, root: Path) -> list[Region]:
        """Return the boxes of every phrase, its category as the label; raise DataError for a box
        that is not in the image."""
        import numpy as np

        from bench.data.boxes import check_boxes
        from bench.data.regions import map_of_box

        shape = (int(row["height"]), int(row["width"]))
        boxes = np.array([(*box, 0) for _, _, box in row["phrases"]], np.float64)
        try:
            check_boxes(boxes, shape, 1)
        except DataError as error:
            message = f"file {_alignment(root)}, image '{row['image_id']}': {error.args[0]}"
            raise DataError(message, error.hint) from error
        return [
            Region(map_of_box(box, shape), label=category, source="box", phrase=text)
            for category, text, box in row["phrases"]
        ]


class _Image:
    """What the file says of one image: its stated size, its phrases, and their split."""

    def __init__(self, size: tuple[float, float]) -> None:
        self.size = size
        self.phrases: list[Phrase] = []
        self.split = ""

    def add(self, phrase: Phrase, split: str, where: str) -> None:
        """Take in one phrase; raise DataError where another one of the image is in another
        split."""
        if self.phrases and split != self.split:
            raise DataError(
                f"{where}: split '{split}', an earlier phrase of the image has '{self.split}'.",
                AGAIN,
            )
        self.phrases.append(phrase)
        self.split = split

    @property
    def texts(self) -> set[tuple[str, str]]:
        """Return its phrases, each once."""
        return {(category, text) for category, text, _ in self.phrases}


def _alignment(root: Path) -> Path:
    """Return the file of MS-CXR; raise DataError where there is none."""
    from bench.data.tables import find_table

    return find_table(root / find_home(root, FOLDERS, FILES, MsCxr.how_to_get), *FILES)


def _listed(path: Path) -> dict[str, _Image]:
    """Return the images of the file that have a phrase, by their dicom_id."""
    from bench.data.text import read_json

    content = read_json(path)
    parts = content if isinstance(content, dict) else {}
    categories = {
        entry["id"]: str(entry["name"])
        for entry, _ in _entries(parts, "categories", path)
        if _has(entry, "id", "name")
    }
    names: dict[Any, str] = {}
    images: dict[str, _Image] = {}
    for entry, where in _entries(parts, "images", path):
        name = str(entry.get("file_name", ""))
        image = Path(name).stem
        try:
            if not _has(entry, "id", "file_name", "width", "height") or not image:
                raise DataError(f"{where} lacks id, file_name, width or height.", AGAIN)
            if image in images or entry["id"] in names:
                raise DataError(f"{where}: image '{image}' or its id occurs twice.", AGAIN)
            size = number(str(entry["width"])), number(str(entry["height"]))
        except DataError as error:
            fault(error, image, path)
            continue
        names[entry["id"]] = image
        images[image] = _Image(size)
    for entry, where in _entries(parts, "annotations", path):
        image = names.get(entry.get("image_id"), "")
        try:
            facts = images[image or _unknown(entry, "image_id", where)]
            facts.add(_phrase(entry, categories, where), _split(entry, where), where)
        except DataError as error:
            fault(error, image, path)
    return {image: facts for image, facts in images.items() if facts.phrases}


def _entries(
    content: Mapping[str, Any], part: str, path: Path
) -> Sequence[tuple[Mapping[str, Any], str]]:
    """Return the entries of one list of the file, each with where it stands."""
    entries = content.get(part)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise DataError(f"file {path} has no list '{part}' of entries.", AGAIN)
    return [(entry, f"file {path}, entry {n} of '{part}'") for n, entry in enumerate(entries, 1)]


def _has(entry: Mapping[str, Any], *names: str) -> bool:
    return all(isinstance(entry.get(name), str | int | float) for name in names)


def _unknown(entry: Mapping[str, Any], name: str, where: str) -> str:
    raise DataError(f"{where}: {name} {str(entry.get(name))[:40]} is unknown.", AGAIN)


def _phrase(entry: Mapping[str, Any], categories: Mapping[Any, str], where: str) -> Phrase:
    """Return one annotation; raise DataError for one that is none."""
    category = categories.get(entry.get("category_id"), "") or _unknown(entry, "category_id", where)
    text = entry.get("label_text")
    if not isinstance(text, str) or not text.strip():
        raise DataError(f"{where}: label_text is {str(text)[:40]!r}.", AGAIN)
    box = entry.get("bbox")
    if not isinstance(box, list) or len(box) != 4:
        raise DataError(f"{where}: bbox is {str(box)[:60]}, four numbers were expected.", AGAIN)
    x, y, width, height = (number(str(value)) for value in box)
    if not (width > 0 and height > 0):
        raise DataError(f"{where}: a box of {width:g} x {height:g} px.", AGAIN)
    return category, " ".join(text.split()), (x, y, x + width, y + height)


def _split(entry: Mapping[str, Any], where: str) -> str:
    """Return the split that an annotation states, "" for none."""
    stated = entry.get("split", "")
    if stated and stated not in SPLITS:
        raise DataError(
            f"{where}: split is {str(stated)[:40]!r}; {', '.join(SPLITS)} were expected.", AGAIN
        )
    return SPLITS.get(stated, "")


def _has_size(row: Any, stated: _Image, path: Path) -> bool:
    """Say whether an image has the size that is stated; another one is a fault."""
    if not row.height or stated.size == (row.width, row.height):
        return True
    width, height = stated.size
    message = (
        f"file {path}: image '{row.image_id}' is stated to have {width:g} x {height:g} px, its "
        f"file has {row.width:g} x {row.height:g}."
    )
    fault(DataError(message, "Download it again, or use --on-error skip."), row.image_id, path)
    return False


task(
    TaskSpec(
        name="mimic_ground",
        kind="grounding",
        dataset="ms_cxr",
        title="Where what a phrase tells of is (MS-CXR, on MIMIC-CXR)",
        main_metric="shuffled_auc",
        groups=("grounding",),
        fractions=(1.0,),
        options={"target": "phrase", "source": "box"},
    )
)
