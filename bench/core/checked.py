"""What this process has compared with its checksum, so that a cache is read for that only once."""

from __future__ import annotations

import os
import shutil
import stat
import time
from pathlib import Path
from typing import NamedTuple

from bench.core.errors import PlaceBenchError

_SETTLED_NS = 100_000_000
"""A file that changed less than this ago may change again without another time: file systems count
in ticks of some milliseconds."""


class FileState(NamedTuple):
    """What changes with a file: which one it is, its size in bytes, its times in ns."""

    inode: int
    size: int
    modified: int
    changed: int


def file_state(path: Path) -> FileState | None:
    """Return the state of a regular file (links followed); None where there is none."""
    try:
        info = path.stat()
    except (OSError, ValueError):
        return None
    if not stat.S_ISREG(info.st_mode):
        return None
    return FileState(info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns)


class Checked:
    """The parts of files that were compared; forgotten as soon as a file is another than it was."""

    def __init__(self) -> None:
        self._parts: dict[str, tuple[FileState, frozenset[int]]] = {}

    def parts(self, path: Path, state: FileState) -> frozenset[int]:
        """Return the numbers of the parts of `path` that were compared while it had this state."""
        then, numbers = self._parts.get(str(path), (None, frozenset()))
        return numbers if then == state else frozenset()

    def add(self, path: Path, state: FileState, numbers: frozenset[int]) -> None:
        """Remember `numbers`, compared after `state` was taken."""
        if time.time_ns() - max(state.modified, state.changed) > _SETTLED_NS:
            self._parts[str(path)] = (state, self.parts(path, state) | numbers)


def clear_place(path: Path) -> bool:
    """Remove what stands in the place of a cache file and is no regular file (a directory, a pipe,
    a link to nowhere); say whether there was something."""
    if file_state(path) is not None or not os.path.lexists(path):
        return False
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
    return True


def make_folder(path: Path) -> None:
    """Make a folder of the cache, also where something else stands in its place.

    Raise PlaceBenchError where that cannot be done.
    """
    try:
        if os.path.lexists(path) and not path.is_dir():
            path.unlink()
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PlaceBenchError(
            f"cache folder {path} cannot be made: {error}.", "Set PLACE_BENCH_CACHE."
        ) from error
