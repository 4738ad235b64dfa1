"""What an encoder's weights are: those of a checkpoint by its card, or of a file by its content."""

from __future__ import annotations

from pathlib import Path

from bench.cells.prepare import EncoderRef
from bench.cells.seen import check_seen
from bench.contracts import FAMILIES, SUPERVISION, BackboneRequest, BackboneSpec
from bench.core.cards import CARD
from bench.core.checkpoints import Checkpoint
from bench.core.errors import CheckpointError, SettingError, in_words
from bench.core.hashing import file_sha256
from bench.core.naming import split_name


def weights_digest(spec: BackboneSpec, build_request: BackboneRequest) -> str:
    """Return the hash of the weights a declared encoder will read; "" for untrained ones."""
    if spec.weights_digest:
        return spec.weights_digest(build_request)
    weights = spec.weights_file(build_request) if spec.weights_file else None
    return file_digest(weights) if weights and weights.is_file() else ""


def check_reads(spec: BackboneSpec, build_request: BackboneRequest, path: Path) -> None:
    """Raise SettingError where an encoder would not read the checkpoint that was given for it."""
    other = spec.weights_file(build_request) if spec.weights_file else path
    if spec.seeded or spec.baseline:
        raise SettingError(f"encoder '{spec.name}' is untrained: it reads no checkpoint.")
    if other != path:
        raise SettingError(
            f"encoder '{spec.name}' does not read checkpoint {path}.",
            f"Its weights are part of its name, e.g. {split_name(spec.name)[1]}?weights=PATH.",
        )


def check_trained(spec: BackboneSpec, build_request: BackboneRequest, trained: str) -> None:
    """Raise SettingError where a checkpoint is of another architecture than was asked for; its
    family may be named too."""
    asked = build_request.architecture
    of_family = asked in FAMILIES and trained.startswith(asked)
    if asked and not of_family and trained != spec.architecture(build_request):
        raise SettingError(
            f"checkpoint {build_request.checkpoint} of '{spec.name}' is a {trained}, architecture "
            f"'{asked}' was asked for.",
            "Leave --arch out.",
        )


def read_card(spec: BackboneSpec, path: Path) -> EncoderRef:
    """Return a trained checkpoint as the encoder of a run: what its card says of it. Raise
    CheckpointError where card or weights are damaged."""
    checkpoint = Checkpoint.open(path)
    card = checkpoint.card
    data = card["data"]
    trained_on = f"{data['name']}, {data['train_pairs']} image-report pairs"
    note = f"{trained_on} ({'rendered data' if data['kind'] == 'demo' else 'real data'})"
    seen = check_seen(checkpoint.folder, card.get("seen"))
    return EncoderRef(
        card["architecture"],
        checkpoint.path,
        checkpoint.sha256[:16],
        note,
        seen,
        supervision=_supervision(spec, checkpoint),
    )


def _supervision(spec: BackboneSpec, checkpoint: Checkpoint) -> tuple[str, ...]:
    """Return what an encoder learned from beside images and reports, as its card says; where that
    is of before cards did, as its method declares."""
    stated = checkpoint.card.get("supervision", list(spec.supervision))
    if not isinstance(stated, list) or not all(name in SUPERVISION for name in stated):
        raise CheckpointError(
            f"{checkpoint.folder / CARD} is damaged: 'supervision' is {str(stated)[:40]}, a list "
            f"out of {in_words(SUPERVISION)} was expected.",
            "Train the checkpoint again, or copy its card.json again.",
        )
    return tuple(stated)


def file_digest(path: Path) -> str:
    """Return 16 hex digits of a file's content."""
    return file_sha256(path)[:16]
