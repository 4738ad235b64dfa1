"""The files of a model on the hub or in a folder of its form: found in the folder, the cache, or
downloaded. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.core.cards import read_json_object
from bench.core.errors import CheckpointError

WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
"""Where weights stand, the first that is there counts; an index names several files."""
_UNREACHABLE: set[tuple[str, str]] = set()
"""Models that could not be reached in this process: waiting for the network once is enough."""
_FLOATS = ("F64", "F32", "F16", "BF16")


def hub_file(source: str, name: str, revision: str = "main") -> Path | None:
    """Return a file of a folder or of a model on the hub, which may be downloaded; None where it is
    not to be had."""
    folder = Path(source).expanduser()
    if folder.is_dir():
        return folder / name if (folder / name).is_file() else None
    from huggingface_hub import hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, RemoteEntryNotFoundError

    cached = try_to_load_from_cache(source, name, revision=revision)
    if isinstance(cached, str):
        return Path(cached)
    if cached is not None or (source, revision) in _UNREACHABLE:
        return None  # the cache knows that the model has no such file
    try:
        return Path(hf_hub_download(source, name, revision=revision))
    except RemoteEntryNotFoundError:
        return None
    except (OSError, ValueError, HfHubHTTPError, HFValidationError):
        _UNREACHABLE.add((source, revision))
        return None


def weight_files(source: str, revision: str = "main") -> list[Path]:
    """Return the files that hold a model's weights, by the library's order of preference."""
    for name in WEIGHTS:
        path = hub_file(source, name, revision)
        if path is None:
            continue
        if path.suffix != ".json":
            return [path]
        shards = sorted(set(_weight_map(path).values()))
        paths = [hub_file(source, shard, revision) for shard in shards]
        return [path, *(shard for shard in paths if shard is not None)]
    return []


def _weight_map(path: Path) -> dict[str, str]:
    content = read_json_object(path)
    shards = content.get("weight_map")
    if not isinstance(shards, dict) or not all(isinstance(shard, str) for shard in shards.values()):
        raise CheckpointError(f"{path} has no weight_map.", "Copy or download it again.")
    return shards


def check_weight_files(paths: Sequence[Path]) -> None:
    """Raise CheckpointError for a file that is damaged, carries code, or holds weights that are no
    floating-point numbers; nothing in it is run."""
    for path in paths:
        if path.suffix == ".safetensors":
            _check_safetensors(path)
        elif path.suffix in (".bin", ".pth", ".pt"):
            _check_pickle(path)


def _check_safetensors(path: Path) -> None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            types = {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(
            f"checkpoint {path} is damaged: {str(error).splitlines()[0].rstrip('.')}.",
            "Copy or download it again.",
        ) from error
    for name, kind in types.items():
        if name.endswith(("weight", "bias")) and kind not in _FLOATS:
            raise CheckpointError(
                f"checkpoint {path}: {name} holds {kind} numbers, floating-point weights are "
                "needed.",
                "Quantized and complex weights are not read: save them as float32.",
            )


def _check_pickle(path: Path) -> None:
    from backbones.shared.weights.reading import read_weights, state_dict_of
    from backbones.shared.weights.values import check_types

    state = state_dict_of(read_weights(path), path)
    check_types({key: state[key] for key in state if key.endswith(("weight", "bias"))}, path)
