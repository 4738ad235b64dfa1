"""A new annotation, with a task that reads it, is one file: the engine knows nothing of it."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge

from bench.cells.prepare import plan_task
from bench.cells.request import RunRequest
from bench.contracts import BACKBONES, BackboneRequest, CellContext
from bench.core.errors import DataError
from bench.core.progress import Silent
from bench.encoding.features import FeatureCache
from tests.support.commands import BARE, place_bench
from tests.support.plugins import loaded

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "docs" / "examples" / "points.py"
SIZE = 32
WIDTH, HEIGHT = 72, 96


@pytest.fixture(scope="module", autouse=True)
def _declared() -> Iterator[None]:
    """Register the example while these tests run, and no longer."""
    with loaded(EXAMPLE):
        yield


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """24 images of 12 patients with a bright disc, whose centre is the point."""
    root = tmp_path / "data" / "apexes"
    (root / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows = []
    for number in range(24):
        image = rng.integers(0, 60, (HEIGHT, WIDTH), dtype=np.uint8)
        x, y = (int(value) for value in rng.integers(15, 57, 2))
        cv2.circle(image, (x, y), 14, (250,), -1)
        cv2.imwrite(str(root / "images" / f"{number}.png"), image)
        rows.append({"image": f"{number}.png", "patient": f"p{number // 2}", "x": x, "y": y})
    pd.DataFrame(rows).to_csv(root / "points.csv", index=False)
    return root.parent


def requested(data: Path, **changes: object) -> RunRequest:
    return RunRequest(
        tasks=("apex_point",),
        backbones=("random",),
        data_root=data,
        results=data.parent / "results",
        settings={"image_size": str(SIZE)},
        **changes,  # type: ignore[arg-type]
    )


def expected_distance(data: Path, folder: Path) -> float:
    """Compute the mean distance from the table of points, with nothing of the example but the
    split and the features."""
    plan = plan_task("apex_point", requested(data), Silent())
    context = CellContext(plan.task, plan.settings, folder, "cpu", 0, "demo", Silent())
    features = FeatureCache(BACKBONES.get("random").build(BackboneRequest("demo")), context)
    table = pd.read_csv(data / "apexes" / "points.csv").set_index("image")
    padding = (HEIGHT - WIDTH) / 2
    vectors, points = {}, {}
    for split in ("train", "test"):
        rows = plan.index[plan.index["split"] == split]
        vectors[split] = features.pooled(plan.prepared.subset(rows))
        pixels = table.loc[rows["image_id"], ["x", "y"]].to_numpy()
        points[split] = (pixels + np.array([padding, 0])) / HEIGHT
    ridge = Ridge(1.0).fit(vectors["train"], points["train"])
    error = ridge.predict(vectors["test"]) - points["test"]
    return float(np.sqrt((error**2).sum(axis=1)).mean())


def test_a_new_annotation_runs_and_its_metric_is_right(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["--plugin", str(EXAMPLE), "run", "apex_point", "--backbones", "random"]
    words += ["--data-root", str(data), "--fractions", "1.0", "--set", f"image_size={SIZE}", *BARE]
    first = place_bench(*words, cwd=tmp_path)
    assert "1 cell(s) run" in first.stderr
    [record] = map(json.loads, (tmp_path / "results" / "results.jsonl").read_text().splitlines())
    monkeypatch.setenv("PLACE_BENCH_CACHE", str(tmp_path / "cache"))
    assert record["metric:distance"] == pytest.approx(expected_distance(data, tmp_path), abs=1e-3)
    assert 0 < record["metric:distance"] < 0.5 and 0 <= record["metric:near"] <= 1


def test_subsets_give_the_points_of_their_rows(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLACE_BENCH_CACHE", str(tmp_path / "cache"))
    plan = plan_task("apex_point", requested(data), Silent())
    [annotation] = plan.kind.needs(plan.settings)
    subset = plan.prepared.subset(plan.prepared.index)
    points = subset.get(type(annotation))
    assert points.shape == (24, 2) and ((points > 0) & (points < 1)).all()
    rows = np.array([5, 0, 5])
    np.testing.assert_array_equal(subset.take(rows).get(type(annotation)), points[rows])
    table = data / "apexes" / "points.csv"
    moved = pd.read_csv(table)
    moved.loc[0, "x"] += 5
    moved.to_csv(table, index=False)
    other = plan_task("apex_point", requested(data), Silent())
    assert other.data_hash != plan.data_hash, "another point is another cell"
    assert other.prepared.data_hash == plan.prepared.data_hash, "kept features are of the images"


def test_a_point_outside_its_image_stops_the_run_or_is_left_out(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLACE_BENCH_CACHE", str(tmp_path / "cache"))
    table = data / "apexes" / "points.csv"
    points = pd.read_csv(table)
    points.loc[3, "x"] = 73
    points.to_csv(table, index=False)
    with pytest.raises(
        DataError, match=r"3\.png: \(73, \d+\) is not a point of an image of 72 x 96"
    ):
        plan_task("apex_point", requested(data), Silent())
    plan = plan_task("apex_point", requested(data, on_error="skip"), Silent())
    assert len(plan.prepared.index) == 23 and [item.id for item in plan.prepared.skipped] == [
        "3.png"
    ]


def test_the_engine_without_the_file_knows_nothing_of_points(tmp_path: Path) -> None:
    """The example is copied away and stands alone; no file of the house speaks of it."""
    alone = shutil.copy(EXAMPLE, tmp_path / "mine.py")
    listed = place_bench("--plugin", str(alone), "list", "tasks", "--json", cwd=tmp_path)
    assert "apex_point" in [row["name"] for row in json.loads(listed.stdout)]
    without = place_bench("list", "tasks", "--json", cwd=tmp_path)
    assert "apex_point" not in [row["name"] for row in json.loads(without.stdout)]
    names = re.compile(r"\b(Apexes|Points|PointSettings|PointKind|apexes|apex_point)\b|\"points?\"")
    files = sorted((ROOT / "bench").rglob("*.py"))
    assert not [path for path in files if names.search(path.read_text(encoding="utf-8"))]
