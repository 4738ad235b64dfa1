"""Read anybody's weights file without running any code in it."""

from __future__ import annotations

import pickle
import pickletools
import re
import struct
import zipfile
from _compat_pickle import IMPORT_MAPPING
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from backbones.shared.weights.legacy import KNOWN, read_legacy
from backbones.shared.weights.values import check_layout
from bench.core.errors import CheckpointError
from bench.core.files import check_archive, open_regular

State = dict[str, torch.Tensor]

HOW_TO_CONVERT = (
    "`python -m backbones.published.convert SOURCE TARGET.safetensors` keeps its tensors and "
    "drops everything else, without "
    "running any of its code."
)
_INERT = (
    *("omegaconf.", "pytorch_lightning.", "lightning.", "lightning_fabric."),
    *("typing.", "collections.", "enum.", "argparse."),
)
"""Modules whose objects stand beside the tensors of published files (settings, call-backs). They
are never imported."""
_HOSTILE = frozenset({"os", "posix", "nt", "sys", "subprocess", "socket", "shutil", "ctypes"})
"""Modules that no weights file has a use for: not even converted."""
_OTHER_TENSORS = (
    r"torch\.(\w+|_utils\._rebuild_\w+|_tensor\._rebuild_\w+|\w+\._get_layout|storage\.\w+)$"
)
"""What torch writes for sparse, quantized, complex and other tensors."""
_LEGACY_PICKLES = 4
"""Magic number, protocol, system, and the object itself."""
_INERT_NAMES = frozenset(
    {
        *(
            f"builtins.{name}"
            for name in (
                "dict",
                "list",
                "set",
                "tuple",
                "int",
                "float",
                "str",
                "bool",
                "bytes",
                "object",
            )
        ),
        *(
            "copyreg._reconstructor",
            "operator.getitem",
            "_operator.getitem",
            "functools.partial",
            "_codecs.encode",
        ),
        *(
            "pathlib.PosixPath",
            "pathlib.WindowsPath",
            "pathlib.Path",
            "numpy.dtype",
            "numpy.ndarray",
        ),
        *(
            f"numpy.{core}.multiarray.{name}"
            for core in ("core", "_core")
            for name in ("scalar", "_reconstruct")
        ),
    }
)
"""Names that the settings of published files use; they too are replaced by placeholders."""


_DAMAGES = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
    zipfile.BadZipFile,
)
"""What reading a damaged file raises, in torch and in Python's pickle."""


class Inert(dict):
    """What an object of an unknown class is read as: it holds what the file says of it and does
    nothing."""

    def __hash__(self) -> int:  # type: ignore[override]
        """Let it stand as a key, which a dict may not."""
        return id(self)

    def __new__(cls, *arguments: Any, **named: Any) -> Inert:
        """Make an empty one, whatever the file passes."""
        return super().__new__(cls)

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__()

    def __setstate__(self, state: Any) -> None:
        """Keep the state of the pickled object under "state"; call nothing."""
        dict.__setitem__(self, "state", state)


def read_weights(path: Path, inert: Sequence[str] = ()) -> Any:
    """Return what a checkpoint holds: safetensors, or a torch file read with `weights_only=True`.

    Settings objects beside the tensors (OmegaConf, Lightning; more modules by `inert`) are read as
    `Inert` placeholders: their classes are not imported and nothing of theirs is called. Raises
    CheckpointError for a missing, damaged or code-carrying file.
    """
    if not path.exists():
        raise CheckpointError(
            f"checkpoint {path} does not exist.", "Give the path of a weights file."
        )
    with open_regular(path, "checkpoint", CheckpointError):
        pass  # no pipe, device or directory, which could be read for ever
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    try:
        zipped = zipfile.is_zipfile(path)
        if zipped:
            check_archive(path, "checkpoint", CheckpointError, stored=True)
        placeholders = _placeholders(path, (*_INERT, *inert))
        if not zipped:
            return read_legacy(path, Inert)
        with safe_globals(placeholders):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"checkpoint {path} holds more than tensors: {_first_line(error)}.", HOW_TO_CONVERT
        ) from error
    except _DAMAGES as error:
        raise CheckpointError(
            f"checkpoint {path} is damaged: {_first_line(error)}.", "Copy or download it again."
        ) from error


