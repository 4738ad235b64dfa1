"""The cache decodes once, survives kills and company, and never gives wrong pixels."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from bench.core.errors import DataError, NotMadeError, PlaceBenchError
from bench.data.cache import Decode, Item, Store, data_hash, open_store
from bench.data.images import decode_image, resize_pad
from bench.data.records import Journal
from bench.data.slots import store_faults
from tests.support.progress import Said

SIZE = 16


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLACE_BENCH_CACHE", str(tmp_path / "cache"))


def write_images(folder: Path, count: int) -> list[Item]:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for number in range(count):
        cv2.imwrite(str(folder / f"{number}.png"), rng.integers(1, 255, (20, 24), dtype=np.uint8))
    return [Item(str(number), (str(folder / f"{number}.png"),)) for number in range(count)]


class Counter:
    """Decode, and count how often."""

    def __init__(self, items: list[Item]) -> None:
        self.items = items
        self.seen: list[int] = []

    def __call__(self, number: int, blobs: tuple[bytes, ...]) -> np.ndarray:
        self.seen.append(number)
        return resize_pad(decode_image(blobs[0], self.items[number].paths[0]), SIZE)


def opened(items: list[Item], decode: Decode | None = None, **options: Any) -> Store:
    return open_store(
        items,
        decode or Counter(items),
        (SIZE, SIZE),
        name="test",
        key_parts={"recipe": 1},
        **options,
    )


def check_pixels(store: Store, items: list[Item]) -> None:
    for position, item in zip(store.positions, items, strict=True):
        expected = resize_pad(cv2.imread(item.paths[0], cv2.IMREAD_GRAYSCALE), SIZE)
        assert (store.pixels[position] == expected).all()


def test_decodes_once(tmp_path: Path) -> None:
    items = write_images(tmp_path / "images", 150)
    counter = Counter(items)
    first = opened(items, counter)
    assert sorted(counter.seen) == list(range(150))
    check_pixels(first, items)
    again = opened(items, counter)
    assert len(counter.seen) == 150
    assert again.data_hash() == first.data_hash()
    check_pixels(again, items)


def test_more_items_decode_only_the_new(tmp_path: Path) -> None:
    items = write_images(tmp_path / "images", 30)
    opened(items[:20])
    counter = Counter(items)
    check_pixels(opened(items[::-1], Counter(items[::-1])), items[::-1])
    opened(items, counter)
    assert counter.seen == []


def test_touched_file_is_hashed_not_decoded(tmp_path: Path) -> None:
    items = write_images(tmp_path / "images", 5)
    before = opened(items)
    os.utime(items[2].paths[0], (1, 1))
    counter = Counter(items)
    after = opened(items, counter)
    assert counter.seen == []
    assert after.data_hash() == before.data_hash()


def test_moved_folder_is_hashed_not_decoded(tmp_path: Path) -> None:
    items = write_images(tmp_path / "images", 5)
    before = opened(items)
    (tmp_path / "images").rename(tmp_path / "elsewhere")
    moved = [Item(item.id, (item.paths[0].replace("/images/", "/elsewhere/"),)) for item in items]
    counter = Counter(moved)
    assert opened(moved, counter).data_hash() == before.data_hash()
    assert counter.seen == []


def test_changed_content_is_decoded_again_without_touching_the_old(tmp_path: Path) -> None:
    items = write_images(tmp_path / "images", 5)
    before = opened(items)
    old = np.array(before.pixels[before.positions[2]])
    cv2.imwrite(items[2].paths[0], np.full((20, 24), 77, np.uint8))
    os.utime(items[2].paths[0], (1, 1))
    counter = Counter(items)
    after = opened(items, counter)
    assert counter.seen == [2]
    check_pixels(after, items)
    assert (before.pixels[before.positions[2]] == old).all()
    assert after.data_hash() != before.data_hash()


def test_other_preprocessing_is_another_store(tmp_path: Path) -> None:
    items = write_images(tmp_path / "images", 3)
    first = opened(items)
    second = open_store(items, Counter(items), (SIZE, SIZE), name="test", key_parts={"recipe": 2})
    assert first.folder != second.folder


def test_extra_content_counts(tmp_path: Path) -> None:
    plain = [Item("a", (), b"1 2")]
    other = [Item("a", (), b"3 4")]
    stores = [
        open_store(
            items, lambda *_, v=value: np.full((2, 2), v, np.uint8), (2, 2), name="x", key_parts={}
        )
        for items, value in ((plain, 1), (other, 2))
    ]
    assert stores[1].pixels[stores[0].positions[0]].tolist() == [[1, 1], [1, 1]]
    assert stores[1].pixels[stores[1].positions[0]].tolist() == [[2, 2], [2, 2]]


def test_empty_arrays_share_one_slot() -> None:
    items = [Item(str(number), (), str(number).encode()) for number in range(50)]
    store = open_store(items, lambda *_: np.zeros((4, 4), np.uint8), (4, 4), name="x", key_parts={})
    assert len(store.pixels) == 1
    assert not store.pixels[store.positions].any()


def test_corrupt_image_stops_and_keeps_the_rest(tmp_path: Path) -> None:
    items = write_images(tmp_path / "images", 10)
    Path(items[4].paths[0]).write_bytes(Path(items[4].paths[0]).read_bytes()[:60])
    with pytest.raises(DataError, match=r"4\.png is truncated or corrupt"):
        opened(items)
    sound = [item for item in items if item.id != "4"]
    counter = Counter(sound)
    check_pixels(opened(sound, counter), sound)
    assert counter.seen == []


def test_corrupt_image_is_listed_when_skipped(tmp_path: Path) -> None:
    items = write_images(tmp_path / "images", 10)
    Path(items[4].paths[0]).write_bytes(b"rubbish")
    for _ in range(2):
        store = opened(items, on_error="skip")
        assert [(item.id, item.path) for item in store.skipped] == [("4", items[4].paths[0])]
        assert store.positions[4] == -1
        assert store.digests[4] == ""
    sound = [item for item in items if item.id != "4"]
    check_pixels(opened(sound), sound)


def test_wrong_shape_and_failing_decoder_are_named(tmp_path: Path) -> None:
    items = write_images(tmp_path / "images", 1)
    with pytest.raises(DataError, match=r"'0'.*uint8 \[3, 3\].*uint8 \[16, 16\] was expected"):
        opened(items, lambda *_: np.zeros((3, 3), np.uint8))

    def fail(number: int, blobs: tuple[bytes, ...]) -> np.ndarray:
        raise KeyError("rle")

    with pytest.raises(DataError, match=r"'0'.*does not decode: KeyError"):
        opened(items, fail)


def test_half_a_record_and_a_damaged_record_are_decoded_again(tmp_path: Path) -> None:
    items = write_images(tmp_path / "images", 6)
    store = opened(items)
    records = store.folder / "records.bin"
    data = bytearray(records.read_bytes())
    data[70] ^= 0xFF
    records.write_bytes(data[:-10])
    counter = Counter(items)
    check_pixels(opened(items, counter), items)
    assert len(counter.seen) == 2
    counter.seen.clear()
    check_pixels(opened(items, counter), items)
    assert counter.seen == []


def _flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _zeroed(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def _truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 5])


def _noise(path: Path) -> None:
    path.write_bytes(np.random.default_rng(1).bytes(777))


def _folder(path: Path) -> None:
    path.unlink()
    (path / "inside").mkdir(parents=True)


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


DAMAGES = (_flipped, _zeroed, _truncated, _noise, Path.unlink, _folder, _pipe)


@pytest.mark.parametrize("file", ["pixels.u8", "records.bin", "about.json"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_between_two_reads_is_mended(
    tmp_path: Path, file: str, damage: Callable[..., Any]
) -> None:
    items = write_images(tmp_path / "images", 6)
    before = opened(items)
    damage(before.folder / file)
    said = Said()
    after = opened(items, progress=said)
    check_pixels(after, items)
    assert after.data_hash() == before.data_hash()
    assert file in " ".join(said.lines)
    again, counter = Said(), Counter(items)
    check_pixels(opened(items, counter, progress=again), items)
    assert (again.lines, counter.seen) == ([], [])
    assert store_faults(before.folder) == []


def test_only_the_damaged_image_is_decoded_again(tmp_path: Path) -> None:
    items = write_images(tmp_path / "images", 6)
    store = opened(items)
    size = (store.folder / "pixels.u8").stat().st_size
    with (store.folder / "pixels.u8").open("r+b") as pixels:
        pixels.seek(int(store.positions[3]) * SIZE * SIZE)
        pixels.write(b"\xff" * 9)
    counter, said = Counter(items), Said()
    check_pixels(opened(items, counter, progress=said), items)
    assert counter.seen == [3]
    assert said.lines == [
        f"cache file {store.folder / 'pixels.u8'} is damaged: 1 of its decoded arrays are made "
        "again."
    ]
    assert (store.folder / "pixels.u8").stat().st_size == size


def test_rubbish_behind_the_journal_is_cut_off(tmp_path: Path) -> None:
    items = write_images(tmp_path / "images", 3)
    folder = opened(items).folder
    for rubbish in (b"x" * 30, b"y" * 64, b"z" * 150):
        with (folder / "records.bin").open("ab") as journal:
            journal.write(rubbish)
        counter, said = Counter(items), Said()
        check_pixels(opened(items, counter, progress=said), items)
        assert counter.seen == [] and "records.bin has" in said.lines[0]
        assert (folder / "records.bin").stat().st_size == 3 * 64
        assert store_faults(folder) == []


def test_a_touched_image_does_not_take_a_damaged_slot(tmp_path: Path) -> None:
    items = write_images(tmp_path / "images", 3)
    store = opened(items)
    _zeroed(store.folder / "pixels.u8")
    for item in items:
        os.utime(item.paths[0], (1, 1))
    check_pixels(opened(items), items)


def test_the_shared_empty_slot_is_checked() -> None:
    items = [Item(str(number), (), str(number).encode()) for number in range(5)]
    options: dict[str, Any] = {"name": "x", "key_parts": {}}
    store = open_store(items, lambda *_: np.zeros((4, 4), np.uint8), (4, 4), **options)
    (store.folder / "pixels.u8").write_bytes(b"\1" * 16)
    said = Said()
    after = open_store(items, Counter([]), (4, 4), progress=said, **options)
    assert not after.pixels[after.positions].any()
    assert said.lines == [
        f"cache file {store.folder / 'pixels.u8'} is damaged: its empty array is made again."
    ]


def test_damage_that_keeps_the_modification_time_is_seen(tmp_path: Path) -> None:
    items = write_images(tmp_path / "images", 3)
    pixels = opened(items).folder / "pixels.u8"
    os.utime(pixels, (1_000_000, 1_000_000))
    opened(items)
    _flipped(pixels)
    os.utime(pixels, (1_000_000, 1_000_000))
    check_pixels(opened(items), items)


def _without_checksums(store: Store) -> None:
    """Write the journal as it was before records had checksums of their slots."""
    journal = Journal(store.folder / "records.bin")
    records = [record._replace(pixels=None).pack() for record in journal.load().records]
    journal.path.write_bytes(b"".join(records))


def test_a_store_without_checksums_is_read_and_given_them_once(tmp_path: Path) -> None:
    items = write_images(tmp_path / "images", 4)
    store = opened(items)
    _without_checksums(store)
    first, second, counter = Said(), Said(), Counter(items)
    opened(items[:2], counter, progress=first)
    opened(items, counter, progress=second)
    assert first.lines == [
        f"cache {store.folder} was made without checksums: 4 decoded arrays are taken as they are "
        "and given theirs."
    ]
    assert (second.lines, counter.seen) == ([], [])
    _flipped(store.folder / "pixels.u8")
    check_pixels(opened(items), items)


def test_zeros_and_lost_slots_of_a_store_without_checksums_are_decoded_again(
    tmp_path: Path,
) -> None:
    items = write_images(tmp_path / "images", 4)
    store = opened(items)
    _without_checksums(store)
    _zeroed(store.folder / "pixels.u8")
    check_pixels(opened(items), items)
    _without_checksums(store)
    _truncated(store.folder / "pixels.u8")
    check_pixels(opened(items), items)


def test_lost_records_never_move_pixels_that_a_reader_holds(tmp_path: Path) -> None:
    items = write_images(tmp_path / "images", 4)
    held = opened(items)
    (held.folder / "records.bin").unlink()
    check_pixels(opened(items[::-1]), items[::-1])
    check_pixels(held, items)


def test_a_folder_in_place_of_the_lock_is_removed(tmp_path: Path) -> None:
    items = write_images(tmp_path / "images", 2)
    lock = opened(items).folder / "lock"
    lock.unlink(missing_ok=True)
    lock.mkdir()
    more = write_images(tmp_path / "images", 4)
    check_pixels(opened(more), more)


def test_an_unsound_store_is_not_made_for_a_plan(tmp_path: Path) -> None:
    items = write_images(tmp_path / "images", 3)
    pixels = opened(items).folder / "pixels.u8"
    opened(items, make=False)
    pixels.write_bytes(pixels.read_bytes()[: 2 * SIZE * SIZE])
    with pytest.raises(NotMadeError, match="2 of 3 images"):
        opened(items, make=False)
    pixels.unlink()
    with pytest.raises(NotMadeError, match="3 of 3 images"):
        opened(items, make=False)


def test_a_full_disk_is_said_before_decoding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = write_images(tmp_path / "images", 2)
    monkeypatch.setattr("bench.data.filling.shutil.disk_usage", lambda _: SimpleNamespace(free=100))
    with pytest.raises(PlaceBenchError, match="PLACE_BENCH_CACHE"):
        opened(items)


def test_pixels_are_read_only(tmp_path: Path) -> None:
    store = opened(write_images(tmp_path / "images", 1))
    with pytest.raises(ValueError, match="read-only"):
        store.pixels[0] = 1


def test_hash_does_not_depend_on_order(tmp_path: Path) -> None:
    items = write_images(tmp_path / "images", 8)
    assert data_hash(opened(items)) == data_hash(opened(items[::-1]))
    assert data_hash(opened(items)) != data_hash(opened(items[:7]))


SCRIPT = textwrap.dedent(
    """
    import sys, time
    from pathlib import Path
    from bench.data.cache import Item, open_store
    from bench.data.images import decode_image, resize_pad

    folder, delay = Path(sys.argv[1]), float(sys.argv[2])
    items = [Item(path.stem, (str(path),)) for path in sorted(folder.iterdir(), key=lambda path: int(path.stem))]
    seen = 0

    def decode(number, blobs):
        global seen
        seen += 1
        time.sleep(delay)
        return resize_pad(decode_image(blobs[0], items[number].paths[0]), 16)

    open_store(items, decode, (16, 16), name="test", key_parts={"recipe": 1})
    print(seen)
    """
)


def started(folder: Path, delay: float) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(folder), str(delay)], stdout=subprocess.PIPE, text=True
    )


def test_kill_in_the_middle_then_only_the_rest_is_decoded(tmp_path: Path) -> None:
    items = write_images(tmp_path / "images", 400)
    process = started(tmp_path / "images", 0.01)
    records = tmp_path / "cache" / "images"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not any(
        path.stat().st_size for path in records.glob("*/records.bin")
    ):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
    kept = next(records.glob("*/records.bin")).stat().st_size // 64
    assert 0 < kept < 400
    counter = Counter(items)
    check_pixels(opened(items, counter), items)
    assert len(counter.seen) == 400 - kept


def test_two_processes_share_the_work(tmp_path: Path) -> None:
    items = write_images(tmp_path / "images", 200)
    processes = [started(tmp_path / "images", 0.002) for _ in range(2)]
    counts = [int(process.communicate(timeout=120)[0]) for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert sorted(counts) == [0, 200]
    counter = Counter(items)
    check_pixels(opened(items, counter), items)
    assert counter.seen == []


def test_two_processes_mend_a_damaged_store_once(tmp_path: Path) -> None:
    items = write_images(tmp_path / "images", 40)
    store = opened(items)
    _zeroed(store.folder / "pixels.u8")
    processes = [started(tmp_path / "images", 0.02) for _ in range(2)]
    counts = [int(process.communicate(timeout=120)[0]) for process in processes]
    assert sorted(counts) == [0, 40]
    counter = Counter(items)
    check_pixels(opened(items, counter), items)
    assert counter.seen == []


def test_what_stands_in_place_of_a_folder_is_removed_or_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = write_images(tmp_path / "images", 2)
    folder = opened(items).folder
    shutil.rmtree(folder)
    folder.write_text("no folder")
    check_pixels(opened(items), items)
    monkeypatch.setenv("PLACE_BENCH_CACHE", str(folder / "about.json"))
    with pytest.raises(PlaceBenchError, match=r"cannot be made.*Set PLACE_BENCH_CACHE"):
        opened(items)


def test_hash_is_known_without_importing_torch(tmp_path: Path) -> None:
    code = (
        "import sys, bench.data.cache, bench.data.splits, bench.data.roots; "
        "print(json.dumps('torch' in sys.modules))"
    )
    out = subprocess.run(
        [sys.executable, "-c", "import json\n" + code], capture_output=True, text=True, check=True
    )
    assert json.loads(out.stdout) is False
