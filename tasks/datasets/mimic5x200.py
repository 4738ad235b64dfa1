"""MIMIC-CXR 5x200: studies of MIMIC-CXR with one of five findings alone, with their reports; and
the tasks on them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bench.contracts import CheckResult, Progress, TaskSpec, dataset, task
from tasks.datasets._checks import demo_counts, file_results
from tasks.datasets._exclusive import FIVE
from tasks.datasets._rendered import Rendered
from tasks.datasets.mimic_cxr import MimicCxr
from tasks.demo.members import Demo

if TYPE_CHECKING:
    import pandas as pd

MEMBERS = "mimic_5x200_ids.csv"


@dataset
class Mimic5x200(Rendered):
    """200 frontal images per class, held-out patients first, or those of BenchX's list of ids where
    it stands in the folder."""

    name = "mimic5x200"
    title = "MIMIC-CXR 5x200 (after BenchX)"
    licence = MimicCxr.licence
    citation = f"Zhou et al., BenchX, NeurIPS 2024; {MimicCxr.citation}"
    how_to_get = (
        f"{MimicCxr.how_to_get} Optional: {MEMBERS} of BenchX (dicom_id) beside the tables fixes "
        "the members."
    )
    folders = ("mimic_cxr", *MimicCxr.folders)
    marker = MimicCxr.marker
    label_names = FIVE
    has_reports = True
    demo = Demo(stream=19, as_original=500, test_share=1, changes=1)

    def index(self, root: Path) -> pd.DataFrame:
        """Return the members, all of them test images, with exclusive labels; private column:
        `official_split`.

        Without the list, 200 per class are drawn (seed 0) from images of the official validation
        and test patients and, where these are too few, from training patients: an encoder
        pre-trained on MIMIC-CXR has seen those with their reports.
        """
        from bench.data.tables import find_file
        from tasks.datasets import _exclusive

        images = MimicCxr().index(root)
        images = images.assign(official_split=images["split"])
        path = find_file(root, MEMBERS)
        rows = _listed(images, path) if path is not None else _held_out_first(images)
        return _exclusive.as_test_set(rows, FIVE, MimicCxr.label_names)

    def validate(self, root: Path) -> list[CheckResult]:
        """Compare the classes with 200 each; count members of the training split; find files."""
        index = self.index(root)
        demo = bool(demo_counts(root))
        return [
            *self.counts(index, root),
            *(
                CheckResult("ok" if demo else "warning", caution)
                for caution in self.cautions(index)
            ),
            *file_results(root, index["path"], self.how_to_get),
        ]

    def counts(self, index: pd.DataFrame, root: Path) -> list[CheckResult]:
        """Compare the classes with 200 each; say how many have a report."""
        from tasks.datasets._exclusive import class_results

        return class_results(index, FIVE, demo=bool(demo_counts(root)))

    def cautions(self, test: pd.DataFrame) -> tuple[str, ...]:
        """Count the test images that stand in MIMIC-CXR's training split."""
        seen = int((test["official_split"] == "train").sum())
        if not seen:
            return ()
        return (
            f"{seen} of {len(test)} test images are of MIMIC-CXR's training split: an encoder "
            "pre-trained on it has seen them with their reports.",
        )

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
        """Render a demo in the layout of MIMIC-CXR, all of its patients held out from training."""
        from functools import partial

        from tasks.datasets.demos import exclusive, mimic_cxr

        draw = partial(exclusive.drawn, self.demo, classes=FIVE)
        layout = mimic_cxr.Layout(self.name, self.demo, draw, mimic_cxr.held_out)
        mimic_cxr.write(
            out,
            studies=studies,
            size=size,
            seed=seed,
            workers=workers,
            progress=progress,
            layout=layout,
        )


def _listed(images: pd.DataFrame, path: Path) -> pd.DataFrame:
    from bench.data.tables import read_table
    from tasks.datasets._exclusive import listed

    return listed(images, read_table(path, ("dicom_id",))["dicom_id"].tolist(), path)


def _held_out_first(images: pd.DataFrame) -> pd.DataFrame:
    """Return up to 200 images per class, as many of every class, taken from held-out patients while
    they last."""
    import pandas as pd

    from tasks.datasets._exclusive import PER_CLASS, SEED, only

    names = MimicCxr.label_names
    shuffled = images.sample(frac=1, random_state=SEED)
    held_out = shuffled["official_split"] != "train"
    ordered = pd.concat([shuffled[held_out], shuffled[~held_out]])
    rows = {name: ordered[only(ordered, name, names)] for name in FIVE}
    count = min(PER_CLASS, *(len(members) for members in rows.values()))
    return pd.concat([members.head(count) for members in rows.values()])


task(
    TaskSpec(
        name="mimic5x200_ret",
        kind="retrieval",
        dataset="mimic5x200",
        title="Image-report retrieval on MIMIC-CXR 5x200",
        main_metric="i2t_p@10",
        groups=("retrieval",),
        fractions=(1.0,),
        options={"labels": FIVE},
    )
)
task(
    TaskSpec(
        name="mimic5x200_zs",
        kind="zero_shot",
        dataset="mimic5x200",
        title="Zero-shot classification on MIMIC-CXR 5x200",
        main_metric="accuracy",
        groups=("zero_shot",),
        fractions=(1.0,),
        options={"labels": FIVE, "mode": "multiclass"},
    )
)
