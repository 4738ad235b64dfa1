"""Tables: only comparable results side by side, best bold, ties marked, demo kept apart and
labelled."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from bench import contracts, leaderboard, tables
from bench.commands import compare_command
from bench.contracts import Predictions, TaskSpec
from bench.errors import UnknownNameError
from bench.overview import write_overview
from bench.pictures import stamp
from bench.published import FOLDER, _protocols, _rows, published_groups, published_markdown
from bench.results import ResultStore


class _FakeKind:
    name = "fake"
    evaluator_version = 1
    metrics = ("score", "mean_rank", "nothing", "never_measured")
    lower_is_better = ("*_rank",)

    def statistics(self, predictions: Predictions, task: TaskSpec) -> dict[str, Any]:
        values = predictions.table["value"].to_numpy()
        mean = lambda weights: weights @ values / weights.sum(axis=1)  # noqa: E731
        return {
            "score": mean,
            "mean_rank": mean,
            "nothing": lambda weights: np.full(len(weights), np.nan),
        }


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ResultStore]:
    contracts.TASKS.names()
    monkeypatch.setitem(
        contracts.TASKS._items,
        "fake_task",
        TaskSpec("fake_task", "fake", "none", "A fake task", "score"),
    )
    monkeypatch.setitem(contracts.KINDS._items, "fake", _FakeKind())
    yield ResultStore(tmp_path)


def add(
    store: ResultStore,
    backbone: str,
    mean: float,
    *,
    fraction: float = 1.0,
    seed: int = 0,
    **facts: Any,
) -> None:
    """Append a result whose 200 per-image values are the same noise around `mean` for every
    backbone."""
    key = f"{backbone}-{fraction}-{seed}-{len(facts)}-{sorted(facts.items())}".replace("/", "_")
    noise = np.random.default_rng(5).normal(scale=0.1, size=200)
    values = noise - noise.mean() + mean
    table = pd.DataFrame(
        {
            "image_id": np.arange(200).astype(str),
            "patient_id": np.arange(200).astype(str),
            "value": values,
        }
    )
    store.save_predictions(key, Predictions(table))
    record = {
        "key": key,
        "status": "done",
        "title": f"{backbone} {facts}",
        "task": "fake_task",
        "backbone": backbone,
        "architecture": "net",
        "backbone_settings": {},
        "label_fraction": fraction,
        "seed": seed,
        "protocol": "default",
        "profile": "demo",
        "data_kind": "demo",
        "hash:data": "d",
        "hash:test": "t",
        "hash:checkpoint": "",
        "settings_id": "s",
        "evaluator_version": 1,
    }
    store.append(record | facts)


def test_other_metrics_stand_below_as_means_over_seeds_and_undefined_ones_say_so(
    store: ResultStore,
) -> None:
    for seed, rank in enumerate((2.0, 4.0)):
        add(
            store,
            "good",
            0.8,
            seed=seed,
            **{"metric:score": 0.8, "metric:mean_rank": rank, "metric:nothing": None},
        )
    (table,), _ = leaderboard.build(store, "fake_task")
    below = tables.to_markdown(table).split("Other metrics at 100% of labels")[1]
    assert (
        "| encoder | mean_rank ↓ | nothing |" in below
        and "| good (net) | 3.000 | undefined |" in below
    )


def test_best_is_bold_and_only_paired_ties_are_marked(store: ResultStore) -> None:
    add(store, "good", 0.8)
    add(store, "near", 0.799)  # always 0.001 worse on the same images: certain, not a tie
    (table,), _ = leaderboard.build(store, "fake_task")
    text = tables.to_markdown(table)
    assert "| good (net) | **0.800 [" in text
    assert text.split("| near (net) |")[1].split("|")[0].strip().endswith("] b")
    assert table.rows == ["good (net)", "near (net)"]


def test_a_row_whose_weights_are_not_all_from_its_file_is_marked(store: ResultStore) -> None:
    whole = {"encoder:coverage": 1.0, "encoder:adaptations": []}
    add(store, "whole", 0.8, **whole)
    add(store, "older", 0.7)
    partly = {"encoder:coverage": 0.99996, "encoder:missing": ["conv1.weight"]}
    add(store, "partly", 0.6, **partly)
    add(store, "grey", 0.5, **{**whole, "encoder:adaptations": ["conv1: one grey channel"]})
    (table,), _ = leaderboard.build(store, "fake_task")
    text = tables.to_markdown(table)
    assert "| partly (net) † |" in text and text.count("†") == 2
    assert "† partly (net): 99.9% of its weights come from its file; not in it: conv1" in text
    assert "grey (net), changed to fit: conv1: one grey channel." in text
    shares = {row["encoder"]: row["weights_from_file"] for row in tables.to_rows(table)}
    assert shares["whole (net)"] == 1.0 and shares["older (net)"] == ""


def test_mean_over_seeds_and_missing_cells(store: ResultStore) -> None:
    add(store, "a", 0.4, seed=0)
    add(store, "a", 0.6, seed=1)
    add(store, "b", 0.7, fraction=0.1)
    (table,), _ = leaderboard.build(store, "fake_task")
    low, full = table.columns
    assert np.isclose(full.estimates["a (net)"].value, 0.5)
    assert (
        "n/a" in tables.to_markdown(table) and low.fraction == 0.1 and full.seeds == {"a (net)": 2}
    )


@pytest.mark.parametrize(
    "fact",
    ["data_kind", "protocol", "profile", "hash:data", "hash:test", "hash:split", "settings_id"],
)
def test_what_is_not_comparable_never_shares_a_table(store: ResultStore, fact: str) -> None:
    add(store, "a", 0.5)
    add(store, "b", 0.6, **{fact: "other"})
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


def test_two_checkpoints_of_one_name_are_two_rows(store: ResultStore) -> None:
    add(store, "a", 0.5, **{"hash:checkpoint": "aaaaaa11"})
    add(store, "a", 0.6, **{"hash:checkpoint": "bbbbbb22"})
    (table,), _ = leaderboard.build(store, "fake_task")
    assert table.rows == ["a (net) [bbbbbb]", "a (net) [aaaaaa]"]


def test_demo_and_real_go_to_different_files(store: ResultStore, tmp_path: Path) -> None:
    add(store, "a", 0.5)
    leaderboard.write(store, "fake_task", tmp_path)
    assert "says nothing clinical" in (tmp_path / "fake_task.md").read_text()
    add(store, "a", 0.5, data_kind="real")
    leaderboard.write(store, "fake_task", tmp_path)
    assert "says nothing clinical" not in (tmp_path / "fake_task.md").read_text()
    assert "says nothing clinical" in (tmp_path / "fake_task.demo.md").read_text()
    assert set(pd.read_csv(tmp_path / "fake_task.csv")["data_kind"]) == {"real"}


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
        "undefined" in tables.to_markdown(table)
        and "**" not in tables.to_markdown(table).split("| encoder")[1].split("Data:")[0]
    )


def test_differences_are_corrected_for_all_pairs(store: ResultStore) -> None:
    for name, mean in (("a", 0.5), ("b", 0.4), ("c", 0.3)):
        add(store, name, mean)
    (table,), _ = leaderboard.build(store, "fake_task")
    rows = list(csv.DictReader(tables.differences_csv([table]).splitlines()))
    assert [(row["better"], row["worse"]) for row in rows] == [
        ("a (net)", "b (net)"),
        ("a (net)", "c (net)"),
        ("b (net)", "c (net)"),
    ]
    assert all(float(row["p_holm"]) == pytest.approx(3 * float(row["p"]), abs=2e-6) for row in rows)
    assert "| b (net) | +0.100 [+0.100, +0.100] |" in tables.to_markdown(table)


def test_seed_spread_is_kept_apart(store: ResultStore) -> None:
    add(store, "a", 0.4, seed=0)
    add(store, "a", 0.6, seed=1)
    (table,), _ = leaderboard.build(store, "fake_task")
    assert table.columns[-1].seed_sd["a (net)"] == pytest.approx(0.1 * 2**0.5)
    assert "±0.141" in tables.to_markdown(table)


def test_published_numbers_stand_under_real_tables_of_their_protocol_only(
    store: ResultStore,
) -> None:
    task = TaskSpec("siim_seg", "segmentation", "siim", "t", "dice")
    text = published_markdown(task, "mgca", "real")
    assert "not ranked" in text and "| mgca (vit_b16) |" in text and "G2D Table" in text
    assert (
        published_markdown(task, "mgca", "demo")
        == ""
        == published_markdown(task, "default", "real")
    )
    assert not [row for row in _rows(FOLDER) if row["method"].startswith("place")]


def test_published_set_ups_are_never_in_one_table() -> None:
    kept = TaskSpec("mimic_r2gen_rg", "report_generation", "mimic_cxr_r2gen", "t", "bleu4")
    text = published_markdown(kept, "r2gen", "real")
    assert (
        "but not with protocol r2gen: whole models" in text and "Published for protocol" not in text
    )
    assert "| r2gen | 0.353 |" in text and "| vlci |" in text
    other = TaskSpec("mimic_rg", "report_generation", "mimic_cxr", "t", "bleu4")
    assert (
        published_markdown(other, "r2gen", "real")
        == ""
        == published_markdown(kept, "default", "real")
    )
    iu = TaskSpec("iu_rg", "report_generation", "iu_xray", "t", "bleu4")
    benchx, whole = published_markdown(iu, "r2gen", "real").split("\n\nPublished on")
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
            for _, rows in published_groups(spec, row["protocol"])
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
    first, second = published_markdown(
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
    (overview,) = write_overview(found, tmp_path)
    assert [(s.name, s.rank.value) for s in overview.standings] == [
        ("a (net)", 1),
        ("b (net)", 2),
        ("c (net)", 3),
    ]
    assert overview.standings[1].score.value == pytest.approx(
        (0.5 + 0.75) / 2
    ) and overview.left_out == ["partial (net)"]
    page = (tmp_path / "overview.md").read_text()
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
    assert "results.jsonl line 2 was changed after it was written" in caplog.text


def test_predictions_in_another_order_are_paired_by_image(store: ResultStore) -> None:
    add(store, "a", 0.5)
    add(store, "b", 0.4)
    (before,), _ = leaderboard.build(store, "fake_task")
    key = next(key for key in store.records() if key.startswith("b"))
    loaded = store.load_predictions(key)
    order = np.random.default_rng(0).permutation(len(loaded.table))
    store.save_predictions(key, Predictions(loaded.table.iloc[order].reset_index(drop=True)))
    (after,), left_out = leaderboard.build(store, "fake_task")
    pair = lambda table: table.columns[-1].differences()[0]  # noqa: E731
    assert not left_out and pair(after) == pair(before)


def test_predictions_of_other_images_stand_in_no_table(store: ResultStore) -> None:
    add(store, "a", 0.5)
    add(store, "b", 0.4)
    key = next(key for key in store.records() if key.startswith("b"))
    table = store.load_predictions(key).table
    table["image_id"] = [f"x{image}" for image in table["image_id"]]
    store.save_predictions(key, Predictions(table))
    (found,), (reason,) = leaderboard.build(store, "fake_task")
    assert found.rows == ["a (net)"]
    assert "of other images than those they stand beside: 0 of 200 are the same" in reason


def test_a_failed_cell_stands_under_the_table_until_it_succeeds(
    store: ResultStore, tmp_path: Path
) -> None:
    add(store, "a", 0.5)
    failed = {"key": "x", "status": "failed", "task": "fake_task", "title": "b", "error": "no disk"}
    store.append(failed)
    leaderboard.write(store, "fake_task", tmp_path)
    assert "Left out: b: failed: no disk" in (tmp_path / "fake_task.md").read_text()
    store.append({**store.records()[next(iter(store.records()))], "key": "x", "backbone": "b"})
    assert leaderboard.failed_cells(store, "fake_task") == []
