"""The kind end to end on a tiny encoder: every decoder learns, texts stay private, baselines are
rows, killed runs go on."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.core.errors import (
    DataError,
    PlaceBenchError,
    SettingError,
    UnknownNameError,
)
from bench.metrics.bootstrap import cluster_weights
from tasks.report_generation.data import ReportBatches, group_studies
from tasks.report_generation.fit import ConstantReport
from tests.tasks.fakes import base_names
from tests.tasks.report_generation.conftest import (
    KIND,
    SHORT,
    TASK,
    TINY,
    CountingEncoder,
    GridEncoder,
    SeeingEncoder,
    cell,
    language_model,
    run,
    studies,
)

pytestmark = pytest.mark.usefixtures("no_java")


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"beam": "1"},
        {"vocabulary": "wordpiece", "pieces": "60", "max_words": "40", "updates": "200"},
        {"encoder": "finetune", "lr": "0.003", "updates": "120"},
    ],
)
def test_a_decoder_learns_what_is_seen(tmp_path: Path, changes: dict[str, str]) -> None:
    found, scores = run(cell(tmp_path, **changes))
    assert scores["ce_f1_micro"] > 0.9 and scores["bleu4"] > 0.6, (
        found.table["hypothesis"].head().tolist()
    )
    assert (
        "meteor" not in scores
        and "METEOR is missing: Java was not found" in found.extra["missing:meteor"]
    )
    assert set(scores) >= set(KIND.metrics) - {"meteor"}
    assert len(found.table) == 24 and found.table["image_id"].iloc[0] == "i3_0_0"


def test_r2gen_learns_and_scores_what_its_vocabulary_holds(tmp_path: Path) -> None:
    changes = {
        "encoder_layers": "1",
        "visual_dropout": "0",
        "schedule": "cosine",
        "lr": "0.005",
        "updates": "100",
    }
    data = studies(24, 3)
    data.index.loc[data.index["study_id"] == "s3_0", "findings"] = (
        "No zebra. " + "The heart is normal. " * 9
    )
    found, scores = run(cell(tmp_path, "r2gen", **changes), test=data)
    assert scores["ce_f1_micro"] > 0.9, found.table["hypothesis"].tolist()
    assert found.table["reference"][0] == "no <unk> . " + "the heart is normal . " * 3 + "the"


def test_presets() -> None:
    default, r2gen = (KIND.settings(TASK, name, "paper", {}) for name in ("default", "r2gen"))
    assert default.reference == "full" and default.image_size == 256 and default.images == 2
    assert (r2gen.reference, r2gen.max_words, r2gen.beam, r2gen.no_repeat_ngram) == (
        "decoded",
        60,
        3,
        0,
    )
    assert (r2gen.schedule, r2gen.amsgrad, r2gen.tokenizer, r2gen.monitor) == (
        "plateau",
        True,
        "cleaned",
        "bleu4",
    )
    with pytest.raises(UnknownNameError, match="unknown protocol"):
        KIND.settings(TASK, "r2g", "paper", {})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"beam": "0"}, "'beam' is 0"),
        ({"width": "12", "heads": "8"}, "width must be a multiple"),
        ({"no_repeat_ngram": "1"}, "shortest n-gram is 2"),
        ({"decoder": "causal_lm"}, "causal_lm is '', not a folder"),
        ({"labeler": "chexbert", "chexbert": "gone.pth"}, "chexbert is 'gone.pth', not a file"),
        ({"schedule": "plateau", "monitor": "none"}, "monitor=none"),
    ],
)
def test_wrong_settings_are_named(changes: dict[str, str], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        KIND.settings(TASK, "default", "demo", changes)


def test_texts_of_real_data_are_kept_only_when_asked(tmp_path: Path) -> None:
    changes = SHORT
    real = dataclasses.replace(cell(tmp_path / "a", **changes), data_kind="real")
    found, _ = run(real)
    assert set(found.table) == {"image_id", "patient_id"} and not any(
        name.startswith("look") for name in found.arrays
    )
    everything = " ".join(map(str, [found.extra, *found.arrays.values()]))
    assert "effusion" not in everything
    shown, _ = run(
        dataclasses.replace(cell(tmp_path / "b", show_text="true", **changes), data_kind="real")
    )
    assert {"hypothesis", "reference"} <= set(shown.table)


def test_baselines_are_rows_and_see_no_image(tmp_path: Path) -> None:
    assert list(KIND.baselines) == ["constant_report", "random_report"]
    for name in KIND.baselines:
        found, scores = run(cell(tmp_path, **SHORT), fit=KIND.baseline(name))
        assert scores["ce_f1_micro"] < 0.9
        assert (len(set(found.table["hypothesis"])) == 1) == (name == "constant_report")


def test_the_constant_report_is_the_usual_one() -> None:
    texts = [
        "lungs clear . heart normal .",
        "lungs clear . effusion .",
        "lungs clear . heart normal . b .",
    ]
    assert ConstantReport.learn(texts).text == "lungs clear . heart normal ."


def test_extra_tokens_of_an_encoder_are_seen(tmp_path: Path) -> None:
    with_extra, without = (
        run(cell(tmp_path / name, **SHORT, observations=name), SeeingEncoder())[0]
        for name in ("auto", "no")
    )
    assert with_extra.extra["parameters"] == without.extra["parameters"] + 8 * 32 + 32


def test_features_are_kept_and_the_second_run_is_the_same(tmp_path: Path) -> None:
    encoder = CountingEncoder()
    context = dataclasses.replace(cell(tmp_path / "one", **SHORT), data_key="d")
    first, _ = run(context, encoder)
    assert encoder.batches == 6, "71, 21 and 43 images, 32 in a batch, each encoded once"
    second, _ = run(dataclasses.replace(context, work_dir=tmp_path / "two"), encoder)
    assert encoder.batches == 6
    assert first.table["hypothesis"].tolist() == second.table["hypothesis"].tolist()
    np.testing.assert_array_equal(first.arrays["named"], second.arrays["named"])


def test_attention_is_read_from_the_inputs_of_the_writing(tmp_path: Path) -> None:
    encoder = CountingEncoder()
    found, _ = run(cell(tmp_path, **SHORT), encoder)
    assert "look:maps" in found.arrays and encoder.batches == 6


def test_a_finished_training_is_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, encoder = cell(tmp_path, **SHORT), GridEncoder()
    first, _ = run(context, encoder)
    monkeypatch.setattr(ReportBatches, "batches", lambda *_: pytest.fail("trained again"))
    again, _ = run(context, encoder)
    assert again.table["hypothesis"].tolist() == first.table["hypothesis"].tolist()


def test_the_encoder_of_other_cells_is_left_alone(tmp_path: Path) -> None:
    encoder = GridEncoder()
    before = encoder.module.weight.clone()
    run(cell(tmp_path, encoder="finetune", **SHORT), encoder)
    assert torch.equal(before, encoder.module.weight) and not encoder.module.training


def test_studies_without_a_report_are_counted(tmp_path: Path) -> None:
    data = studies(24, 3)
    data.index.loc[data.index["study_id"] == "s3_1", "findings"] = " ... "
    found, _ = run(cell(tmp_path, **SHORT), test=data)
    assert len(found.table) == 23 and found.extra["studies_without_report"] == 1
    data.index["findings"] = ""
    with pytest.raises(DataError, match="none of the 24 test studies has a report"):
        run(cell(tmp_path, **SHORT), test=data)
    with pytest.raises(DataError, match="no column 'impression'"):
        group_studies(data, KIND.settings(TASK, "default", "demo", {**TINY, "text": "impression"}))


def test_reports_of_one_word_and_a_last_batch_of_one_train(tmp_path: Path) -> None:
    data = studies(9, 1)
    data.index["findings"] = "Normal"
    found, _ = run(cell(tmp_path, **SHORT), train=data)
    assert set(found.table["hypothesis"]) == {"normal ."}


def test_statistics_resample_and_picture_is_drawn(tmp_path: Path) -> None:
    found, _ = run(cell(tmp_path, **SHORT))
    weights = cluster_weights(found.table["patient_id"].tolist(), 50)
    for name, statistic in KIND.statistics(found, TASK).items():
        assert statistic(weights).shape == (50,), name
    named = KIND.metric_names(TASK, KIND.settings(TASK, "default", "demo", {}))
    needs_java = {"meteor"}
    assert base_names(KIND.statistics(found, TASK)) == base_names(named) - needs_java
    assert found.arrays["look:maps"].shape[2:] == (2, 2, 2)
    np.testing.assert_allclose(found.arrays["look:maps"][0, 0].astype(float).sum(), 1, atol=0.01)
    out = KIND.figure(
        TASK, studies(24, 3), {"one": found, "two": found}, tmp_path / "board" / "fake.png"
    )
    assert (
        out is not None
        and out.stat().st_size > 5000
        and (out.parent / "fake_attention.png").is_file()
    )


def test_causal_language_model_with_a_prefix(tmp_path: Path) -> None:
    folder = language_model(tmp_path / "lm")
    changes = {
        "decoder": "causal_lm",
        "causal_lm": str(folder),
        "causal_lm_trained": "true",
        "updates": "100",
        "lr": "0.005",
    }
    context = cell(tmp_path / "work", **changes)
    found, scores = run(context)
    assert scores["ce_f1_micro"] > 0.9, found.table["hypothesis"].tolist()
    frozen, _ = run(cell(tmp_path / "frozen", **{**changes, "causal_lm_trained": "false", **SHORT}))
    assert frozen.extra["parameters"] < found.extra["parameters"]
    with pytest.raises(PlaceBenchError, match="not a causal language model"):
        (tmp_path / "empty").mkdir()
        run(cell(tmp_path / "work2", decoder="causal_lm", causal_lm=str(tmp_path / "empty")))
