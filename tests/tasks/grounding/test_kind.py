"""Maps lie where the encoder looks; an encoder that looks at the right place wins, rows without an
encoder do not; what cannot answer says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench.contracts import (
    DATASETS,
    KINDS,
    REGION_SIDE,
    TASKS,
    GivesGrounding,
    GivesPatchEmbeddings,
    InputSpec,
    Source,
    Subset,
)
from bench.core.errors import DataError, NotApplicableError, UnknownNameError
from bench.data.annotations import Regions
from bench.data.regions import RegionEntry, RegionRows
from bench.encoding.features import to_input
from bench.metrics.bootstrap import point
from tasks.grounding import GroundingKind, GroundingSettings
from tasks.grounding.figures import image_scores, unpack_regions
from tasks.grounding.maps import encoder_maps, on_square, seen_windows
from tasks.grounding.metrics import basis, labels_of
from tasks.grounding.pairs import pairs_of
from tasks.grounding.truth import Fixations
from tests.tasks.fakes import Encoder
from tests.tasks.grounding.spots import SIDE, SPOT, cell, data

KIND = GroundingKind()


class Seer(Encoder):
    """Says that every text is where the image is bright."""

    def __init__(self, spec: InputSpec | None = None) -> None:
        super().__init__()
        self.input = spec or InputSpec(size=SIDE, resize=SIDE)

    def grounding(self, images: torch.Tensor, texts: Sequence[str]) -> torch.Tensor | None:
        maps = torch.nn.functional.avg_pool2d(images.mean(1, keepdim=True), 8)
        return maps.expand(-1, len(texts), -1, -1)


class Patches(Seer):
    """Has patches in the space of its texts; no map of its own."""

    def grounding(self, images: torch.Tensor, texts: Sequence[str]) -> torch.Tensor | None:
        return None

    def embed_patches(self, images: torch.Tensor) -> torch.Tensor | None:
        light = torch.nn.functional.avg_pool2d(images.mean(1), 8)
        angle = (light - light.amin((1, 2), keepdim=True)) / 2
        return torch.stack([angle.sin(), angle.cos()], dim=-1)

    def embed_texts(self, texts: Sequence[str]) -> torch.Tensor:
        return torch.tensor([[1.0, 0.0]]).expand(len(texts), -1)


def run(predictor: Any, folder: Path, test: Subset | None = None, **changes: Any) -> dict:
    test = data(seed=3) if test is None else test
    ctx = cell(folder, **changes)
    predictions = KIND.predict(predictor, test, ctx)
    functions = KIND.statistics(predictions, ctx.task)
    return {name: point(f, len(predictions.table)) for name, f in functions.items()}


def test_who_looks_at_the_right_place_has_the_best_of_every_metric(tmp_path: Path) -> None:
    fitted = KIND.fit(Seer(), data(seed=1), data(seed=2), cell(tmp_path))
    values = run(fitted, tmp_path)
    assert values["pointing"] == 1 and values["pointing:a"] == 1
    assert values["shuffled_auc"] > 0.95 and values["auc_judd"] > 0.98
    assert values["dice"] > 0.8 and values["iou"] > 0.7 and values["nss"] > 3
    assert values["cnr"] == values["cnr_signed"] > 1.5
    assert set(KIND.metric_names(TASKS.get("vindr_ground"), fitted)) == {
        name for name in values if ":" not in name
    }


def test_rows_without_an_encoder_have_no_shuffled_auc_above_one_half(tmp_path: Path) -> None:
    values = {}
    for name in KIND.baselines:
        fitted = KIND.baseline(name)(data(seed=1), data(seed=2), cell(tmp_path))
        values[name] = run(fitted, tmp_path)
        assert values[name]["shuffled_auc"] == pytest.approx(0.5, abs=1e-9)
        predictions = KIND.predict(fitted, data(seed=3), cell(tmp_path))
        function = KIND.statistics(predictions, cell(tmp_path).task)["shuffled_auc"]
        weights = np.random.default_rng(0).poisson(1, (50, len(predictions.table)))
        assert set(function(weights.astype(float)).tolist()) == {0.5}
    share = SPOT**2 / SIDE**2
    assert values["chance"]["pointing"] == pytest.approx(share)
    assert values["chance"]["iou"] == pytest.approx(share)
    assert values["chance"]["nss"] == 0 and values["chance"]["auc_judd"] == 0.5


def test_the_mean_training_map_is_that_of_the_label(tmp_path: Path) -> None:
    train = data(seed=1)
    fitted = KIND.baseline("mean_training_map")(train, data(seed=2), cell(tmp_path))
    test = data(seed=3)
    pairs = pairs_of(test, cell(tmp_path).settings)
    maps = fitted.maps_of(test, pairs, cell(tmp_path))
    regions = train.get(Regions)
    expected = np.mean([regions[row][0].map for row in range(1, 23, 2)], axis=0)
    assert maps[1] == pytest.approx(expected.reshape(-1))
    nothing = train.take(np.array([23]))
    with pytest.raises(DataError, match="no training image with a region"):
        KIND.baseline("mean_training_map")(nothing, test, cell(tmp_path))


def test_patches_in_the_space_of_texts_are_a_map_too(tmp_path: Path) -> None:
    assert isinstance(Patches(), GivesPatchEmbeddings) and isinstance(Patches(), GivesGrounding)
    fitted = KIND.fit(Patches(), data(seed=1), data(seed=2), cell(tmp_path))
    assert run(fitted, tmp_path)["pointing"] == 1


def test_an_encoder_without_a_map_or_without_texts_says_so(tmp_path: Path) -> None:
    with pytest.raises(NotApplicableError, match=r"'fake' compares whole images alone"):
        KIND.fit(Encoder(), data(seed=1), data(seed=2), cell(tmp_path))
    with pytest.raises(NotApplicableError, match="grounding needs a text encoder"):
        KIND.fit(Encoder(has_text=False), data(seed=1), data(seed=2), cell(tmp_path))


def test_maps_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    class Broken(Seer):
        def grounding(self, images: torch.Tensor, texts: Sequence[str]) -> torch.Tensor | None:
            return torch.full((len(images), len(texts), 2, 2), torch.nan)

    with pytest.raises(DataError, match="'fake' gives maps that are not finite"):
        KIND.fit(Broken(), data(seed=1), data(seed=2), cell(tmp_path))


@pytest.mark.parametrize("fit", ["letterbox", "shortest", "squash"])
def test_a_map_lies_where_the_encoder_sees_it(fit: Any, tmp_path: Path) -> None:
    spec = InputSpec(size=96, resize=112, fit=fit)
    test = data(seed=7, padding=16)
    assert run(KIND.fit(Seer(spec), test, test, cell(tmp_path)), tmp_path, test)["pointing"] > 0.9
    images = np.zeros((1, SIDE, SIDE), np.uint8)
    images[0, 16:96] = 100
    images[0, 48:64, 56:72] = 250
    seen = to_input(images, spec)[0, 0]
    placed = on_square(seen, seen_windows(images, spec)[0])
    row, column = np.unravel_index(placed.argmax(), placed.shape)
    assert 24 <= row < 32 and 28 <= column < 36
    bright = np.argwhere(placed > 0.5)
    assert bright.min(0).tolist() == pytest.approx([24, 28], abs=1)
    assert bright.max(0).tolist() == pytest.approx([31, 35], abs=1)


def test_every_image_is_read_once_in_batches_of_few_texts() -> None:
    class Counting(Seer):
        def grounding(self, images: torch.Tensor, texts: Sequence[str]) -> torch.Tensor | None:
            calls.append((len(images), len(texts)))
            return super().grounding(images, texts)

    calls: list[tuple[int, int]] = []
    phrases = pairs_of(data(60), GroundingSettings(target="phrase"))
    ctx = cell(Path())
    together = encoder_maps(Counting(), data(60), phrases, ctx)
    assert calls == [(16, 16)] * 3 + [(11, 11)]
    many = replace(phrases, texts=tuple((f"{n}", *map(str, range(n, n + 9))) for n in range(59)))
    calls.clear()
    assert np.allclose(encoder_maps(Counting(), data(60), many, ctx), together, atol=1e-6)
    assert sum(images for images, _ in calls) == 59 and max(texts for _, texts in calls) <= 32


def test_what_an_encoder_does_not_see_has_the_smallest_value() -> None:
    heat = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    placed = on_square(heat, (0.25, 0.25, 0.5, 0.5))
    assert placed[0, 0] == placed[-1, -1] == placed[28, 0] == 1
    assert placed[14, 14] == 1 and placed[41, 41] == 4
    whole = on_square(heat, (0.0, 0.0, 1.0, 1.0))
    assert (whole.min(), whole.max()) == (1, 4)


def test_padding_does_not_count() -> None:
    settings = GroundingSettings(labels=("a", "b"))
    pairs = pairs_of(data(padding=16), settings)
    assert pairs.valid.reshape(-1, REGION_SIDE, REGION_SIDE)[0, :8].any() == 0
    assert pairs.valid[0].sum() == 40 * REGION_SIDE


def test_regions_of_one_label_are_one_and_other_sources_and_labels_are_left_out() -> None:
    maps = np.zeros((4, REGION_SIDE, REGION_SIDE), np.uint8)
    for number in range(4):
        maps[number, :, 10 * number : 10 * number + 5] = 255
    entries = (
        RegionEntry(0, -1, "a", "box", ""),
        RegionEntry(1, -1, "a", "box", ""),
        RegionEntry(2, -1, "a", "mask", ""),
        RegionEntry(3, -1, "c", "box", ""),
    )
    subset = replace(data(1), annotations={Regions: RegionRows(maps, (entries,))})
    pairs = pairs_of(subset, GroundingSettings(labels=("a", "b")))
    assert pairs.labels == ("a",) and pairs.texts == (("There is a.",),)
    assert pairs.inside[0].reshape(REGION_SIDE, -1)[0].nonzero()[0].tolist() == [
        *range(5),
        *range(10, 15),
    ]
    six = pairs_of(subset, GroundingSettings(labels=("a",), prompts="ensemble"))
    assert len(six.texts[0]) == 6


def test_phrases_are_asked_as_they_are_and_averaged_by_label(tmp_path: Path) -> None:
    settings = GroundingSettings(target="phrase")
    pairs = pairs_of(data(), settings)
    assert pairs.texts[3] == ("b in 3",) and pairs.labels[3] == "b"
    fitted = KIND.fit(
        Seer(), data(seed=1), data(seed=2), cell(tmp_path, target="phrase", labels=())
    )
    values = run(fitted, tmp_path, target="phrase", labels=())
    assert {"pointing", "pointing:a", "pointing:b"} <= set(values)


def gaze() -> Subset:
    """Two images whose report has two sentences; eyes are known for three of the four."""
    subset = data(2)
    subset.index["report"] = "Heart is big. Nodule."
    maps = np.zeros((4, REGION_SIDE, REGION_SIDE), np.uint8)
    maps[:, 8:16, 8:16] = 255
    first = tuple(
        RegionEntry(number, sentence, "", "gaze", "") for number, sentence in [(0, -1), (1, 1)]
    )
    second = tuple(RegionEntry(number, number - 2, "", "gaze", "") for number in (2, 3))
    places = np.array(
        [{-1: [(0.2, 0.2)], 1: [(0.2, 0.2), (0.999, 1.0)]}, {0: [(0.9, 0.9)]}], object
    )
    regions = RegionRows(maps, (first, second))
    return replace(subset, annotations={Regions: regions, Fixations: places})


def test_sentences_are_compared_with_the_fixations_of_their_time() -> None:
    pairs = pairs_of(gaze(), GroundingSettings(target="sentence", source="gaze"))
    assert pairs.rows.tolist() == [0, 1]
    assert pairs.texts == (("Nodule.",), ("Heart is big.",)) and set(pairs.labels) == {"sentence"}
    cells = pairs.fixated[0].reshape(REGION_SIDE, -1)
    assert np.argwhere(cells).tolist() == [[11, 11], [55, 55]]
    assert pairs.inside[0].sum() == 64


def test_without_validation_a_map_is_cut_in_the_middle_and_without_regions_nothing_is_scored(
    tmp_path: Path,
) -> None:
    nothing = data().take(np.array([23]))
    fitted = KIND.fit(Seer(), data(), nothing, cell(tmp_path))
    assert fitted.thresholds == {"": 0.5}
    with pytest.raises(DataError, match="no test image has a region of source 'box' for a label"):
        run(fitted, tmp_path, nothing)


def test_a_metric_stands_on_the_images_that_have_the_label(tmp_path: Path) -> None:
    fitted = KIND.fit(Seer(), data(seed=1), data(seed=2), cell(tmp_path))
    predictions = KIND.predict(fitted, data(seed=3), cell(tmp_path))
    assert predictions.extra["left_out"] == 1 and predictions.extra["pairs"] == 23
    assert labels_of(predictions.table) == ["a", "b"]
    stands = basis(predictions, "pointing:b")
    assert stands.labels is not None and np.nansum(stands.labels) == 11
    assert basis(predictions, "dice").classes == ("a", "b")


def test_the_figure_has_a_row_per_method(tmp_path: Path) -> None:
    from matplotlib.image import imread

    test = data(seed=3)
    fitted = {
        "one": KIND.fit(Seer(), data(seed=1), data(seed=2), cell(tmp_path)),
        "a_b <x> %": KIND.baseline("chance")(data(seed=1), data(seed=2), cell(tmp_path)),
    }
    predictions = {
        name: KIND.predict(grounder, test, cell(tmp_path)) for name, grounder in fitted.items()
    }
    heights = []
    for methods in ({"one": predictions["one"]}, predictions):
        path = KIND.figure(TASKS.get("vindr_ground"), test, methods, tmp_path / "deep" / "x.png")
        assert path is not None
        heights.append(imread(path).shape[0])
    assert heights[1] > heights[0] > 300


def test_the_figure_shows_the_map_the_region_and_the_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures: list[Any] = []
    monkeypatch.setattr("tasks.grounding.figures.save", lambda figure, out: figures.append(figure))
    test = data(seed=3)
    fitted = KIND.fit(Seer(), data(seed=1), data(seed=2), cell(tmp_path))
    predictions = KIND.predict(fitted, test, cell(tmp_path))
    KIND.figure(TASKS.get("vindr_ground"), test, {"seer": predictions}, tmp_path / "x.png")
    top, bottom = figures[0].subfigs
    scores = image_scores(predictions)
    best = int(np.argmax(scores))
    axis = top.axes[0]
    assert axis.get_title() == f"best: {scores[best]:.2f}"
    assert axis.get_xlabel() == f"There is {'ab'[best % 2]}."
    pixels, heat = (image.get_array() for image in axis.images)
    np.testing.assert_array_equal(pixels, test.images(np.array([best]))[0])
    region = unpack_regions(predictions)[best]
    expected = test.get(Regions)[best][0].map >= 0.5
    np.testing.assert_array_equal(region, expected)
    assert heat[region].min() > heat[~region].mean() and heat.max() == 255
    (line,) = axis.collections
    assert line.get_paths()[0].get_extents().contains(*np.argwhere(region).mean(0)[::-1] * 2)
    curve = bottom.axes[0].lines[0]
    assert curve.get_ydata()[-1] == 1 and len(curve.get_xdata()) == 23


def test_words_of_real_reports_are_not_kept(tmp_path: Path) -> None:
    """Those of rendered data and names of labels are."""
    settings = {"target": "phrase", "labels": ()}
    fitted = KIND.fit(Seer(), data(seed=1), data(seed=2), cell(tmp_path, **settings))
    texts = {}
    for kind in ("demo", "real"):
        context_of = replace(cell(tmp_path, **settings), data_kind=kind)
        texts[kind] = KIND.predict(fitted, data(seed=3), context_of).table["shown:text"].tolist()
    assert texts["demo"][3] == "b in 3" and set(texts["real"]) == {"a", "b"}
    named = KIND.predict(fitted, data(seed=3), replace(cell(tmp_path), data_kind="real"))
    assert set(named.table["shown:text"]) == {"There is a.", "There is b."}


def test_the_task_says_what_is_asked() -> None:
    kind = KINDS.get("grounding")
    vindr = kind.settings(TASKS.get("vindr_ground"), "default", "demo", {})
    assert len(vindr.labels) == 14 and (vindr.source, vindr.image_size) == ("box", 144)
    siim = kind.settings(TASKS.get("siim_ground"), "default", "paper", {"prompts": "ensemble"})
    assert (siim.labels, siim.source, siim.prompts) == (("pneumothorax",), "mask", "ensemble")
    names = [need.name for need in kind.needs(siim)]
    eyes = kind.settings(TASKS.get("egd_gaze"), "default", "demo", {})
    assert names == ["regions"]
    assert [need.name for need in kind.needs(eyes)] == ["regions", "reports", "fixations"]
    with pytest.raises(UnknownNameError, match="unknown protocol 'mgca' of grounding"):
        kind.settings(TASKS.get("siim_ground"), "mgca", "demo", {})


def test_fixations_are_those_that_the_dataset_gives(tmp_path: Path) -> None:
    from tests.support.gaze import write_egd

    write_egd(tmp_path)
    dataset = DATASETS.get("egd_cxr")
    index = dataset.index(tmp_path)
    stored = Fixations().prepare(Source(dataset, index, tmp_path, 64))
    places = stored.of(index)[0]
    assert {sentence: len(points) for sentence, points in places.items()} == {-1: 4, 0: 2, 1: 1}
    height, width = index[["height", "width"]].iloc[0]
    margins = (20 - width) / 2, (20 - height) / 2
    assert places[1][0] == pytest.approx(((12 + margins[0]) / 20, (15 + margins[1]) / 20))
    assert stored.content(index) == stored.content(index.iloc[::-1])
    assert stored.content(index) != stored.content(index.iloc[1:])
    with pytest.raises(DataError, match="dataset 'vindr' has no fixations"):
        Fixations().prepare(Source(DATASETS.get("vindr"), index, tmp_path, 64))
    assert Fixations().offered(dataset) and not Fixations().offered(DATASETS.get("vindr"))


def test_fixations_of_several_readers_are_those_of_all(tmp_path: Path) -> None:
    from tests.support.gaze import write_reflacx

    write_reflacx(tmp_path)
    dataset = DATASETS.get("reflacx")
    index = dataset.index(tmp_path)
    places = Fixations().prepare(Source(dataset, index, tmp_path, 64)).of(index)
    readings = index["readings"].iloc[0]
    assert len(readings) == 2
    assert len(places[0][-1]) == sum(len(fixations) for fixations, _, _ in readings)
    settings = KIND.settings(TASKS.get("reflacx_ground"), "default", "demo", {})
    assert (settings.target, settings.source, settings.labels) == ("label", "mask", ())
