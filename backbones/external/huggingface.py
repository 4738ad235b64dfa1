"""`hf:NAME_OR_FOLDER`: image encoders and CLIP models of transformers."""

from __future__ import annotations

import importlib.util
import inspect
import math
from collections.abc import Callable, Collection, Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn
from transformers import AutoConfig, AutoModel, AutoTokenizer
from transformers.utils import cached_file, logging

from backbones.external.encoder import (
    DualBackbone,
    DualEncoder,
    ExternalBackbone,
    ExternalEncoder,
    apply_input,
    features_of,
    only_pooled_maps,
    outputs_of,
    pool_tokens,
    quarters,
)
from backbones.external.hub import check_weight_files, hub_file, weight_files
from backbones.external.settings import HubSettings, InputSettings
from backbones.external.sources import architecture
from backbones.shared.weights.coverage import Coverage, check_depth, expected_state, idle_weights
from backbones.shared.weights.values import check_values
from bench.contracts import Backbone, BackboneRequest, Features, InputSpec
from bench.core.cards import read_json_object
from bench.core.errors import CheckpointError, MissingDependencyError
from bench.core.progress import default_progress
from bench.core.settings import override
from bench.core.words import cut_words

_TOKENIZERS = ("tokenizer.json", "vocab.json", "vocab.txt", "spiece.model", "tokenizer.model")
"""Files of which a tokenizer needs one; without any, transformers makes one without words."""


