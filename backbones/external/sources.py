"""What an external encoder is read from, before it is built: its files, their hash, its
architecture. Imports torch only where a library has to be asked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from backbones.external.hub import hub_file, weight_files
from backbones.shared.encoders.architectures import fixed_architecture
from bench.contracts import BackboneRequest
from bench.core.cards import read_json_object
from bench.core.errors import CheckpointError, MissingDependencyError
from bench.core.hashing import files_digest

_DESCRIPTIONS = (
    "config.json",
    "open_clip_config.json",
    "preprocessor_config.json",
    "processor_config.json",
)
"""Files beside the weights that decide what the network computes and how images come to it."""
_TEXT = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "spiece.model",
)
"""The same of its text side."""
_OPEN_CLIP_WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
_SUFFIXES = (".safetensors", ".bin", ".pth", ".pt")
_HUB = ("hf-hub:", "hf_hub:")


def architecture(scheme: str, rest: str, request: BackboneRequest) -> str:
    """Return the architecture that will be loaded, "" where only the library knows; raise
    SettingError where another one was asked for."""
    loaded = _ARCHITECTURES[scheme](rest, request)
    return fixed_architecture(f"{scheme}:{rest}", loaded, request.architecture)


def weights_file(scheme: str, rest: str, request: BackboneRequest) -> Path | None:
    """Return the local file an external encoder is read from; None where a library keeps it in a
    cache of its own."""
    named = _given(scheme, rest, request)
    if named is not None:
        return named
    folder = Path(rest).expanduser()
    names = ("model.safetensors", "pytorch_model.bin", *_OPEN_CLIP_WEIGHTS)
    inside = [folder / name for name in names if (folder / name).is_file()]
    return inside[0] if inside else None


def weights_digest(scheme: str, rest: str, request: BackboneRequest) -> str:
    """Return 16 hex digits of everything an external encoder is read from: the file that was named,
    or the weights of a folder or of the hub with the files that describe them; "" for random
    weights.

    Raises CheckpointError where a file that was named is missing or is no regular file.
    """
    return files_digest(weights_paths(scheme, rest, request))


def weights_paths(scheme: str, rest: str, request: BackboneRequest) -> list[Path]:
    """Return all files that decide what an external encoder computes; none for random weights."""
    named = _given(scheme, rest, request)
    return _FILES[scheme](rest, request) if named is None else [_existing(named)]


def _given(scheme: str, rest: str, request: BackboneRequest) -> Path | None:
    """Return the weights file that the user named."""
    if scheme == "file":
        return Path(rest).expanduser()
    if request.settings.get("weights"):
        return Path(request.settings["weights"]).expanduser()
    if scheme == "open_clip":
        named = Path(request.settings.get("pretrained", "")).expanduser()
        looks_local = named.is_file() or named.suffix in _SUFFIXES
        return named if looks_local else None
    return None


def _existing(path: Path) -> Path:
    if not path.exists():
        raise CheckpointError(
            f"checkpoint {path} does not exist.", "Give the path of a weights file."
        )
    return path


def _described(source: str, weights: list[Path], revision: str = "main") -> list[Path]:
    """Return weights with what describes them; of a folder its text side too, which on the hub is
    fetched only when a task needs it."""
    if not weights:
        return []
    names = (*_DESCRIPTIONS, *_TEXT) if Path(source).expanduser().is_dir() else _DESCRIPTIONS
    descriptions = [hub_file(source, name, revision) for name in names]
    return [*weights, *(path for path in descriptions if path is not None)]


def _hf_files(rest: str, request: BackboneRequest) -> list[Path]:
    revision = request.settings.get("revision", "main")
    return _described(rest, _had(f"hf:{rest}", rest, revision), revision)


def _had(name: str, source: str, revision: str = "main") -> list[Path]:
    """Return the weights of a folder or of a model on the hub; raise MissingDependencyError, saying
    how to bring them, where the hub's are not to be had."""
    paths = weight_files(source, revision)
    if not paths and not Path(source).expanduser().is_dir():
        raise MissingDependencyError(
            f"{name}: its weights are not on this machine and cannot be downloaded.",
            f"On a machine with network access run `huggingface-cli download {source}`, then copy "
            "$HF_HOME here, or copy the model's folder and name it.",
        )
    return paths


