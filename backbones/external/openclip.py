"""`open_clip:NAME`: any open_clip model, with its text side."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property, partial
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
    only_pooled_maps,
    pool_tokens,
    quarters,
    tokens,
)
from backbones.external.hub import check_weight_files, hub_file
from backbones.external.settings import OpenClipSettings
from backbones.external.sources import architecture, weights_paths
from backbones.shared.weights.coverage import Coverage, expected_state, whole
from backbones.shared.weights.values import check_values
from bench.contracts import Backbone, BackboneRequest, Features, InputSpec
from bench.core.cards import read_json_object
from bench.core.errors import (
    CheckpointError,
    MissingDependencyError,
    SettingError,
    UnknownNameError,
)
from bench.core.progress import default_progress
from bench.core.registry import suggest
from bench.core.settings import override
from bench.core.words import cut_words

_TEXT_TOWERS = ("bert", "roberta", "xlm-roberta", "mt5", "m2m_100")
"""Types of transformers models that open_clip uses as text towers."""


class OpenClipMaps(nn.Module):
    """The image tower of an open_clip model, returning Features: pooled is its embedding's input to
    the text space."""

    def __init__(self, visual: nn.Module, pool: str | None = None) -> None:
        super().__init__()
        self.visual: Any = visual
        self.pool = pool

    def forward(self, images: torch.Tensor) -> Features:
        """Encode normalised images [B, 3, H, W]."""
        outputs = self.visual.forward_intermediates(
            images,
            output_fmt="NCHW",
            normalize_intermediates=True,
            output_extra_tokens=self.pool is not None,
        )
        maps = outputs["image_intermediates"]
        pooled = outputs["image_features"]
        if maps[0].shape[-2:] != maps[-1].shape[-2:]:
            only_pooled_maps(self.pool)
            return features_of(maps, pooled, images.shape[2])
        pyramid = tuple(maps[index] for index in quarters(len(maps)))
        patches = tokens(pyramid[-1])
        prefixes = outputs.get("image_intermediates_prefix") or [None]
        first = prefixes[-1][:, 0] if prefixes[-1] is not None else None
        pooled = pool_tokens(self.pool, pooled, first, patches)
        grid = (pyramid[-1].shape[2], pyramid[-1].shape[3])
        return Features(pooled, patches, grid, pyramid)


class OpenClipDual(DualEncoder):
    """Both towers and the tokenizer."""

    def __init__(self, model: nn.Module, load_tokenizer: Callable[[], Any]) -> None:
        super().__init__()
        self.model: Any = model
        self._load_tokenizer = load_tokenizer

    @cached_property
    def tokenizer(self) -> Any:
        """The tokenizer, loaded where the first text is embedded: features need none."""
        return self._load_tokenizer()

    def image_embedding(self, images: torch.Tensor) -> torch.Tensor:
        """Return image embeddings [B, d]."""
        return self.model.encode_image(images)

    def text_embedding(self, texts: list[str]) -> torch.Tensor:
        """Return text embeddings [T, d]."""
        ids = self.tokenizer([cut_words(text) for text in texts])
        return self.model.encode_text(ids.to(next(self.model.parameters()).device))

    def patch_embedding(self, patches: torch.Tensor) -> torch.Tensor | None:
        """Return normalised patch tokens [B, N, D] through the projection of a ViT's class token
        [B, N, d]; None for other towers, and for those that pool by attention."""
        visual = self.model.visual
        projection = getattr(visual, "proj", None)
        by_attention = getattr(visual, "attn_pool", None) is not None
        if not isinstance(projection, torch.Tensor) or by_attention:
            return None
        return patches @ projection


def build(rest: str, request: BackboneRequest) -> Backbone:
    """Return an open_clip model.

    Raises MissingDependencyError where the package or the weights are absent, SettingError where no
    weights are named.
    """
    settings = override(OpenClipSettings(), request.settings)
    folder = Path(rest).expanduser()
    options = text_tower(folder) if folder.is_dir() else {}
    library = _library(rest)
    name = f"local-dir:{folder.resolve()}" if folder.is_dir() else rest
    check_weight_files(weights_paths("open_clip", rest, request))
    model = _create(library, name, settings, request.seed, options)
    spec = apply_input(_input_spec(model.visual), settings)
    architecture_name = architecture("open_clip", rest, request) or rest
    maps = OpenClipMaps(model.visual, settings.pool)
    encoder = ExternalEncoder(architecture_name, maps, spec, fixed_size=True)
    dual = OpenClipDual(model, partial(_tokenizer, library, name))
    return DualBackbone(f"open_clip:{rest}", encoder, dual, _coverage(model, rest, settings))


def _coverage(model: nn.Module, rest: str, settings: OpenClipSettings) -> Coverage | None:
    """Return that all weights come from the file, which open_clip checks itself; raise
    CheckpointError for values no weight has."""
    if settings.pretrained == "none":
        return None
    state = expected_state(model)
    check_values(state, f"open_clip:{rest}")
    resized = f"position embeddings are interpolated to images of {settings.size} px"
    adaptations = (resized,) if settings.size else ()
    return replace(whole(state, settings.pretrained or rest), adaptations=adaptations)


def text_tower(folder: Path) -> dict[str, Any]:
    """Return what open_clip needs to be told of a folder whose text tower is a transformers model:
    where its configuration lies, which it would else fetch by name.

    Looked for in the folder (`config.json`), in a folder of the tower's name inside it, and in the
    hub's cache. Raises MissingDependencyError, saying what to bring, where it is in none.
    """
    path = hub_file(str(folder), "open_clip_config.json")
    if path is None:
        raise MissingDependencyError(
            f"{folder} has no open_clip_config.json.", "It is not a folder of an open_clip model."
        )
    model = read_json_object(path).get("model_cfg")
    text = model.get("text_cfg") if isinstance(model, dict) else None
    if not isinstance(text, dict):
        raise CheckpointError(f"{path} has no model_cfg with a text_cfg.", "Download it again.")
    name = str(text.get("hf_model_name") or "")
    if not name or Path(name).is_dir():
        return {}
    for parent in (folder / name.rpartition("/")[2], folder):
        config = parent / "config.json"
        if config.is_file() and read_json_object(config).get("model_type") in _TEXT_TOWERS:
            inside = {**text, "hf_model_name": str(parent), "hf_model_pretrained": False}
            return {"text_cfg": inside}
    if hub_file(name, "config.json") is not None:
        return {}
    raise MissingDependencyError(
        f"{folder} lacks the configuration of its text tower, {name}.",
        f"Download config.json of {name} and put it into {folder / name.rpartition('/')[2]}/.",
    )


def tagged_file(name: str, tag: str) -> Path | None:
    """Return the file of open_clip's own weights for a tag, downloaded where it is missing; None
    where there is none or it is not to be had."""
    library = _library(name)
    facts = library.get_pretrained_cfg(name, tag)
    try:
        path = library.download_pretrained(facts) if facts else ""
    except (OSError, RuntimeError, ValueError):
        return None
    return Path(path) if path else None


def _tokenizer(library: Any, name: str) -> Any:
    try:
        return library.get_tokenizer(name)
    except (OSError, RuntimeError, ValueError, ImportError) as error:
        raise MissingDependencyError(
            f"the tokenizer of open_clip:{name} could not be made: {_reason(error)}.",
            "Copy its files (tokenizer.json, or vocab.txt) into the folder of the model.",
        ) from error


def _library(rest: str) -> Any:
    try:
        return importlib.import_module("open_clip")
    except ImportError as error:
        raise MissingDependencyError(
            f"open_clip:{rest} needs the package open_clip_torch: {error}.",
            "`pip install --no-deps open_clip_torch ftfy regex`.",
        ) from error


def _create(
    library: Any, name: str, settings: OpenClipSettings, seed: int, options: dict[str, Any]
) -> Any:
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
            return library.create_model(
                name,
                pretrained=tag,
                require_pretrained=must,
                load_weights=must,
                force_image_size=settings.size,
                **options,
            )
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, AssertionError) as error:
        if "loading state_dict" in str(error):
            raise CheckpointError(
                f"the weights of open_clip:{name} do not fill it: {_reason(error)}.",
                "They are of another architecture, renamed or damaged.",
            ) from error
        raise MissingDependencyError(
            f"open_clip:{name} could not be made: {_reason(error)}.",
            "Download it on a machine with network access and name its file "
            "(?pretrained=PATH) or folder (open_clip:FOLDER).",
        ) from error


def _reason(error: BaseException) -> str:
    text = str(error).split("loading state_dict for ")[-1].strip() or type(error).__name__
    return " ".join(text.split())[:300].rstrip(".")


def _input_spec(visual: Any) -> InputSpec:
    config = visual.preprocess_cfg
    size = config["size"][0] if isinstance(config["size"], (tuple, list)) else int(config["size"])
    interpolation: Literal["bilinear", "bicubic"] = (
        "bicubic" if config["interpolation"] == "bicubic" else "bilinear"
    )
    return InputSpec(
        size, size, tuple(config["mean"]), tuple(config["std"]), interpolation=interpolation
    )
