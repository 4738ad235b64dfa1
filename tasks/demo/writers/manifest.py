"""Write a demo data set: studies in worker processes, each file under its final name only when
complete, DEMO.json last."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

from bench.contracts import Progress
from bench.core.errors import DataError, SettingError
from bench.core.progress import Silent
from bench.data.text import read_json
from tasks.demo.beam.render import Rendering

MANIFEST = "DEMO.json"
TRUTH = "DEMO_truth.jsonl"
WRITTEN = f".{MANIFEST}.studies"
"""What is known of the studies written so far, one line of JSON each, while a demo is rendered."""
SMALLEST = 64
MOST_STUDIES = 1_000_000
"""The shortest names (MIMIC-CXR's eight digits) have room for ten times as many."""
_CHUNK = 4


@dataclass(frozen=True)
class Job:
    """What a worker needs to write one study of a demo."""

    out: Path
    size: int
    seed: int
    studies: int


R = TypeVar("R")
Study = Callable[[Job, int], dict[str, Any]]
"""(job, number) -> what the tables say of the study that was written, and its ground truth: a list
named `truth`. It is kept as JSON until the demo is complete: a tuple comes back as a list."""
Tables = Callable[[Path, list[dict[str, Any]], int], Mapping[str, int]]
"""(out, written studies, seed) -> the counts of the tables that were written; the studies may be
sorted in place."""


def write(
    dataset: str,
    study: Study,
    tables: Tables,
    out: Path,
    *,
    studies: int,
    size: int,
    seed: int,
    version: int,
    workers: int = 2,
    progress: Progress | None = None,
) -> None:
    """Write a demo; the same seed gives the same bytes, whatever the number of workers. `study`
    must be picklable.

    Killed, it goes on where it stopped: no study that was written is rendered again. Raise
    SettingError for an impossible size or count, DataError where `out` holds something else.
    """
    settings = _settings(dataset, studies, size, seed, version)
    if not start(out, settings):
        return
    job = partial(study, Job(out, size, seed, studies))
    written = _written(out, job, studies, workers, progress, f"rendering {dataset} demo")
    counts = tables(out, written, seed)
    write_truth(out, [record for written_study in written for record in written_study["truth"]])
    finish(out, settings, counts)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file so that it is either complete or absent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    temporary.write_bytes(data)
    temporary.replace(path)


def write_table(path: Path, header: str, rows: Iterable[str]) -> None:
    """Write a CSV, gzipped without a time stamp where the name ends in .gz."""
    data = ("\n".join([header, *rows]) + "\n").encode()
    write_bytes(path, gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)


def uid(*parts: object) -> str:
    """Return a DICOM UID that depends on `parts` alone (the 2.25 form: a 128-bit number)."""
    return f"2.25.{int(digest(*parts)[:32], 16)}"


def digest(*parts: object) -> str:
    """Return a hexadecimal name that depends on `parts` alone."""
    return hashlib.sha256("/".join(map(str, parts)).encode()).hexdigest()


def start(out: Path, asked: Mapping[str, Any]) -> bool:
    """Return whether `out` must be written; False where exactly the demo `asked` for stands there
    complete.

    Raise SettingError for an impossible size or count, DataError where `out` holds another demo or
    other files.
    """
    studies = asked["studies"]
    size = asked["size"]
    if not 1 <= studies <= MOST_STUDIES or size < SMALLEST:
        raise SettingError(
            f"a demo of {studies} studies at {size} px is not possible.",
            f"1 to {MOST_STUDIES} studies of at least {SMALLEST} px.",
        )
    path = out / MANIFEST
    begun = out / f".{MANIFEST}.begun"
    for file in (path, begun):
        if file.is_file():
            settings = read_json(file)
            if not isinstance(settings, dict) or any(
                settings.get(k) != v for k, v in asked.items()
            ):
                raise DataError(
                    f"{out} holds another demo: {settings}, asked for {asked}.",
                    "Choose another folder, or render over it with --force.",
                )
            return file == begun
    if out.is_dir() and any(out.iterdir()):
        raise DataError(
            f"{out} is not empty and holds no demo.",
            "Choose an empty folder: real data is never overwritten.",
        )
    write_bytes(begun, json.dumps(asked).encode())
    return True


def finish(out: Path, settings: Mapping[str, Any], counts: Mapping[str, int]) -> None:
    """Write the manifest: from now on the folder is complete."""
    record = {**settings, "counts": dict(counts)}
    write_bytes(out / MANIFEST, (json.dumps(record, indent=1) + "\n").encode())
    for name in (f".{MANIFEST}.begun", WRITTEN):
        (out / name).unlink(missing_ok=True)


def _settings(dataset: str, studies: int, size: int, seed: int, version: int) -> dict[str, Any]:
    return {
        "data_kind": "demo",
        "renderer_version": version,
        "dataset": dataset,
        "seed": seed,
        "studies": studies,
        "size": size,
        "note": "rendered data: shows that the pipeline works, says nothing clinical",
    }


def write_truth(out: Path, records: Sequence[Mapping[str, Any]]) -> None:
    """Write the ground truth, one line of JSON per image."""
    write_bytes(out / TRUTH, "".join(json.dumps(record) + "\n" for record in records).encode())


def truth(
    image_id: str, rendering: Rendering, findings: Sequence[Any], view: str
) -> dict[str, Any]:
    """Return the ground truth of one image: what is in it, and where."""
    listed = [
        {
            "name": finding.kind if finding.name == "device" else finding.name,
            "side": finding.side,
            "location": finding.location,
            "severity": finding.severity,
            "difficulty": finding.difficulty,
        }
        for finding in findings
    ]
    return {"image_id": image_id, "view": view, "findings": listed, "boxes": rendering.boxes}


def _written(
    out: Path,
    job: Callable[[int], dict[str, Any]],
    count: int,
    workers: int,
    progress: Progress | None,
    title: str,
) -> list[dict[str, Any]]:
    """Return what every study wrote; what an interrupted run has written is read."""
    path = out / WRITTEN
    lines = _sound_lines(path)
    write_bytes(path, "".join(f"{line}\n" for line in lines.values()).encode())
    missing = [number for number in range(count) if number not in lines]
    with path.open("a", encoding="utf-8") as file:

        def keep(number: int, result: dict[str, Any]) -> None:
            lines[number] = json.dumps([number, result])
            file.write(f"{lines[number]}\n")
            file.flush()

        run(job, missing, workers, progress, title, keep, count - len(missing))
    return [json.loads(lines[number])[1] for number in range(count)]


def _sound_lines(path: Path) -> dict[int, str]:
    """Return number -> line of the studies written; the last line may be cut off."""
    lines: dict[int, str] = {}
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                lines[json.loads(line)[0]] = line
            except ValueError:
                break
    return lines


def run(
    job: Callable[[int], R],
    numbers: Sequence[int],
    workers: int,
    progress: Progress | None,
    title: str,
    keep: Callable[[int, R], None],
    done: int = 0,
) -> None:
    """Call `keep(number, job(number))` for each of `numbers`, in their order; the jobs run in
    `workers` processes (1: in this one). `done` others count as steps made."""
    total = done + len(numbers)
    with (progress or Silent()).track(title, total=total) as step, _mapper(workers) as mapper:
        step(done)
        for number, result in zip(numbers, mapper(job, numbers), strict=True):
            keep(number, result)
            step(1)


@contextmanager
def _mapper(
    workers: int,
) -> Iterator[Callable[[Callable[[int], Any], Sequence[int]], Iterator[Any]]]:
    if workers <= 1:
        yield map
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_quiet) as pool:
        yield lambda job, numbers: pool.map(job, numbers, chunksize=_CHUNK)


def _quiet() -> None:
    """Keep each worker to one thread."""
    import cv2

    cv2.setNumThreads(1)
