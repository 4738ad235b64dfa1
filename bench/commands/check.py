"""`place-bench check`: a plug-in tried on small data made for it; everything that is missing in one
list."""

from __future__ import annotations

import dataclasses
import json
import shutil
import tempfile
import textwrap
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from bench.commands.squares import Squares
from bench.contracts import (
    BACKBONES,
    DATASETS,
    KINDS,
    TASKS,
    BackboneRequest,
    BackboneSpec,
    Dataset,
    TaskSpec,
)
from bench.core import registry
from bench.core.declaring import collecting_faults, importing, is_built_in, of_plugin
from bench.core.errors import NotApplicableError, PlaceBenchError
from bench.core.paths import cache_in
from bench.core.progress import Silent

SMALL = {"epochs": "1", "batch_size": "4"}
"""Settings of a training that is only tried."""
_TINY = ".tiny"
"""What stands behind the name of a task that is tried."""
_TRIAL = "place-bench check"
"""Who registers what is made for a trial."""


@dataclass(frozen=True)
class Line:
    """One thing that was looked at: `what` ("dataset mine"), which part, and what came out."""

    what: str
    part: str
    state: Literal["ok", "missing", "not tried"]
    message: str = ""


def check_command(file: Path, *, as_json: bool) -> int:
    """Try a plug-in and print a line per part; return 2 where something is missing."""
    with (
        tempfile.TemporaryDirectory(prefix="place-bench-check-") as folder,
        cache_in(Path(folder, "cache")),
    ):
        lines = list(try_plugin(file, Path(folder)))
    if as_json:
        print(json.dumps([asdict(line) for line in lines], indent=2, ensure_ascii=False))
    else:
        _print(lines)
    return 2 if any(line.state == "missing" for line in lines) else 0


def try_plugin(file: Path, folder: Path) -> Iterator[Line]:
    """Yield what a plug-in registers and whether it works, faults of its declarations first.

    `folder` holds the data of the trials.
    """
    plugin = str(Path(file).resolve())
    with collecting_faults() as faults:
        try:
            registry.load_plugin(file)
            registry.check_registered(plugin)
            registry.check_plugins()
        except PlaceBenchError as error:
            faults.append(error)
    for fault in faults:
        yield Line("declarations", "import", "missing", _without(plugin, fault))
    if not faults:
        names = [f"{each.kind} {name}" for each in _registries() for name in _names(each, plugin)]
        yield Line("declarations", "import", "ok", ", ".join(names))
    trial = _Trial(plugin, folder, sound=not faults)
    yield from trial.datasets()
    yield from trial.encoders()
    yield from trial.tasks()


def _registries() -> tuple[registry.Registry[Any], ...]:
    return (DATASETS, KINDS, TASKS, BACKBONES)


def _names(names: registry.Registry[Any], plugin: str) -> list[str]:
    return [name for name in names.registered(plugin) if not name.endswith(":")]


