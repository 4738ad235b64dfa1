"""What an encoder's name says apart from where its files lie.

An encoder may be named by its weights (`file:/data/encoder.pth?arch=resnet50`). Such a name has
three readings: the one that means the same from every folder, the short one of a table's row, and
the identity that stands in a cell's key, in which the content of the weights stands for their path.
Imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from bench.core.registry import parse_query

LABEL = "name"
"""The setting that gives a row its name: `file:encoder.pth?arch=resnet50&name=mine`."""
SCORED = "scored"
"""The scheme of a row whose predictions were made elsewhere: it names no encoder."""
_WEIGHTS = "weights"
_FILES = (_WEIGHTS, "text_model")


def split_name(name: str) -> tuple[str, str, dict[str, str]]:
    """Return scheme ("" for a plain name), rest and settings of `scheme:rest?key=value`."""
    base, mark, query = name.partition("?")
    scheme, colon, rest = base.partition(":")
    settings = parse_query(name, query) if mark else {}
    if not colon:
        return "", base, settings
    return scheme, rest, settings


def join_name(scheme: str, rest: str, settings: Mapping[str, str]) -> str:
    """Return the name of these parts, settings in alphabetical order."""
    base = f"{scheme}:{rest}" if scheme else rest
    if not settings:
        return base
    pairs = [f"{key}={_escape(value)}" for key, value in sorted(settings.items())]
    return f"{base}?{'&'.join(pairs)}"


def absolute_name(name: str) -> str:
    """Return the name with the paths in it made absolute: it means the same from any folder."""
    return _with_paths(name, lambda path: str(path.expanduser().resolve()))


def short_name(name: str, architecture: str = "") -> str:
    """Return the name of a row: what `?name=` says, else the name with the stem of every path.

    What the row says anyway, the `architecture`, is left out of the settings.
    """
    scheme, _, settings = split_name(name)
    if settings.get(LABEL):
        return settings[LABEL]
    leave_out = [key for key, value in settings.items() if architecture and value == architecture]
    if not scheme:
        leave_out.append(_WEIGHTS)
    return _with_paths(name, _stem, leave_out=tuple(leave_out))


def identity(name: str, weights_hash: str) -> str:
    """Return what decides an encoder beside its architecture and the hash of its weights.

    The label is left out; where there is a hash, so is the path of the weights: one file under two
    spellings is one encoder.
    """
    scheme, rest, settings = split_name(absolute_name(name))
    if weights_hash:
        settings.pop(_WEIGHTS, None)
        rest = "" if scheme and _is_path("", rest) else rest
    settings.pop(LABEL, None)
    return join_name(scheme, rest, settings)


def _with_paths(name: str, change: Callable[[Path], str], leave_out: tuple[str, ...] = ()) -> str:
    scheme, rest, settings = split_name(name)
    changed = {
        key: change(Path(value)) if _is_path(key, value) else value
        for key, value in settings.items()
        if key not in leave_out
    }
    if scheme and _is_path("", rest):
        rest = change(Path(rest))
    return join_name(scheme, rest, changed)


def _is_path(key: str, text: str) -> bool:
    """Tell whether a part of a name is a path: by its form, or because the file is there."""
    if key == LABEL or not text:
        return False
    written_so = text.startswith(("/", "~", "./", "../"))
    return written_so or key in _FILES or _exists(Path(text), file_only=bool(key))


def _exists(path: Path, *, file_only: bool) -> bool:
    path = path.expanduser()
    return path.is_file() or (path.is_dir() and not file_only)


def _stem(path: Path) -> str:
    """Return the name of a file without its suffix, or of a folder."""
    path = path.expanduser()
    return path.name if path.is_dir() else path.stem


def _escape(value: str) -> str:
    return value.replace("%", "%25").replace("&", "%26")
