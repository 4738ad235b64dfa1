"""Write tiny DICOM files for the tests."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    RLELossless,
)

CLASS_UID = UID("1.2.840.10008.5.1.4.1.1.1")


def dicom_bytes(
    pixels: np.ndarray,
    *,
    bits: int = 8,
    jpeg: bool = False,
    syntax: str = "",
    stream: bytes = b"",
    **fields: Any,
) -> bytes:
    """Return a DICOM of `pixels` [H, W] (or [N, H, W]); `fields` are set by keyword.

    `syntax` is the transfer syntax (RLE is compressed here), `stream` its compressed pixels; a
    colour picture is [1, H, W, 3] and says so with its fields.
    """
    header = Dataset()
    header.file_meta = FileMetaDataset()
    chosen = UID(syntax or (JPEGBaseline8Bit if jpeg else ExplicitVRLittleEndian))
    rle = chosen == RLELossless
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian if rle else chosen
    header.file_meta.MediaStorageSOPClassUID = header.SOPClassUID = CLASS_UID
    header.SOPInstanceUID = UID(fields.pop("uid", "1.2.3.4"))
    header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID
    header.Rows, header.Columns = pixels.shape[1:3] if pixels.ndim == 4 else pixels.shape[-2:]
    if pixels.ndim == 3:
        header.NumberOfFrames = len(pixels)
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
    header.PixelRepresentation = int(pixels.dtype.kind == "i")
    header.BitsAllocated, header.BitsStored, header.HighBit = (
        8 * pixels.dtype.itemsize,
        bits,
        bits - 1,
    )
    for keyword, value in fields.items():
        setattr(header, keyword, value)
    stream = _jpeg(pixels) if jpeg else stream
    big = chosen == ExplicitVRBigEndian
    plain = (pixels.astype(pixels.dtype.newbyteorder(">")) if big else pixels).tobytes()
    header.PixelData = encapsulate([stream]) if stream else plain + b"\0" * (len(plain) % 2)
    header["PixelData"].VR = "OW" if pixels.dtype.itemsize > 1 and not stream else "OB"
    if rle:
        header.compress(RLELossless, encoding_plugin="pydicom")
    out = io.BytesIO()
    header.save_as(out, enforce_file_format=True)
    return out.getvalue()


def _jpeg(pixels: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=95)
    return out.getvalue()


def write_dicom(path: Path, pixels: np.ndarray, **fields: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(dicom_bytes(pixels, **fields))
    return path
