"""Metrics of attributes against scipy and scikit-learn, their ceiling and their zero, and the kind
that gives them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import ndcg_score

from bench.contracts import Source, Subset
from bench.core.errors import DataError
from bench.metrics.bootstrap import cluster_weights, point
from bench.metrics.weights import OnSomeImages
from bench.text.attributes import attribute_similarity, encode, findings
from bench.text.clauses import Said
from tasks.datasets.demos.mimic_cxr import drawn
from tasks.demo.writers.manifest import MANIFEST, TRUTH
from tasks.retrieval import RetrievalKind
from tasks.retrieval.attributes import attribute_values, spearman, study_similarity
from tasks.retrieval.metrics import statistics
from tasks.retrieval.truth import StudyFindings
from tests.tasks.fakes import Encoder, base_names, context, subset, task

KIND = RetrievalKind()


def tied(rows: int, columns: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 5, (rows, columns)) / 4


def test_rho_is_scipys_with_average_ranks_of_ties() -> None:
    scores, targets = tied(20, 12, 0), tied(20, 12, 1)
    expected = [spearmanr(*pair).statistic for pair in zip(scores, targets, strict=True)]
    np.testing.assert_allclose(spearman(scores, targets), expected, rtol=1e-12)


def test_rho_is_0_for_equal_scores_and_undefined_for_equal_similarities() -> None:
    row, constant = np.arange(4.0)[None], np.ones((1, 4))
    assert spearman(constant, row).tolist() == [0]
    assert np.isnan(spearman(row, constant)).all()
    assert np.isnan(spearman(row[:, :1], row[:, :1])).all()


def test_ndcg_is_scikit_learns() -> None:
    scores, targets = tied(20, 30, 2), tied(20, 30, 3)
    values = attribute_values(scores, targets, None)["attr_ndcg@10"]
    expected = [ndcg_score(t[None], s[None], k=10) for s, t in zip(scores, targets, strict=True)]
    np.testing.assert_allclose(values, expected, rtol=1e-9)


def test_rho_within_looks_at_the_reports_of_the_own_class_alone() -> None:
    scores, targets = tied(9, 9, 4), tied(9, 9, 5)
    classes = np.array([0, 0, 0, 0, 1, 1, 1, 1, 2])
    values = attribute_values(scores, targets, classes[:, None] == classes)["attr_rho_within"]
    for row in range(8):
        own = classes == classes[row]
        assert values[row] == pytest.approx(
            spearmanr(scores[row, own], targets[row, own]).statistic
        )
    assert np.isnan(values[8])


REPORTS = [
    f"{report.findings}\n{report.impression}"
    for report in (drawn(7, number)[1] for number in range(300))
]


def similarity_of_reports() -> np.ndarray:
    return study_similarity(REPORTS, np.arange(len(REPORTS)), [None] * len(REPORTS))


def test_a_scorer_that_returns_the_similarity_is_the_ceiling_and_a_random_one_is_0() -> None:
    similarity = similarity_of_reports()
    everybody = np.ones(similarity.shape, bool)
    ceiling = attribute_values(similarity, similarity, everybody)
    for name in ("attr_rho", "attr_ndcg@10", "attr_rho_within"):
        np.testing.assert_allclose(ceiling[name], 1)
    noise = np.random.default_rng(0).normal(size=similarity.shape)
    chance = attribute_values(noise, similarity, everybody)
    assert abs(chance["attr_rho"].mean()) < 0.02
    assert abs(chance["attr_rho_within"].mean()) < 0.02


def test_the_similarity_is_that_of_the_report_of_each_image() -> None:
    texts = ["Small left effusion.", "Normal.", "Large effusion."]
    text_of = np.array([2, 0, 0, 1])
    both = encode([findings(text) for text in texts])
    expected = attribute_similarity(both, both)[text_of]
    np.testing.assert_array_equal(study_similarity(texts, text_of, [None] * 4), expected)


def test_the_truth_of_the_studies_goes_before_what_reports_say() -> None:
    left, right = (
        {"Pleural Effusion": Said(frozenset(), frozenset((side,)))} for side in ("left", "right")
    )
    texts, text_of = ["Effusion.", "An effusion."], np.array([1, 0, 0])
    known = study_similarity(texts, text_of, [left, right, left])
    # Report 0 is that of image 1 (right), report 1 that of image 0 (left).
    np.testing.assert_allclose(known, [[0.95, 1], [1, 0.95], [0.95, 1]])
    assert study_similarity(texts, text_of, [left, right, None]).min() == pytest.approx(1)


def test_images_without_a_value_are_left_out_of_the_mean() -> None:
    table = pd.DataFrame({"share": [1.0] * 4, "attr_rho": [0.5, np.nan, 0.1, np.nan]})
    statistic = statistics(table)["attr_rho"]
    assert isinstance(statistic, OnSomeImages) and statistic.n == 2
    assert point(statistic, 4) == pytest.approx(0.3)


# ------------------------------------------------------------------------------------------- the kind
def run(folder: Path, test: Subset, **changes: str) -> tuple[Any, dict[str, float]]:
    spec = task(labels=("a", "b"))
    settings = KIND.settings(spec, "default", "demo", changes)
    cell = context(spec, settings, folder, data_key="d")
    predictions = KIND.predict(KIND.fit(Encoder(), test, test, cell), test, cell)
    named = KIND.metric_names(spec, settings)
    metrics = KIND.statistics(predictions, spec)
    assert base_names(metrics) == set(named)
    return predictions, {name: point(f, len(predictions.table)) for name, f in metrics.items()}


def spoken(n: int) -> Subset:
    data = subset(n, 3)
    data.index["report"] = REPORTS[:n]
    unknown = np.full(n, None, object)
    return replace(data, annotations={**data.annotations, StudyFindings: unknown})


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLACE_BENCH_CACHE", str(tmp_path / "cache"))


def test_the_kind_gives_them_where_asked_beside_the_others_unchanged(tmp_path: Path) -> None:
    data = spoken(60)
    _, plain = run(tmp_path, data)
    predictions, more = run(tmp_path, data, attributes="true")
    added = {"attr_rho", "attr_ndcg@10", "attr_rho_within"}
    assert set(more) - set(plain) == added
    assert {name: more[name] for name in plain} == plain
    weights = cluster_weights(predictions.table["patient_id"], 50)
    for name in added:
        assert KIND.statistics(predictions, task())[name](weights).std() > 0


def test_they_are_given_within_groups_too(tmp_path: Path) -> None:
    _, metrics = run(tmp_path, spoken(60), attributes="true", batch="8")
    assert np.isfinite(metrics["attr_rho"])


def test_they_are_read_from_the_truth_only_where_asked() -> None:
    plain, asked = (
        KIND.needs(KIND.settings(task(), "default", "demo", changes))
        for changes in ({}, {"attributes": "true"})
    )
    assert [each.name for each in asked] == [*(each.name for each in plain), "true findings"]


# ------------------------------------------------------------------------------------------ the truth
def source(root: Path) -> Source:
    index = pd.DataFrame({"image_id": ["a", "b"], "patient_id": ["1", "2"]})
    return Source(None, index, root, 16)  # type: ignore[arg-type]


def write_truth(root: Path, *lines: str) -> None:
    (root / MANIFEST).write_text("{}")
    (root / TRUTH).write_text("\n".join(lines) + "\n")


EFFUSION = {"name": "effusion", "side": "left", "location": "base", "severity": "small"}
TUBE = {"name": "et_tube", "side": "", "location": "", "severity": "small"}


def test_the_truth_of_a_demo_is_read(tmp_path: Path) -> None:
    record = {"image_id": "a", "view": "PA", "findings": [EFFUSION, TUBE], "boxes": []}
    write_truth(tmp_path, json.dumps(record))
    stored = StudyFindings().prepare(source(tmp_path))
    one, other = stored.of(source(tmp_path).index)
    said = Said(frozenset(("small",)), frozenset(("left", "base")))
    assert one == {"Pleural Effusion": said} and other is None
    both = {**EFFUSION, "name": "edema", "side": "both", "location": "perihilar"}
    write_truth(tmp_path, json.dumps({**record, "findings": [both]}))
    edema = StudyFindings().prepare(source(tmp_path)).of(source(tmp_path).index)[0]
    assert edema["Edema"].sides == {"bilateral"}
    moved = json.dumps({**record, "findings": [{**EFFUSION, "side": "right"}]})
    content = stored.content(source(tmp_path).index)
    write_truth(tmp_path, moved)
    again = StudyFindings().prepare(source(tmp_path)).content(source(tmp_path).index)
    assert json.dumps(content) != json.dumps(again)


def test_other_data_has_no_truth(tmp_path: Path) -> None:
    (tmp_path / TRUTH).write_text("no truth of ours")
    stored = StudyFindings().prepare(source(tmp_path))
    assert stored.of(source(tmp_path).index).tolist() == [None, None]
    assert stored.content(source(tmp_path).index) == ()


def test_a_demo_without_its_truth_is_refused(tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text("{}")
    with pytest.raises(DataError, match=r"DEMO_truth.jsonl does not exist.*--force"):
        StudyFindings().prepare(source(tmp_path))


@pytest.mark.parametrize("line", ["{", '{"image_id": "a"}', '{"image_id": "a", "findings": [1]}'])
def test_a_damaged_truth_is_named_by_its_line(line: str, tmp_path: Path) -> None:
    write_truth(tmp_path, json.dumps({"image_id": "b", "findings": []}), line)
    with pytest.raises(DataError, match=r"DEMO_truth.jsonl, line 2: no truth of an image"):
        StudyFindings().prepare(source(tmp_path))
