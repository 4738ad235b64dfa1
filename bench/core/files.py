"""Read input files that may be anything: regular files only, and none larger than its kind may
be."""

from __future__ import annotations

import math
import os
import stat
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO, Literal

from bench.core.errors import DataError, PlaceBenchError, SettingError

FileKind = Literal["image", "report", "table", "card", "checkpoint"]

LIMITS_MB: dict[FileKind, float] = {
    "image": 1_000,  # a radiograph, as it lies on disk and unpacked
    "report": 1,  # the text of one study
    "table": 4_000,  # CSV, JSON annotations and lists, packed or not
    "card": 64,  # small JSON and text files that describe something
    "checkpoint": 100_000,  # weights
}
"""The largest file of each kind in MB (1e6 bytes); `PLACE_BENCH_MAX_<KIND>_MB` overrides it."""

UNREADABLE_ARCHIVE = (
    OSError,
    ValueError,  # also for a pickle
    KeyError,
    AttributeError,
    EOFError,
    SyntaxError,
    TypeError,  # also of `with`, for a single array
    OverflowError,
    MemoryError,
    RecursionError,
    NotImplementedError,  # of zipfile, for a way of packing that it does not know
    zipfile.BadZipFile,
    zlib.error,
)
"""What numpy raises for an archive (.npz) that is damaged, or none."""

_GZIP = 16 + zlib.MAX_WBITS
_CHUNK = 1 << 20
_OTHER_THAN_REGULAR = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def size_limit(kind: FileKind) -> int:
    """Return how many bytes a file of `kind` may have; raise SettingError where the variable that
    sets it holds no number."""
    name = limit_variable(kind)
    text = os.environ.get(name) or str(LIMITS_MB[kind])
    try:
        limit = float(text)
    except ValueError:
        limit = math.nan
    if not (math.isfinite(limit) and limit > 0):
        raise SettingError(
            f"environment variable {name} is '{text}'.", "Write a number of megabytes, e.g. 2000."
        )
    return int(limit * 1e6)


def limit_variable(kind: FileKind) -> str:
    """Return the name of the environment variable that sets the size limit of `kind`."""
    return f"PLACE_BENCH_MAX_{kind.upper()}_MB"


def open_regular(
    path: Path | str, kind: FileKind, error: type[PlaceBenchError] = DataError
) -> BinaryIO:
    """Open a regular file for reading bytes.

    Raise `error` naming the file where it is missing, may not be read, is a directory, a pipe or a
    device (which could be read for ever), or is larger than its kind may be.
    """
    try:
        state = os.stat(path)  # noqa: PTH116 - called for each of ten thousand images
    except (OSError, ValueError) as problem:
        raise _unreadable(path, problem, error) from problem
    if not stat.S_ISREG(state.st_mode):
        other = _OTHER_THAN_REGULAR.get(stat.S_IFMT(state.st_mode), "no regular file")
        raise error(f"file {path} is {other}; a regular file was expected.", "Check the download.")
    limit = size_limit(kind)
    if state.st_size > limit:
        raise too_large(path, kind, f"has {megabytes(state.st_size)}", error)
    try:
        return open(path, "rb")  # noqa: PTH123 - the same
    except OSError as problem:
        raise _unreadable(path, problem, error) from problem


def read_file(path: Path | str, kind: FileKind, error: type[PlaceBenchError] = DataError) -> bytes:
    """Return the content of a regular file, that of a `.gz` unpacked; raise `error` as
    `open_regular` does.

    Never more than the limit of `kind` is held, whatever the file says about itself.
    """
    limit = size_limit(kind)
    try:
        with open_regular(path, kind, error) as file:
            data = file.read(limit + 1)
    except OSError as problem:
        raise _unreadable(path, problem, error) from problem
    if len(data) > limit:
        raise too_large(path, kind, "goes on beyond its limit", error)
    return gunzip(data, path, kind, error) if str(path).endswith(".gz") else data


