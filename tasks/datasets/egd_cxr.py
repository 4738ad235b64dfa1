"""EGD-CXR: where a radiologist looked in images of MIMIC-CXR while dictating, as downloaded from
PhysioNet, beside MIMIC-CXR-JPG."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from bench.contracts import Region, TaskSpec, dataset, task
from bench.core.errors import DataError
from bench.data.notes import note
from tasks.datasets import _gaze
from tasks.datasets._beside_mimic import BesideMimic, find_home, join_mimic
from tasks.datasets._gaze import Fixation
from tasks.datasets.mimic_cxr import MimicCxr
from tasks.demo.members import Demo

if TYPE_CHECKING:
    import pandas as pd

SHEET = "master_sheet.csv"
FIXATIONS = "fixations.csv"
BOXES = "bounding_boxes.csv"
FOLDERS = ("egd*", "EGD*", "eye-gaze*")
TRANSCRIPT = "audio_segmentation_transcripts/{}/transcript.json"
DEGREE = 1 / 25
"""One visual degree as a share of the image's long side: the tables state no angle, this is our
choice."""
INVALID = "fixations that the eye tracker calls invalid"
UNLISTED_FIXATIONS = f"fixations of images that are not in {SHEET}"
UNLISTED_BOXES = f"boxes of images that are not in {SHEET}"


@dataset
class EgdCxr(BesideMimic):
    """Frontal radiographs with what was dictated on them, and where the radiologist looked: a map
    for each sentence and one for the study."""

    name = "egd_cxr"
    title = "EGD-CXR 1.0.0 (PhysioNet): eye gaze on 1,083 images of MIMIC-CXR"
    licence = "PhysioNet Credentialed Health Data License 1.5.0: no redistribution"
    citation = (
        "Karargyris et al., Creation and validation of a chest X-ray dataset with eye-tracking and "
        f"report dictation for AI development, Scientific Data 2021; {MimicCxr.citation}"
    )
    how_to_get = (
        "https://physionet.org/content/egd-cxr/ (master_sheet.csv, fixations.csv, "
        "bounding_boxes.csv and audio_segmentation_transcripts/) into $PLACE_BENCH_DATA/egd_cxr/, "
        "beside MIMIC-CXR-JPG, whose images these are, in $PLACE_BENCH_DATA/mimic_cxr/: "
        f"{MimicCxr.how_to_get}"
    )
    marker = tuple(f"{folder}/{SHEET}" for folder in FOLDERS)
    has_reports = True
    published_counts: ClassVar = {"images": 1083, "patients": 1038}
    demo = Demo(stream=31, as_original=520, more_test=400, test_share=0.05)

    def index(self, root: Path) -> pd.DataFrame:
        """Return one row per image; its report is what was dictated.

        Private columns: `fixations` and `spoken` (when each sentence was), `boxes` of parts of the
        body, `height` and `width`. The notes count fixations that are dropped, and those and boxes
        of images that are not listed. Raise DataError for a missing table or column, a doubled
        dicom_id, or an image that MIMIC-CXR lacks.
        """
        from bench.data.tables import find_table, read_table, require_filled, require_unique

        home = root / find_home(root, FOLDERS, [SHEET], self.how_to_get)
        path = find_table(home, SHEET)
        exam = ("cxr_exam_indication",)
        table = read_table(path, ("dicom_id",), optional=exam, texts=exam, key="dicom_id")
        listed = set(table["dicom_id"])
        table = require_filled(table, path, "dicom_id", key="dicom_id")
        table = require_unique(table, "dicom_id", path)
        images, unmatched = join_mimic(table, path, root, self.how_to_get)
        rows = _dictated(images, home)
        counts: dict[str, int] = {}
        rows = _looked_at(rows, home, listed, counts, unmatched)
        rows = rows.assign(boxes=_boxes(rows, home, listed, unmatched))
        note(
            rows,
            left_out=counts,
            unmatched=unmatched,
            facts={
                "images": table["dicom_id"].nunique(),
                "patients": images["patient_id"].nunique(),
            },
        )
        return rows

    def regions(self, row: pd.Series, root: Path) -> list[Region]:
        """Return where the radiologist looked during each sentence and in all, and the boxes of
        parts of the body."""
        from bench.data.regions import map_of_box

        height, width = row["height"], row["width"]
        boxes = [
            Region(map_of_box(corners, (int(height), int(width))), label=name, source="box")
            for name, corners in row["boxes"]
        ]
        return [*_gaze.gaze_regions([_reading(row)], height, width), *boxes]

    def fixations(self, row: pd.Series) -> Mapping[int, Sequence[tuple[float, float]]]:
        """Return where the eyes rested during each sentence, and in all (-1): x and y as shares of
        the padded square's side."""
        return _gaze.fixated_points([_reading(row)], row["height"], row["width"])


def _reading(row: pd.Series) -> _gaze.Reading:
    from bench.core.sentences import split_sentences

    return row["fixations"], row["spoken"], split_sentences(row["report"])


def _dictated(images: pd.DataFrame, home: Path) -> pd.DataFrame:
    """Return the images with their dictated report; one without a transcript is a fault."""
    from bench.data.tables import remember

    files = [TRANSCRIPT.format(image) for image in images["image_id"]]
    image_of = dict(zip(files, images["image_id"], strict=True))
    read = remember(
        files, _read_transcript, root=home, name="egd-transcripts-v1", columns=("report", "spoken")
    )
    report = read.assign(image_id=read["path"].map(image_of))[["image_id", "report", "spoken"]]
    rows = images.merge(report, on="image_id", how="inner")
    spoken = [tuple(map(tuple, json.loads(text))) for text in rows["spoken"]]
    return rows.assign(spoken=spoken, findings=rows["report"], impression="")


