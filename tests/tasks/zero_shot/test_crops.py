"""Crops: parity with the reference, the whole image at mix 0, the same crops whatever else is
encoded, and what is refused before anything is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from bench.contracts import CellContext, Predictions, Subset
from bench.core.errors import DataError, PlaceBenchError, SettingError, UnknownNameError
from bench.encoding import features
from bench.encoding.features import FeatureCache
from bench.metrics.bootstrap import point
from tasks.zero_shot import ZeroShotKind, crops
from tasks.zero_shot.inference import INFERENCES, Inference
from tasks.zero_shot.inference.multi_resolution import MultiResolutionSettings
from tests.support.progress import Said
from tests.tasks.fakes import Encoder, context, subset, task

KIND = ZeroShotKind()
PARITY = Path(__file__).parents[2] / "parity" / "mr_phe" / "hybrid.pt"
CROPS: dict[str, Any] = {"inference": "multi_resolution", "scales": "0.5,1", "crops": "3"}


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLACE_BENCH_CACHE", str(tmp_path / "cache"))


def data(n: int, seed: int) -> Subset:
    """Squares of 32 px with one of two exclusive classes that the fake encoder's words name."""
    images = subset(n, seed, size=32)
    images = images.take(np.flatnonzero(images.index["label:a"] != images.index["label:b"]))
    names = {"label:a": "label:left", "label:b": "label:right"}
    return replace(images, index=images.index.rename(columns=names))


def settings_of(protocol: str = "default", **changes: str) -> Any:
    spec = task(labels=("left", "right"), mode="multiclass")
    changes = {"image_size": "32", **changes}
    return KIND.settings(spec, protocol, "demo", changes)


def cell(folder: Path, settings: Any, **facts: Any) -> CellContext:
    spec = task(labels=("left", "right"), mode="multiclass")
    return context(spec, settings, folder, **{"data_key": "d", **facts})


def run(
    folder: Path, encoder: Encoder | None = None, *, val: int = 80, said: Said | None = None,
    **changes: Any,
) -> Predictions:  # fmt: skip
    progress = {"progress": said} if said else {}
    of_cell = cell(folder, settings_of(**changes), **progress)
    none = data(20, 4).take(np.array([], int))
    validation = data(val, 2) if val else none
    fitted = KIND.fit(encoder or Encoder(), none, validation, of_cell)
    return KIND.predict(fitted, data(60, 3), of_cell)


# ------------------------------------------------------------------------------------------- parity
def test_the_hybrid_vectors_equal_the_reference() -> None:
    reference = torch.load(PARITY, weights_only=True)
    prompts = [each.numpy() for each in reference["prompts"]]
    names = reference["class_name_prompt"].numpy()
    plain = np.stack([crops.class_vector(each) for each in prompts])
    np.testing.assert_allclose(plain.T, reference["class_embeddings_mean"], rtol=1e-9, atol=1e-12)
    assert pytest.approx(float(reference["text_scale"]), rel=1e-7) == crops.NAME_SCALE
    weights = [crops.name_weights(*pair) for pair in zip(prompts, names, strict=True)]
    classes = np.stack(list(map(crops.class_vector, prompts, weights)))
    expected = reference["class_embeddings_weighted"]
    np.testing.assert_allclose(classes.T, expected, rtol=1e-6, atol=1e-9)
    patches = reference["patches"].numpy()
    shares = crops.patch_weights(patches, classes)
    np.testing.assert_allclose(shares, reference["patch_weights"], rtol=1e-6)
    local = crops.local_vectors(patches, shares)
    hybrid = crops.mixed(local, reference["images"].numpy(), reference["hybrid_weight"])
    np.testing.assert_allclose(hybrid, reference["hybrid_embeddings"], rtol=1e-6, atol=1e-9)
    logits = hybrid @ classes.T / reference["temperature"]
    np.testing.assert_allclose(logits, reference["logits"], rtol=1e-6, atol=1e-9)


def test_a_low_temperature_leaves_the_best_crop_alone() -> None:
    views = np.eye(4)[None, :3]
    classes = np.eye(4)[1:2]
    assert crops.patch_weights(views, classes, 1e-3)[0].tolist() == [0.0, 1.0, 0.0]
    near = crops.patch_weights(views, classes)[0]
    np.testing.assert_allclose(near, np.array([1, np.e, 1]) / (2 + np.e))


