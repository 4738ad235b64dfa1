"""COVID-19 Chest X-ray Segmentations (General Blockchain): lungs and opacities on real radiographs;
and the task on them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bench.contracts import CheckResult, Dataset, TaskSpec, dataset, task
from bench.core.errors import DataError
from bench.data.faults import fault
from bench.data.notes import note
from tasks.datasets._checks import dropped_results, file_results

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from bench.data.tree import Tree

LUNGS = ("Left Lung", "Right Lung")
OPACITIES = ("Ground Glass Opacities", "Consolidation")
NOTES = "clinical_notes"
STRUCTURE_COLUMNS = ("Filename", "Template Name", "Mask", "Top", "Left", "Width", "Height")
FRACTIONS = (0.55, 0.15, 0.30)
Outlines = tuple[tuple[str, str, int, int], ...]
"""Structure, mask file, top and left of each outline of an image."""


@dataset
class CovidSeg(Dataset):
    """Radiographs with radiologist-drawn outlines; classes `lung` (left and right) and `opacity`
    (ground glass, consolidation).

    An image in which one lung has no outline is kept where the reader outlined opacities: that lung
    is opaque throughout, and its opacity outline stands for it (2 of the 44 images; private column
    `lung_from_opacity`). An image without any lung or opacity outline, or with a file of one of
    them absent, is left out and counted. Pleural effusion, pneumothorax and devices are no class:
    they are outlined in too few images.
    """

    name = "covid_seg"
    title = "COVID-19 Chest X-ray Segmentations (44 real radiographs with shareable licences)"
    licence = (
        "masks CC BY 4.0; each image its own (CC BY, CC BY-SA, CC BY-NC-SA): column `license` of "
        "metadata.csv"
    )
    citation = (
        "General Blockchain, COVID-19 Chest X-ray Segmentations Dataset, 2020; Cohen et al., "
        "arXiv 2006.11988"
    )
    how_to_get = (
        "https://github.com/GeneralBlockchain/covid-19-chest-xray-segmentations-dataset: put "
        "images/, masks/, structure.csv and "
        "metadata.csv into $PLACE_BENCH_DATA/covid_seg/, or name the folder with --data-root."
    )
    folders = ("covid19_cxr_segmentations", "covid-19-chest-xray-segmentations-dataset")
    marker = "structure.csv"
    mask_classes = ("lung", "opacity")

    def index(self, root: Path) -> pd.DataFrame:
        """Return one row per usable image, split 55/15/30 by patient; private columns:
        `structures`, `lung_from_opacity`.

        `report` holds the clinical notes, which are no radiology report. An image without patient
        id is a patient of its own.
        """
        from bench.data.splits import default_split
        from bench.data.tree import Tree, unlisted
        from tasks.datasets._files import UNLISTED

        tree = Tree(root)
        images, structures, masks = _tables(root, tree)
        images["structures"] = images["image_id"].map(structures)
        unusable = images["structures"].map(lambda parts: _unusable(tree, parts))
        usable = images[unusable == ""].reset_index(drop=True)
        if usable.empty:
            raise DataError(
                f"no image of {root / 'structure.csv'} has lung or opacity masks on disk.",
                self.how_to_get,
            )
        usable["mask_paths"] = usable["structures"].map(
            lambda parts: tuple(outline[1] for outline in parts)
        )
        usable["lung_from_opacity"] = usable["structures"].map(_lacks_a_lung)
        try:
            usable = default_split(usable, seed=0, fractions=FRACTIONS)
        except DataError as error:
            raise DataError(f"{root / 'structure.csv'}: {error.args[0]}", error.hint) from error
        reasons = unusable[unusable != ""].value_counts()
        note(
            usable,
            left_out={f"images with {why}": int(count) for why, count in reasons.items()},
            unmatched={
                UNLISTED: unlisted(root, images["path"]),
                "masks on disk without a row in the table": unlisted(root, masks),
            },
        )
        return usable

    def counts(self, index: pd.DataFrame, root: Path) -> list[CheckResult]:
        """Say how many images have no patient id, and which lack a lung's outline."""
        results = []
        unknown = int(index["patient_id"].str.startswith("unknown-").sum())
        if unknown:
            message = (
                f"{unknown} images have no patient id in metadata.csv: each is a patient of its "
                "own."
            )
            results.append(CheckResult("warning", message))
        stood_in = index.loc[index["lung_from_opacity"], "image_id"].tolist()
        if stood_in:
            message = (
                f"{len(stood_in)} images lack one lung's outline; their opacities stand for it: "
                f"{', '.join(stood_in)}."
            )
            results.append(CheckResult("warning", message))
        return results

    def mask(self, row: pd.Series, root: Path) -> np.ndarray:
        """Return lung and opacity as uint8 [2, H, W]; every outline is a crop placed at its top
        left corner."""
        import numpy as np
        from PIL import Image

        with Image.open(root / row["path"]) as picture:
            width, height = picture.size
        masks = np.zeros((2, height, width), np.uint8)
        for name, file, top, left in row["structures"]:
            _paste(masks[0 if name in LUNGS else 1], root / file, top, left)
        if row["lung_from_opacity"]:
            masks[0] |= masks[1]
        return masks

    def validate(self, root: Path) -> list[CheckResult]:
        """Say how many images, patients and outlines there are, which images are left out and why,
        which files are missing."""
        index = self.index(root)
        sizes = ", ".join(
            f"{count} {split}" for split, count in index["split"].value_counts().items()
        )
        results = [
            CheckResult(
                "ok", f"{len(index)} images of {index['patient_id'].nunique()} patients ({sizes})."
            )
        ]
        results += [*self.counts(index, root), *dropped_results(index)]
        outlines = (mask for files in index["mask_paths"] for mask in files)
        return results + file_results(root, (*index["path"], *outlines), self.how_to_get)


