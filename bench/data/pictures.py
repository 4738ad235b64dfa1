"""Radiographs in PNG and JPEG: from the bytes of a file to grey values, and their size from the
header alone."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import numpy as np

from bench.contracts import Scaling
from bench.core.errors import DataError
from bench.data.grey import bound_pillow, check_pixels, luma, to_uint8

if TYPE_CHECKING:
    from PIL import Image

PNG = b"\x89PNG\r\n\x1a\n"
_FRAMES = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}  # SOF markers, that of JPEG-LS too
_READ_FRAMES = {0xC0, 0xC1, 0xC2, 0xC9, 0xCA}  # baseline, extended, progressive; also arithmetic
_LOSSLESS_FRAMES = {
    **dict.fromkeys((0xC3, 0xC7, 0xCB, 0xCF), "lossless JPEG"),
    0xF7: "JPEG-LS",
}
_COLOUR_TYPES = {2: "RGB", 4: "grey with alpha", 6: "RGB with alpha"}
_NEEDED = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")


def decode_picture(data: bytes, path: object, voi_lut: bool, scaling: Scaling) -> np.ndarray:
    """Return the grey values [H, W] of a PNG or JPEG; see `bench.data.images.read_image`."""
    pixels = _png(data) if data.startswith(PNG) else _jpeg(data)
    if scaling == "mgca" and pixels.dtype != np.uint8:
        scale = 255.0 / max(float(pixels.max()), 1.0)
        return np.rint(pixels * scale).astype(np.uint8)
    return to_uint8(pixels)


def picture_size(file: BinaryIO) -> tuple[int, int]:
    """Return (height, width) of a PNG or JPEG from its header; raise ValueError where it has none
    that reads."""
    head = file.read(24)
    if head.startswith(PNG) and head[12:16] == b"IHDR" and len(head) == 24:
        width, height = struct.unpack(">II", head[16:24])
        return height, width
    file.seek(0)
    return jpeg_frame(file).size


# ---------------------------------------------------------------------------------------------- PNG
def _png(data: bytes) -> np.ndarray:
    chunks = list(_chunks(data))
    header = chunks[0][1]
    if chunks[0][0] != b"IHDR" or len(header) < 13:
        raise ValueError("the PNG does not begin with its header")
    width, height, depth, colour = struct.unpack(">IIBB", bytes(header[:10]))
    check_pixels(height, width)
    lean = _lean(data, chunks)
    return _deep_colour(lean) if depth == 16 and colour in _COLOUR_TYPES else _open(lean)


def _chunks(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Yield (type, content) of a PNG's chunks to IEND; what follows it is no part of the picture.

    Raise ValueError where it ends before, or a chunk that the pixels need is damaged.
    """
    view = memoryview(data)
    start = len(PNG)
    while start + 12 <= len(data):
        length, name = struct.unpack(">I4s", view[start : start + 8])
        end = start + 8 + length
        if end + 4 > len(data):
            break
        if (
            name in _NEEDED
            and zlib.crc32(view[start + 4 : end]) != struct.unpack(">I", view[end : end + 4])[0]
        ):
            raise ValueError(f"the checksum of its {name.decode()} chunk is wrong")
        yield name, view[start + 8 : end]
        if name == b"IEND":
            return
        start = end + 4
    raise ValueError("the PNG ends before its IEND chunk")


def _lean(data: bytes, chunks: list[tuple[bytes, memoryview]]) -> bytes:
    """Return the PNG without texts, profiles and other things beside the pixels, which may unpack
    to any size."""
    if all(name in _NEEDED for name, _ in chunks):
        return data
    out = io.BytesIO()
    out.write(PNG)
    for name, content in chunks:
        if name in _NEEDED:
            out.write(struct.pack(">I4s", len(content), name))
            out.write(content)
            out.write(struct.pack(">I", zlib.crc32(content, zlib.crc32(name))))
    return out.getvalue()


def _deep_colour(data: bytes) -> np.ndarray:
    """Return the grey values uint16 [H, W] of a PNG with 16 bits per colour, which Pillow would cut
    to 8."""
    import cv2

    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16 or pixels.ndim != 3:
        raise ValueError("its pixels do not unpack")
    grey = luma(pixels[..., 2::-1])
    if pixels.shape[2] < 4:
        return grey
    alpha = pixels[..., 3].astype(np.uint32)
    return ((grey * alpha + 32767) // 65535).astype(np.uint16)


# --------------------------------------------------------------------------------------------- JPEG
def _jpeg(data: bytes) -> np.ndarray:
    frame = jpeg_frame(io.BytesIO(data))
    check_pixels(*frame.size)
    if frame.marker not in _READ_FRAMES or frame.bits != 8:
        kind = _LOSSLESS_FRAMES.get(frame.marker, "JPEG")
        raise DataError(
            f"it is a {kind} of {frame.bits} bits (frame type SOF{frame.marker - 0xC0}), "
            "which is not "
            "read.",
            "Convert it to a PNG of 16 bits, or leave it out with --on-error skip.",
        )
    if b"\xff\xd9" not in data and not any(data[-16:]):
        raise ValueError("the JPEG has zeros where its end should be")
    return _open(data)


class JpegFrame(NamedTuple):
    """What the frame header of a JPEG says: its type as a marker, bits a sample, (height,
    width)."""

    marker: int
    bits: int
    size: tuple[int, int]


def jpeg_frame(file: BinaryIO) -> JpegFrame:
    """Return the frame header of a JPEG or JPEG-LS stream, reading no more than that; raise
    ValueError where there is none."""
    if file.read(2) != b"\xff\xd8":
        raise ValueError("no PNG and no JPEG")
    while head := file.read(1):
        if head != b"\xff":
            continue
        while (head := file.read(1)) == b"\xff":
            pass
        marker = head[0] if head else 0xD9
        if marker in _FRAMES:
            fields = file.read(7)
            if len(fields) < 7:
                break
            _, precision, height, width = struct.unpack(">HBHH", fields)
            return JpegFrame(marker, precision, (height, width))
        if marker in (0xD9, 0xDA):
            break
        if marker in (0x00, 0x01) or 0xD0 <= marker <= 0xD8:
            continue
        (length,) = struct.unpack(">H", file.read(2).rjust(2, b"\0"))
        file.seek(max(length - 2, 0), 1)
    raise ValueError("the JPEG ends before the header of its frame")


# ------------------------------------------------------------------------------------------- Pillow
def _open(data: bytes) -> np.ndarray:
    from PIL import Image

    bound_pillow()
    with Image.open(io.BytesIO(data), formats=("PNG", "JPEG")) as picture:
        return _grey(picture)


def _grey(picture: Image.Image) -> np.ndarray:
    """Return the grey values [H, W] of a picture: 16-bit where it is stored so, else uint8."""
    key = picture.info.get("transparency")
    if picture.mode.startswith("I") or picture.mode == "F":
        pixels = np.asarray(picture)
        return np.where(pixels == key, 0, pixels) if isinstance(key, int) else pixels
    if "A" not in picture.getbands() and key is None:
        return np.asarray(picture.convert("L"))
    grey, alpha = (
        np.asarray(band, np.uint16) for band in picture.convert("RGBA").convert("LA").split()
    )
    return ((grey * alpha + 127) // 255).astype(np.uint8)
