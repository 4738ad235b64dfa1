"""Sound files of every kind, and how the harness reads them: what came out, and what was said."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from PIL import Image

from backbones.shared.pretraining.trainer import pretrain
from bench.cells.encoders import PretrainRequest, resolve_encoder
from bench.cells.prepare import TaskPlan, plan_task
from bench.cells.request import RunRequest
from bench.cells.results import ResultStore
from bench.commands.run import run_command
from bench.contracts import BACKBONES, BackboneRequest, PairData, has_text_side
from bench.core.progress import Silent
from bench.data.annotations import Boxes, Masks
from bench.data.masks import PUBLIC_COLUMNS
from bench.report.leaderboard import build
from tests.support.pairs import make_subset, recipe
from tests.support.progress import Said
from tests.tasks.datasets.fakes import write_covid, write_mimic, write_siim


@dataclass(frozen=True)
class Reading:
    """What a read gave: a digest of every value it holds, and everything that was said
    meanwhile."""

    digest: str
    said: str


@dataclass(frozen=True)
class Scene:
    """One kind of input: `write` makes it sound, `read` reads it as a run does.

    `groups` names the files that a damage may meet, as patterns below the scene's folder.
    """

    name: str
    write: Callable[[Path], None]
    read: Callable[[Path, str], Reading]
    groups: dict[str, str]


class _Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def listening(read: Callable[[Said], str]) -> Reading:
    """Return what `read` gives with all that it says to the user: progress, warnings of the log."""
    progress = Said()
    handler = _Lines()
    logging.getLogger().addHandler(handler)
    try:
        digest = read(progress)
    finally:
        logging.getLogger().removeHandler(handler)
    return Reading(digest, "\n".join([*progress.lines, *handler.lines]))


def _hash(*values: Any) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for value in values:
        raw = value.tobytes() if isinstance(value, np.ndarray) else str(value).encode()
        digest.update(raw + b"\0")
    return digest.hexdigest()


# ----------------------------------------------------------------------------------------- datasets
def _contents(plan: TaskPlan) -> str:
    """Return a digest of rows, pixels, masks and boxes: all that a head or a metric may see."""
    index = plan.index.sort_values("image_id", kind="stable").reset_index(drop=True)
    subset = plan.prepared.subset(index)
    columns = [c for c in index.columns if c in PUBLIC_COLUMNS or c.startswith("label:")]
    text = subset.index[columns].to_csv(index=False)
    rows = np.arange(len(subset))
    masks = subset.get(Masks)[rows] if subset.has(Masks) else ""
    boxes = subset.get(Boxes).lists if subset.has(Boxes) else ()
    return _hash(text, subset.images(rows), masks, *boxes)


def _reader(dataset: str, task: str) -> Callable[[Path, str], Reading]:
    def read(root: Path, on_error: str) -> Reading:
        request = RunRequest(
            tasks=(task,),
            data_root=root,
            data="real",
            results=root / "results",
            on_error=on_error,  # type: ignore[arg-type]
        )
        return listening(lambda progress: _contents(plan_task(task, request, progress)))

    return read


def _into(dataset: str, write: Callable[[Path], Any]) -> Callable[[Path], None]:
    def sound(root: Path) -> None:
        (root / dataset).mkdir(parents=True)
        write(root / dataset)

    return sound


def write_objects(root: Path) -> None:
    """Write Object-CXR: 12 images to train on, six to watch and six to test, boxes and polygons."""
    rng = np.random.default_rng(0)
    marks = ("", "0 5 6 15 16;1 20 20 30 26", "2 10 10 40 12 38 20 12 30", "")
    for folder, count in (("train", 12), ("dev", 6), ("test", 6)):
        (root / folder).mkdir()
        rows = ["image_name,annotation"]
        for number in range(count):
            pixels = rng.integers(0, 255, (40, 50), dtype=np.uint8)
            Image.fromarray(pixels).save(root / folder / f"{number:05d}.jpg")
            rows.append(f"{number:05d}.jpg,{marks[number % 4]}")
        (root / f"{folder}.csv").write_text("\n".join(rows) + "\n")


def _iu_xray(root: Path) -> None:
    """Write R2Gen's IU X-Ray: studies of two views in one JSON file."""
    rng = np.random.default_rng(1)
    content: dict[str, list[dict[str, Any]]] = {"train": [], "val": [], "test": []}
    for number, split in enumerate(["train"] * 6 + ["val"] * 3 + ["test"] * 3):
        study = f"CXR{number}_IM-000{number % 10}"
        (root / "images" / study).mkdir(parents=True)
        views = [f"{study}/{view}.png" for view in (0, 1)]
        for view in views:
            pixels = rng.integers(0, 255, (30, 24), dtype=np.uint8)
            Image.fromarray(pixels).save(root / "images" / view)
        report = f"No effusion. There is a nodule of {number} cm.\nHeart normal."
        content[split].append({"id": study, "report": report, "image_path": views, "split": split})
    (root / "annotation.json").write_text(json.dumps(content))


# ---------------------------------------------------------------------------------------- encoders
def _write_plain(root: Path) -> None:
    """Write the state dicts of a small timm network, as safetensors and as a torch file."""
    import timm
    from safetensors.torch import save_file

    torch.manual_seed(0)
    state = timm.create_model("test_resnet", pretrained=False).state_dict()
    save_file(state, root / "net.safetensors")
    torch.save({"state_dict": state}, root / "net.pth")


