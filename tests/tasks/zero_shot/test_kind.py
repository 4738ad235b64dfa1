"""Prompts have the published counts; scores follow the prompts; what needs a text side says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn import metrics as sk

from bench.contracts import Predictions, Subset
from bench.core.errors import NotApplicableError, SettingError, UnknownNameError
from bench.metrics.bootstrap import point
from tasks.labelling.wording import sentence
from tasks.zero_shot import ZeroShotKind
from tasks.zero_shot.fit import class_scores
from tasks.zero_shot.prompts import ClassPrompts, build, prompt_set
from tests.tasks.fakes import Encoder, base_names, context, subset, task

KIND = ZeroShotKind()
COUNTS = {
    "Atelectasis": 210,
    "Cardiomegaly": 15,
    "Consolidation": 192,
    "Edema": 18,
    "Pleural Effusion": 54,
}


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLACE_BENCH_CACHE", str(tmp_path / "cache"))


def data(n: int, seed: int) -> Subset:
    """Two exclusive classes the fake encoder's words name."""
    part = subset(n, seed)
    kept = np.flatnonzero(part.index["label:a"] != part.index["label:b"])
    part = part.take(kept)
    part.index["label:left"], part.index["label:right"] = (
        part.index["label:a"],
        part.index["label:b"],
    )
    return part


def run(
    folder: Path,
    labels: tuple[str, ...] = ("left", "right"),
    mode: str = "multiclass",
    encoder: Encoder | None = None,
    val: bool = True,
    protocol: str = "default",
    **changes: Any,
) -> tuple[Predictions, dict[str, float]]:
    spec = task(labels=labels, mode=mode)
    cell = context(spec, KIND.settings(spec, protocol, "demo", changes), folder, data_key="d")
    none = data(20, 4).take(np.array([], int))
    fitted = KIND.fit(encoder or Encoder(), none, data(120, 2) if val else none, cell)
    found = KIND.predict(fitted, data(120, 3), cell)
    return found, {
        name: point(f, len(found.table)) for name, f in KIND.statistics(found, spec).items()
    }


@pytest.mark.parametrize(("label", "count"), COUNTS.items())
def test_prompt_sets_have_the_published_counts(label: str, count: int) -> None:
    texts = prompt_set(label)
    assert len(texts) == len(set(texts)) == count
    assert all("  " not in text and text == text.strip() for text in texts)


def test_drawn_prompts_are_seeded() -> None:
    one, same, other = (
        build("sets", "Atelectasis", 5, np.random.default_rng(seed)) for seed in (0, 0, 1)
    )
    assert len(one.positive) == 5 and one == same != other
    with pytest.raises(SettingError, match="no prompt set for 'Pneumonia'"):
        prompt_set("Pneumonia")


@pytest.mark.parametrize(
    ("mode", "prompts"), [("multiclass", "ensemble"), ("multilabel", "pairs"), ("binary", "pairs")]
)
def test_classes_that_are_not_exclusive_are_asked_against_their_absence(
    mode: str, prompts: str
) -> None:
    spec = task(labels=("left",) if mode == "binary" else ("left", "right"), mode=mode)
    assert KIND.settings(spec, "default", "demo", {}).prompts == prompts
    assert KIND.settings(spec, "default", "paper", {"prompts": "single"}).prompts == "single"
    assert KIND.settings(spec, "gloria", "paper", {}).prompts == "sets"


def test_templates() -> None:
    pairs = build("pairs", "Pleural_Thickening", None, np.random.default_rng(0))
    assert (
        "There is pleural thickening." in pairs.positive
        and "There is no pleural thickening." in pairs.negative
    )
    assert sentence("{} is seen.", "COVID-19") == "COVID-19 pneumonia is seen."
    assert len(build("single", "Edema", None, np.random.default_rng(0)).positive) == 1


@pytest.mark.parametrize("similarity", ["method", "global"])
def test_exclusive_classes_are_found(tmp_path: Path, similarity: str) -> None:
    found, statistics = run(tmp_path, similarity=similarity)
    assert statistics["accuracy"] > 0.9 and statistics["auroc"] > 0.95
    assert found.extra["prompts"] == 12


@pytest.mark.parametrize("mode", ["multiclass", "multilabel"])
def test_a_random_order_scores_as_guessing_does(tmp_path: Path, mode: str) -> None:
    spec = task(labels=("left", "right"), mode=mode)
    cell = context(spec, KIND.settings(spec, "default", "demo", {}), tmp_path, data_key="d")
    test = data(800, 3)
    fitted = KIND.baseline("random_order")(data(20, 4), data(120, 2), cell)
    found = KIND.predict(fitted, test, cell)
    statistics = KIND.statistics(found, spec)
    auroc = point(statistics["auroc"], len(found.table))
    assert auroc == pytest.approx(0.5, abs=4 / (12 * len(test) / 4) ** 0.5)
    assert "prompts" not in found.extra


def test_no_validation_is_needed_for_exclusive_classes(tmp_path: Path) -> None:
    assert run(tmp_path, val=False)[1]["accuracy"] == run(tmp_path)[1]["accuracy"]


def test_binary_labels_get_thresholds_from_validation(tmp_path: Path) -> None:
    found, statistics = run(tmp_path, ("left",), "binary", prompts="ensemble")
    assert statistics["auroc"] > 0.9 and statistics["f1"] > 0.8
    assert "threshold:left" in found.extra
    assert (
        run(tmp_path, ("left",), "binary", val=False)[0].extra["not_decided_on_validation"]
        == "left"
    )


