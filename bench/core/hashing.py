"""Hashes: of values, of settings, and of files (made once per process for one that does not
change)."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from bench.core.errors import CheckpointError
from bench.core.files import open_regular
from bench.core.settings import keyed


def file_sha256(path: Path) -> str:
    """Return the sha256 of a regular file; raise CheckpointError where it is none or cannot be
    read."""
    with open_regular(path, "checkpoint", CheckpointError) as file:
        state = os.fstat(file.fileno())
    return _sha256(os.path.realpath(path), state.st_ino, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=4096)
def _sha256(path: str, inode: int, size: int, changed: int) -> str:
    """Return the sha256 of a file, read in blocks; its number, size and time tell another
    content."""
    with open_regular(path, "checkpoint", CheckpointError) as file:
        return hashlib.file_digest(cast(io.BufferedReader, file), "sha256").hexdigest()


def files_digest(paths: list[Path]) -> str:
    """Return 16 hex digits of the content of one file, or of several and their names; "" for
    none."""
    if not paths:
        return ""
    if len(paths) == 1:
        return file_sha256(paths[0])[:16]
    lines = sorted(f"{path.name}:{file_sha256(path)}" for path in paths)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def digest(value: Any, length: int = 16) -> str:
    """Return a hash of a JSON-like value; the order of dict keys does not matter."""
    text = json.dumps(value, sort_keys=True, default=str, ensure_ascii=False)
    return hashlib.blake2b(text.encode(), digest_size=length // 2).hexdigest()


def flatten(settings: Any) -> dict[str, Any]:
    """Return a settings dataclass as a flat dict with JSON values, as it stands in keys
    (`keyed`)."""
    values = dataclasses.asdict(settings)
    told = {key: values.get(key, value) for key, value in keyed(settings).items()}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in told.items()}