def _read_safetensors(path: Path) -> State:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(
            f"checkpoint {path} is damaged: {_first_line(error)}.", "Copy or download it again."
        ) from error


def _placeholders(path: Path, modules: Sequence[str]) -> list[Any]:
    """Return an inert class for every foreign name in the file; raise CheckpointError for a name
    that settings do not need."""
    foreign = (
        get_unsafe_globals_in_checkpoint(path)
        if zipfile.is_zipfile(path)
        else _names_in_pickles(path)
    )
    hostile = sorted(name for name in foreign if name.partition(".")[0] in _HOSTILE)
    if hostile:
        raise CheckpointError(
            f"checkpoint {path} is hostile: it names {', '.join(hostile)}.", "Do not use it."
        )
    code = sorted(
        name for name in foreign if name not in _INERT_NAMES and not name.startswith(tuple(modules))
    )
    if code and all(re.match(_OTHER_TENSORS, name) for name in code):
        raise CheckpointError(
            f"checkpoint {path} holds tensors of a kind that is not read here: it names "
            f"{', '.join(code[:5])}.",
            "Save a state dict of dense floating-point tensors, with torch's newer file format.",
        )
    if code:
        raise CheckpointError(
            f"checkpoint {path} is a pickle that carries code: it names {', '.join(code[:5])}.",
            HOW_TO_CONVERT,
        )
    return [(type(name.rpartition(".")[2], (Inert,), {}), name) for name in foreign]


def _names_in_pickles(path: Path) -> list[str]:
    """Return the foreign names in a file of the format before torch 1.6: pickles one after another,
    then the numbers."""
    names: set[str] = set()
    with path.open("rb") as stream:
        for _ in range(_LEGACY_PICKLES):
            for operation, argument, _position in pickletools.genops(stream):
                if operation.name == "GLOBAL":
                    module, _, name = str(argument).partition(" ")
                    names.add(
                        f"{IMPORT_MAPPING.get(module, module)}.{name}"
                    )  # protocol 2 writes Python 2's module names
    return sorted(names - KNOWN)


def _first_line(error: BaseException) -> str:
    text = str(error).partition("WeightsUnpickler error: ")[2]
    if text:
        return text.partition(". ")[0].splitlines()[0].rstrip(".")
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")[:300]


def state_dict_of(content: Any, path: Path, key: str = "") -> State:
    """Return the tensors of a checkpoint: those under `key` ("a.b" descends), else under
    `state_dict` or `model`, else its own.

    Raises CheckpointError where there are none.
    """
    keys = (
        key.split(".")
        if key
        else [name for name in ("state_dict", "model") if _holds(content, name)][:1]
    )
    for name in keys:
        if not _holds(content, name):
            content_names = (
                ", ".join(map(str, list(content)[:8]))
                if isinstance(content, Mapping)
                else type(content).__name__
            )
            raise CheckpointError(
                f"checkpoint {path} has no dict '{name}'; it holds {content_names}.",
                "Name the right one by key=.",
            )
        content = content[name]
    tensors = (
        {str(k): v for k, v in content.items() if isinstance(v, torch.Tensor)}
        if isinstance(content, Mapping)
        else {}
    )
    if not tensors:
        raise CheckpointError(
            f"checkpoint {path} holds no tensors by name.",
            "A state dict was expected; name it by key=.",
        )
    check_layout(tensors, path)
    return tensors


def _holds(content: Any, name: Hashable) -> bool:
    return isinstance(content, Mapping) and isinstance(content.get(name), Mapping)