# -------------------------------------------------------------------------------------------- crops
def test_the_same_seed_draws_the_same_crops_of_an_image() -> None:
    image = np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)
    settings = settings_of(**CROPS)

    def drawn(seed: int, name: str) -> list[bytes]:
        return [crop.tobytes() for crop in crops.draw_crops(settings, seed, image, name)]

    assert drawn(0, "a") == drawn(0, "a")
    assert drawn(0, "a") != drawn(1, "a") and drawn(0, "a") != drawn(0, "b")


def test_crops_are_squares_of_the_sides_that_are_set() -> None:
    image = np.zeros((64, 64), np.uint8)
    settings = settings_of(**CROPS | {"crops": "40", "crop_min": "0.5", "crop_max": "0.75"})
    drawn = crops.draw_crops(settings, 0, image, "a")
    assert len(drawn) == 80 and all(crop.shape[0] == crop.shape[1] for crop in drawn)
    for views, side in ((drawn[:40], 32), (drawn[40:], 64)):
        lengths = np.array([len(crop) for crop in views]) / side
        assert 0.45 < lengths.min() < 0.55 and 0.7 < lengths.max() <= 0.75


def test_crops_do_not_depend_on_the_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, settings = data(40, 3), settings_of(**CROPS)
    views = crops.crop_views(settings, 0)
    kept = []
    for batch in (6, 32):
        monkeypatch.setattr(features, "BATCH", batch)
        cache = FeatureCache(Encoder(), cell(tmp_path, settings, data_key=f"d{batch}"))
        kept.append(cache.views(images, views)[np.arange(len(images))])
        some = cache.views(images.take(np.array([5, 2])), views)[np.arange(2)]
        np.testing.assert_array_equal(some, kept[-1][[5, 2]])
    assert kept[0].shape == (len(images), 6, 4)
    np.testing.assert_array_equal(kept[0], kept[1])


def test_crops_are_encoded_once_and_what_they_cost_is_said(tmp_path: Path) -> None:
    encoder, said = Encoder(), Said()
    first = run(tmp_path, encoder, said=said, **CROPS)
    sentences = [line for line in said.lines if "views of each of" in line]
    assert len(sentences) == 2 and "6 times the work" in sentences[0]
    again = Said()
    second = run(tmp_path, encoder, said=again, **CROPS)
    assert not [line for line in again.lines if "views of each of" in line]
    assert first.table.equals(second.table)
    other = Said()
    run(tmp_path, encoder, said=other, **CROPS | {"crop_min": "0.6"})
    assert [line for line in other.lines if "views of each of" in line]


# ------------------------------------------------------------------------------------------ results
def test_mix_0_is_the_whole_image_bit_for_bit_and_encodes_no_crop(tmp_path: Path) -> None:
    whole = run(tmp_path, inference="whole", similarity="global")
    said = Said()
    none = run(tmp_path, said=said, mix="0", **CROPS)
    assert whole.table.equals(none.table)
    assert not [line for line in said.lines if "views of each of" in line]


@pytest.mark.parametrize("weights", ["mean", "name"])
def test_crops_find_exclusive_classes(tmp_path: Path, weights: str) -> None:
    """Half of the square is bright: a crop of it shows no side, the whole image does."""
    found = run(tmp_path, prompt_weights=weights, **CROPS | {"crop_min": "0.9", "crop_max": "1"})
    statistics = KIND.statistics(found, task())
    assert point(statistics["auroc"], len(found.table)) > 0.9
    whole = run(tmp_path, inference="whole", similarity="global")
    assert not whole.table.equals(found.table)


