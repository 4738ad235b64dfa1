"""`timm:NAME` and `timm:FOLDER`: any timm model as a backbone."""

from __future__ import annotations

import difflib
import inspect
import sys
from collections import Counter
from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import Any, Literal

import timm
import torch
from timm.data import resolve_model_data_config
from timm.models import is_model_in_modules
from torch import nn

from backbones.external.encoder import (
    ExternalBackbone,
    ExternalEncoder,
    apply_input,
    features_of,
    only_pooled_maps,
    outputs_of,
    pool_tokens,
    quarters,
    tokens,
)
from backbones.external.settings import InputSettings, TimmSettings
from backbones.external.sources import architecture
from backbones.shared.weights.adapting import Adaptations, adapt
from backbones.shared.weights.coverage import (
    Coverage,
    expected_state,
    fill,
    idle_weights,
    take_prefix,
    whole,
)
from backbones.shared.weights.reading import State, read_weights, state_dict_of
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
from bench.core.settings import override

_ANY_SIZE = {"vision_transformer", "deit", "eva"}
"""Modules of timm whose models interpolate their positions while running."""
_FILTERS = (
    "checkpoint_filter_fn",
    "checkpoint_filter_fn_encoder",
    "_filter_fn",
    "_filter_torchvision_pretrained",
)
"""What timm's modules call their function for older and foreign layouts of a checkpoint."""


class TimmMaps(nn.Module):
    """A timm model that returns Features."""

    def __init__(self, model: nn.Module, pool: str | None = None) -> None:
        super().__init__()
        self.model: Any = model
        self.pool = pool
        self.indices: list[int] | None = None
        self.prefix = int(getattr(model, "num_prefix_tokens", 0))
        if not hasattr(model, "forward_intermediates"):
            raise SettingError(
                f"timm's {type(model).__name__} gives no intermediate maps.",
                "Choose another model.",
            )

    def forward(self, images: torch.Tensor) -> Features:
        """Encode normalised images [B, 3, H, W]."""
        options = {"norm": True} if self._is_plain() else {}
        last, maps = self.model.forward_intermediates(
            images, indices=self.indices, output_fmt="NCHW", **options
        )
        pooled = self.model.forward_head(last, pre_logits=True).flatten(1)
        if not self._is_plain():
            only_pooled_maps(self.pool)
            return features_of(maps, pooled, images.shape[2])
        patches = last[:, self.prefix :] if last.ndim == 3 else tokens(maps[-1])
        first = last[:, 0] if last.ndim == 3 and self.prefix else None
        pooled = pool_tokens(self.pool, pooled, first, patches)
        grid = (maps[-1].shape[2], maps[-1].shape[3])
        return Features(pooled, patches, grid, tuple(maps))

    def _is_plain(self) -> bool:
        """Tell whether all blocks work on one grid, as in a ViT; then four of them make the
        pyramid."""
        if (
            self.indices is None
            and hasattr(self.model, "blocks")
            and hasattr(self.model, "patch_embed")
        ):
            self.indices = quarters(len(self.model.blocks))
        return self.indices is not None


def build(rest: str, request: BackboneRequest) -> Backbone:
    """Return a timm model with pre-trained weights.

    Raises UnknownNameError for a name timm does not know, MissingDependencyError where its weights
    cannot be had here, CheckpointError for a file that does not fill it.
    """
    settings = override(TimmSettings(), request.settings)
    folder = Path(rest).expanduser()
    name = f"local-dir:{folder.resolve()}" if folder.is_dir() else rest
    weights = _weights(folder, settings)
    model, coverage = create(name, settings, weights, request.seed)
    spec = apply_input(input_spec(model), settings)
    architecture_name = architecture("timm", rest, request)
    encoder = ExternalEncoder(
        architecture_name, TimmMaps(model, settings.pool), spec, fixed_size=takes_one_size(model)
    )
    return ExternalBackbone(f"timm:{rest}", encoder, coverage)


def _weights(folder: Path, settings: TimmSettings) -> Path | None:
    if settings.weights:
        return Path(settings.weights).expanduser()
    if not folder.is_dir() or not settings.pretrained:
        return None
    names = [
        name for name in ("model.safetensors", "pytorch_model.bin") if (folder / name).is_file()
    ]
    if not names:
        raise MissingDependencyError(
            f"{folder} has no model.safetensors or pytorch_model.bin.", "Copy the weights there."
        )
    return folder / names[0]


