"""Look-up tables of DICOM files: modality, VOI and palettes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.core.errors import DataError
from bench.data.elements import LEAVE_OUT, element
from bench.data.grey import luma

if TYPE_CHECKING:
    import pydicom

_COLOURS = ("Red", "Green", "Blue")
_WORD = 1 << 16


def look_up(
    values: np.ndarray, item: pydicom.Dataset, header: pydicom.Dataset, name: str
) -> np.ndarray:
    """Return what the table in `item` (of the sequence `name`) gives for `values`: uint8 for
    entries of 8 bits, else uint16."""
    table, first, bits = _table(item, "LUTDescriptor", "LUTData", header, f"{element(name)}: ")
    entries = _entries_for(values, table, _signed(first, values, header))
    return entries.astype(np.uint8 if bits == 8 else np.uint16)


def apply_palette(indices: np.ndarray, header: pydicom.Dataset) -> np.ndarray:
    """Return the luma uint8 of the colours that the palettes give for `indices`, black to white
    0 to 255."""
    if "SegmentedRedPaletteColorLookupTableData" in header:
        return _segmented(indices, header)
    planes = [_palette(indices, header, colour) for colour in _COLOURS]
    return luma(np.stack(planes, axis=-1)).astype(np.uint8)


def _palette(indices: np.ndarray, header: pydicom.Dataset, colour: str) -> np.ndarray:
    """Return one colour of the picture, 0..255: the upper eight bits of its entries."""
    name = f"{colour}PaletteColorLookupTable"
    table, first, bits = _table(header, f"{name}Descriptor", f"{name}Data", header, "")
    spare = 0 if int(table.max()) < 256 else bits - 8  # some call bytes words
    return _entries_for(indices, table >> spare, _signed(first, indices, header))


def _segmented(indices: np.ndarray, header: pydicom.Dataset) -> np.ndarray:
    from pydicom.pixels import apply_color_lut

    try:
        colours = apply_color_lut(indices, header)[..., :3]
    except (ValueError, AttributeError, KeyError, IndexError, TypeError) as error:
        raise DataError(f"its segmented palettes do not read ({error}).", LEAVE_OUT) from error
    return luma(colours.astype(np.int64) >> 8 * (colours.dtype.itemsize - 1)).astype(np.uint8)


def _entries_for(values: np.ndarray, table: np.ndarray, first: int) -> np.ndarray:
    """Return the entries for `values`; those before the first or behind the last get that one."""
    steps = np.rint(values).astype(np.int64) - first
    return table[np.clip(steps, 0, len(table) - 1)]


def _signed(first: int, values: np.ndarray, header: pydicom.Dataset) -> int:
    """Return the value that the first entry stands for with its sign, where it was written without
    and the values have one."""
    negative = header.get("PixelRepresentation") == 1 or float(values.min()) < 0
    if negative and first >= _WORD // 2:
        return first - _WORD
    return first


def _table(
    item: pydicom.Dataset, descriptor: str, data: str, header: pydicom.Dataset, where: str
) -> tuple[np.ndarray, int, int]:
    """Return the entries of a table, the value that the first one stands for, and their bits."""
    fields = item.get(descriptor)
    try:
        count, first, bits = (int(field) for field in fields)
    except (TypeError, ValueError):
        raise DataError(
            f"its {where}{element(descriptor)} is '{fields}'; three numbers were expected.",
            LEAVE_OUT,
        ) from None
    if not 8 <= bits <= 16:
        raise DataError(
            f"its {where}{element(descriptor)} states entries of {bits} bits; 8 to 16 were "
            "expected.",
            LEAVE_OUT,
        )
    table = _entries(item, data, count % _WORD or _WORD, header, where)
    if bits == 8 and table.max() > 255:  # bytes that stand in the upper half of words
        table = table >> 8
    return table, first, bits


def _entries(
    item: pydicom.Dataset, keyword: str, count: int, header: pydicom.Dataset, where: str
) -> np.ndarray:
    """Return `count` entries, which lie as words, or as bytes packed into words."""
    value = item.get(keyword)
    if isinstance(value, bytes):
        words = np.frombuffer(value[: len(value) // 2 * 2], "<u2" if _little(header) else ">u2")
    else:
        words = np.atleast_1d(np.asarray([] if value is None else value, np.int64)) & 0xFFFF
    if len(words) >= count:
        return words[:count].astype(np.int64)
    packed = np.frombuffer(words.astype("<u2").tobytes(), np.uint8)
    if len(packed) >= count:
        return packed[:count].astype(np.int64)
    raise DataError(
        f"its {where}{element(keyword)} has {len(words)} entries; {count} were expected.", LEAVE_OUT
    )


def _little(header: pydicom.Dataset) -> bool:
    return header.original_encoding[1] is not False
