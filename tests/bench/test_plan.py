"""What a run means before it runs: cells, keys, and what decides neither."""

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.cell import Cell
from bench.contracts import BACKBONES, TASKS, Profile
from bench.engines.local import Job, run_jobs
from bench.errors import SettingError
from bench.plan import (
    EncoderRef,
    RunRequest,
    TaskPlan,
    check_request,
    make_cell,
    plan_task,
    settings_id,
)
from bench.progress import Silent
from bench.results import ResultStore
from tests.tasks.datasets.fakes import write_siim


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLACE_BENCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def two_orders(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """Yield two folders of the same data whose tables have their rows in another order."""
    roots = (tmp_path / "one" / "siim", tmp_path / "two" / "siim")
    for root in roots:
        write_siim(root)
    table = roots[1] / "train-rle.csv"
    header, *rows = table.read_text().splitlines()
    random.Random(1).shuffle(rows)
    table.write_text("\n".join([header, *rows]) + "\n")
    yield roots[0].parent, roots[1].parent


def planned(task: str, root: Path, **changes: object) -> tuple[TaskPlan, RunRequest]:
    request = replace(RunRequest((task,), ("random",), data_root=root, workers=1), **changes)
    return plan_task(task, request, Silent()), request


def cell_of(plan: TaskPlan, request: RunRequest) -> Cell:
    encoder = EncoderRef("resnet_demo")
    return make_cell(plan, BACKBONES.get("random"), encoder, 1.0, 0, request)


@pytest.mark.parametrize("task", ["siim_seg", "siim_cls"])
def test_rows_in_another_order_are_the_same_cell(task: str, two_orders: tuple[Path, Path]) -> None:
    (one, request), (two, _) = (planned(task, root) for root in two_orders)
    assert one.index["image_id"].tolist() == two.index["image_id"].tolist()
    assert one.index["split"].tolist() == two.index["split"].tolist()
    assert cell_of(one, request).key == cell_of(two, request).key


def test_rows_in_another_order_give_the_same_bits(
    two_orders: tuple[Path, Path], tmp_path: Path
) -> None:
    tables = []
    for root, name in zip(two_orders, ("one", "two"), strict=True):
        plan, request = planned("siim_cls", root, results=tmp_path / name)
        job = Job(cell_of(plan, request), plan, EncoderRef(""))
        assert not run_jobs([job], request, Silent()).failed
        tables.append(ResultStore(request.results).load_predictions(job.cell.key).table)
    scores = [table["score:Pneumothorax"].to_numpy() for table in tables]
    assert tables[0]["image_id"].tolist() == tables[1]["image_id"].tolist()
    np.testing.assert_array_equal(scores[0], scores[1])


def test_a_published_procedure_sees_the_table_as_it_is(two_orders: tuple[Path, Path]) -> None:
    """MGCA draws by the order of the rows: another order is another split of its own."""
    one, two = (planned("siim_seg", root, protocol="mgca")[0] for root in two_orders)
    assert one.split_hash != two.split_hash


def test_a_main_metric_that_no_result_will_have_is_refused_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wrong = replace(TASKS.get("siim_seg"), name="wrong_seg", main_metric="dice_per_imgae")
    monkeypatch.setitem(TASKS._items, "wrong_seg", wrong)
    with pytest.raises(SettingError, match=r"'wrong_seg' is 'dice_per_imgae'.*Did you mean dice"):
        check_request(RunRequest(("wrong_seg",), ("random",)))


@pytest.mark.parametrize("name", TASKS.names())
@pytest.mark.parametrize("profile", ["demo", "paper"])
def test_every_task_has_a_main_metric_that_its_kind_gives(name: str, profile: Profile) -> None:
    check_request(RunRequest((name,), ("random",), profile=profile))


def test_threads_belong_to_a_cell_whose_head_is_trained(two_orders: tuple[Path, Path]) -> None:
    plan, request = planned("siim_cls", two_orders[0])
    two, four = (cell_of(plan, replace(request, threads=count)) for count in (2, 4))
    assert two.key != four.key and settings_id(two) != settings_id(four)
    assert two.key == cell_of(plan, replace(request, threads=2)).key


def test_threads_are_no_part_of_a_cell_in_which_nothing_is_trained() -> None:
    facts = ("t", "zero_shot", "d", "b", "", 1.0, 0, "default", "demo", "demo", "", "", "", 1)
    plain = Cell(*facts)
    assert plain.threads is None
    assert replace(plain, threads=2).key != plain.key