def _timm_files(rest: str, request: BackboneRequest) -> list[Path]:
    if request.settings.get("pretrained", "true").lower() in ("false", "0", "no", "off"):
        return []
    if Path(rest).expanduser().is_dir():
        return _described(rest, weight_files(rest))
    if rest.startswith(_HUB):
        name, _, revision = rest.partition(":")[2].partition("@")
        weights = _had(f"timm:{rest}", name, revision or "main")
        return _described(name, weights, revision or "main")
    from timm.models import get_pretrained_cfg, is_model

    facts = get_pretrained_cfg(rest) if is_model(rest.partition(".")[0]) else None
    if facts is None or not facts.hf_hub_id:
        return []
    name = str(facts.hf_hub_id)
    if facts.hf_hub_filename:
        path = hub_file(name, str(facts.hf_hub_filename))
        return [path] if path is not None else []
    return _had(f"timm:{rest}", name if name.rstrip("/") != "timm" else f"timm/{rest}")


def _open_clip_files(rest: str, request: BackboneRequest) -> list[Path]:
    pretrained = request.settings.get("pretrained", "")
    if pretrained == "none":
        return []
    source = rest.partition(":")[2] if rest.startswith(_HUB) else rest
    if source != rest or Path(rest).expanduser().is_dir():
        return _described(source, _open_clip_weights(source))
    return _open_clip_tag(rest, pretrained)


def _open_clip_weights(source: str) -> list[Path]:
    """Return the weights of a folder, whatever their name, or of a model on the hub."""
    folder = Path(source).expanduser()
    if folder.is_dir():
        return sorted(path for path in folder.iterdir() if path.suffix in _SUFFIXES)
    paths = [hub_file(source, name) for name in _OPEN_CLIP_WEIGHTS]
    return [path for path in paths if path is not None][:1] or weight_files(source)


def _open_clip_tag(name: str, tag: str) -> list[Path]:
    """Return the file open_clip has, or fetches, for a tag of its own weights."""
    from backbones.external.openclip import tagged_file

    path = tagged_file(name, tag)
    return [path] if path is not None else []


def _xrayvision_files(rest: str, request: BackboneRequest) -> list[Path]:
    from backbones.external.xrayvision import weights_path

    return [weights_path(rest)]


def _timm_architecture(rest: str, request: BackboneRequest) -> str:
    if rest.startswith(_HUB):
        name, _, revision = rest.partition(":")[2].partition("@")
        return _stated(hub_file(name, "config.json", revision or "main"), "architecture")
    if Path(rest).expanduser().is_dir():
        return _stated(hub_file(rest, "config.json"), "architecture")
    return rest.partition(".")[0]


def _hf_architecture(rest: str, request: BackboneRequest) -> str:
    revision = request.settings.get("revision", "main")
    return _stated(hub_file(rest, "config.json", revision), "model_type")


def _open_clip_architecture(rest: str, request: BackboneRequest) -> str:
    if not rest.startswith(_HUB) and not Path(rest).expanduser().is_dir():
        return rest
    source = rest.partition(":")[2] if rest.startswith(_HUB) else rest
    path = hub_file(source, "open_clip_config.json")
    inside: Any = read_json_object(path) if path is not None else {}
    for name in ("model_cfg", "vision_cfg"):
        inside = inside.get(name)
        if not isinstance(inside, dict):
            return ""
    return str(inside.get("timm_model_name") or "")


def _stated(path: Path | None, key: str) -> str:
    """Return a word of a JSON file; "" where file or word is absent."""
    value = read_json_object(path).get(key) if path is not None else ""
    return value if isinstance(value, str) else ""


_ARCHITECTURES: dict[str, Callable[[str, BackboneRequest], str]] = {
    "timm": _timm_architecture,
    "hf": _hf_architecture,
    "torchxrayvision": lambda rest, request: rest.partition("-")[0],
    "open_clip": _open_clip_architecture,
    "file": lambda rest, request: request.settings.get("arch", "").partition(".")[0],
}
_FILES: dict[str, Callable[[str, BackboneRequest], list[Path]]] = {
    "timm": _timm_files,
    "hf": _hf_files,
    "torchxrayvision": _xrayvision_files,
    "open_clip": _open_clip_files,
}
