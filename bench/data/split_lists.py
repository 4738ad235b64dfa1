"""A user's own split, for every dataset: train.txt, val.txt, test.txt and train_1.txt, train_10.txt
beside the data."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from bench.core.errors import DataError, SplitLeakError
from bench.data.splits import SPLITS, default_split
from bench.data.text import read_lines
from bench.data.tree import entries, plain_suffix

if TYPE_CHECKING:
    import pandas as pd

FOLDERS = ("splits", "")
"""Where lists are looked for, under the folder of the dataset."""
_FRACTION = re.compile(r"^train_(\d+(?:\.\d+)?)\.txt$")


@dataclass(frozen=True)
class SplitLists:
    """Who is in which list, by image id.

    `members`: split -> images; `fractions`: label fraction -> training images; `unknown` lines name
    no image of the data and `left_out` images of the data are in no list.
    """

    files: tuple[Path, ...]
    members: Mapping[str, frozenset[str]]
    fractions: Mapping[float, frozenset[str]]
    unknown: int = 0
    left_out: int = 0

    def apply(self, index: pd.DataFrame) -> pd.DataFrame:
        """Return the images of the lists with `split` filled; without a val.txt it is drawn from
        the training patients."""
        split_of = {image: split for split, images in self.members.items() for image in images}
        splits = index["image_id"].astype(str).map(split_of)
        listed = index[splits.notna()].assign(split=splits.dropna())
        return listed if set(self.members) == {"test"} else default_split(listed)

    def subset(self, train: pd.DataFrame, fraction: float) -> pd.DataFrame | None:
        """Return the training rows of the list of one label fraction, or None where there is no
        such list."""
        for share, images in self.fractions.items():
            if abs(share - fraction) < 1e-9:
                return train[train["image_id"].astype(str).isin(images)]
        return None

    def digest(self) -> str:
        """Return a hash of the lists of label fractions: they decide a result and are no part of
        the split's hash."""
        lines = [
            f"{share:g} {image}"
            for share, images in sorted(self.fractions.items())
            for image in sorted(images)
        ]
        return hashlib.blake2b("\n".join(lines).encode(), digest_size=8).hexdigest()

    @property
    def names(self) -> str:
        """Return the names of the files."""
        return ", ".join(path.name for path in self.files)

    @property
    def title(self) -> str:
        """Return one line for people: which files, how many images, what they leave out if
        anything."""
        sizes = [f"{len(images)} {split}" for split, images in self.members.items()]
        sizes += [
            f"{len(images)} at {share:g} of labels" for share, images in self.fractions.items()
        ]
        rest = (
            f"; {self.unknown} lines name no image of the data, {self.left_out} images are in no "
            "list"
        )
        whole = not (self.unknown or self.left_out)
        title = f"split of the lists in {self.files[0].parent} ({self.names}): {', '.join(sizes)}"
        return title if whole else title + rest


def find_lists(root: Path, index: pd.DataFrame, official: Sequence[str] = ()) -> SplitLists | None:
    """Return the lists of `root/splits` or of `root` itself, or None where there are none.

    A line names an image by image id, path (with any folders before it), file name or stem; of a
    line with several fields (blanks, commas) the first that names one counts. `official` files in
    `root` are the dataset's own and no lists of the user. Raise DataError for a missing train or
    test list, an image that occurs twice, an ambiguous name, a list without any image of the data
    and a train_N.txt that is no part of train.txt; SplitLeakError for an image in two lists.
    """
    files = _files(Path(root), official)
    if not files:
        return None
    reader = _Reader(index)
    images = {name: reader.read(path) for name, path in files.items()}
    members = {split: images[f"{split}.txt"] for split in SPLITS if f"{split}.txt" in files}
    fractions = {
        float(percent[1]) / 100: images[name]
        for name in files
        if (percent := _FRACTION.match(name))
    }
    if members:
        _check_members(members, files, set(index["split"]) == {"test"})
    pool = members.get("train", frozenset(index["image_id"].astype(str)))
    _check_fractions(fractions, pool, files)
    listed = frozenset().union(*members.values())
    left_out = len(index) - len(listed) if members else 0
    return SplitLists(
        files=tuple(files.values()),
        members=members,
        fractions=dict(sorted(fractions.items())),
        unknown=reader.unknown,
        left_out=left_out,
    )


