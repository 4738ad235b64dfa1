"""Tables as text: what a reader and a program find in them."""

from __future__ import annotations

import csv

import pytest

from bench.cells.results import ResultStore
from bench.report.csv_files import csv_text, differences_csv, to_csv, to_rows
from bench.report.leaderboard import Table, build
from bench.report.leaderboard_pages import comparison, to_markdown
from bench.report.markdown import escape, share
from tests.support.results import add


@pytest.fixture
def table(store: ResultStore) -> Table:
    """Three encoders, of which two are equal; one of them has two seeds."""
    for name, mean in (("a", 0.7), ("b", 0.5), ("c", 0.5)):
        add(store, name, mean)
    add(store, "a", 0.9, seed=1)
    (built,) = build(store, "fake_task")[0]
    return built


def test_a_row_is_the_mean_over_seeds_and_the_best_is_bold(table: Table) -> None:
    lines = to_markdown(table).splitlines()
    assert lines[0] == "### A fake task" and "**" in lines[4]
    rows = [line for line in lines if line.startswith(("| a", "| b", "| c"))][:3]
    assert rows[0].startswith("| a (net) | **0.800") and rows[0].endswith("| 2 | 200 |")
    assert rows[1].startswith("| b (net) | 0.500") and rows[1].endswith("| 1 | 200 |")


def test_rows_for_programs_have_six_digits_and_say_who_ties(table: Table) -> None:
    rows = {row["encoder"]: row for row in to_rows(table)}
    assert rows["a (net)"]["value"] == "0.800000" and rows["a (net)"]["seeds"] == 2
    assert float(rows["a (net)"]["seed_sd"]) == pytest.approx(0.2 / 2**0.5, abs=1e-6)
    assert [rows[f"{name} (net)"]["best"] for name in "abc"] == [True, False, False]
    assert [rows[f"{name} (net)"]["tied_with_best"] for name in "abc"] == [True, True, True]
    assert [rows[f"{name} (net)"]["letters"] for name in "abc"] == ["a", "a", "a"]
    read = list(csv.DictReader(to_csv([table]).splitlines()))
    assert [row["encoder"] for row in read] == list(table.rows)
    assert {row["split_hash"] for row in read} == {""} and {row["n_images"] for row in read} == {
        "200"
    }


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({}, "thresholds are still chosen on all validation labels."),
        ({"setting:validation": "fraction"}, "cut by the same share, by patient."),
    ],
)
def test_a_table_of_fewer_labels_says_on_which_validation_labels_heads_were_chosen(
    store: ResultStore, fields: dict[str, str], sentence: str
) -> None:
    add(store, "a", 0.7, fields)
    assert "validation labels" not in to_markdown(build(store, "fake_task")[0][0])
    add(store, "a", 0.6, fields, fraction=0.1)
    assert sentence in to_markdown(build(store, "fake_task")[0][0])


def test_a_comparison_shows_the_pairs_of_the_rows_that_were_named(table: Table) -> None:
    whole = comparison(table, [])
    assert whole.count("| a (net) | ") == 2 and "| b (net) | c (net) | +0.000" in whole
    some = comparison(table, ["a (net)", "c (net)"])
    assert "| a (net) | c (net) | +0.300 [-0.971, +1.571] | 0.205 | 0.205 |" in some
    assert "b (net)" not in some


def test_a_comparison_of_one_row_says_that_there_is_nothing_to_compare(table: Table) -> None:
    alone = comparison(table, ["a (net)"])
    assert "no two encoders to compare" in alone and "| better |" not in alone


def test_differences_for_programs_have_the_better_first(table: Table) -> None:
    rows = list(csv.DictReader(differences_csv([table]).splitlines()))
    pairs = {(row["better"], row["worse"]): float(row["value"]) for row in rows}
    assert pairs[("a (net)", "b (net)")] == pytest.approx(0.3)
    assert len(pairs) == 3 and min(pairs.values()) == pytest.approx(0)
    assert all(float(row["p"]) <= float(row["p_holm"]) for row in rows)


@pytest.mark.parametrize(
    ("fraction", "text"), [(1.0, "100%"), (0.1, "10%"), (0.01, "1%"), (0.005, "0.5%")]
)
def test_a_share_has_the_digits_it_needs(fraction: float, text: str) -> None:
    assert share(fraction) == text


def test_names_stand_in_a_table_as_they_are() -> None:
    assert escape("a|b<c>") == r"a\|b&lt;c>"
    assert csv_text([{"task": "a,b", "n": 1}]) == 'task,n\n"a,b",1\n'
    assert csv_text([]) == "task\n"


# -------------------------------------------------------------------------------------- supervision
def test_a_table_shows_what_encoders_saw_beside_images_and_reports_where_any_did(
    store: ResultStore,
) -> None:
    add(store, "a", 0.7, supervision=["gaze", "labels"])
    add(store, "b", 0.5, supervision=[])
    add(store, "c", 0.4)  # from before results said so
    (built,) = build(store, "fake_task")[0]
    page = to_markdown(built)
    assert "| encoder | 100% of labels | seeds | n | supervision |" in page
    assert page.count("| 1 | 200 | gaze labels |") == 1
    assert page.count("| 1 | 200 | - |") == 2
    assert "Supervision: what an encoder learned from beside images and reports" in page
    read = {row["encoder"]: row for row in csv.DictReader(to_csv([built]).splitlines())}
    assert [read[f"{name} (net)"]["supervision"] for name in "abc"] == ["gaze labels", "", ""]


def test_a_table_in_which_no_encoder_saw_more_has_no_such_column(store: ResultStore) -> None:
    add(store, "a", 0.7, supervision=[])
    add(store, "b", 0.5)
    (built,) = build(store, "fake_task")[0]
    assert "supervision" not in to_markdown(built).lower()
    assert all("supervision" not in row for row in to_rows(built))


def test_rows_of_several_tables_have_the_same_columns(store: ResultStore) -> None:
    add(store, "a", 0.7, supervision=["knowledge"])
    add(store, "b", 0.5, settings_id="another")
    tables, _ = build(store, "fake_task")
    assert len(tables) == 2
    words = {
        row["encoder"]: row["supervision"] for row in csv.DictReader(to_csv(tables).splitlines())
    }
    assert words == {"a (net)": "knowledge", "b (net)": ""}
