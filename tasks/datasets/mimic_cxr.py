"""MIMIC-CXR: radiographs (MIMIC-CXR-JPG) with their reports (MIMIC-CXR), as downloaded from
PhysioNet."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bench.contracts import CheckResult, TaskSpec, dataset, task
from bench.core.errors import DataError
from bench.data.notes import note, notes
from tasks.datasets._checks import compare, dropped_results, file_results
from tasks.datasets._chexpert import LABELS, UNCERTAIN
from tasks.datasets._files import UNLISTED_PATIENTS
from tasks.datasets._rendered import Rendered
from tasks.demo.members import Demo

if TYPE_CHECKING:
    import pandas as pd

_logger = logging.getLogger(__name__)
TABLE = "mimic-cxr-2.0.0-{}.csv"
SECTIONED = "mimic_cxr_sectioned.csv"
REPORT_FOLDERS = (
    "",
    "mimic-cxr-reports",
    "reports",
    "../mimic-cxr-reports",
    "../mimic-cxr",
    "../MIMIC-CXR",
)
SECTIONS = ("findings", "impression")
LAST = "last_paragraph"
FACTS = (*SECTIONS, "unread")
"""What is kept of a report: its sections, and whether it has text beside them alone."""
SPLITS = {"train": "train", "validate": "val", "test": "test"}
PUBLISHED_COUNTS = {"images": 377110, "studies": 227835, "patients": 65379}


@dataset
class MimicCxr(Rendered):
    """Frontal radiographs as JPEG with the study's report; official split; CheXpert labels of the
    report."""

    name = "mimic_cxr"
    title = "MIMIC-CXR-JPG 2.0.0 / 2.1.0 with MIMIC-CXR reports (PhysioNet)"
    licence = "PhysioNet Credentialed Health Data License 1.5.0: no redistribution"
    citation = (
        "Johnson et al., MIMIC-CXR, Scientific Data 2019; Johnson et al., MIMIC-CXR-JPG, arXiv "
        "1901.07042"
    )
    how_to_get = (
        "https://physionet.org/content/mimic-cxr-jpg/ (files/ and the metadata, split and "
        "chexpert CSVs) and "
        "https://physionet.org/content/mimic-cxr/ (mimic-cxr-reports.zip, unpacked beside "
        "them, or mimic_cxr_sectioned.csv), "
        "all into $PLACE_BENCH_DATA/mimic_cxr/."
    )
    folders = (
        "mimic-cxr-jpg",
        "MIMIC-CXR-JPG",
        "mimic-cxr-jpg/2.1.0",
        "mimic-cxr-jpg/2.0.0",
        "mimic-cxr",
        "MIMIC-CXR",
    )
    marker = TABLE.format("metadata")
    label_names = tuple(sorted(LABELS))
    has_reports = True
    demo = Demo(stream=3, as_original=1200, more_test=520, test_share=0.05)

    def __init__(self, views: tuple[str, ...] = ("PA", "AP")) -> None:
        self.views = views

    def index(self, root: Path) -> pd.DataFrame:
        """Return one row per image of `views` whose study has an impression or findings; its report
        is that of the study.

        The notes count what was left out (`left_out`): images of other views, of studies
        without report text, and of studies whose text stands in no section that is read (a warning
        says so); and what the tables hold together (`facts`). Raise DataError for a missing
        table or column, an unknown split, a doubled dicom_id, or where no report is found at all.
        """
        images = read_images(root)
        framed = images[images["view"].isin(self.views)]
        texts = _report_texts(root, framed)
        joined = framed.merge(texts, on="study_id", how="left").fillna(
            {"findings": "", "impression": "", "report": "", "unread": ""}
        )
        silent = joined[joined["report"] == ""]
        unread = silent[silent["unread"] != ""]
        _say_unread(unread, root)
        reported = joined[joined["report"] != ""].drop(columns="unread").reset_index(drop=True)
        if reported.empty:
            message = (
                f"none of {len(joined)} images in {root} of view {' or '.join(self.views)} has "
                "report text."
            )
            raise DataError(message, f"How to get the reports: {self.how_to_get}")
        reported, unlabelled = with_labels(reported, root, self.label_names)
        note(
            reported,
            left_out={
                "images of another view": len(images) - len(framed),
                "images without report text": len(silent) - len(unread),
                "images whose report has neither findings nor impression": len(unread),
            },
            unmatched={**notes(images).unmatched, **unlabelled},
            facts={
                "images": len(images),
                "studies": images["study_id"].nunique(),
                "patients": images["patient_id"].nunique(),
            },
        )
        return reported

    def counts(self, index: pd.DataFrame, root: Path) -> list[CheckResult]:
        """Compare what the tables hold with the published counts, or a demo's with its own; say
        where there are no labels."""
        results = compare(root, notes(index).facts, PUBLISHED_COUNTS)
        if not _chexpert(root):
            message = f"{root / TABLE.format('chexpert')} is missing: the index has no labels."
            results.append(CheckResult("warning", message))
        return results

    def validate(self, root: Path) -> list[CheckResult]:
        """Compare the counts with the published ones (or a demo's with its own); count what the
        index leaves out; find files."""
        index = self.index(root)
        pairs = CheckResult("ok", f"{len(index)} image-report pairs are used.")
        return [
            *self.counts(index, root),
            *dropped_results(index),
            pairs,
            *file_results(root, index["path"], self.how_to_get),
        ]

    def reference_split(
        self, index: pd.DataFrame, protocol: str, seed: int, kind: str = ""
    ) -> pd.DataFrame | None:
        """Return MGCA's split for `mgca`: validation and test are one and the same, both official
        parts together."""
        import pandas as pd

        if protocol != "mgca":
            return None
        held_out = index[index["split"] != "train"]
        parts = (
            index[index["split"] == "train"],
            held_out.assign(split="val"),
            held_out.assign(split="test"),
        )
        return pd.concat(parts, ignore_index=True)

    def reference_subset(
        self, train: pd.DataFrame, protocol: str, fraction: float, seed: int, kind: str = ""
    ) -> pd.DataFrame | None:
        """Return MGCA's part of the training rows."""
        from tasks.datasets._mgca import sample_fraction

        return sample_fraction(train, fraction) if protocol == "mgca" else None


def read_images(root: Path) -> pd.DataFrame:
    """Return every image of the metadata table with its official split; the notes (`unmatched`)
    count those of one table alone."""
    from bench.data.tables import check_rows, find_table, read_table, require_filled, require_unique
    from bench.data.tree import unlisted

    path, split_path = (find_table(root, TABLE.format(table)) for table in ("metadata", "split"))
    ids = ("dicom_id", "subject_id", "study_id")
    metadata = read_table(path, (*ids, "ViewPosition"), key="dicom_id")
    splits = read_table(split_path, ("dicom_id", "split"), key="dicom_id")
    metadata = require_filled(metadata, path, *ids, key="dicom_id")
    metadata = require_unique(metadata, "dicom_id", path)
    splits = require_unique(splits, "dicom_id", split_path)
    splits = check_rows(
        splits,
        ~splits["split"].isin(SPLITS),
        split_path,
        lambda row: f"unknown split '{row['split']}'; {', '.join(SPLITS)} were expected",
        key="dicom_id",
    )
    rows = metadata.merge(splits, on="dicom_id", how="inner")
    images = rows[["dicom_id", "subject_id", "study_id"]].set_axis(
        ["image_id", "patient_id", "study_id"], axis=1
    )
    images = images.assign(
        path=_study(images) + "/" + images["image_id"] + ".jpg",
        split=rows["split"].map(SPLITS),
        view=_view(rows),
    )
    patients = images.drop_duplicates("patient_id")
    note(
        images,
        unmatched={
            f"images of {path.name} that are not in {split_path.name}": len(metadata) - len(rows),
            f"images of {split_path.name} that are not in {path.name}": len(splits) - len(rows),
            UNLISTED_PATIENTS: unlisted(root, patients["path"], depth=3),
        },
    )
    return images


def _view(rows: pd.DataFrame) -> pd.Series:
    return rows["ViewPosition"].replace({"LATERAL": "LL"})


def _study(images: pd.DataFrame) -> pd.Series:
    return (
        "files/p"
        + images["patient_id"].str[:2]
        + "/p"
        + images["patient_id"]
        + "/s"
        + images["study_id"]
    )


def _report_texts(root: Path, images: pd.DataFrame) -> pd.DataFrame:
    """Return study_id, findings, impression and report, from the sectioned table or else from the
    report files."""
    from tasks.datasets._reports import report_columns

    folder = next(
        (folder for folder in REPORT_FOLDERS if (root / folder / SECTIONED).is_file()), None
    )
    texts = (
        _sectioned(root / folder / SECTIONED) if folder is not None else _report_files(root, images)
    )
    return texts.assign(**report_columns(texts["impression"], texts["findings"]))


def _sectioned(path: Path) -> pd.DataFrame:
    from bench.data.tables import read_table

    table = read_table(
        path, ("study", *SECTIONS), optional=(LAST,), texts=(*SECTIONS, LAST), key="study"
    )
    study = table["study"].str.removeprefix("s")
    table = table.assign(study_id=study, unread=table.get(LAST, ""))
    return table[["study_id", *FACTS]].drop_duplicates("study_id")


def _report_files(root: Path, images: pd.DataFrame) -> pd.DataFrame:
    """Parse the report of every study; a study without a file has none."""
    from bench.data.tables import remember

    studies = images.drop_duplicates("study_id")
    paths = (_study(studies) + ".txt").tolist()
    base = next(
        (
            root / folder
            for folder in REPORT_FOLDERS
            if any((root / folder / path).is_file() for path in paths[:50])
        ),
        None,
    )
    if base is None:
        message = (
            f"no report text under {root}: looked for {SECTIONED} and for "
            f"{paths[0] if paths else 'files/'}."
        )
        raise DataError(message, f"How to get the reports: {MimicCxr.how_to_get}")
    texts = remember(paths, _read_report, root=base, name="mimic-cxr-reports-v2", columns=FACTS)
    study_of = dict(zip(paths, studies["study_id"], strict=True))
    return texts[list(FACTS)].assign(study_id=texts["path"].map(study_of))


def _read_report(path: Path) -> Mapping[str, str]:
    from bench.data.text import read_text
    from tasks.datasets._reports import has_unread_text, parse_sections

    if not path.exists():
        return dict.fromkeys(FACTS, "")
    text = read_text(path, "report")
    sections = parse_sections(text)
    unread = "text" if has_unread_text(text) else ""
    return {**{name: sections.get(name, "") for name in SECTIONS}, "unread": unread}


def _say_unread(images: pd.DataFrame, root: Path) -> None:
    """Warn of images whose report has text, but none in a section that is read."""
    if len(images):
        _logger.warning(
            "%s: %d images are left out, since the report of their study has text but neither "
            "findings nor impression, e.g. study %s.",
            root,
            len(images),
            images["study_id"].iloc[0],
        )


def _chexpert(root: Path) -> Path | None:
    from bench.data.tables import find_file

    return find_file(root, TABLE.format("chexpert"))


def with_labels(
    index: pd.DataFrame, root: Path, names: tuple[str, ...]
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Join the CheXpert labels (1, 0, -1 uncertain, NaN not mentioned) of each study, where the
    table is there; return with it how many images have none, by the reason."""
    from bench.data.tables import read_table, require_unique
    from tasks.datasets._labels import read_labels

    path = _chexpert(root)
    if path is None:
        return index.assign(**{f"label:{name}": float("nan") for name in names}), {}
    table = read_table(path, ("study_id", *names), key="study_id")
    table = require_unique(table, "study_id", path)
    labels = read_labels(table, names, path, key="study_id")
    labels = labels.set_axis(table.loc[labels.index, "study_id"]).reindex(index["study_id"])
    labelled = index.assign(**{column: labels[column].to_numpy() for column in labels})
    reason = f"images whose study is not in {path.name}: they have no labels"
    return labelled, {reason: int((~index["study_id"].isin(table["study_id"])).sum())}


task(
    TaskSpec(
        name="mimic_cls",
        kind="classification",
        dataset="mimic_cxr",
        title="Fourteen findings on MIMIC-CXR",
        main_metric="auroc",
        groups=("classification",),
        fractions=(0.1, 1.0),
        options={"mode": "multilabel", "uncertain": "ignore", "views": ("PA", "AP")},
    )
)
task(
    TaskSpec(
        name="mimic5_cls",
        kind="classification",
        dataset="mimic_cxr",
        title="Five findings on MIMIC-CXR, labelled as MGCA does",
        main_metric="auroc",
        groups=("classification",),
        fractions=(0.1, 1.0),
        options={
            "labels": tuple(UNCERTAIN),
            "mode": "multilabel",
            "uncertain": UNCERTAIN,
            "views": ("PA", "AP"),
        },
    )
)

task(
    TaskSpec(
        name="mimic_rg",
        kind="report_generation",
        dataset="mimic_cxr",
        title="Report generation (findings) on MIMIC-CXR",
        main_metric="ce_f1_micro_abnormal",
        groups=("report_generation",),
        fractions=(1.0,),
        options={"text": "findings", "images": 1},
        presets={"r2gen": {"cleaning": "mimic", "max_words": "100", "min_count": "10"}},
    )
)