def _files(root: Path, official: Sequence[str]) -> dict[str, Path]:
    """Return the lists of the first folder that has any, by name: train, val, test, then the
    fractions."""
    for folder in FOLDERS:
        names = sorted(name for name in entries(root / folder) if name.lower().endswith(".txt"))
        texts = {plain_suffix(name): root / folder / name for name in names}
        lists = [f"{split}.txt" for split in SPLITS if f"{split}.txt" in texts]
        lists += filter(_FRACTION.match, texts)
        files = {name: texts[name] for name in lists if folder or name not in official}
        if files:
            return files
    return {}


class _Reader:
    """Finds the images that lines name."""

    def __init__(self, index: pd.DataFrame) -> None:
        self.unknown = 0
        self.names: dict[str, str | None] = {}
        for image, path in zip(
            index["image_id"].astype(str), index["path"].astype(str), strict=True
        ):
            for name in {image, *_tails(path)}:
                self.names[name] = (
                    None if name in self.names and self.names[name] != image else image
                )

    def read(self, path: Path) -> frozenset[str]:
        """Return the images of one list; a first line of words alone that names none is its
        header."""
        line_of: dict[str, int] = {}
        for position, (number, line) in enumerate(read_lines(path)):
            image = self._image(line, f"list {path}, line {number}")
            if image is None:
                if position > 0 or not _is_header(line):
                    self.unknown += 1
            elif image in line_of:
                raise DataError(
                    f"list {path} names '{image}' twice (lines {line_of[image]} and {number}).",
                    "Remove one.",
                )
            else:
                line_of[image] = number
        if not line_of:
            raise DataError(
                f"list {path} names no image of this dataset.",
                "One image id, path or file name a line is expected.",
            )
        return frozenset(line_of)

    def _image(self, line: str, where: str) -> str | None:
        """Return the image that a line names, None where it names none."""
        for field in (line.strip(), *re.split(r"[\s,;]+", line.strip())):
            for name in _tails(field):
                if name in self.names:
                    if self.names[name] is None:
                        raise DataError(
                            f"{where}: '{name}' names several images.",
                            "Write the image id or the path.",
                        )
                    return self.names[name]
        return None


def _is_header(line: str) -> bool:
    """Say whether a line may be a list's header: names of images have digits or an extension."""
    return not any(sign.isdigit() or sign == "." for sign in line)


def _tails(path: str) -> Iterator[str]:
    """Yield a path, then without its first folders one after the other; each also without its
    suffix."""
    parts = PurePosixPath(path.removeprefix("./").strip("/")).parts
    for first in range(len(parts)):
        name = "/".join(parts[first:])
        yield name
        stem, dot, _ = name.rpartition(".")
        if dot and stem and not stem.endswith("/"):
            yield stem


def _check_members(
    members: Mapping[str, frozenset[str]], files: Mapping[str, Path], only_test: bool
) -> None:
    required = ("test",) if only_test else ("test", "train")
    missing = [name for name in required if name not in members]
    if missing:
        folder = next(iter(files.values())).parent
        raise DataError(
            f"{folder} has {', '.join(files)} but no {missing[0]}.txt.",
            "Add it, or take the lists away.",
        )
    for first, second in combinations(members, 2):
        shared = members[first] & members[second]
        if shared:
            message = (
                f"{len(shared)} images stand in {files[f'{first}.txt']} and {second}.txt, e.g. "
                f"'{min(shared)}'."
            )
            raise SplitLeakError(message, "An image belongs to one list.")


def _check_fractions(
    fractions: Mapping[float, frozenset[str]], pool: frozenset[str], files: Mapping[str, Path]
) -> None:
    for share, images in fractions.items():
        strangers = images - pool
        if strangers:
            name = next(
                name
                for name in files
                if (m := _FRACTION.match(name)) and float(m[1]) / 100 == share
            )
            message = (
                f"{len(strangers)} images of {files[name]} are not training images, e.g. "
                f"'{min(strangers)}'."
            )
            raise DataError(message, "A list of a label fraction is a part of train.txt.")
