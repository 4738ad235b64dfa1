"""One reader for DICOM, JPEG and PNG radiographs, and the resize that puts them on a square."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np

from bench.contracts import Scaling
from bench.core.errors import DataError, PlaceBenchError
from bench.core.files import read_file

RECIPE_VERSION = 2
"""Raise when any pixel that `read_image` or `resize_pad` gives changes: the image cache is keyed by
it."""

Interpolation = Literal["area", "bilinear", "bicubic", "nearest"]
Decoder = Callable[[bytes, object, bool, Scaling], np.ndarray]
SUFFIXES = (".dcm", ".dicom", ".jpg", ".jpeg", ".png")
_ALL_PLUGINS = "Unable to decode as exceptions were raised by all available plugins: "
_OTHER_TYPES = (
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"GIF8", "GIF"),
    (b"BM", "BMP"),
    (b"\x1f\x8b", "gzip"),
    (b"PK\x03\x04", "a zip archive"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"%PDF", "PDF"),
    (b"<", "a web page or XML"),
    (b"version https://git-lfs", "a pointer of Git LFS, not the file itself"),
)


def read_image(path: Path, *, voi_lut: bool = False, scaling: Scaling = "range") -> np.ndarray:
    """Read a radiograph as grey uint8 [H, W]: DICOM (8 to 32 bit, one frame), JPEG or PNG (to 16
    bit), whatever its name ends with.

    `scaling="range"` (default): the modality LUT (rescale) is applied, then the VOI LUT when
    `voi_lut`; values stored in bytes stay as they are, anything else is mapped linearly from its
    own minimum..maximum (DICOM padding values left out) to 0..255, and MONOCHROME1 is inverted.
    `scaling="mgca"`: as MGCA and GLoRIA read DICOM: stored values times 255/maximum, saturated, no
    rescale, no VOI LUT, MONOCHROME1 inverted bit by bit. Colour becomes luma (ITU-R 601);
    transparent pixels become black; the EXIF orientation is ignored, so that masks and boxes in
    stored pixels stay true. docs/data.md has all that is read and refused. Raise DataError naming
    `path` for whatever is missing, truncated, corrupt, unknown or not read.
    """
    return decode_image(read_file(path, "image"), path, voi_lut=voi_lut, scaling=scaling)


def decode_image(
    data: bytes, path: Path | str, *, voi_lut: bool = False, scaling: Scaling = "range"
) -> np.ndarray:
    """Decode the content of an image file as `read_image` does; `path` only names it in errors."""
    if not data:
        raise DataError(f"file {path} is empty.", "Download it again.")
    decoder = _decoder(data[:132])
    if decoder is None:
        other = next((name for start, name in _OTHER_TYPES if data.startswith(start)), "")
        instead = f" (it is {other})" if other else ""
        raise DataError(
            f"image {path} is neither DICOM, JPEG nor PNG{instead}.", "Check the download."
        )
    try:
        image = decoder(data, path, voi_lut, scaling)
    except DataError as error:
        raise _named(error, path) from error
    except PlaceBenchError:
        raise
    # decoders of foreign bytes raise anything; whatever it is, the file is what is wrong
    except Exception as error:
        raise DataError(
            f"image {path} is truncated or corrupt: {_reason(error)}.",
            "Download it again, or use --on-error skip.",
        ) from error
    if image.ndim != 2 or image.size == 0:
        raise DataError(
            f"image {path} has shape {image.shape}; one grey frame [H, W] was expected."
        )
    return np.ascontiguousarray(image)


def image_type(head: bytes) -> str:
    """Return "DICOM", "PNG", "JPEG" or "" from the first 132 bytes of a file."""
    from bench.data.dicom import is_dicom

    if head[:8] == b"\x89PNG\r\n\x1a\n" and head[128:132] != b"DICM":
        return "PNG"
    if head[:3] == b"\xff\xd8\xff" and head[128:132] != b"DICM":
        return "JPEG"
    return "DICOM" if is_dicom(head) else ""


def _decoder(head: bytes) -> Decoder | None:
    from bench.data.dicom import decode_dicom
    from bench.data.pictures import decode_picture

    kind = image_type(head)
    if not kind:
        return None
    return decode_dicom if kind == "DICOM" else decode_picture


def _named(error: DataError, path: Path | str) -> DataError:
    """Return the error with the image's path in front, unless it says which file it is."""
    message = str(error.args[0])
    return (
        error if f"file {path} " in message else DataError(f"image {path}: {message}", error.hint)
    )


def _reason(error: Exception) -> str:
    """Return an exception as one line, without addresses of objects."""
    words = " ".join(str(error).split()).removeprefix(_ALL_PLUGINS)
    words = re.sub(r"<[\w.]+ object at 0x[0-9a-f]+>", "the file", words)
    return words[:200].rstrip(" .") or type(error).__name__


# ------------------------------------------------------------------------------------------- resize
def resize_pad(image: np.ndarray, size: int, interpolation: Interpolation = "area") -> np.ndarray:
    """Resize the long side of [H, W] to `size`, the other to int(side * size / long), and centre it
    on zeros [size, size].

    Padding is floor at the left and the top, ceil at the right and the bottom, as in MGCA's
    and GLoRIA's code.
    """
    import cv2

    height, width = image.shape
    new_height, new_width = (
        max(1, int(side * size / max(height, width))) for side in (height, width)
    )
    if (new_height, new_width) != (height, width):
        image = cv2.resize(image, (new_width, new_height), interpolation=_flag(interpolation))
    padded = np.zeros((size, size), image.dtype)
    top = (size - new_height) // 2
    left = (size - new_width) // 2
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
        return np.stack([resize_pad_mask(of_class, size, interpolation) for of_class in mask])
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
