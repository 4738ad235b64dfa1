"""Read the few header fields of image files that an index needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from bench.core.errors import SettingError
from bench.core.files import open_regular

_HEAD = 132  # bytes that tell the type of a file


def read_header(file: Path | BinaryIO, tags: Sequence[str]) -> Mapping[str, str]:
    """Return the header fields `tags` (DICOM keywords) as text, "" where absent, without reading
    the pixels.

    An unreadable header gives "" throughout: such a file is named, or skipped and counted, when its
    pixels are decoded.
    """
    from bench.data.dicom import is_dicom, open_dataset

    blank = dict.fromkeys(tags, "")
    try:
        with _opened(file) as stream:
            if not is_dicom(_head(stream)):
                return blank
            header = open_dataset(stream, file, header_only=True, tags=list(tags))
            return {tag: str(header.get(tag) or "").strip() for tag in tags}
    except SettingError:
        raise
    except Exception:  # readers of foreign bytes raise anything
        return blank


def read_shape(file: Path | BinaryIO) -> Mapping[str, str]:
    """Return `height` and `width` of an image file (or its bytes) in stored pixels as text, ""
    where the header does not read."""
    from bench.data.pictures import picture_size

    try:
        with _opened(file) as stream:
            if read_type(stream) == "DICOM":
                dicom = read_header(stream, ("Rows", "Columns"))
                return _shape(dicom["Rows"], dicom["Columns"])
            height, width = picture_size(stream)
            return _shape(str(height), str(width))
    except SettingError:
        raise
    except Exception:  # readers of foreign bytes raise anything
        return _shape("", "")


def read_type(file: Path | BinaryIO) -> str:
    """Return "DICOM", "PNG", "JPEG", or "" for another type, by what a file holds; raise DataError
    where it cannot be read."""
    from bench.data.images import image_type

    with _opened(file) as stream:
        return image_type(_head(stream))


def _shape(height: str, width: str) -> dict[str, str]:
    whole = height.isdecimal() and width.isdecimal()
    return {"height": height if whole else "", "width": width if whole else ""}


@contextmanager
def _opened(file: Path | BinaryIO) -> Iterator[BinaryIO]:
    if not isinstance(file, Path):
        yield file
        return
    with open_regular(file, "image") as stream:
        yield stream


def _head(stream: BinaryIO) -> bytes:
    stream.seek(0)
    head = stream.read(_HEAD)
    stream.seek(0)
    return head


_YEARS = {"M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}


def parse_age(text: str) -> float:
    """Return a DICOM age ("045Y", "006M", "51") in years; NaN where there is none."""
    text = text.strip()
    digits = text.rstrip("YMWDymwd")
    unit = text[-1:].upper()
    if not digits.isdigit():
        return float("nan")
    return int(digits) * _YEARS.get(unit, 1.0)
