"""Commands end in one sentence where the disk is full, quietly where nobody reads, and print in any
encoding."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from bench.core.console import guarded
from bench.core.errors import PlaceBenchError
from tests.support.commands import BARE
from tests.tasks.datasets.fakes import write_siim

RUN = ["run", "siim_seg", "--backbones", "baseline:prior_mask", "--data-root", "data", *BARE]


def test_a_mistake_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise PlaceBenchError("no such thing.", "Look there.")

    assert guarded("place-bench", fail) == 2
    assert capsys.readouterr().err == "place-bench: no such thing. Look there.\n"


def test_a_defect_is_not_hidden() -> None:
    def fail() -> None:
        raise FileNotFoundError(2, "a file that the program forgot")

    with pytest.raises(FileNotFoundError):
        guarded("place-bench", fail)


def test_a_reader_that_goes_away_ends_a_command_quietly(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bench.commands.cli", "list", "backbones", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout and process.stderr
    process.stdout.close()
    assert process.stderr.read() == ""
    process.wait(timeout=60)


def test_a_page_is_printed_in_an_encoding_that_lacks_its_signs(tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("LC_", "LANG"))}
    environment |= {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    code = (
        "from bench.core.console import guarded; guarded('x', lambda: print('hd95 \\u2193, "
        "\\u00b10.1'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, check=True
    )
    assert done.stdout == b"hd95 ?, ?0.1\n" and done.stderr == b""


def limited(size: int, *more: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the command where no file may have more than `size` bytes, as on a full disk."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PLACE_BENCH")}
    return subprocess.run(
        [sys.executable, "-m", "bench.commands.cli", *RUN, *more],
        cwd=cwd,
        env=environment | {"PLACE_BENCH_CACHE": str(cwd / "cache")},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)),
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_full_disk_is_one_sentence_and_the_same_command_goes_on(tmp_path: Path) -> None:
    write_siim(tmp_path / "data" / "siim")
    full = limited(70_000, cwd=tmp_path)
    assert full.returncode == 2 and "Traceback" not in full.stderr
    assert "cannot be written: File too large. Free some space" in full.stderr.splitlines()[-1]
    refused = limited(100, "--results", "tiny", cwd=tmp_path)
    assert refused.returncode == 2 and "Traceback" not in refused.stderr
    assert "results folder tiny cannot be written: File too large" in refused.stderr
    assert not (tmp_path / "tiny").exists()
    whole = limited(resource.RLIM_INFINITY, cwd=tmp_path)
    assert whole.returncode == 0 and "0 had a result" in whole.stderr
