"""The file format of torch before 1.6, read without running any code: pickles one after another,
then the numbers."""

from __future__ import annotations

import os
import pickle
import struct
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch._utils import _rebuild_parameter, _rebuild_tensor, _rebuild_tensor_v2

from bench.core.errors import CheckpointError

_MAGIC = 0x1950A86A20F9469CFC6C
_DTYPES = {
    **{
        "FloatStorage": torch.float32,
        "DoubleStorage": torch.float64,
        "HalfStorage": torch.float16,
        "BFloat16Storage": torch.bfloat16,
    },
    **{
        "LongStorage": torch.int64,
        "IntStorage": torch.int32,
        "ShortStorage": torch.int16,
        "CharStorage": torch.int8,
    },
    **{"ByteStorage": torch.uint8, "BoolStorage": torch.bool},
}
_BUILDERS: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor_v2,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
}


KNOWN = frozenset(
    {*(f"torch.{name}" for name in _DTYPES), *(".".join(names) for names in _BUILDERS)}
)
"""The names that are read as what they are."""


def _copy_of(builder: Callable[..., Any]) -> Callable[..., Any]:
    def build(*arguments: Any) -> Any:
        """Pass the arguments on to the builder."""
        return builder(*arguments)

    return build


class InertUnpickler(pickle.Unpickler):
    """Unpickle tensors and containers; every other name in the file is `placeholder`, a class that
    does nothing.

    `storages` collects the tensors' memory by its key; it is filled afterwards.
    """

    def __init__(self, stream: BinaryIO, placeholder: type) -> None:
        super().__init__(stream)
        self.placeholder = placeholder
        self.room = os.fstat(stream.fileno()).st_size
        self.storages: dict[str, torch.UntypedStorage] = {}

    def find_class(self, module: str, name: str) -> Any:
        """Return torch's own builders of tensors, a dtype for a storage class, and a placeholder
        for all else."""
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        builder = _BUILDERS.get((module, name))
        if builder is None:
            return type(name, (self.placeholder,), {})
        # A file can set attributes of what it names: a fresh function each time keeps torch's own
        # out of its reach.
        return OrderedDict if builder is OrderedDict else _copy_of(builder)

    def persistent_load(self, pid: Any) -> Any:
        """Return the memory of a tensor, still empty; of a pickled module (kept with its source
        code) the placeholder."""
        if pid[0] == "module":
            return pid[1]
        _, dtype, key, _, count, *view = pid
        if not isinstance(dtype, torch.dtype) or any(item is not None for item in view):
            raise pickle.UnpicklingError(f"storage {key} is of an unknown kind")
        if count < 0 or count * dtype.itemsize > self.room:
            raise EOFError(f"storage {key} is larger than the file")
        storage = self.storages.setdefault(key, torch.UntypedStorage(count * dtype.itemsize))
        return torch.storage.TypedStorage(wrap_storage=storage, dtype=dtype, _internal=True)


def read_legacy(path: Path, placeholder: type) -> Any:
    """Return what a file of the old format holds, foreign objects as `placeholder`; raise
    CheckpointError where it is damaged."""
    with path.open("rb") as stream:
        if InertUnpickler(stream, placeholder).load() != _MAGIC:
            raise CheckpointError(
                f"checkpoint {path} is not a file of torch.", "A weights file was expected."
            )
        for _ in ("protocol", "system"):
            InertUnpickler(stream, placeholder).load()
        reader = InertUnpickler(stream, placeholder)
        content = reader.load()
        for key in InertUnpickler(stream, placeholder).load():
            _fill(reader.storages[key], stream)
    return content


def _fill(storage: torch.UntypedStorage, stream: BinaryIO) -> None:
    """Read one storage: how many elements, then their bytes."""
    struct.unpack("<q", stream.read(8))
    raw = stream.read(storage.nbytes())
    if len(raw) < storage.nbytes():
        raise EOFError("the numbers end too early")
    view = torch.empty(0, dtype=torch.uint8).set_(storage)
    view.copy_(torch.frombuffer(bytearray(raw), dtype=torch.uint8) if raw else view)
