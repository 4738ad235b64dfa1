"""Read the tables of a dataset, and keep what was read from its many small files."""

from __future__ import annotations

import csv
import hashlib
import io
import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from bench.contracts import Progress
from bench.core.checked import clear_place, file_state, make_folder
from bench.core.errors import DataError
from bench.core.paths import cache_home
from bench.core.progress import default_progress
from bench.core.storage import write_atomically
from bench.data.faults import fault
from bench.data.text import is_hidden, read_text

if TYPE_CHECKING:
    import pandas as pd

_logger = logging.getLogger(__name__)
_BLANK_BEHIND_QUOTE = re.compile(r'"[ \t]+(?=,|$)')
LONGEST_FIELD = 1 << 20
"""Characters of one value of a table."""


def find_file(folder: Path, *names: str) -> Path | None:
    """Return the first of `names` (each as it is, gzipped, or in other letter case) that is in
    `folder`, or None."""
    for name in names:
        for path in (folder / name, folder / f"{name}.gz"):
            if path.exists():
                return path
    for name in names:
        lower = Path(name).name.lower()
        for path in _visible((folder / name).parent):
            if path.name.lower() in (lower, f"{lower}.gz"):
                return path
    return None


def _visible(folder: Path) -> list[Path]:
    """Return what is in a folder, sorted, without the hidden files of a system."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if not is_hidden(path.name))


def find_table(root: Path, *names: str) -> Path:
    """Return the first of `names` under `root` as `find_file` does; raise DataError naming them
    where there is none."""
    path = find_file(root, *names)
    if path is None:
        others = f" (nor {', nor '.join(names[1:])})" if len(names) > 1 else ""
        raise DataError(f"file {root / names[0]} does not exist{others}.", "Check the download.")
    return path


def read_table(
    path: Path,
    columns: Sequence[str],
    *,
    optional: Sequence[str] = (),
    texts: Sequence[str] = (),
    key: str = "",
) -> pd.DataFrame:
    """Return `columns`, and those of `optional` that are there, of a CSV (plain or .gz) as text.

    Names and values are stripped of white space, blanks are "", and the index is the line a row
    begins in. Only a table with `texts` may have values of several lines or with quotes in them,
    and only in those columns (and such that are not read). A row with another number of fields than
    the header, or with a stray quote, is a fault (`bench.data.faults`) of what its `key` names;
    other rows of that name are then left out with it. Raise DataError naming the file where it is
    no text, lacks a column, has one twice or has no rows.
    """
    text = _whole_text(path)
    parser = _Parser(text, path, key, multiline=bool(texts))
    names = [*columns, *(name for name in optional if name in parser.header)]
    positions = _positions(parser.header, names, path)
    if _is_plain(text):
        table = _read_plain(text, positions)
    else:
        single = [at for name, at in zip(names, positions, strict=True) if name not in texts]
        table = _from_rows(list(parser.rows(single)), positions)
    if table.empty:
        raise DataError(f"table {path} has no rows.", "Download it again.")
    table = table.set_axis(names, axis=1)
    if not key or not parser.faulty:
        return table
    return table[~table[key].isin(parser.faulty)]


def _whole_text(path: Path) -> str:
    text = read_text(path)
    if not text.endswith("\n"):
        _logger.warning("table %s does not end with a whole line: is it cut short?", path)
    return text


def _is_plain(text: str) -> bool:
    """Say whether a table has neither quotes nor blank lines, and all lines as many fields."""
    if '"' in text:
        return False
    lines = text.removesuffix("\n").split("\n")
    commas = lines[0].count(",")
    same = all(line.count(",") == commas for line in lines)
    return same and commas > 0 and len(lines) > 1


def _read_plain(text: str, positions: Sequence[int]) -> pd.DataFrame:
    """Return the columns at `positions` of a plain table, by the fast parser."""
    import pandas as pd

    table = pd.read_csv(
        io.StringIO(text),
        header=None,
        skiprows=1,
        usecols=sorted(set(positions)),
        dtype=str,
        na_filter=False,
        quoting=csv.QUOTE_NONE,
    )
    table.index = pd.RangeIndex(2, len(table) + 2, name="line")
    return table[list(positions)].apply(lambda values: values.str.strip())


def _from_rows(rows: Sequence[tuple[int, list[str]]], positions: Sequence[int]) -> pd.DataFrame:
    """Return the columns at `positions` of rows with their lines."""
    import pandas as pd

    lines = pd.Index([line for line, _ in rows], name="line")
    values = {at: [fields[at].strip() for _, fields in rows] for at in positions}
    return pd.DataFrame(values, index=lines, dtype=str)


def read_columns(path: Path) -> list[str]:
    """Return the names in the header of a CSV (plain or .gz)."""
    return _Parser(read_text(path), path, "", multiline=False).header


def _stray_sign(text: str, multiline: bool) -> str:
    """Return what a field with a stray quote holds, "" where the text has no quote."""
    if '"' not in text:
        return ""
    return "\n" if multiline else '"'


class _Parser:
    """The header and the rows of one CSV."""

    def __init__(self, text: str, path: Path, key: str, multiline: bool) -> None:
        self.path = path
        self.multiline = multiline
        self._records = _records(text, path) if multiline else _lines(text)
        self._sign = _stray_sign(text, multiline)
        self.header = [name.strip() for name in next((row for _, row in self._records), [])]
        self.faulty: set[str] = set()
        self._key = self.header.index(key) if key in self.header else -1

    def rows(self, single: Sequence[int]) -> Iterator[tuple[int, list[str]]]:
        """Yield the line and the fields of every sound row: as many as the header has, and no sign
        of a stray quote in the `single` ones."""
        width = len(self.header)
        sign = self._sign
        for line, fields in self._records:
            if len(fields) != width:
                reason = f"{len(fields)} fields; {width} were expected, as in the header"
                self._fault(line, fields, reason)
            elif sign and any(sign in fields[at] for at in single):
                where = "a value runs over several lines: " if self.multiline else ""
                self._fault(line, fields, f"{where}a stray quote")
            else:
                yield line, fields

    def _fault(self, line: int, fields: list[str], reason: str) -> None:
        name = fields[self._key].strip() if 0 <= self._key < len(fields) else ""
        error = DataError(
            f"table {self.path}, line {line}: {reason}.", "Download it again, or mend the line."
        )
        fault(error, name, self.path)
        self.faulty.add(name)


def _lines(text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the line number and the fields of every line that is not blank; a quote that does not
    close stays in its field."""
    for number, line in enumerate(text.split("\n"), 1):
        if '"' in line:
            try:
                closed = _BLANK_BEHIND_QUOTE.sub('"', line)
                yield number, next(csv.reader([closed], skipinitialspace=True, strict=True))
            except csv.Error:
                yield number, line.split(",")
        elif line and not line.isspace():
            yield number, line.split(",")


