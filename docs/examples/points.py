"""An annotation of one's own and a task that reads it: the apex of the heart, one point per image,
found by ridge regression on the features of a frozen encoder."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from sklearn.linear_model import Ridge

from bench.contracts import (
    KINDS,
    Annotation,
    Backbone,
    CellContext,
    CheckResult,
    Dataset,
    Predictions,
    Skipped,
    Source,
    Subset,
    TaskKind,
    TaskSpec,
    dataset,
    task,
)
from bench.core.errors import DataError
from bench.core.settings import CheckedSettings, Scale, Side
from bench.data.annotations import PerImage
from bench.data.boxes import image_shapes, to_square
from bench.data.tables import read_table
from bench.encoding.features import FeatureCache


@dataset
class Apexes(Dataset):
    """`points.csv` with the columns image, patient, x and y (in pixels), and `images/*.png`."""

    name = "apexes"
    title = "Radiographs with the apex of the heart"
    licence = "private"
    citation = "none"
    how_to_get = "Put points.csv and images/ into the folder 'apexes' of the data root."
    marker = "points.csv"

    def index(self, root: Path) -> pd.DataFrame:
        """Return one row per image; x and y stay in columns of their own."""
        table = read_table(root / "points.csv", ("image", "patient", "x", "y"), key="image")
        index = table.rename(columns={"image": "image_id", "patient": "patient_id"})
        index = index.astype({"x": float, "y": float})
        return index.assign(path="images/" + index["image_id"], split="")

    def validate(self, root: Path) -> list[CheckResult]:
        """Count the images."""
        return [CheckResult("ok", f"{len(self.index(root))} images with a point.")]


class Points(Annotation[np.ndarray]):
    """The point of every image, [n, 2]: x and y as shares of the padded square's side."""

    name = "points"

    def offered(self, dataset: Dataset) -> bool:
        """Say whether the dataset has points."""
        return isinstance(dataset, Apexes)

    def prepare(self, source: Source) -> PerImage:
        """Bring the points to the square that the images are decoded to."""
        points, skipped = {}, []
        rows = source.index[["image_id", "path", "x", "y"]].itertuples(index=False)
        shapes = image_shapes(source.index, source.root)
        for (image, path, x, y), (height, width) in zip(rows, shapes, strict=True):
            if 0 <= x <= width and 0 <= y <= height:
                square = to_square(np.array([[x, y, x, y, 0]]), (height, width), source.size)
                points[image] = square[0, :2] / source.size
                continue
            fault = f"{path}: ({x:g}, {y:g}) is not a point of an image of {width} x {height} px."
            if source.on_error == "stop":
                raise DataError(fault, "Mend points.csv, or use --on-error skip.")
            skipped.append(Skipped(image, path, fault))
        return PerImage(points, skipped)


@dataclass(frozen=True)
class PointSettings(CheckedSettings):
    """How the regression is fitted."""

    image_size: Side = 224
    """Side in pixels of the square that images are brought to."""
    penalty: Scale = 1.0
    """Penalty of the ridge regression on the squared weights."""


class PointKind(TaskKind):
    """Find one point per image; scored by its distance from the true one."""

    name = "point"
    presets: ClassVar[Mapping[str, Any]] = {
        "default": {"paper": PointSettings(), "demo": PointSettings(image_size=144)}
    }
    metrics = ("distance", "near")
    lower_is_better = ("distance",)

    def needs(self, settings: PointSettings) -> tuple[Annotation[Any], ...]:
        """Return the points."""
        return (Points(),)

    def fit(self, backbone: Backbone, train: Subset, val: Subset, context: CellContext) -> Any:
        """Fit the regression on the features of the training images."""
        features = FeatureCache(backbone, context)
        ridge = Ridge(context.settings.penalty)
        return features, ridge.fit(features.pooled(train), train.get(Points))

    def predict(self, predictor: Any, test: Subset, context: CellContext) -> Predictions:
        """Return how far off each test image's point is, as a share of the side."""
        features, ridge = predictor
        error = ridge.predict(features.pooled(test)) - test.get(Points)
        table = test.index[["image_id", "patient_id"]]
        return Predictions(table.assign(distance=np.linalg.norm(error, axis=1)))

    def statistics(
        self, predictions: Predictions, task: TaskSpec
    ) -> Mapping[str, Callable[[np.ndarray], np.ndarray]]:
        """Return the mean distance, and the share of points nearer than a tenth of the side."""
        distance = predictions.table["distance"].to_numpy()
        return {
            "distance": lambda weights: weights @ distance / weights.sum(axis=1),
            "near": lambda weights: weights @ (distance < 0.1) / weights.sum(axis=1),
        }


KINDS.add("point", PointKind())
task(TaskSpec("apex_point", "point", "apexes", "The apex of the heart", main_metric="distance"))
