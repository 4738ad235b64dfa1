"""The one reader of text files: lists, tables, JSON and reports come through here."""

from __future__ import annotations

import codecs
import json
import math
import os
from collections import Counter
from pathlib import Path
from typing import Any

from bench.core.errors import DataError
from bench.core.files import FileKind, gunzip, read_file

_AGAIN = "Download it again."
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def is_hidden(name: str) -> bool:
    """Say whether a file or folder is one that a system leaves beside the data (`._NAME`,
    `.DS_Store`, `__MACOSX`)."""
    return name.startswith(".") or name == "__MACOSX"


def read_content(path: Path, kind: FileKind = "table") -> bytes:
    """Return the content of a file, unpacked where its name ends in .gz.

    Raise DataError naming it where it is missing, no regular file, larger than its kind may be,
    damaged or empty.
    """
    if not os.path.lexists(path):
        raise DataError(f"file {path} does not exist.", "Check the download.")
    content = read_file(path, kind)
    if path.suffix == ".GZ":
        content = gunzip(content, path, kind)
    if not content:
        raise DataError(f"file {path} is empty.", _AGAIN)
    return content


def read_text(path: Path, kind: FileKind = "table") -> str:
    """Return the text of a file (plain or .gz) without byte order mark, its lines ending in "\\n".

    UTF-8 is read, and UTF-16 and UTF-32 by their byte order mark. Raise DataError naming the file,
    and where they are known byte and line, for another encoding and for NUL bytes.
    """
    return decode_text(read_content(path, kind), path)


def decode_text(content: bytes, path: Path) -> str:
    """Return the text of a file's content as `read_text` does; `path` is named in errors."""
    encoding = next((name for mark, name in _MARKS if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding).lstrip("\ufeff")
    except UnicodeDecodeError as error:
        line = 1 + content.count(b"\n", 0, error.start)
        raise DataError(
            f"file {path} is not {encoding.upper()} text (byte {content[error.start]:#04x} at "
            f"{error.start}, line {line}).",
            f"Download it again, or convert it: iconv -f latin1 -t utf-8 {path.name} > new.",
        ) from error
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if "\0" in text:
        line = 1 + text.count("\n", 0, text.index("\0"))
        raise DataError(
            f"file {path}, line {line} holds a NUL byte.",
            "Download it again; UTF-16 is read where it begins with a byte order mark.",
        )
    return text


def read_lines(path: Path) -> list[tuple[int, str]]:
    """Return (line number, text without white space at its ends) of every line that is not blank.

    Raise DataError as `read_text`, and where there is no such line.
    """
    lines = [(number, line.strip()) for number, line in enumerate(read_text(path).split("\n"), 1)]
    filled = [(number, line) for number, line in lines if line]
    if not filled:
        raise DataError(f"list {path} has no rows.", _AGAIN)
    return filled


def read_json(path: Path, kind: FileKind = "table") -> Any:
    """Return the content of a JSON file.

    Raise DataError naming the file for what does not parse, a key that occurs twice in one object,
    a number that is not finite and a nesting too deep to read.
    """
    try:
        return json.loads(
            read_text(path, kind),
            object_pairs_hook=_unique_keys,
            parse_constant=_finite,
            parse_float=_finite,
        )
    except RecursionError as error:
        raise DataError(f"file {path} is JSON nested too deep to read.", _AGAIN) from error
    except ValueError as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"file {path} cannot be read as JSON: {reason}.", _AGAIN) from error


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) < len(pairs):
        ((twice, _),) = Counter(key for key, _ in pairs).most_common(1)
        raise ValueError(f"the key '{twice[:60]}' occurs twice in one object")
    return entries


def _finite(word: str) -> float:
    value = float(word)
    if not math.isfinite(value):
        raise ValueError(f"the number {word[:20]} is not finite")
    return value
