"""Read the tables of a dataset, and keep what was read from its many small files."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from bench.contracts import Progress
from bench.errors import DataError
from bench.paths import cache_home
from bench.progress import default_progress

if TYPE_CHECKING:
    import pandas as pd


def find_table(root: Path, *names: str) -> Path:
    """Return the first of `names` (each as it is, or gzipped) under `root`; raise DataError naming
    the first."""
    for name in names:
        for path in (root / name, root / f"{name}.gz"):
            if path.is_file():
                return path
    raise DataError(f"file {root / names[0]} does not exist.", "Check the download.")


def read_text(path: Path) -> str:
    """Return the text of a file; raise DataError naming it where it is not there or no UTF-8."""
    if not path.is_file():
        raise DataError(f"file {path} does not exist.", "Check the download.")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        message = (
            f"file {path} is no UTF-8 text (byte {error.object[error.start]:#04x} at "
            f"{error.start})."
        )
        raise DataError(
            message, f"Download it again, or convert it: iconv -f latin1 -t utf-8 {path.name}."
        ) from error


def read_table(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Read a CSV (plain or .gz) as text, names and values stripped of white space, blanks as "".

    Raise DataError naming the file where it cannot be parsed, is empty or lacks one of `columns`.
    """
    import pandas as pd

    try:
        table = pd.read_csv(
            path, dtype=str, keep_default_na=False, skipinitialspace=True, compression="infer"
        )
    except (OSError, EOFError, ValueError, UnicodeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"table {path} cannot be read: {reason}.", "Download it again.") from error
    table.columns = [str(column).strip() for column in table.columns]
    missing = [column for column in columns if column not in table]
    if missing:
        found = ", ".join(table.columns) or "none"
        raise DataError(
            f"table {path} lacks the column '{missing[0]}'.",
            f"Columns found: {found}. Download it again.",
        )
    if table.empty:
        raise DataError(f"table {path} has no rows.", "Download it again.")
    return table.apply(lambda values: values.str.strip())


def require_unique(table: pd.DataFrame, column: str, path: Path) -> None:
    """Raise DataError where a value of `column` stands twice in the table read from `path`."""
    twice = table[column][table[column].duplicated()]
    if len(twice):
        raise DataError(
            f"table {path}: {column} '{twice.iloc[0]}' stands twice ({len(twice)} duplicates).",
            "Download it again.",
        )


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
    read, and in which version.
    """
    import pandas as pd

    root = Path(root).resolve()
    now = pd.DataFrame(
        {"path": list(files), "state": [_state(f"{root}/{file}") for file in files]}, dtype=object
    )
    store = _store(root, name, columns)
    kept = _load(store, columns)
    facts = now.merge(kept, on=["path", "state"], how="left", indicator=True)
    missing = facts.index[facts["_merge"] == "left_only"]
    if len(missing):
        fresh = _read_all(
            facts.loc[missing, "path"].tolist(),
            read,
            root,
            name,
            workers,
            progress or default_progress(),
        )
        facts.loc[missing, list(columns)] = [[row[column] for column in columns] for row in fresh]
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
    return cache_home() / "facts" / f"{name}-{key}.csv"


def _load(store: Path, columns: Sequence[str]) -> pd.DataFrame:
    import pandas as pd

    wanted = ["path", "state", *columns]
    if not store.is_file():
        return pd.DataFrame(columns=wanted, dtype=object)
    try:
        return pd.read_csv(store, dtype=object, keep_default_na=False)[wanted].drop_duplicates(
            "path"
        )
    except (ValueError, KeyError) as error:
        raise DataError(
            f"cache file {store} is damaged.", "Delete it; it is made again."
        ) from error


def _save(store: Path, facts: pd.DataFrame) -> None:
    store.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=store.parent, suffix=".tmp")
    with os.fdopen(handle, "w", newline="") as file:
        facts.to_csv(file, index=False)
    Path(temporary).replace(store)


def _read_all(
    files: Sequence[str],
    read: Callable[[Path], Mapping[str, str]],
    root: Path,
    name: str,
    workers: int,
    progress: Progress,
) -> list[Mapping[str, str]]:
    rows = []
    with (
        progress.track(f"reading {name}", total=len(files)) as advance,
        ThreadPoolExecutor(max(1, workers)) as pool,
    ):
        for row in pool.map(lambda file: read(root / file), files):
            rows.append(row)
            advance(1)
    return rows
