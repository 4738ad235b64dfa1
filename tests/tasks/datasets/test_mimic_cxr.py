"""MIMIC-CXR as downloaded: pairs of frontal image and report, official split, labels, errors."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from bench.core.errors import DataError
from bench.data.loading import prepare
from bench.data.notes import notes
from bench.data.roots import resolve_root
from bench.data.splits import check_leaks, default_split
from tasks.datasets.mimic_cxr import MimicCxr
from tests.tasks.datasets.fakes import write_mimic

MIMIC = MimicCxr()


@pytest.fixture(params=[True, False], ids=["gz", "plain"])
def root(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    (tmp_path / "mimic").mkdir()
    write_mimic(tmp_path / "mimic", zipped=request.param)
    return tmp_path / "mimic"


@pytest.fixture
def one(tmp_path: Path) -> Path:
    (tmp_path / "mimic").mkdir()
    write_mimic(tmp_path / "mimic")
    return tmp_path / "mimic"


def test_index(root: Path) -> None:
    index = MIMIC.index(root)
    assert len(index) == 7  # 16 images: 8 lateral, 1 without text
    assert set(index["view"]) == {"PA", "AP"}
    assert notes(index).left_out == {
        "images of another view": 8,
        "images without report text": 1,
        "images whose report has neither findings nor impression": 0,
    }
    row = index.iloc[0]
    assert row["report"] == (
        "Study number 0. Right upper lobe nodule. "
        "The lungs are clear. There is a 1.5 cm nodule in the right upper lobe. No pleural "
        "effusion."
    )
    assert row["impression"] == "Study number 0. Right upper lobe nodule."
    assert row["path"] == "files/p10/p10000000/s50000000/00000000-AP.jpg"
    assert index["split"].tolist() == ["train"] * 3 + ["val"] * 2 + ["test"] * 2
    assert index["label:Atelectasis"].isna().tolist() == [
        True,
        False,
        True,
        True,
        False,
        True,
        False,
    ]
    assert (index["label:Cardiomegaly"] == -1).all()
    check_leaks(default_split(index))


def test_views_are_a_setting(one: Path) -> None:
    assert set(MimicCxr(views=("LL",)).index(one)["view"]) == {"LL"}


def test_pixels_of_the_pairs(one: Path) -> None:
    prepared = prepare(MIMIC, one, size=20)
    assert not prepared.annotations
    subset = prepared.subset(prepared.index)
    for number, study in enumerate(subset.index["study_id"]):
        expected = 10 * (int(study) - 50000000)
        assert np.abs(subset.images(number)[:, 2:18].astype(int) - expected).max() <= 1
        assert not subset.images(number)[:, :2].any()


@pytest.mark.parametrize("folder", ["mimic-cxr-reports", "reports", "../mimic-cxr-reports"])
def test_reports_may_lie_beside_the_images(one: Path, folder: str) -> None:
    expected = MIMIC.index(one)["report"].tolist()
    for path in one.rglob("*.txt"):
        target = one / folder / path.relative_to(one)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
    assert MIMIC.index(one)["report"].tolist() == expected


def test_sectioned_table_is_used_where_present(one: Path) -> None:
    with (one / "mimic_cxr_sectioned.csv").open("w", newline="") as file:
        rows = [
            ("study", "impression", "findings", "last_paragraph", "comparison"),
            ("s50000001", "Fine", "", "", ""),
            ("s50000002", "", "", "Clear lungs.", ""),
        ]
        csv.writer(file).writerows(rows)
    index = MIMIC.index(one)
    assert notes(index).left_out["images whose report has neither findings nor impression"] == 1
    assert index["report"].tolist() == ["Fine."]


def test_changed_report_is_read_again(one: Path) -> None:
    MIMIC.index(one)
    next(one.rglob("s50000001.txt")).write_text("\n IMPRESSION:  New text.\n")
    assert "New text." in MIMIC.index(one)["report"].tolist()


def test_a_report_without_a_known_section_is_counted_and_said(
    one: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = next(one.rglob("s50000001.txt"))
    path.write_text("\n TECHNIQUE:  AP.\n \n Clear lungs.\n")
    index = MIMIC.index(one)
    assert "50000001" not in set(index["study_id"])
    assert notes(index).left_out["images whose report has neither findings nor impression"] == 1
    assert "1 images are left out, since the report of their study has text" in caplog.text
    assert "study 50000001" in caplog.text
    path.write_text("\n FINDINGS/IMPRESSION:  Clear lungs.\n")
    row = MIMIC.index(one).set_index("study_id").loc["50000001"]
    assert row["impression"] == "Clear lungs." and row["findings"] == ""


def test_found_by_its_folder(one: Path) -> None:
    assert resolve_root(MIMIC, one).path == one


def test_validate(one: Path) -> None:
    messages = [finding.message for finding in MIMIC.validate(one)]
    assert "images: 16 found, 377110 expected (published)." in messages
    (one / "DEMO.json").write_text(
        json.dumps({"counts": {"images": 16, "studies": 8, "patients": 4}})
    )
    assert {finding.level for finding in MIMIC.validate(one)} == {"ok"}
    gone = next(one.rglob("*-PA.jpg"))
    gone.unlink()
    errors = [finding.message for finding in MIMIC.validate(one) if finding.level == "error"]
    assert len(errors) == 1
    assert str(gone) in errors[0]
    with pytest.raises(DataError, match=gone.name):
        prepare(MIMIC, one, size=20)


# ------------------------------------------------------------------------------------------- errors
def test_a_report_that_is_no_utf_8_is_named(one: Path) -> None:
    path = next(one.rglob("s50000001.txt"))
    path.write_bytes(b"\n FINDINGS:  Caf\xe9 au lait.\n")
    with pytest.raises(
        DataError,
        match=rf"file {path} is not UTF-8 text \(byte 0xe9 at 16, line 2\)\. Download it again",
    ):
        MIMIC.index(one)


def test_missing_table(one: Path) -> None:
    (one / "mimic-cxr-2.0.0-split.csv.gz").unlink()
    with pytest.raises(DataError, match=r"mimic-cxr-2\.0\.0-split\.csv does not exist"):
        MIMIC.index(one)


def test_truncated_gzip(one: Path) -> None:
    path = one / "mimic-cxr-2.0.0-metadata.csv.gz"
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(DataError, match=r"metadata\.csv\.gz ends in the middle of its gzip"):
        MIMIC.index(one)


def rewrite(tmp_path: Path, old: str, new: str, what: str) -> None:
    write_mimic(tmp_path, zipped=False)
    path = tmp_path / f"mimic-cxr-2.0.0-{what}.csv"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_missing_column(tmp_path: Path) -> None:
    rewrite(tmp_path, "ViewPosition", "View", "metadata")
    with pytest.raises(DataError, match=r"metadata\.csv lacks the column 'ViewPosition'"):
        MIMIC.index(tmp_path)


def test_unknown_split(tmp_path: Path) -> None:
    rewrite(tmp_path, "validate", "dev", "split")
    with pytest.raises(DataError, match=r"split\.csv, line \d+: unknown split 'dev'"):
        MIMIC.index(tmp_path)


def test_doubled_image(tmp_path: Path) -> None:
    rewrite(tmp_path, "00000001-PA", "00000000-AP", "metadata")
    with pytest.raises(
        DataError, match=r"metadata\.csv, line 4: dicom_id '00000000-AP' occurs twice"
    ):
        MIMIC.index(tmp_path)


def test_no_reports_at_all(one: Path) -> None:
    for path in one.rglob("*.txt"):
        path.unlink()
    with pytest.raises(DataError, match=r"no report text under .*mimic-cxr-reports\.zip"):
        MIMIC.index(one)