@dataclass(frozen=True)
class _Trial:
    plugin: str
    folder: Path
    sound: bool
    """Whether the declarations have no fault: else what stands on them is not tried."""

    def datasets(self) -> Iterator[Line]:
        for name in _names(DATASETS, self.plugin):
            what = f"dataset {name}"
            if not self.sound:
                yield Line(what, "index", "not tried", "Mend the declarations first.")
            elif not DATASETS.get(name).has_demo:
                message = (
                    "it has no make_demo(); with its files, "
                    f"`place-bench --plugin {self.plugin} data verify {name}` tries it."
                )
                yield Line(what, "index", "not tried", message)
            else:
                yield from self._lines(
                    what, "index of its demo", partial(_index, name, self.folder)
                )

    def encoders(self) -> Iterator[Line]:
        for name in _names(BACKBONES, self.plugin):
            spec = BACKBONES.get(name)
            tried = "one epoch, then features" if spec.method else "features"
            yield from self._lines(f"backbone {name}", tried, partial(self._encoder, spec))

    def tasks(self) -> Iterator[Line]:
        kinds = set(_names(KINDS, self.plugin))
        for name in _names(TASKS, self.plugin):
            task = TASKS.get(name)
            kinds.discard(task.kind)
            if not self.sound:
                yield Line(f"task {name}", "head", "not tried", "Mend the declarations first.")
            else:
                yield from self._lines(f"task {name}", "head", partial(self._head, task))
        for name in sorted(kinds):
            yield Line(f"task kind {name}", "head", "not tried", "No task of the plug-in is of it.")

    def _lines(
        self, what: str, part: str, work: Callable[[], Iterable[PlaceBenchError | str]]
    ) -> Iterator[Line]:
        """Yield a line per fault that `work` yields or raises, or "ok" with what else it says."""
        said: list[str] = []
        faults: list[PlaceBenchError] = []
        try:
            with importing(self.plugin, "failed", "Mend that line."):
                for each in work():
                    if isinstance(each, str):
                        said.append(each)
                    else:
                        faults.append(each)
        except NotApplicableError as error:
            yield Line(what, part, "not tried", _without(self.plugin, error))
            return
        except PlaceBenchError as error:
            faults.append(error)
        for fault in faults:
            yield Line(what, part, "missing", _without(self.plugin, fault))
        if not faults:
            yield Line(what, part, "ok", " ".join(said))

    def _encoder(self, spec: BackboneSpec) -> Iterator[PlaceBenchError | str]:
        from bench.cells.encoders import PretrainRequest, check_encoder, train_encoder
        from bench.encoding.probe import encoder_faults

        asked = PretrainRequest(spec.name, workers=1, threads=1)
        checkpoint = None
        if spec.method:
            settings = spec.pretraining.settings if spec.pretraining else None
            with _squares(self.folder, has_reports=True) as squares:
                asked = replace(
                    asked,
                    dataset=squares.name,
                    data="real",
                    data_root=self.folder,
                    settings=_small(settings),
                    out=self.folder / spec.name,
                )
                checkpoint = train_encoder(asked, Silent()).checkpoint
        else:
            check_encoder(asked)
        wanted = BackboneRequest("demo", checkpoint=checkpoint)
        encoder = spec.build(replace(wanted, architecture=spec.architecture(wanted)))
        yield from encoder_faults(encoder)
        yield f"{encoder.architecture}, {encoder.input.size} px"

    def _head(self, task: TaskSpec) -> Iterator[PlaceBenchError | str]:
        from bench.api import run

        kind = KINDS.get(task.kind)
        encoders = [_untrained()]
        for name in _names(BACKBONES, self.plugin):
            if not BACKBONES.get(name).method:
                encoders.append(name)
        settings = kind.settings(task, "default", "demo", {})
        with _squares(self.folder, DATASETS.get(task.dataset), task) as squares:
            tiny = replace(task, name=f"{task.name}{_TINY}", dataset=squares.name, groups=())
            TASKS.add(tiny.name, tiny)
            for encoder in encoders:
                outcome = run(
                    tiny.name,
                    encoder,
                    fractions=[1.0],
                    settings=_small(type(settings)),
                    data="real",
                    data_root=self.folder,
                    results=self.folder / "results",
                    workers=1,
                    threads=1,
                )
                if outcome.records:
                    break
        if not outcome.records:
            raise NotApplicableError(" ".join(outcome.left_out))
        metrics = [name for name in outcome.records[0] if name.startswith("metric:")]
        yield f"{len(metrics)} metric{'s' if len(metrics) > 1 else ''}"


def _untrained() -> str:
    """Return the name of an encoder that is built in and needs no weights."""
    return next(name for name, spec in BACKBONES.items() if spec.seeded and is_built_in(spec.build))


def _small(settings: type[Any] | None) -> dict[str, str]:
    names = {field.name for field in dataclasses.fields(settings)} if settings else set()
    return {name: value for name, value in SMALL.items() if name in names}


def _index(name: str, folder: Path) -> Iterator[PlaceBenchError | str]:
    from bench.data.indexing import read_index

    dataset = DATASETS.get(name)
    root = folder / name
    root.mkdir(parents=True)
    dataset.make_demo(root, studies=16, size=64, seed=0, workers=1)
    index, _ = read_index(dataset, root)
    yield f"{len(index)} images of {index['patient_id'].nunique()} patients"
    for finding in dataset.validate(root):
        if finding.level == "error":
            yield PlaceBenchError(f"validate(): {finding.message}")


@contextmanager
def _squares(
    folder: Path,
    like: Dataset | None = None,
    task: TaskSpec | None = None,
    *,
    has_reports: bool = False,
) -> Iterator[Dataset]:
    """Register rendered squares with the annotations of `like` and the labels of `task`, and take
    them back afterwards."""
    squares = Squares(like, task, has_reports=has_reports)
    squares.make_demo(folder / squares.name, studies=24, size=48, seed=0)
    try:
        with of_plugin(_TRIAL):
            DATASETS.add(squares.name, squares)
            yield squares
    finally:
        for each in _registries():
            each.forget(_TRIAL)
        shutil.rmtree(folder / squares.name)


def _without(plugin: str, error: PlaceBenchError) -> str:
    """Return the sentence of an error without the file, which stands above the list."""
    text = str(error)
    for start in (f"plug-in {plugin}, ", f"plug-in {plugin}: ", f"plug-in {plugin} "):
        text = text.removeprefix(start)
    return text.replace(f"{_TINY}'", "'")


def _print(lines: Iterable[Line]) -> None:
    what = ""
    for line in lines:
        if line.what != what:
            what = line.what
            print(what)
        state = "missing:" if line.state == "missing" else line.state
        text = f"{line.part}. {line.message}" if line.message else f"{line.part}."
        print(
            textwrap.fill(
                text,
                80,
                initial_indent=f"  {state:<10} ",
                subsequent_indent=" " * 13,
                break_long_words=False,
                break_on_hyphens=False,
            )
        )