def create(
    name: str, settings: TimmSettings, weights: Path | None, seed: int
) -> tuple[nn.Module, Coverage | None]:
    """Return the model and how much of it its weights fill: those of a file of the user's, else
    timm's own, else (pretrained=false) none."""
    _check_name(name)
    if weights is not None:
        if not settings.pretrained:
            raise SettingError(
                f"timm:{name} has both weights and pretrained=false.", "Give one of the two."
            )
        return _from_file(name, settings, weights, seed)
    if settings.pretrained:
        default_progress().say(
            f"timm:{name}: taking its weights from the cache of the hub, or downloading them"
        )
    model = _made(name, settings, seed, pretrained=settings.pretrained)
    if not settings.pretrained:
        return model, None
    state = expected_state(model)
    check_values(state, f"timm:{name}")
    return model, whole(state, f"timm:{name}")


def _made(name: str, settings: InputSettings, seed: int, **options: Any) -> nn.Module:
    """Return a timm model without a classifier, for images of the size that is asked for."""
    options = {"num_classes": 0, **size_options(name, settings), **options}
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = timm.create_model(name, **options)
            if settings.size and takes_one_size(model) and settings.size != _own_size(model):
                torch.manual_seed(seed)
                model = timm.create_model(name, **options, img_size=settings.size)
    except (OSError, RuntimeError, ValueError) as error:
        raise MissingDependencyError(
            f"timm:{name} could not be made: {_reason(error)}.", _how_to_bring(name)
        ) from error
    except (AssertionError, TypeError) as error:
        raise SettingError(
            f"timm:{name} could not be made for images of {settings.size} px: {_reason(error)}.",
            "Leave size out, or give one that its patches and windows divide.",
        ) from error
    return model


def _from_file(
    name: str, settings: TimmSettings, path: Path, seed: int
) -> tuple[nn.Module, Coverage]:
    state = state_dict_of(read_weights(path), path, settings.key)
    encoder_state = take_prefix(state, (settings.prefix,)) if settings.prefix else state
    model = _made(name, settings, seed, pretrained=False)
    fitting, adaptations = convert_state(model, encoder_state)
    if _pools_before_norm(model, fitting):
        model = _made(name, settings, seed, pretrained=False, global_pool="avg")
        fitting, adaptations = convert_state(model, encoder_state)
        adaptations = (
            *adaptations,
            "fc_norm in place of norm: pooled is the normalised mean of the patches",
        )
    return model, fill_with_hint(model, fitting, state, path, name, adaptations)


def _pools_before_norm(model: nn.Module, state: State) -> bool:
    """Tell whether a file has the norm behind the mean (MAE's fine-tuned ViTs) where the model has
    one before it."""
    expected = expected_state(model)
    return "fc_norm.weight" in state and "norm.weight" in expected and "norm.weight" not in state


def convert_state(model: nn.Module, state: State) -> tuple[State, Adaptations]:
    """Return a state dict under the model's own names, by timm's own function for older and foreign
    layouts of the architecture where that fits more of it, and what it changed in words."""
    expected = expected_state(model)
    adapted, adaptations = adapt(state, expected)
    filtered = _filtered(model, adapted)
    if filtered is None or _misfits(filtered, expected) >= _misfits(adapted, expected):
        return state, ()
    module = type(model).__module__.rpartition(".")[2]
    moved = any(key not in adapted for key in filtered)
    renamed = (f"keys renamed by timm ({module})",) if moved else ()
    originals = {id(value) for value in adapted.values()}
    resized = tuple(
        f"{key}: resized by timm from {list(adapted[key].shape)} to {list(value.shape)}"
        for key, value in filtered.items()
        if id(value) not in originals and key in adapted and adapted[key].numel() != value.numel()
    )
    return filtered, (*adaptations, *renamed, *resized)


def _filtered(model: nn.Module, state: State) -> State | None:
    """Return what timm's function for the architecture makes of a state dict; None where it has
    none, cannot read it, or would resample the patch embedding (which is another architecture)."""
    module = sys.modules[type(model).__module__]
    functions = [getattr(module, name) for name in _FILTERS if hasattr(module, name)]
    if not functions or _has_other_patches(model, state):
        return None
    arguments = (dict(state), model)
    takes = len(inspect.signature(functions[0]).parameters)
    try:
        converted = functions[0](*arguments[: min(2, takes)])
    except (RuntimeError, ValueError, KeyError, AttributeError, TypeError, AssertionError):
        return None  # it is no layout of this architecture: `fill` names what is missing
    return {key: value for key, value in converted.items() if isinstance(value, torch.Tensor)}


def _has_other_patches(model: nn.Module, state: State) -> bool:
    projection = getattr(getattr(model, "patch_embed", None), "proj", None)
    size = projection.weight.shape[-2:] if isinstance(projection, nn.Conv2d) else None
    return size is not None and any(
        key.endswith("patch_embed.proj.weight") and value.ndim == 4 and value.shape[-2:] != size
        for key, value in state.items()
    )


