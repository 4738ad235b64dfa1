"""Reports say what is in the image, in the form of MIMIC-CXR, and the labels are those of what they
say."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import pytest

from tasks.datasets._chexpert import LABELS
from tasks.datasets._reports import parse_sections
from tasks.demo.body.patient import Study, sample_study
from tasks.demo.reports import phrases
from tasks.demo.reports.report import UNSPOKEN, Report, write_report

WORDS = {
    "Pneumothorax": "pneumothora",
    "Pleural Effusion": "effusion",
    "Edema": "edema",
    "Cardiomegaly": "heart|cardi",
    "Fracture": "fracture",
    "Atelectasis": "atelecta",
    "Lung Lesion": "nodul|mass",
}
FINDING = {"pneumothorax": "Pneumothorax", "effusion": "Pleural Effusion", "edema": "Edema",
"cardiomegaly": "Cardiomegaly",
           "nodule": "Lung Lesion", "fracture": "Fracture",
           "atelectasis": "Atelectasis"}  # fmt: skip


def written(count: int = 150) -> Iterator[tuple[Study, Report]]:
    for number in range(count):
        study = sample_study(np.random.default_rng((6, number)), number)
        for later in range(2):
            yield study, write_report(study, np.random.default_rng((7, number, later)))
            study = sample_study(np.random.default_rng((6, number, later)), number, previous=study)


REPORTS = list(written())


def test_sections_are_parsed_back() -> None:
    for _, report in REPORTS:
        sections = parse_sections(report.text)
        assert " ".join(sections.get("findings", "").split()) == report.findings
        assert (
            re.sub(r"(^|\s)\d\. ", r"\1", " ".join(sections.get("impression", "").split()))
            == report.impression
        )
        assert report.text.startswith(" " * 33 + "FINAL REPORT\n EXAMINATION:")
        assert max(map(len, report.text.splitlines())) <= 95


def test_some_reports_lack_a_section_and_none_lacks_both() -> None:
    missing = [(not report.findings, not report.impression) for _, report in REPORTS]
    assert {(True, False), (False, True), (False, False)} == set(missing)


def test_every_finding_is_spoken_of_and_its_label_follows() -> None:
    for study, report in REPORTS:
        body = f"{report.findings} {report.impression}"
        for finding in study.findings:
            label = FINDING.get(finding.name)
            if label:
                assert report.labels[label] in (1, -1), (finding, body)
                assert re.search(WORDS[label], body, re.IGNORECASE)
        if (
            any(f.name == "device" and f.kind not in UNSPOKEN for f in study.findings)
            and report.findings
        ):
            assert report.labels["Support Devices"] == 1


def test_what_is_absent_is_never_called_present() -> None:
    for study, report in REPORTS:
        for name, label in FINDING.items():
            if name != "atelectasis" and not study.has(name):
                assert report.labels.get(label, 0) == 0, (name, report.text)


def test_no_finding_means_no_other_positive_label() -> None:
    for _, report in REPORTS:
        others = {
            name
            for name, value in report.labels.items()
            if value and name not in ("No Finding", "Support Devices")
        }
        assert ("No Finding" in report.labels) == (not others)


def test_side_and_size_of_a_sentence_are_those_of_the_finding() -> None:
    for study, report in REPORTS:
        sides = {f.side for f in study.named("effusion")}
        for sentence in re.findall(r"[^.]*effusion[^.]*\.", report.findings):
            told = set(re.findall(r"\b(right|left)\b", sentence))
            assert told <= sides


def test_comparison_is_only_made_with_a_previous_study() -> None:
    marks = re.compile(
        "|".join(re.escape(text) for texts in phrases.CHANGE.values() for text in texts)
    )
    compared = [
        bool(marks.search(f"{report.findings} {report.impression}"))
        for study, report in REPORTS
        if study.previous is not None
    ]
    alone = [
        marks.search(f"{report.findings} {report.impression}")
        for study, report in REPORTS
        if study.previous is None
    ]
    assert not any(alone)
    assert 0.3 < np.mean(compared) < 1


def test_reports_vary() -> None:
    texts = {report.findings for _, report in REPORTS if report.findings}
    assert len(texts) > 0.9 * sum(bool(report.findings) for _, report in REPORTS)


@pytest.mark.parametrize("group", [phrases.PRESENT, phrases.UNCERTAIN])
def test_phrases_name_known_labels(
    group: dict[
        str,
        tuple[tuple[str, dict[str, int]], ...]
        | tuple[tuple[str, dict[str, int]], tuple[str, dict[str, int]], tuple[str, dict[str, int]]]
        | tuple[tuple[str, dict[str, int]], tuple[str, dict[str, int]]]
        | tuple[tuple[str, dict[str, int]], tuple[str, dict[str, int]]]
        | tuple[tuple[str, dict[str, int]]],
    ],
) -> None:
    for options in group.values():
        for text, labels in options:
            assert set(labels) <= set(LABELS)
            assert set(labels.values()) <= {1, -1}
            assert not text.endswith(".")
