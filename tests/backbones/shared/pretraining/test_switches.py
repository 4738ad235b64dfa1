"""The switches of training do what they say, for every method."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from backbones.shared.pretraining.pairs import PairLoader
from backbones.shared.pretraining.settings import MethodSettings, resolve_settings
from backbones.shared.pretraining.trainer import build_method, pretrain, speed_up
from backbones.shared.pretraining.vision_language import VisionLanguageMethod
from backbones.shared.weights.reading import read_weights
from bench.contracts import PairData
from bench.core.errors import SettingError
from bench.core.progress import Silent
from bench.training.plan import TrainingError
from tests.support.pairs import (
    make_subset,
    pair_loader,
    recipe,
    with_regions,
)
from tests.support.tiny import tiny

METHODS = ("convirt", "place", "gloria", "mgca", "egma", "medtrim", "mlip_reimpl")


@pytest.fixture
def pairs() -> PairData:
    train, val = with_regions(make_subset(8, 144, 1)), make_subset(4, 144, 2)
    return PairData("squares", "demo", train, val, "0123abcd")


def tiny_start(pairs: PairData) -> VisionLanguageMethod:
    own = recipe("convirt")
    return build_method(
        own,
        resolve_settings(MethodSettings, "demo", own.settings),
        pairs.train.index["report"].tolist(),
    )


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return read_weights(folder / "model.safetensors")


def curve(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "curve.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("architecture", ["resnet", "vit"])
def test_recomputed_activations_give_the_same_gradients(method: str, architecture: str) -> None:
    found = []
    for recompute in ("false", "true"):
        own = tiny(method, architecture, recompute=recompute)
        speed_up(own, own.settings)
        torch.manual_seed(3)
        batch = next(pair_loader(own).batches(np.random.default_rng(0)))
        torch.stack(
            [value for name, value in own.losses(batch).items() if "loss" in name]
        ).sum().backward()
        gradients = {name: p.grad for name, p in own.named_parameters() if p.grad is not None}
        found.append({**gradients, **dict(own.named_buffers())})
    assert found[0].keys() == found[1].keys()
    for name, value in found[0].items():
        if not name.endswith("num_batches_tracked"):
            torch.testing.assert_close(found[1][name], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_bf16_losses_are_close_to_those_of_fp32(method: str) -> None:
    own = tiny(method).eval()
    batch = next(pair_loader(own).batches(np.random.default_rng(0)))
    values = []
    for enabled in (False, True):
        torch.manual_seed(3)
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            values.append(own.losses(batch))
    for name, value in values[0].items():
        torch.testing.assert_close(values[1][name].float(), value, rtol=0.1, atol=0.1)


def test_bf16_trains_and_fp16_wants_a_gpu(pairs: PairData) -> None:
    folder = pretrain(recipe("place", amp="bf16", epochs="1"), pairs, progress=Silent())
    assert all(bool(value.isfinite().all()) for value in weights(folder).values())
    with pytest.raises(SettingError, match="fp16"):
        pretrain(recipe("convirt", amp="fp16"), pairs, progress=Silent())


def test_accumulated_batches_make_one_update(pairs: PairData) -> None:
    one, two = (
        pretrain(recipe("convirt", accumulate=n, epochs="1", warmup="0"), pairs, progress=Silent())
        for n in ("1", "2")
    )
    assert (
        curve(one)[0]["train/loss"] != curve(two)[0]["train/loss"]
    )  # the second batch meets weights already changed, or not
    moved = {
        name: value
        for name, value in weights(one).items()
        if not torch.equal(value, weights(two)[name])
    }
    assert any("weight" in name for name in moved)


def test_the_moving_average_is_what_is_kept(pairs: PairData) -> None:
    plain, slow = (
        pretrain(recipe("convirt", ema=value), pairs, progress=Silent())
        for value in ("none", "0.999")
    )
    name = "text_encoder.model.encoder.layer.0.output.dense.weight"
    assert [row["train/loss"] for row in curve(plain)] == [row["train/loss"] for row in curve(slow)]
    start, end, average = (
        tiny_start(pairs).state_dict()[name],
        weights(plain)[name],
        weights(slow)[name],
    )
    assert 0 < float((average - start).norm()) < 0.8 * float((end - start).norm())


def test_patience_stops_and_the_best_weights_stay(
    pairs: PairData, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = iter([0.5, 0.9, 0.4, 0.3, 0.2])
    monkeypatch.setattr(
        "backbones.shared.pretraining.retrieval.retrieval_scores",
        lambda method, pairs, device: {"rank": next(figures)},
    )
    folder = pretrain(
        recipe("convirt", epochs="5", monitor="rank", patience="2"), pairs, progress=Silent()
    )
    assert [row["val/rank"] for row in curve(folder)] == [0.5, 0.9, 0.4, 0.3]
    card = json.loads((folder / "card.json").read_text())
    assert card["epochs"] == 4 and card["kept_epoch"] == 2


@pytest.mark.parametrize("method", METHODS)
def test_a_loss_that_is_not_finite_names_the_sample_and_keeps_the_last_checkpoint(
    method: str, pairs: PairData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, calls, names = PairLoader.batch, [0], list[str]()

    def spoiled(self: PairLoader, rows: np.ndarray, corners: np.ndarray) -> dict[str, Any]:
        batch, calls[0] = original(self, rows, corners), calls[0] + 1
        if calls[0] == 5:  # the second epoch: two batches and a validation are behind
            batch["images"][1] = float("nan")
            names.append(batch["image_ids"][1])
        return batch

    monkeypatch.setattr(PairLoader, "batch", spoiled)
    with pytest.raises(
        TrainingError, match=r"epoch 2, step \d, samples (\S+)\. The weights of epoch 1 are kept"
    ) as caught:
        pretrain(recipe(method), pairs, progress=Silent(), out=tmp_path / "out")
    assert f"samples {names[0]}." in str(caught.value)
    state = torch.load(tmp_path / "out" / "work" / "epoch_1.pth", weights_only=True)["state_dict"]
    assert all(bool(value.isfinite().all()) for value in state.values())
    monkeypatch.undo()
    pretrain(recipe(method), pairs, progress=Silent(), out=tmp_path / "out")
    assert len(curve(tmp_path / "out")) == 2


# -------------------------------------------------------------------------------------- odd reports
@pytest.mark.parametrize("method", METHODS)
def test_reports_of_one_word_and_of_letters_from_elsewhere_train(
    method: str, pairs: PairData
) -> None:
    index = pairs.train.index.copy()
    index.loc[[0, 1, 2], "report"] = ["Normal", "Lungenödem, Herz groß. 肺炎", "� \x00 nodule"]
    changed = replace(pairs, train=replace(pairs.train, index=index))
    folder = pretrain(recipe(method, epochs="1"), changed, progress=Silent())
    assert all(bool(value.isfinite().all()) for value in weights(folder).values())


@pytest.mark.parametrize("method", METHODS)
def test_a_batch_of_one_is_scored(method: str) -> None:
    own = tiny(method).eval()
    with torch.no_grad():
        batch = pair_loader(own).centre(np.arange(1))
        scores = own.score(
            own.image_encoder.features(batch["images"]), own.encode_text(["Normal."])
        )
        losses = own.losses(batch)
    assert scores.shape == (1, 1) and all(bool(value.isfinite()) for value in losses.values())
    contrasts = [
        value
        for name, value in losses.items()
        if name in ("loss_ita", "loss_global", "loss_local", "loss_pcma")
    ]
    assert all(abs(float(value)) < 1e-5 for value in contrasts)


def test_compile_without_a_compiler_says_what_to_install(
    pairs: PairData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch._dynamo
    import torch._inductor.config as inductor

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "inductor"))
    said = r"compile=true: torch.compile does not work here .*Install a C\+\+ compiler"
    torch._dynamo.reset()  # what another test compiled would be taken from memory
    # Torch's own patch: a namespace of its settings loses what `monkeypatch` puts back into it.
    without_compiler = inductor.patch({"cpp.cxx": (None, "no-such-compiler")})
    with without_compiler, pytest.raises(SettingError, match=said):
        pretrain(recipe("convirt", compile="true"), pairs, progress=Silent(), out=tmp_path / "out")
    assert not (tmp_path / "out" / "model.safetensors").exists()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_compiled_encoders_train_to_the_same_names(pairs: PairData) -> None:
    plain, compiled = (
        pretrain(recipe("convirt", compile=value, epochs="1"), pairs, progress=Silent())
        for value in ("false", "true")
    )
    assert weights(plain).keys() == weights(compiled).keys()
    assert curve(compiled)[0]["train/loss"] == pytest.approx(
        curve(plain)[0]["train/loss"], rel=1e-3
    )
