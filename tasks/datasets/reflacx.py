"""REFLACX: where radiologists looked in images of MIMIC-CXR while dictating, in three phases, as
downloaded from PhysioNet, beside MIMIC-CXR-JPG."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from bench.contracts import Region, TaskSpec, dataset, task
from bench.core.errors import DataError
from bench.data.notes import note
from tasks.datasets import _gaze
from tasks.datasets._beside_mimic import BesideMimic, find_home, join_mimic, on_disk
from tasks.datasets.mimic_cxr import MimicCxr
from tasks.demo.members import Demo

if TYPE_CHECKING:
    import pandas as pd

MAIN = "main_data"
PHASES = tuple(f"metadata_phase_{phase}.csv" for phase in (1, 2, 3))
FOLDERS = ("reflacx*", "REFLACX*")
DISCARDED = "readings whose eye tracking was discarded"
FLAGS = {"true": True, "1": True, "false": False, "0": False}
_FIXATION = (
    "timestamp_start_fixation",
    "timestamp_end_fixation",
    "x_position",
    "y_position",
    "angular_resolution_x_pixels_per_degree",
    "angular_resolution_y_pixels_per_degree",
)
_WORD = ("word", "timestamp_start_word", "timestamp_end_word")
_CORNERS = ("xmin", "ymin", "xmax", "ymax")


@dataset
class Reflacx(BesideMimic):
    """Frontal radiographs with what was dictated on them, where radiologists looked, and their
    ellipses around what they found."""

    name = "reflacx"
    title = "REFLACX 1.0.0 (PhysioNet): reports and eye gaze on images of MIMIC-CXR"
    licence = "PhysioNet Credentialed Health Data License 1.5.0: no redistribution"
    citation = (
        "Bigolin Lanfredi et al., REFLACX, a dataset of reports and eye-tracking data for "
        f"localization of abnormalities in chest x-rays, Scientific Data 2022; {MimicCxr.citation}"
    )
    how_to_get = (
        "https://physionet.org/content/reflacx-xray-localization/ (main_data/) into "
        "$PLACE_BENCH_DATA/reflacx/, beside MIMIC-CXR-JPG, whose images these are, in "
        f"$PLACE_BENCH_DATA/mimic_cxr/: {MimicCxr.how_to_get}"
    )
    marker = tuple(f"{folder}/{MAIN}/{name}" for folder in FOLDERS for name in PHASES)
    has_reports = True
    published_counts: ClassVar = {"readings": 3032, "images": 2616}
    demo = Demo(stream=32, as_original=520, more_test=400, test_share=0.05)

    def index(self, root: Path) -> pd.DataFrame:
        """Return one row per image; its report is what its first reader dictated.

        Private columns: `readings` (fixations, when each sentence was spoken, and the report of
        every reader), `ellipses`, `height` and `width`. The notes count readings and fixations that
        are dropped. Raise DataError for a missing table or column, a doubled id, an image that
        MIMIC-CXR lacks, or one of another size than stated.
        """
        tables = [f"{MAIN}/{name}" for name in PHASES]
        home = root / find_home(root, FOLDERS, tables, self.how_to_get)
        readings, path = _metadata(home)
        used = readings[~readings["discarded"]]
        images, unmatched = join_mimic(used, path, root, self.how_to_get)
        used = _of_stated_size(used, images, path)
        counts = {DISCARDED: int(readings["discarded"].sum())}
        read = _read_readings(used, home)
        rows = _per_image(images, read, counts)
        note(
            rows,
            left_out=counts,
            unmatched=unmatched,
            facts={"readings": len(readings), "images": readings["dicom_id"].nunique()},
        )
        return rows

    def regions(self, row: pd.Series, root: Path) -> list[Region]:
        """Return where the readers looked during each sentence and in all, and their ellipses."""
        height, width = row["height"], row["width"]
        ellipses = [
            Region(_ellipse(corners, height, width), label=name, source="mask")
            for name, corners in row["ellipses"]
        ]
        return [*_gaze.gaze_regions(_readings(row), height, width), *ellipses]

    def fixations(self, row: pd.Series) -> Mapping[int, Sequence[tuple[float, float]]]:
        """Return where the readers' eyes rested during each sentence of the first reader, and in
        all (-1): x and y as shares of the padded square's side."""
        return _gaze.fixated_points(_readings(row), row["height"], row["width"])


