"""`place-bench power` on a store of known differences."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bench.cells.results import ResultStore
from bench.commands.power import power_command
from bench.contracts import Predictions
from bench.core.errors import PlaceBenchError
from bench.report.leaderboard import build
from bench.report.leaderboard_pages import to_markdown
from tests.support.results import add


def noisy(store: ResultStore, name: str, seed: int) -> np.ndarray:
    """Add a row whose 200 values spread on their own, and return them."""
    add(store, name, 0.5)
    record = store.records()[next(key for key in store.records() if key.startswith(f"{name}-"))]
    values = np.random.default_rng(seed).normal(0.5, 0.1, 200)
    ids = np.arange(200).astype(str)
    table = pd.DataFrame({"image_id": ids, "patient_id": ids, "value": values})
    bare = {k: v for k, v in record.items() if k not in ("checksum", "hash:predictions")}
    store.finish(bare, Predictions(table))
    return values


def test_the_smallest_difference_is_that_of_a_paired_t_test(
    store: ResultStore, capsys: pytest.CaptureFixture[str]
) -> None:
    one = noisy(store, "a", 1)
    other = noisy(store, "b", 2)
    power_command("fake_task", 0.01, "", store.root, as_json=True)
    (row,) = json.loads(capsys.readouterr().out)
    error = (one - other).std(ddof=1) / np.sqrt(200)
    shift = row["smallest_difference"] / error
    limit = stats.t.ppf(0.975, 199)
    assert stats.nct.sf(limit, 199, shift) == pytest.approx(0.8, abs=0.03)  # 1,000 resamples
    assert row["patients_needed"] == pytest.approx(7.849 * (error / 0.01) ** 2 * 200, rel=0.1)
    assert row["smallest_difference_corrected"] == row["smallest_difference"]  # one pair


def test_the_page_and_the_line_under_a_table_say_the_same(
    store: ResultStore, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, name in enumerate(("a", "b", "c")):
        noisy(store, name, number)
    power_command("fake_task", 0.03, "", store.root)
    page = capsys.readouterr().out
    (table,), _ = build(store, "fake_task")
    line = next(line for line in to_markdown(table).splitlines() if line.startswith("Power: "))
    smallest = line.split("a difference of ")[1].split(" ")[0]
    assert f"A difference of {smallest} in score" in page
    assert "after correction for 3 pairs" in page
    assert page.count("(net) and ") == 3


def test_one_row_has_nothing_to_compare(
    store: ResultStore, capsys: pytest.CaptureFixture[str]
) -> None:
    add(store, "a", 0.5)
    power_command("fake_task", 0.03, "", store.root)
    assert "There are no two encoders to compare." in capsys.readouterr().out


def test_a_task_without_results_says_how_to_get_them(store: ResultStore, tmp_path: Path) -> None:
    with pytest.raises(PlaceBenchError, match="has no results"):
        power_command("fake_task", 0.03, "", tmp_path / "elsewhere")


def test_two_rows_that_no_resample_tells_apart_say_nothing_of_power(
    store: ResultStore, capsys: pytest.CaptureFixture[str]
) -> None:
    add(store, "a", 0.5)
    add(store, "b", 0.5)
    power_command("fake_task", 0.03, "", store.root)
    assert "There are no two encoders to compare." in capsys.readouterr().out
    noisy(store, "c", 3)
    power_command("fake_task", 0.03, "", store.root)
    assert capsys.readouterr().out.count("(net) and ") == 2
