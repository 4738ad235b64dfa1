"""Radiographs in DICOM: from the bytes of a file to grey values of 8 bits.

docs/data.md tells what is read and what is refused. The order is that of the standard: stored
bits, modality LUT or rescale, VOI LUT (where asked for), then 8 bits and the inversion of
MONOCHROME1.
"""

from __future__ import annotations

import io
import re
import struct
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from bench.contracts import Scaling
from bench.core.errors import DataError
from bench.core.files import inflate
from bench.data.codecs import NATIVE, first_frame
from bench.data.elements import LEAVE_OUT, element, integer, number, sequence_item, text
from bench.data.grey import check_pixels, luma, to_uint8
from bench.data.lookup import apply_palette, look_up

if TYPE_CHECKING:
    import pydicom

GREY = ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR")
COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
_DEFLATED = "1.2.840.10008.1.2.1.99"
_MARK = b"DICM"
_RARE = 0.02  # zeros in fewer pixels than this share are not the background of a picture
_SLIPS = ("ignore", None, Warning, re.compile("pydicom"), 0)


# --------------------------------------------------------------------------------------------- file
def is_dicom(head: bytes) -> bool:
    """Return whether bytes (132 at least, where the file has them) begin a DICOM file: with its
    preamble, or without one with elements of group 2 or 8."""
    if head[128:132] == _MARK:
        return True
    if len(head) < 8:
        return False
    return any(_begins_group(head, order) for order in "<>")


def _begins_group(head: bytes, order: str) -> bool:
    group, name = struct.unpack(f"{order}HH", head[:4])
    if group not in (2, 8) or name > 0x0100:
        return False
    explicit = head[4:6].isalpha() and head[4:6].isupper()
    (length,) = struct.unpack("<I", head[4:8])
    return explicit or (order == "<" and length <= 256 and length % 2 == 0)


def open_dataset(
    file: BinaryIO, path: object, *, header_only: bool = False, tags: list[str] | None = None
) -> pydicom.Dataset:
    """Read a DICOM data set (only its header, only some elements); its file meta always state the
    transfer syntax.

    A deflated one is unpacked within the size limit of an image first. Raise whatever pydicom does
    for bytes that are none, DataError for a deflated part that is damaged or too large.
    """
    import pydicom
    from pydicom.uid import UID

    _ignore_slips()
    file = _inflated(file, path)
    header = pydicom.dcmread(
        file, force=True, stop_before_pixels=header_only, specific_tags=tags or None
    )
    if not header.file_meta.get("TransferSyntaxUID"):
        implicit, little = header.original_encoding
        explicit = "1.2.840.10008.1.2.1" if little else "1.2.840.10008.1.2.2"
        header.file_meta.TransferSyntaxUID = UID("1.2.840.10008.1.2" if implicit else explicit)
    return header


def _ignore_slips() -> None:
    """Leave out pydicom's warnings about harmless slips of a header (UIDs, padding, lengths): a
    file that is cut short raises. For the process, as files are read in several threads."""
    if _SLIPS not in warnings.filters:
        warnings.filterwarnings("ignore", module="pydicom")


def _inflated(file: BinaryIO, path: object) -> BinaryIO:
    """Return `file` at its start, or where it is deflated the same data set not deflated."""
    from pydicom.filebase import DicomBytesIO
    from pydicom.filereader import _read_file_meta_info  # as dcmread itself reads it
    from pydicom.filewriter import write_file_meta_info
    from pydicom.uid import ExplicitVRLittleEndian

    preamble = file.read(132)
    if preamble[128:] != _MARK:
        preamble = b""
    file.seek(len(preamble))
    meta = _read_file_meta_info(file)
    if meta.get("TransferSyntaxUID") != _DEFLATED:
        file.seek(0)
        return file
    body = inflate(file.read(), str(path), "image")
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    plain = DicomBytesIO()
    write_file_meta_info(plain, meta, enforce_standard=False)
    return io.BytesIO(bytes(128) + _MARK + plain.getvalue() + body)


# ------------------------------------------------------------------------------------------- layout
@dataclass(frozen=True)
class Layout:
    """How the pixels of a DICOM file lie in it."""

    rows: int
    columns: int
    samples: int
    allocated: int
    bits: int
    high: int
    signed: bool
    photometric: str
    native: bool

    @property
    def size(self) -> int:
        """Return the bytes of one uncompressed frame."""
        size = self.rows * self.columns * self.samples * self.allocated // 8
        return size * 2 // 3 if self.photometric == "YBR_FULL_422" else size


