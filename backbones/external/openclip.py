"""`open_clip:NAME`: any open_clip model, with its text side."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from backbones.external.encoder import (
    DualBackbone,
    DualEncoder,
    ExternalEncoder,
    apply_input,
    features_of,
    quarters,
    tokens,
)
from backbones.external.settings import OpenClipSettings
from bench.contracts import Backbone, BackboneRequest, Features, InputSpec
from bench.errors import MissingDependencyError, SettingError, UnknownNameError
from bench.progress import default_progress
from bench.registry import suggest
from bench.settings import override


class OpenClipMaps(nn.Module):
    """The image tower of an open_clip model, returning Features: pooled is its embedding's input to
    the text space."""

    def __init__(self, visual: nn.Module) -> None:
        super().__init__()
        self.visual: Any = visual

    def forward(self, images: torch.Tensor) -> Features:
        """Encode normalised images [B, 3, H, W]."""
        found = self.visual.forward_intermediates(
            images, output_fmt="NCHW", normalize_intermediates=True
        )
        maps, pooled = found["image_intermediates"], found["image_features"]
        if maps[0].shape[-2:] != maps[-1].shape[-2:]:
            return features_of(maps, pooled, images.shape[2])
        chosen = tuple(maps[index] for index in quarters(len(maps)))
        return Features(
            pooled, tokens(chosen[-1]), (chosen[-1].shape[2], chosen[-1].shape[3]), chosen
        )


class OpenClipDual(DualEncoder):
    """Both towers and the tokenizer."""

    def __init__(self, model: nn.Module, tokenizer: Any) -> None:
        super().__init__()
        self.model: Any = model
        self.tokenizer = tokenizer

    def image_embedding(self, images: torch.Tensor) -> torch.Tensor:
        """Return image embeddings [B, d]."""
        return self.model.encode_image(images)

    def text_embedding(self, texts: list[str]) -> torch.Tensor:
        """Return text embeddings [T, d]."""
        return self.model.encode_text(
            self.tokenizer(texts).to(next(self.model.parameters()).device)
        )


def build(rest: str, request: BackboneRequest) -> Backbone:
    """Return an open_clip model.

    Raises MissingDependencyError where the package or the weights are absent, SettingError where no
    weights are named.
    """
    settings = override(OpenClipSettings(), request.settings)
    library = _library(rest)
    folder = Path(rest).expanduser()
    name = f"local-dir:{folder.resolve()}" if folder.is_dir() else rest
    model, tokenizer = _create(library, name, settings, request.seed)
    spec = apply_input(_input_spec(model.visual), settings)
    encoder = ExternalEncoder(rest, OpenClipMaps(model.visual), spec, fixed_size=True)
    return DualBackbone(f"open_clip:{rest}", encoder, OpenClipDual(model, tokenizer))


def _library(rest: str) -> Any:
    try:
        return importlib.import_module("open_clip")
    except ImportError as error:
        raise MissingDependencyError(
            f"open_clip:{rest} needs the package open_clip_torch: {error}.",
            "`pip install --no-deps open_clip_torch ftfy regex`.",
        ) from error


def _create(library: Any, name: str, settings: OpenClipSettings, seed: int) -> tuple[Any, Any]:
    if ":" not in name and name not in library.list_models():
        raise UnknownNameError(
            f"open_clip has no model '{name}'.", suggest(name, library.list_models())
        )
    if ":" not in name and not settings.pretrained:
        tags = ", ".join(library.list_pretrained_tags_by_model(name)) or "none are published"
        raise SettingError(
            f"open_clip:{name} does not say which weights.", f"Write ?pretrained=TAG: {tags}."
        )
    tag = None if settings.pretrained in ("none", "") else settings.pretrained
    default_progress().say(
        f"open_clip:{name}: reading it from its file or cache, or downloading it"
    )
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            must = settings.pretrained != "none"
            model = library.create_model(
                name, pretrained=tag, require_pretrained=must, load_weights=must
            )
        return model, library.get_tokenizer(name)
    except (OSError, RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise MissingDependencyError(
            f"open_clip:{name} could not be made: {reason.rstrip('.')}.",
            "Download it on a machine with network access and name its file "
            "(?pretrained=PATH) or folder (open_clip:FOLDER).",
        ) from error


def _input_spec(visual: Any) -> InputSpec:
    config = visual.preprocess_cfg
    size = config["size"][0] if isinstance(config["size"], (tuple, list)) else int(config["size"])
    interpolation: Literal["bilinear", "bicubic"] = (
        "bicubic" if config["interpolation"] == "bicubic" else "bilinear"
    )
    return InputSpec(
        size, size, tuple(config["mean"]), tuple(config["std"]), interpolation=interpolation
    )
