"""Random valid DICOM files of every kind that is read, against values worked out without DICOM.

The values of a picture are drawn first, then written in a way drawn at random; what the reader must
give follows from the values alone. Compressed pixels are also unpacked by a decoder that shares
nothing with the reader's.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.encaps import generate_fragments

from bench.data.images import decode_image
from tests.bench.data.dicoms import dicom_bytes

IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
DEFLATED, BIG = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"
RLE, J2K, JPEG = "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.50"
CASES = 40


@dataclass
class Drawn:
    """A picture: its values, and the bits, sign and syntax it is written in."""

    values: np.ndarray  # int64 [H, W], or [H, W, 3]
    allocated: int
    bits: int
    signed: bool
    syntax: str


def draw(seed: int, *, grey: bool, syntaxes: tuple[str, ...]) -> tuple[np.random.Generator, Drawn]:
    random = np.random.default_rng(seed)
    syntax = str(random.choice(syntaxes))
    allocated = int(random.choice([8, 16] if syntax in (J2K, RLE) else [8, 16, 32]))
    bits = int(random.integers(max(allocated - 7, 2), allocated + 1))
    signed = bool(random.integers(2)) and grey and syntax != J2K
    low, high = (-(1 << (bits - 1)), 1 << (bits - 1)) if signed else (0, 1 << bits)
    height, width = random.integers(8, 24, 2)
    shape = (height, width) if grey else (height, width, 3)
    return random, Drawn(random.integers(low, high, shape), allocated, bits, signed, syntax)


def with_junk(drawn: Drawn, random: np.random.Generator, high: int) -> np.ndarray:
    """Return the container's integers: the values up to bit `high`, and anything around them."""
    shift = high + 1 - drawn.bits
    junk = random.integers(0, 1 << drawn.allocated, drawn.values.shape)
    mask = ((1 << drawn.bits) - 1) << shift
    words = ((drawn.values << shift) & mask) | (junk & ~mask)
    return words.astype(f"u{drawn.allocated // 8}")


def scaled(values: np.ndarray) -> np.ndarray:
    """Return values mapped from their minimum..maximum to 0..255, in fractions of a grey level."""
    return (values - values.min()) * (255.0 / (values.max() - values.min()))


def unpack_bits(segment: bytes) -> bytes:
    """Unpack one segment of PackBits."""
    out, at = bytearray(), 0
    while at < len(segment):
        count = segment[at]
        if count < 128:
            out += segment[at + 1 : at + 2 + count]
            at += 2 + count
        else:
            out += segment[at + 1 : at + 2] * (257 - count) if count > 128 else b""
            at += 2 if count > 128 else 1
    return bytes(out)


def second_decoder(data: bytes, drawn: Drawn) -> np.ndarray:
    """Return the container's integers of compressed pixels: RLE by the function above, JPEG 2000 by
    OpenCV."""
    header = pydicom.dcmread(io.BytesIO(data))
    (stream,) = list(generate_fragments(header.PixelData))[1:]
    if drawn.syntax == J2K:
        return cv2.imdecode(np.frombuffer(stream, np.uint8), cv2.IMREAD_UNCHANGED)
    count, *starts = struct.unpack("<16I", stream[:64])
    ends = [*starts[1:count], len(stream)]
    size = header.Rows * header.Columns
    planes = [
        np.frombuffer(unpack_bits(stream[start:end])[:size], np.uint8).astype(np.uint64)
        for start, end in zip(starts[:count], ends, strict=True)
    ]
    step = drawn.allocated // 8
    words = [
        np.sum(
            [
                plane << np.uint64(8 * (step - 1 - n))
                for n, plane in enumerate(planes[at : at + step])
            ],
            axis=0,
        )
        for at in range(0, count, step)
    ]
    shape = (header.Rows, header.Columns)
    return np.stack([word.reshape(shape) for word in words], axis=-1).squeeze(-1)


@pytest.mark.parametrize("seed", range(CASES))
def test_grey(seed: int) -> None:
    random, drawn = draw(seed, grey=True, syntaxes=(IMPLICIT, EXPLICIT, DEFLATED, BIG, RLE, J2K))
    native = drawn.syntax not in (RLE, J2K)
    high = int(random.integers(drawn.bits - 1, drawn.allocated)) if native else drawn.bits - 1
    words = with_junk(drawn, random, high)
    fields: dict[str, Any] = {"HighBit": high, "PixelRepresentation": int(drawn.signed)}
    slope, intercept = float(random.choice([1, -1, 0.5, 3.25])), float(random.choice([0, -1024]))
    if random.integers(2):
        fields |= {"RescaleSlope": slope, "RescaleIntercept": intercept}
    else:
        slope, intercept = 1.0, 0.0
    fields["PhotometricInterpretation"] = str(random.choice(["MONOCHROME1", "MONOCHROME2"]))
    stream = b""
    if drawn.syntax == J2K:
        out = io.BytesIO()
        Image.fromarray(words).save(out, "JPEG2000", irreversible=False, no_jp2=True)
        stream = out.getvalue()
    data = dicom_bytes(words, bits=drawn.bits, syntax=drawn.syntax, stream=stream, **fields)
    if not native:
        assert (second_decoder(data, drawn) == words).all()

    as_stored = drawn.allocated == 8 and not drawn.signed and (slope, intercept) == (1, 0)
    values = drawn.values * slope + intercept
    expected = values if as_stored else scaled(values)
    if fields["PhotometricInterpretation"] == "MONOCHROME1":
        expected = ((1 << drawn.bits) - 1 if as_stored else 255) - expected
    assert np.abs(decode_image(data, "x") - expected).max() <= 0.5 + 1e-6


