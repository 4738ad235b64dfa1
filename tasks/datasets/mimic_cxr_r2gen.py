"""MIMIC-CXR as R2Gen released it: one image a study and its findings, in an annotation file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bench.contracts import CheckResult, Dataset, TaskSpec, dataset, task
from bench.data.notes import note
from tasks.datasets._checks import compare, dropped_results, file_results

if TYPE_CHECKING:
    import pandas as pd

PUBLISHED_COUNTS = {"train": 270790, "val": 2130, "test": 3858}


@dataset
class MimicCxrR2Gen(Dataset):
    """The images of R2Gen's MIMIC-CXR release with findings and official split; each image is an
    entry of its own."""

    name = "mimic_cxr_r2gen"
    title = "MIMIC-CXR in R2Gen's release (annotation.json)"
    licence = "PhysioNet Credentialed Health Data License 1.5.0: no redistribution"
    citation = "Johnson et al., MIMIC-CXR, Scientific Data 2019; Chen et al., R2Gen, EMNLP 2020"
    how_to_get = (
        "github.com/zhjohnchan/R2Gen links the release for credentialed users: images/ and "
        "annotation.json "
        "into $PLACE_BENCH_DATA/mimic_cxr_r2gen/."
    )
    marker = "annotation.json"
    has_reports = True

    def index(self, root: Path) -> pd.DataFrame:
        """Return one row per image; raise DataError for an annotation that does not parse, lacks a
        field or repeats an image."""
        from bench.data.tree import unlisted
        from tasks.datasets._r2gen import read_index

        index = read_index(root, image_is_study=True)
        unentered = unlisted(root, index["path"], depth=3)
        note(index, unmatched={"patients on disk without an entry": unentered})
        return index

    def counts(self, index: pd.DataFrame, root: Path) -> list[CheckResult]:
        """Compare the number of entries per split with the published ones."""
        counts = {split: int((index["split"] == split).sum()) for split in PUBLISHED_COUNTS}
        return compare(root, counts, PUBLISHED_COUNTS)

    def validate(self, root: Path) -> list[CheckResult]:
        """Compare the number of entries per split with the published ones, and look for the
        files."""
        index = self.index(root)
        return [
            *self.counts(index, root),
            *dropped_results(index),
            *file_results(root, index["path"], self.how_to_get),
        ]


task(
    TaskSpec(
        name="mimic_r2gen_rg",
        kind="report_generation",
        dataset="mimic_cxr_r2gen",
        title="Report generation on MIMIC-CXR (R2Gen's release)",
        main_metric="ce_f1_micro_abnormal",
        fractions=(1.0,),
        options={"text": "findings", "images": 1},
        presets={"r2gen": {"cleaning": "mimic", "max_words": "100", "min_count": "10"}},
    )
)
