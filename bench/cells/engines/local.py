"""Run planned cells one after the other in this process; several such processes may share a results
folder."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.cells.cell import Cell
from bench.cells.loading import load_encoder
from bench.cells.prepare import EncoderRef, TaskPlan
from bench.cells.request import RunRequest
from bench.cells.results import ResultStore
from bench.cells.runner import encoder_seed, failure, run_cell
from bench.contracts import BACKBONES, BackboneRequest, BackboneSpec, ImageEncoder, Progress
from bench.core.errors import NotApplicableError, PlaceBenchError, StorageError
from bench.core.machine import use_threads


@dataclass(frozen=True)
class Job:
    """A cell with what it needs to run."""

    cell: Cell
    plan: TaskPlan
    encoder: EncoderRef


@dataclass
class CellOutcomes:
    """What happened to every cell of a run."""

    done: list[dict[str, Any]] = field(default_factory=list)
    reused: list[str] = field(default_factory=list)
    failed: list[dict[str, Any]] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def run_jobs(jobs: Sequence[Job], request: RunRequest, progress: Progress) -> CellOutcomes:
    """Run every job that has no result yet; cells another process holds are left to the end and
    waited for."""
    use_threads(request.threads)
    session = _Session(request, progress)
    if request.on_error == "stop":
        session.encoders.check(jobs)
    busy = [job for job in jobs if not session.attempt(job, wait=False)]
    if busy:
        progress.say(f"{len(busy)} cell(s) are being run by another process; waiting for it.")
    for job in busy:
        session.attempt(job, wait=True)
    return session.outcome


def rename_rows(jobs: Sequence[Job], request: RunRequest) -> int:
    """Give finished cells the name by which their encoder is asked for now: `?name=mine` renames a
    row and runs nothing. Return how many were renamed."""
    store = ResultStore(request.results)
    records = store.records()
    renamed = 0
    for job in jobs:
        record = records.get(job.cell.key)
        if record and record.get("label") != job.cell.label:
            store.append({**record, **job.cell.names, "title": job.cell.title})
            renamed += 1
    return renamed


class _Session:
    def __init__(self, request: RunRequest, progress: Progress) -> None:
        self.request = request
        self.progress = progress
        self.store = ResultStore(request.results)
        self.outcome = CellOutcomes()
        self.encoders = LoadedEncoder(request)

    def attempt(self, job: Job, *, wait: bool) -> bool:
        """Run or reuse one job; return False where another process holds it."""
        with self.store.claim(job.cell.key, wait=wait) as ours:
            if not ours:
                return False
            # Read again under the claim: another process may have finished it a moment ago.
            if not self.request.force and self.store.finished([job.cell.key]):
                self.outcome.reused.append(job.cell.key)
            else:
                self._run(job)
        return True

    def _run(self, job: Job) -> None:
        self.progress.say(job.cell.title)
        encoders = self.encoders
        baseline = BACKBONES.get(job.cell.encoder_name).baseline
        try:
            record = run_cell(
                job.cell,
                job.plan,
                job.encoder,
                None if baseline else encoders.get(job),
                self.store,
                encoders.device,
                self.progress,
                None if baseline else encoders.test_maps,
            )
        except NotApplicableError as error:
            self.outcome.left_out.append(f"{job.cell.title}: {error}")
            self.progress.say(f"    left out: {error}")
            return
        except StorageError:
            raise  # a full disk is no fault of the cell, and its record could not be written either
        except PlaceBenchError as error:
            self._fail(job, error)
            return
        self.outcome.done.append(record)
        metric = job.plan.kind.metric_of(job.plan.task, job.cell.protocol)
        self.progress.say(f"    {_summary(record, metric)}")

    def _fail(self, job: Job, error: PlaceBenchError) -> None:
        record = failure(job.cell, error)
        self.store.append(record)
        if self.request.on_error == "stop":
            raise error
        self.outcome.failed.append(record)
        self.progress.say(f"    failed: {error}")


def _summary(record: dict[str, Any], metric: str) -> str:
    value = record.get(f"metric:{metric}")
    low = record.get(f"low:{metric}")
    high = record.get(f"high:{metric}")
    figure = "undefined"
    if value is not None and low is not None and high is not None:
        figure = f"{value:.3f} [{low:.3f}, {high:.3f}]"
    seconds = sum(value for name, value in record.items() if name.startswith("seconds:"))
    return f"{metric} {figure} in {seconds:.0f} s"


class LoadedEncoder:
    """The encoder of the job at hand: built when another is asked for, and the one before let go
    first (several large ones would not fit)."""

    def __init__(self, request: RunRequest) -> None:
        self.device = pick_device(request.device)
        self.test_maps: dict[str, Any] = {}
        """Maps of the encoder that is loaded (`CellContext.test_maps`)."""
        self._loaded: tuple[object, ImageEncoder] | None = None

    def get(self, job: Job) -> ImageEncoder:
        """Return the encoder of a job on the run's device."""
        spec = BACKBONES.get(job.cell.encoder_name)
        seed = encoder_seed(job.cell)
        name = (spec.name, job.encoder, seed)
        if self._loaded is None or self._loaded[0] != name:
            self._loaded = None
            self.test_maps = {}
            gc.collect()
            self._loaded = (name, self._build(spec, job, seed))
        return self._loaded[1]

    def check(self, jobs: Sequence[Job]) -> None:
        """Build the encoder of every job once, so that one that does not load stops a run at its
        start and not hours later."""
        checked: set[tuple[str, EncoderRef]] = set()
        for job in reversed(jobs):  # the first one is built last, and kept for its turn
            encoder = (job.cell.encoder_name, job.encoder)
            if encoder not in checked and not BACKBONES.get(job.cell.encoder_name).baseline:
                checked.add(encoder)
                self.get(job)

    def _build(self, spec: BackboneSpec, job: Job, seed: int) -> ImageEncoder:
        request = BackboneRequest(
            job.cell.profile,
            job.encoder.architecture,
            seed,
            job.encoder.checkpoint,
            dict(job.cell.backbone_settings),
        )
        return load_encoder(spec, request, self.device)


def pick_device(name: str) -> str:
    """Return the device to use: `auto` takes a GPU where there is one; a named one that is absent
    is an error."""
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise PlaceBenchError(
            f"device '{name}' was asked for and this machine has no CUDA device.",
            "Use --device cpu or auto.",
        )
    return name
