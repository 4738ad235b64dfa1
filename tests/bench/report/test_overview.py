"""The page over many tasks: wins, ties and losses of encoders that have a value in every task."""

from __future__ import annotations

import csv
from collections.abc import Mapping

import pytest

from bench import contracts
from bench.cells.results import ResultStore
from bench.contracts import TaskSpec
from bench.report.leaderboard import Table, build
from bench.report.overview import build_overviews, overview_csv, overview_markdown, overview_pages
from tests.support.results import add


@pytest.fixture(autouse=True)
def _second_task(monkeypatch: pytest.MonkeyPatch) -> None:
    """A task in which a lower value is the better one."""
    contracts.TASKS.names()
    task = TaskSpec("other", "fake", "none", "Another", "mean_rank")
    monkeypatch.setitem(contracts.TASKS._items, "other", task)


def filled(
    store: ResultStore,
    task: str,
    values: Mapping[str, float],
    named: Mapping[str, str] | None = None,
    **facts: str,
) -> None:
    for name, value in values.items():
        add(store, name, value, {"task": task, **(named or {}), **facts})


def tables(store: ResultStore) -> dict[str, list[Table]]:
    return {name: build(store, name)[0] for name in ("fake_task", "other")}


def test_wins_are_counted_in_each_tasks_own_direction(store: ResultStore) -> None:
    filled(store, "fake_task", {"a": 0.8, "b": 0.6, "c": 0.2})
    filled(store, "other", {"a": 3.0, "b": 1.0, "c": 5.0}, {"hash:test": "other images"})
    (overview,) = build_overviews(tables(store))
    standings = {each.name: (each.wins, each.ties, each.losses) for each in overview.standings}
    assert standings == {
        "a (net)": (1.5, 0, 0.5),
        "b (net)": (1.5, 0, 0.5),
        "c (net)": (0, 0, 2),
    }


