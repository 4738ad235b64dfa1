"""The written data sets: native layout and quirks, same bytes whatever the workers, restart after a
kill, refusals."""

from __future__ import annotations

import csv
import gzip
import json
import shutil
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pydicom
import pytest

from bench.core.errors import DataError, SettingError
from tasks.datasets._chexpert import LABELS
from tasks.datasets._rle import decode_rle
from tasks.datasets.demos import mimic_cxr, siim
from tasks.datasets.mimic_cxr import MimicCxr
from tasks.datasets.siim import Siim
from tasks.demo.beam.render import Rendering
from tasks.demo.body.patient import Study
from tasks.demo.writers import manifest
from tests.tasks.demo.conftest import SEED, SIZE, content


def table(folder: Path, name: str) -> list[dict[str, str]]:
    with gzip.open(folder / f"mimic-cxr-2.0.0-{name}.csv.gz", "rt") as stream:
        return list(csv.DictReader(stream))


def test_siim_table_has_the_quirks_of_stage_1(siim_demo: Path) -> None:
    lines = (siim_demo / "train-rle.csv").read_text().splitlines()
    assert lines[0] == "ImageId, EncodedPixels"
    assert any(line.endswith(", -1") for line in lines[1:])
    images = [line.split(",")[0] for line in lines[1:]]
    assert len(images) > len(set(images)) == 24, "some image has several masks"


def test_siim_files_are_the_images_of_the_table(siim_demo: Path) -> None:
    photometric = set()
    for path in siim_demo.rglob("*.dcm"):
        file = pydicom.dcmread(path)
        assert path.parts[-3:] == (
            file.StudyInstanceUID,
            file.SeriesInstanceUID,
            f"{file.SOPInstanceUID}.dcm",
        )
        assert file.pixel_array.shape == (SIZE, SIZE)
        assert file.PatientSex in "MF"
        assert file.ViewPosition in ("PA", "AP")
        photometric.add(file.PhotometricInterpretation)
    assert photometric == {"MONOCHROME1", "MONOCHROME2"}


def test_siim_masks_survive_the_table(siim_demo: Path) -> None:
    index, dataset = Siim().index(siim_demo), Siim()
    truth = {
        record["image_id"]: record
        for record in map(json.loads, (siim_demo / manifest.TRUTH).read_text().splitlines())
    }
    positive = 0
    for _, row in index.iterrows():
        boxes = truth[row["image_id"]]["boxes"].get("pneumothorax", [])
        mask = dataset.mask(row, siim_demo)[0]
        assert bool(mask.sum()) == bool(boxes) == bool(row["label:Pneumothorax"])
        for x, y, width, height in boxes:
            assert mask[y : y + height, x : x + width].any()
        positive += bool(boxes)
    assert 2 <= positive <= 12
    assert all(
        decode_rle(code, SIZE, SIZE).any()
        for codes in index["rle"]
        for code in codes
        if code != "-1"
    )


def test_siim_has_a_patient_with_two_images(siim_demo: Path) -> None:
    index = Siim().index(siim_demo)
    assert index["patient_id"].nunique() == 23


def test_the_loaders_agree_with_the_manifest(siim_demo: Path, mimic_demo: Path) -> None:
    for dataset, root in ((Siim(), siim_demo), (MimicCxr(), mimic_demo)):
        assert {finding.level for finding in dataset.validate(root)} == {"ok"}


def test_mimic_tables_and_files(mimic_demo: Path) -> None:
    metadata, split, chexpert = (
        table(mimic_demo, name) for name in ("metadata", "split", "chexpert")
    )
    assert [row["dicom_id"] for row in metadata] == [row["dicom_id"] for row in split]
    assert {row["ViewPosition"] for row in metadata} == {"PA", "AP", "LATERAL"}
    assert {row["split"] for row in split} == {"train", "validate", "test"}
    assert set(chexpert[0]) == {"subject_id", "study_id", *LABELS}
    for row in metadata:
        folder = mimic_demo / "files" / f"p{row['subject_id'][:2]}" / f"p{row['subject_id']}"
        assert (folder / f"s{row['study_id']}" / f"{row['dicom_id']}.jpg").is_file()
        assert (folder / f"s{row['study_id']}.txt").is_file()


def test_a_patient_stays_in_one_split_and_some_come_twice(mimic_demo: Path) -> None:
    where: dict[str, set[str]] = {}
    studies: dict[str, set[str]] = {}
    for row in table(mimic_demo, "split"):
        where.setdefault(row["subject_id"], set()).add(row["split"])
        studies.setdefault(row["subject_id"], set()).add(row["study_id"])
    assert all(len(splits) == 1 for splits in where.values())
    assert max(len(ids) for ids in studies.values()) == 2
    assert len(studies) == 21


