"""The labeler's measure against MeSH, and the metrics made of it."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import precision_recall_fscore_support

from bench.core.errors import DataError
from bench.text.observations import NEGATIVE, OBSERVATIONS, POSITIVE, UNCERTAIN, UNMENTIONED
from bench.text.rules import label_reports
from tasks.report_generation.labeler import measure
from tasks.report_generation.metrics.clinical import (
    ABNORMAL,
    FIVE,
    clinical_statistics,
    named,
)
from tasks.report_generation.metrics.language import (
    COLUMNS,
    distinct,
    language_counts,
    language_statistics,
    ngram_numbers,
)

REPORT = """<eCitation><uId id="CXR{n}"/><AbstractText Label="FINDINGS">{text}</AbstractText><MeSH><major>{mesh}</major></MeSH>
<parentImage id="CXR{n}_1"/></eCitation>"""


def test_measure_counts_against_mesh_terms(tmp_path: Path) -> None:
    rows = [
        ("Small effusion.", "Pleural Effusion/left"),
        ("No effusion.", "normal"),
        ("Effusion.", "normal"),
        ("Clear.", "Pneumothorax"),
    ]
    path = tmp_path / "reports.tgz"
    with tarfile.open(path, "w:gz") as archive:
        for n, (text, mesh) in enumerate(rows):
            data = REPORT.format(n=n, text=text, mesh=mesh).encode()
            info = tarfile.TarInfo(f"ecgen-radiology/{n}.xml")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    found = {name: values for name, *values in measure.measure(measure.read_archive(path))}
    assert found["Pleural Effusion"] == [1, 0.5, 1.0, pytest.approx(2 / 3)]
    assert found["Pneumothorax"][:3] == [1, 0.0, 0.0]


def test_measure_holds_every_second_report_out() -> None:
    reports: list[Any] = list("abcde")
    assert measure.held_out(reports) == ["b", "d"]


def test_measure_names_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DataError, match="torchxrayvision is not installed"):
        measure.find_archive()


def test_clinical_scores_equal_sklearn() -> None:
    rng = np.random.default_rng(0)
    found, truth = rng.random((30, 14)) < 0.3, rng.random((30, 14)) < 0.3
    found[:, 3] = truth[:, 3] = False
    found[4] = truth[4] = False
    ours = {name: f(np.ones((1, 30)))[0] for name, f in clinical_statistics(found, truth).items()}
    for suffix, columns in (
        ("", slice(None)),
        ("_abnormal", list(ABNORMAL)),
        ("_5", list(FIVE)),
    ):
        for average in ("micro", "macro"):
            wanted = precision_recall_fscore_support(
                truth[:, columns], found[:, columns], average=average, zero_division=0
            )
            np.testing.assert_allclose(
                [ours[f"ce_{s}_{average}{suffix}"] for s in ("precision", "recall", "f1")],
                wanted[:3],
            )
    wanted = precision_recall_fscore_support(truth, found, average="samples", zero_division=0)
    np.testing.assert_allclose(
        [ours[f"ce_{s}_example"] for s in ("precision", "recall", "f1")], wanted[:3]
    )
    weights = np.zeros((1, 30), int)
    weights[0, [2, 2, 5]] = 1
    again = clinical_statistics(found, truth)["ce_f1_macro"](weights)
    np.testing.assert_allclose(
        again, clinical_statistics(found[[2, 5]], truth[[2, 5]])["ce_f1_macro"](np.ones((1, 2)))
    )


def test_a_report_that_is_always_normal_wins_by_no_finding_and_names_nothing_abnormal() -> None:
    truth = np.zeros((10, 14), bool)
    truth[:7, OBSERVATIONS.index("No Finding")] = True
    truth[7:, OBSERVATIONS.index("Edema")] = True
    normal = np.zeros((10, 14), bool)
    normal[:, OBSERVATIONS.index("No Finding")] = True
    scores = clinical_statistics(normal, truth)
    once = np.ones((1, 10))
    assert scores["ce_f1_micro"](once)[0] == pytest.approx(0.7)
    assert scores["ce_f1_micro_abnormal"](once)[0] == 0
    assert scores["ce_f1_macro_abnormal"](once)[0] == 0


def test_uncertain_counts_as_named_or_not() -> None:
    labels = np.array([[POSITIVE, UNCERTAIN, NEGATIVE, UNMENTIONED]])
    assert named(labels, "positive").tolist() == [[True, True, False, False]]
    assert named(labels, "negative").tolist() == [[True, False, False, False]]


def test_language_of_copied_and_repeated_reports() -> None:
    hypotheses = [
        "no effusion . large effusion .",
        "no effusion . large effusion .",
        "new words here .",
        "",
    ]
    counts = language_counts(hypotheses, ["a b ."] * 4, {"no effusion"}, label_reports)
    assert counts.shape == (4, len(COLUMNS))
    found = {name: float(f(np.ones((1, 4)))[0]) for name, f in language_statistics(counts).items()}
    assert found["normal_copied"] == pytest.approx(2 / 5) and found[
        "copied_sentences"
    ] == pytest.approx(2 / 5)
    assert found["normal_sentences"] == pytest.approx(3 / 5)
    assert found["repeated_reports"] == 0.5 and found["empty_reports"] == 0.25
    grams = ngram_numbers(["a b a", "a c", ""], 1)
    assert distinct(grams, 3)(
        np.array([[1, 1, 1], [0, 2, 0], [0, 0, 1]])
    ).tolist() == pytest.approx([3 / 5, 2 / 4, np.nan], nan_ok=True)
