"""Pre-training of any method on any image-report dataset. Importing this module imports no
torch."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backbones.shared.encoders.architectures import resolve_architecture
from backbones.shared.pretraining.keys import (
    check,
    checkpoint_folder,
    is_complete,
    needs,
    pretrain_image_size,
    recipe_settings,
)
from backbones.shared.pretraining.settings import MethodSettings
from backbones.shared.pretraining.shipped import shipped
from bench.contracts import BACKBONES, InputSpec, PairData, Progress, Recipe, Subset
from bench.core.cards import CARD
from bench.core.checkpoints import CURVE, VOCABULARY, WEIGHTS
from bench.core.errors import SettingError

if TYPE_CHECKING:
    from backbones.shared.encoders.vocabulary import EncodedReport
    from backbones.shared.pretraining.regions import RegionFields
    from backbones.shared.pretraining.vision_language import VisionLanguageMethod
    from bench.training.plan import TrainSummary

__all__ = [
    "Recipe",
    "check",
    "checkpoint_folder",
    "is_complete",
    "needs",
    "pretrain",
    "pretrain_image_size",
    "recipe_settings",
    "shipped",
]


def pretrain(
    recipe: Recipe,
    data: PairData,
    *,
    progress: Progress,
    out: Path | None = None,
    device: str = "cpu",
    force: bool = False,
) -> Path:
    """Train `recipe.method` on `data` and return the folder of the checkpoint: weights, vocabulary,
    card and loss curve.

    A finished checkpoint is returned as it is unless `force`; a killed training goes on from its
    last whole epoch, and a second process waits for the first. The card is written last. Under
    `torchrun` the processes share every batch.
    """
    from contextlib import nullcontext

    from bench.core.storage import held, writing
    from bench.training.processes import agree, join, rank

    check(recipe)
    folder = out or checkpoint_folder(recipe, data.data_hash)
    device = join(device)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with held(folder / ".lock") if rank() == 0 else nullcontext():
        if force and rank() == 0:
            _clear(folder)
        if not agree(is_complete(folder)):
            _train(recipe, data, folder, device, progress)
        agree(None)
    return folder


def _clear(folder: Path) -> None:
    for name in (CARD, WEIGHTS):
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / "work", ignore_errors=True)


def _train(recipe: Recipe, data: PairData, folder: Path, device: str, progress: Progress) -> None:
    from functools import partial

    from backbones.shared.alignment.sync_norm import synchronise_norms
    from backbones.shared.pretraining.checkpoint import save_method
    from backbones.shared.pretraining.pairs import (
        PairLoader,
        encode_reports,
        learnable,
        reports_of,
        with_words,
    )
    from backbones.shared.pretraining.retrieval import retrieval_scores
    from bench.training.plan import train
    from bench.training.processes import rank

    settings = recipe_settings(recipe)
    spec = resolve_architecture(recipe.profile, recipe.architecture).input
    train_pairs = with_words(data.train, data.name)
    worded = replace(data, train=train_pairs, val=with_words(data.val, data.name))
    _say_left_out(data, worded, "reports have no word", progress)
    reports = reports_of(worded.train)
    method = build_method(recipe, settings, reports)
    speed_up(method, settings, device)
    synchronise_norms(method.to(device))
    loaders: list[PairLoader] = []
    for subset, texts in ((worded.train, reports), (worded.val, reports_of(worded.val))):
        pairs, read = learnable(subset, texts, method)
        encoded = encode_reports(read, method.vocabulary, settings)
        fields = None if loaders else _region_fields(pairs, encoded, spec, settings, recipe.seed)
        loaders.append(
            PairLoader(
                pairs,
                encoded,
                method.vocabulary,
                spec,
                settings.batch_size,
                fields,
                texts=read,
                arrange=method.arrange,
            )
        )
    learned = replace(data, train=loaders[0].subset, val=loaders[1].subset)
    _say_left_out(worded, learned, f"reports are too short for {recipe.method}", progress)
    left_out = {
        "without_words": _missing(data, worded),
        "too_short": _missing(worded, learned),
    }
    watch = partial(retrieval_scores, pairs=loaders[1], device=device)
    title = f"pre-training {recipe.method} on {data.name}"
    plan = settings.plan(recipe.seed)
    summary = train(
        method,
        loaders[0],
        plan,
        folder / "work",
        progress=progress,
        title=title,
        evaluate=watch,
        device=device,
    )
    if rank() == 0:
        save_method(method, folder)
        _finish(recipe, learned, left_out, method, summary, folder, loaders[0].regions)


def _region_fields(
    pairs: Subset,
    encoded: Sequence[EncodedReport],
    spec: InputSpec,
    settings: MethodSettings,
    seed: int,
) -> RegionFields | None:
    """Return the regions of the batches where the method needs them; the share of images that keep
    theirs is drawn by the seed."""
    from backbones.shared.pretraining.regions import RegionFields
    from bench.data.annotations import Regions

    if not any(isinstance(need, Regions) for need in settings.needs()):
        return None
    fraction = settings.region_fraction
    return RegionFields(pairs, encoded, spec, fraction=fraction, seed=seed)


def _missing(whole: PairData, smaller: PairData) -> dict[str, int]:
    """Return how many pairs of each split are in one and not in the other."""
    return {
        "train": len(whole.train) - len(smaller.train),
        "val": len(whole.val) - len(smaller.val),
    }


def _say_left_out(whole: PairData, smaller: PairData, why: str, progress: Progress) -> None:
    for split, count in _missing(whole, smaller).items():
        if count:
            progress.say(f"{count} of {len(getattr(whole, split))} {why}: left out")


def build_method(
    recipe: Recipe, settings: MethodSettings, reports: list[str]
) -> VisionLanguageMethod:
    """Return the untrained method; weights depend on the seed alone, a vocabulary of its own on the
    training reports."""
    import torch

    from backbones.shared.encoders.text import build_text_encoder, load_text_encoder, text_config
    from backbones.shared.encoders.vocabulary import Vocabulary
    from backbones.shared.pretraining.declare import method_class

    architecture = resolve_architecture(recipe.profile, recipe.architecture)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        if settings.text_model:
            text, vocabulary = load_text_encoder(Path(settings.text_model), settings.text_layers)
        else:
            vocabulary = Vocabulary.train(reports, settings.vocabulary)
            text = build_text_encoder(text_config(settings, len(vocabulary)))
        return method_class(recipe.method)(architecture, text, vocabulary, settings, recipe.seed)


def speed_up(method: VisionLanguageMethod, settings: MethodSettings, device: str = "cpu") -> None:
    """Turn on what trades time for memory or back: recomputed activations and compiled encoders.

    Raise SettingError where torch.compile does not work on `device`.
    """
    if settings.recompute:
        method.image_encoder.recompute()
        method.text_encoder.recompute()
    if settings.compile:
        _require_compiler(device)
        method.image_encoder.compile_features()
        method.text_encoder.model.compile()


def _require_compiler(device: str) -> None:
    """Compile one addition; raise SettingError saying what to install where that fails."""
    import torch

    try:
        torch.compile(lambda numbers: numbers + 1)(torch.zeros(2, device=device))
    except RuntimeError as error:
        reason = " ".join(str(error).split("Set TORCHDYNAMO")[0].split())[:300].rstrip(".")
        raise SettingError(
            f"compile=true: torch.compile does not work here ({type(error).__name__}: {reason}).",
            "Install a C++ compiler and Python's headers (apt-get install g++ python3-dev; "
            "on a GPU also `pip install triton`), "
            "or leave compile out.",
        ) from error


def _finish(
    recipe: Recipe,
    data: PairData,
    left_out: Mapping[str, Mapping[str, int]],
    method: VisionLanguageMethod,
    summary: TrainSummary,
    folder: Path,
    regions: RegionFields | None,
) -> None:
    """Write curve, pictures and card, then drop the training's own checkpoints."""
    import json

    from bench.core.storage import write_atomically

    write_atomically(folder / CURVE, "".join(json.dumps(row) + "\n" for row in summary.curve))
    _draw(recipe, data, method, folder)
    card = _card(recipe, data, left_out, method, summary, folder)
    if regions is not None:
        card["data"]["train_pairs_with_regions"] = regions.images
    write_atomically(folder / CARD, json.dumps(card, indent=2) + "\n")
    shutil.rmtree(folder / "work", ignore_errors=True)


