"""COVIDx CXR: version 9A (three classes) and CXR-4 (two classes), and the tasks on them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bench.contracts import CheckResult, Progress, TaskSpec, dataset, task
from bench.data.notes import note
from tasks.datasets._checks import compare, dropped_results, file_results
from tasks.datasets._rendered import Rendered
from tasks.demo.members import Demo

if TYPE_CHECKING:
    import pandas as pd

GET = (
    "https://github.com/lindawangg/COVID-Net/blob/master/docs/COVIDx.md, images "
    "https://www.kaggle.com/datasets/andyczhao/covidx-cxr2"
)


class _Covidx(Rendered):
    """Radiographs of many sources as PNG or JPEG, one class each; the official lists are the
    split."""

    licence = "each source its own (see the page of COVIDx): no redistribution here"
    citation = (
        "Wang, Lin & Wong, COVID-Net, Scientific Reports 2020; Wu et al., COVIDx CXR-4, arXiv "
        "2311.17677"
    )
    lists: tuple[tuple[str, str, str], ...] = ()
    """(split, list, folder of its images)"""
    words: tuple[tuple[str, str], ...] = ()
    """(word of a list, label)"""
    published: tuple[tuple[str, int], ...] = ()
    """(list, its rows)"""

    def index(self, root: Path) -> pd.DataFrame:
        """Return one row per line of the lists, in their order; private column: `source`.

        Raise DataError for a missing list, a line that cannot be read, an unknown class or a file
        that occurs twice.
        """
        import pandas as pd

        from bench.data.tree import unlisted
        from tasks.datasets._covidx import read_list, with_classes
        from tasks.datasets._files import UNLISTED

        parts = [
            read_list(root / name, folder, split, dict(self.words))
            for split, name, folder in self.lists
        ]
        index = with_classes(pd.concat(parts, ignore_index=True), self.label_names)
        note(index, unmatched={UNLISTED: unlisted(root, index["path"])})
        return index

    def counts(self, index: pd.DataFrame, root: Path) -> list[CheckResult]:
        """Compare the lists with the published ones, or a demo's with its own."""
        from bench.data.tables import find_file

        counts = {
            f"rows of {name}": int((index["split"] == split).sum()) for split, name, _ in self.lists
        }
        results = compare(root, counts, {f"rows of {name}": rows for name, rows in self.published})
        list_names = [name for _, name, _ in self.lists]
        others = [
            path.name
            for name in self.official_lists
            if name not in list_names and (path := find_file(root, name)) is not None
        ]
        if others:
            message = (
                f"{', '.join(others)} in {root} are taken for the lists of CXR-4 and not "
                "read; lists "
                "of your own go into splits/."
            )
            results.append(CheckResult("warning", message))
        return results

    def validate(self, root: Path) -> list[CheckResult]:
        """Compare the lists with the published ones, or a demo's with its own; count patients in
        several lists; find files."""
        index = self.index(root)
        results = [*self.counts(index, root), *dropped_results(index)]
        spread = ", ".join(
            f"{int(index[f'label:{name}'].sum())} {name}" for name in self.label_names
        )
        results.append(CheckResult("ok", f"classes: {spread}."))
        several = int((index.groupby("patient_id")["split"].nunique() > 1).sum())
        results.append(
            CheckResult(
                "error" if several else "ok", f"{several} patients stand in more than one list."
            )
        )
        return results + file_results(root, index["path"], self.how_to_get)

    def make_demo(
        self,
        out: Path,
        *,
        studies: int,
        size: int,
        seed: int,
        workers: int = 2,
        progress: Progress | None = None,
    ) -> None:
        """Render a demo with COVIDx's lists."""
        from tasks.datasets.demos import covidx

        words = {label: word for word, label in self.words}
        layout = covidx.Layout(self.name, self.demo, self.lists, words)
        covidx.write(
            out, layout, studies=studies, size=size, seed=seed, workers=workers, progress=progress
        )


