"""Where data, caches and results live, and whether they can be written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.core.errors import StorageError
from bench.core.storage import check_folder, sweep

CACHE_HINT = "Set PLACE_BENCH_CACHE to a folder that you can write, with room for decoded images."
RESULTS_HINT = "Choose another folder with --results, or ask its owner for the right to write."
_CACHED = ("images", "features", "facts", "demo", "checkpoints")
_RESULTS = ("results.jsonl", "locks", "predictions", "work", "leaderboards")


def cache_home() -> Path:
    """Return the cache folder: `$PLACE_BENCH_CACHE`, else `place-bench` in `$XDG_CACHE_HOME`, else
    in `~/.cache`.

    Raise StorageError where there is no home to look in.
    """
    named = os.environ.get("PLACE_BENCH_CACHE")
    shared = Path(os.environ.get("XDG_CACHE_HOME", ""))
    try:
        if named:
            return Path(named).expanduser()
        if not shared.is_absolute():  # the XDG specification: a relative path is ignored
            shared = Path.home() / ".cache"
    except RuntimeError as error:
        raise StorageError(
            "there is no folder for caches: HOME is not set and this user has no home.", CACHE_HINT
        ) from error
    return shared / "place-bench"


@contextmanager
def cache_in(folder: Path) -> Iterator[None]:
    """Keep caches in `folder` for as long as the context is open."""
    before = os.environ.get("PLACE_BENCH_CACHE")
    os.environ["PLACE_BENCH_CACHE"] = str(folder)
    try:
        yield
    finally:
        del os.environ["PLACE_BENCH_CACHE"]
        if before is not None:
            os.environ["PLACE_BENCH_CACHE"] = before


def results_home() -> Path:
    """Return the results folder: `$PLACE_BENCH_RESULTS`, else `./results`."""
    return Path(os.environ.get("PLACE_BENCH_RESULTS") or "results")


def check_cache() -> Path:
    """Return the cache folder; raise StorageError unless it can be written."""
    check_folder(cache_home(), "cache folder", CACHE_HINT, _CACHED)
    return cache_home()


def tidy_caches() -> None:
    """Remove the temporary files that dead processes left in the cache folder."""
    home = cache_home()
    patterns = ("facts", "images/*", "features/*", "checkpoints/*", "checkpoints/*/work")
    sweep(*(folder for pattern in patterns for folder in home.glob(pattern)))


def check_results(folder: Path) -> Path:
    """Return `folder`; raise StorageError unless results can be written into it."""
    if (folder / "results.jsonl").exists() and not (folder / "results.jsonl").is_file():
        raise StorageError(f"{folder / 'results.jsonl'} is not a file.", RESULTS_HINT)
    check_folder(folder, "results folder", RESULTS_HINT, _RESULTS)
    return folder


def check_out(folder: Path) -> None:
    """Raise StorageError unless what a command makes can be written into `folder`."""
    check_folder(folder, "output folder", "Choose another folder with --out.")