def _readings(row: pd.Series) -> list[_gaze.Reading]:
    from bench.core.sentences import split_sentences

    return [
        (fixations, spoken, split_sentences(report))
        for fixations, spoken, report in row["readings"]
    ]


def _metadata(home: Path) -> tuple[pd.DataFrame, Path]:
    """Return the readings of all phases that are there (columns id, dicom_id, discarded, size_x,
    size_y), and the table that errors name."""
    import pandas as pd

    from bench.data.tables import (
        check_rows,
        find_file,
        read_table,
        require_filled,
        require_unique,
    )

    files = [find_file(home / MAIN, name) for name in PHASES]
    paths = [path for path in files if path is not None]
    flag = "eye_tracking_data_discarded"
    sides = ("image_size_x", "image_size_y")
    tables = []
    for path in paths:
        table = read_table(path, ("id", "dicom_id", flag, *sides), key="dicom_id")
        table = require_filled(table, path, "id", "dicom_id", key="dicom_id")
        table = require_unique(table, "id", path)
        unknown = ~table[flag].str.lower().isin(FLAGS)
        expected = f"{flag} is neither True nor False"
        table = check_rows(table, unknown, path, expected, key="dicom_id")
        for side in sides:
            wrong = ~table[side].map(_is_size)
            table = check_rows(
                table, wrong, path, f"{side} is no whole number above 0", key="dicom_id"
            )
        discarded = table[flag].str.lower().map(FLAGS).astype(bool)
        tables.append(table.assign(discarded=discarded, table=path.name))
    return pd.concat(tables), paths[0].parent


def _is_size(text: str) -> bool:
    return text.isdecimal() and int(text) > 0


