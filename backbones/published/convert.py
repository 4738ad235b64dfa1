"""One-off: keep the tensors of a checkpoint whose other objects are refused.

`python -m backbones.published.convert SOURCE TARGET.safetensors`. No code of the file runs here
either: every foreign object is read as an inert placeholder and dropped.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from backbones.shared.weights.reading import Inert, State, read_weights, state_dict_of
from bench.core.console import guarded
from bench.core.errors import CheckpointError
from bench.core.storage import atomic_path, check_folder

_EVERYTHING = ("",)


def convert(source: Path, target: Path, key: str = "") -> int:
    """Write the tensors of `source` (`state_dict`, `model`, `key`, itself, or a pickled module);
    return how many.

    Raises CheckpointError where it holds no tensors by name, is damaged, or names the operating
    system's functions.
    """
    from safetensors.torch import save_file

    if target.suffix != ".safetensors":
        raise CheckpointError(f"target {target} is not a .safetensors file.", "Name it so.")
    check_folder(target.parent, "output folder", "Choose another target.")
    content = read_weights(source, inert=_EVERYTHING)
    tensors = module_state(content) if _is_module(content) else state_dict_of(content, source, key)
    copies = {name: value.detach().contiguous().clone() for name, value in tensors.items()}
    with atomic_path(target) as temporary:
        save_file(copies, temporary)
    return len(tensors)


def _is_module(content: Any) -> bool:
    return (
        isinstance(content, Inert)
        and isinstance(content.get("state"), Mapping)
        and "_modules" in content["state"]
    )


def module_state(pickled: Mapping[str, Any], prefix: str = "") -> State:
    """Return the state dict of a whole pickled module that was read as placeholders."""
    inside = pickled.get("state") or {}
    tensors = {
        f"{prefix}{k}": v
        for kind in ("_parameters", "_buffers")
        for k, v in (inside.get(kind) or {}).items()
        if v is not None
    }
    for name, child in (inside.get("_modules") or {}).items():
        if isinstance(child, Mapping):
            tensors |= module_state(child, f"{prefix}{name}.")
    return {key: value.detach() for key, value in tensors.items()}


def main(arguments: list[str] | None = None) -> int:
    """Convert one file from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m backbones.published.convert",
        description="Keep the tensors of a checkpoint.",
    )
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path, help="a .safetensors file")
    parser.add_argument("--key", default="", help="the dict in the file that has the weights")
    options = parser.parse_args(arguments)

    def work() -> None:
        """Convert the file and say how many tensors were written."""
        count = convert(options.source, options.target, options.key)
        print(f"{count} tensors written to {options.target}")

    return guarded("convert", work)


if __name__ == "__main__":
    raise SystemExit(main())
