"""Demos of the labelled sets: read by the loaders, labels as the truth, whatever the workers, after
a kill, not by metadata."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from bench.core.errors import DataError
from tasks.datasets._exclusive import EIGHT, FIVE
from tasks.datasets.chexpert import Chexpert
from tasks.datasets.chexpert5x200 import Chexpert5x200
from tasks.datasets.covidx import Covidx, Covidx4
from tasks.datasets.demos import chexpert, chexpert5x200, covidx, exclusive
from tasks.datasets.mimic5x200 import Mimic5x200
from tasks.demo.beam.render import Rendering
from tasks.demo.body.patient import Study, sample_study
from tasks.demo.reports.labels import true_labels
from tasks.demo.writers import manifest
from tests.tasks.demo.conftest import content

ROOT = Path(__file__).parents[3]
FIVES = Chexpert5x200.demo
DATASETS = (Chexpert(), Chexpert5x200(), Covidx(), Covidx4(), Mimic5x200())


@pytest.fixture(scope="module", params=DATASETS, ids=lambda dataset: dataset.name)
def demo(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Any, ...]:
    out = tmp_path_factory.mktemp("labelled") / request.param.name
    request.param.make_demo(out, studies=14, size=64, seed=3, workers=1)
    return request.param, out


def test_a_class_that_no_report_says_alone_stops_the_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exclusive, "_says_only", lambda *_: False)
    number = next(n for n in range(9) if exclusive.class_of(FIVES, 3, n, FIVE))
    with pytest.raises(
        DataError,
        match=rf"no report of demo study {number} \(seed 3\) says .* alone in 400 attempts",
    ):
        exclusive.drawn(FIVES, 3, number, FIVE)


def test_the_version_of_the_renderer_is_known_without_it() -> None:
    code = (
        "import sys\nfrom tasks.datasets.iu_xray import IuXray\nfrom "
        "tasks.datasets.mimic_cxr import MimicCxr\n"
        "assert IuXray().demo_version() == MimicCxr().demo_version() + 1 >= 3\nassert not "
        "{'cv2', 'numpy'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr


def test_the_loaders_agree_with_the_manifest(demo: tuple[Any, ...]) -> None:
    dataset, root = demo
    assert {finding.level for finding in dataset.validate(root)} == {"ok"}
    truth = [
        json.loads(line)["image_id"] for line in (root / manifest.TRUTH).read_text().splitlines()
    ]
    assert set(dataset.index(root)["image_id"]) <= set(truth)


@pytest.mark.parametrize("dataset", [DATASETS[1], DATASETS[4]], ids=lambda dataset: dataset.name)
def test_two_workers_write_the_same_bytes_as_one(
    dataset: Chexpert5x200 | Mimic5x200, tmp_path: Path
) -> None:
    for workers in (1, 2):
        dataset.make_demo(tmp_path / str(workers), studies=5, size=64, seed=3, workers=workers)
    assert content(tmp_path / "1") == content(tmp_path / "2")


@pytest.mark.parametrize("module", [chexpert, chexpert5x200, covidx])
def test_restart_after_a_kill_completes_the_same_folder(
    module: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = {chexpert: DATASETS[0], chexpert5x200: DATASETS[1], covidx: DATASETS[2]}[module]
    write = partial(dataset.make_demo, studies=5, size=64, seed=1, workers=1)
    write(tmp_path / "whole")
    real, calls = module.render, []

    def dying(*arguments: Study | int | str) -> Rendering:
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(module, "render", dying)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "killed")
    assert not (tmp_path / "killed" / manifest.MANIFEST).exists()
    write(tmp_path / "killed")
    assert content(tmp_path / "killed") == content(tmp_path / "whole")


@pytest.mark.parametrize("classes", [FIVE, EIGHT])
def test_reports_say_the_class_and_nothing_else(classes: tuple[str, ...]) -> None:
    for number in range(3 * (len(classes) + 1)):
        name = exclusive.class_of(FIVES, 0, number, classes)
        study, report = exclusive.drawn(FIVES, 0, number, classes)
        if name:
            others = [
                value for label, value in report.labels.items() if label not in (name, "No Finding")
            ]
            assert report.labels[name] == 1 and not any(others)
            assert {finding.name for finding in study.findings} == {exclusive.FINDING[name]} - {""}


def test_the_order_of_classes_is_drawn() -> None:
    block = len(FIVE) + 1
    orders = {
        tuple(exclusive.class_of(FIVES, 0, block * b + i, FIVE) for i in range(block))
        for b in range(20)
    }
    assert len(orders) > 15
    assert (
        len(
            {tuple(covidx.class_of(Covidx.demo, 0, 3 * b + i) for i in range(3)) for b in range(40)}
        )
        == 6
    )


def test_labels_of_a_study_are_those_of_its_findings() -> None:
    study = sample_study(
        np.random.default_rng(4),
        0,
        {
            "pneumothorax": 1.0,
            **dict.fromkeys(
                (
                    "effusion",
                    "consolidation",
                    "atelectasis",
                    "edema",
                    "cardiomegaly",
                    "nodule",
                    "fracture",
                ),
                0.0,
            ),
        },
    )
    labels = true_labels(study)
    assert labels["Pneumothorax"] == 1 and labels["Edema"] == labels["No Finding"] == 0
    assert len(labels) == 14


def test_metadata_does_not_tell_the_labels() -> None:
    """Logistic regression on sex, age, view, place in the file and number of devices ranks at
    chance."""
    rows, labels = [], []
    for number in range(1500):
        study = chexpert.study_of(0, number)
        rows.append(
            [
                study.patient.sex == "M",
                study.patient.age,
                study.view == "PA",
                number % 100,
                study.order,
                study.lateral,
            ]
        )
        labels.append([true_labels(study)[name] for name in FIVE])
    facts, truth = np.array(rows, float), np.array(labels)
    facts = (facts - facts.mean(0)) / facts.std(0)
    for c in range(len(FIVE)):
        scores = (
            LogisticRegression().fit(facts[:1000], truth[:1000, c]).decision_function(facts[1000:])
        )
        assert abs(roc_auc_score(truth[1000:, c], scores) - 0.5) < 0.1