def _read_transcript(path: Path) -> Mapping[str, str]:
    """Return the report of a transcript and the times of its sentences."""
    from bench.data.text import read_json

    content = read_json(path)
    entries = content.get("time_stamped_text") if isinstance(content, dict) else None
    if not isinstance(entries, list) or not entries:
        raise DataError(f"transcript {path} has no list 'time_stamped_text'.", "Download it again.")
    words = []
    for number, entry in enumerate(entries, start=1):
        where = f"transcript {path}, entry {number} of 'time_stamped_text'"
        facts = entry if isinstance(entry, dict) else {}
        times = facts.get("begin_time"), facts.get("end_time")
        words.append(_gaze.checked_word(facts.get("phrase"), *times, where))
    timed = _gaze.timed_report(words)
    if not timed.spoken:
        raise DataError(f"transcript {path} has no word.", "Download it again.")
    return {"report": timed.text, "spoken": _gaze.to_json(timed.spoken)}


def _looked_at(
    rows: pd.DataFrame,
    home: Path,
    listed: Collection[str],
    counts: dict[str, int],
    unmatched: dict[str, int],
) -> pd.DataFrame:
    """Return the images with their fixations; those that are dropped are counted, and those of
    images that are not `listed`."""
    from bench.data.tables import find_table, read_table

    path = find_table(home, FIXATIONS)
    columns = ("X_ORIGINAL", "Y_ORIGINAL", "FPOGS", "FPOGD", "FPOGV")
    table = read_table(path, ("DICOM_ID", *columns), key="DICOM_ID")
    unmatched[UNLISTED_FIXATIONS] = int((~table["DICOM_ID"].isin(listed)).sum())
    table = table[table["DICOM_ID"].isin(rows["image_id"])]
    table = _numbers(table, columns, path, "DICOM_ID")
    valid = table["FPOGV"] > 0
    counts[INVALID] = int((~valid).sum())
    sides = rows.set_index("image_id")[["height", "width"]].to_dict("index")
    of_image: dict[str, tuple[Fixation, ...]] = {}
    for image, looks in table[valid].groupby("DICOM_ID"):
        height, width = sides[image]["height"], sides[image]["width"]
        degree = DEGREE * max(height, width)
        numbers = looks[list(columns[:4])].to_numpy()
        fixations = [(*map(float, values), degree, degree) for values in numbers]
        of_image[str(image)] = _gaze.kept_fixations(fixations, height, width, counts)
    return rows.assign(fixations=[of_image.get(image, ()) for image in rows["image_id"]])


def _numbers(table: pd.DataFrame, columns: Sequence[str], path: Path, key: str) -> pd.DataFrame:
    """Return a table with numbers in `columns`; a row with anything else is a fault."""
    import numpy as np
    import pandas as pd

    from bench.data.tables import check_rows

    for column in columns:
        values = pd.to_numeric(table[column], errors="coerce").astype(float)
        wrong = ~np.isfinite(values)
        table = table.assign(**{column: values})
        table = check_rows(table, wrong, path, f"{column} is no number", key=key)
    return table


def _boxes(
    rows: pd.DataFrame, home: Path, listed: Collection[str], unmatched: dict[str, int]
) -> list[tuple[Any, ...]]:
    """Return the boxes of parts of the body of every image, ((name, (x1, y1, x2, y2)), ...); none
    where their table is not there. A box without area is a fault of its image; boxes of images that
    are not `listed` are counted."""
    from bench.data.tables import check_rows, find_file, read_table

    path = find_file(home, BOXES)
    if path is None:
        return [()] * len(rows)
    corners = ("x1", "y1", "x2", "y2")
    table = read_table(path, ("dicom_id", "bbox_name", *corners), key="dicom_id")
    unmatched[UNLISTED_BOXES] = int((~table["dicom_id"].isin(listed)).sum())
    table = table[table["dicom_id"].isin(rows["image_id"])]
    table = _numbers(table, corners, path, "dicom_id")
    thin = (table["x2"] <= table["x1"]) | (table["y2"] <= table["y1"])
    table = check_rows(table, thin, path, "a box without area", key="dicom_id")
    of_image: dict[str, list[tuple[str, tuple[float, ...]]]] = {}
    for image, name, *values in table.itertuples(index=False, name=None):
        of_image.setdefault(image, []).append((name, tuple(map(float, values))))
    return [tuple(sorted(of_image.get(image, []))) for image in rows["image_id"]]


task(
    TaskSpec(
        name="egd_ret",
        kind="retrieval",
        dataset="egd_cxr",
        title="Retrieval of images by what was dictated on them (EGD-CXR)",
        main_metric="t2i_r@5",
        fractions=(1.0,),
    )
)
task(
    TaskSpec(
        name="egd_gaze",
        kind="grounding",
        dataset="egd_cxr",
        title="Where a radiologist looked, by the sentence (EGD-CXR)",
        main_metric="shuffled_auc",
        groups=("grounding",),
        fractions=(1.0,),
        options={"target": "sentence", "source": "gaze"},
    )
)
