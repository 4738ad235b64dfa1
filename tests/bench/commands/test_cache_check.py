"""A cache folder is compared with its checksums as a whole, and nothing in it is changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bench.commands.cache_check import verify_caches
from bench.core.paths import cache_home
from bench.data.cache import Item, open_store
from bench.data.tables import remember
from bench.encoding.feature_store import FeatureStore


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Fill a cache with images, facts and features."""
    monkeypatch.setenv("PLACE_BENCH_CACHE", str(tmp_path / "cache"))
    items = [Item(str(number), (), bytes([number])) for number in range(5)]
    open_store(
        items, lambda number, _: np.full((4, 4), number, np.uint8), (4, 4), name="x", key_parts={}
    )
    (tmp_path / "a.txt").write_text("a")
    remember(["a.txt"], lambda _: {"v": "1"}, root=tmp_path, name="facts", columns=["v"])
    FeatureStore(cache_home() / "features" / "f").add(["a"], np.ones((1, 9), np.float16))
    return cache_home()


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-9] ^= 1
    path.write_bytes(content)


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def test_sound_caches_and_none_have_no_findings(home: Path, tmp_path: Path) -> None:
    assert verify_caches(home) == []
    assert verify_caches(tmp_path / "nowhere") == []


@pytest.mark.parametrize("damage", [_flip, _folder, Path.unlink])
@pytest.mark.parametrize(
    "pattern", ["pixels.u8", "records.bin", "about.json", "*.facts", "f/*.json", "f/*.npy"]
)
def test_a_damaged_file_is_named(home: Path, pattern: str, damage: Callable[[Path], None]) -> None:
    (path,) = home.rglob(pattern)
    damage(path)
    before = sorted(home.rglob("*"))
    sentences = verify_caches(home)
    named = path.with_suffix(".json") if path.suffix == ".npy" else path
    gone = damage is Path.unlink and pattern in ("*.facts", "f/*.json")
    assert gone or str(named) in sentences[0]
    assert all(sentence.endswith(".") for sentence in sentences)
    assert sorted(home.rglob("*")) == before
