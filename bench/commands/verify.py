"""`place-bench results verify`: everything kept is compared with its checksums, nothing is
changed."""

from __future__ import annotations

from pathlib import Path

from bench.cells.results import ResultStore, again
from bench.commands.cache_check import verify_caches
from bench.contracts import TASKS
from bench.core.cards import CARD
from bench.core.checkpoints import Checkpoint
from bench.core.errors import CheckpointError, PlaceBenchError
from bench.core.paths import cache_home
from bench.report.gathering import gather
from bench.report.views import Views

_NEXT = "Run the same tasks again: what is damaged is made again. A torn line may be deleted."


def verify_command(results: Path, *, cache: bool) -> int:
    """Print what is damaged in a results folder (and in the cache folder); return 2 where something
    is."""
    store = ResultStore(results, warn=False)
    if not store.path.exists() and not cache:
        raise PlaceBenchError(f"no results in {store.path}.", "Name a folder with --results.")
    faults = verify_results(store)
    if cache:
        faults += verify_caches(cache_home()) + verify_checkpoints(cache_home())
    for fault in faults:
        print(fault)
    records = len(store.records())
    print(f"{records} result(s) looked at, {len(faults)} fault(s).")
    if faults:
        print(_NEXT)
    return 2 if faults else 0


def verify_results(store: ResultStore) -> list[str]:
    """Return what is damaged in a results folder, a sentence each: lines, predictions, results that
    do not belong together, pages that are not of the results."""
    faults = [line.sentence for line in store.damaged()]
    for record in store.records().values():
        fault = store.fault(record)
        faults += [f"{record['title']}: {fault} {again(record)}"] if fault else []
    for task in sorted({str(record["task"]) for record in store.records().values()}):
        if task in TASKS:
            faults += [fault for fault in gather(store, task).faults if fault not in faults]
    for task in Views(store).stale():
        faults.append(
            f"the tables of {task} are not those of its results: `place-bench leaderboard {task}`."
        )
    return faults


def verify_checkpoints(home: Path) -> list[str]:
    """Return the checkpoints in the cache whose files are not those that their card names."""
    faults = []
    for path in sorted((home / "checkpoints").glob(f"*/{CARD}")):
        try:
            Checkpoint.open(path.parent)
        except CheckpointError as error:
            faults.append(str(error))
    return faults