def test_every_kind_of_task_has_its_section_and_a_column_of_the_summary(
    store: ResultStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A text-only kind leaves an encoder without texts comparable in the other kind."""
    monkeypatch.setitem(contracts.KINDS._items, "texts", contracts.KINDS.get("fake"))
    task = TaskSpec("other", "texts", "none", "Another", "mean_rank")
    monkeypatch.setitem(contracts.TASKS._items, "other", task)
    filled(store, "fake_task", {"a": 0.8, "b": 0.6, "images alone": 0.9})
    filled(store, "other", {"a": 3.0, "b": 1.0}, kind="texts")
    overviews = build_overviews(tables(store))
    assert [overview.facts["kind"] for overview in overviews] == ["fake", "texts"]
    assert not any(overview.left_out for overview in overviews)
    page = overview_pages(overviews)["overview.md"]
    rows = page[: page.index("### Overview of fake: 1 task")].splitlines()
    assert "| encoder | fake | texts |" in rows
    assert "| images alone (net) | +1.00 | n/a |" in rows
    assert "| a (net) | +0.00 | -1.00 |" in rows and "| b (net) | -1.00 | +1.00 |" in rows
    assert "### Overview of texts: 1 task" in page


def test_equal_encoders_tie(store: ResultStore) -> None:
    filled(store, "fake_task", {"a": 0.5, "b": 0.5})
    filled(store, "other", {"a": 2.0, "b": 2.0})
    (overview,) = build_overviews(tables(store))
    standings = [(each.wins, each.ties, each.losses) for each in overview.standings]
    assert standings == [(0, 1, 0), (0, 1, 0)]


def test_who_lacks_a_task_has_values_and_no_rank(store: ResultStore) -> None:
    filled(store, "fake_task", {"a": 0.8, "b": 0.6, "partial | x": 0.9})
    filled(store, "other", {"a": 3.0, "b": 1.0})
    (overview,) = build_overviews(tables(store))
    assert overview.left_out == ["partial | x (net)"]
    page = overview_markdown(overview)
    row = next(line for line in page.splitlines() if line.startswith("| partial"))
    assert row.startswith(r"| partial \| x (net) | 0.900 [") and row.endswith("| n/a |")
    assert r"for want of some tasks: partial \| x (net)." in page
    rows = list(csv.DictReader(overview_csv([overview]).splitlines()))
    assert [row["encoder"] for row in rows] == ["a (net)", "b (net)"]
    assert rows[0]["tasks"] == "fake_task other" and float(rows[0]["wins"]) == 0.5


def test_one_encoder_has_values_and_no_rank(store: ResultStore) -> None:
    filled(store, "fake_task", {"a": 0.8})
    filled(store, "other", {"a": 3.0})
    (overview,) = build_overviews(tables(store))
    page = overview_markdown(overview)
    assert "Wins and losses need two encoders" in page
    assert "| encoder | wins" not in page
    row = next(line for line in page.splitlines() if line.startswith("| a (net)"))
    assert row.startswith("| a (net) | 0.800 [") and "3.000 [" in row


def test_one_task_makes_no_overview_and_protocols_are_kept_apart(store: ResultStore) -> None:
    filled(store, "fake_task", {"a": 0.8, "b": 0.6})
    filled(store, "other", {"a": 3.0, "b": 1.0}, protocol="mgca")
    assert build_overviews(tables(store)) == []
    filled(store, "other", {"a": 3.0, "b": 1.0})
    (overview,) = build_overviews(tables(store))
    assert overview.facts["protocol"] == "default"


def test_of_several_tables_of_a_task_the_one_with_most_rows_counts(store: ResultStore) -> None:
    filled(store, "fake_task", {"a": 0.8, "b": 0.6}, settings_id="few")
    filled(store, "fake_task", {"a": 0.1, "b": 0.2, "c": 0.3}, settings_id="many")
    filled(store, "other", {"a": 3.0, "b": 1.0, "c": 2.0})
    assert len(tables(store)["fake_task"]) == 2
    (overview,) = build_overviews(tables(store))
    assert overview.values["fake_task"]["c (net)"].value == pytest.approx(0.3)
    assert not overview.left_out


def test_demo_and_real_data_have_pages_of_their_own(store: ResultStore) -> None:
    for kind in ("demo", "real"):
        filled(store, "fake_task", {"a": 0.8, "b": 0.6}, data_kind=kind)
        filled(store, "other", {"a": 3.0, "b": 1.0}, data_kind=kind)
    pages = overview_pages(build_overviews(tables(store)))
    assert sorted(pages) == [
        "overview.csv", "overview.demo.csv", "overview.demo.md", "overview.md"
    ]  # fmt: skip
    assert "says nothing clinical" in pages["overview.demo.md"]
    assert "says nothing clinical" not in pages["overview.md"]


def test_a_row_that_is_not_ranked_has_values_and_neither_wins_nor_loses(
    store: ResultStore,
) -> None:
    values = {"a": 0.8, "b": 0.6, "supervised": 0.9}
    filled(store, "fake_task", values)
    filled(store, "other", values, {"hash:test": "other images"})
    (overview,) = build_overviews(tables(store))
    assert {each.name for each in overview.standings} == {"a (net)", "b (net)"}
    assert [each.wins + each.ties + each.losses for each in overview.standings] == [2, 2]
    assert overview.left_out == [] and overview.unranked == ["supervised (net)"]
    page = overview_markdown(overview)
    assert "supervised" not in page.split("\n| encoder | fake_task")[0]
    assert page.count("| supervised (net) | 0.900 [") == 1
    assert "not ranked: supervised (net)." in page
    assert "supervised" not in overview_csv([overview])


def test_encoders_that_saw_more_than_images_and_reports_are_named(store: ResultStore) -> None:
    for task in ("fake_task", "other"):
        add(store, "a", 0.8, {"task": task}, supervision=["gaze", "labels"])
        add(store, "b", 0.6, {"task": task})
    (overview,) = build_overviews(tables(store))
    assert overview.supervision == {"a (net)": "gaze labels"}
    page = overview_markdown(overview)
    assert "Learned from more than images and reports: a (net) (gaze, labels)." in page


def test_an_overview_without_such_encoders_says_nothing_of_them(store: ResultStore) -> None:
    for task in ("fake_task", "other"):
        filled(store, task, {"a": 0.8, "b": 0.6})
    (overview,) = build_overviews(tables(store))
    assert "more than images" not in overview_markdown(overview)