def _misfits(state: State, wanted: State) -> int:
    adapted, _ = adapt(state, wanted)
    return sum(
        key not in adapted or adapted[key].shape != value.shape for key, value in wanted.items()
    )


def fill_with_hint(
    model: nn.Module,
    chosen: State,
    state: State,
    path: Path,
    name: str,
    adaptations: Adaptations = (),
) -> Coverage:
    """Fill `model`; where that fails and another prefix would fit better, name it in the error."""
    try:
        return fill(model, chosen, path, name, idle=partial(_idle, model), adaptations=adaptations)
    except CheckpointError as error:
        expected = expected_state(model)
        prefix = _best_prefix(state, expected)
        if prefix is None:
            raise
        if not prefix and chosen is state:
            raise
        raise CheckpointError(str(error.args[0]), f"Its keys fit with prefix={prefix}") from error


def _idle(model: nn.Module, names: Collection[str]) -> set[str]:
    """Return the weights that features of this model do not depend on."""
    maps = TimmMaps(model.eval())
    return idle_weights(model, names, lambda: outputs_of(maps, _own_size(model)))


def _best_prefix(state: State, wanted: State) -> str | None:
    """Return the prefix under which most of the wanted tensors stand in their own shape; None where
    none has half of them."""
    counts: Counter[str] = Counter()
    for key, value in state.items():
        for inner in [key, *_inner(key)]:
            if inner in wanted and wanted[inner].shape == value.shape:
                counts[key.removesuffix(inner)] += 1
    best = max(counts, key=lambda prefix: (counts[prefix], -len(prefix)), default="")
    return best if counts[best] * 2 >= len(wanted) else None


def _inner(key: str) -> list[str]:
    parts = key.split(".")
    return [".".join(parts[start:]) for start in range(1, len(parts))]


def _check_name(name: str) -> None:
    if name.startswith(("local-dir:", "hf-hub:", "hf_hub:")):
        return
    base = name.partition(".")[0]
    if not timm.is_model(base):
        near = difflib.get_close_matches(base, timm.list_models(), n=5, cutoff=0.3)
        raise UnknownNameError(
            f"timm has no model '{name}'.", f"Did you mean {' or '.join(near)}?" if near else ""
        )


def size_options(name: str, settings: InputSettings) -> dict[str, Any]:
    """Return the arguments that let a ViT take images of any size (positions interpolated)."""
    plain = name.startswith(("local-dir:", "hf-hub:", "hf_hub:")) or is_model_in_modules(
        name.partition(".")[0], _ANY_SIZE
    )
    return {"dynamic_img_size": True} if plain and _is_vit(name) else {}


def _is_vit(name: str) -> bool:
    if not name.startswith("local-dir:"):
        return not name.startswith(("hf-hub:", "hf_hub:"))
    config = Path(name.removeprefix("local-dir:")) / "config.json"
    if not config.is_file():
        raise MissingDependencyError(
            f"{config.parent} has no config.json.", "It is not a folder of a timm model."
        )
    return is_model_in_modules(str(read_json_object(config).get("architecture", "")), _ANY_SIZE)


def takes_one_size(model: nn.Module) -> bool:
    """Tell whether a model takes images of one size only."""
    if getattr(model, "dynamic_img_size", False):
        return False
    patches = getattr(model, "patch_embed", None)
    return bool(getattr(patches, "img_size", None)) and bool(
        getattr(patches, "strict_img_size", True)
    )


def _own_size(model: nn.Module) -> int:
    """Return the side of the images a model was made for."""
    made = getattr(getattr(model, "patch_embed", None), "img_size", None)
    return int(made[0]) if made else int(resolve_model_data_config(model)["input_size"][-1])


def input_spec(model: nn.Module) -> InputSpec:
    """Return the input contract in the model's own configuration."""
    config = resolve_model_data_config(model)
    size = int(config["input_size"][-1])
    interpolation: Literal["bilinear", "bicubic"] = (
        "bicubic" if config["interpolation"] == "bicubic" else "bilinear"
    )
    resize = max(size, round(size / float(config["crop_pct"])))
    return InputSpec(
        size, resize, tuple(config["mean"]), tuple(config["std"]), interpolation=interpolation
    )


def _reason(error: BaseException) -> str:
    return (
        f"{type(error).__name__}: "
        f"{str(error).strip().splitlines()[0] if str(error).strip() else ''}"
    ).rstrip(".: ")


def _how_to_bring(name: str) -> str:
    return (
        "Download it on a machine with network access (`huggingface-cli download "
        f"timm/{name}`) and copy $HF_HOME "
        f"here, or give its "
        f"folder (timm:FOLDER) or a weights file (timm:{name}?weights=PATH); random weights "
        "only by ?pretrained=false."
    )
