"""Every photometric interpretation and transfer syntax is right to the last grey level, or refused
by name."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, RLELossless

from bench.commands.doctor import checks
from bench.contracts import DATASETS, KINDS, TASKS
from bench.core.errors import DataError
from bench.data.codecs import readable
from bench.data.headers import read_shape
from bench.data.images import decode_image, read_image
from bench.data.loading import prepare
from tests.bench.data.dicoms import dicom_bytes
from tests.tasks.datasets.fakes import write_siim

RAMP = np.linspace(0, 255, 128 * 128).astype(np.uint8).reshape(128, 128)
JPEG_2000 = "1.2.840.10008.1.2.4.90"


def written(data: bytes, change: Callable[[Dataset], object] | None = None, **how: Any) -> bytes:
    """Return a DICOM changed by `change(header)` and saved as `how` says."""
    header = dcmread(io.BytesIO(data))
    if change:
        change(header)
    out = io.BytesIO()
    header.save_as(out, **how)
    return out.getvalue()


def compressed(data: bytes, syntax: str, stream: bytes) -> bytes:
    def change(header: Dataset) -> None:
        header.file_meta.TransferSyntaxUID = UID(syntax)
        header.PixelData = encapsulate([stream])
        header["PixelData"].is_undefined_length = True

    return written(data, change)


def jpeg_2000(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG2000", irreversible=False, no_jp2=True)
    return stream.getvalue()


def refusal(data: bytes, **how: Any) -> str:
    with pytest.raises(DataError) as caught:
        decode_image(data, "odd.dcm", **how)
    message = str(caught.value)
    assert "odd.dcm" in message
    assert " object at 0x" not in message
    return f"{message} {caught.value.hint}"


# ------------------------------------------------------------------------------------- DICOM values
@pytest.mark.parametrize("way", ["native", "JPEG 2000", "RLE"])
def test_bits_above_the_stored_ones_are_masked(way: str) -> None:
    stored = RAMP.astype(np.uint16) * 16 + (RAMP >> 4)
    over = stored | ((RAMP > 128).astype(np.uint16) << 12)
    data = dicom_bytes(over, bits=12)
    if way == "JPEG 2000":
        data = compressed(data, JPEG_2000, jpeg_2000(over))
    elif way == "RLE":
        data = written(data, lambda header: header.compress(RLELossless, encoding_plugin="pydicom"))
    assert np.abs(decode_image(data, "x").astype(int) - RAMP).max() <= 1


def test_palette_color_is_read_through_its_palettes() -> None:
    falling = np.linspace(65535, 0, 256).astype("<u2")
    fields: dict[str, Any] = {"PhotometricInterpretation": "PALETTE COLOR"}
    for colour in ("Red", "Green", "Blue"):
        fields[f"{colour}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        fields[f"{colour}PaletteColorLookupTableData"] = falling.tobytes()
    image = decode_image(dicom_bytes(255 - RAMP, **fields), "x")
    assert np.abs(image.astype(int) - RAMP).max() <= 1


def test_palette_color_without_palettes_is_refused() -> None:
    message = refusal(dicom_bytes(RAMP, PhotometricInterpretation="PALETTE COLOR"))
    assert "RedPaletteColorLookupTableDescriptor (0028,1101)" in message


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        *(("RescaleSlope", value) for value in ("0", "-0.0", "1e-320")),
        *(("RescaleSlope", value) for value in ("NaN", "1e400", "-inf", "1\\2", "abc")),
        *(("RescaleIntercept", value) for value in ("NaN", "1e400", "-inf", "1e30", "abc")),
    ],
)
def test_a_rescale_that_leaves_no_picture_is_refused(keyword: str, value: str) -> None:
    fields: dict[str, Any] = {keyword: "123456789"}
    data = dicom_bytes(RAMP, **fields)
    assert data.count(b"123456789 ") == 1
    message = refusal(data.replace(b"123456789 ", value.ljust(10).encode()))
    assert f"{keyword} (0028,105" in message


def test_an_empty_rescale_is_none() -> None:
    data = dicom_bytes(RAMP, RescaleSlope=None, RescaleIntercept=None)
    assert (decode_image(data, "x") == RAMP).all()


@pytest.mark.parametrize(
    "keyword",
    [
        "Rows",
        "Columns",
        "BitsAllocated",
        "BitsStored",
        "PixelRepresentation",
        "SamplesPerPixel",
        "PhotometricInterpretation",
    ],
)
def test_a_missing_element_is_named(keyword: str) -> None:
    data = written(dicom_bytes(RAMP), lambda header: header.pop(keyword))
    assert f"it lacks {keyword} (0028," in refusal(data)


def test_rows_with_two_values_are_named_and_have_no_size() -> None:
    data = dicom_bytes(RAMP, Rows=[128, 128])
    assert "Rows (0028,0010)" in refusal(data)
    assert read_shape(io.BytesIO(data)) == {"height": "", "width": ""}


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"BitsAllocated": 12}, "BitsAllocated"),
        ({"BitsStored": 20}, "BitsStored"),
        ({"HighBit": 3}, "HighBit"),
        ({"SamplesPerPixel": 3}, "SamplesPerPixel"),
        ({"PhotometricInterpretation": "HSV"}, "PhotometricInterpretation"),
        ({"NumberOfFrames": 2}, "2 frames"),
    ],
)
def test_an_impossible_layout_is_named(fields: dict[str, Any], named: str) -> None:
    assert named in refusal(dicom_bytes(RAMP, **fields))


@pytest.mark.parametrize("left", [0, 1, 5000])
def test_short_pixel_data_are_refused(left: int) -> None:
    def change(header: Dataset) -> None:
        header.PixelData = header.PixelData[:left]

    assert "truncated or corrupt" in refusal(written(dicom_bytes(RAMP), change))


def test_a_tail_of_zeros_is_refused() -> None:
    pixels = np.random.default_rng(0).integers(20, 200, (64, 64)).astype(np.uint16)
    pixels.ravel()[2000:] = 0
    assert "PixelData (7FE0,0010)" in refusal(dicom_bytes(pixels, bits=12))


# -------------------------------------------------------------------------------------- DICOM files
@pytest.mark.parametrize("bare", [False, True])
@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1"])
def test_a_data_set_without_preamble_and_meta_gives_the_same_pixels(
    syntax: str, bare: bool
) -> None:
    data = dicom_bytes(RAMP.astype(np.uint16) * 16, bits=12)
    other = other_syntax(data, syntax)
    if bare:  # what follows the preamble and the elements of group 2
        (length,) = struct.unpack("<I", other[140:144])
        other = other[144 + length :]
    assert (decode_image(other, "x") == decode_image(data, "x")).all()
    assert read_shape(io.BytesIO(other)) == {"height": "128", "width": "128"}


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"])
def test_big_endian_and_deflated_files_give_the_same_pixels(syntax: str) -> None:
    data = dicom_bytes(RAMP.astype(np.uint16) * 16, bits=12)
    other = other_syntax(data, syntax)
    assert (decode_image(other, "x") == decode_image(data, "x")).all()
    assert read_shape(io.BytesIO(other)) == {"height": "128", "width": "128"}


def other_syntax(data: bytes, syntax: str) -> bytes:
    """Return a DICOM of 16 bits or less, uncompressed in another transfer syntax."""
    header = dcmread(io.BytesIO(data))
    plain = Dataset()
    plain.update({element.tag: element for element in header})
    plain.file_meta = header.file_meta
    plain.file_meta.TransferSyntaxUID = UID(syntax)
    if syntax == "1.2.840.10008.1.2.2" and header.BitsAllocated == 16:
        plain.PixelData = np.frombuffer(header.PixelData, "<u2").astype(">u2").tobytes()
        plain["PixelData"].VR = "OW"
    out = io.BytesIO()
    plain.save_as(out, enforce_file_format=True)
    return out.getvalue()


def deflated(data: bytes) -> bytes:
    return other_syntax(data, "1.2.840.10008.1.2.1.99")


def test_a_deflated_file_is_unpacked_within_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    data = deflated(dicom_bytes(np.zeros((2000, 2000), np.uint8)))
    monkeypatch.setenv("PLACE_BENCH_MAX_IMAGE_MB", "1")
    assert len(data) < 100_000
    assert "unpacks to more than its limit" in refusal(data)


def test_a_damaged_deflated_file_is_named() -> None:
    data = deflated(dicom_bytes(RAMP))
    assert "truncated or corrupt" in refusal(data[: len(data) - 200])


# ------------------------------------------------------------------------------------------- codecs
@pytest.mark.parametrize("syntax", ["57", "70", "80", "81", "201", "202", "203", "51"])
def test_a_missing_decoder_is_named_with_its_install_line(
    syntax: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pydicom.pixels import get_decoder

    uid = f"1.2.840.10008.1.2.4.{syntax}"
    monkeypatch.setattr(type(get_decoder(uid)), "available_plugins", ("pillow",))
    stream = b"\xff\xd8\xff\xc3" + bytes(200) + b"\xff\xd9"
    data = compressed(dicom_bytes(RAMP.astype(np.uint16) * 16, bits=12), uid, stream)
    message = refusal(data)
    assert "corrupt" not in message
    assert "is not installed" in message
    assert "pip install pylibjpeg" in message
    assert "make setup-dicom" in message


def test_a_transfer_syntax_that_is_not_read_is_named() -> None:
    data = compressed(dicom_bytes(RAMP), "1.2.840.10008.1.2.4.102", b"\0\0\0\1")
    assert "MPEG-4" in refusal(data)


def test_what_this_installation_reads_is_told_before() -> None:
    able, unable = readable()
    assert {"RLE Lossless", "JPEG Baseline", "JPEG 2000"} <= set(able)
    assert not set(able) & set(unable)
    (line,) = [check for check in checks() if check.name == "DICOM pixels"]
    assert all(name in line.found for name in able + unable)
    assert "make setup-dicom" in line.action or not unable


def test_a_compressed_stream_without_its_end_is_refused() -> None:
    stream = jpeg_2000(RAMP)
    data = compressed(dicom_bytes(RAMP), JPEG_2000, stream[: len(stream) // 2])
    assert "truncated or corrupt" in refusal(data)


@pytest.mark.parametrize("syntax", ["50", "90"])
def test_a_frame_larger_than_its_header_says_is_not_unpacked(syntax: str) -> None:
    large = np.zeros((600, 700), np.uint8)
    stream = jpeg_2000(large) if syntax == "90" else picture("JPEG", large)
    message = refusal(compressed(dicom_bytes(RAMP), f"1.2.840.10008.1.2.4.{syntax}", stream))
    assert "its compressed frame has 700 x 600 px, its header states 128 x 128" in message


def test_a_dicom_file_without_an_image_is_called_what_it_is() -> None:
    def change(header: Dataset) -> None:
        header.SOPClassUID = "1.2.840.10008.5.1.4.1.1.88.11"
        for keyword in ("Rows", "PixelData"):
            delattr(header, keyword)

    message = refusal(written(dicom_bytes(RAMP), change))
    assert "without an image (Basic Text SR Storage)" in message


# ----------------------------------------------------------------------------------------- property
def stretched(values: np.ndarray) -> np.ndarray:
    low, high = values.min(), values.max()
    if low == high:
        return np.zeros(values.shape)
    return (values - low) * 255.0 / (high - low)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    photometric=st.sampled_from(["MONOCHROME1", "MONOCHROME2"]),
    bits=st.integers(2, 16),
    signed=st.booleans(),
    syntax=st.sampled_from(["native", "implicit", "deflated", "RLE", "JPEG 2000"]),
    slope=st.sampled_from([1.0, 2.0, -1.0, 0.125]),
)
def test_grey_values_agree_with_an_independent_computation(
    seed: int, photometric: str, bits: int, signed: bool, syntax: str, slope: float
) -> None:
    rng = np.random.default_rng(seed)
    if syntax == "JPEG 2000":  # as Pillow writes them
        bits = 8 if bits <= 8 else 16
        signed = False
    low = -(2 ** (bits - 1)) if signed else 0
    values = rng.integers(low, low + 2**bits, (24, 20))
    container = np.dtype(f"{'i' if signed else 'u'}{1 if bits <= 8 else 2}")
    stored = values.astype(container)
    data = dicom_bytes(
        stored,
        bits=bits,
        PhotometricInterpretation=photometric,
        RescaleSlope=slope,
        RescaleIntercept=-3,
    )
    if syntax == "implicit":
        data = other_syntax(data, "1.2.840.10008.1.2")
    elif syntax == "deflated":
        data = deflated(data)
    elif syntax == "RLE":
        data = written(data, lambda header: header.compress(RLELossless, encoding_plugin="pydicom"))
    elif syntax == "JPEG 2000":
        data = compressed(data, JPEG_2000, jpeg_2000(stored))
    exact = stretched(values * slope - 3.0)
    if photometric == "MONOCHROME1":
        exact = 255 - exact
    assert np.abs(decode_image(data, "x") - exact).max() <= 0.5 + 1e-9  # the nearest grey level


@pytest.mark.parametrize("planar", [0, 1])
@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL"])
def test_colour_becomes_luma_in_either_order_of_planes(photometric: str, planar: int) -> None:
    colour = np.random.default_rng(0).integers(0, 256, (12, 10, 3), dtype=np.uint8)

    def change(header: Dataset) -> None:
        header.SamplesPerPixel = 3
        header.PlanarConfiguration = planar
        header.PhotometricInterpretation = photometric
        header.PixelData = (colour.transpose(2, 0, 1) if planar else colour).tobytes()

    image = decode_image(written(dicom_bytes(colour[..., 0]), change), "x")
    luma = colour[..., 0] if photometric != "RGB" else np.rint(colour @ [0.299, 0.587, 0.114])
    assert (image == luma).all()


# ---------------------------------------------------------------------------------------- PNG, JPEG
def picture(kind: str, pixels: np.ndarray = RAMP) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind)
    return out.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("tail", [bytes(6000), b"trailer" * 900])
def test_bytes_behind_the_end_of_a_picture_are_ignored(kind: str, tail: bytes) -> None:
    data = picture(kind)
    assert (decode_image(data + tail, "x") == decode_image(data, "x")).all()


def blank_png(side: int) -> bytes:
    """Return a PNG of one grey, one bit a pixel."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content))
            + name
            + content
            + struct.pack(">I", zlib.crc32(name + content))
        )

    rows = zlib.compress(bytes((side // 8 + 1) * side), 1)
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", rows), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize("side", [14_000, 20_000])
def test_a_picture_too_large_for_a_radiograph_is_named_by_its_size(side: int) -> None:
    data = blank_png(side)
    assert f"{side} x {side} px" in refusal(data)
    assert read_shape(io.BytesIO(data)) == {"height": str(side), "width": str(side)}


def test_a_picture_of_10000_px_is_read_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert decode_image(blank_png(10_000), "x").shape == (10_000, 10_000)


def test_texts_that_unpack_to_any_size_are_left_out() -> None:
    data = picture("PNG")
    text = b"zTXtbomb\0\0" + zlib.compress(bytes(80_000_000))
    chunk = struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text))
    bomb = data[:33] + chunk + data[33:]
    assert (decode_image(bomb, "x") == RAMP).all()


def test_the_type_is_that_of_the_content(tmp_path: Path) -> None:
    path = tmp_path / "named.dcm"
    path.write_bytes(picture("PNG"))
    assert (read_image(path) == RAMP).all()


@pytest.mark.parametrize(
    ("start", "kind"), [(b"GIF89a", "GIF"), (b"II*\0", "TIFF"), (b"<html>", "a web page")]
)
def test_another_type_is_said(start: bytes, kind: str) -> None:
    assert f"it is {kind}" in refusal(start + bytes(300))


# ---------------------------------------------------------------------------------------- protocols
@pytest.mark.parametrize("scaling", ["range", "mgca"])
def test_prepared_images_are_scaled_as_asked(
    tmp_path: Path, scaling: Literal["range", "mgca"]
) -> None:
    root = tmp_path / "siim"
    write_siim(root)
    dim = (RAMP[::2, ::2] // 2) + 3
    for path in root.rglob("*.dcm"):
        path.write_bytes(dicom_bytes(dim, PatientID=path.stem, PatientSex="M", PatientAge="050Y"))
    dataset = DATASETS.get("siim")
    prepared = prepare(dataset, root, size=64, scaling=scaling)
    expected = np.rint(dim * (255 / dim.max())).astype(int) if scaling == "mgca" else dim
    pixels = prepared.image_store.pixels[prepared.image_store.positions[0]]
    assert np.abs(pixels.astype(int) - expected).max() <= (scaling == "mgca")
    assert pixels.max() == expected.max()


def test_another_scaling_is_another_data_hash(tmp_path: Path) -> None:
    root = tmp_path / "siim"
    write_siim(root)
    dataset = DATASETS.get("siim")
    default, mgca = (prepare(dataset, root, size=16, scaling=how) for how in ("range", "mgca"))
    assert default.data_hash == prepare(dataset, root, size=16).data_hash
    assert default.data_hash != mgca.data_hash


def test_every_kind_with_a_preset_of_gloria_or_mgca_reads_images_as_they_do() -> None:
    presets = [
        (kind, name)
        for kind in KINDS.names()
        for name in KINDS.get(kind).protocols()
        if name in ("gloria", "mgca")
    ]
    assert len(presets) >= 7
    assert all(KINDS.get(kind).scaling.get(name) == "mgca" for kind, name in presets)


@pytest.mark.parametrize("task", ["siim_seg", "rsna_det", "rsna_cls"])
def test_the_protocol_of_mgca_reads_images_as_mgca(task: str) -> None:
    kind = KINDS.get(TASKS.get(task).kind)
    assert kind.scaling.get("mgca") == "mgca"
    assert kind.scaling.get("benchx", "range") == "range"
