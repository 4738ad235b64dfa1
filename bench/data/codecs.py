"""Which decoder reads the pixels of a DICOM transfer syntax, and how to install one that lacks."""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.core.errors import DataError
from bench.data.elements import LEAVE_OUT
from bench.data.grey import bound_pillow
from bench.data.pictures import jpeg_frame

if TYPE_CHECKING:
    import numpy as np
    import pydicom

ALL_DECODERS = "make setup-dicom"
"""The command that installs a decoder for every transfer syntax of `CODECS`."""

_LIBJPEG = "pip install pylibjpeg pylibjpeg-libjpeg"
_OPENJPEG = "pip install pylibjpeg pylibjpeg-openjpeg"
_PADDING = 16  # zero bytes behind an end marker; more of them are a hole in the file


@dataclass(frozen=True)
class Codec:
    """A compressed transfer syntax: its name, the pydicom plugins that read it right (tried in
    this order, so that one machine always gives the same pixels), and what to
    install where there is none."""

    name: str
    plugins: tuple[str, ...]
    install: str = ""


# Not GDCM: where a stream is damaged, it may end the process.
_LOSSLESS = ("pylibjpeg",)
_JPEG_LS = ("pylibjpeg", "pyjpegls")
_JPEG_8_BIT = ("pillow", "pylibjpeg")
_JPEG_2000 = ("pillow", "pylibjpeg")
_JPEG_2000_START = b"\xff\x4f\xff\x51"
_RLE = "1.2.840.10008.1.2.5"
_BASELINE = "1.2.840.10008.1.2.4.50"
CODECS: dict[str, Codec] = {
    _RLE: Codec("RLE Lossless", ("pydicom",)),
    _BASELINE: Codec("JPEG Baseline", _JPEG_8_BIT, _LIBJPEG),
    "1.2.840.10008.1.2.4.51": Codec("JPEG Extended", _JPEG_8_BIT, _LIBJPEG),
    "1.2.840.10008.1.2.4.57": Codec("JPEG Lossless (process 14)", _LOSSLESS, _LIBJPEG),
    "1.2.840.10008.1.2.4.70": Codec("JPEG Lossless", _LOSSLESS, _LIBJPEG),
    "1.2.840.10008.1.2.4.80": Codec("JPEG-LS Lossless", _JPEG_LS, _LIBJPEG),
    "1.2.840.10008.1.2.4.81": Codec("JPEG-LS Near-Lossless", _JPEG_LS, _LIBJPEG),
    "1.2.840.10008.1.2.4.90": Codec("JPEG 2000 Lossless", _JPEG_2000, _OPENJPEG),
    "1.2.840.10008.1.2.4.91": Codec("JPEG 2000", _JPEG_2000, _OPENJPEG),
    "1.2.840.10008.1.2.4.201": Codec("HTJ2K Lossless", ("pylibjpeg",), _OPENJPEG),
    "1.2.840.10008.1.2.4.202": Codec("HTJ2K Lossless RPCL", ("pylibjpeg",), _OPENJPEG),
    "1.2.840.10008.1.2.4.203": Codec("HTJ2K", ("pylibjpeg",), _OPENJPEG),
}
NATIVE = (
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2.1.99",
    "1.2.840.10008.1.2.2",
)
"""Uncompressed pixels: implicit, explicit and deflated little endian, explicit big endian."""


def readable() -> tuple[list[str], list[str]]:
    """Return the names of the compressed transfer syntaxes that this installation reads, and of
    those whose decoder is not installed (12-bit JPEG has a name of its own)."""
    able: list[str] = []
    unable: list[str] = []
    for syntax, codec in CODECS.items():
        deep = _plugins(syntax, bits=12, samples=1)
        plain = _plugins(syntax, bits=8, samples=1)
        (able if plain else unable).append(codec.name)
        if plain and not deep and codec.name == "JPEG Extended":
            unable.append("JPEG Extended of 12 bits")
    return able, unable