def layout(header: pydicom.Dataset) -> Layout:
    """Return how the pixels lie; raise DataError naming the element for what is missing, impossible
    or not read, ValueError where a file that should have pixels ends before them."""
    _check_pixel_data(header)
    frames = integer(header, "NumberOfFrames", 1)
    if frames > 1:
        raise DataError(
            f"it has {frames} frames; one was expected.",
            "Save the frame that is the radiograph as a file of its own, or leave the file out "
            "with --on-error skip.",
        )
    bits = integer(header, "BitsStored")
    made = Layout(
        integer(header, "Rows"),
        integer(header, "Columns"),
        integer(header, "SamplesPerPixel"),
        integer(header, "BitsAllocated"),
        bits,
        integer(header, "HighBit", bits - 1),
        bool(integer(header, "PixelRepresentation")),
        text(header, "PhotometricInterpretation").upper(),
        str(header.file_meta.TransferSyntaxUID) in NATIVE,
    )
    _check_layout(made, header)
    return made


def _check_pixel_data(header: pydicom.Dataset) -> None:
    for keyword in ("FloatPixelData", "DoubleFloatPixelData"):
        if keyword in header:
            raise DataError(
                f"its pixels are {element(keyword)}, which is not read.",
                "Save it with whole numbers, or leave it out with --on-error skip.",
            )
    if "PixelData" in header and header["PixelData"].value:
        return
    if "Rows" in header or not len(header):  # pydicom drops all elements where a file ends in one
        raise ValueError("it ends before its pixels")
    kind = f" ({header.SOPClassUID.name})" if header.get("SOPClassUID") else ""
    raise DataError(
        f"it is a DICOM file without an image{kind}.", "Check the table, or use --on-error skip."
    )


def _check_layout(made: Layout, header: pydicom.Dataset) -> None:
    check_pixels(made.rows, made.columns)
    if made.photometric not in (*GREY, *COLOUR):
        _refuse("PhotometricInterpretation", made.photometric, f"one of {', '.join(GREY + COLOUR)}")
    samples = 1 if made.photometric in GREY else 3
    if made.samples != samples:
        _refuse("SamplesPerPixel", made.samples, f"{samples} for {made.photometric}")
    if made.allocated not in (8, 16, 32):
        _refuse("BitsAllocated", made.allocated, "8, 16 or 32")
    if not 1 <= made.bits <= made.allocated:
        _refuse("BitsStored", made.bits, f"1 to {made.allocated} (BitsAllocated)")
    if not made.bits - 1 <= made.high < made.allocated:
        _refuse("HighBit", made.high, f"{made.bits - 1} for {made.bits} bits stored")
    if not made.native and made.high != made.bits - 1:
        _refuse("HighBit", made.high, f"{made.bits - 1} in compressed pixels")
    if samples == 3:
        planar = integer(header, "PlanarConfiguration", 0)
        if planar not in (0, 1):
            _refuse("PlanarConfiguration", planar, "0 or 1")
        header.PlanarConfiguration = planar
    if made.native and header["PixelData"].is_undefined_length:
        raise DataError(
            "its transfer syntax is an uncompressed one and its pixels are compressed.", LEAVE_OUT
        )


def _refuse(keyword: str, value: object, expected: str) -> None:
    raise DataError(f"its {element(keyword)} is {value}; {expected} was expected.", LEAVE_OUT)


# ------------------------------------------------------------------------------------------- pixels
def decode_dicom(data: bytes, path: object, voi_lut: bool, scaling: Scaling) -> np.ndarray:
    """Return the grey values [H, W] of a DICOM file; see `bench.data.images.read_image`."""
    header = open_dataset(io.BytesIO(data), path)
    made = layout(header)
    stored = _stored(header, made)
    if made.photometric == "PALETTE COLOR":
        stored = apply_palette(stored, header)
    elif made.native:
        _check_tail(stored, header)
    if scaling == "mgca":
        return _scale_mgca(stored, inverted=made.photometric == "MONOCHROME1")
    return _scale_range(stored, header, made, voi_lut)


def _stored(header: pydicom.Dataset, made: Layout) -> np.ndarray:
    """Return the stored values [H, W], colour as luma."""
    if made.native and len(header.PixelData) < made.size:
        raise ValueError(f"the pixel data have {len(header.PixelData)} of {made.size} bytes")
    frame, space = first_frame(header, made.samples, made.bits)
    values = _without_unused_bits(frame, made)
    if made.samples == 1:
        return values
    return values[..., 0] if space.startswith("YBR_FULL") else luma(values)


def _without_unused_bits(frame: np.ndarray, made: Layout) -> np.ndarray:
    """Return values in the container the header states, from their stored bits alone: those above
    (overlays, in old files) are no part of the picture, and the sign is the highest stored bit."""
    container = np.dtype(f"{'i' if made.signed else 'u'}{made.allocated // 8}")
    if frame.dtype.itemsize > container.itemsize:
        _refuse("BitsAllocated", made.allocated, f"{8 * frame.dtype.itemsize} for these pixels")
    values = frame.astype(container)
    if made.bits == made.allocated:
        return values
    values = np.left_shift(values, made.allocated - 1 - made.high)
    return np.right_shift(values, made.allocated - made.bits)


