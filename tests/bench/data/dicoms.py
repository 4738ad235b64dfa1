"""Write tiny DICOM files for the tests."""

import io
from pathlib import Path

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit

CLASS_UID = "1.2.840.10008.5.1.4.1.1.1"


def dicom_bytes(
    pixels: np.ndarray, *, bits: int = 8, jpeg: bool = False, **fields: object
) -> bytes:
    """Return a DICOM of `pixels` [H, W] (or [N, H, W]); `fields` are set by keyword."""
    header = Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = JPEGBaseline8Bit if jpeg else ExplicitVRLittleEndian
    header.file_meta.MediaStorageSOPClassUID = header.SOPClassUID = CLASS_UID
    header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID = str(
        fields.pop("uid", "1.2.3.4")
    )
    header.Rows, header.Columns = pixels.shape[-2:]
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
    header.PixelData = encapsulate([_jpeg(pixels)]) if jpeg else pixels.tobytes()
    header["PixelData"].VR = "OB" if bits <= 8 else "OW"
    out = io.BytesIO()
    header.save_as(out, enforce_file_format=True)
    return out.getvalue()


def _jpeg(pixels: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=95)
    return out.getvalue()


def write_dicom(path: Path, pixels: np.ndarray, **fields: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(dicom_bytes(pixels, **fields))
    return path
