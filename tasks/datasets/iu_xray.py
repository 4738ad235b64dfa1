"""IU X-Ray (Open-I): radiographs in two views with their report, in R2Gen's release or as Open-I's
XML."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bench.contracts import Finding, TaskSpec, dataset, task
from bench.errors import DataError
from tasks.datasets._checks import compare, missing_findings
from tasks.datasets._rendered import Rendered

if TYPE_CHECKING:
    import pandas as pd

PUBLISHED = {"train": 2069, "val": 296, "test": 590}
XML_FOLDER, XML_REPORTS = "ecgen-radiology", 3955
XML_IMAGES = ("NLMCXR_png", "images", ".")


@dataset
class IuXray(Rendered):
    """Frontal and lateral radiograph of a study with its findings.

    `annotation.json` (R2Gen's release, official split) is read where it is there, else the XML
    reports of Open-I (`ecgen-radiology/`, with impression and MeSH terms, no split).
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
        "https://openi.nlm.nih.gov/faq (NLMCXR_png.tgz and NLMCXR_reports.tgz), into "
        "$PLACE_BENCH_DATA/iu_xray/."
    )
    folders = ("IU-Xray", "iu-xray", "IU_XRay", "openi", "NLMCXR")
    marker = "[ae][nc][ng][oe]*"  # annotation.json, or ecgen-radiology
    has_reports = True
    demo_studies = 1000

    def index(self, root: Path) -> pd.DataFrame:
        """Return one row per image, `study_id` joining the views of a study; `findings` is what
        R2Gen generates.

        Raise DataError for a file that does not parse, lacks a field or holds an id twice.
        """
        if (root / "annotation.json").is_file():
            from tasks.datasets._r2gen import read_index

            return read_index(root)
        if (root / XML_FOLDER).is_dir():
            return _from_xml(root)
        raise DataError(
            f"neither annotation.json nor {XML_FOLDER}/ is in {root}.",
            f"How to get it: {self.how_to_get}",
        )

    def validate(self, root: Path) -> list[Finding]:
        """Compare the number of studies with the published ones (or a demo's with its own), and
        look for the files."""
        index = self.index(root)
        studies = index.drop_duplicates("study_id")
        found = {
            **{split: int((studies["split"] == split).sum()) for split in PUBLISHED},
            "studies": len(studies),
        }
        published = PUBLISHED if (studies["split"] != "").any() else {"studies": XML_REPORTS}
        empty = int((studies["findings"] == "").sum())
        return [
            *compare(root, found, published),
            Finding(
                "ok", f"{empty} of {len(studies)} studies have no findings; they are not scored."
            ),
            *missing_findings(root, index["path"], self.how_to_get),
        ]


def _from_xml(root: Path) -> pd.DataFrame:
    import pandas as pd

    from tasks.datasets._openi import read_report
    from tasks.datasets._reports import report_columns

    reports = [read_report(path) for path in sorted((root / XML_FOLDER).glob("*.xml"))]
    base = next(
        (name for name in XML_IMAGES if next((root / name).glob("CXR*.png"), None)), XML_IMAGES[0]
    )
    rows = [
        {**report.columns, "image_id": image, "path": f"{base}/{image}.png"}
        for report in reports
        for image in report.images
    ]
    if not rows:
        raise DataError(f"no report in {root / XML_FOLDER} names an image.", "Download it again.")
    table = pd.DataFrame(rows).assign(split="", view="")
    return table.assign(**report_columns(table["impression"], table["findings"]))


task(
    TaskSpec(
        name="iu_rg",
        kind="report_generation",
        dataset="iu_xray",
        title="Report generation on IU X-Ray",
        main_metric="ce_f1_micro",
        groups=("report_generation",),
        fractions=(1.0,),
        options={"text": "findings", "images": 2},
        presets={"r2gen": {"cleaning": "iu"}},
    )
)