def test_scores_by_hand(tmp_path: Path) -> None:
    encoder, part = Encoder(), data(30, 3)
    prompts = (ClassPrompts(("left", "left large"), ("right",)), ClassPrompts(("right",)))
    for aggregate, function in (("mean", np.mean), ("max", np.max)):
        spec = task(labels=("left", "right"))
        settings = KIND.settings(spec, "default", "demo", {"aggregate": aggregate, "scale": "1"})
        scores = class_scores(encoder, prompts, part, context(spec, settings, tmp_path))
        from bench.encoding.features import to_input

        images = to_input(part.images(slice(None)), encoder.input)
        similar = encoder.similarity(images, ["left", "left large", "right"]).numpy()
        np.testing.assert_allclose(
            scores[:, 0], function(similar[:, :2], axis=1) - similar[:, 2], atol=1e-6
        )
        np.testing.assert_allclose(scores[:, 1], similar[:, 2], atol=1e-6)


def test_gloria_normalises_over_the_test_set(tmp_path: Path) -> None:
    spec = task(labels=("Edema", "Cardiomegaly"), mode="multilabel")
    settings = KIND.settings(spec, "gloria", "demo", {"scale": "1"})
    assert (settings.prompts, settings.prompts_per_class, settings.aggregate) == ("sets", 5, "max")
    prompts = (ClassPrompts(("left",)), ClassPrompts(("right",)))
    scores = class_scores(Encoder(), prompts, data(60, 3), context(spec, settings, tmp_path))
    np.testing.assert_allclose(scores.mean(0), 0, atol=1e-9)
    np.testing.assert_allclose(scores.std(0), 1, atol=1e-9)


def test_benchx_decides_every_class_on_the_test_images(tmp_path: Path) -> None:
    found, statistics = run(
        tmp_path, protocol="benchx", val=False, prompts="ensemble", prompts_per_class="none"
    )
    assert found.extra["mode"] == "multilabel"
    for c in ("left", "right"):
        label, score = found.table[f"label:{c}"], found.table[f"score:{c}"]
        best = max(sk.f1_score(label, score >= t) for t in score)
        assert statistics[f"f1:{c}"] == pytest.approx(best)
        reached, above = found.table[f"pred:{c}"], found.table[f"above:{c}"]
        assert reached.sum() == above.sum() + 1
        assert statistics[f"accuracy:{c}"] == pytest.approx((above == label).mean())
        assert 0 < found.extra[f"threshold:{c}"] < 1


def test_a_backbone_without_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotApplicableError, match="needs a text encoder, backbone 'fake' has none"):
        run(tmp_path, encoder=Encoder(has_text=False))


def test_a_test_set_as_a_whole_stays_one() -> None:
    index = data(20, 1).index
    assert KIND.split(index, task(), "default", 0) is index
    with pytest.raises(UnknownNameError):
        KIND.settings(task(), "mgca", "demo", {})


class LocalEncoder(Encoder):
    """Its local part asks for the first word alone."""

    def local_similarity(self, images: torch.Tensor, texts: list[str]) -> torch.Tensor:
        return self.similarity(images, [text.split()[0] for text in texts])


def test_local_similarity_is_that_of_the_backbone(tmp_path: Path) -> None:
    part, prompts = data(30, 3), (ClassPrompts(("left right",)), ClassPrompts(("right left",)))
    spec = task(labels=("left", "right"))

    def scores(
        which: str,
        encoder: LocalEncoder | Encoder,
        prompts: tuple[ClassPrompts, ClassPrompts] = prompts,
    ) -> np.ndarray:
        cell = context(
            spec,
            KIND.settings(spec, "default", "demo", {"similarity": which}),
            tmp_path,
            data_key="d",
        )
        return class_scores(encoder, prompts, part, cell)

    alone = (ClassPrompts(("left",)), ClassPrompts(("right",)))
    np.testing.assert_array_equal(
        scores("local", LocalEncoder()), scores("method", LocalEncoder(), alone)
    )
    assert not np.allclose(scores("local", LocalEncoder()), scores("method", LocalEncoder()))
    with pytest.raises(
        NotApplicableError, match="no local similarity. Use similarity=method or global"
    ):
        scores("local", Encoder())


@pytest.mark.parametrize("similarity", ["method", "global"])
def test_block_sizes_change_nothing(
    tmp_path: Path, similarity: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = run(tmp_path, similarity=similarity)
    monkeypatch.setenv("PLACE_BENCH_CACHE", str(tmp_path / "other cache"))
    monkeypatch.setattr("bench.encoding.similarity.IMAGES", 7)
    monkeypatch.setattr("bench.encoding.similarity.TEXTS", 5)
    monkeypatch.setattr("bench.encoding.features.BATCH", 9)
    second, _ = run(tmp_path, similarity=similarity)
    slack = 2e-3 if similarity == "global" else 1e-5  # kept embeddings are half precision
    np.testing.assert_allclose(first.table["score:left"], second.table["score:left"], atol=slack)
    np.testing.assert_array_equal(first.table["pred:left"], second.table["pred:left"])


def test_the_metrics_named_beforehand_are_those_that_are_given(tmp_path: Path) -> None:
    spec = task(labels=("left", "right"), mode="multiclass")
    named = KIND.metric_names(spec, KIND.settings(spec, "default", "demo", {}))
    assert base_names(run(tmp_path)[1]) == set(named)
