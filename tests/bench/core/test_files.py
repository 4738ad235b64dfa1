"""A file that never ends, or unpacks to more than it may, is named and never read to the end."""

from __future__ import annotations

import gzip
import os
import socket
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.core.errors import CheckpointError, DataError, SettingError
from bench.core.files import check_archive, gunzip, inflate, open_regular, read_file, size_limit


@pytest.fixture
def small_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLACE_BENCH_MAX_IMAGE_MB", "0.01")


def test_a_regular_file_is_read_whole(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"abc")
    (tmp_path / "link.bin").symlink_to(tmp_path / "a.bin")
    assert read_file(tmp_path / "a.bin", "image") == b"abc"
    assert read_file(str(tmp_path / "link.bin"), "image") == b"abc"


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (make_pipe, "a pipe"),
        (lambda path: path.symlink_to("/dev/zero"), "a device"),
        (lambda path: path.mkdir(), "a directory"),
        (make_socket, "a socket"),
    ],
)
def test_what_is_no_regular_file_is_named_and_not_opened(
    tmp_path: Path, make: Callable[..., Any], what: str
) -> None:
    path = tmp_path / "endless.dcm"
    make(path)
    with pytest.raises(DataError, match=rf"endless\.dcm is {what}; a regular file"):
        read_file(path, "image")


def test_a_missing_file_is_named_by_the_error_class_asked_for(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"gone\.pt cannot be read \(No such file"):
        open_regular(tmp_path / "gone.pt", "checkpoint", CheckpointError)


def test_a_path_with_a_null_character_is_named() -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_file("a\0b", "image")


def test_a_file_above_the_limit_of_its_kind_is_not_read(tmp_path: Path, small_limit: None) -> None:
    path = tmp_path / "huge.dcm"
    with path.open("wb") as file:
        file.truncate(20_000)
    with pytest.raises(
        DataError, match=r"huge\.dcm has 0\.02 MB; a file of kind 'image' may have"
    ) as e:
        read_file(path, "image")
    assert "PLACE_BENCH_MAX_IMAGE_MB" in e.value.hint
    assert len(read_file(path, "report")) == 20_000


def test_a_sparse_file_of_terabytes_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "huge.png"
    with path.open("wb") as file:
        file.truncate(10**13)
    with pytest.raises(DataError, match=r"huge\.png has 10,000,000 MB; .* may have 1,000 MB"):
        read_file(path, "image")


def test_a_file_that_grows_while_it_is_read_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log.csv"
    path.write_bytes(b"a")
    look = os.stat

    def look_before_it_grows(name: Path) -> os.stat_result:
        state = look(name)
        path.write_bytes(bytes(5000))
        return state

    monkeypatch.setattr("bench.core.files.os.stat", look_before_it_grows)
    monkeypatch.setenv("PLACE_BENCH_MAX_TABLE_MB", "0.001")
    with pytest.raises(
        DataError, match=r"log\.csv goes on beyond its limit; .* may have 0\.001 MB"
    ):
        read_file(path, "table")


@pytest.mark.parametrize("value", ["many", "nan", "inf", "0", "-3"])
def test_a_limit_that_is_no_number_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("PLACE_BENCH_MAX_TABLE_MB", value)
    with pytest.raises(SettingError, match=f"PLACE_BENCH_MAX_TABLE_MB is '{value}'"):
        size_limit("table")


def test_gzip_is_unpacked_member_by_member(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(b"one,") + gzip.compress(b"two") + bytes(512))
    assert read_file(path, "table") == b"one,two"


def test_a_gzip_bomb_is_stopped_at_the_limit(tmp_path: Path, small_limit: None) -> None:
    with pytest.raises(DataError, match=r"bomb\.gz unpacks to more than its limit; .* 0\.01 MB"):
        gunzip(gzip.compress(bytes(1_000_000)), tmp_path / "bomb.gz", "image")


@pytest.mark.parametrize("where", [3, 20, -6])
def test_damaged_or_short_gzip_is_named(where: int) -> None:
    whole = gzip.compress(bytes(range(256)) * 4)
    with pytest.raises(DataError, match="x.gz"):
        gunzip(whole[:where], "x.gz", "table")
    bad = bytearray(whole)
    bad[where] ^= 0xFF
    with pytest.raises(DataError, match="x.gz"):
        gunzip(bytes(bad), "x.gz", "table")


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


def test_a_deflate_stream_is_unpacked_and_a_bomb_stopped(small_limit: None) -> None:
    assert inflate(raw_deflate(b"abc" * 100), "x", "image") == b"abc" * 100
    with pytest.raises(DataError, match="x unpacks to more"):
        inflate(raw_deflate(bytes(10**6)), "x", "image")
    with pytest.raises(DataError, match="x is truncated or corrupt: .* has no end"):
        inflate(raw_deflate(bytes(range(200)))[:-3], "x", "image")
    with pytest.raises(DataError, match="x is truncated or corrupt: .* does not unpack"):
        inflate(b"\xff\xff\xff", "x", "image")


def archive(path: Path, compression: int) -> Path:
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr("data", bytes(50_000))
    return path


def test_an_archive_that_unpacks_to_more_than_its_kind_may_is_refused(
    tmp_path: Path, small_limit: None
) -> None:
    bomb = archive(tmp_path / "bomb.zip", zipfile.ZIP_DEFLATED)
    with pytest.raises(DataError, match=r"bomb\.zip would unpack to 0\.05 MB; .* 0\.01 MB"):
        check_archive(bomb, "image")
    check_archive(bomb, "table")


def test_an_archive_of_stored_members_may_not_claim_more_than_it_is(tmp_path: Path) -> None:
    check_archive(archive(tmp_path / "good.pt", zipfile.ZIP_STORED), "checkpoint", stored=True)
    bomb = archive(tmp_path / "bomb.pt", zipfile.ZIP_DEFLATED)
    with pytest.raises(CheckpointError, match=r"bomb\.pt has \S+ MB and would unpack to 0\.05 MB"):
        check_archive(bomb, "checkpoint", CheckpointError, stored=True)


def test_half_an_archive_is_named(tmp_path: Path) -> None:
    path = archive(tmp_path / "half.pt", zipfile.ZIP_STORED)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=r"half\.pt is not a whole zip archive"):
        check_archive(path, "checkpoint", CheckpointError)
