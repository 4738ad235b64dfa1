"""The feature cache: no image is read twice, whatever the order or the fraction, and other weights
are another cache."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench.contracts import InputSpec
from bench.core.errors import DataError
from bench.data.images import resize_pad
from bench.encoding.features import (
    FeatureCache,
    centre_crop,
    resize,
    to_grey,
    to_input,
    weights_hash,
)
from tests.tasks.fakes import Encoder, context, subset, task


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLACE_BENCH_CACHE", str(tmp_path / "cache"))


def cache(folder: Path, encoder: Encoder | None = None, **changes: Any) -> FeatureCache:
    return FeatureCache(
        encoder or Encoder(), context(task(), None, folder, **{"data_key": "d", **changes})
    )


class Unread:
    """A store that must not be read."""

    shape = (70, 20, 20)

    def __getitem__(self, rows: object) -> None:
        raise AssertionError("an image was read")


def test_a_second_run_reads_no_image(tmp_path: Path) -> None:
    data = subset(70)
    first = cache(tmp_path).pooled(data)
    encoder = Encoder()
    unread: Any = Unread()
    second = cache(tmp_path, encoder).pooled(replace(data, image_store=unread))
    np.testing.assert_array_equal(first, second)
    assert encoder.images_seen == 0 and first.shape == (70, 16) and first.dtype == np.float32


def test_fractions_share_their_images_and_agree(tmp_path: Path) -> None:
    data, encoder = subset(70), Encoder()
    kept = cache(tmp_path, encoder)
    part = np.array([3, 50, 11])
    few = kept.pooled(data.take(part))
    every = kept.pooled(data)
    assert encoder.images_seen == 32 + 96  # batches are filled up to one size
    np.testing.assert_array_equal(every[part], few)
    alone = cache(tmp_path, data_key="").pooled(data)
    np.testing.assert_array_equal(every, alone)


def test_what_makes_another_cache(tmp_path: Path) -> None:
    data, seen = subset(10), []
    for encoder, changes in (
        (Encoder(0), {}),
        (Encoder(1), {}),
        (Encoder(0), {"encoder_key": "other"}),
        (Encoder(0), {"data_key": "other"}),
    ):
        cache(tmp_path, encoder, **changes).pooled(data)
        seen.append(encoder.images_seen)
    other = Encoder(0)
    other.input = InputSpec(size=16, resize=24)
    cache(tmp_path, other).pooled(data)
    assert [*seen, other.images_seen] == [32] * 5
    same = Encoder(0)
    cache(tmp_path, same).pooled(data)
    assert same.images_seen == 0
    cache(tmp_path, same).embeddings(data)
    assert len(list((tmp_path / "cache" / "features").iterdir())) == 6


def test_repeated_images_and_no_images(tmp_path: Path) -> None:
    data, encoder = subset(10), Encoder()
    twice = data.take(np.array([4, 4, 2]))
    found = cache(tmp_path, encoder).pooled(twice)
    np.testing.assert_array_equal(found[0], found[1])
    assert cache(tmp_path).pooled(data.take(np.array([], int))).shape == (0, 16)


def test_the_mode_of_the_encoder_is_put_back(tmp_path: Path) -> None:
    encoder = Encoder()
    encoder.module.train()
    before = weights_hash(encoder.module)
    cache(tmp_path, encoder).pooled(subset(5))
    assert encoder.module.training and weights_hash(encoder.module) == before


def test_features_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    encoder = Encoder()
    with torch.no_grad():
        encoder.module.get_parameter("2.bias")[0] = float("nan")
    with pytest.raises(DataError, match="encoder 'fake' gives features that are not finite"):
        cache(tmp_path, encoder).pooled(subset(3))


def test_weights_hash_sees_every_buffer_and_type() -> None:
    hashes = {weights_hash(Encoder(0).module)}
    changed = Encoder(0).module
    changed.get_buffer("3.running_mean")[0] += 1
    hashes |= {
        weights_hash(changed),
        weights_hash(Encoder(0).module.double()),
        weights_hash(Encoder(0).module.bfloat16()),
    }
    assert len(hashes) == 4


def test_images_reach_the_encoder_resized_cropped_normalised() -> None:
    images = np.zeros((1, 40, 40), np.uint8)
    images[0, 10:30, 10:30] = 255
    found = to_input(
        images, InputSpec(size=10, resize=20, mean=(0.5, 0.4, 0.3), std=(0.5, 0.5, 0.25))
    )
    assert found.shape == (1, 3, 10, 10)
    np.testing.assert_allclose(found[0, :, 0, 0], [1.0, 1.2, 2.8], rtol=1e-6)
    whole = to_input(images, InputSpec(size=20, resize=20))
    assert whole[0, 0, 0, 0] == -1 and whole.mean() == pytest.approx(-0.5)
    with pytest.raises(DataError, match="images of 20 px cannot be cropped to 24 px"):
        centre_crop(torch.zeros(1, 1, 20, 20), 24)


def _padded(height: int, width: int, side: int = 64) -> np.ndarray:
    """A gradient of height x width as the image cache holds it: long side `side`, centred."""
    rows = np.linspace(40, 250, height)[:, None]
    columns = np.linspace(0.6, 1, width)[None]
    return resize_pad((rows * columns).astype(np.uint8), side)


@pytest.mark.parametrize(("height", "width"), [(64, 40), (41, 64), (64, 64)])
def test_squash_stretches_the_radiograph_and_leaves_the_padding_out(
    height: int, width: int
) -> None:
    found = resize(to_grey(_padded(height, width)[None]), InputSpec(48, 48, fit="squash"))
    assert found.shape == (1, 1, 48, 48)
    assert found.min() > 20 / 255  # no padding is left
    profile = found[0, 0].mean(1)
    assert bool((profile[1:] > profile[:-1]).all())


def test_shortest_takes_the_middle_of_the_long_side() -> None:
    image = _padded(64, 40)
    found = resize(to_grey(image[None]), InputSpec(40, 40, fit="shortest"))
    assert torch.equal(found, to_grey(image[None])[..., 12:52, 12:52])


def test_letterbox_keeps_the_padded_square() -> None:
    image = to_grey(_padded(64, 40)[None])
    assert torch.equal(resize(image, InputSpec(64, 64)), image)


def test_an_all_black_image_stays_whole() -> None:
    black = to_grey(np.zeros((1, 32, 32), np.uint8))
    for fit in ("squash", "shortest"):
        assert resize(black, InputSpec(16, 16, fit=fit)).shape == (1, 1, 16, 16)
