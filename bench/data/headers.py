"""Read the few DICOM header fields that an index needs."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO


def read_header(file: Path | BinaryIO, tags: Sequence[str]) -> Mapping[str, str]:
    """Return the header fields `tags` (DICOM keywords) as text, "" where absent, without reading
    the pixels.

    An unreadable header gives "" throughout: such a file is named, or skipped and counted, when its
    pixels are decoded.
    """
    import pydicom
    from pydicom.errors import InvalidDicomError

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=list(tags))
            return {tag: str(header.get(tag) or "").strip() for tag in tags}
        except (
            InvalidDicomError,
            OSError,
            EOFError,
            ValueError,
            KeyError,
            NotImplementedError,
            TypeError,
        ):
            return dict.fromkeys(tags, "")


def read_shape(file: Path | BinaryIO) -> Mapping[str, str]:
    """Return `height` and `width` of an image file (or its bytes) in stored pixels as text, ""
    where the header does not read."""
    dicom = read_header(file, ("Rows", "Columns"))
    if dicom["Rows"]:
        return {"height": dicom["Rows"], "width": dicom["Columns"]}
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(file) as picture:
            return {"height": str(picture.height), "width": str(picture.width)}
    except (UnidentifiedImageError, OSError):
        return {"height": "", "width": ""}


def parse_age(text: str) -> float:
    """Return a DICOM age ("045Y", "006M", "51") in years; NaN where there is none."""
    digits, unit = text.strip().rstrip("YMWDymwd"), text.strip()[-1:].upper()
    if not digits.isdigit():
        return float("nan")
    return int(digits) * {"M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}.get(unit, 1.0)
