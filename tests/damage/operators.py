"""Ways to damage a file, by the kind of file: each gets the path and a generator of numbers.

`SAME` damages change bytes but no meaning: what is read must be equal. All others must be refused
by name, said, or mended; none may change what is read in silence. Left out are changes that no
reader could see (a digit of a label for another, a pixel of an uncompressed picture).
"""

from __future__ import annotations

import gzip
import json
import os
import pickle
import shutil
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import torch
from safetensors.torch import load_file, save_file

Generator = np.random.Generator
Damage = Callable[[Path, Generator], None]
SAME: set[Damage] = set()


def harmless(damage: Damage) -> Damage:
    """Mark a damage that changes no meaning."""
    SAME.add(damage)
    return damage


# ----------------------------------------------------------------------------------------- any file
def _replace(path: Path, content: bytes) -> None:
    path.unlink()
    path.write_bytes(content)


def removed(path: Path, rng: Generator) -> None:
    path.unlink()


def emptied(path: Path, rng: Generator) -> None:
    _replace(path, b"")


def a_folder(path: Path, rng: Generator) -> None:
    path.unlink()
    path.mkdir()


def a_pipe(path: Path, rng: Generator) -> None:
    path.unlink()
    os.mkfifo(path)


def endless(path: Path, rng: Generator) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def dangling(path: Path, rng: Generator) -> None:
    path.unlink()
    path.symlink_to(path.with_name("nowhere"))


def truncated(path: Path, rng: Generator) -> None:
    content = path.read_bytes()
    _replace(path, content[: int(rng.integers(1, max(2, len(content) - 1)))])


def noise(path: Path, rng: Generator) -> None:
    _replace(path, rng.bytes(int(rng.integers(1, 4000))))


ANY: tuple[Damage, ...] = (removed, emptied, a_folder, a_pipe, endless, dangling, truncated, noise)


def flipped(path: Path, rng: Generator) -> None:
    """Flip a byte or a few: only for formats that carry a checksum."""
    content = bytearray(path.read_bytes())
    for place in rng.integers(0, len(content), int(rng.integers(1, 4))):
        content[place] ^= int(rng.integers(1, 256))
    _replace(path, bytes(content))


# ----------------------------------------------------------------------------------------- pictures
@harmless
def trailing_zeros(path: Path, rng: Generator) -> None:
    _replace(path, path.read_bytes() + bytes(int(rng.integers(1, 8000))))


def a_page(path: Path, rng: Generator) -> None:
    _replace(path, b"<!DOCTYPE html><html><body>404: sign in to download</body></html>")


def no_header(path: Path, rng: Generator) -> None:
    _replace(path, path.read_bytes()[8:])


PICTURE = (*ANY, trailing_zeros, a_page, no_header)
PNG = (*PICTURE, flipped)

WRONG_TAGS: tuple[tuple[str, object], ...] = (
    ("Rows", 0),
    ("Rows", 4096),
    ("Columns", 0),
    ("BitsStored", 0),
    ("BitsStored", 17),
    ("BitsAllocated", 7),
    ("SamplesPerPixel", 2),
    ("NumberOfFrames", "0"),
    ("NumberOfFrames", "-3"),
    ("PhotometricInterpretation", "NONSENSE"),
    ("PhotometricInterpretation", ""),
    ("RescaleSlope", "0"),
    ("PixelRepresentation", 5),
)
NEEDED_TAGS = ("Rows", "Columns", "BitsAllocated", "PixelData", "PhotometricInterpretation")


def wrong_tag(path: Path, rng: Generator) -> None:
    tag, value = WRONG_TAGS[int(rng.integers(len(WRONG_TAGS)))]
    header = pydicom.dcmread(path)
    setattr(header, tag, value)
    if tag == "RescaleSlope":
        header.RescaleIntercept = "0"
    header.save_as(path)


def unreadable_slope(path: Path, rng: Generator) -> None:
    """Write a rescale slope that is no finite number; pydicom does not write one itself."""
    value = (b"NAN ", b"1e400 ", b"abc ", b"inf ")[int(rng.integers(4))]
    header = pydicom.dcmread(path)
    header.RescaleSlope = "1"
    header.RescaleIntercept = "0"
    header.save_as(path)
    old = struct.pack("<HH2sH", 0x0028, 0x1053, b"DS", 2) + b"1 "
    new = struct.pack("<HH2sH", 0x0028, 0x1053, b"DS", len(value)) + value
    content = path.read_bytes()
    assert content.count(old) == 1
    _replace(path, content.replace(old, new))


