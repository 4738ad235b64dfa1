"""IU X-Ray (Open-I): radiographs in two views with their report, in R2Gen's release or as Open-I's
XML."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bench.contracts import CheckResult, TaskSpec, dataset, task
from bench.core.errors import DataError
from bench.data.faults import fault
from bench.data.notes import note, notes
from tasks.datasets._checks import compare, dropped_results, file_results
from tasks.datasets._rendered import Rendered
from tasks.demo.members import Demo

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pandas as pd

    from tasks.datasets._openi import OpenIReport

XML_FOLDER = "ecgen-radiology"
XML_IMAGES = ("NLMCXR_png", "images", ".")
KAGGLE = "indiana_reports.csv"
PROJECTIONS = "indiana_projections.csv"
KAGGLE_IMAGES = ("images/images_normalized", "images", "images_normalized")
VIEWS = {"Frontal": "frontal", "Lateral": "LL"}
NO_IMAGE = "reports without an image"
PUBLISHED_COUNTS = {
    "annotation.json": {"train": 2069, "val": 296, "test": 590},
    XML_FOLDER: {"studies": 3851, "images": 7470, NO_IMAGE: 104},
    KAGGLE: {"studies": 3851, "images": 7466},
}
"""What each layout holds when it is complete."""


@dataset
class IuXray(Rendered):
    """Frontal and lateral radiograph of a study with its findings.

    `annotation.json` (R2Gen's release, official split) is read where it is there, else the XML
    reports of Open-I (`ecgen-radiology/`, with impression and MeSH terms, no split), else Kaggle's
    tables of them (`indiana_reports.csv` and `indiana_projections.csv`, no split).
    """

    name = "iu_xray"
    title = (
        "Indiana University chest X-rays (Open-I), 7,470 images of 3,955 studies; R2Gen's "
        "release has 2,955"
    )
    licence = "CC BY-NC-ND 4.0: not redistributed"
    citation = "Demner-Fushman et al., JAMIA 2016; split: Chen et al., R2Gen, EMNLP 2020"
    how_to_get = (
        "R2Gen's release (github.com/zhjohnchan/R2Gen: iu_xray.zip, images/ and "
        "annotation.json), or "
        "https://openi.nlm.nih.gov/faq (NLMCXR_png.tgz and NLMCXR_reports.tgz), or "
        "https://www.kaggle.com/datasets/raddar/chest-xrays-indiana-university "
        "(indiana_reports.csv, indiana_projections.csv and images/), into "
        "$PLACE_BENCH_DATA/iu_xray/."
    )
    folders = ("IU-Xray", "iu-xray", "IU_XRay", "openi", "NLMCXR")
    marker = tuple(PUBLISHED_COUNTS)
    has_reports = True
    demo = Demo(stream=16, as_original=1000, more_test=200, test_share=0.2, changes=1)

    def index(self, root: Path) -> pd.DataFrame:
        """Return one row per image, `study_id` joining the views of a study; `findings` is what
        R2Gen generates.

        Raise DataError for a file that does not parse, lacks a field or holds an id twice.
        """
        layout = _layout(root)
        if not layout:
            raise DataError(
                f"neither {' nor '.join(PUBLISHED_COUNTS)} is in {root}.",
                f"How to get it: {self.how_to_get}",
            )
        if layout == KAGGLE:
            return _from_kaggle(root)
        return _from_xml(root) if layout == XML_FOLDER else _from_annotation(root)

    def counts(self, index: pd.DataFrame, root: Path) -> list[CheckResult]:
        """Compare the number of studies (and images) with those of the layout, or a demo's with its
        own."""
        studies = index.drop_duplicates("study_id")
        counts = {
            **studies["split"].value_counts().to_dict(),
            "studies": len(studies),
            "images": len(index),
            NO_IMAGE: notes(index).left_out.get(NO_IMAGE, 0),
        }
        return compare(root, counts, PUBLISHED_COUNTS[_layout(root)])

    def validate(self, root: Path) -> list[CheckResult]:
        """Compare the counts with the published ones (or a demo's with its own), and look for the
        files."""
        index = self.index(root)
        studies = index.drop_duplicates("study_id")
        empty = int((studies["findings"] == "").sum())
        return [
            *self.counts(index, root),
            *dropped_results(index),
            CheckResult(
                "ok", f"{empty} of {len(studies)} studies have no findings; they are not scored."
            ),
            *file_results(root, index["path"], self.how_to_get),
        ]


def _layout(root: Path) -> str:
    """Return the file or folder that decides how the data is read, "" where none is there."""
    from bench.data.tables import find_file

    return next((name for name in PUBLISHED_COUNTS if find_file(root, name) is not None), "")


def _from_annotation(root: Path) -> pd.DataFrame:
    from bench.data.tree import unlisted
    from tasks.datasets._r2gen import read_index

    index = read_index(root)
    unentered = unlisted(root, index["path"], depth=2)
    note(index, unmatched={"studies on disk without an entry": unentered})
    return index


def _from_xml(root: Path) -> pd.DataFrame:
    import pandas as pd

    from bench.data.tree import unlisted
    from tasks.datasets._files import UNLISTED
    from tasks.datasets._reports import report_columns

    reports = list(_xml_reports(root))
    base = _image_folder(root, XML_IMAGES)
    rows = [
        {**report.columns, "image_id": image, "path": f"{base}{image}.png"}
        for report in reports
        for image in report.images
    ]
    if not rows:
        raise DataError(f"no report in {root / XML_FOLDER} names an image.", "Download it again.")
    table = pd.DataFrame(rows).assign(split="", view="")
    index = table.assign(**report_columns(table["impression"], table["findings"]))
    note(
        index,
        left_out={NO_IMAGE: sum(not report.images for report in reports)},
        unmatched={UNLISTED: unlisted(root, index["path"], depth=base.count("/") + 1)},
    )
    return index


def _xml_reports(root: Path) -> Iterator[OpenIReport]:
    """Yield every report that reads; another is a fault."""
    from bench.data.tree import entries, plain_suffix
    from tasks.datasets._openi import read_report

    for name in sorted(entries(root / XML_FOLDER)):
        if not plain_suffix(name).endswith(".xml"):
            continue
        try:
            yield read_report(root / XML_FOLDER / name)
        except DataError as error:
            fault(error, path=root / XML_FOLDER / name)


def _image_folder(root: Path, folders: Sequence[str]) -> str:
    """Return the first of `folders` that holds a PNG, with a slash behind it; "" for `.`."""
    from bench.data.tree import entries, plain_suffix

    for folder in folders:
        if any(plain_suffix(name).endswith(".png") for name in entries(root / folder)):
            return "" if folder == "." else f"{folder}/"
    return f"{folders[0]}/"


def _from_kaggle(root: Path) -> pd.DataFrame:
    """Return the index of Kaggle's tables: a study is known by Open-I's name of it."""
    from bench.data.tables import check_rows, find_table, read_table, require_filled, require_unique
    from bench.data.tree import unlisted
    from tasks.datasets._files import UNLISTED
    from tasks.datasets._reports import report_columns

    path = find_table(root, KAGGLE)
    views_path = find_table(root, PROJECTIONS)
    texts = ("MeSH", "findings", "impression")
    reports = require_unique(
        read_table(path, ("uid", *texts), texts=(*texts, "indication"), key="uid"), "uid", path
    )
    images = read_table(views_path, ("uid", "filename", "projection"), key="uid")
    images = require_filled(images, views_path, "uid", "filename", key="uid")
    images = require_unique(images, "filename", views_path)
    images = check_rows(
        images,
        ~images["projection"].isin(VIEWS),
        views_path,
        lambda row: f"projection is '{row['projection']}'",
        f"Known: {', '.join(VIEWS)}.",
        key="uid",
    )
    images = check_rows(
        images,
        ~images["uid"].isin(reports["uid"]),
        views_path,
        lambda row: f"study '{row['uid']}' is not in {path}",
        key="uid",
    )
    rows = images.merge(reports, on="uid", how="left")
    study = "CXR" + rows["uid"]
    base = _image_folder(root, KAGGLE_IMAGES)
    index = rows[["filename"]].assign(
        image_id="CXR" + rows["filename"].str.replace(r"(\.dcm)?\.png$", "", regex=True),
        patient_id=study,
        study_id=study,
        path=base + rows["filename"],
        split="",
        view=rows["projection"].map(VIEWS),
        mesh=rows["MeSH"],
        **report_columns(rows["impression"], rows["findings"]),
    )
    index = index.drop(columns="filename")
    note(
        index,
        left_out={NO_IMAGE: int((~reports["uid"].isin(images["uid"])).sum())},
        unmatched={UNLISTED: unlisted(root, index["path"], depth=base.count("/") + 1)},
    )
    return index


task(
    TaskSpec(
        name="iu_rg",
        kind="report_generation",
        dataset="iu_xray",
        title="Report generation on IU X-Ray",
        main_metric="ce_f1_micro_abnormal",
        groups=("report_generation",),
        fractions=(1.0,),
        options={"text": "findings", "images": 2},
        presets={"r2gen": {"cleaning": "iu"}},
    )
)