class HubMaps(nn.Module):
    """The image encoder of a transformers model, returning Features."""

    def __init__(self, vision: nn.Module, dual: bool, pool: str | None = None) -> None:
        super().__init__()
        self.vision: Any = vision
        self.pool = pool
        self.dual = dual
        names = inspect.signature(vision.forward).parameters
        self.options: dict[str, Any] = (
            {"interpolate_pos_encoding": True} if "interpolate_pos_encoding" in names else {}
        )

    def forward(self, images: torch.Tensor) -> Features:
        """Encode normalised images [B, 3, H, W]."""
        outputs = self.vision(
            pixel_values=images, output_hidden_states=True, return_dict=True, **self.options
        )
        maps = getattr(outputs, "reshaped_hidden_states", None) or outputs.hidden_states
        if maps[-1].ndim == 4:
            only_pooled_maps(self.pool)
            pooled = self._pooler(outputs, maps[-1].mean((2, 3)))
            return features_of(maps, pooled, images.shape[2])
        return self._tokens(outputs, images)

    def _tokens(self, outputs: Any, images: torch.Tensor) -> Features:
        """Return the Features of a ViT: class token (CLIP: its pooled output), normalised patches,
        four normalised blocks."""
        patch = self._patch()
        grid = (images.shape[2] // patch, images.shape[3] // patch)
        count = grid[0] * grid[1]
        last = self._norm(outputs.last_hidden_state) if self.dual else outputs.last_hidden_state
        first = last[:, 0] if last.shape[1] > count else last.mean(1)
        pooled = self._pooler(outputs, first) if self.dual or last.shape[1] == count else first
        blocks = [
            self._norm(outputs.hidden_states[index + 1][:, -count:])
            for index in quarters(len(outputs.hidden_states) - 1)
        ]
        maps = tuple(block.transpose(1, 2).unflatten(2, grid) for block in blocks)
        patches = last[:, -count:]
        token = last[:, 0] if last.shape[1] > count else None
        return Features(pool_tokens(self.pool, pooled, token, patches), patches, grid, maps)

    @staticmethod
    def _pooler(outputs: Any, otherwise: torch.Tensor) -> torch.Tensor:
        pooled = getattr(outputs, "pooler_output", None)
        return otherwise if pooled is None else pooled.flatten(1)

    def _norm(self, states: torch.Tensor) -> torch.Tensor:
        for name in ("layernorm", "post_layernorm", "norm"):
            layer = getattr(self.vision, name, None)
            if isinstance(layer, nn.Module):
                return layer(states)
        return states

    def _patch(self) -> int:
        size = self.vision.config.patch_size
        return int(size if isinstance(size, int) else size[0])


class HubDual(DualEncoder):
    """Both sides of a CLIP-like model with its tokenizer."""

    def __init__(self, model: nn.Module, load_tokenizer: Callable[[], Any]) -> None:
        super().__init__()
        self.model: Any = model
        self._load_tokenizer = load_tokenizer
        config: Any = model.config
        text = getattr(config, "text_config", config)
        self.positions = int(getattr(text, "max_position_embeddings", 512))
        self.pieces = int(text.vocab_size)
        self.padding = "max_length" if str(config.model_type).startswith("siglip") else "longest"

    @cached_property
    def tokenizer(self) -> Any:
        """The tokenizer, loaded where the first text is embedded: features need none."""
        tokenizer = self._load_tokenizer()
        if len(tokenizer) > self.pieces:
            raise CheckpointError(
                f"the tokenizer of {type(self.model).__name__} has {len(tokenizer)} pieces, its "
                f"text encoder {self.pieces}.",
                "Copy the tokenizer that belongs to these weights.",
            )
        return tokenizer

    @property
    def length(self) -> int:
        """Return how many tokens of a text are read."""
        return min(self.positions, int(self.tokenizer.model_max_length))

    def image_embedding(self, images: torch.Tensor) -> torch.Tensor:
        """Return image embeddings [B, d]."""
        return _tensor(self.model.get_image_features(pixel_values=images))

    def text_embedding(self, texts: list[str]) -> torch.Tensor:
        """Return text embeddings [T, d]; texts are cut at the length the model takes."""
        encoded = self.tokenizer(
            [cut_words(text) for text in texts],
            padding=self.padding,
            truncation=True,
            max_length=self.length,
            return_tensors="pt",
        )
        device = next(self.model.parameters()).device
        return _tensor(
            self.model.get_text_features(
                **{name: value.to(device) for name, value in encoded.items()}
            )
        )

    def patch_embedding(self, patches: torch.Tensor) -> torch.Tensor | None:
        """Return normalised patch tokens [B, N, D] through CLIP's projection of its class token [B,
        N, d]; None for models that pool by attention."""
        projection = getattr(self.model, "visual_projection", None)
        pooled = getattr(self.model.vision_model, "post_layernorm", None)
        if not isinstance(projection, nn.Linear) or pooled is None:
            return None
        return projection(patches)


def _tensor(output: Any) -> torch.Tensor:
    """Return the embedding: transformers 5 wraps it in an output object."""
    return output if isinstance(output, torch.Tensor) else output.pooler_output


def build(rest: str, request: BackboneRequest) -> Backbone:
    """Return a transformers model.

    Raises MissingDependencyError where the name cannot be downloaded or the folder lacks a file,
    CheckpointError where the weights leave a part of it that is used unfilled, or where the model
    reads no images.
    """
    settings = override(HubSettings(), request.settings)
    source = _source(rest)
    model, facts = _load(source, settings)
    dual = hasattr(model, "get_image_features") and hasattr(model, "vision_model")
    vision = model.vision_model if dual else model
    _check_reads_images(source, vision)
    maps = HubMaps(vision, dual, settings.pool).eval()
    spec = apply_input(_input_spec(source, settings), settings)
    coverage = _coverage(source, model, facts, maps, spec.size)
    name = architecture("hf", rest, request) or type(model).__name__
    encoder = ExternalEncoder(name, maps, spec)
    if not dual:
        return ExternalBackbone(f"hf:{rest}", encoder, coverage)
    dual_encoder = HubDual(model, partial(_tokenizer, source, settings.revision))
    return DualBackbone(f"hf:{rest}", encoder, dual_encoder, coverage)


def _tokenizer(source: str, revision: str) -> Any:
    """Return a model's tokenizer; raise MissingDependencyError, saying what to install, for one
    kept as a sentencepiece model alone."""
    pieces = hub_file(source, "spiece.model", revision)
    whole = hub_file(source, "tokenizer.json", revision)
    if not any(hub_file(source, name, revision) is not None for name in _TOKENIZERS):
        raise MissingDependencyError(
            f"hf:{source} has no tokenizer: none of {', '.join(_TOKENIZERS)}.",
            "Copy its files there; tasks without texts need none.",
        )
    absent = [name for name in ("sentencepiece", "google.protobuf") if not _installed(name)]
    if pieces is not None and whole is None and absent:
        raise MissingDependencyError(
            f"hf:{source}: its tokenizer ({pieces.name}) needs the packages sentencepiece and "
            "protobuf, which are not installed.",
            "`pip install 'place-bench[hf]'` (or `pip install sentencepiece protobuf`).",
        )
    return _fetched(source, lambda: AutoTokenizer.from_pretrained(source, revision=revision))


def _installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:  # of the package around it
        return False


def _check_reads_images(source: str, model: nn.Module) -> None:
    """Raise CheckpointError for a model without an image side."""
    if "pixel_values" not in inspect.signature(model.forward).parameters:
        raise CheckpointError(
            f"hf:{source} is a {type(model).__name__}, which reads no images.",
            "Name an image encoder, or a model with an image and a text side such as CLIP.",
        )


def _source(rest: str) -> str:
    folder = Path(rest).expanduser()
    looks_local = rest.startswith(("/", ".", "~")) or rest.count("/") > 1
    if looks_local and not folder.is_dir():
        raise MissingDependencyError(
            f"folder {folder} does not exist.", "Give a folder with config.json and the weights."
        )
    return str(folder) if folder.is_dir() else rest


def _fetched(source: str, load: Any) -> Any:
    try:
        return load()
    except (
        *(OSError, ValueError, LookupError, ImportError, TypeError, AttributeError),
        *(RuntimeError, RecursionError),
    ) as error:
        reason = (
            str(error).strip().splitlines()[0].rstrip(".")
            if str(error).strip()
            else type(error).__name__
        )
        raise MissingDependencyError(
            f"hf:{source} could not be loaded: {reason}.",
            f"On a machine with network access run `huggingface-cli download {source}`, then "
            "copy $HF_HOME here, or "
            f"copy the model's "
            "folder and name it: hf:FOLDER.",
        ) from error


def _load(source: str, settings: HubSettings) -> tuple[Any, Mapping[str, Any]]:
    """Return the model in single precision, and what transformers says of its loading."""
    default_progress().say(
        f"hf:{source}: reading it from its folder or the cache of the hub, or downloading it"
    )
    options: dict[str, Any] = {"revision": settings.revision, "trust_remote_code": False}
    if (Path(source) / "config.json").is_file():
        read_json_object(Path(source) / "config.json")
    config = _fetched(source, lambda: AutoConfig.from_pretrained(source, **options))
    check_weight_files(weight_files(source, settings.revision))
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # its report of new weights is ours to judge
    try:
        return _fetched(
            source,
            lambda: AutoModel.from_pretrained(
                source, config=config, dtype=torch.float32, output_loading_info=True, **options
            ),
        )
    finally:
        logging.set_verbosity(verbosity)


def _coverage(
    source: str, model: nn.Module, facts: Mapping[str, Any], maps: HubMaps, size: int
) -> Coverage:
    """Return the coverage transformers reports; raise CheckpointError where a weight that the
    forward pass uses is missing, or the file has further layers."""
    expected = expected_state(model)
    wrong = [
        item[0] if isinstance(item, (tuple, list)) else item
        for item in facts.get("mismatched_keys", ())
    ]
    absent = {key for key in {*facts["missing_keys"], *wrong} if key in expected}
    check_values({key: expected[key] for key in expected if key not in absent}, f"hf:{source}")
    idle = _idle(absent, maps, size) if absent else set()
    expected = {key: value for key, value in expected.items() if key not in idle}
    missing = tuple(sorted(absent - idle))
    filled = {key: value.numel() for key, value in expected.items() if key not in absent}
    unused = tuple(sorted(facts.get("unexpected_keys", ())))
    coverage = Coverage(
        len(filled),
        len(expected),
        sum(filled.values()),
        sum(value.numel() for value in expected.values()),
        missing,
        len(unused),
        unused,
        source=source,
        idle=tuple(sorted(idle)),
    )
    if missing:
        raise CheckpointError(
            f"hf:{source} fills {math.floor(100 * coverage.fraction)}% of {type(model).__name__}: "
            f"{coverage}.",
            "Another model? Every weight must come from the file.",
        )
    check_depth(unused, expected, (), f"hf:{source}", type(model).__name__)
    default_progress().say(f"hf:{source}: {coverage}")
    return coverage


def _idle(names: Collection[str], maps: HubMaps, size: int) -> set[str]:
    """Return the weights that neither features nor embeddings depend on; of a text side only the
    temperature."""
    prefix = "vision_model." if maps.dual else ""
    inside = {name.removeprefix(prefix) for name in names if name.startswith(prefix)}
    idle = idle_weights(maps.vision, inside, lambda: outputs_of(maps, size)) if inside else set()
    return {f"{prefix}{name}" for name in idle} | ({"logit_scale", "logit_bias"} & set(names))


def _input_spec(source: str, settings: HubSettings) -> InputSpec:
    """Return the input contract in the model's `preprocessor_config.json` (or
    `processor_config.json`)."""
    for name in ("preprocessor_config.json", "processor_config.json"):
        path = _fetched(source, lambda name=name: _cached(source, name, settings))
        if path is not None:
            config = read_json_object(Path(path))
            return parse_preprocessor(source, config.get("image_processor", config), settings)
    if settings.size and settings.mean and settings.std:
        return InputSpec(settings.size, settings.resize or settings.size)
    raise MissingDependencyError(
        f"hf:{source} has no preprocessor_config.json, which says how its images are normalised.",
        "Copy it there, or write hf:...?size=224&mean=0.5&std=0.5.",
    )


def _cached(source: str, name: str, settings: HubSettings) -> str | None:
    return cached_file(
        source,
        name,
        revision=settings.revision,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )


def parse_preprocessor(
    source: str, config: Mapping[str, Any], settings: InputSettings
) -> InputSpec:
    """Return the input contract of an image processor's configuration, `settings` standing in for
    what it leaves out.

    A processor that does not normalise feeds intensities of 0..1. Raise MissingDependencyError for
    one that leaves size, mean or std open.
    """
    normalised = config.get("do_normalize", True)
    stated = {
        "size": config.get("size", settings.size),
        "mean": config.get("image_mean", settings.mean) if normalised else (0.0,) * 3,
        "std": config.get("image_std", settings.std) if normalised else (1.0,) * 3,
    }
    missing = [name for name, value in stated.items() if value is None]
    if missing:
        raise MissingDependencyError(
            f"hf:{source}: its image processor does not state {', '.join(missing)}.",
            "Look it up in the model's card and write e.g. hf:...?size=224&mean=0.5&std=0.5.",
        )
    resize = _pixels(stated["size"])
    size = (
        _pixels(config["crop_size"])
        if config.get("do_center_crop") and "crop_size" in config
        else resize
    )
    interpolation: Literal["bicubic", "bilinear"] = (
        "bicubic" if config.get("resample") == 3 else "bilinear"
    )
    return InputSpec(
        size,
        max(size, resize),
        tuple(stated["mean"]),
        tuple(stated["std"]),
        interpolation=interpolation,
    )


def _pixels(size: Any) -> int:
    return int(
        size
        if isinstance(size, (int, float))
        else size.get("shortest_edge") or size.get("height") or size["longest_edge"]
    )
