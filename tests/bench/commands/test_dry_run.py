"""A dry run says which cells have a result and how long the others take; it leaves no trace."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.cells.prepare import settings_hash
from bench.cells.request import RunRequest, head_settings
from bench.cells.results import ResultStore
from bench.commands.dry_run import MAYBE, OPEN, plan_run, print_json, print_plan, time_left
from bench.commands.run import run_command
from bench.contracts import KINDS, TASKS
from bench.core.errors import SettingError
from bench.core.hashing import flatten
from tests.support.results import add


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLACE_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("PLACE_BENCH_DATA", raising=False)


def asked(results: Path, **changes: Any) -> RunRequest:
    facts: dict[str, Any] = {"seeds": (0, 1), "results": results, "threads": 1, **changes}
    return RunRequest(("siim_seg",), ("random",), **facts)


def timed(store: ResultStore, seconds: float, **facts: Any) -> None:
    """Append a result on SIIM that took `seconds`, of a label fraction that nobody asks for."""
    known = {
        "task": "siim_seg",
        "kind": "segmentation",
        "dataset": "siim",
        "architecture": "resnet_demo",
        "source": "random",
        "evaluator_version": KINDS.get("segmentation").evaluator_version,
    }
    phases = {"seconds:fit": seconds - 1, "seconds:score": 1.0}
    add(store, "random", 0.5, phases, **{"fraction": 0.5, **known, **facts})


def contents(folder: Path) -> dict[Path, tuple[bytes, int]]:
    return {
        path: (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_rest_takes_the_median_of_earlier_cells_of_the_same_work(store: ResultStore) -> None:
    for seed, seconds in enumerate((10.0, 20.0, 60.0)):
        timed(store, seconds, seed=seed)
    timed(store, 5000.0, architecture="vit_demo")
    timed(store, 5000.0, profile="paper")
    (task,) = plan_run(asked(store.root))
    row, baseline = task.rows
    assert (row.encoder, row.architecture) == ("random", "resnet_demo")
    assert [(cell.label_fraction, cell.seed) for cell in row.cells] == [
        (0.1, 0), (0.1, 1), (1.0, 0), (1.0, 1)
    ]  # fmt: skip
    assert {(cell.state, cell.seconds) for cell in row.cells} == {(OPEN, 20.0)}
    assert {cell.seconds for cell in baseline.cells} == {None}
    known, unknown = time_left([task])
    assert known.startswith("Time: about 80 s for 4 cells")
    assert unknown.startswith("Time: not known for 4 cells")


def test_a_cell_that_has_a_result_is_not_in_the_time(store: ResultStore) -> None:
    request = asked(store.root, fractions=(0.1,))
    settings = flatten(head_settings(TASKS.get("siim_seg"), request))
    timed(store, 30.0, fraction=0.1, seed=1, settings_id=settings_hash(settings, 1))
    (task,) = plan_run(request)
    assert [(cell.state, cell.seconds) for cell in task.rows[0].cells] == [
        (OPEN, 30.0), (MAYBE, None)
    ]  # fmt: skip
    (forced,) = plan_run(asked(store.root, fractions=(0.1,), force=True))
    assert [(cell.state, cell.seconds) for cell in forced.rows[0].cells] == [(OPEN, 30.0)] * 2


def test_encoders_without_a_checkpoint_are_listed_as_pretrained_first(
    store: ResultStore, capsys: pytest.CaptureFixture[str]
) -> None:
    request = asked(store.root)
    both = RunRequest(
        ("siim_seg", "siim_cls"),
        ("convirt", "random"),
        settings={"pretrain.epochs": "1"},
        results=store.root,
    )
    assert not [line for line in time_left(plan_run(request)) if "Pre-trained" in line]
    print_plan(plan_run(both))
    out = capsys.readouterr().out
    assert out.count("Pre-trained first, which takes time of its own: convirt.") == 1


def test_the_page_fits_a_narrow_terminal_and_json_has_the_same(
    store: ResultStore, capsys: pytest.CaptureFixture[str]
) -> None:
    timed(store, 20.0)
    tasks = plan_run(asked(store.root))
    print_plan(tasks)
    page = capsys.readouterr().out
    assert max(map(len, page.splitlines())) <= 80
    assert "0.1 of labels: would run (seeds 0, 1, about 20 s each)" in page
    assert "8 cells (would run: 8)." in page
    print_json(tasks)
    content = json.loads(capsys.readouterr().out)
    assert content["seconds_left"] == 80.0 and content["cells_of_unknown_time"] == 4
    assert content["pretrained_first"] == []
    first = content["tasks"][0]["rows"][0]["cells"][0]
    assert first == {"label_fraction": 0.1, "seed": 0, "state": OPEN, "seconds": 20.0}


def test_a_dry_run_leaves_no_trace(store: ResultStore, tmp_path: Path) -> None:
    timed(store, 20.0)
    before = contents(tmp_path)
    assert run_command(asked(store.root), dry_run=True) == 0
    assert run_command(asked(store.root), dry_run=True, as_json=True) == 0
    assert contents(tmp_path) == before


def test_json_without_a_dry_run_is_refused(store: ResultStore) -> None:
    with pytest.raises(SettingError, match="--json is for a dry run.*Add --dry-run"):
        run_command(asked(store.root), dry_run=False, as_json=True)


def test_a_time_below_a_second_is_said_as_such(
    store: ResultStore, capsys: pytest.CaptureFixture[str]
) -> None:
    timed(store, 0.1)
    print_plan(plan_run(asked(store.root)))
    page = capsys.readouterr().out
    assert "would run (seeds 0, 1, under 1 s each)" in page and "about under" not in page
