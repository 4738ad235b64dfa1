"""Where the files of published checkpoints are looked for. Imports no torch."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from backbones.published.table import PublishedWeights
from backbones.shared.encoders.architectures import fixed_architecture
from bench.contracts import BackboneRequest
from bench.core.errors import CheckpointError, MissingDependencyError
from bench.core.hashing import files_digest
from bench.core.settings import CheckedSettings, Range, override

ENVIRONMENT = "PLACE_BENCH_CHECKPOINTS"


@dataclass(frozen=True)
class PublishedSettings(CheckedSettings):
    """Settings of a published checkpoint, as `backbone.KEY` or in its name
    (`gloria_published?weights=PATH`)."""

    weights: str = ""
    """The file as it was released, or a folder that holds it under its published name; nothing: it
    is looked for in the folder that PLACE_BENCH_CHECKPOINTS names."""
    key: str = ""
    """The entry of the file that holds the weights, where it is not `state_dict`, `model` or the
    file itself."""
    text_model: str = ""
    """Folder with Bio_ClinicalBERT's vocab.txt, which the text encoder needs; nothing: the image
    encoder alone."""
    upsample: Annotated[int, Range(0, 4096)] | None = None
    """Side in pixels that images are enlarged to for pooled and patch features, 0 for not at all;
    none: as the method does it (299 in GLoRIA's and MGCA's ResNets)."""


def find_weights(published: PublishedWeights, settings: PublishedSettings) -> Path:
    """Return the weights file; raise MissingDependencyError, saying where to get it and where to
    put it, where there is none."""
    if settings.weights:
        return _given(published, Path(settings.weights).expanduser())
    home = os.environ.get(ENVIRONMENT, "")
    for name in published.files if home else ():
        if (Path(home).expanduser() / name).is_file():
            return Path(home).expanduser() / name
    raise MissingDependencyError(
        f"weights of '{published.name}' are not here ({' or '.join(published.files)}"
        + (f" in {home}" if home else f"; {ENVIRONMENT} is not set")
        + ").",
        f"Get the file from {published.where}; put it into ${ENVIRONMENT}, or name it: "
        f"{published.name}?weights=PATH.",
    )


def _given(published: PublishedWeights, path: Path) -> Path:
    if path.is_dir():
        inside = [path / name for name in published.files if (path / name).is_file()]
        if not inside:
            raise CheckpointError(
                f"folder {path} has no {' or '.join(published.files)}.", "Name the file itself."
            )
        return inside[0]
    if not path.is_file():
        raise CheckpointError(
            f"checkpoint {path} does not exist.", f"Get it from {published.where}."
        )
    return path


def requested_weights(published: PublishedWeights, request: BackboneRequest) -> Path:
    """Return the file that a request will read."""
    return find_weights(published, requested_settings(request))


def requested_settings(request: BackboneRequest) -> PublishedSettings:
    """Return the settings of a request; a checkpoint given beside them is its weights."""
    settings = override(PublishedSettings(), request.settings)
    if request.checkpoint and not settings.weights:
        settings = replace(settings, weights=str(request.checkpoint))
    return settings


def requested_digest(published: PublishedWeights, request: BackboneRequest) -> str:
    """Return the hash of the file that a request will read, and of the vocabulary its text side
    reads beside it."""
    settings = override(PublishedSettings(), request.settings)
    paths = [find_weights(published, settings)]
    folder = Path(settings.text_model).expanduser()
    vocabulary = folder / "vocab.txt" if folder.is_dir() else folder
    if published.text and settings.text_model and vocabulary.exists():
        paths.append(vocabulary)
    return files_digest(paths)


def requested_architecture(published: PublishedWeights, request: BackboneRequest) -> str:
    """Return the architecture of a published checkpoint, which has this one only; raise
    SettingError where another is asked for."""
    asked = request.architecture
    published_name = published.architecture
    return fixed_architecture(
        published.name, published_name, "" if asked == published.family else asked
    )


def requested_text(published: PublishedWeights, request: BackboneRequest) -> str:
    """Return what a request lacks for the text side of a published checkpoint; "" where it has
    one."""
    if not published.text:
        return published.no_text
    if requested_settings(request).text_model:
        return ""
    return (
        "its tokenizer is missing: give the folder of Bio_ClinicalBERT (vocab.txt) by "
        "backbone.text_model=PATH"
    )


def check_settings(request: BackboneRequest) -> None:
    """Raise SettingError for a setting that no published checkpoint has."""
    override(PublishedSettings(), request.settings)