def missing_tag(path: Path, rng: Generator) -> None:
    header = pydicom.dcmread(path)
    delattr(header, NEEDED_TAGS[int(rng.integers(len(NEEDED_TAGS)))])
    header.save_as(path)


def unknown_syntax(path: Path, rng: Generator) -> None:
    """Name a compressed syntax (RLE) in the header of raw pixels."""
    content = path.read_bytes()
    old = b"1.2.840.10008.1.2.1\0"
    assert content.count(old) == 1
    _replace(path, content.replace(old, b"1.2.840.10008.1.2.5\0"))


def short_pixels(path: Path, rng: Generator) -> None:
    header = pydicom.dcmread(path)
    header.PixelData = header.PixelData[: int(rng.integers(1, len(header.PixelData) // 2)) * 2]
    header.save_as(path)


DICOM = (*ANY, a_page, wrong_tag, unreadable_slope, missing_tag, unknown_syntax, short_pixels)


# ------------------------------------------------------------------------------------------- tables
def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def _write_lines(path: Path, lines: list[str], end: str = "\n") -> None:
    _replace(path, (end.join(lines) + end).encode())


def _some_row(lines: list[str], rng: Generator) -> int:
    return int(rng.integers(1, len(lines)))


@harmless
def byte_order_mark(path: Path, rng: Generator) -> None:
    _replace(path, b"\xef\xbb\xbf" + path.read_bytes())


@harmless
def carriage_returns(path: Path, rng: Generator) -> None:
    _write_lines(path, _lines(path), "\r\n")


@harmless
def blank_end(path: Path, rng: Generator) -> None:
    _replace(path, path.read_bytes() + b"\n\n")


def utf_16(path: Path, rng: Generator) -> None:
    _replace(path, path.read_text(encoding="utf-8").encode("utf-16"))


def latin_1(path: Path, rng: Generator) -> None:
    lines = _lines(path)
    row = _some_row(lines, rng)
    lines[row] = lines[row] + "é"
    _replace(path, "\n".join(lines).encode("latin-1"))


def cut_in_a_row(path: Path, rng: Generator) -> None:
    """Cut before the last comma of a row: it lacks fields, and all rows behind it are gone."""
    lines = _lines(path)
    row = _some_row(lines, rng)
    end = int(rng.integers(1, lines[row].rindex(",") + 1))
    _replace(path, "\n".join([*lines[:row], lines[row][:end]]).encode())


def short_row(path: Path, rng: Generator) -> None:
    lines = _lines(path)
    row = _some_row(lines, rng)
    lines[row] = lines[row].rpartition(",")[0]
    _write_lines(path, lines)


def long_row(path: Path, rng: Generator) -> None:
    lines = _lines(path)
    lines[_some_row(lines, rng)] += ",extra"
    _write_lines(path, lines)


def doubled_column(path: Path, rng: Generator) -> None:
    lines = _lines(path)
    column = int(rng.integers(lines[0].count(",") + 1))
    _write_lines(path, [f"{line},{line.split(',')[column]}" for line in lines])


def renamed_column(path: Path, rng: Generator) -> None:
    lines = _lines(path)
    names = lines[0].split(",")
    column = int(rng.integers(len(names)))
    names[column] = "X" + names[column]
    _write_lines(path, [",".join(names), *lines[1:]])


def doubled_row(path: Path, rng: Generator) -> None:
    lines = _lines(path)
    lines.append(lines[_some_row(lines, rng)])
    _write_lines(path, lines)


def lost_rows(path: Path, rng: Generator) -> None:
    lines = _lines(path)
    _write_lines(path, lines[: int(rng.integers(2, len(lines)))])


def unknown_row(path: Path, rng: Generator) -> None:
    lines = _lines(path)
    fields = lines[_some_row(lines, rng)].split(",")
    fields[0] = "9.9.9.nobody"
    _write_lines(path, [*lines, ",".join(fields)])


def blank_id(path: Path, rng: Generator) -> None:
    lines = _lines(path)
    row = _some_row(lines, rng)
    lines[row] = "," + lines[row].partition(",")[2]
    _write_lines(path, lines)


def null_byte(path: Path, rng: Generator) -> None:
    lines = _lines(path)
    row = int(rng.integers(len(lines)))
    lines[row] = lines[row][:3] + "\0" + lines[row][3:]
    _write_lines(path, lines)


def stray_quote(path: Path, rng: Generator) -> None:
    lines = _lines(path)
    row = _some_row(lines, rng)
    lines[row] = '"' + lines[row]
    _write_lines(path, lines)


def header_only(path: Path, rng: Generator) -> None:
    _write_lines(path, _lines(path)[:1])


def outside_the_root(path: Path, rng: Generator) -> None:
    lines = _lines(path)
    row = _some_row(lines, rng)
    lines[row] = "../../../" + lines[row]
    _write_lines(path, lines)


TEXT: tuple[Damage, ...] = (
    byte_order_mark,
    carriage_returns,
    blank_end,
    utf_16,
    latin_1,
    null_byte,
)
TABLE: tuple[Damage, ...] = (
    *ANY[:-2],
    *TEXT,
    cut_in_a_row,
    short_row,
    long_row,
    doubled_column,
    doubled_row,
)
TABLE += (lost_rows, unknown_row, blank_id, stray_quote, header_only, outside_the_root, noise)


def _last_field(value: str) -> Damage:
    def damage(path: Path, rng: Generator) -> None:
        lines = _lines(path)
        row = _some_row(lines, rng)
        lines[row] = lines[row].rpartition(",")[0] + "," + value
        _write_lines(path, lines)

    damage.__name__ = f"the last field is {value[:20]!r}"
    return damage


RUNS: tuple[Damage, ...] = (*TABLE, renamed_column)
RUNS += tuple(
    _last_field(value)
    for value in ("5", "5 99999", "-5 4", "0 -3", "x y", "5 4 3", "nan", "1e3 4", "9" * 5000 + " 1")
)
BOXES: tuple[Damage, ...] = (*TABLE, renamed_column)
BOXES += tuple(
    _last_field(value)
    for value in (
        "0 5 6",
        "0 nan 6 15 16",
        "0 inf 6 15 16",
        "0 900 900 950 950",
        "7 5 6 15 16",
        "2 10 10 40",
        "a b c d e",
        "0 5 6 5 6",
    )
)


# --------------------------------------------------------------------------------------- compressed
def gz_flipped(path: Path, rng: Generator) -> None:
    content = bytearray(path.read_bytes())
    content[int(rng.integers(12, len(content)))] ^= 255
    _replace(path, bytes(content))


def _unpacked(damage: Damage) -> Damage:
    def zipped(path: Path, rng: Generator) -> None:
        plain = path.with_suffix("")
        plain.write_bytes(gzip.decompress(path.read_bytes()))
        damage(plain, rng)
        _replace(path, gzip.compress(plain.read_bytes()))
        plain.unlink()

    zipped.__name__ = f"{damage.__name__} (gz)"
    if damage in SAME:
        SAME.add(zipped)
    return zipped


ZIPPED: tuple[Damage, ...] = (*ANY, gz_flipped)
ZIPPED += tuple(_unpacked(damage) for damage in (*TEXT, cut_in_a_row, short_row, long_row))
ZIPPED += tuple(
    _unpacked(damage) for damage in (doubled_column, doubled_row, blank_id, header_only)
)


# --------------------------------------------------------------------------------------------- JSON
def nested(path: Path, rng: Generator) -> None:
    _replace(path, b"[" * 100_000 + b"]" * 100_000)


def doubled_key(path: Path, rng: Generator) -> None:
    content = json.loads(path.read_text())
    key = list(content)[int(rng.integers(len(content)))]
    text = json.dumps(content)
    _replace(path, f'{{"{key}": {json.dumps(content[key])}, {text[1:]}'.encode())


def another_type(path: Path, rng: Generator) -> None:
    values: tuple[object, ...] = (None, 7, "text", [], {}, [None], float("nan"))
    content = json.loads(path.read_text())
    key = list(content)[int(rng.integers(len(content)))]
    content[key] = values[int(rng.integers(len(values)))]
    _replace(path, json.dumps(content).encode())


def another_top(path: Path, rng: Generator) -> None:
    tops = (b"null", b"[]", b"{}", b"7", b'"text"', b"[[]]")
    _replace(path, tops[int(rng.integers(len(tops)))])


def missing_key(path: Path, rng: Generator) -> None:
    content = json.loads(path.read_text())
    content.pop(list(content)[int(rng.integers(len(content)))])
    _replace(path, json.dumps(content).encode())


@harmless
def another_layout(path: Path, rng: Generator) -> None:
    _replace(path, json.dumps(json.loads(path.read_text()), indent=4).encode())


JSON: tuple[Damage, ...] = (
    *ANY,
    byte_order_mark,
    carriage_returns,
    blank_end,
    utf_16,
    null_byte,
    nested,
    doubled_key,
)
JSON += (another_type, another_top, missing_key, another_layout)


def _entry(change: Callable[[dict[str, object], Generator], None], name: str) -> Damage:
    """Return a damage of one study of R2Gen's annotation."""

    def damage(path: Path, rng: Generator) -> None:
        content = json.loads(path.read_text())
        studies = [study for part in content.values() for study in part]
        change(studies[int(rng.integers(len(studies)))], rng)
        _replace(path, json.dumps(content).encode())

    damage.__name__ = name
    return damage


def _drop(study: dict[str, object], rng: Generator) -> None:
    study.pop(list(study)[int(rng.integers(len(study)))])


def _retype(study: dict[str, object], rng: Generator) -> None:
    values: tuple[object, ...] = (None, 7, [], {}, [7], "../../x.png", ["../../../etc/x.png"])
    keys = ("id", "report", "image_path")
    study[keys[int(rng.integers(3))]] = values[int(rng.integers(len(values)))]


ANNOTATION = (*JSON, _entry(_drop, "a study lacks a key"), _entry(_retype, "a study's other type"))


# ------------------------------------------------------------------------------------------ reports
def huge_word(path: Path, rng: Generator) -> None:
    _replace(path, path.read_bytes() + b"\n" + b"x" * 3_000_000)


def invalid_utf_8(path: Path, rng: Generator) -> None:
    content = path.read_bytes()
    half = len(content) // 2
    _replace(path, content[:half] + b"\xe9\xff" + content[half:])


REPORT: tuple[Damage, ...] = (
    removed,
    a_folder,
    a_pipe,
    endless,
    dangling,
    byte_order_mark,
    carriage_returns,
)
REPORT += (huge_word, invalid_utf_8)


# ------------------------------------------------------------------------------------------ weights
def _change_tensor(path: Path, rng: Generator, change: Callable[[torch.Tensor], object]) -> None:
    packed = path.suffix == ".pth"
    state = torch.load(path)["state_dict"] if packed else load_file(path)
    names = [name for name in sorted(state) if state[name].is_floating_point()]
    name = names[int(rng.integers(len(names)))]
    tensor = change(state.pop(name))
    if isinstance(tensor, torch.Tensor):
        state[name] = tensor
    path.unlink()
    if packed:
        torch.save({"state_dict": state}, path)
    else:
        save_file({key: value.contiguous() for key, value in state.items()}, path)


def lost_tensor(path: Path, rng: Generator) -> None:
    _change_tensor(path, rng, lambda tensor: None)


def another_shape(path: Path, rng: Generator) -> None:
    _change_tensor(path, rng, lambda tensor: torch.zeros(*tensor.shape, 2))


def not_finite(path: Path, rng: Generator) -> None:
    value = (float("nan"), float("inf"))[int(rng.integers(2))]
    _change_tensor(path, rng, lambda tensor: torch.full_like(tensor, value))


def of_integers(path: Path, rng: Generator) -> None:
    kind = (torch.int8, torch.int64, torch.bool)[int(rng.integers(3))]
    _change_tensor(path, rng, lambda tensor: tensor.to(kind))


def of_complex_numbers(path: Path, rng: Generator) -> None:
    _change_tensor(path, rng, lambda tensor: tensor.to(torch.complex64))


class _Touch:
    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (Path("owned"),)


def carries_code(path: Path, rng: Generator) -> None:
    _replace(path, pickle.dumps({"state_dict": _Touch()}))


def sparse(path: Path, rng: Generator) -> None:
    path.unlink()
    torch.save({"state_dict": {"conv1.weight": torch.eye(3).to_sparse()}}, path)


TENSORS = (*ANY, flipped, lost_tensor, another_shape, not_finite, of_integers)
TORCH = (*TENSORS, of_complex_numbers, carries_code, sparse)
PLAIN = tuple(damage for damage in TENSORS if damage is not flipped)
PLAIN_TORCH = tuple(damage for damage in TORCH if damage is not flipped)


# ------------------------------------------------------------------------------------ stored things
def edited_metric(path: Path, rng: Generator) -> None:
    lines = _lines(path)
    row = int(rng.integers(len(lines)))
    record = json.loads(lines[row])
    names = sorted(name for name in record if name.startswith("metric:") and record[name])
    record[names[int(rng.integers(len(names)))]] = 0.99
    lines[row] = json.dumps(record, sort_keys=True)
    _write_lines(path, lines)


def lost_field(path: Path, rng: Generator) -> None:
    lines = _lines(path)
    row = int(rng.integers(len(lines)))
    record = json.loads(lines[row])
    record.pop(sorted(record)[int(rng.integers(len(record)))])
    lines[row] = json.dumps(record)
    _write_lines(path, lines)


def deep_record(path: Path, rng: Generator) -> None:
    _replace(path, path.read_bytes() + b"[" * 50_000 + b"\n")


def listed_key(path: Path, rng: Generator) -> None:
    _replace(path, path.read_bytes() + b'{"key": ["a"], "status": "done"}\n')


RECORDS: tuple[Damage, ...] = (
    a_folder,
    a_pipe,
    endless,
    flipped,
    edited_metric,
    lost_field,
    deep_record,
    listed_key,
)
RECORDS += (truncated, noise)


def _arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as file:
        return {name: file[name] for name in file.files}


def _save_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    np.savez(path, **arrays)


def shuffled_rows(path: Path, rng: Generator) -> None:
    arrays = _arrays(path)
    rows = len(arrays["table:image_id"])
    order = np.roll(np.arange(rows), 1)
    _save_arrays(path, {n: v[order] if v.shape[:1] == (rows,) else v for n, v in arrays.items()})


def other_scores(path: Path, rng: Generator) -> None:
    arrays = _arrays(path)
    name = next(name for name in arrays if name.startswith("table:score"))
    arrays[name] = np.roll(arrays[name], 1)
    _save_arrays(path, arrays)


def lost_column(path: Path, rng: Generator) -> None:
    arrays = _arrays(path)
    arrays.pop(sorted(arrays)[int(rng.integers(len(arrays)))])
    _save_arrays(path, arrays)


def pickled(path: Path, rng: Generator) -> None:
    _save_arrays(path, {"table:image_id": np.array([{"a": 1}], dtype=object)})


def of_another_cell(path: Path, rng: Generator) -> None:
    others = [other for other in sorted(path.parent.glob("*.npz")) if other != path]
    shutil.copyfile(others[int(rng.integers(len(others)))], path)


PREDICTIONS = (*ANY, flipped, shuffled_rows, other_scores, lost_column, pickled, of_another_cell)


def zeroed(path: Path, rng: Generator) -> None:
    content = bytearray(path.read_bytes())
    start = int(rng.integers(len(content)))
    content[start : start + 4096] = bytes(len(content[start : start + 4096]))
    _replace(path, bytes(content))


CACHED = (removed, emptied, a_folder, truncated, noise, flipped, zeroed)


DAMAGES: dict[tuple[str, str], tuple[Damage, ...]] = {
    ("siim", "dicom"): DICOM,
    ("siim", "runs"): RUNS,
    ("mimic", "jpeg"): PICTURE,
    ("mimic", "zipped"): ZIPPED,
    ("mimic", "report"): REPORT,
    ("covid", "png"): PNG,
    ("covid", "mask"): PNG,
    ("covid", "table"): TABLE,
    ("objects", "jpeg"): PICTURE,
    ("objects", "boxes"): BOXES,
    ("iu_xray", "png"): PNG,
    ("iu_xray", "json"): ANNOTATION,
    ("plain", "tensors"): PLAIN,
    ("plain", "torch"): PLAIN_TORCH,
    ("trained", "tensors"): TENSORS,
    ("trained", "card"): JSON,
    ("trained", "words"): (*ANY, flipped, utf_16, latin_1, null_byte),
    ("results", "records"): RECORDS,
    ("results", "predictions"): PREDICTIONS,
    ("caches", "pixels"): CACHED,
    ("caches", "slots"): CACHED,
    ("caches", "about"): CACHED,
    ("caches", "features"): CACHED,
    ("caches", "names"): CACHED,
    ("caches", "facts"): CACHED,
}