def _tables(root: Path, tree: Tree) -> tuple[pd.DataFrame, dict[str, Outlines], list[str]]:
    """Return the images; per image its lung and opacity outlines (structure, file, top, left); and
    every mask file of the table."""
    from bench.data.tables import find_table, read_table, require_filled, require_unique

    path = find_table(root, "structure.csv")
    metadata_path = find_table(root, "metadata.csv")
    structure = read_table(path, STRUCTURE_COLUMNS, key="Filename")
    structure = require_filled(structure, path, "Filename")
    metadata = read_table(
        metadata_path,
        ("patientid", "filename"),
        optional=("view", "sex", "age", NOTES),
        texts=(NOTES,),
        key="filename",
    )
    metadata = metadata[metadata["filename"].isin(set(structure["Filename"]))]
    metadata = require_unique(metadata, "filename", metadata_path)
    names = structure["Filename"].drop_duplicates().rename("filename").to_frame()
    images = _images(names.merge(metadata, on="filename", how="left").fillna(""))
    masks = [_mask_file(mask) for mask in structure["Mask"]]
    return images, _outlines(structure, path, tree), [mask for mask in masks if mask]


def _mask_file(text: str) -> str:
    """Return the path of a mask as it is in the download; "" where the table names none."""
    return f"masks/{Path(text).name}" if text else ""


def _images(metadata: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    name = metadata["filename"]

    def column(key: str) -> pd.Series:
        """Return a column of the metadata, blank where the table has none."""
        return metadata[key] if key in metadata else pd.Series("", index=metadata.index)

    return pd.DataFrame(
        {
            "image_id": name,
            "patient_id": metadata["patientid"].where(
                metadata["patientid"] != "", "unknown-" + name
            ),
            "path": "images/" + name,
            "split": "",
            "view": column("view"),
            "sex": column("sex"),
            "age": pd.to_numeric(column("age"), errors="coerce"),
            "report": column(NOTES).map(lambda text: " ".join(text.split())),
        }
    )


def _outlines(structure: pd.DataFrame, path: Path, tree: Tree) -> dict[str, Outlines]:
    rows = structure[structure["Template Name"].isin((*LUNGS, *OPACITIES))].sort_values(
        ["Filename", "Template Name"]
    )
    outlines: dict[str, list[tuple[str, str, int, int]]] = {
        name: [] for name in structure["Filename"].unique()
    }
    for line, row in zip(rows.index, rows.to_dict("records"), strict=True):
        try:
            top = int(row["Top"])
            left = int(row["Left"])
        except ValueError as error:
            message = (
                f"table {path}, line {line}: image '{row['Filename']}' has a box that is not a "
                f"number: {error}."
            )
            fault(DataError(message, "Mend the line."), row["Filename"], path)
            continue
        file = tree.find(_mask_file(row["Mask"]))
        outlines[row["Filename"]].append((row["Template Name"], file, top, left))
    return {name: tuple(parts) for name, parts in outlines.items()}


def _unusable(tree: Tree, outlines: Outlines) -> str:
    """Say why an image cannot be used, or ""."""
    names = {outline[0] for outline in outlines}
    if not names & set(LUNGS):
        return "no lung outline"
    if not names.issuperset(LUNGS) and not names & set(OPACITIES):
        return "one lung without outline and no opacity to stand for it"
    if any(not file or not tree.is_file(file) for _, file, _, _ in outlines):
        return "a lung or opacity mask file absent"
    return ""


def _lacks_a_lung(outlines: Outlines) -> bool:
    return not {outline[0] for outline in outlines}.issuperset(LUNGS)


def _paste(canvas: np.ndarray, file: Path, top: int, left: int) -> None:
    """Set the pixels of one outline (where its crop is not black) in `canvas`; raise DataError
    where it leaves the image."""
    import numpy as np
    from PIL import Image

    try:
        with Image.open(file) as picture:
            crop = np.asarray(picture.convert("RGB")).any(2)
    except (OSError, SyntaxError) as error:
        raise DataError(
            f"mask {file} is truncated or corrupt: {error}.", "Download it again."
        ) from error
    height, width = crop.shape
    if min(top, left) < 0 or top + height > canvas.shape[0] or left + width > canvas.shape[1]:
        box = f"{width}x{height} at ({top}, {left})"
        size = f"{canvas.shape[1]}x{canvas.shape[0]}"
        raise DataError(f"mask {file} ({box}) leaves its image ({size}).", "Check structure.csv.")
    canvas[top : top + height, left : left + width] |= crop


task(
    TaskSpec(
        name="covid_seg",
        kind="segmentation",
        dataset="covid_seg",
        title="Lung and opacity segmentation on 44 real radiographs",
        main_metric="dice_global",
        groups=("segmentation",),
        fractions=(1.0,),
    )
)