def _check_tail(stored: np.ndarray, header: pydicom.Dataset) -> None:
    """Raise DataError where the end of the pixels was never written: zeros from the middle of a row
    to the end of a picture in which zero is no background."""
    if stored[-1].any() or number(header, "PixelPaddingValue", -1) == 0:
        return
    values = stored.ravel()
    used = np.flatnonzero(values)
    if not len(used):
        return
    end = int(used[-1]) + 1
    if end % stored.shape[1] and end - len(used) < _RARE * end:
        raise DataError(
            f"its {element('PixelData')} is all zero from row {end // stored.shape[1]}, column "
            f"{end % stored.shape[1]} to its end: the file was not written or downloaded to the "
            "end.",
            "Download it again, or leave it out with --on-error skip.",
        )


def _scale_mgca(stored: np.ndarray, *, inverted: bool) -> np.ndarray:
    import cv2

    top = float(stored.max())
    grey: np.ndarray
    if not top:
        grey = np.zeros(stored.shape, np.uint8)
    else:
        values = stored.astype(np.float64) if stored.dtype.itemsize == 4 else stored
        grey = cv2.convertScaleAbs(values, alpha=255.0 / top)
    return cv2.bitwise_not(grey) if inverted else grey


def _scale_range(
    stored: np.ndarray, header: pydicom.Dataset, made: Layout, voi_lut: bool
) -> np.ndarray:
    values = stored if made.photometric == "PALETTE COLOR" else _modality(stored, header)
    if voi_lut and made.photometric in ("MONOCHROME1", "MONOCHROME2"):
        values = _voi(values, header)
    padding = _padding(stored, header, made)
    grey = to_uint8(values, keep=None if padding is None else ~padding)
    if made.photometric == "MONOCHROME1":
        as_stored = values is stored and stored.dtype == np.uint8
        white = (1 << made.bits) - 1 if as_stored else 255
        grey = np.uint8(white) - grey
    return grey if padding is None else np.where(padding, np.uint8(0), grey)


def _modality(stored: np.ndarray, header: pydicom.Dataset) -> np.ndarray:
    """Return the values after the modality LUT, else after slope and intercept."""
    item = sequence_item(header, "ModalityLUTSequence")
    if item is not None:
        return look_up(stored, item, header, "ModalityLUTSequence")
    slope = number(header, "RescaleSlope", 1.0)
    intercept = number(header, "RescaleIntercept", 0.0)
    if slope == 1 and intercept == 0:
        return stored
    with np.errstate(all="ignore"):
        values = stored.astype(np.float64) * slope + intercept
        contrast = float(values.max()) - float(values.min())
        expected = abs(slope) * (float(stored.max()) - float(stored.min()))
    if not 1e-30 < abs(slope) < 1e30 or not abs(contrast - expected) <= 1e-3 * expected:
        raise DataError(
            f"its {element('RescaleSlope')} is {slope:g} and its {element('RescaleIntercept')} "
            f"{intercept:g}: they leave no picture of its pixels.",
            LEAVE_OUT,
        )
    return values


def _voi(values: np.ndarray, header: pydicom.Dataset) -> np.ndarray:
    """Return the values after the first VOI LUT, else the first window, else unchanged."""
    from pydicom.pixels import apply_windowing

    item = sequence_item(header, "VOILUTSequence")
    if item is not None:
        return look_up(values, item, header, "VOILUTSequence")
    if not (header.get("WindowCenter") and header.get("WindowWidth")):
        return values
    number(header, "WindowCenter", first=True)
    width = number(header, "WindowWidth", first=True)
    if width < 1:
        _refuse("WindowWidth", f"{width:g}", "1 or more")
    return apply_windowing(values, header)


def _padding(stored: np.ndarray, header: pydicom.Dataset, made: Layout) -> np.ndarray | None:
    """Return which pixels are padding [H, W]; None where none or all are, and for bytes, which stay
    as they are."""
    if header.get("PixelPaddingValue") is None or stored.dtype == np.uint8 or made.samples > 1:
        return None
    first = _in_container(number(header, "PixelPaddingValue"), made)
    last = _in_container(number(header, "PixelPaddingRangeLimit", first), made)
    lowest = min(first, last)
    highest = max(first, last)
    mask = (stored >= lowest) & (stored <= highest)
    return mask if mask.any() and not mask.all() else None


def _in_container(value: float, made: Layout) -> float:
    """Return a value that was written without its sign with it."""
    half = 1 << (made.allocated - 1)
    return value - 2 * half if made.signed and value >= half else value
