"""Files appear whole, follow the umask, leave nothing behind; places that cannot be written are one
sentence."""

import errno
import os
import resource
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from safetensors.torch import save_file

from bench.cells.results import ResultStore
from bench.contracts import Predictions
from bench.core.errors import DataError, StorageError
from bench.core.storage import atomic_path, check_folder, held, sweep, write_atomically, writing
from bench.report.pictures import save
from tests.bench.core.other_user import other_user, public_folder, umask


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(("mask", "expected"), [(0o077, 0o600), (0o022, 0o644), (0o002, 0o664)])
def test_files_and_locks_follow_the_umask(tmp_path: Path, mask: int, expected: int) -> None:
    with umask(mask):
        write_atomically(tmp_path / "file.json", "{}")
        with held(tmp_path / "locks" / "a.lock") as ours:
            assert ours
    assert mode(tmp_path / "file.json") == mode(tmp_path / "locks" / "a.lock") == expected


def test_a_library_that_replaces_the_temporary_file_changes_no_mode(tmp_path: Path) -> None:
    with umask(0o002), atomic_path(tmp_path / "model") as temporary:
        (tmp_path / "beside").write_bytes(b"weights")
        (tmp_path / "beside").chmod(0o600)
        (tmp_path / "beside").replace(temporary)
    assert mode(tmp_path / "model") == 0o664
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_free_lock_that_another_user_left_is_replaced() -> None:
    with public_folder() as folder:
        lock = folder / "cell.lock"
        lock.touch()
        lock.chmod(0o444)
        folder.chmod(0o777)
        with other_user(), umask(0o002), held(lock, wait=False) as ours:
            assert ours and mode(lock) == 0o664


def test_a_lock_that_another_user_holds_is_not_given() -> None:
    with public_folder() as folder:
        lock = folder / "cell.lock"
        with held(lock):
            lock.chmod(0o444)
            folder.chmod(0o777)
            with other_user(), held(lock, wait=False) as ours:
                assert not ours
            assert mode(lock) == 0o444
            lock.chmod(0o644)


def test_waiting_for_a_lock_is_said(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(tmp_path / "lock"), "1.5"], stdout=subprocess.PIPE
    )
    assert holder.stdout and holder.stdout.readline()
    said: list[str] = []
    with held(tmp_path / "lock", on_wait=lambda: said.append("waiting")) as ours:
        assert ours and said == ["waiting"]
    holder.communicate(timeout=30)


_HOLD = """
import sys, time
from pathlib import Path
from bench.core.storage import held
with held(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


def test_the_temporary_file_of_a_dead_process_is_swept_that_of_a_live_one_is_not(
    tmp_path: Path,
) -> None:
    code = (
        "import os, sys; from pathlib import Path; from bench.core.storage import atomic_path\n"
        "with atomic_path(Path(sys.argv[1])): os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "dead.json")], check=False)
    assert len(list(tmp_path.iterdir())) == 1
    with atomic_path(tmp_path / "live.json") as temporary:
        temporary.write_text("{}")
        assert sweep(tmp_path) == 1
        assert list(tmp_path.iterdir()) == [temporary]
    assert (tmp_path / "live.json").read_text() == "{}"


def test_only_hidden_temporary_files_are_swept(tmp_path: Path) -> None:
    for name in (".views.json", "file.tmp"):
        (tmp_path / name).touch()
    assert sweep(tmp_path, tmp_path / "absent") == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [".views.json", "file.tmp"]


def test_a_folder_that_cannot_be_written_is_named_and_left_as_it_is() -> None:
    with public_folder() as folder, other_user():
        if os.geteuid() == folder.stat().st_uid:
            folder.chmod(0o555)
        for target in (folder, folder / "deep" / "below"):
            with pytest.raises(StorageError, match=f"results folder {target} cannot be written"):
                check_folder(target, "results folder", "Choose another.")
        assert list(folder.iterdir()) == []


def test_a_folder_below_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="file is not a folder. Choose another"):
        check_folder(tmp_path / "file" / "results", "results folder", "Choose another.")


def test_a_folder_to_be_made_is_not_made_by_the_check(tmp_path: Path) -> None:
    check_folder(tmp_path / "results", "results folder", "")
    assert list(tmp_path.iterdir()) == []


def test_a_part_that_cannot_be_written_is_named() -> None:
    with public_folder() as folder:
        (folder / "locks").mkdir(mode=0o555)
        folder.chmod(0o777)
        with other_user(), pytest.raises(StorageError, match="locks cannot be written by you"):
            check_folder(folder, "results folder", "", ["locks", "absent"])


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "x"), "cannot be written: No space left on device. Free some space"),
        (OSError(errno.EACCES, "x"), "cannot be read or written: Permission denied"),
        (OSError(errno.EROFS, "x"), "cannot be read or written: Read-only file system"),
        (OSError(errno.EISDIR, "x"), "cannot be written: Is a directory. Move away what is"),
        (OSError("Error { I/O error: File too large (os error 27) }"), "cannot be written: "),
        (
            RuntimeError("PytorchStreamWriter failed writing file data/0"),
            "cannot be written: No space",
        ),
    ],
)
def test_a_full_disk_or_a_refused_write_names_the_file(error: Exception, words: str) -> None:
    with pytest.raises(StorageError, match=f"weights.pth {words}"), writing(Path("weights.pth")):
        raise error


@pytest.fixture
def small_disk() -> Iterator[None]:
    """No file may have more than 1,000 bytes, as on a disk that is nearly full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def _predictions(folder: Path) -> Path:
    table = pd.DataFrame({"image_id": np.random.default_rng(0).random(900)})
    ResultStore(folder).save_predictions("k", Predictions(table))
    return folder / "predictions" / "k.npz"


def _record(folder: Path) -> Path:
    ResultStore(folder).append({"key": "k", "status": "done", "text": "x" * 2000})
    return folder / "results.jsonl"


def _picture(folder: Path) -> Path:
    figure = Figure()
    FigureCanvasAgg(figure)
    figure.subplots().plot([1, 2])
    return save(figure, folder / "task.png")


def _training(folder: Path) -> Path:
    from bench.training.trainer import _write

    _write(folder / "best.pth", {"state_dict": {"weight": torch.rand(2000)}})
    return folder / "best.pth"


def _weights(folder: Path) -> Path:
    with atomic_path(folder / "model.safetensors") as temporary:
        save_file({"weight": torch.rand(2000)}, temporary)
    return folder / "model.safetensors"


@pytest.mark.usefixtures("small_disk")
@pytest.mark.parametrize("write", [_predictions, _record, _picture, _training, _weights])
def test_a_disk_that_fills_up_is_one_sentence_and_leaves_nothing_half_written(
    tmp_path: Path, write: Callable[[Path], Path]
) -> None:
    with pytest.raises(StorageError, match=f"{tmp_path}.* cannot be written: ") as caught:
        write(tmp_path)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.rglob(".*.tmp")) + list(tmp_path.rglob("*.p[nt][gh]"))


def test_a_mistake_of_the_user_is_not_taken_for_a_full_disk() -> None:
    with pytest.raises(DataError, match="image a"), writing(Path("cache")):
        try:
            raise PermissionError(errno.EACCES, "denied")
        except PermissionError as error:
            raise DataError("image a cannot be read.") from error


def test_other_errors_pass() -> None:
    with pytest.raises(ValueError, match="shape"), writing(Path("weights.pth")):
        raise ValueError("shape")
    with pytest.raises(FileNotFoundError), writing(Path("weights.pth")):
        raise FileNotFoundError(errno.ENOENT, "gone")