def _features(name: str, request: BackboneRequest) -> str:
    spec = BACKBONES.get(name)
    encoder = spec.build(request)
    size = encoder.input.size
    images = torch.randn(2, 3, size, size, generator=torch.manual_seed(1))
    with torch.inference_mode():
        return _hash(encoder.features(images).pooled.numpy())


def _read_plain(root: Path, on_error: str) -> Reading:
    def digest(_: Said) -> str:
        names = (f"file:{root / file}?arch=test_resnet" for file in ("net.safetensors", "net.pth"))
        return _hash(*(_features(name, BackboneRequest("demo")) for name in names))

    return listening(digest)


def _write_trained(root: Path) -> None:
    """Pre-train a tiny ConVIRT on squares: weights, card and vocabulary."""
    pairs = PairData("squares", "demo", make_subset(8, 144, 1), make_subset(4, 144, 2), "0123abcd")
    pretrain(recipe("convirt", epochs="1"), pairs, progress=Silent(), out=root / "convirt")


def _read_trained(root: Path, on_error: str) -> Reading:
    def digest(progress: Said) -> str:
        folder = root / "convirt"
        request = PretrainRequest("convirt", architecture="resnet", checkpoint=folder)
        encoder = resolve_encoder(request, progress)
        spec = BACKBONES.get("convirt")
        loaded = spec.build(BackboneRequest("demo", encoder.architecture, checkpoint=folder))
        assert has_text_side(loaded)
        texts = loaded.embed_texts(["No effusion.", "There is a nodule."])
        with torch.inference_mode():
            images = torch.randn(2, 3, 128, 128, generator=torch.manual_seed(1))
            pooled = loaded.features(images).pooled
        return _hash(encoder.pretrained_on, texts.detach().numpy(), pooled.numpy())

    return listening(digest)


# ----------------------------------------------------------------------------------- stored things
def _request(root: Path, seeds: tuple[int, ...] = (0, 1)) -> RunRequest:
    return RunRequest(
        tasks=("siim_cls",),
        backbones=("random",),
        fractions=(1.0,),
        seeds=seeds,
        data_root=root,
        data="real",
        results=root / "results",
    )


def _write_results(root: Path) -> None:
    """Run two cells on a small SIIM: records, predictions, and the caches of images and
    features."""
    (root / "siim").mkdir()
    write_siim(root / "siim", images=36)
    run_command(_request(root), dry_run=False)


def _read_results(root: Path, on_error: str) -> Reading:
    def digest(progress: Said) -> str:
        tables, left_out = build(ResultStore(root / "results"), "siim_cls")
        for sentence in left_out:
            progress.say(sentence)
        values = [
            (name, column.fraction, estimate.value, estimate.low, estimate.high)
            for table in tables
            for column in table.columns
            for name, estimate in sorted(column.estimates.items())
        ]
        return _hash(values, [[r["metric:auprc"] for r in table.records] for table in tables])

    return listening(digest)


def _read_caches(root: Path, on_error: str) -> Reading:
    """Run the cells again from the caches at hand, their results put away."""
    shutil.rmtree(root / "results")

    def digest(progress: Said) -> str:
        with mock.patch("bench.commands.run.default_progress", lambda: progress):
            run_command(_request(root, seeds=(0,)), dry_run=False)
        records = ResultStore(root / "results").records()
        metrics = ("metric:auroc", "metric:auprc", "metric:brier")
        return _hash([[records[key][name] for name in metrics] for key in sorted(records)])

    return listening(digest)


SCENES = {
    scene.name: scene
    for scene in (
        Scene(
            "siim",
            _into("siim", lambda root: write_siim(root, images=12)),
            _reader("siim", "siim_seg"),
            {"dicom": "**/*.dcm", "runs": "**/train-rle.csv"},
        ),
        Scene(
            "mimic",
            _into("mimic_cxr", write_mimic),
            _reader("mimic_cxr", "mimic_rg"),
            {"jpeg": "**/*-*.jpg", "zipped": "**/*.csv.gz", "report": "**/s5*.txt"},
        ),
        Scene(
            "covid",
            _into("covid_seg", write_covid),
            _reader("covid_seg", "covid_seg"),
            {"png": "**/images/*.png", "mask": "**/masks/*.png", "table": "**/*.csv"},
        ),
        Scene(
            "objects",
            _into("object_cxr", write_objects),
            _reader("object_cxr", "object_cxr_det"),
            {"jpeg": "**/*.jpg", "boxes": "**/*.csv"},
        ),
        Scene(
            "iu_xray",
            _into("iu_xray", _iu_xray),
            _reader("iu_xray", "iu_rg"),
            {"png": "**/*.png", "json": "**/annotation.json"},
        ),
        Scene("plain", _write_plain, _read_plain, {"tensors": "*.safetensors", "torch": "*.pth"}),
        Scene(
            "trained",
            _write_trained,
            _read_trained,
            {"tensors": "**/*.safetensors", "card": "**/card.json", "words": "**/vocab.txt"},
        ),
        Scene(
            "results",
            _write_results,
            _read_results,
            {"records": "**/results.jsonl", "predictions": "**/*.npz"},
        ),
        Scene(
            "caches",
            _write_results,
            _read_caches,
            {
                "pixels": "cache/images/*/pixels.u8",
                "slots": "cache/images/*/records.bin",
                "about": "cache/images/*/about.json",
                "features": "cache/features/*/*.npy",
                "names": "cache/features/*/*.json",
                "facts": "cache/facts/*",
            },
        ),
    )
}