def _records(text: str, path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the first line and the fields of every record; raise DataError for a quote that does
    not close."""
    csv.field_size_limit(LONGEST_FIELD)
    reader = csv.reader(io.StringIO(text), skipinitialspace=True, strict=True)
    line = 1
    try:
        for fields in reader:
            if len(fields) > 1 or "".join(fields).strip():
                yield line, fields
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(
            f"table {path}, line {line}: {error}: a stray quote, or a cut file.",
            "Download it again, or mend the line.",
        ) from error


def _positions(header: Sequence[str], names: Sequence[str], path: Path) -> list[int]:
    """Return where the columns `names` stand; raise DataError for one that is missing or twice."""
    listed = ", ".join(header) or "none"
    twice = next((name for name in header if name and header.count(name) > 1), None)
    if twice is not None:
        raise DataError(
            f"table {path} has the column '{twice[:60]}' twice.",
            f"Columns found: {listed[:300]}. Download it again.",
        )
    missing = next((name for name in names if name not in header), None)
    if missing is not None:
        raise DataError(
            f"table {path} lacks the column '{missing}'.",
            f"Columns found: {listed[:300]}. Download it again.",
        )
    return [header.index(name) for name in names]


def check_rows(
    table: pd.DataFrame,
    wrong: pd.Series,
    path: Path,
    say: str | Callable[[pd.Series], str],
    hint: str = "Download it again, or mend the line.",
    *,
    key: str = "",
) -> pd.DataFrame:
    """Return a table of `read_table` without the rows that are `wrong` and those of the same `key`.

    Each wrong row is a fault: its file, its line, and what `say` is, or returns of it. `key` names
    the column with the image (or study) of a row.
    """
    if not wrong.any():
        return table
    for line, row in table[wrong].iterrows():
        name = str(row[key]) if key else ""
        reason = say if isinstance(say, str) else say(row)
        fault(DataError(f"table {path}, line {line}: {reason}.", hint), name, path)
    gone = table[key].isin(set(table.loc[wrong, key])) if key else wrong
    return table[~gone]


def require_unique(table: pd.DataFrame, column: str, path: Path) -> pd.DataFrame:
    """Return the table of `path` without the rows whose value of `column` occurs twice, each a
    fault."""
    twice = table[column].duplicated()
    count = int(twice.sum())
    return check_rows(
        table,
        twice,
        path,
        lambda row: f"{column} '{row[column]}' occurs twice ({count} duplicates)",
        "Download it again.",
        key=column,
    )


def require_filled(table: pd.DataFrame, path: Path, *columns: str, key: str = "") -> pd.DataFrame:
    """Return the table of `path` without the rows that have a blank in one of `columns`, each a
    fault."""
    for column in columns:
        table = check_rows(table, table[column] == "", path, f"a blank {column}", key=key)
    return table


def remember(
    files: Sequence[str],
    read: Callable[[Path], Mapping[str, str]],
    *,
    root: Path,
    name: str,
    columns: Sequence[str],
    workers: int = 2,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Return one row of text facts per file (`path` and `columns`), reading only files that are new
    or changed since last time.

    `files` are relative to `root`; `read` gets the whole path. What was read is kept in
    `cache_home()/facts/`, by each file's size and modification time; `name` should say what is
    read, and in which version. A file for which `read` raises DataError is a fault
    (`bench.data.faults`) of its path: where faults are skipped it has no row.
    """
    import pandas as pd

    root = Path(root).resolve()
    now = pd.DataFrame(
        {"path": list(files), "state": [_state(f"{root}/{file}") for file in files]}, dtype=object
    )
    store = _store(root, name, columns)
    before = _load(store, columns)
    facts = now.merge(before, on=["path", "state"], how="left", indicator=True)
    missing = facts.index[facts["_merge"] == "left_only"]
    if len(missing):
        files_to_read = facts.loc[missing, "path"].tolist()
        fresh = _read_all(files_to_read, read, root, name, workers, progress or default_progress())
        unread = [row for row, values in zip(missing, fresh, strict=True) if values is None]
        sound = [values for values in fresh if values is not None]
        if sound:
            facts.loc[missing.difference(unread), list(columns)] = [
                [values[column] for column in columns] for values in sound
            ]
        facts = facts.drop(index=unread)
        _save(store, facts.drop(columns="_merge"))
    return facts[["path", *columns]]


def _state(path: str) -> str:
    try:
        info = os.stat(path)  # noqa: PTH116 - one of these per file of the dataset
    except OSError:
        return "missing"
    return f"{info.st_size}-{info.st_mtime_ns}"


def _store(root: Path, name: str, columns: Sequence[str]) -> Path:
    key = hashlib.blake2b("\n".join((str(root), *columns)).encode(), digest_size=8).hexdigest()
    return cache_home() / "facts" / f"{name}-{key}.facts"


def _load(store: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Return the kept facts; none where there are none, or where they are not what was written."""
    import pandas as pd

    names = ["path", "state", *columns]
    table = _sound_table(store)
    if table is not None:
        facts = pd.read_csv(io.BytesIO(table), dtype=object, keep_default_na=False)
        return facts[names].drop_duplicates("path")
    if os.path.lexists(store):
        _logger.warning("cache file %s is damaged: what it held is read again.", store)
    return pd.DataFrame(columns=names, dtype=object)


def _sound_table(store: Path) -> bytes | None:
    """Return the table of a facts file; None where there is none that fits its checksum."""
    if file_state(store) is None:
        return None
    checksum, _, table = store.read_bytes().partition(b"\n")
    return table if checksum == _checksum(table) else None


def facts_faults(store: Path) -> list[str]:
    """Return one sentence where a facts file of the cache is damaged."""
    if _sound_table(store) is None:
        return [f"cache file {store} is damaged."]
    return []


def _save(store: Path, facts: pd.DataFrame) -> None:
    table = facts.to_csv(index=False).encode()
    make_folder(store.parent)
    clear_place(store)
    write_atomically(store, _checksum(table) + b"\n" + table)


def _checksum(table: bytes) -> bytes:
    return hashlib.blake2b(table, digest_size=16).hexdigest().encode()


def _read_all(
    files: Sequence[str],
    read: Callable[[Path], Mapping[str, str]],
    root: Path,
    name: str,
    workers: int,
    progress: Progress,
) -> list[Mapping[str, str] | None]:
    """Return what `read` gives of every file; None where it does not read and faults are
    skipped."""

    def attempt(file: str) -> Mapping[str, str] | DataError:
        """Return what is in a file, or the error that its reading raised."""
        try:
            return read(root / file)
        except DataError as error:
            return error

    rows: list[Mapping[str, str] | None] = []
    with (
        progress.track(f"reading {name}", total=len(files)) as advance,
        ThreadPoolExecutor(max(1, workers)) as pool,
    ):
        for file, row in zip(files, pool.map(attempt, files), strict=True):
            if isinstance(row, DataError):
                fault(row, file, root / file)
            rows.append(None if isinstance(row, DataError) else row)
            advance(1)
    return rows