@pytest.mark.parametrize("module", [siim, mimic_cxr])
def test_two_workers_write_the_same_bytes_as_one(module: ModuleType, tmp_path: Path) -> None:
    for workers in (1, 2):
        module.write(tmp_path / str(workers), studies=5, size=64, seed=1, workers=workers)
    assert content(tmp_path / "1") == content(tmp_path / "2")


@pytest.mark.parametrize("module", [siim, mimic_cxr])
def test_another_seed_writes_another_data_set(module: ModuleType, tmp_path: Path) -> None:
    for seed in (1, 2):
        module.write(tmp_path / str(seed), studies=2, size=64, seed=seed, workers=1)
    first, second = content(tmp_path / "1"), content(tmp_path / "2")
    assert not {name for name in first if name.endswith((".dcm", ".jpg", ".txt"))} & set(second)


def test_a_larger_demo_begins_with_the_smaller_one(tmp_path: Path) -> None:
    for studies in (2, 4):
        siim.write(tmp_path / str(studies), studies=studies, size=64, seed=1, workers=1)
    small, large = content(tmp_path / "2"), content(tmp_path / "4")
    images = {name: data for name, data in small.items() if name.endswith(".dcm")}
    assert images.items() <= large.items()


@pytest.mark.parametrize("module", [siim, mimic_cxr])
def test_restart_after_a_kill_completes_the_same_folder(
    module: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module.write(tmp_path / "whole", studies=4, size=64, seed=1, workers=1)
    real, calls = module.render, []

    def dying(*arguments: Study | int | str) -> Rendering:
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(module, "render", dying)
    with pytest.raises(KeyboardInterrupt):
        module.write(tmp_path / "killed", studies=4, size=64, seed=1, workers=1)
    assert not (tmp_path / "killed" / manifest.MANIFEST).exists()
    module.write(tmp_path / "killed", studies=4, size=64, seed=1, workers=1)
    assert content(tmp_path / "killed") == content(tmp_path / "whole")


def test_what_was_written_before_a_kill_is_not_rendered_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    siim.write(tmp_path / "whole", studies=5, size=64, seed=1, workers=1)
    assert not (tmp_path / "whole" / manifest.WRITTEN).exists()
    real = siim._write_study
    numbers: list[int] = []

    def counted(job: manifest.Job, number: int) -> dict[str, Any]:
        numbers.append(number)
        if numbers == [0, 1, 2, 3]:
            raise KeyboardInterrupt
        return real(job, number)

    out = tmp_path / "killed"
    write = partial(manifest.write, "siim", counted, siim._tables, version=siim.DEMO.version)
    with pytest.raises(KeyboardInterrupt):
        write(out, studies=5, size=64, seed=1, workers=1)
    kept = out / manifest.WRITTEN
    kept.write_text(kept.read_text()[:-9])  # the line of study 2 is cut off
    write(out, studies=5, size=64, seed=1, workers=1)
    assert numbers == [0, 1, 2, 3, 2, 3, 4]
    assert content(out) == content(tmp_path / "whole")


def test_a_complete_demo_is_left_alone_and_another_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "siim"
    siim.write(out, studies=2, size=64, seed=1, workers=1)
    monkeypatch.setattr(siim, "_write_study", lambda *_: pytest.fail("rendered again"))
    siim.write(out, studies=2, size=64, seed=1, workers=1)
    with pytest.raises(DataError, match="holds another demo"):
        siim.write(out, studies=3, size=64, seed=1, workers=1)


def test_a_folder_with_other_files_is_never_written_to(tmp_path: Path) -> None:
    (tmp_path / "scan.dcm").write_bytes(b"real")
    with pytest.raises(DataError, match="holds no demo"):
        siim.write(tmp_path, studies=1, size=64, seed=1, workers=1)
    assert [path.name for path in tmp_path.iterdir()] == ["scan.dcm"]


@pytest.mark.parametrize(("studies", "size"), [(0, 256), (4, 16)])
def test_impossible_settings_are_refused(tmp_path: Path, studies: int, size: int) -> None:
    with pytest.raises(SettingError, match="not possible"):
        mimic_cxr.write(tmp_path / "new", studies=studies, size=size, seed=0)
    assert not (tmp_path / "new").exists()


def test_leftovers_of_a_kill_are_no_part_of_the_data(siim_demo: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(siim_demo, copy)
    next(copy.rglob("*.dcm")).with_name(".x.dcm.1.part").write_bytes(b"half")
    assert len(Siim().index(copy)) == 24


def test_manifest_says_what_it_is(mimic_demo: Path) -> None:
    record = json.loads((mimic_demo / manifest.MANIFEST).read_text())
    assert (record["data_kind"], record["dataset"], record["seed"], record["size"]) == (
        "demo",
        "mimic_cxr",
        SEED,
        SIZE,
    )
    assert "says nothing clinical" in record["note"]
    assert np.isclose(record["counts"]["studies"], 30)
