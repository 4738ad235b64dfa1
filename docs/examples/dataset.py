"""A dataset and a task on it, in one file."""

from pathlib import Path

import pandas as pd

from bench.contracts import CheckResult, Dataset, TaskSpec, dataset, task
from bench.data.tables import read_table


@dataset
class Hospital(Dataset):
    """`list.csv` with the columns image, patient and effusion (0 or 1), and `images/*.png`."""

    name = "hospital"
    title = "Radiographs of our hospital"
    licence = "internal"
    citation = "none"
    how_to_get = "Put list.csv and images/ into the folder 'hospital' of the data root."
    marker = "list.csv"
    label_names = ("effusion",)

    def index(self, root: Path) -> pd.DataFrame:
        """Return one row per image; without a split of its own, one is drawn by patient."""
        table = read_table(root / "list.csv", ("image", "patient", "effusion"), key="image")
        index = table.rename(columns={"image": "image_id", "patient": "patient_id"})
        index["label:effusion"] = index.pop("effusion").astype(float)
        return index.assign(path="images/" + index["image_id"], split="")

    def validate(self, root: Path) -> list[CheckResult]:
        """Say which images are missing."""
        missing = [path for path in self.index(root)["path"] if not (root / path).is_file()]
        found = [CheckResult("error", f"{root / path} is missing.") for path in missing]
        return found or [CheckResult("ok", "All images are there.")]


task(TaskSpec("hospital_cls", "classification", "hospital", "Effusion", main_metric="auroc"))
