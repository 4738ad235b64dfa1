"""Tables: only comparable results side by side, best bold, ties marked, demo kept apart and
labelled."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from bench import contracts
from bench.cells.results import ResultStore
from bench.commands.run import compare_command, leaderboard_command
from bench.contracts import Predictions, TaskSpec
from bench.core.errors import PlaceBenchError, UnknownNameError
from bench.report import csv_files, gathering, leaderboard, leaderboard_pages
from bench.report.literature import (
    FOLDER,
    _protocols,
    _rows,
    literature_groups,
    literature_markdown,
)
from bench.report.overview import build_overviews
from bench.report.pairing import Result, align
from bench.report.pictures import stamp
from bench.report.views import Views
from tests.support.results import add


def test_other_metrics_stand_below_as_means_over_seeds_and_undefined_ones_say_so(
    store: ResultStore,
) -> None:
    for seed, rank in enumerate((2.0, 4.0)):
        add(
            store,
            "good",
            0.8,
            {"metric:score": 0.8, "metric:mean_rank": rank, "metric:nothing": None},
            seed=seed,
        )
    (table,), _ = leaderboard.build(store, "fake_task")
    below = leaderboard_pages.to_markdown(table).split("Other metrics at 100% of labels")[1]
    assert (
        "| encoder | mean_rank ↓ | nothing |" in below
        and "| good (net) | 3.000 | undefined |" in below
    )


def test_best_is_bold_and_only_paired_ties_are_marked(store: ResultStore) -> None:
    add(store, "good", 0.8)
    add(store, "near", 0.799)  # always 0.001 worse on the same images: certain, not a tie
    (table,), _ = leaderboard.build(store, "fake_task")
    text = leaderboard_pages.to_markdown(table)
    assert "| good (net) | **0.800 [" in text
    assert text.split("| near (net) |")[1].split("|")[0].strip().endswith("] b")
    assert table.rows == ["good (net)", "near (net)"]


def test_a_row_whose_weights_are_not_all_from_its_file_is_marked(store: ResultStore) -> None:
    whole = {"encoder:coverage": 1.0, "encoder:adaptations": []}
    add(store, "whole", 0.8, whole)
    add(store, "older", 0.7)
    partly = {"encoder:coverage": 0.99996, "encoder:missing": ["conv1.weight"]}
    add(store, "partly", 0.6, partly)
    add(store, "grey", 0.5, {**whole, "encoder:adaptations": ["conv1: one grey channel"]})
    (table,), _ = leaderboard.build(store, "fake_task")
    text = leaderboard_pages.to_markdown(table)
    assert "| partly (net) † |" in text and text.count("†") == 2
    assert "† partly (net): 99.9% of its weights come from its file; not in it: conv1" in text
    assert "grey (net), changed to fit: conv1: one grey channel." in text
    shares = {row["encoder"]: row["weights_from_file"] for row in csv_files.to_rows(table)}
    assert shares["whole (net)"] == 1.0 and shares["older (net)"] == ""


def test_a_table_names_the_architecture_that_was_loaded(store: ResultStore) -> None:
    loaded: dict[str, Any] = {"architecture": "", "encoder:architecture": "four_convolutions"}
    add(store, "mine", 0.8, **loaded)
    add(store, "yours", 0.7, **{**loaded, "architecture": "vit"})
    add(store, "older", 0.6)
    (table,), _ = leaderboard.build(store, "fake_task")
    assert table.rows == ["mine (four_convolutions)", "yours (four_convolutions)", "older (net)"]


def test_mean_over_seeds_and_missing_cells(store: ResultStore) -> None:
    add(store, "a", 0.4, seed=0)
    add(store, "a", 0.6, seed=1)
    add(store, "b", 0.7, fraction=0.1)
    (table,), _ = leaderboard.build(store, "fake_task")
    low, full = table.columns
    assert np.isclose(full.estimates["a (net)"].value, 0.5)
    assert (
        "n/a" in leaderboard_pages.to_markdown(table)
        and low.fraction == 0.1
        and full.seed_count("a (net)") == 2
    )


@pytest.mark.parametrize(
    "fact",
    ["data_kind", "protocol", "profile", "hash:data", "hash:test", "hash:split", "settings_id"],
)
def test_what_is_not_comparable_never_shares_a_table(store: ResultStore, fact: str) -> None:
    add(store, "a", 0.5)
    add(store, "b", 0.6, {fact: "other"})
    found, _ = leaderboard.build(store, "fake_task")
    assert [table.rows for table in found] == [["a (net)"], ["b (net)"]] or [
        t.rows for t in found
    ] == [
        ["b (net)"],
        ["a (net)"],
    ]


def test_another_evaluator_version_is_left_out_and_said(store: ResultStore) -> None:
    add(store, "a", 0.5)
    add(store, "old", 0.9, evaluator_version=0)
    (table,), left_out = leaderboard.build(store, "fake_task")
    assert table.rows == ["a (net)"] and "evaluator version 0, now 1" in left_out[0]


def test_seeds_on_different_training_splits_are_never_averaged(store: ResultStore) -> None:
    for seed, split in enumerate(("280 images", "84 images")):
        add(store, "a", 0.5, {"hash:split": split}, seed=seed)
    found, _ = leaderboard.build(store, "fake_task")
    assert [table.columns[0].seed_count("a (net)") for table in found] == [1, 1]
    rows = list(csv.DictReader(csv_files.to_csv(found).splitlines()))
    assert {row["split_hash"] for row in rows} == {"280 images", "84 images"}


def shuffle(store: ResultStore, key: str, **changes: Any) -> None:
    """Keep the predictions of a result with their rows in another order, and say so in its
    record."""
    kept = store.load_predictions(key)
    table = kept.table.sample(frac=1, random_state=0).reset_index(drop=True).assign(**changes)
    store.finish(store.records()[key], Predictions(table, kept.arrays, kept.extra))


def test_rows_in_another_order_are_paired_by_image(store: ResultStore) -> None:
    for name, mean in (("a", 0.5), ("b", 0.49), ("c", 0.48)):
        add(store, name, mean)
    (before,), _ = leaderboard.build(store, "fake_task")
    for record in list(store.records().values())[1:]:
        shuffle(store, record["key"])
    (after,), left_out = leaderboard.build(store, "fake_task")
    assert not left_out
    expected = csv_files.differences_csv([before])
    assert csv_files.differences_csv([after]) == expected and "0.010000,0.010000" in expected
    for name, estimate in before.columns[0].estimates.items():
        np.testing.assert_allclose(after.columns[0].estimates[name].resampled, estimate.resampled)


@pytest.mark.parametrize("column", ["image_id", "patient_id"])
def test_predictions_of_other_images_or_patients_are_refused_by_name(
    store: ResultStore, column: str
) -> None:
    for name in ("a", "b", "c"):
        add(store, name, 0.5)
    other = next(record for record in store.records().values() if record["backbone"] == "a")
    shuffle(store, other["key"], **{column: np.arange(1, 201).astype(str)})
    (table,), (reason,) = leaderboard.build(store, "fake_task")
    assert table.rows == ["b (net)", "c (net)"]
    assert reason.startswith(other["title"]) and "of other images or patients" in reason


def test_images_that_stand_twice_are_paired_in_turn() -> None:
    one, other = (
        Result({"title": "x"}, Predictions(pd.DataFrame({"image_id": ids, "patient_id": "p"})))
        for ids in (["a", "b", "a"], ["b", "a", "a"])
    )
    aligned, reasons = align([one, other])
    assert not reasons and aligned[0].order is None
    assert aligned[1].order is not None and aligned[1].order.tolist() == [1, 0, 2]
    weights = np.array([[1, 10, 100]])
    assert aligned[1].in_order(lambda given: given)(weights).tolist() == [[10, 1, 100]]


def test_an_old_record_that_holds_another_value_than_its_predictions_is_left_out(
    store: ResultStore,
) -> None:
    for name, value in (("a", 0.5), ("b", 0.9), ("c", "gone")):
        add(store, name, 0.5, {"metric:score": 0.5})
        key = next(key for key, r in store.records().items() if r["backbone"] == name)
        facts = {k: v for k, v in store.records()[key].items() if k != "hash:predictions"}
        if value == "gone":
            kept = store.load_predictions(key).table
            store.save_predictions(key, Predictions(kept.drop(columns="value")))
        store.append(facts | {"metric:score": 0.5 if value == "gone" else value})
    (table,), reasons = leaderboard.build(store, "fake_task")
    assert table.rows == ["a (net)"]
    assert "its predictions give score 0.500000, its record says 0.900000" in reasons[0]
    assert "its predictions do not fit the task (KeyError: 'value')" in reasons[1]


def fail(store: ResultStore, key: str, time: str, **facts: Any) -> None:
    record = {"key": key, "status": "failed", "title": f"cell {key}", "time": time}
    record |= {"error": f"DataError: image {key}\nis | gone.", "task": "fake_task"}
    store.append(record | facts)


def test_failed_cells_stand_in_the_foot_with_their_error_until_they_have_a_result(
    store: ResultStore,
) -> None:
    add(store, "a", 0.5, time="2026-01-01")
    later = {k: v for k, v in next(iter(store.records().values())).items() if k != "status"}
    fail(store, "x", "2026-01-02")
    fail(
        store,
        "other settings",
        "2025-12-31",
        **{k: later[k] for k in gathering.CELL if k in later},
    )
    page = Views(store).write_tables("fake_task")
    assert page.left_out == ["cell x failed: DataError: image x is | gone."]
    text = (store.root / "leaderboards" / "fake_task.md").read_text()
    assert text.endswith("\nLeft out: cell x failed: DataError: image x is \\| gone.\n")


def test_leaderboard_names_the_failed_cells_of_a_task_without_a_table(
    store: ResultStore, capsys: pytest.CaptureFixture[str]
) -> None:
    fail(store, "x", "2026-01-02")
    with pytest.raises(PlaceBenchError, match="task 'fake_task' has no results"):
        leaderboard_command((), "", store.root)
    assert "Left out: cell x failed: DataError: image x is | gone." in capsys.readouterr().out


def test_damaged_results_are_left_out_by_name(store: ResultStore) -> None:
    for name in ("a", "b", "c"):
        add(store, name, 0.5)
    keys = {record["backbone"]: key for key, record in store.records().items()}
    store.predictions_path(keys["a"]).unlink()
    lines = store.path.read_text().splitlines(keepends=True)
    store.path.write_text("".join(lines).replace('"backbone": "b"', '"backbone": "best"'))
    (table,), reasons = leaderboard.build(store, "fake_task")
    assert table.rows == ["c (net)"]
    assert "line 2 (b {}) was changed after it was written" in reasons[0]
    assert "are missing" in reasons[1] and "Run the task again" in reasons[1]


def test_two_checkpoints_of_one_name_are_two_rows(store: ResultStore) -> None:
    add(store, "a", 0.5, {"hash:checkpoint": "aaaaaa11"})
    add(store, "a", 0.6, {"hash:checkpoint": "bbbbbb22"})
    (table,), _ = leaderboard.build(store, "fake_task")
    assert table.rows == ["a (net) [bbbbbb]", "a (net) [aaaaaa]"]


def test_demo_and_real_go_to_different_files(store: ResultStore, tmp_path: Path) -> None:
    add(store, "a", 0.5)
    Views(store).write_tables("fake_task")
    assert "says nothing clinical" in (tmp_path / "leaderboards" / "fake_task.md").read_text()
    add(store, "a", 0.5, data_kind="real")
    Views(store).write_tables("fake_task")
    assert "says nothing clinical" not in (tmp_path / "leaderboards" / "fake_task.md").read_text()
    assert "says nothing clinical" in (tmp_path / "leaderboards" / "fake_task.demo.md").read_text()
    assert set(pd.read_csv(tmp_path / "leaderboards" / "fake_task.csv")["data_kind"]) == {"real"}


def test_unknown_metric_names_the_nearest(store: ResultStore) -> None:
    add(store, "a", 0.5)
    with pytest.raises(UnknownNameError, match="no metric 'scroe'. Did you mean score"):
        leaderboard.build(store, "fake_task", metric="scroe")
    with pytest.raises(UnknownNameError, match="no metric 'scroe'. Did you mean score"):
        compare_command("fake_task", (), "scroe", store.root)


def test_smallest_rank_is_best_and_undefined_values_are_said(store: ResultStore) -> None:
    add(store, "far", 0.9)
    add(store, "near", 0.2)
    (table,), _ = leaderboard.build(store, "fake_task", "mean_rank")
    assert table.rows == ["near (net)", "far (net)"] and table.columns[-1].best == "near (net)"
    (table,), _ = leaderboard.build(store, "fake_task", "nothing")
    assert (
        "undefined" in leaderboard_pages.to_markdown(table)
        and "**" not in leaderboard_pages.to_markdown(table).split("| encoder")[1].split("Data:")[0]
    )


def test_differences_are_corrected_for_all_pairs(store: ResultStore) -> None:
    for name, mean in (("a", 0.5), ("b", 0.4), ("c", 0.3)):
        add(store, name, mean)
    (table,), _ = leaderboard.build(store, "fake_task")
    rows = list(csv.DictReader(csv_files.differences_csv([table]).splitlines()))
    assert [(row["better"], row["worse"]) for row in rows] == [
        ("a (net)", "b (net)"),
        ("a (net)", "c (net)"),
        ("b (net)", "c (net)"),
    ]
    assert all(float(row["p_holm"]) == 0 for row in rows)
    assert (
        "| b (net) | +0.100 [+0.100, +0.100] | <0.001 | <0.001 |"
        in leaderboard_pages.to_markdown(table)
    )


def test_seed_spread_is_kept_apart(store: ResultStore) -> None:
    add(store, "a", 0.4, seed=0)
    add(store, "a", 0.6, seed=1)
    (table,), _ = leaderboard.build(store, "fake_task")
    assert table.columns[-1].estimates["a (net)"].seed_sd == pytest.approx(0.1 * 2**0.5)
    assert "±0.141" in leaderboard_pages.to_markdown(table)


def test_published_numbers_stand_under_real_tables_of_their_protocol_only(
    store: ResultStore,
) -> None:
    task = TaskSpec("siim_seg", "segmentation", "siim", "t", "dice")
    text = literature_markdown(task, "mgca", "real")
    assert "not ranked" in text and "| mgca (vit_b16) |" in text and "G2D Table" in text
    assert (
        literature_markdown(task, "mgca", "demo")
        == ""
        == literature_markdown(task, "default", "real")
    )
    assert not [row for row in _rows(FOLDER) if row["method"].startswith("place")]


def test_published_set_ups_are_never_in_one_table() -> None:
    kept = TaskSpec("mimic_r2gen_rg", "report_generation", "mimic_cxr_r2gen", "t", "bleu4")
    text = literature_markdown(kept, "r2gen", "real")
    assert (
        "but not with protocol r2gen: whole models" in text and "Published for protocol" not in text
    )
    assert "| r2gen | 0.353 |" in text and "| vlci |" in text
    other = TaskSpec("mimic_rg", "report_generation", "mimic_cxr", "t", "bleu4")
    assert (
        literature_markdown(other, "r2gen", "real")
        == ""
        == literature_markdown(kept, "default", "real")
    )
    iu = TaskSpec("iu_rg", "report_generation", "iu_xray", "t", "bleu4")
    benchx, whole = literature_markdown(iu, "r2gen", "real").split("\n\nPublished on")
    assert (
        "BenchX Table 4" in benchx
        and "VLCI" not in benchx
        and "VLCI" in whole
        and "BenchX" not in whole
    )
    for row in _protocols(FOLDER):
        spec = TaskSpec("t", row["kind"], row["dataset"] or "rsna", "t", "m")
        assert row["published"] in {each["protocol"] for each in _rows(FOLDER)}
        assert all(
            len({each["protocol"] for each in rows}) == 1
            for _, rows in literature_groups(spec, row["protocol"])
        )


def test_two_set_ups_of_one_protocol_are_two_tables(tmp_path: Path) -> None:
    (tmp_path / "protocols.csv").write_text(
        "published,kind,protocol,dataset,difference\na,k,p,,\nb,k,p,ours,another head\n"
    )
    head = "protocol,task_kind,dataset,metric,label_fraction,method,backbone,value,unit,source,first_hand,note\n"
    rows = [
        "a,k,ours,dice,,one,,0.5,fraction,s,yes,",
        "b,k,theirs,dice,,two,,60.5,percent,s,no,",
        "b,k,ours,dice,,three,,0.7,fraction,s,no,",
    ]
    (tmp_path / "results.csv").write_text(head + "\n".join(rows) + "\n")
    first, second = literature_markdown(
        TaskSpec("t", "k", "ours", "t", "dice"), "p", "real", tmp_path
    ).split("\n\nPublished on")
    assert "| one | 0.5 | s |" in first and "two" not in first and "another head" not in first
    assert (
        "another head" in second
        and "| two | 0.605 | s (second-hand) |" in second
        and "| one |" not in second
    )


def test_overview_ranks_encoders_over_tasks(
    store: ResultStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(
        contracts.TASKS._items, "other", TaskSpec("other", "fake", "none", "Another", "mean_rank")
    )
    for name, score, rank in (("a", 0.8, 1.0), ("b", 0.5, 2.0), ("c", 0.2, 5.0)):
        add(store, name, score)
        add(store, name, rank, task="other")
    add(store, "partial", 0.9)
    found = {name: leaderboard.build(store, name)[0] for name in ("fake_task", "other")}
    (overview,) = Views(store).write_overview(found)
    standings = [(each.name, each.wins, each.ties, each.losses) for each in overview.standings]
    assert standings == [("a (net)", 1, 0, 0), ("b (net)", 0.5, 0, 0.5), ("c (net)", 0, 0, 1)]
    assert overview.image_sets == [["fake_task", "other"]]
    assert overview.left_out == ["partial (net)"]
    page = (tmp_path / "leaderboards" / "overview.md").read_text()
    assert "says nothing clinical" in page and "| partial (net) |" in page and "n/a" in page


def test_compare_names_rows_by_their_encoder(
    store: ResultStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, mean in (("a", 0.5), ("b", 0.4), ("c", 0.3)):
        add(store, name, mean)
    compare_command("fake_task", ["a", "c (net)"], "", tmp_path)
    shown = capsys.readouterr().out
    assert "| a (net) | c (net) | +0.200 [+0.200, +0.200] |" in shown and "b (net)" not in shown
    with pytest.raises(UnknownNameError, match="no row 'd'"):
        compare_command("fake_task", ["d"], "", tmp_path)


def test_a_picture_of_demo_data_says_so(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    Image.new("RGB", (400, 100), "black").save(path)
    stamp(path, "Rendered data.")
    with Image.open(path) as stamped:
        strip = np.asarray(stamped)[100:]
        assert stamped.width == 400 and (strip == 255).mean() > 0.5 and (strip[..., 1] < 128).any()
        assert not np.asarray(stamped)[:100].any()


def _edit_record(store: ResultStore, number: int, **changes: Any) -> None:
    lines = store.path.read_text().splitlines()
    lines[number] = json.dumps({**json.loads(lines[number]), **changes})
    store.path.write_text("\n".join(lines) + "\n")


def test_an_edited_metric_leaves_its_result_out_of_the_table(
    store: ResultStore, caplog: pytest.LogCaptureFixture
) -> None:
    add(store, "a", 0.5)
    add(store, "b", 0.6)
    _edit_record(store, 1, seed=7)
    (table,), _ = leaderboard.build(store, "fake_task")
    assert table.rows == ["a (net)"]
    assert "results.jsonl line 2 (b {}) was changed after it was written" in caplog.text


def test_a_failed_cell_stands_under_the_table_until_it_succeeds(
    store: ResultStore, tmp_path: Path
) -> None:
    add(store, "a", 0.5)
    failed = {"key": "x", "status": "failed", "task": "fake_task", "title": "b", "error": "no disk"}
    store.append(failed)
    Views(store).write_tables("fake_task")
    assert "Left out: b failed: no disk" in (tmp_path / "leaderboards/fake_task.md").read_text()
    store.append({**store.records()[next(iter(store.records()))], "key": "x", "backbone": "b"})
    assert gathering.failed_cells(store, "fake_task") == []


def test_tasks_on_the_same_images_have_one_vote(
    store: ResultStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """a wins two tasks on one image set, b wins the one task on the other: one all."""
    for name in ("second", "third"):
        spec = TaskSpec(name, "fake", "none", "Another", "score")
        monkeypatch.setitem(contracts.TASKS._items, name, spec)
    for task, images, best in (("fake_task", "t", "a"), ("second", "t", "a"), ("third", "u", "b")):
        for name in ("a", "b"):
            add(store, name, 0.8 if name == best else 0.5, {"hash:test": images}, task=task)
    tables = {task: leaderboard.build(store, task)[0] for task in ("fake_task", "second", "third")}
    (overview,) = build_overviews(tables)
    assert [(each.wins, each.losses) for each in overview.standings] == [(1, 1), (1, 1)]


def test_a_task_in_which_nobody_leaves_the_floor_is_marked_and_not_counted(
    store: ResultStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(
        contracts.TASKS._items, "other", TaskSpec("other", "fake", "none", "Another", "score")
    )
    for name, value in (("random", 0.5), ("a", 0.8), ("b", 0.7)):
        add(store, name, value)
    for name, value in (("random", 0.9), ("a", 0.8), ("b", 0.7)):
        add(store, name, value, {"hash:test": "u"}, task="other")
    tables = {task: leaderboard.build(store, task)[0] for task in ("fake_task", "other")}
    (overview,) = build_overviews(tables)
    assert overview.uncounted == ["other"]
    assert overview.image_sets == [["fake_task"]]
    (table,) = tables["other"]
    assert table.above_floor == []
    page = leaderboard_pages.to_markdown(table)
    assert page.split("\n")[2] == (
        "**No encoder is shown to be better than random (net) here: this table ranks nobody.**"
    )
    (table,) = tables["fake_task"]
    assert table.above_floor == ["a (net)", "b (net)"]
    assert "ranks nobody" not in leaderboard_pages.to_markdown(table)


def test_a_row_trained_on_the_labels_of_the_task_is_never_ranked(store: ResultStore) -> None:
    for name, value in (("random", 0.5), ("a", 0.8), ("b", 0.7), ("supervised", 0.9)):
        add(store, name, value)
    (table,), _ = leaderboard.build(store, "fake_task")
    (column,) = table.columns
    assert table.rows == ["a (net)", "b (net)", "random (net)", "supervised (net)"]
    assert table.unranked == ["supervised (net)"] and table.floor == ["random (net)"]
    assert column.best == "a (net)" and "supervised (net)" not in column.letters
    compared = {name for pair in column.pairs for name in (pair.one, pair.other)}
    assert compared == {"a (net)", "b (net)", "random (net)"} and len(column.pairs) == 3
    assert table.above_floor == ["a (net)", "b (net)"]
    page = leaderboard_pages.to_markdown(table)
    row = page.split("| supervised (net) (not ranked) |")[1].split("|")[0].strip()
    assert row.startswith("0.900 [") and row.endswith("]"), "neither bold nor lettered"
    assert "| against | difference |" in page and "| supervised (net) | +" not in page
    assert "trained end to end on the labels of this task" in page
    assert "supervised (net) minus a (net): +0.100 [" in page and "(this pair alone)" in page
    roles = {row["encoder"]: (row["role"], row["best"]) for row in csv_files.to_rows(table)}
    assert roles["supervised (net)"] == ("ceiling", False)
    assert roles["random (net)"] == ("floor", False) and roles["a (net)"] == ("encoder", True)
    (asked,) = column.differences(("supervised (net)", "b (net)"))
    assert (asked.one, asked.p, asked.p_holm) == ("supervised (net)", asked.p_holm, asked.p)


def test_a_table_of_floor_and_ceiling_alone_says_nothing_of_who_leaves_the_floor(
    store: ResultStore,
) -> None:
    add(store, "random", 0.5)
    add(store, "supervised", 0.9)
    (table,), _ = leaderboard.build(store, "fake_task")
    page = leaderboard_pages.to_markdown(table)
    assert "ranks nobody" not in page and "Power:" not in page


@pytest.mark.parametrize(
    ("outsider", "encoder", "sentence"),
    [
        (0.4, 0.3, "**No encoder is shown to be better than random (net) here: this table ranks"),
        (
            0.9,
            0.3,
            "**Only imagenet_lite (net), trained on photographs, is shown to be better than",
        ),
        (0.4, 0.9, ""),
        (0.9, 0.8, ""),
    ],
)
def test_the_first_line_says_who_leaves_the_floor_with_an_outsider_in_the_table(
    outsider: float, encoder: float, sentence: str, store: ResultStore
) -> None:
    rows = {"random": 0.5, "supervised": 0.95, "imagenet_lite": outsider, "a": encoder}
    for name, value in rows.items():
        add(store, name, value)
    (table,), _ = leaderboard.build(store, "fake_task")
    assert table.outsiders == ["imagenet_lite (net)"]
    first = leaderboard_pages.to_markdown(table).split("\n")[2]
    assert first.startswith(sentence or "`fake_task`: score")


def test_one_seed_says_that_the_noise_of_training_is_not_included(store: ResultStore) -> None:
    add(store, "a", 0.5)
    (table,), _ = leaderboard.build(store, "fake_task")
    assert "noise of training is not included where there is one seed" in (
        leaderboard_pages.to_markdown(table)
    )
    add(store, "a", 0.6, seed=1)
    (table,), _ = leaderboard.build(store, "fake_task")
    assert "not included" not in leaderboard_pages.to_markdown(table)


def test_noise_of_training_keeps_two_rows_together(store: ResultStore) -> None:
    """Two rows a certain 0.01 apart on the same images: with seeds that differ by more, nobody can
    say which is better."""
    for seed, shift in enumerate((-0.05, 0.0, 0.05)):
        add(store, "a", 0.51 + shift, seed=seed)
        add(store, "b", 0.50 - shift, seed=seed)
    (table,), _ = leaderboard.build(store, "fake_task")
    column = table.columns[-1]
    assert column.letters == {"a (net)": "a", "b (net)": "a"}
    assert column.tied == {"a (net)", "b (net)"}


def test_the_old_intervals_are_a_named_option(store: ResultStore) -> None:
    add(store, "a", 0.5)
    add(store, "b", 0.4)
    (plain,), _ = leaderboard.build(store, "fake_task", intervals="percentile")
    pair = plain.columns[-1].pairs[0]
    assert pair.p == pytest.approx(2 / 1001)
