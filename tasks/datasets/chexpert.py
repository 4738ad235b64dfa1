"""CheXpert v1.0, full size or small (Stanford, 2019), and the tasks on it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bench.contracts import CheckResult, TaskSpec, dataset, task
from bench.data.notes import note
from tasks.datasets._checks import compare, dropped_results, file_results
from tasks.datasets._chexpert import FOLDERS, FRONTAL, LABELS, MARKER, ROWS, TRAIN_ROWS, UNCERTAIN
from tasks.datasets._files import UNLISTED_PATIENTS
from tasks.datasets._rendered import Rendered
from tasks.demo.members import Demo

if TYPE_CHECKING:
    import pandas as pd

PUBLISHED_COUNTS = {
    ROWS: TRAIN_ROWS,
    "rows of valid.csv": 234,
    "frontal images of valid.csv": 202,
}


@dataset
class Chexpert(Rendered):
    """Frontal and lateral radiographs as JPEG, 14 labels from the report; `valid.csv`, read by
    radiologists, is the test."""

    name = "chexpert"
    title = "CheXpert v1.0 and v1.0-small (Stanford)"
    licence = "Stanford University Dataset Research Use Agreement: no redistribution"
    citation = "Irvin et al., CheXpert, AAAI 2019, arXiv 1901.07031"
    how_to_get = (
        "https://stanfordmlgroup.github.io/competitions/chexpert/ (or AIMI): put "
        "CheXpert-v1.0-small/ or CheXpert-v1.0/ with "
        "train/, valid/, train.csv and valid.csv into $PLACE_BENCH_DATA."
    )
    folders = FOLDERS
    marker = MARKER
    label_names = LABELS
    demo = Demo(stream=5, as_original=360, more_test=384, test_share=0.25, changes=1)

    def index(self, root: Path) -> pd.DataFrame:
        """Return one row per image, training rows first, both in file order; validation is drawn
        from the training patients.

        A task chooses the views. Raise DataError for a missing table or column, an image that
        occurs twice or no label.
        """
        import pandas as pd

        from bench.data.tree import unlisted
        from tasks.datasets._chexpert import SPLITS, read_split

        index = pd.concat([read_split(root, name) for name in SPLITS], ignore_index=True)
        patients = index.drop_duplicates("patient_id")
        note(index, unmatched={UNLISTED_PATIENTS: unlisted(root, patients["path"])})
        return index

    def counts(self, index: pd.DataFrame, root: Path) -> list[CheckResult]:
        """Compare the rows with the published ones, or a demo's with its own."""
        train, valid = (index[index["split"] == name] for name in ("train", "test"))
        counts = {ROWS: len(train), "rows of valid.csv": len(valid)}
        counts["frontal images of valid.csv"] = int(valid["view"].isin(FRONTAL).sum())
        return compare(root, counts, PUBLISHED_COUNTS)

    def validate(self, root: Path) -> list[CheckResult]:
        """Compare the rows with the published ones, or a demo's with its own; look for every
        file."""
        index = self.index(root)
        train, valid = (index[index["split"] == name] for name in ("train", "test"))
        results = [*self.counts(index, root), *dropped_results(index)]
        shared = len(set(train["patient_id"]) & set(valid["patient_id"]))
        message = f"{index['patient_id'].nunique()} patients, {shared} in train.csv and valid.csv."
        results.append(CheckResult("error" if shared else "ok", message))
        return results + file_results(root, index["path"], self.how_to_get)

    def reference_split(
        self, index: pd.DataFrame, protocol: str, seed: int, kind: str = ""
    ) -> pd.DataFrame | None:
        """Return the row-level split of MGCA and GLoRIA for those protocols."""
        from tasks.datasets._chexpert import mgca_split

        return mgca_split(index, seed) if protocol in ("mgca", "gloria") else None

    def reference_subset(
        self, train: pd.DataFrame, protocol: str, fraction: float, seed: int, kind: str = ""
    ) -> pd.DataFrame | None:
        """Return MGCA's part of the frontal rows, GLoRIA's of all rows (its generator is not
        seeded: `seed` stands for it)."""
        from tasks.datasets._mgca import sample_fraction

        if protocol == "mgca":
            return sample_fraction(train[train["view"].isin(FRONTAL)], fraction)
        return sample_fraction(train, fraction, seed) if protocol == "gloria" else None


_SHARED = {
    "labels": tuple(UNCERTAIN),
    "mode": "multilabel",
    "uncertain": UNCERTAIN,
    "views": FRONTAL,
}
task(
    TaskSpec(
        name="chexpert_cls",
        kind="classification",
        dataset="chexpert",
        title="Five findings on CheXpert (frontal views)",
        main_metric="auroc",
        groups=("classification",),
        fractions=(0.1, 1.0),
        options=_SHARED,
        presets={"mgca": {"augment": "jitter"}},
    )
)
task(
    TaskSpec(
        name="chexpert_zs",
        kind="zero_shot",
        dataset="chexpert",
        title="Zero-shot: five findings on CheXpert (frontal views)",
        main_metric="auroc",
        groups=("zero_shot",),
        fractions=(1.0,),
        options=_SHARED,
    )
)