@dataset
class Covidx(_Covidx):
    """Version 9A: normal, pneumonia, COVID-19; validation is drawn from the training patients."""

    name = "covidx"
    title = "COVIDx 9A: normal, pneumonia, COVID-19"
    how_to_get = (
        f"{GET}: put train_COVIDx9A.txt, test_COVIDx9A.txt, train/ and test/ into "
        "$PLACE_BENCH_DATA/covidx/."
    )
    folders = ("COVIDx", "COVIDx9A", "covidx9a")
    marker = "train_COVIDx9A.txt"
    official_lists = ("train.txt", "val.txt", "test.txt")
    label_names = ("Normal", "Pneumonia", "COVID-19")
    demo = Demo(stream=22, as_original=360, more_test=880, test_share=0.25, changes=1)
    lists = (("train", "train_COVIDx9A.txt", "train"), ("test", "test_COVIDx9A.txt", "test"))
    words = (("normal", "Normal"), ("pneumonia", "Pneumonia"), ("COVID-19", "COVID-19"))
    published = (("test_COVIDx9A.txt", 400),)

    def reference_split(
        self, index: pd.DataFrame, protocol: str, seed: int, kind: str = ""
    ) -> pd.DataFrame | None:
        """Return MGCA's split by image for `mgca`."""
        from tasks.datasets._covidx import mgca_split

        return mgca_split(index) if protocol == "mgca" else None

    def reference_subset(
        self, train: pd.DataFrame, protocol: str, fraction: float, seed: int, kind: str = ""
    ) -> pd.DataFrame | None:
        """Return MGCA's part of the training rows."""
        from tasks.datasets._mgca import sample_fraction

        return sample_fraction(train, fraction) if protocol == "mgca" else None


@dataset
class Covidx4(_Covidx):
    """CXR-4: COVID-19 or not; official train, val and test lists."""

    name = "covidx4"
    title = "COVIDx CXR-4: COVID-19 or not"
    how_to_get = (
        f"{GET}: put train.txt, val.txt, test.txt, train/, val/ and test/ of CXR-4 into "
        "$PLACE_BENCH_DATA/covidx4/."
    )
    folders = ("COVIDx-CXR4", "covidx-cxr-4", "COVIDx_CXR-4")
    label_names = ("COVID-19",)
    demo = Demo(stream=24, as_original=360, more_test=880, test_share=0.25, changes=1)
    official_lists = ("train.txt", "val.txt", "test.txt")
    lists = (
        ("train", "train.txt", "train"),
        ("val", "val.txt", "val"),
        ("test", "test.txt", "test"),
    )
    words = (("negative", "Negative"), ("positive", "COVID-19"))
    published = (("train.txt", 67863), ("val.txt", 8473), ("test.txt", 8482))

    def reference_split(
        self, index: pd.DataFrame, protocol: str, seed: int, kind: str = ""
    ) -> pd.DataFrame | None:
        """Return BenchX's lists for `benchx`: the official ones without their first row, which is
        read as a header."""
        return (
            index[index.duplicated("split")].reset_index(drop=True)
            if protocol == "benchx"
            else None
        )

    def reference_subset(
        self, train: pd.DataFrame, protocol: str, fraction: float, seed: int, kind: str = ""
    ) -> pd.DataFrame | None:
        """Return BenchX's stratified part of the training list (678 and 6,786 images at 1% and
        10%)."""
        from tasks.datasets._reference_splits import stratified_subset

        return (
            stratified_subset(train, fraction, train["label:COVID-19"].to_numpy())
            if protocol == "benchx"
            else None
        )


task(
    TaskSpec(
        name="covidx_cls",
        kind="classification",
        dataset="covidx",
        title="Normal, pneumonia or COVID-19 (COVIDx 9A)",
        main_metric="balanced_accuracy",
        published_metrics=dict.fromkeys(("mgca", "benchx", "gloria"), "accuracy"),
        groups=("classification",),
        fractions=(0.1, 1.0),
        options={"mode": "multiclass"},
    )
)
task(
    TaskSpec(
        name="covidx4_cls",
        kind="classification",
        dataset="covidx4",
        title="COVID-19 or not (COVIDx CXR-4)",
        main_metric="auroc",
        groups=("classification",),
        fractions=(0.1, 1.0),
        presets={"benchx": {"lr": "5e-4"}},
    )
)
