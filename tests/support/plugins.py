"""A right plug-in with a dataset, tasks, an encoder and a kind, its data, and the command line run
with it in this process."""

import csv
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest

from bench.commands.cli import main
from bench.core import registry

RIGHT = '''
from bench.contracts import *


@dataset
class Mine(Dataset):
    """A folder with list.csv and images/."""

    name = "mine"
    title = "Mine"
    licence = "private"
    citation = "none"
    how_to_get = "Put list.csv and images/ into <data root>/mine."
    marker = "list.csv"
    mask_classes = ("lesion",)
    box_classes = ("lesion",)
    label_names = ("ill",)
    has_reports = True

    def index(self, root):
        import pandas as pd

        table = pd.read_csv(root / "list.csv", dtype={"image": str, "patient": str})
        index = pd.DataFrame({
            "image_id": table["image"],
            "patient_id": table["patient"],
            "path": "images/" + table["image"],
            "split": table["split"],
            "label:ill": table["ill"],
            "report": "A report.",
        })
        return index

    def validate(self, root):
        return [Finding("ok", "fine")]

    def mask(self, row, root):
        import numpy as np

        return np.ones((1, 40, 40), "uint8")

    def boxes(self, row, root):
        import numpy as np

        return np.array([[4, 4, 20, 20, 0]], "float32")


class Brightness(TaskKind):
    """Says how bright an image is."""

    name = "brightness"
    metrics = ("mean",)
    baselines = ()

    def settings(self, task, protocol, profile, overrides):
        from tasks.zero_shot.settings import ZeroShotSettings
        from bench.core.settings import override

        return override(ZeroShotSettings(labels=("ill",)), {"image_size": 32, **overrides})

    def protocols(self):
        return ("default",)

    def metric_names(self, task, settings):
        return ("mean",)

    def fit(self, backbone, train, val, context):
        return None

    def predict(self, predictor, test, context):
        table = test.index[["image_id", "patient_id"]].reset_index(drop=True)
        table["value"] = test.images(slice(None)).mean((1, 2))
        return Predictions(table)

    def statistics(self, predictions, task):
        values = predictions.table["value"].to_numpy()
        return {"mean": lambda weights: weights @ values / weights.sum(1)}


KINDS.add("brightness", Brightness())
task(TaskSpec("mine_mean", "brightness", "mine", "Brightness", "mean", fractions=(1.0,)))
task(TaskSpec("mine_seg", "segmentation", "mine", "Lesions", "dice_per_image"))
task(TaskSpec("mine_det", "detection", "mine", "Lesions", "map"))
task(TaskSpec(
    name="mine_cls", kind="classification", dataset="mine", title="Ill", main_metric="auroc",
    options={"uncertain": "zeros"}, presets={"mgca": {"batch_size": "8"}},
))


@backbone("mine_net", title="Mine", licence="private")
def mine_net(request):
    """Build an average."""
    import torch
    from torch import nn

    class Net:
        name = "mine_net"
        architecture = "average"
        family = "resnet"
        input = InputSpec(size=32, resize=32)
        pooled_dim = patch_dim = 3
        pyramid_channels = (3,)
        pyramid_strides = (8,)
        module = nn.AvgPool2d(8)

        def features(self, images):
            maps = self.module(images)
            patches = maps.flatten(2).transpose(1, 2)
            return Features(patches.mean(1), patches, tuple(maps.shape[-2:]), (maps,))

    return Net()
'''


class Plugin:
    """The right plug-in in a folder of its own, which a test makes wrong."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.file = folder / "mine.py"
        self.capsys = capsys

    def write(self, *edits: tuple[str, str]) -> Path:
        """Write the plug-in with parts of it replaced."""
        text = RIGHT
        for old, new in edits:
            assert old in text, old
            text = text.replace(old, new, 1)
        self.file.write_text(text)
        return self.file

    def run(self, *words: str) -> tuple[int, str]:
        """Return the exit code of the command line with the plug-in, and what it said on both
        streams."""
        return self.run_alone("--plugin", str(self.file), *words)

    def run_alone(self, *words: str) -> tuple[int, str]:
        """Do the same without naming the plug-in."""
        argv = sys.argv
        sys.argv = ["place-bench", *words]
        try:
            main()
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 1
        finally:
            sys.argv = argv
        said = self.capsys.readouterr()
        return code, said.out + said.err

    def forget(self) -> None:
        """Take back what the plug-in registered."""
        forget(self.file)


def forget(file: Path) -> None:
    """Take back what a plug-in registered."""
    path = str(file.resolve())
    for each in registry._registries:
        each.forget(path)
    for name in [name for name in sys.modules if name.startswith("place_bench_plugin_")]:
        if getattr(sys.modules[name], "__file__", "") == path:
            del sys.modules[name]


@contextmanager
def loaded(file: Path) -> Iterator[None]:
    """Load a plug-in as `--plugin` does, and take back what it registered."""
    registry.load_plugins([file])
    try:
        yield
    finally:
        forget(file)


@pytest.fixture
def plugin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Plugin]:
    """The right plug-in with 24 images of 12 patients in `data/mine`; the cache and the results
    are in the test's folder."""
    root = tmp_path / "data" / "mine"
    (root / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows: list[list[object]] = []
    for number in range(24):
        ill = number % 3 == 0
        image = rng.integers(0, 120, (40, 40), dtype=np.uint8) + np.uint8(100 * ill)
        cv2.imwrite(str(root / "images" / f"{number:02d}.png"), image)
        split = ("train", "train", "val", "test")[number // 2 % 4]
        rows.append([f"{number:02d}.png", f"p{number // 2}", split, int(ill)])
    with (root / "list.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["image", "patient", "split", "ill"], *rows])
    monkeypatch.setenv("PLACE_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    right = Plugin(tmp_path, capsys)
    right.write()
    yield right
    right.forget()