def first_frame(header: pydicom.Dataset, samples: int, bits: int) -> tuple[np.ndarray, str]:
    """Return the first frame, [H, W] or [H, W, 3], and the photometric interpretation it has now;
    colour of compressed data comes as RGB.

    Bits above BitsStored are left as they are. Raise DataError where no decoder reads the transfer
    syntax, or none that does is installed, ValueError where the data are cut short.
    """
    from pydicom.pixels import get_decoder

    syntax = str(header.file_meta.TransferSyntaxUID)
    options: dict[str, Any] = {"index": 0}
    if syntax in NATIVE:
        options["raw"] = True
        options["correct_unused_bits"] = False
    else:
        plugins = _needed_plugins(syntax, bits, samples)
        if syntax != _RLE:
            _require_end(header)
            _require_size(header)
        bound_pillow()
        if syntax == _BASELINE:  # its samples are bytes, whatever the header allocates
            options["bits_allocated"] = 8
            options["bits_stored"] = 8
        elif syntax == _RLE:
            options["correct_unused_bits"] = False
        return _by_the_first_able(header, syntax, plugins, options)
    frame, properties = get_decoder(syntax).as_array(header, **options)
    return frame, str(properties["photometric_interpretation"])


def _by_the_first_able(
    header: pydicom.Dataset, syntax: str, plugins: Sequence[str], options: Mapping[str, Any]
) -> tuple[np.ndarray, str]:
    """Return the frame of the first plugin that decodes it: a file that one decoder fails at is
    damaged only where all fail."""
    from pydicom.pixels import get_decoder

    decoder = get_decoder(syntax)
    for number, plugin in enumerate(plugins, start=1):
        try:
            frame, properties = decoder.as_array(header, decoding_plugin=plugin, **options)
        except RuntimeError:  # how pydicom reports that its plugin failed
            if number == len(plugins):
                raise
            continue
        return frame, str(properties["photometric_interpretation"])
    raise ValueError("no decoder was tried")


def _needed_plugins(syntax: str, bits: int, samples: int) -> list[str]:
    if syntax not in CODECS:
        raise DataError(
            f"its transfer syntax is {_name(syntax)}, which is not read.",
            "Convert it to an uncompressed DICOM, or leave it out with --on-error skip.",
        )
    plugins = _plugins(syntax, bits, samples)
    if not plugins:
        codec = CODECS[syntax]
        raise DataError(
            f"its pixels are compressed as {codec.name}"
            f"{f' of {bits} bits' if 'pillow' in codec.plugins else ''} ({syntax}), and the "
            "decoder "
            "for that is not installed.",
            f"Install it: {codec.install} (or every decoder: {ALL_DECODERS}).",
        )
    return plugins


def _plugins(syntax: str, bits: int, samples: int) -> list[str]:
    """Return the installed plugins that read such pixels right, the one to take first."""
    from pydicom.pixels import get_decoder

    available = get_decoder(syntax).available_plugins
    return [
        name
        for name in CODECS[syntax].plugins
        if name in available and not _fails(name, syntax, bits, samples)
    ]


def _fails(plugin: str, syntax: str, bits: int, samples: int) -> bool:
    """Return whether a plugin cannot read what it names: Pillow no JPEG of 12 bits, and
    no JPEG 2000 of deep colour or above 16 bits."""
    if CODECS[syntax].name == "JPEG Extended":
        return plugin != "pylibjpeg" and bits > 8
    if CODECS[syntax].name.startswith("JPEG 2000"):
        return plugin == "pillow" and (bits > 16 or (bits > 8 and samples > 1))
    return False


def _name(syntax: str) -> str:
    from pydicom.uid import UID

    name = UID(syntax).name
    return syntax if name == syntax else f"{name} ({syntax})"


def _require_size(header: pydicom.Dataset) -> None:
    """Raise DataError where a compressed frame is of another size than the header states: a decoder
    makes room for what the frame says, whatever that is."""
    from pydicom.encaps import get_frame

    height, width = _stream_size(get_frame(header.PixelData, 0, number_of_frames=1))
    if (height, width) != (header.Rows, header.Columns):
        raise DataError(
            f"its compressed frame has {width} x {height} px, its header states "
            f"{header.Columns} x {header.Rows}.",
            LEAVE_OUT,
        )


def _stream_size(stream: bytes) -> tuple[int, int]:
    """Return (height, width) of a JPEG, JPEG-LS or JPEG 2000 stream from its own header."""
    start = stream[:4096].find(_JPEG_2000_START)
    if start < 0:
        return jpeg_frame(io.BytesIO(stream)).size
    right, bottom, left, top = struct.unpack(">4I", stream[start + 8 : start + 24])
    return bottom - top, right - left


def _require_end(header: pydicom.Dataset) -> None:
    """Raise ValueError where a JPEG stream lacks its end: its decoders fill in what is missing."""
    data = header.PixelData
    stream = data[-4096:].rstrip(b"\0")
    if b"\xff\xd9" not in stream[-_PADDING:] and b"\xff\xd9" not in data[-_PADDING * 4 :]:
        raise ValueError("the compressed pixels have no end marker")
