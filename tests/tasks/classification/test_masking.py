"""The terms of PPI against equations written out in float64, and when none of them acts."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bench.contracts import BACKBONES, BackboneRequest, Features, InputSpec
from bench.core.errors import SettingError
from tasks.classification import ClassificationKind, masking
from tasks.classification.regularizers import Moment
from tasks.classification.saliency import look
from tasks.classification.trained import Network, Regularized
from tests.tasks.fakes import Encoder, context, subset, task

KIND = ClassificationKind()
SIDE = 12
OFF = {"ppi_salient": "0", "ppi_random": "0", "ppi_sparse": "0"}


class Pixels:
    """An encoder whose pooled features are the pixels themselves."""

    name = "pixels"
    architecture = "pixels"
    family: Literal["resnet", "vit"] = "resnet"
    input = InputSpec(size=SIDE, resize=SIDE)
    pooled_dim = patch_dim = 3 * SIDE * SIDE
    pyramid_channels: tuple[int, ...] = (3,)
    pyramid_strides: tuple[int, ...] = (1,)
    module: nn.Module

    def __init__(self) -> None:
        self.module = nn.Sequential(nn.Flatten())

    def features(self, images: Tensor) -> Features:
        pooled = self.module(images)
        return Features(pooled, pooled[:, None], (1, 1), (images,))


def settings_of(mode: str = "multilabel", **changes: str) -> Any:
    labels = {"binary": ("a",)}.get(mode, ("a", "b", "c"))
    changes = {"head": "finetune", "regularizer": "ppi", "ppi_after": "0", "lr": "0.01", **changes}
    return KIND.settings(task(labels=labels, mode=mode), "default", "demo", changes)


def network_of(settings: Any, encoder: Any = None) -> Regularized:
    classes = len(settings.labels)
    return Regularized(encoder or Pixels(), classes, settings, seed=1, steps=4).double()


def images_of(count: int) -> Tensor:
    return torch.randn(count, 3, SIDE, SIDE, generator=torch.manual_seed(0)).double()


def terms(network: Regularized, settings: Any, images: Tensor, values: Tensor) -> dict[str, Tensor]:
    moment = Moment(settings, 0.5, np.random.default_rng(3))
    return masking.losses(network, {"inputs": images, "values": values}, moment)


def mask_out(images: Tensor, mask: Tensor) -> Tensor:
    """Return the masked images, one at a time."""
    rows = []
    for image, hidden in zip(images, mask, strict=True):
        channels = [x * (1 - hidden) + x.mean() * hidden for x in image]
        rows.append(torch.stack(channels))
    return torch.stack(rows)


# ---------------------------------------------------------------------------------- the saliency
def test_the_saliency_of_a_linear_model_on_pixels_is_weight_times_pixel() -> None:
    settings = settings_of()
    network = network_of(settings)
    images = images_of(4)
    classes = torch.tensor([0, 1, 2, 1])
    seen = look(network, images, classes, "gradx")
    for image, c, saliency in zip(images, classes, seen.saliency, strict=True):
        weights = network.head.weight[c].detach().view(3, SIDE, SIDE)
        by_hand = (weights * image).sum(0).abs()
        torch.testing.assert_close(saliency, by_hand / by_hand.max(), rtol=1e-9, atol=0)
    torch.testing.assert_close(seen.logits, network(images), rtol=1e-9, atol=0)


def test_cam_weighs_channels_by_their_mean_gradient() -> None:
    """The only map is the image itself: its weights are the mean weights of each channel."""
    network = network_of(settings_of())
    images = images_of(3)
    classes = torch.tensor([2, 0, 1])
    seen = look(network, images, classes, "cam").saliency
    for image, c, saliency in zip(images, classes, seen, strict=True):
        weights = network.head.weight[c].detach().view(3, SIDE, SIDE).mean(dim=(1, 2))
        by_hand = sum(w * x for w, x in zip(weights, image, strict=True)).clamp(min=0)
        torch.testing.assert_close(saliency, by_hand / by_hand.max(), rtol=1e-9, atol=1e-12)


def test_cam_of_an_encoder_without_a_map_is_refused() -> None:
    class Apart(Pixels):
        def features(self, images: Tensor) -> Features:
            features = super().features(images)
            maps = torch.ones(len(images), 3, 2, 2, dtype=images.dtype, requires_grad=True)
            return Features(features.pooled, features.patches, (1, 1), (maps,))

    network = network_of(settings_of(), Apart())
    with pytest.raises(SettingError, match="depends on no map of the encoder"):
        look(network, images_of(2), torch.tensor([0, 1]), "cam")


def test_a_training_with_cam_is_refused_before_it_begins_where_there_is_no_map(
    tmp_path: Path,
) -> None:
    """A ViT that is read at its class token depends on none of the maps that it gives."""
    settings = KIND.settings(task(), "default", "demo", {"head": "finetune", "saliency": "cam"})
    encoder = BACKBONES.get("random").build(BackboneRequest("demo", architecture="vit"))
    cell = context(task(), settings, tmp_path)
    with pytest.raises(SettingError, match="depends on no map of the encoder"):
        KIND.fit(encoder, subset(20, 1, 144), subset(20, 2, 144), cell)
    assert not list(tmp_path.iterdir())


def test_looking_with_a_frozen_encoder_leaves_no_gradient_in_it() -> None:
    settings = settings_of(head="linear")
    encoder = Encoder()
    network = Network(encoder, 3, settings, seed=1)
    images = torch.randn(4, 3, 16, 16)
    seen = look(network, images, torch.tensor([0, 1, 2, 0]), "gradx")
    network.loss(seen.logits, torch.ones(4, 3)).backward()
    assert network.head.weight.grad is not None
    assert all(p.grad is None and p.requires_grad for p in encoder.module.parameters())
    assert seen.saliency.amax(dim=(1, 2)).tolist() == pytest.approx([1.0] * 4)


# -------------------------------------------------------------------------------------- the terms
@pytest.mark.parametrize("mode", ["binary", "multilabel", "multiclass"])
def test_the_terms_are_those_of_the_equation(mode: str) -> None:
    settings = settings_of(mode, ppi_salient="0.3", ppi_random="0.7", ppi_sparse="0.01")
    network = network_of(settings)
    images = images_of(5)
    columns = len(settings.labels)
    truth = {"binary": [[1], [0], [1], [1], [0]], "multiclass": np.eye(3)[[0, 1, 2, 1, 0]]}.get(
        mode, [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0], [np.nan, 0, 1]]
    )
    values = torch.tensor(np.array(truth), dtype=torch.float64)
    losses = terms(network, settings, images, values)

    absent, sparse = [], []
    for image, row in zip(images, values, strict=True):
        if not (row == 1).any():
            continue  # an image without a positive label has neither of the two terms
        c = int(torch.nan_to_num(row).argmax())
        weights = network.head.weight[c].detach().view(3, SIDE, SIDE)
        saliency = (weights * image).sum(0).abs()
        saliency = saliency / saliency.max()
        mask = 1 / (1 + torch.exp(-20 * (saliency - 0.3)))
        logits = network(mask_out(image[None], mask[None]))[0].detach()
        p = logits.exp()[c] / logits.exp().sum() if mode == "multiclass" else logits[c].sigmoid()
        absent.append(-torch.log(1 - p))
        sparse.append(saliency.sum())
    assert losses["salient_loss"].item() == pytest.approx(0.3 * float(sum(absent)) / 5, rel=1e-9)
    assert losses["sparse_loss"].item() == pytest.approx(0.01 * float(sum(sparse)) / 5, rel=1e-9)
    generator = np.random.default_rng(3)
    generator.random((5, columns))
    hidden = masking.random_mask(generator, 5, SIDE).double()
    masked = network.loss(network(mask_out(images, hidden)), values)
    assert losses["random_loss"].item() == pytest.approx(0.7 * masked.item(), rel=1e-9)
    plain = network.loss(network(images), values)
    assert losses["loss"].item() == pytest.approx(plain.item(), rel=1e-9)


def test_without_a_positive_label_only_the_labels_and_random_masks_act() -> None:
    settings = settings_of()
    network = network_of(settings)
    losses = terms(network, settings, images_of(3), torch.zeros(3, 3).double())
    assert losses["salient_loss"].item() == losses["sparse_loss"].item() == 0
    assert losses["random_loss"].item() > 0
    (gradient,) = torch.autograd.grad(losses["salient_loss"], network.head.weight)
    assert not gradient.any()


def test_a_positive_label_is_drawn_and_no_other() -> None:
    values = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0], [np.nan, 1.0, 0.0]])
    generator = np.random.default_rng(0)
    drawn = [masking.drawn_labels(values, generator) for _ in range(200)]
    first = [int(classes[0]) for classes, _ in drawn]
    assert set(first) == {0, 2} and 70 < first.count(0) < 130
    assert {int(classes[2]) for classes, _ in drawn} == {1}
    assert {tuple(positive.tolist()) for _, positive in drawn} == {(1.0, 0.0, 1.0)}


def test_a_random_mask_hides_a_quarter_of_the_squares() -> None:
    masks = masking.random_mask(np.random.default_rng(0), 400, 24).numpy()
    squares = masks.reshape(400, 6, 4, 6, 4)
    assert set(np.unique(masks)) == {0.0, 1.0}
    assert (squares == squares[:, :, :1, :, :1]).all()
    assert masks.mean() == pytest.approx(0.25, abs=0.02)


def test_the_gradient_of_the_sparse_term_is_that_of_the_saliency() -> None:
    settings = settings_of(**{**OFF, "ppi_sparse": "1"})
    network = network_of(settings)
    images = images_of(2)
    values = torch.tensor([[1.0, 0, 0], [0, 0, 1.0]]).double()
    (gradient,) = torch.autograd.grad(
        terms(network, settings, images, values)["sparse_loss"], network.head.weight
    )
    step = torch.randn(network.head.weight.shape, generator=torch.manual_seed(1)).double() * 1e-6
    sums = []
    for sign in (1, -1):
        with torch.no_grad():
            network.head.weight += sign * step
        sums.append(terms(network, settings, images, values)["sparse_loss"].item())
        with torch.no_grad():
            network.head.weight -= sign * step
    assert sums[0] - sums[1] == pytest.approx(2 * float((gradient * step).sum()), rel=1e-4)


@pytest.mark.parametrize("detach", [True, False])
def test_a_gradient_through_the_mask_flows_where_it_is_not_detached(detach: bool) -> None:
    settings = settings_of(**{**OFF, "ppi_salient": "1", "detach": str(detach).lower()})
    network = network_of(settings)
    images = images_of(3)
    values = torch.eye(3).double()
    loss = terms(network, settings, images, values)["salient_loss"]
    (gradient,) = torch.autograd.grad(loss, network.head.weight)
    seen = look(network, images, torch.arange(3), "gradx").saliency
    masked = masking.masked_by(images, torch.sigmoid(20 * (seen - 0.3)))
    absent = masking.absence_loss(network(masked), torch.arange(3), exclusive=False).mean()
    (given,) = torch.autograd.grad(absent, network.head.weight)
    assert torch.allclose(gradient, given, rtol=1e-9) == detach


# ------------------------------------------------------------------------------------ the training
def scores(folder: Path, monkeypatch: pytest.MonkeyPatch, **changes: str) -> np.ndarray:
    monkeypatch.setenv("PLACE_BENCH_CACHE", str(folder / "cache"))
    spec = task(labels=("a", "b"))
    changes = {"head": "finetune", "epochs": "2", "warmup": "0", "batch_size": "16", **changes}
    settings = KIND.settings(spec, "default", "demo", changes)
    cell = context(spec, settings, folder)
    classifier = KIND.fit(Encoder(), subset(60, 1), subset(40, 2), cell)
    return KIND.predict(classifier, subset(30, 3), cell).table.filter(like="score:").to_numpy()


@pytest.mark.parametrize("head", ["finetune", "linear"])
def test_without_weights_training_is_that_of_none_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, head: str
) -> None:
    common = {"head": head, "augment": "crop"}
    plain = scores(tmp_path / "none", monkeypatch, **common)
    without = scores(tmp_path / "ppi", monkeypatch, regularizer="ppi", **OFF, **common)
    np.testing.assert_array_equal(without, plain)
    acting = scores(tmp_path / "acting", monkeypatch, regularizer="ppi", **common)
    assert np.abs(acting - plain).max() > 1e-6
    again = scores(tmp_path / "again", monkeypatch, regularizer="ppi", **common)
    np.testing.assert_array_equal(again, acting)


def test_nothing_is_masked_before_its_share_of_the_steps_is_over() -> None:
    settings = settings_of(ppi_after="0.5", epochs="2")
    network = network_of(settings)
    batch = {"inputs": images_of(3), "values": torch.eye(3).double()}
    seen = []
    for epoch in range(2):
        network.start_epoch(epoch)
        seen += [len(network.losses(batch)) > 1 for _ in range(4)]
    assert seen == [False] * 4 + [True] * 4


def test_masked_images_leave_running_statistics_alone() -> None:
    settings = settings_of()
    network = Regularized(Encoder(), 3, settings, seed=1, steps=4).train()
    images = torch.randn(6, 3, 16, 16)
    norm: Any = list(network.encoder.modules())[-1]
    with masking.steady(network):
        before = norm.running_mean.clone()
        network(images)
        assert torch.equal(norm.running_mean, before)
    assert norm.momentum == 0.1
    network(images)
    assert not torch.equal(norm.running_mean, before)


# ---------------------------------------------------------------------------------------- bad input
@pytest.mark.parametrize("head", ["logistic", "ridge", "knn"])
def test_a_head_that_sees_no_pixels_is_refused(head: str) -> None:
    with pytest.raises(SettingError, match=f"regularizer is ppi and head is {head}, which sees no"):
        settings_of(head=head)
    with pytest.raises(SettingError, match=f"saliency_metrics is true and head is {head}"):
        KIND.settings(task(), "default", "demo", {"head": head, "saliency_metrics": "true"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ppi_salient", "-0.1"),
        ("ppi_random", "-1"),
        ("ppi_sparse", "-0.001"),
        ("omega", "-1"),
        ("delta", "0"),
        ("delta", "1"),
        ("ppi_after", "1.5"),
    ],
)
def test_a_number_outside_its_range_is_refused(name: str, value: str) -> None:
    with pytest.raises(SettingError, match=f"setting '{name}' is {value}"):
        settings_of(**{name: value})


def test_a_frozen_encoder_has_no_gradient_to_let_through() -> None:
    with pytest.raises(SettingError, match="detach is false and head is linear"):
        settings_of(head="linear", detach="false")
