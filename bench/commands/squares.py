"""Small images made for a trial: squares, bright on one side, with every annotation that a dataset
names."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING

from bench.contracts import CheckResult, Dataset, Progress, Region, TaskSpec

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


class Squares(Dataset):
    """As many patients as studies, half for training; the left side is bright in every other one,
    which is what masks and boxes mark, labels say and reports tell."""

    name = "squares-of-check"
    title = "Squares"
    licence = "public domain"
    citation = "none"
    how_to_get = "They are made for a trial."
    marker = "list.csv"
    has_regions = True

    def __init__(self, like: Dataset | None, task: TaskSpec | None, *, has_reports: bool) -> None:
        labels = tuple(task.options.get("labels", ())) if task else ()
        self.mask_classes = (like.mask_classes if like else ()) or ("square",)
        self.box_classes = (like.box_classes if like else ()) or ("square",)
        self.label_names = labels or (like.label_names if like else ())
        self.exclusive = bool(task and task.options.get("mode") == "multiclass")
        self.has_reports = has_reports or bool(like and like.has_reports)

    def index(self, root: Path) -> pd.DataFrame:
        """Return a row per square."""
        import pandas as pd

        table = pd.read_csv(root / "list.csv", dtype=str)
        bright = table["bright"].astype(int).to_numpy()
        labels = self._labels(table, bright)
        tell = {0: "The lungs are clear and dark.", 1: "A large bright lesion on the left side."}
        reports = [f"{tell[each]} Study {number}." for number, each in enumerate(bright)]
        texts = dict.fromkeys(("report", "findings", "impression"), reports)
        return pd.DataFrame(
            {
                "image_id": table["name"],
                "patient_id": table["name"],
                "path": table["name"] + ".png",
                "split": table["split"],
                "view": "PA",
                **texts,
                **labels,
            }
        )

    def _labels(self, table: pd.DataFrame, bright: np.ndarray) -> dict[str, np.ndarray]:
        """Return a column per label: where they exclude each other they take turns in each split,
        else each is there in half of it."""
        numbers = table.groupby("split").cumcount().to_numpy()
        labels = {}
        for place, name in enumerate(self.label_names):
            if self.exclusive:
                values = numbers % len(self.label_names) == place
            else:
                values = (numbers // 2 + place) % 2 != bright
            labels[f"label:{name}"] = values.astype(float)
        return labels

    def validate(self, root: Path) -> list[CheckResult]:
        """Return nothing to say."""
        return []

    def mask(self, row: pd.Series, root: Path) -> np.ndarray:
        """Return the left side for every class where it is bright."""
        import numpy as np

        side = _side(Path(root, row["path"]))
        mask = np.zeros((len(self.mask_classes), side, side), np.uint8)
        mask[:, :, : side // 2] = "lesion" in str(row["report"])
        return mask

    def boxes(self, row: pd.Series, root: Path) -> np.ndarray:
        """Return a box of the first class around the left side where it is bright."""
        import numpy as np

        side = _side(Path(root, row["path"]))
        box = [[0, 0, side // 2, side, 0]] if "lesion" in str(row["report"]) else []
        return np.array(box, np.float32).reshape(-1, 5)

    def regions(self, row: pd.Series, root: Path) -> list[Region]:
        """Return the left side as the region of the first sentence where it is bright, and of the
        whole study."""
        import numpy as np

        from bench.data.regions import map_of_mask

        side = _side(Path(root, row["path"]))
        mask = np.zeros((side, side), np.uint8)
        mask[:, : side // 2] = "lesion" in str(row["report"])
        if not mask.any():
            return []
        heat = map_of_mask(mask)
        return [Region(heat, sentence=0, source="mask"), Region(heat, source="mask")]

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
        """Write the squares and their list."""
        import cv2
        import numpy as np

        out.mkdir(parents=True)
        rng = np.random.default_rng(seed)
        rows = []
        for number in range(studies):
            bright = number % 2
            pixels = rng.integers(20, 100, (size, size), dtype=np.uint8)
            pixels[:, : size // 2] += np.uint8(100 * bright)
            cv2.imwrite(str(out / f"square{number}.png"), pixels)
            split = ("train", "train", "val", "test")[number // 2 % 4]
            rows.append((f"square{number}", split, bright))
        with (out / "list.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("name", "split", "bright"), *rows])


def _side(path: Path) -> int:
    import cv2

    return int(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE).shape[0])
