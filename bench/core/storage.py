"""Files that others see whole: written beside and renamed, locked between processes, swept after a
kill; and the sentence for a place that cannot be written."""

from __future__ import annotations

import errno
import os
import secrets
import stat
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from bench.core.errors import PlaceBenchError, StorageError
from bench.core.machine import flush_to_disk

if TYPE_CHECKING:
    from filelock import BaseFileLock

FREE_SPACE = (
    "Free some space or choose another folder; the same command continues where it stopped."
)
_PROBE_BYTES = 64 * 1024
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS}
_IN_THE_WAY = {errno.EISDIR, errno.ENOTDIR, errno.EEXIST}
_EFFECTIVE = {"effective_ids": os.access in os.supports_effective_ids}
_LIBRARY_WORDS = (
    "No space left on device",
    *(f"os error {number})" for number in sorted(_FULL)),
    "PytorchStreamWriter failed",
)
"""How libraries that write for us say that they could not."""


def storage_sentence(error: BaseException, path: Path | str = "") -> StorageError | None:
    """Return the error of a place that cannot be written (or, refused, read) as one sentence; None
    where it is about something else."""
    number = error.errno if isinstance(error, OSError) else None
    name = str(path or getattr(error, "filename", None) or "a file")
    if number in _FULL or any(word in str(error) for word in _LIBRARY_WORDS):
        reason = os.strerror(number or errno.ENOSPC)
        return StorageError(f"{name} cannot be written: {reason}.", FREE_SPACE)
    if number in _REFUSED:
        return StorageError(
            f"{name} cannot be read or written: {os.strerror(number or 0)}.",
            "Ask its owner for the right to, or choose another folder.",
        )
    if number in _IN_THE_WAY:
        return StorageError(
            f"{name} cannot be written: {os.strerror(number or 0)}.", "Move away what is there."
        )
    # A library that closes its file after a failed write may raise a second error over the first.
    return storage_sentence(error.__context__, path) if error.__context__ else None


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a full disk or a refused write inside into a StorageError that names `path`."""
    try:
        yield
    except PlaceBenchError:
        raise
    except Exception as error:
        sentence = storage_sentence(error, path)
        if sentence is None:
            raise
        raise sentence from error


def check_folder(folder: Path, what: str, hint: str, inside: Iterable[str] = ()) -> None:
    """Raise StorageError unless files can be written in `folder`, or made where it is not there.

    Leaves nothing behind. `what` names the folder in the sentence, `hint` is the next step;
    `inside` are folders and files in it which must be writable too where they exist.
    """
    # resolve() fails where nothing may be read
    nearest = Path(os.path.abspath(folder))  # noqa: PTH100
    while not os.path.lexists(nearest) and nearest != nearest.parent:
        nearest = nearest.parent
    if not nearest.is_dir():
        raise StorageError(f"{what} {folder}: {nearest} is not a folder.", hint)
    try:
        with tempfile.TemporaryFile(dir=nearest) as probe:
            probe.write(bytes(_PROBE_BYTES))
            flush_to_disk(probe)
    except OSError as error:
        reason = error.strerror or str(error)
        raise StorageError(f"{what} {folder} cannot be written: {reason}.", hint) from error
    for name in inside:
        path = folder / name
        if path.exists() and not os.access(path, os.W_OK, **_EFFECTIVE):
            raise StorageError(f"{what} {folder}: {path} cannot be written by you.", hint)


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Yield a temporary path beside `target`, renamed to it at the end: a reader, or a kill, sees
    the old file or the new one. The mode is what the umask says.

    The temporary file is locked while it is written, so that `sweep` tells it from a leftover.
    Raises StorageError for a full disk or a folder that cannot be written.
    """
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = _locked_temporary(target)
        try:
            yield temporary
            temporary.chmod(stat.S_IMODE(os.fstat(handle).st_mode))
            with temporary.open("rb+") as written:
                flush_to_disk(written)
            temporary.replace(target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        finally:
            os.close(handle)


def _locked_temporary(target: Path) -> tuple[int, Path]:
    while True:
        temporary = target.parent / f".{target.name}.{secrets.token_hex(4)}.tmp"
        handle = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666)
        _flock(handle, wait=True)
        if os.fstat(handle).st_nlink:
            return handle, temporary
        os.close(handle)  # swept between the two calls


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write a file so that a reader, or a kill, sees the old or the new one and nothing between."""
    data = content.encode() if isinstance(content, str) else content
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def sweep(*folders: Path) -> int:
    """Remove the temporary files that dead processes left in `folders`; return how many."""
    leftovers = [
        path
        for folder in folders
        if folder.is_dir()
        for path in folder.glob(".*.tmp")
        if _left(path)
    ]
    for path in leftovers:
        with suppress(OSError):  # in a folder of somebody else
            path.unlink()
    return len(leftovers)


def _left(path: Path) -> bool:
    """Say whether a hidden file is a temporary one whose writer is gone."""
    if not path.is_file() or path.is_symlink():
        return False
    try:
        handle = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        return bool(_flock(handle, wait=False))
    finally:
        os.close(handle)


def _flock(handle: int, *, wait: bool) -> bool | None:
    """Lock an open file and return whether it is ours; None where the file system has no locks."""
    try:
        import fcntl
    except ImportError:  # no such locks on this system: nothing is swept there
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


@contextmanager
def held(
    path: Path, *, wait: bool = True, on_wait: Callable[[], None] | None = None
) -> Iterator[bool]:
    """Hold the inter-process lock `path`; yields False where another has it and `wait` is off.

    `on_wait` is called once where it has to be waited for. The file's mode follows the umask; one
    that another user left and that cannot be written is replaced unless it is held.
    """
    seconds = 0.0
    if wait:
        seconds = 1.0 if on_wait else -1.0  # -1: as long as it takes
    lock = _acquired(path, seconds)
    if lock is None and wait:
        if on_wait:
            on_wait()
        lock = _acquired(path, -1.0)
    if lock is None:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def _acquired(path: Path, timeout: float) -> BaseFileLock | None:
    """Return the lock in our hands, None after `timeout` seconds (negative: never give up)."""
    from filelock import FileLock, Timeout

    deadline = time.monotonic() + timeout
    while True:
        with writing(path):
            lock = FileLock(path, mode=_make_lock(path))
        try:
            lock.acquire(timeout=timeout)
            return lock
        except Timeout:
            return None
        except PermissionError:  # another user's, and held: `_make_lock` replaces a free one
            if timeout >= 0 and time.monotonic() >= deadline:
                return None
            time.sleep(0.2)


def _make_lock(path: Path) -> int:
    """Make the lock file where it is not there, or not ours to open; return its mode."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and not os.access(path, os.R_OK | os.W_OK, **_EFFECTIVE):
        _replace_free(path)
    with suppress(FileExistsError):
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666)
        os.close(descriptor)
    mode = stat.S_IMODE(path.stat().st_mode)
    return mode & 0o777 | 0o600


def _replace_free(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        if _flock(handle, wait=False):
            path.unlink(missing_ok=True)
    finally:
        os.close(handle)