def _draw(recipe: Recipe, data: PairData, method: VisionLanguageMethod, folder: Path) -> None:
    """Draw the curve and, where the method has observations, where they were read on the first
    three validation images."""
    import numpy as np

    from backbones.shared.pretraining.pictures import draw_attention, plot_curve
    from bench.contracts import DEMO_NOTE
    from bench.report.pictures import stamp

    title = f"{recipe.method}, {data.name} ({data.kind} data)"
    drawn: list[Path | None] = [plot_curve(folder / CURVE, folder / "curve.png", title)]
    spec = method.image_encoder.architecture.input
    edge = (spec.resize - spec.size) // 2
    images = data.val.images(np.arange(min(3, len(data.val))))[
        :, edge : edge + spec.size, edge : edge + spec.size
    ]
    method.eval()
    drawn.append(draw_attention(method.cpu(), spec, images, folder / "attention.png"))
    for path in drawn:
        if path and data.kind == "demo":
            stamp(path, DEMO_NOTE)


def _card(
    recipe: Recipe,
    data: PairData,
    left_out: Mapping[str, Mapping[str, int]],
    method: VisionLanguageMethod,
    summary: TrainSummary,
    folder: Path,
) -> dict[str, Any]:
    from bench.cells.results import provenance
    from bench.cells.seen import write_seen
    from bench.core.hashing import file_sha256

    architecture = resolve_architecture(recipe.profile, recipe.architecture)
    spec = BACKBONES.get(recipe.method)
    return {
        **asdict(replace(recipe, settings=asdict(method.settings), architecture=architecture.name)),
        "input": asdict(architecture.input),
        "text_encoder": method.text_encoder.config(),
        "data": {
            "name": data.name,
            "kind": data.kind,
            "hash": data.data_hash,
            "train_pairs": len(data.train),
            "val_pairs": len(data.val),
        },
        "left_out": left_out,
        "seen": write_seen(folder, data),
        "epochs": summary.epochs,
        "kept_epoch": summary.best_epoch,
        "last_epoch": summary.curve[-1],
        "weights_sha256": file_sha256(folder / WEIGHTS),
        "vocabulary_sha256": file_sha256(folder / VOCABULARY),
        "supervision": list(method.settings.saw(spec.supervision)),
        "licence": spec.licence,
        "licence_notes": (
            "The weights are derived from the data named above: its licence applies to them."
        ),
        "provenance": provenance(),
    }
