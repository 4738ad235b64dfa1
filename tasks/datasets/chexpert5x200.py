"""CheXpert 5x200 and 8x200: images of CheXpert's training table with one finding alone, with their
reports; the tasks on them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bench.contracts import CheckResult, Progress, TaskSpec, dataset, task
from bench.data.notes import note, notes
from tasks.datasets._checks import compare, demo_counts, file_results
from tasks.datasets._chexpert import FOLDERS, FRONTAL, LABELS, MARKER, PLUS, ROWS, TRAIN_ROWS
from tasks.datasets._exclusive import EIGHT, FIVE
from tasks.datasets._files import UNLISTED_PATIENTS
from tasks.datasets._rendered import Rendered
from tasks.demo.members import Demo

if TYPE_CHECKING:
    import pandas as pd


def _how_to_get(members: str) -> str:
    return (
        f"CheXpert (see dataset chexpert) with {PLUS} of CheXpert Plus "
        "(https://aimi.stanford.edu/datasets/chexpert-plus) "
        f"beside train.csv; optional: {members} with a column Path (and Report Impression) "
        "fixes the members."
    )


class _Exclusive(Rendered):
    """200 frontal images per class, drawn as MGCA draws them, or those of a list of the user's
    own."""

    licence = "Stanford University Dataset Research Use Agreement: no redistribution"
    folders = ("chexpert", *FOLDERS)
    marker = MARKER
    member_list = ""

    def index(self, root: Path) -> pd.DataFrame:
        """Return the members, all of them test images, with exclusive labels and (where there)
        their reports.

        `report` is "" throughout where neither CheXpert Plus nor the list has reports: retrieval
        then says so.
        """
        from bench.data.tables import find_file
        from bench.data.tree import unlisted
        from tasks.datasets import _exclusive
        from tasks.datasets._chexpert import read_reports, read_split

        table = read_split(root, "train.csv")
        images = table[table["view"].isin(FRONTAL)]
        list_path = find_file(root, self.member_list)
        if list_path is not None:
            index = self._of_list(root, images, list_path)
        else:
            rows = _exclusive.draw(images, self.label_names, LABELS)
            index = read_reports(root, _exclusive.as_test_set(rows, self.label_names, LABELS))
        note(
            index,
            unmatched={UNLISTED_PATIENTS: unlisted(root, table["path"])},
            facts={ROWS: len(table)},
        )
        return index

    def cautions(self, test: pd.DataFrame) -> tuple[str, ...]:
        """Say that all test images stand in CheXpert's training table."""
        return (
            f"All {len(test)} test images are of CheXpert's training table: an encoder pre-trained "
            "on it has seen them, unless they were held out.",
        )

    def _of_list(self, root: Path, images: pd.DataFrame, own: Path) -> pd.DataFrame:
        from bench.data.tables import read_table
        from tasks.datasets import _exclusive
        from tasks.datasets._chexpert import read_reports
        from tasks.datasets._reports import report_columns

        impression = "Report Impression"
        table = read_table(own, ("Path",), optional=(impression,), texts=(impression,), key="Path")
        ids = (
            table["Path"]
            .str.extract(r"((?:train|valid)/patient\d+/study\d+/\w+)")[0]
            .fillna(table["Path"])
            .tolist()
        )
        rows = _exclusive.as_test_set(_exclusive.listed(images, ids, own), self.label_names, LABELS)
        if impression not in table:
            return read_reports(root, rows)
        members = set(rows["image_id"])
        listed = table[[image in members for image in ids]]
        return rows.assign(**report_columns(listed[impression], [""] * len(listed)))

    def validate(self, root: Path) -> list[CheckResult]:
        """Compare the classes with 200 each; say how many have a report and which files are
        missing."""
        index = self.index(root)
        return self.counts(index, root) + file_results(root, index["path"], self.how_to_get)

    def counts(self, index: pd.DataFrame, root: Path) -> list[CheckResult]:
        """Compare the classes with 200 each, and the table they are drawn from with the published
        one; say how many have a report."""
        from tasks.datasets._exclusive import class_results

        return [
            *compare(root, notes(index).facts, {ROWS: TRAIN_ROWS}, partly=True),
            *class_results(index, self.label_names, demo=bool(demo_counts(root))),
        ]

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
        """Render a demo in the layout of CheXpert with CheXpert Plus."""
        from tasks.datasets.demos import chexpert5x200

        chexpert5x200.write(
            out,
            self.name,
            self.demo,
            self.label_names,
            studies=studies,
            size=size,
            seed=seed,
            workers=workers,
            progress=progress,
        )


@dataset
class Chexpert5x200(_Exclusive):
    """200 images each of five findings alone."""

    name = "chexpert5x200"
    title = "CheXpert 5x200 (Huang et al.; members drawn as MGCA does) with CheXpert Plus reports"
    citation = (
        "Huang et al., GLoRIA, ICCV 2021; Irvin et al., AAAI 2019; Chambon et al., CheXpert "
        "Plus, arXiv 2405.19538"
    )
    label_names = FIVE
    has_reports = True
    member_list = "chexpert_5x200.csv"
    how_to_get = _how_to_get(member_list)
    demo = Demo(stream=17, as_original=500, test_share=1, changes=1)


@dataset
class Chexpert8x200(_Exclusive):
    """200 images each of eight classes alone, No Finding among them; the classes are those of
    ConVIRT's retrieval set."""

    name = "chexpert8x200"
    title = "CheXpert 8x200 (classes of ConVIRT, members drawn here) with CheXpert Plus reports"
    citation = (
        "Zhang et al., ConVIRT, MLHC 2022; Irvin et al., AAAI 2019; Chambon et al., CheXpert "
        "Plus, arXiv 2405.19538"
    )
    label_names = EIGHT
    has_reports = True
    member_list = "chexpert_8x200.csv"
    how_to_get = _how_to_get(member_list)
    demo = Demo(stream=18, as_original=460, test_share=1, changes=1)


for _name, _labels in (("chexpert5x200", FIVE), ("chexpert8x200", EIGHT)):
    _size = _name.removeprefix("chexpert")
    task(
        TaskSpec(
            name=f"{_name}_ret",
            kind="retrieval",
            dataset=_name,
            title=f"Image-report retrieval on CheXpert {_size}",
            main_metric="i2t_p@10",
            groups=("retrieval",),
            fractions=(1.0,),
            options={"labels": _labels},
        )
    )
    task(
        TaskSpec(
            name=f"{_name}_zs",
            kind="zero_shot",
            dataset=_name,
            title=f"Zero-shot classification on CheXpert {_size}",
            main_metric="accuracy",
            groups=("zero_shot",),
            fractions=(1.0,),
            options={"labels": _labels, "mode": "multiclass"},
        )
    )
