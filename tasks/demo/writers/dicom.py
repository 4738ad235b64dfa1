"""Write a demo image as a DICOM file without a time stamp: the same input gives the same bytes."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from tasks.demo.writers import manifest


def uids(*parts: object) -> list[str]:
    """Return the UIDs of study, series and image of a demo file known by `parts` (dataset, seed,
    number)."""
    return [manifest.uid(*parts, level) for level in ("study", "series", "image")]


def dicom_bytes(
    pixels: np.ndarray,
    names: Sequence[str],
    header: Mapping[str, Any],
    *,
    bits: int = 8,
    jpeg: int = 0,
) -> bytes:
    """Return a DICOM file of stored values [H, W], uint8 or uint16.

    `names` are the UIDs of study, series and image; `header` sets further fields by keyword; `bits`
    are the bits stored. Explicit little endian, or with `jpeg` (a quality, 8 bit only) JPEG
    baseline.
    """
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import (
        UID,
        ExplicitVRLittleEndian,
        JPEGBaseline8Bit,
        SecondaryCaptureImageStorage,
    )

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = UID(names[2])
    meta.TransferSyntaxUID = JPEGBaseline8Bit if jpeg else ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(manifest.uid("place-bench demo"))
    file = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    file.SOPClassUID = SecondaryCaptureImageStorage
    file.SOPInstanceUID = UID(names[2])
    file.StudyInstanceUID = names[0]
    file.SeriesInstanceUID = names[1]
    file.Modality = "CR"
    file.BodyPartExamined = "CHEST"
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # a field may be written as the real data set has it, against the standard
        for key, value in header.items():
            setattr(file, key, value)
    file.Rows, file.Columns = pixels.shape
    file.SamplesPerPixel = 1
    file.PixelRepresentation = 0
    file.BitsAllocated = 8 * pixels.itemsize
    file.BitsStored = bits
    file.HighBit = bits - 1
    file.PixelData = (
        _encapsulated(pixels, jpeg) if jpeg else pixels.tobytes() + b"\0" * (pixels.nbytes % 2)
    )
    file["PixelData"].VR = "OB" if pixels.itemsize == 1 else "OW"
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def _encapsulated(pixels: np.ndarray, quality: int) -> bytes:
    from pydicom.encaps import encapsulate

    _, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return encapsulate([data.tobytes()])