def gunzip(
    data: bytes, path: Path | str, kind: FileKind, error: type[PlaceBenchError] = DataError
) -> bytes:
    """Unpack gzip data (one or several members); raise `error` naming `path` where it is damaged,
    or unpacks to more than its kind may have."""
    limit = size_limit(kind)
    unpacked = bytearray()
    while data:
        member = zlib.decompressobj(_GZIP)
        try:
            unpacked += member.decompress(data, limit + 1 - len(unpacked))
        except zlib.error as problem:
            raise error(
                f"file {path} is not a whole gzip file ({problem}).", "Download it again."
            ) from problem
        if len(unpacked) > limit:
            raise too_large(path, kind, "unpacks to more than its limit", error)
        if not member.eof:
            raise error(f"file {path} ends in the middle of its gzip data.", "Download it again.")
        data = member.unused_data.lstrip(b"\0")  # some writers fill up the last block with zeros
    return bytes(unpacked)


def inflate(data: bytes, path: Path | str, kind: FileKind) -> bytes:
    """Unpack a raw deflate stream (as of deflated DICOM); raise DataError naming `path` where it is
    damaged or cut short, or unpacks to more than its kind may have."""
    limit = size_limit(kind)
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        unpacked = stream.decompress(data, limit + 1)
    except zlib.error as problem:
        raise DataError(
            f"file {path} is truncated or corrupt: its deflated part does not unpack ({problem}).",
            "Download it again, or use --on-error skip.",
        ) from problem
    if len(unpacked) > limit:
        raise too_large(path, kind, "unpacks to more than its limit", DataError)
    if not stream.eof:
        raise DataError(
            f"file {path} is truncated or corrupt: its deflated part has no end.",
            "Download it again, or use --on-error skip.",
        )
    return unpacked


def check_archive(
    path: Path | str,
    kind: FileKind,
    error: type[PlaceBenchError] = DataError,
    *,
    stored: bool = False,
) -> None:
    """Raise `error` where a zip archive would unpack to more than its kind may have.

    With `stored` its members lie in it unpacked (as torch writes weights), so that together they
    are no larger than the file: one that claims more is refused, whatever the limit. Sizes are
    taken from the archive's own list; Python's and torch's readers stop there too.
    """
    with open_regular(path, kind, error) as file:
        packed = os.fstat(file.fileno()).st_size
        try:
            with zipfile.ZipFile(file) as archive:
                unpacked = sum(member.file_size for member in archive.infolist())
        except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError) as problem:
            raise error(
                f"file {path} is not a whole zip archive ({problem}).", "Download it again."
            ) from problem
    if stored and unpacked > packed:
        raise error(
            f"file {path} has {megabytes(packed)} and would unpack to {megabytes(unpacked)}; its "
            "members should lie in it unpacked.",
            "Write it again with torch.save, or as safetensors.",
        )
    if unpacked > size_limit(kind):
        raise too_large(path, kind, f"would unpack to {megabytes(unpacked)}", error)


def too_large(
    path: Path | str, kind: FileKind, what: str, error: type[PlaceBenchError]
) -> PlaceBenchError:
    """Return the error that names a file above the size limit of its kind; `what` says how."""
    return error(
        f"file {path} {what}; a file of kind '{kind}' may have {megabytes(size_limit(kind))}.",
        f"If the file is right, set {limit_variable(kind)} to more megabytes.",
    )


def megabytes(count: int) -> str:
    """Return a number of bytes in words, e.g. "1,300 MB"."""
    return f"{count / 1e6:,.0f} MB" if count >= 1e7 else f"{count / 1e6:.3g} MB"


def _unreadable(
    path: Path | str, problem: Exception, error: type[PlaceBenchError]
) -> PlaceBenchError:
    reason = problem.strerror if isinstance(problem, OSError) else None
    return error(f"file {path} cannot be read ({reason or problem}).", "Check the download.")