def test_mix_is_chosen_on_validation(tmp_path: Path) -> None:
    """The first of the values with the highest mean AUROC there, and the test images are scored
    with it."""
    found = run(tmp_path, **CROPS | {"mix": "validation", "crop_max": "0.55"})
    validation = data(80, 2)
    of_cell = cell(tmp_path, settings_of(**CROPS | {"mix": "0.1", "crop_max": "0.55"}))
    fitted = KIND.fit(Encoder(), validation, validation, of_cell)
    aurocs = []
    for mix in crops.MIXES:
        of_mix = replace(of_cell, settings=replace(of_cell.settings, mix=mix))
        scores = crops.scores(fitted.backbone, fitted.prompts, validation, of_mix)
        labels = validation.index[["label:left", "label:right"]].to_numpy()
        aurocs.append(roc_auc_score(labels, scores, average="macro"))
    assert len(set(np.round(aurocs, 9))) > 1
    assert found.extra["mix"] == crops.MIXES[int(np.argmax(np.round(aurocs, 12)))]
    stated = run(tmp_path, **CROPS | {"mix": str(found.extra["mix"]), "crop_max": "0.55"})
    np.testing.assert_array_equal(stated.table["score:left"], found.table["score:left"])


def test_mix_cannot_be_chosen_without_validation_images(tmp_path: Path) -> None:
    encoder = Encoder()
    with pytest.raises(SettingError, match="'fake_task' has no validation images. Give a number"):
        run(tmp_path, encoder, val=0, **CROPS | {"mix": "validation"})
    assert encoder.images_seen == 0


# ---------------------------------------------------------------------------------------- bad input
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scales": "0.5,1.5"}, "'scales' is 1.5"),
        ({"scales": "0"}, "'scales' is 0"),
        ({"crop_min": "0.9", "crop_max": "0.5"}, "crop_min is 0.9 and crop_max 0.5"),
        ({"mix": "1.5"}, "'mix' is 1.5"),
        ({"mix": "test"}, "'mix' wants float or one of validation, found 'test'"),
        ({"scales": "0.1"}, "smallest crop has a side of 1 px.*At least 8 px"),
        ({"similarity": "local"}, "similarity is local.*Leave similarity out"),
        ({"similarity": "method"}, "similarity is method"),
        ({"prompt_weights": "name", "aggregate": "max"}, "prompt_weights is name and aggregate is"),
        ({"crops": "0"}, "'crops' is 0"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_encoded(
    changes: dict[str, str], message: str
) -> None:
    with pytest.raises(SettingError, match=message):
        settings_of(**CROPS | changes)


def test_an_unknown_strategy_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="'multi_resolutoin'.*Did you mean multi_resolution"):
        settings_of(inference="multi_resolutoin")


def test_a_setting_of_another_strategy_says_whose_it_is() -> None:
    with pytest.raises(SettingError, match="'crops' is one of inference=multi_resolution"):
        settings_of(crops="3")


def test_the_published_protocols_can_look_at_crops_too() -> None:
    for protocol in ("gloria", "benchx"):
        settings = settings_of(protocol, **CROPS)
        assert isinstance(settings, MultiResolutionSettings) and settings.aggregate == "max"


# --------------------------------------------------------------------------------- other strategies
def test_scores_of_another_shape_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def one_column(encoder: Any, prompts: Any, images: Subset, of_cell: Any) -> np.ndarray:
        return np.zeros((len(images), 1))

    monkeypatch.setitem(INFERENCES._items, "narrow", Inference("narrow", one_column))
    with pytest.raises(PlaceBenchError, match=r"'narrow' gives scores of shape \(\d+, 1\)"):
        run(tmp_path, inference="narrow")


def test_scores_that_are_not_finite_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(encoder: Any, prompts: Any, images: Subset, of_cell: Any) -> np.ndarray:
        return np.full((len(images), len(prompts)), np.nan)

    monkeypatch.setitem(INFERENCES._items, "broken", Inference("broken", broken))
    with pytest.raises(DataError, match="backbone 'fake' gives scores that are not finite"):
        run(tmp_path, inference="broken")


@pytest.mark.parametrize("mix", ["0.5", "validation"])
def test_an_encoder_whose_vectors_are_not_finite_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mix: str
) -> None:
    monkeypatch.setattr(crops, "local_vectors", lambda views, _: np.full(views[:, 0].shape, np.nan))
    with pytest.raises(DataError, match="backbone 'fake' gives scores that are not finite"):
        run(tmp_path, **CROPS | {"mix": mix})
