"""One reader for DICOM, JPEG and PNG radiographs, and the resize that puts them on a square."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from bench.errors import DataError

if TYPE_CHECKING:
    import pydicom
    from PIL import Image

RECIPE_VERSION = 1
"""Raise when any pixel that `read_image` or `resize_pad` gives changes: the image cache is keyed by
it."""

Scaling = Literal["range", "mgca"]
Interpolation = Literal["area", "bilinear", "bicubic", "nearest"]
SUFFIXES = (".dcm", ".dicom", ".jpg", ".jpeg", ".png")


def read_image(path: Path, *, voi_lut: bool = False, scaling: Scaling = "range") -> np.ndarray:
    """Read a radiograph as grey uint8 [H, W]: DICOM (8 to 16 bit, one frame), JPEG or PNG (8 or 16
    bit).

    `scaling="range"` (default): the modality LUT (rescale) is applied, then the VOI LUT when
    `voi_lut`; 8-bit values stay as they are stored, anything else is mapped linearly from its own
    minimum..maximum (DICOM padding values left out) to 0..255, and MONOCHROME1 is inverted.
    `scaling="mgca"`: as MGCA and GLoRIA read DICOM: stored values times 255/maximum, saturated, no
    rescale, no VOI LUT, MONOCHROME1 inverted bit by bit (PROTOCOLS.md 2.1). Colour becomes luma
    (ITU-R 601); transparent pixels become black; the EXIF orientation is ignored, so that masks and
    boxes in stored pixels stay true. Raise DataError naming `path` for a missing, truncated,
    corrupt, multi-frame or unknown file.
    """
    return decode_image(read_bytes(path), path, voi_lut=voi_lut, scaling=scaling)


def read_bytes(path: Path | str) -> bytes:
    """Return a file's content; raise DataError naming it where it is missing, unreadable or empty."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise DataError(
            f"file {path} cannot be read ({error.strerror or error}).", "Check the download."
        ) from error
    if not data:
        raise DataError(f"file {path} is empty.", "Download it again.")
    return data


def decode_image(
    data: bytes, path: Path | str, *, voi_lut: bool = False, scaling: Scaling = "range"
) -> np.ndarray:
    """Decode the content of an image file as `read_image` does; `path` only names it in errors."""
    decoder = _decoder(data)
    if decoder is None:
        raise DataError(f"image {path} is neither DICOM, JPEG nor PNG.", "Check the download.")
    try:
        image = decoder(data, voi_lut, scaling)
    except DataError as error:
        raise DataError(f"image {path}: {error.args[0]}", error.hint) from error
    except Exception as error:  # decoders of foreign bytes raise anything; whatever it is, the file is what is wrong
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(
            f"image {path} is truncated or corrupt: {reason}.",
            "Download it again, or use --on-error skip.",
        ) from error
    if image.ndim != 2 or image.size == 0:
        raise DataError(
            f"image {path} has shape {image.shape}; one grey frame [H, W] was expected."
        )
    return np.ascontiguousarray(image)


def _decoder(data: bytes) -> Any:
    if data[128:132] == b"DICM":
        return _decode_dicom
    if data[:2] == b"\xff\xd8" or data[:8] == b"\x89PNG\r\n\x1a\n":
        return _decode_picture
    return None


# -------------------------------------------------------------------------------------------------------------- DICOM
def _decode_dicom(data: bytes, voi_lut: bool, scaling: Scaling) -> np.ndarray:
    import pydicom

    with warnings.catch_warnings():
        # pydicom warns about harmless header slips (UIDs, padding); a file cut short raises below,
        # in every transfer syntax.
        warnings.simplefilter("ignore")
        header = pydicom.dcmread(io.BytesIO(data))
        if int(header.get("NumberOfFrames") or 1) > 1:
            raise DataError(
                f"{header.NumberOfFrames} frames; one was expected.",
                "Multi-frame objects are no radiographs.",
            )
        if "PixelData" not in header:
            raise ValueError("no pixel data")
        stored = _luma(header.pixel_array)
        return (
            _scale_mgca(stored, header)
            if scaling == "mgca"
            else _scale_range(stored, header, voi_lut)
        )


def _luma(pixels: np.ndarray) -> np.ndarray:
    if pixels.ndim == 3 and pixels.shape[-1] == 3:
        return np.rint(pixels @ np.array([0.299, 0.587, 0.114])).astype(pixels.dtype)
    return pixels


def _scale_range(stored: np.ndarray, header: pydicom.Dataset, voi_lut: bool) -> np.ndarray:
    from pydicom.pixels import apply_modality_lut, apply_voi_lut

    values = stored if _rescale_is_identity(header) else apply_modality_lut(stored, header)
    if voi_lut:
        values = apply_voi_lut(values, header)
    padding = _padding(stored, header)
    grey = to_uint8(values, keep=None if padding is None else ~padding)
    if header.get("PhotometricInterpretation") == "MONOCHROME1":
        grey = 255 - grey
    return grey if padding is None else np.where(padding, np.uint8(0), grey)


