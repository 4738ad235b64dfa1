"""The reader gives the right grey values, and names a file it cannot read."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from bench.core.errors import DataError
from bench.data.grey import to_uint8
from bench.data.images import decode_image, read_image, resize_pad, resize_pad_mask
from tests.bench.data.dicoms import dicom_bytes, write_dicom


def ramp(bits: int, dtype: type = np.uint16, shape: tuple[int, int] = (16, 32)) -> np.ndarray:
    return np.linspace(0, 2**bits - 1, shape[0] * shape[1]).round().astype(dtype).reshape(shape)


def picture_bytes(image: Image.Image, kind: str = "PNG") -> bytes:
    out = io.BytesIO()
    image.save(out, kind)
    return out.getvalue()


def smooth(size: int = 64) -> np.ndarray:
    y, x = np.mgrid[:size, :size]
    return (127 + 60 * np.sin(x / 9) + 60 * np.cos(y / 7)).astype(np.uint8)


# -------------------------------------------------------------------------------------------- DICOM
def test_8_bit_dicom_is_read_as_stored() -> None:
    stored = np.random.default_rng(0).integers(20, 180, (12, 10), dtype=np.uint8)
    assert (decode_image(dicom_bytes(stored), "x") == stored).all()


@pytest.mark.parametrize("bits", [10, 12, 15, 16])
def test_deep_dicom_is_mapped_from_its_range(bits: int) -> None:
    stored = ramp(bits)
    expected = np.rint(stored * 255.0 / (2**bits - 1)).astype(np.uint8)
    assert (decode_image(dicom_bytes(stored, bits=bits), "x") == expected).all()


def test_signed_dicom_with_rescale() -> None:
    stored = np.array([[-1000, 0], [500, 1000]], np.int16)
    image = decode_image(dicom_bytes(stored, bits=16, RescaleSlope=2, RescaleIntercept=10), "x")
    assert image.tolist() == [[0, 128], [191, 255]]


def test_negative_rescale_slope_turns_the_image_over() -> None:
    stored = np.array([[0, 100], [200, 255]], np.uint8)
    image = decode_image(dicom_bytes(stored, RescaleSlope=-1, RescaleIntercept=255), "x")
    assert image.tolist() == (255 - stored).tolist()


@pytest.mark.parametrize("bits", [8, 12])
def test_monochrome1_is_inverted(bits: int) -> None:
    stored = ramp(bits, np.uint8 if bits == 8 else np.uint16)
    normal = decode_image(dicom_bytes(stored, bits=bits), "x")
    inverted = decode_image(
        dicom_bytes(stored, bits=bits, PhotometricInterpretation="MONOCHROME1"), "x"
    )
    assert (inverted == 255 - normal).all()


def test_voi_window_is_applied_only_when_asked() -> None:
    stored = ramp(12)
    data = dicom_bytes(stored, bits=12, WindowCenter=2048, WindowWidth=1000)
    plain, windowed = decode_image(data, "x"), decode_image(data, "x", voi_lut=True)
    assert (plain == decode_image(dicom_bytes(stored, bits=12), "x")).all()
    assert (windowed[stored < 1500] == 0).all()
    assert (windowed[stored > 2600] == 255).all()
    assert 0 < windowed[np.abs(stored.astype(int) - 2048) < 20].mean() < 255


def test_voi_lut_sequence_is_applied() -> None:
    lut = Dataset()
    lut.LUTDescriptor, lut.LUTData = (
        [256, 0, 16],
        np.arange(65535, 65535 - 256 * 100, -100, dtype=np.uint16).tobytes(),
    )
    lut["LUTData"].VR = "OW"
    stored = np.arange(256, dtype=np.uint8).reshape(16, 16)
    data = dicom_bytes(stored, VOILUTSequence=Sequence([lut]))
    assert (decode_image(data, "x", voi_lut=True) == 255 - stored).all()


def test_padding_value_does_not_stretch_the_range() -> None:
    stored = np.array([[1000, 2000], [65535, 1500]], np.uint16)
    image = decode_image(dicom_bytes(stored, bits=16, PixelPaddingValue=65535), "x")
    assert image.tolist() == [[0, 255], [0, 128]]


def test_mgca_scaling_is_stored_values_times_255_over_the_maximum() -> None:
    stored = np.array([[0, 100], [1000, 2000]], np.uint16)
    fields: dict[str, Any] = {
        "bits": 12,
        "RescaleSlope": 1,
        "RescaleIntercept": -1024,
        "PhotometricInterpretation": "MONOCHROME1",
    }
    image = decode_image(dicom_bytes(stored, **fields), "x", scaling="mgca")
    assert image.tolist() == [
        [255, 242],
        [127, 0],
    ]  # 12.75 -> 13, 127.5 -> 128 (half to even), then bitwise not


def test_jpeg_compressed_dicom() -> None:
    image = decode_image(dicom_bytes(smooth(), jpeg=True), "x")
    assert np.abs(image.astype(int) - smooth()).max() <= 4


def test_constant_dicom_is_black() -> None:
    assert not decode_image(dicom_bytes(np.full((4, 4), 700, np.uint16), bits=12), "x").any()


def test_multi_frame_is_refused(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "cine.dcm", np.zeros((3, 8, 8), np.uint8))
    with pytest.raises(DataError, match=r"cine\.dcm.*3 frames"):
        read_image(path)


@pytest.mark.parametrize("jpeg", [False, True])
@pytest.mark.parametrize("kept", [0.3, 0.6, 0.9, 0.99])
def test_truncated_dicom_is_named(tmp_path: Path, kept: float, jpeg: bool) -> None:
    data = dicom_bytes(
        np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8), jpeg=jpeg
    )
    path = tmp_path / "short.dcm"
    path.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(DataError, match=r"short\.dcm is truncated or corrupt"):
        read_image(path)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1_000_000), st.sampled_from(["dcm", "dcm-jpeg", "png", "jpeg"]))
def test_no_cut_gives_an_image_of_another_content(cut: int, kind: str) -> None:
    pixels = smooth()
    data = {
        "dcm": lambda: dicom_bytes(pixels),
        "dcm-jpeg": lambda: dicom_bytes(pixels, jpeg=True),
        "png": lambda: picture_bytes(Image.fromarray(pixels)),
        "jpeg": lambda: picture_bytes(Image.fromarray(pixels), "JPEG"),
    }[kind]()
    whole, part = decode_image(data, "x"), data[: cut % len(data)]
    with contextlib.suppress(DataError):
        assert (
            decode_image(part, "x") == whole
        ).all()  # only what follows the pixels may be missing


# ---------------------------------------------------------------------------------------- JPEG, PNG
def test_8_bit_png_is_read_as_stored() -> None:
    assert (decode_image(picture_bytes(Image.fromarray(smooth())), "x") == smooth()).all()


def test_16_bit_png_is_mapped_from_its_range() -> None:
    stored = ramp(12) + 100
    expected = np.rint((stored - 100.0) * 255 / 4095).astype(np.uint8)
    assert (decode_image(picture_bytes(Image.fromarray(stored)), "x") == expected).all()


def test_colour_becomes_luma() -> None:
    colour = np.zeros((4, 4, 3), np.uint8)
    colour[..., 0] = 200
    assert decode_image(picture_bytes(Image.fromarray(colour)), "x")[0, 0] == round(200 * 0.299)


def test_transparent_pixels_become_black() -> None:
    rgba = np.full((2, 2, 4), 200, np.uint8)
    rgba[0, 0, 3], rgba[0, 1, 3], rgba[1, :, 3] = 0, 128, 255
    assert decode_image(picture_bytes(Image.fromarray(rgba)), "x").tolist() == [
        [0, 100],
        [200, 200],
    ]


def test_palette_png() -> None:
    grey = Image.fromarray(smooth()).quantize(16)
    assert np.abs(decode_image(picture_bytes(grey), "x").astype(int) - smooth()).max() < 40


@pytest.mark.parametrize(("name", "kind"), [("a.jpg", "JPEG"), ("a.png", "PNG")])
@pytest.mark.parametrize("kept", [0.2, 0.5, 0.9])
def test_truncated_picture_is_named(tmp_path: Path, name: str, kind: str, kept: float) -> None:
    data = picture_bytes(
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)), kind
    )
    (tmp_path / name).write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(DataError, match=f"{name} is truncated or corrupt"):
        read_image(tmp_path / name)


@pytest.mark.parametrize(
    ("content", "match"), [(b"", "is empty"), (b"hello", "is neither DICOM, JPEG nor PNG")]
)
def test_other_files_are_named(tmp_path: Path, content: bytes, match: str) -> None:
    (tmp_path / "odd.dcm").write_bytes(content)
    with pytest.raises(DataError, match=rf"odd\.dcm {match}"):
        read_image(tmp_path / "odd.dcm")


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.dcm cannot be read"):
        read_image(tmp_path / "gone.dcm")


# ------------------------------------------------------------------------------------------- resize
@settings(max_examples=100, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(8, 64))
def test_resize_pads_as_mgca(height: int, width: int, size: int) -> None:
    out = resize_pad(np.full((height, width), 255, np.uint8), size)
    new_height, new_width = (
        max(1, int(side * size / max(height, width))) for side in (height, width)
    )
    top, left = (size - new_height) // 2, (size - new_width) // 2
    expected = np.zeros((size, size), np.uint8)
    expected[top : top + new_height, left : left + new_width] = 255
    assert (out == expected).all()


def test_area_resize_averages() -> None:
    image = np.array([[0, 100], [200, 100]], np.uint8).repeat(2, 0).repeat(2, 1)
    assert resize_pad(image, 2).tolist() == [[0, 100], [200, 100]]


@pytest.mark.parametrize("interpolation", ["area", "nearest"])
def test_masks_stay_binary_and_on_the_image_grid(
    interpolation: Literal["area", "nearest"],
) -> None:
    mask = np.zeros((2, 60, 100), np.uint8)
    mask[0, 20:40, 30:70] = 1
    small = resize_pad_mask(mask, 50, interpolation)
    assert small.shape == (2, 50, 50)
    assert set(np.unique(small)) == {0, 1}
    assert not small[1].any()
    assert (small[0] == (resize_pad(mask[0] * 255, 50) >= 128)).all()


def test_area_mask_is_set_where_half_is_covered() -> None:
    mask = np.zeros((4, 4), np.uint8)
    mask[0, 0], mask[:2, 2] = 1, 1
    assert resize_pad_mask(mask, 2).tolist() == [[0, 1], [0, 0]]


@given(st.lists(st.integers(-30000, 30000), min_size=2, max_size=30))
def test_to_uint8_is_monotone_and_full_range(values: list[int]) -> None:
    array = np.array(values, np.int32)
    out = to_uint8(array)
    order = np.argsort(array, kind="stable")
    assert (np.diff(out[order].astype(int)) >= 0).all()
    assert (out.min(), out.max()) == ((0, 255) if array.min() < array.max() else (0, 0))
