"""Compressed frames of DICOM files are those that a second, independent decoder gives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import JPEG2000Lossless

from bench.core.errors import DataError
from bench.data.codecs import first_frame, readable
from bench.data.images import decode_image, read_image
from tests.bench.data.dicoms import dicom_bytes, write_dicom

FILES = Path(pydicom.__file__).parent / "data" / "test_files"


def frame_of(header: Dataset) -> bytes:
    return next(generate_frames(header.PixelData, number_of_frames=1))


def ours(header: Dataset) -> np.ndarray:
    return first_frame(header, header.SamplesPerPixel, header.BitsStored)[0]


@pytest.mark.parametrize("name", ["JPEG2000", "MR_small_jp2klossless", "693_J2KI"])
def test_jpeg_2000_of_published_files(name: str) -> None:
    header = pydicom.dcmread(FILES / f"{name}.dcm")
    second = imagecodecs.jpeg2k_decode(frame_of(header))
    assert np.array_equal(ours(header).astype(np.int64), second.astype(np.int64))


@pytest.mark.parametrize(
    "name", ["SC_rgb_dcmtk_+eb+cr", "SC_rgb_jpeg_dcmtk", "SC_rgb_small_odd_jpeg"]
)
def test_jpeg_baseline_of_published_files(name: str) -> None:
    header = pydicom.dcmread(FILES / f"{name}.dcm")
    stored_as_rgb = header.PhotometricInterpretation == "RGB"
    second = imagecodecs.jpeg8_decode(
        frame_of(header), colorspace="RGB" if stored_as_rgb else None, outcolorspace="RGB"
    )
    assert np.abs(ours(header).astype(int) - second.astype(int)).max() <= 1  # rounding of colours


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_a_lossless_frame_of_another_encoder_gives_every_grey_level(
    bits: int, tmp_path: Path
) -> None:
    rng = np.random.default_rng(bits)
    kind = np.uint8 if bits == 8 else np.uint16
    pixels = rng.integers(0, 2**bits, (48, 40)).astype(kind)
    pixels[0, :2] = (0, 2**bits - 1)
    path = write_dicom(tmp_path / "x.dcm", pixels, bits=bits)
    header = pydicom.dcmread(path)
    header.file_meta.TransferSyntaxUID = JPEG2000Lossless
    frame = imagecodecs.jpeg2k_encode(pixels, level=0, codecformat="j2k", bitspersample=bits)
    header.PixelData = encapsulate([bytes(frame)])
    header.save_as(path)
    assert np.array_equal(ours(pydicom.dcmread(path)), pixels)
    grey = pixels.astype(float) * 255 / (2**bits - 1)
    assert np.abs(read_image(path) - grey).max() <= 0.5 + 1e-9


@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize(
    ("name", "syntax", "encode"),
    [
        ("JPEG Lossless", "1.2.840.10008.1.2.4.70", imagecodecs.ljpeg_encode),
        ("JPEG-LS Lossless", "1.2.840.10008.1.2.4.80", imagecodecs.jpegls_encode),
    ],
)
def test_a_frame_whose_decoder_is_an_extra_is_right_or_refused_by_name(
    name: str, syntax: str, encode: Callable[..., bytes], bits: int
) -> None:
    """Both halves are right: which one an installation has, `readable` tells before."""
    pixels = np.random.default_rng(bits).integers(0, 2**bits, (48, 40))
    pixels[0, :2] = (0, 2**bits - 1)
    stored = pixels.astype(np.uint8 if bits == 8 else np.uint16)
    stream = encode(stored, bitspersample=bits) if "LS" not in name else encode(stored)
    data = dicom_bytes(stored, bits=bits, syntax=syntax, stream=stream)
    if name not in readable()[0]:
        with pytest.raises(DataError, match=f"x: its pixels are compressed as {name}"):
            decode_image(data, "x")
        return
    grey = pixels * 255.0 / (2**bits - 1)
    assert np.abs(decode_image(data, "x") - grey).max() <= 0.5 + 1e-9