@pytest.mark.parametrize("seed", range(CASES))
def test_mgca_reading(seed: int) -> None:
    random, drawn = draw(seed, grey=True, syntaxes=(IMPLICIT, BIG, RLE))
    words = with_junk(drawn, random, drawn.bits - 1)
    inverted = bool(random.integers(2))
    data = dicom_bytes(
        words,
        bits=drawn.bits,
        syntax=drawn.syntax,
        PixelRepresentation=int(drawn.signed),
        PhotometricInterpretation="MONOCHROME1" if inverted else "MONOCHROME2",
        RescaleSlope=-2,
        RescaleIntercept=7,
    )
    expected = np.minimum(np.abs(drawn.values * (255.0 / drawn.values.max())), 255)
    image = decode_image(data, "x", scaling="mgca").astype(float)
    assert np.abs((255 - image if inverted else image) - expected).max() <= 0.5 + 1e-6


@pytest.mark.parametrize("seed", range(CASES))
def test_colour(seed: int) -> None:
    random, drawn = draw(seed, grey=False, syntaxes=(IMPLICIT, EXPLICIT, DEFLATED, BIG, RLE))
    words = with_junk(drawn, random, drawn.bits - 1)
    space = str(random.choice(["RGB", "YBR_FULL"])) if drawn.syntax != RLE else "RGB"
    planar = int(random.integers(2))
    data = dicom_bytes(
        (words.transpose(2, 0, 1) if planar and drawn.syntax != RLE else words)[None].copy(),
        bits=drawn.bits,
        syntax=drawn.syntax,
        PixelRepresentation=0,
        SamplesPerPixel=3,
        PlanarConfiguration=planar if drawn.syntax != RLE else 0,
        PhotometricInterpretation=space,
        Rows=words.shape[0],
        Columns=words.shape[1],
    )
    luma = drawn.values @ [0.299, 0.587, 0.114] if space == "RGB" else drawn.values[..., 0]
    whole = np.rint(luma)
    expected = whole if drawn.allocated == 8 else scaled(whole)
    assert np.abs(decode_image(data, "x") - expected).max() <= 0.5 + 1e-6


@pytest.mark.parametrize("seed", range(CASES))
def test_palettes(seed: int) -> None:
    random = np.random.default_rng(seed)
    deep, big = bool(random.integers(2)), bool(random.integers(2))
    count, first = int(random.integers(2, 257)), int(random.integers(0, 30))
    indices = random.integers(0, 256, (9, 12), dtype=np.uint8)
    colours = random.integers(0, 65536 if deep else 256, (count, 3))
    fields: dict[str, Any] = {"PhotometricInterpretation": "PALETTE COLOR"}
    for number, name in enumerate(("Red", "Green", "Blue")):
        words = colours[:, number].astype(">u2" if big else "<u2")
        fields[f"{name}PaletteColorLookupTableDescriptor"] = [count, first, 16 if deep else 8]
        fields[f"{name}PaletteColorLookupTableData"] = words.tobytes()
    data = dicom_bytes(indices, syntax=BIG if big else EXPLICIT, **fields)
    rows = colours[np.clip(indices.astype(int) - first, 0, count - 1)] >> (8 if deep else 0)
    assert (decode_image(data, "x") == np.rint(rows @ [0.299, 0.587, 0.114])).all()


@pytest.mark.parametrize("seed", range(10))
def test_jpeg_baseline(seed: int) -> None:
    random = np.random.default_rng(seed)
    small = random.integers(0, 256, (4, 5), dtype=np.uint8)
    pixels = cv2.resize(small, (40, 32), interpolation=cv2.INTER_CUBIC)
    progressive = int(random.integers(2))
    ok, stream = cv2.imencode(
        ".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 90, cv2.IMWRITE_JPEG_PROGRESSIVE, progressive]
    )
    assert ok
    allocated = int(random.choice([8, 16]))
    container = pixels.astype(f"u{allocated // 8}")
    image = decode_image(dicom_bytes(container, syntax=JPEG, stream=stream.tobytes()), "x")
    expected = cv2.imdecode(stream, cv2.IMREAD_GRAYSCALE).astype(float)
    expected = expected if allocated == 8 else scaled(expected)
    assert np.abs(image - expected).max() <= 1.5
