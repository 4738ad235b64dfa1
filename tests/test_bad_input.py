"""Bad files end a run in one sentence that names them, with exit code 2, and leave nothing
half-written."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.commands import place_bench
from tests.tasks.datasets.fakes import write_siim


def _truncate_a_dicom(root: Path) -> str:
    path = sorted(root.rglob("*.dcm"))[3]
    path.write_bytes(path.read_bytes()[:-200])
    return path.name


def _rename_a_column(root: Path) -> str:
    table = root / "train-rle.csv"
    table.write_text(table.read_text().replace("EncodedPixels", "Pixels", 1))
    return "train-rle.csv"


def _lengthen_a_run(root: Path) -> str:
    table = root / "train-rle.csv"
    lines = table.read_text().splitlines()
    number = next(i for i, line in enumerate(lines[1:], start=1) if not line.endswith("-1"))
    image = lines[number].split(",")[0]
    lines[number] = f"{image}, 5 99999"
    table.write_text("\n".join(lines) + "\n")
    return image


def _remove_an_image(root: Path) -> str:
    path = sorted(root.rglob("*.dcm"))[5]
    path.unlink()
    return path.stem


def test_a_report_in_another_encoding_is_named(tmp_path: Path) -> None:
    from tests.tasks.datasets.fakes import write_mimic

    (tmp_path / "data" / "mimic_cxr").mkdir(parents=True)
    write_mimic(tmp_path / "data" / "mimic_cxr")
    path = next(tmp_path.rglob("s50000001.txt"))
    path.write_bytes(path.read_bytes() + b"\xff")
    done = place_bench(
        "run",
        "mimic_cls",
        "--backbones",
        "random",
        "--data-root",
        str(tmp_path / "data"),
        cwd=tmp_path,
        code=2,
    )
    assert (
        str(path) in "".join(done.stderr.split())
        and "is not UTF-8" in done.stderr
        and "Traceback" not in done.stderr
    )


@pytest.mark.parametrize(
    "damage", [_truncate_a_dicom, _rename_a_column, _lengthen_a_run, _remove_an_image]
)
def test_bad_data_is_named(damage: Callable[[Path], str], tmp_path: Path) -> None:
    write_siim(tmp_path / "data" / "siim")
    named = damage(tmp_path / "data" / "siim")
    done = place_bench(
        "run",
        "siim_seg",
        "--backbones",
        "random",
        "--data-root",
        str(tmp_path / "data"),
        cwd=tmp_path,
        code=2,
    )
    assert named in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "results").exists()


def _of_another_architecture(path: Path) -> str:
    torch.save({f"layer{i}.weight": torch.zeros(3, 3) for i in range(5)}, path)
    return "layer1.0.conv2.weight"


class _Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("owned"),))


def _code_carrying(path: Path) -> str:
    path.write_bytes(pickle.dumps({"state_dict": _Evil()}))
    return path.name


def _truncated(path: Path) -> str:
    torch.save({"weight": torch.zeros(100, 100)}, path)
    path.write_bytes(path.read_bytes()[:5000])
    return path.name


@pytest.mark.parametrize("damage", [_of_another_architecture, _code_carrying, _truncated])
def test_bad_checkpoint_is_refused(damage: Callable[[Path], str], tmp_path: Path) -> None:
    write_siim(tmp_path / "data" / "siim")
    path = tmp_path / "weights.pth"
    named = damage(path)
    encoder = f"file:{path}?arch=resnet18"
    done = place_bench(
        "run",
        "siim_seg",
        "--backbones",
        encoder,
        "--data-root",
        str(tmp_path / "data"),
        cwd=tmp_path,
        code=2,
    )
    assert named in done.stderr and str(path) in done.stderr and "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("owned")), "a pickle ran its code"
    assert not list((tmp_path / "results").rglob("*.npz"))
