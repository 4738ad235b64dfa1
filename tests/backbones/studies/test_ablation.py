"""The ablation treats every variant alike: same rates to choose from, same seeds, same changes; its
table says what differs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backbones.shared.pretraining.declare import method_settings
from backbones.studies import ablation
from backbones.studies.demo_encoders import CORPUS, TRIAL
from bench.cells.encoders import PretrainRequest
from bench.cells.prepare import EncoderRef
from bench.contracts import Dataset, Progress
from bench.core.errors import PlaceBenchError, SettingError
from bench.core.progress import Silent
from bench.data.roots import DataRoot, DemoSize
from bench.metrics.bootstrap import Estimate, estimate_of


def estimate(value: float) -> Estimate:
    resampled = value + np.linspace(-0.01, 0.01, 50)
    return estimate_of(resampled, [value], freedom=49)


def test_every_variant_is_a_possible_setting() -> None:
    for method, changes in ablation.VARIANTS.values():
        method_settings(method, "paper", changes)


def test_all_variants_get_the_same_choices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[PretrainRequest] = []

    def train(request: PretrainRequest, progress: Progress) -> EncoderRef:
        asked.append(request)
        folder = tmp_path / f"{len(asked)}"
        folder.mkdir()
        card = {
            "last_epoch": {
                "val/rank": float(request.settings["lr"]),
                "train/observation_cosine": 0.25,
            }
        }
        (folder / "card.json").write_text(json.dumps(card))
        return EncoderRef("resnet_demo", folder, str(len(asked)))

    scores = [estimate(0.5), estimate(0.6), estimate(0.5)]
    monkeypatch.setattr(ablation, "train_encoder", train)
    corpora: list[DemoSize] = []

    def root(dataset: Dataset, demo: DemoSize, **how: Any) -> DataRoot:
        corpora.append(demo)
        return DataRoot(tmp_path / "corpus", "demo")

    monkeypatch.setattr(ablation, "demo_root", root)
    monkeypatch.setattr(
        ablation,
        "score_task",
        lambda task, trained, study, progress: dict(zip(trained, scores, strict=True)),
    )
    chosen = [
        "--variants",
        "ITA;PLACE;GLoRIA",
        "--tasks",
        "siim_seg",
        "--rates",
        "1e-3,3e-3,1e-4",
        "--set",
        "epochs=4",
    ]
    study = ablation.parse([*chosen, "--results", str(tmp_path)])
    table = ablation.run(study, Silent()).read_text(encoding="utf-8")
    for method in ("place", "gloria"):
        own = [
            r
            for r in asked
            if r.method == method and (method != "place" or "lambda_cce" not in r.settings)
        ]
        assert [(r.seed, r.settings["lr"]) for r in own] == [
            (0, "1e-3"),
            (0, "3e-3"),
            (0, "1e-4"),
            (1, "3e-3"),
            (2, "3e-3"),
        ]
    assert all(r.settings["epochs"] == "4" for r in asked) and len(asked) == 15
    assert all(r.settings["max_tokens"] == TRIAL["max_tokens"] for r in asked)
    assert {r.data_root for r in asked} == {tmp_path / "corpus"} and corpora == [CORPUS]
    rows = table.splitlines()[-3:]
    assert rows[0].startswith("| ITA | 3e-3 | 0.25 | 0.500 [0.490, 0.510] |  |")
    assert "| **+0.100 [+0.100, +0.100]** \\* |" in rows[1]
    assert "| +0.000 [+0.000, +0.000] |" in rows[2]
    assert "says nothing clinical" in table


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--seeds", "0,one"], "--seeds '0,one' is not"),
        (["--rates", ","], "need one value"),
        (["--tasks", ""], "need one value"),
    ],
)
def test_a_list_that_is_none_is_refused(words: list[str], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        ablation.parse(words)


@pytest.mark.parametrize("words", ["siim_segg", "siim_seg:dice_globl"])
def test_a_task_or_metric_there_is_not_stops_before_any_training(words: str) -> None:
    with pytest.raises(PlaceBenchError, match="siim_seg"):
        ablation.parse(["--tasks", f"chexpert_cls,{words}"])


def test_a_switch_is_compared_with_place_and_a_part_with_ita() -> None:
    trained = {
        name: ablation.Trained({}, "1e-3", None)
        for name in ("ITA", "PLACE", "PLACE, K=4", "GLoRIA")
    }
    scores = {"siim_seg": dict(zip(trained, map(estimate, (0.5, 0.7, 0.6, 0.4)), strict=True))}
    rows = ablation.table(trained, scores).splitlines()[2:]
    differences = [row.split("|")[-2].strip().strip("*").split(" ")[0] for row in rows]
    assert differences == ["", "+0.200", "-0.100", "-0.100"]


def test_a_variant_that_a_task_cannot_have_has_a_dash() -> None:
    trained = {name: ablation.Trained({}, "1e-3", None) for name in ("ITA", "ConVIRT")}
    rows = ablation.table(trained, {"vindr_ground": {"ITA": estimate(0.5)}}).splitlines()[2:]
    assert rows[1] == "| ConVIRT | 1e-3 |  | - |  |"
    alone = ablation.table({"ConVIRT": trained["ConVIRT"]}, {"vindr_ground": {}})
    assert alone.splitlines()[2:] == [rows[1]]


def test_a_star_needs_more_than_an_interval_without_zero() -> None:
    """The difference of the first is 2.3 standard errors, that of the second 5."""
    shift = np.random.default_rng(0).normal(size=1000)
    scores = {
        "ITA": estimate_of(0 * shift, [0.0], freedom=400),
        "GLoRIA": estimate_of(2.3 + shift, [2.3], freedom=400),
        "MGCA": estimate_of(5 + shift, [5.0], freedom=400),
    }
    scores |= {f"PLACE, {n}": scores["GLoRIA"] for n in range(8)} | {"PLACE": scores["ITA"]}
    trained = {name: ablation.Trained({}, "1e-3", None) for name in scores}
    rows = {
        row.split("|")[1].strip(): row
        for row in ablation.table(trained, {"siim_seg": scores}).splitlines()[2:]
    }
    assert rows["GLoRIA"].count("**") == 2
    assert "\\*" not in rows["GLoRIA"]
    assert "** \\* |" in rows["MGCA"]


def test_an_unknown_variant_is_named() -> None:
    with pytest.raises(SettingError, match="no variant 'PLACES'"):
        ablation.parse(["--variants", "PLACES"])
