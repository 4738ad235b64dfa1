"""Kept patch tokens: read a few rows at a time, no image twice, the same as in memory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.core.errors import NotApplicableError
from bench.encoding.features import FeatureCache
from tests.tasks.fakes import Encoder, context, subset, task


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLACE_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("bench.encoding.features.TOKENS_PART", 16)


def cache(folder: Path, encoder: Encoder, key: str = "d") -> FeatureCache:
    return FeatureCache(encoder, context(task(), None, folder, data_key=key))


def test_rows_are_those_of_the_images(tmp_path: Path) -> None:
    data, encoder = subset(40), Encoder()
    kept = cache(tmp_path, encoder).tokens(data)
    rows = np.array([39, 0, 17, 17])
    assert len(kept) == 40 and kept[rows].shape == (4, 1, 16) and kept[rows].dtype == np.float32
    np.testing.assert_array_equal(kept[rows], cache(tmp_path, Encoder(), key="").tokens(data)[rows])
    seen = encoder.images_seen
    again = cache(tmp_path, encoder).tokens(
        replace(data, image_store=np.empty((0, 20, 20), np.uint8))
    )
    np.testing.assert_array_equal(again[rows], kept[rows])
    assert encoder.images_seen == seen


def test_only_some_encoders_have_observations(tmp_path: Path) -> None:
    with pytest.raises(NotApplicableError, match="no observations"):
        cache(tmp_path, Encoder()).tokens(subset(4), "observations")
