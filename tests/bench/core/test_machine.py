"""What differs between machines: cores, flushing a file, and the number of threads."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info

from bench.core import machine
from bench.core.errors import SettingError
from bench.core.machine import cores, default_threads, flush_to_disk, use_threads


@pytest.fixture(autouse=True)
def _threads_as_before(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(machine, "_chosen", {})
    before = torch.get_num_threads()
    yield
    use_threads(before)


def test_cores_are_those_of_the_process_or_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 1 <= cores() <= (os.cpu_count() or 1)
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert cores() == os.cpu_count()


def test_a_file_is_flushed_where_there_is_no_fdatasync(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "fdatasync", raising=False)
    with (tmp_path / "file").open("wb") as file:
        file.write(b"bytes")
        flush_to_disk(file)
        assert (tmp_path / "file").read_bytes() == b"bytes"


def test_two_threads_are_the_default_whatever_the_machine_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("PLACE_BENCH_THREADS", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    assert default_threads() == 2
    monkeypatch.setenv("PLACE_BENCH_THREADS", "3")
    assert default_threads() == 3


@pytest.mark.parametrize("text", ["0", "-1", "many", "1.5"])
def test_a_wrong_variable_is_named(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLACE_BENCH_THREADS", text)
    with pytest.raises(SettingError, match=r"\$PLACE_BENCH_THREADS is.*at least 1"):
        default_threads()


def test_torch_and_numpy_use_the_threads_that_were_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLACE_BENCH_THREADS", "2")
    assert use_threads() == 2
    np.ones((2, 2)) @ np.ones((2, 2))
    assert torch.get_num_threads() == 2
    assert use_threads(1) == 1
    assert use_threads() == 1, "what a run chose holds for all that it calls"
    libraries = [each["num_threads"] for each in threadpool_info()]
    assert torch.get_num_threads() == 1 and set(libraries) == {1}
