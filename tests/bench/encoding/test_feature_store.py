"""Kept features are never read unless they are what was written; damage is made again and said."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bench.contracts import Subset
from bench.core.errors import DataError
from bench.encoding.feature_store import FeatureStore
from bench.encoding.features import FeatureCache
from tests.support.progress import Said
from tests.tasks.fakes import Encoder, context, subset, task


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLACE_BENCH_CACHE", str(tmp_path / "cache"))


def _pooled(folder: Path, data: Subset, said: Said | None = None) -> tuple[np.ndarray, int]:
    """Return the features of `data` and how many images the encoder saw for them."""
    encoder = Encoder()
    told = context(task(), None, folder, data_key="d", progress=said or Said())
    return FeatureCache(encoder, told).pooled(data), encoder.images_seen


def _part(folder: Path) -> Path:
    """Return the array of the one part that is kept."""
    (path,) = (folder / "cache" / "features").glob("*/*.npy")
    return path


def _save(path: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    np.save(path, change(np.load(path)))


def _edit(path: Path, change: Callable[[list[str]], list[str]]) -> None:
    card = json.loads(path.with_suffix(".json").read_text())
    path.with_suffix(".json").write_text(json.dumps(card | {"ids": change(card["ids"])}))


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) * 2 // 3] ^= 4
    path.write_bytes(content)


def _folder(path: Path) -> None:
    path.unlink()
    (path / "inside").mkdir(parents=True)


def _pickled(path: Path) -> None:
    np.save(path, np.array([{"a": 1}], object), allow_pickle=True)


ARRAYS: dict[str, Callable[[Path], object]] = {
    "a flipped byte": _flip,
    "zeros": lambda path: _save(path, np.zeros_like),
    "NaN": lambda path: _save(path, lambda features: features * np.float16("nan")),
    "another width": lambda path: _save(path, lambda features: features[:, :-1]),
    "fewer rows": lambda path: _save(path, lambda features: features[:-1]),
    "shuffled rows": lambda path: _save(path, lambda features: features[::-1]),
    "another type": lambda path: _save(path, lambda features: features.astype(np.float32)),
    "objects": _pickled,
    "a damaged header": lambda path: path.write_bytes(b"\0" * 40 + path.read_bytes()[40:]),
    "a cut file": lambda path: path.write_bytes(path.read_bytes()[:200]),
    "an empty file": lambda path: path.write_bytes(b""),
    "no file": Path.unlink,
    "a folder": _folder,
}
CARDS: dict[str, Callable[[Path], object]] = {
    "shuffled ids": lambda path: _edit(path, lambda ids: ids[::-1]),
    "fewer ids": lambda path: _edit(path, lambda ids: ids[:-1]),
    "a bare list of ids": lambda path: path.with_suffix(".json").write_text('["0", "1"]'),
    "null": lambda path: path.with_suffix(".json").write_text("null"),
    "deep JSON": lambda path: path.with_suffix(".json").write_text("[" * 100_000),
    "binary": lambda path: path.with_suffix(".json").write_bytes(b"\xff\0\xfe"),
    "a flipped byte in the card": lambda path: _flip(path.with_suffix(".json")),
    "a cut card": lambda path: path.with_suffix(".json").write_bytes(b'{"ids": ["0"'),
    "an empty card": lambda path: path.with_suffix(".json").write_bytes(b""),
    "a folder for a card": lambda path: _folder(path.with_suffix(".json")),
}


@pytest.mark.parametrize("damage", [*ARRAYS.values(), *CARDS.values()], ids=[*ARRAYS, *CARDS])
def test_damage_between_two_reads_is_made_again_and_said(
    tmp_path: Path, damage: Callable[[Path], object]
) -> None:
    data = subset(5)
    sound, _ = _pooled(tmp_path, data)
    path = _part(tmp_path)
    damage(path)
    said, again = Said(), Said()
    mended, images_seen = _pooled(tmp_path, data, said)
    np.testing.assert_array_equal(mended, sound)
    assert images_seen == 32
    assert said.lines == [
        f"kept features {path.with_suffix('.json')} are damaged: they are made again where needed."
    ]
    _, images_seen = _pooled(tmp_path, data, again)
    assert (again.lines, images_seen) == ([], 0)
    assert FeatureStore(path.parent).faults() == []


def test_damage_that_keeps_the_modification_time_is_seen(tmp_path: Path) -> None:
    data = subset(5)
    sound, _ = _pooled(tmp_path, data)
    path = _part(tmp_path)
    os.utime(path, (1_000_000, 1_000_000))
    _pooled(tmp_path, data)
    _flip(path)
    os.utime(path, (1_000_000, 1_000_000))
    np.testing.assert_array_equal(_pooled(tmp_path, data)[0], sound)


def test_a_part_of_another_folder_is_not_read(tmp_path: Path) -> None:
    for name, value in (("one", 1), ("two", 2)):
        FeatureStore(tmp_path / name).add(["a"], np.full((1, 3), value, np.float16))
    shutil.copytree(tmp_path / "two", tmp_path / "one", dirs_exist_ok=True)
    assert FeatureStore(tmp_path / "one").missing(["a"]) == ["a"]
    with pytest.raises(DataError, match="one lack 1 images, e.g. 'a'"):
        FeatureStore(tmp_path / "one").read(["a"])


def test_a_half_written_part_is_not_seen(tmp_path: Path) -> None:
    FeatureStore(tmp_path).add(["a"], np.ones((1, 2), np.float16))
    np.save(tmp_path / "torn.npy", np.zeros((1, 2), np.float16))
    store = FeatureStore(tmp_path)
    assert store.missing(["a", "b"]) == ["b"]
    np.testing.assert_array_equal(store.read(["a", "a"]), np.ones((2, 2), np.float32))


def test_only_the_damaged_part_is_made_again(tmp_path: Path) -> None:
    for image in "abc":
        FeatureStore(tmp_path).add([image], np.full((1, 2), ord(image), np.float16))
    _flip(sorted(tmp_path.glob("*.npy"))[1])
    store = FeatureStore(tmp_path)
    (lost,) = store.missing(list("abc"))
    others = sorted({*"abc"} - {lost})
    np.testing.assert_array_equal(store.read(others)[:, 0], [ord(image) for image in others])
    said = Said()
    store.mend(said)
    assert len(said.lines) == 1
    assert len(list(tmp_path.iterdir())) == 4


def _first_version(path: Path) -> None:
    """Write the card of a part as it was before it had a hash: the bare ids."""
    card = path.with_suffix(".json")
    card.write_text(json.dumps(json.loads(card.read_text())["ids"]))


def test_a_part_without_a_hash_is_read_and_given_one_once(tmp_path: Path) -> None:
    data = subset(5)
    sound, _ = _pooled(tmp_path, data)
    path = _part(tmp_path)
    _first_version(path)
    first, second = Said(), Said()
    features, images_seen = _pooled(tmp_path, data, first)
    np.testing.assert_array_equal(features, sound)
    assert images_seen == 0
    assert first.lines == [
        f"features in {path.parent} were kept without checksums: 1 parts are taken as they are and "
        "given theirs."
    ]
    _pooled(tmp_path, data, second)
    assert second.lines == []
    _flip(path)
    np.testing.assert_array_equal(_pooled(tmp_path, data)[0], sound)


@pytest.mark.parametrize(
    "damage",
    [
        *(ARRAYS[name] for name in ("NaN", "fewer rows", "objects", "another type", "no file")),
        lambda path: path.with_suffix(".json").write_text('["1", "0", "2", "3", "4"]'),
    ],
)
def test_damage_of_a_part_without_a_hash_is_seen_by_its_values_and_its_name(
    tmp_path: Path, damage: Callable[[Path], object]
) -> None:
    data = subset(5)
    sound, _ = _pooled(tmp_path, data)
    _first_version(_part(tmp_path))
    damage(_part(tmp_path))
    features, images_seen = _pooled(tmp_path, data)
    np.testing.assert_array_equal(features, sound)
    assert images_seen == 32


def test_a_folder_in_place_of_the_lock_is_removed(tmp_path: Path) -> None:
    data = subset(5)
    _pooled(tmp_path, data)
    path = _part(tmp_path)
    (path.parent / "lock").unlink(missing_ok=True)
    (path.parent / "lock").mkdir()
    path.unlink()
    assert _pooled(tmp_path, data)[1] == 32


def test_a_file_in_place_of_the_folder_is_removed(tmp_path: Path) -> None:
    data = subset(5)
    _pooled(tmp_path, data)
    folder = _part(tmp_path).parent
    shutil.rmtree(folder)
    folder.write_text("no folder")
    assert _pooled(tmp_path, data)[1] == 32
