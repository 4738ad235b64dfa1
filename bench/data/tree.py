"""The files under one root, found as tables name them, and never outside the root."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from bench.core.errors import DataError
from bench.data.images import SUFFIXES
from bench.data.text import is_hidden


class Tree:
    """The folder of one dataset.

    Links inside it may lead anywhere only where the folder itself is a link: then they are the
    user's own arrangement, not something a download brought along.
    """

    def __init__(self, root: Path) -> None:
        self._linked = Path(root).is_symlink()
        self._home = os.path.realpath(root)
        self._checked: set[str] = set()
        self._listings: dict[str, dict[str, str]] = {}

    def find(self, path: str) -> str:
        """Return `path` as it is on disk: unchanged, or with its extension in other letter case.

        What is on disk under no spelling comes back unchanged. Raise DataError for a path that is
        absolute, goes up, or is a link that leads out of the root.
        """
        if path.startswith("/") or "\0" in path or ".." in path.split("/"):
            raise DataError(f"path '{path[:200]}' leads out of {self._home}.", _INSIDE)
        self._check(path)
        if os.path.lexists(f"{self._home}/{path}"):
            return path
        folder, slash, name = path.rpartition("/")
        name_on_disk = self._listing(folder).get(plain_suffix(name), name)
        return f"{folder}{slash}{name_on_disk}"

    def is_file(self, path: str) -> bool:
        """Say whether a file is there."""
        return os.path.isfile(f"{self._home}/{path}")  # noqa: PTH113 - one per file of the dataset

    def _check(self, path: str) -> None:
        """Raise DataError where a part of `path` is a link out of the root."""
        folder = path.rpartition("/")[0]
        if folder and folder not in self._checked:
            self._check(folder)
            self._checked.add(folder)
        whole = f"{self._home}/{path}"
        if os.path.islink(whole) and not self._linked:  # noqa: PTH114 - one per file of the dataset
            target = os.path.realpath(whole)
            if not target.startswith(f"{self._home}/"):
                raise DataError(
                    f"path '{path[:200]}' is a link to {target}, out of {self._home}.", _INSIDE
                )

    def _listing(self, folder: str) -> dict[str, str]:
        if folder not in self._listings:
            names = sorted(entries(Path(self._home, folder)))
            self._listings[folder] = {plain_suffix(name): name for name in names}
        return self._listings[folder]


_INSIDE = (
    "Tables may name files inside the dataset's folder only; to keep files elsewhere, link the "
    "folder itself."
)


def plain_suffix(name: str) -> str:
    """Return a file name with its extension in small letters."""
    stem, dot, suffix = name.rpartition(".")
    return f"{stem}{dot}{suffix.lower()}" if dot else name


def entries(folder: Path) -> list[str]:
    """Return the names in a folder without the hidden files of a system; none where it is
    missing."""
    if not folder.is_dir():
        return []
    return [name for name in os.listdir(folder) if not is_hidden(name)]  # noqa: PTH208


def unlisted(root: Path, paths: Iterable[str], depth: int = 2) -> int:
    """Return how many pictures or folders lie beside those that `paths` name `depth` levels below
    the root, without being named.

    Only the folders of `paths` are listed: a deep tree is not walked.
    """
    prefixes = {"/".join(path.split("/", depth)[:depth]) for path in paths}
    parents = {prefix.rpartition("/")[0] for prefix in prefixes}
    named = {prefix.lower() for prefix in prefixes}
    count = 0
    for parent in parents:
        for name in entries(root / parent):
            is_data = "." not in name or name.lower().endswith(SUFFIXES)
            if is_data and f"{parent}/{name}".lower() not in named:
                count += 1
    return count
