"""Image input: one epoch from the cache against decoding every file again, at equal pixels."""

from __future__ import annotations

import io
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bench.data.cache import Item, Store, open_store
from bench.data.images import decode_image, read_image, resize_pad
from perf._timing import row

SIZES = (256, 512, 1024, 2048)
STORE = 224
IMAGES = 48
"""Per file kind and size. So few stay in the processor's cache; the rows on copying show what
thousands cost."""
BATCH = 32
COPY_COUNTS = (500, 1000, 2000, 4000)
WANTED_DECODING = 50.0
WANTED_COPY = 0.5
CLAIMED_SIZE = 1024
"""The size of the files of SIIM-ACR and RSNA, for which the ratio is claimed."""


def run() -> list[dict[str, Any]]:
    """Measure DICOM (plain and JPEG-compressed), PNG and JPEG files of four sizes, and batches
    against a plain copy."""
    with tempfile.TemporaryDirectory() as folder, _cache_in(Path(folder)):
        rows = [
            _decoding(Path(folder), kind, size)
            for kind in ("DICOM", "DICOM (JPEG)", "PNG", "JPEG")
            for size in SIZES
        ]
        return rows + [_copying(count) for count in COPY_COUNTS]


@contextmanager
def _cache_in(folder: Path) -> Iterator[None]:
    before = os.environ.get("PLACE_BENCH_CACHE")
    os.environ["PLACE_BENCH_CACHE"] = str(folder / "cache")
    try:
        yield
    finally:
        os.environ.pop("PLACE_BENCH_CACHE") if before is None else os.environ.update(
            PLACE_BENCH_CACHE=before
        )


def _decoding(folder: Path, kind: str, size: int) -> dict[str, Any]:
    """Compare an epoch of `IMAGES` files of `size` px decoded to `STORE` px with the same epoch
    from the cache."""
    paths = _write(folder / f"{kind}-{size}", kind, size)
    items = [Item(path.stem, (str(path),)) for path in paths]

    def decode(number: int, blobs: tuple[bytes, ...]) -> np.ndarray:
        """Return one file decoded, at the side of the store."""
        return resize_pad(decode_image(blobs[0], paths[number]), STORE)

    store = open_store(
        items,
        decode,
        (STORE, STORE),
        name=f"{kind[:5]}-{size}",
        key_parts={"kind": kind, "size": size},
    )
    fresh = np.stack([resize_pad(read_image(path), STORE) for path in paths])
    usual = _seconds(lambda: [resize_pad(read_image(path), STORE) for path in paths], 3)
    ours = _seconds(lambda: _epoch(store), 30)
    for path in paths:
        path.unlink()
    equal = bool((store.pixels[store.positions] == fresh).all())
    ratio = WANTED_DECODING if size == CLAIMED_SIZE and kind.startswith("DICOM") else ""
    return row(f"{kind}: decode each epoch", str(size), usual, ours, equal, ratio)


def _copying(count: int) -> dict[str, Any]:
    """Compare random batches of `count` cached images with one plain copy of as many bytes from the
    page cache."""
    items = [Item(str(number), (), number.to_bytes(4, "little")) for number in range(count)]

    def decode(number: int, blobs: tuple[bytes, ...]) -> np.ndarray:
        """Return noise that is an image's own."""
        return np.random.default_rng(number).integers(0, 255, (STORE, STORE), dtype=np.uint8)

    store = open_store(items, decode, (STORE, STORE), name="copy", key_parts={})
    span = slice(int(store.positions.min()), int(store.positions.max()) + 1)
    out = np.empty_like(store.pixels[span][:count])
    copy = _seconds(lambda: np.copyto(out, store.pixels[span][:count]), 10)
    equal = all(
        (store.pixels[store.positions[number]] == decode(number, ())).all()
        for number in range(0, count, 50)
    )
    ours = _seconds(lambda: _epoch(store), 10)
    ratio = WANTED_COPY if count == COPY_COUNTS[-1] else ""
    name = f"plain page-cache copy of {STORE} px images"
    return row(name, str(count), copy, ours, equal, ratio)


def _epoch(store: Store) -> None:
    """Read every image once, in random batches, as a trainer does."""
    order = np.random.default_rng(0).permutation(len(store.positions))
    for start in range(0, len(order), BATCH):
        store.pixels[store.positions[order[start : start + BATCH]]]


def _seconds(work: Callable[[], Any], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


# -------------------------------------------------------------------------------------------- files
def _write(folder: Path, kind: str, size: int) -> list[Path]:
    folder.mkdir()
    paths = []
    for number in range(IMAGES):
        paths.append(folder / f"{number}.img")
        paths[-1].write_bytes(_content(kind, _radiograph_like(size, number)))
    return paths


def _radiograph_like(size: int, seed: int) -> np.ndarray:
    """Return smooth structure with fine noise, which compresses about as a radiograph does."""
    import cv2

    rng = np.random.default_rng(seed)
    smooth = cv2.resize(
        rng.random((12, 12)).astype(np.float32), (size, size), interpolation=cv2.INTER_CUBIC
    )
    return np.clip(20 + 200 * smooth + rng.normal(0, 2, (size, size)), 0, 255).astype(np.uint8)


def _content(kind: str, pixels: np.ndarray) -> bytes:
    if kind.startswith("DICOM"):
        return _dicom(pixels, jpeg="JPEG" in kind)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind, quality=95)
    return out.getvalue()


def _dicom(pixels: np.ndarray, *, jpeg: bool) -> bytes:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.encaps import encapsulate
    from pydicom.uid import (
        UID,
        ComputedRadiographyImageStorage,
        ExplicitVRLittleEndian,
        JPEGBaseline8Bit,
    )

    header = Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = JPEGBaseline8Bit if jpeg else ExplicitVRLittleEndian
    header.file_meta.MediaStorageSOPClassUID = header.SOPClassUID = ComputedRadiographyImageStorage
    header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID = UID("1.2.3")
    header.Rows, header.Columns = pixels.shape
    header.SamplesPerPixel = 1
    header.PhotometricInterpretation = "MONOCHROME2"
    header.PixelRepresentation = 0
    header.BitsAllocated = 8
    header.BitsStored = 8
    header.HighBit = 7
    header.PixelData = encapsulate([_content("JPEG", pixels)]) if jpeg else pixels.tobytes()
    header["PixelData"].VR = "OB"
    out = io.BytesIO()
    header.save_as(out, enforce_file_format=True)
    return out.getvalue()


if __name__ == "__main__":
    from perf.__main__ import table

    print(table(run()))
