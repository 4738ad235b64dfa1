"""PNG and JPEG of every kind give the grey values that OpenCV's decoders give, or are refused."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import cv2
import imagecodecs
import numpy as np
import pytest
from PIL import Image

from bench.core.errors import DataError
from bench.data.headers import read_shape
from bench.data.images import decode_image

RANDOM = np.random.default_rng(0)
GREY = cv2.resize(RANDOM.integers(0, 256, (5, 6), dtype=np.uint8), (40, 32), interpolation=2)
LUMA = np.array([0.299, 0.587, 0.114])


def saved(picture: Image.Image, kind: str, **how: Any) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **how)
    return out.getvalue()


def by_opencv(data: bytes, flag: int = cv2.IMREAD_GRAYSCALE) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(data, np.uint8), flag | cv2.IMREAD_IGNORE_ORIENTATION)


@pytest.mark.parametrize(
    ("mode", "kind", "how"),
    [
        ("1", "PNG", {}),
        ("L", "PNG", {}),
        ("RGB", "PNG", {}),
        ("L", "JPEG", {"progressive": True}),
        ("L", "JPEG", {"quality": 40}),
        ("RGB", "JPEG", {"subsampling": 2}),
    ],
)
def test_a_picture_is_as_opencv_reads_it(mode: str, kind: str, how: dict[str, bool | int]) -> None:
    data = saved(Image.fromarray(GREY).convert(mode), kind, **how)
    assert np.abs(decode_image(data, "x").astype(int) - by_opencv(data)).max() <= 1


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_a_png_of_few_bits_runs_from_black_to_white(depth: int) -> None:
    values = RANDOM.integers(0, 1 << depth, (8, 16), dtype=np.uint8)
    packed = np.packbits(
        np.unpackbits(values[..., None], axis=2)[..., 8 - depth :].reshape(8, -1), axis=1
    )
    rows = b"".join(b"\0" + row.tobytes() for row in packed)
    header = struct.pack(">IIBBBBB", 16, 8, depth, 0, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content))
        + name
        + content
        + struct.pack(">I", zlib.crc32(name + content))
        for name, content in ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    )
    assert (decode_image(data, "x") == values * (255 // ((1 << depth) - 1))).all()


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_sixteen_bits_of_a_png_keep_their_depth(channels: int) -> None:
    """12 bits in a PNG of 16, grey or colour, are no black picture."""
    values = RANDOM.integers(0, 4096, (32, 40)).astype(np.uint16)
    values[0, :2] = 0, 4095
    pixels = values if channels == 1 else np.repeat(values[..., None], channels, axis=2)
    if channels == 4:
        pixels[..., 3] = 65535
    data = cv2.imencode(".png", pixels)[1].tobytes()
    expected = values * (255.0 / 4095)
    assert np.abs(decode_image(data, "x") - expected).max() <= 0.5 + 1e-9


def test_cmyk_is_read_as_the_colours_it_stands_for() -> None:
    colour = np.stack([GREY, GREY.T.reshape(GREY.shape), 255 - GREY], axis=-1)
    data = saved(Image.fromarray(colour).convert("CMYK"), "JPEG", quality=100)
    assert np.abs(decode_image(data, "x") - colour @ LUMA).mean() < 2


def test_the_orientation_of_exif_is_ignored() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = saved(Image.fromarray(GREY), "JPEG", exif=exif)
    assert (decode_image(data, "x") == by_opencv(data)).all()
    assert read_shape(io.BytesIO(data)) == {"height": "32", "width": "40"}


@pytest.mark.parametrize("bits", [8, 12])
def test_a_lossless_jpeg_is_refused_by_its_kind(bits: int) -> None:
    pixels = RANDOM.integers(0, 1 << bits, (16, 24)).astype(np.uint8 if bits == 8 else np.uint16)
    data = bytes(imagecodecs.ljpeg_encode(pixels, bitspersample=bits))
    with pytest.raises(DataError, match=rf"x: it is a lossless JPEG of {bits} bits .*SOF3"):
        decode_image(data, "x")
    assert read_shape(io.BytesIO(data)) == {"height": "16", "width": "24"}


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_damage_of_the_pixels_is_named(kind: str) -> None:
    data = bytearray(saved(Image.fromarray(GREY), kind))
    data[len(data) // 2 :] = bytes(len(data) - len(data) // 2)
    with pytest.raises(DataError, match="x is truncated or corrupt"):
        decode_image(bytes(data), "x")


def test_a_bit_flipped_in_a_png_is_named() -> None:
    data = bytearray(saved(Image.fromarray(GREY), "PNG"))
    data[data.index(b"IDAT") + 60] ^= 1
    with pytest.raises(DataError, match="x is truncated or corrupt: .*IDAT"):
        decode_image(bytes(data), "x")