def _rescale_is_identity(header: pydicom.Dataset) -> bool:
    slope, intercept = header.get("RescaleSlope"), header.get("RescaleIntercept")
    no_rescale = float(1 if slope is None else slope) == 1 and float(intercept or 0) == 0
    return no_rescale and "ModalityLUTSequence" not in header


def _padding(stored: np.ndarray, header: pydicom.Dataset) -> np.ndarray | None:
    first = header.get("PixelPaddingValue")
    if first is None or stored.dtype == np.uint8:
        return None
    last = header.get("PixelPaddingRangeLimit", first)
    mask = (stored >= min(first, last)) & (stored <= max(first, last))
    return mask if mask.any() and not mask.all() else None


def _scale_mgca(stored: np.ndarray, header: pydicom.Dataset) -> np.ndarray:
    import cv2

    top = float(stored.max())
    grey = (
        cv2.convertScaleAbs(stored, alpha=255.0 / top) if top else np.zeros(stored.shape, np.uint8)
    )
    return (
        cv2.bitwise_not(grey) if header.get("PhotometricInterpretation") == "MONOCHROME1" else grey
    )


def to_uint8(values: np.ndarray, keep: np.ndarray | None = None) -> np.ndarray:
    """Map `values` linearly from their minimum..maximum (over `keep`) to 0..255; uint8 passes
    unchanged, a constant gives 0."""
    if values.dtype == np.uint8:
        return values
    counted = values if keep is None else values[keep]
    low, high = counted.min(), counted.max()
    if high == low:
        return np.zeros(values.shape, np.uint8)
    clipped = values if keep is None else np.clip(values, low, high)
    if values.dtype.kind in "iu" and int(high) - int(low) < 1 << 16:
        steps = np.arange(int(high) - int(low) + 1)
        return np.rint(steps * (255.0 / steps[-1])).astype(np.uint8)[
            clipped.astype(np.int64) - int(low)
        ]
    return np.rint(
        (clipped.astype(np.float64) - float(low)) * (255.0 / (float(high) - float(low)))
    ).astype(np.uint8)


# --------------------------------------------------------------------------------------------------------- JPEG, PNG
def _decode_picture(data: bytes, voi_lut: bool, scaling: Scaling) -> np.ndarray:
    from PIL import Image

    if data[:2] != b"\xff\xd8" and b"IEND" not in data[-4096:]:
        raise ValueError("the PNG ends before its IEND chunk")
    with Image.open(io.BytesIO(data)) as picture:
        pixels = _grey(picture)
    if scaling == "mgca" and pixels.dtype != np.uint8:
        return np.rint(pixels * (255.0 / max(float(pixels.max()), 1.0))).astype(np.uint8)
    return to_uint8(pixels)


def _grey(picture: Image.Image) -> np.ndarray:
    """Return the grey values [H, W] of a picture: 16-bit where it is stored so, else uint8."""
    if picture.mode.startswith("I") or picture.mode == "F":
        return np.asarray(picture)
    if "A" not in picture.getbands() and "transparency" not in picture.info:
        return np.asarray(picture.convert("L"))
    grey, alpha = (
        np.asarray(band, np.uint16) for band in picture.convert("RGBA").convert("LA").split()
    )
    return ((grey * alpha + 127) // 255).astype(np.uint8)


# ------------------------------------------------------------------------------------------------------------- resize
def resize_pad(image: np.ndarray, size: int, interpolation: Interpolation = "area") -> np.ndarray:
    """Resize the long side of [H, W] to `size`, the other to int(side * size / long), and centre it
    on zeros [size, size].

    Padding is floor at the left and the top, ceil at the right and the bottom (MGCA, GLoRIA:
    PROTOCOLS.md 2.1).
    """
    import cv2

    height, width = image.shape
    new_height, new_width = (
        max(1, int(side * size / max(height, width))) for side in (height, width)
    )
    if (new_height, new_width) != (height, width):
        image = cv2.resize(image, (new_width, new_height), interpolation=_flag(interpolation))
    padded = np.zeros((size, size), image.dtype)
    top, left = (size - new_height) // 2, (size - new_width) // 2
    padded[top : top + new_height, left : left + new_width] = image
    return padded


def resize_pad_mask(
    mask: np.ndarray, size: int, interpolation: Literal["area", "nearest"] = "area"
) -> np.ndarray:
    """Bring 0/1 masks [C, H, W] (or one [H, W]) to the square of `resize_pad`, as 0/1.

    "area": a pixel is set where the structure covers at least half of it; "nearest": where it
    covers the pixel's sample.
    """
    if mask.ndim == 3:
        return np.stack([resize_pad_mask(one, size, interpolation) for one in mask])
    binary = (mask > 0).astype(np.uint8)
    if interpolation == "nearest":
        return resize_pad(binary, size, "nearest")
    return (resize_pad(binary * 255, size, "area") >= 128).astype(np.uint8)


def _flag(interpolation: Interpolation) -> int:
    import cv2

    flags = {
        "area": cv2.INTER_AREA,
        "bilinear": cv2.INTER_LINEAR,
        "bicubic": cv2.INTER_CUBIC,
        "nearest": cv2.INTER_NEAREST,
    }
    return flags[interpolation]
