"""The one reader of text: marks, line ends, encodings, and what is named with file, byte and
line."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from bench.core.errors import DataError
from bench.data.text import is_hidden, read_json, read_lines, read_text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("packed", [False, True])
def test_marks_line_ends_and_packing_do_not_matter(
    tmp_path: Path, encoding: str, end: str, packed: bool
) -> None:
    data = end.join(["Ünë", "zwei", ""]).encode(encoding)
    path = tmp_path / ("list.txt.gz" if packed else "list.txt")
    path.write_bytes(gzip.compress(data) if packed else data)
    assert read_text(path) == "Ünë\nzwei\n"


def test_utf_16_of_either_order_and_two_marks_in_a_row(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes("\ufeffa".encode("utf-16-be"))
    assert read_text(path) == "a"
    path.write_bytes(b"\xef\xbb\xbf\xef\xbb\xbfa")
    assert read_text(path) == "a"


def test_latin_1_is_named_with_byte_line_and_remedy(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(b"one\ntwo\nCaf\xe9\n")
    with pytest.raises(DataError) as error:
        read_text(path)
    assert str(error.value) == (
        f"file {path} is not UTF-8 text (byte 0xe9 at 11, line 3). Download it again, or "
        "convert it: "
        "iconv -f latin1 -t utf-8 list.txt > new."
    )


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"one\ntw\0o", "line 2 holds a NUL byte"),
        ("one".encode("utf-16-le"), "line 1 holds a NUL byte.*byte order mark"),
        (b"", "is empty"),
    ],
)
def test_what_is_no_text_is_named(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(data)
    with pytest.raises(DataError, match=rf"list\.txt.*{message}"):
        read_text(path)


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.txt does not exist"):
        read_text(tmp_path / "gone.txt")
    (tmp_path / "folder.txt").mkdir()
    with pytest.raises(DataError, match=r"folder\.txt is a directory"):
        read_text(tmp_path / "folder.txt")
    os.mkfifo(tmp_path / "pipe.txt")
    with pytest.raises(DataError, match=r"pipe\.txt is a pipe"):
        read_text(tmp_path / "pipe.txt")


@pytest.mark.parametrize("place", [0, 12, 30, -9, -1])
def test_a_damaged_gzip_is_named(tmp_path: Path, place: int) -> None:
    data = bytearray(gzip.compress(b"some text, and more of it\n" * 20, mtime=0))
    data[place] ^= 0x55
    path = tmp_path / "table.csv.gz"
    path.write_bytes(bytes(data))
    with pytest.raises(DataError, match=r"table\.csv\.gz"):
        read_text(path)


def test_lines_keep_their_numbers_and_their_inner_blanks(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes("\n  a  b \n\n\u2028c\x0bd\n".encode())
    assert read_lines(path) == [(2, "a  b"), (4, "c\x0bd")]
    path.write_text(" \n\n")
    with pytest.raises(DataError, match=r"list\.txt has no rows"):
        read_lines(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1, "b": 2, "a": 3}', "the key 'a' occurs twice"),
        ('{"x": [{"a": 1, "a": 1}]}', "the key 'a' occurs twice"),
        ("[" * 100_000, "nested too deep"),
        ('{"a": NaN}', "the number NaN is not finite"),
        ('{"a": -Infinity}', "the number -Infinity is not finite"),
        ('{"a": 1e400}', "the number 1e400 is not finite"),
        ('{"a": 1} trailing', "Extra data: line 1 column 10"),
        ('{"a": ', "cannot be read as JSON"),
        ('{"a": ' + "9" * 5000 + "}", "cannot be read as JSON"),
    ],
)
def test_json_that_cannot_be_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "card.json"
    path.write_text(text)
    with pytest.raises(DataError, match=rf"card\.json.*{message}"):
        read_json(path)


def test_json_with_a_mark_is_read(tmp_path: Path) -> None:
    (tmp_path / "card.json").write_bytes('{"a": [1, 2.5, null]}'.encode("utf-8-sig"))
    assert read_json(tmp_path / "card.json") == {"a": [1, 2.5, None]}


def test_hidden_names() -> None:
    assert [is_hidden(name) for name in ("._a.dcm", ".DS_Store", "__MACOSX", "a.dcm")] == [
        True,
        True,
        True,
        False,
    ]