def _of_stated_size(readings: pd.DataFrame, images: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Return the readings whose image has the size that is stated; another one is a fault."""
    from bench.data.faults import fault

    sides = images.set_index("image_id")[["width", "height"]].to_dict("index")
    wrong = set()
    for row in readings.itertuples():
        size = sides.get(row.dicom_id)
        stated = int(row.image_size_x), int(row.image_size_y)
        if size is None or not size["height"] or stated == (size["width"], size["height"]):
            continue
        wrong.add(row.dicom_id)
        message = (
            f"table {folder / row.table}, line {row.Index}: image '{row.dicom_id}' is stated to "
            f"have {stated[0]} x {stated[1]} px, its file has {size['width']:g} x "
            f"{size['height']:g}."
        )
        fault(DataError(message, "Download it again, or use --on-error skip."), row.dicom_id)
    return readings[~readings["dicom_id"].isin(wrong)]


def _read_readings(readings: pd.DataFrame, home: Path) -> pd.DataFrame:
    """Return the readings with what is in their three files; one that does not read is a fault."""
    from bench.data.tables import remember

    read = readings.sort_values("id")
    for column, (name, reader) in _FILES.items():
        files = on_disk(home, [f"{MAIN}/{reading}/{name}" for reading in read["id"]])
        facts = remember(
            files, reader, root=home, name=f"reflacx-{column}-v1", columns=(column,)
        ).rename(columns={"path": "file"})
        read = read.assign(file=files).merge(facts, on="file", how="inner").drop(columns="file")
    return read


def _read_fixations(path: Path) -> Mapping[str, str]:
    table = _gaze.rows_of_table(path, _FIXATION)
    return {"fixations": _gaze.to_json(_gaze.numbers_of_rows(table, path, _fixation))}


def _fixation(row: Mapping[str, str]) -> list[float]:
    start, end, x, y, *degrees = (_gaze.number(row[name], name) for name in _FIXATION)
    if min(degrees) <= 0:
        raise DataError("a visual degree of no pixels.")
    return [x, y, start, end - start, *degrees]


def _read_words(path: Path) -> Mapping[str, str]:
    table = _gaze.rows_of_table(path, _WORD)
    words = [
        _gaze.checked_word(word, begin, end, f"table {path}, line {line}")
        for line, word, begin, end in table.itertuples(name=None)
    ]
    timed = _gaze.timed_report(words)
    if not timed.spoken:
        raise DataError(f"table {path} has no word.", "Download it again.")
    return {"words": _gaze.to_json([timed.spoken, timed.text])}


def _read_ellipses(path: Path) -> Mapping[str, str]:
    from bench.data.tables import read_columns

    beside = (*_CORNERS, "certainty")
    labels = [name for name in read_columns(path) if name not in beside]
    table = _gaze.rows_of_table(path, (*_CORNERS, *labels))
    ellipses = _gaze.numbers_of_rows(table, path, partial(_named_ellipses, labels))
    return {"ellipses": _gaze.to_json([each for of_row in ellipses for each in of_row])}


def _named_ellipses(labels: Sequence[str], row: Mapping[str, str]) -> list[tuple[str, list[float]]]:
    """Return an ellipse once for each of its labels."""
    corners = [_gaze.number(row[name], name) for name in _CORNERS]
    if corners[2] <= corners[0] or corners[3] <= corners[1]:
        raise DataError("an ellipse without area.")
    unknown = [name for name in labels if row[name].lower() not in FLAGS]
    if unknown:
        raise DataError(f"{unknown[0]} is neither True nor False.")
    return [(name, corners) for name in labels if FLAGS[row[name].lower()]]


_FILES: Mapping[str, Any] = {
    "fixations": ("fixations.csv", _read_fixations),
    "words": ("timestamps_transcription.csv", _read_words),
    "ellipses": ("anomaly_location_ellipses.csv", _read_ellipses),
}
"""Per column of a reading its file and who reads it."""


def _per_image(
    images: pd.DataFrame, readings: pd.DataFrame, counts: dict[str, int]
) -> pd.DataFrame:
    """Return one row per image that somebody read, with the report of its first reader and all
    readings in the order of their ids."""
    of_image = dict(iter(readings.groupby("dicom_id")))
    rows = images[images["image_id"].isin(of_image)].reset_index(drop=True)
    columns: dict[str, list[Any]] = {"readings": [], "ellipses": [], "report": []}
    for image, height, width in rows[["image_id", "height", "width"]].itertuples(index=False):
        listed = []
        ellipses: list[Any] = []
        for reading in of_image[image].to_dict("records"):
            fixations = map(tuple, json.loads(reading["fixations"]))
            spoken, report = json.loads(reading["words"])
            looks = _gaze.kept_fixations(fixations, height, width, counts)
            listed.append((looks, tuple(map(tuple, spoken)), report))
            ellipses += [
                (name, tuple(corners)) for name, corners in json.loads(reading["ellipses"])
            ]
        columns["readings"].append(tuple(listed))
        columns["ellipses"].append(tuple(sorted(ellipses)))
        columns["report"].append(listed[0][2])
    return rows.assign(**columns, findings=columns["report"], impression="")


def _ellipse(corners: Sequence[float], height: float, width: float) -> Any:
    """Return the map of an ellipse between its corners (x1, y1, x2, y2)."""
    import numpy as np

    from bench.data.regions import map_of_mask

    x1, y1, x2, y2 = corners
    rows, columns = np.ogrid[: int(height), : int(width)]
    across = (columns + 0.5 - (x1 + x2) / 2) / ((x2 - x1) / 2)
    down = (rows + 0.5 - (y1 + y2) / 2) / ((y2 - y1) / 2)
    return map_of_mask((across**2 + down**2 <= 1).astype(np.uint8))


task(
    TaskSpec(
        name="reflacx_ret",
        kind="retrieval",
        dataset="reflacx",
        title="Retrieval of images by what was dictated on them (REFLACX)",
        main_metric="t2i_r@5",
        fractions=(1.0,),
    )
)
task(
    TaskSpec(
        name="reflacx_gaze",
        kind="grounding",
        dataset="reflacx",
        title="Where radiologists looked, by the sentence (REFLACX)",
        main_metric="shuffled_auc",
        groups=("grounding",),
        fractions=(1.0,),
        options={"target": "sentence", "source": "gaze"},
    )
)
task(
    TaskSpec(
        name="reflacx_ground",
        kind="grounding",
        dataset="reflacx",
        title="Where each finding is, by its name, ellipses (REFLACX)",
        main_metric="shuffled_auc",
        groups=("grounding",),
        fractions=(1.0,),
        options={"source": "mask"},
    )
)
