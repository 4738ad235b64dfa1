"""What holds for every dataset alike: how its text files may be written, what stops a run, what
`--on-error skip` leaves out, and that nothing outside its folder is read."""

from __future__ import annotations

import csv
import gzip
import io
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bench.contracts import DATASETS, Dataset, OnError
from bench.core.errors import DataError
from bench.data.annotations import Boxes, Masks
from bench.data.indexing import read_index
from bench.data.loading import prepare
from bench.data.notes import notes
from tasks.datasets._chexpert import PLUS
from tests.support.progress import Said
from tests.tasks.datasets.every_fake import FAKES, dataset_of

every = pytest.mark.parametrize("fake", FAKES)
PICTURES = (".jpg", ".png", ".dcm", ".dicom")
UNREAD = {
    "chexpert": (PLUS,),
    "chexpert5x200": ("valid.csv",),
    "chexpert8x200": ("valid.csv",),
}
"""Files of a fake that its dataset does not read."""


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """Return a function that writes each fake once."""
    home, written = tmp_path_factory.mktemp("fakes"), {}

    def template(fake: str) -> Path:
        if fake not in written:
            written[fake] = home / fake.replace(" ", "_")
            written[fake].mkdir()
            FAKES[fake](written[fake])
        return written[fake]

    return template


@pytest.fixture
def root(templates: Callable[..., Any], fake: str, tmp_path: Path) -> Path:
    """Return a copy of one fake."""
    return shutil.copytree(templates(fake), tmp_path / "data" / "copy")


def index_of(fake: str, root: Path, on_error: OnError = "stop") -> pd.DataFrame:
    return read_index(dataset_of(fake), root, on_error)[0]


def read_all(fake: str, root: Path) -> pd.DataFrame:
    """Read all that a dataset reads: its index, and what its validation compares with it."""
    index = index_of(fake, root)
    dataset_of(fake).validate(root)
    return index


def text_files(fake: str, root: Path) -> list[Path]:
    """Return one of each kind of text file: names that differ in digits alone are one kind."""
    kinds: dict[str, Path] = {}
    for path in sorted(root.rglob("*")):
        unread = path.name in UNREAD.get(fake, ())
        if path.is_file() and not path.name.lower().endswith(PICTURES) and not unread:
            kinds.setdefault(re.sub(r"\d+", "", path.name), path)
    return list(kinds.values())


def content(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def rewrite(path: Path, data: bytes) -> None:
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def tables(fake: str, root: Path) -> list[Path]:
    return [path for path in text_files(fake, root) if ".csv" in path.name]


def edit_rows(path: Path, change: Callable[..., Any]) -> None:
    """Pass the rows of a CSV, header first, through `change`."""
    rows = list(csv.reader(io.StringIO(content(path).decode()), skipinitialspace=True))
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(change(rows))
    rewrite(path, text.getvalue().encode())


def test_every_registered_dataset_has_a_fake() -> None:
    ours = {
        name for name in DATASETS.names() if type(DATASETS.get(name)).__module__[:6] == "tasks."
    }
    assert {fake.partition(" ")[0] for fake in FAKES} == ours


# -------------------------------------------------------------------------- how text may be written
FORMS = {
    "byte order mark and CRLF": lambda text: text.replace("\n", "\r\n").encode("utf-8-sig"),
    "CR": lambda text: text.replace("\n", "\r").encode(),
    "UTF-16": lambda text: text.replace("utf-8", "utf-16").encode("utf-16"),
}


@every
@pytest.mark.parametrize("form", FORMS)
def test_any_form_of_text_gives_the_same_index(fake: str, root: Path, form: str) -> None:
    before = index_of(fake, root)
    for path in root.rglob("*"):
        if path.is_file() and not path.name.endswith(PICTURES):
            rewrite(path, FORMS[form](content(path).decode()))
    pd.testing.assert_frame_equal(index_of(fake, root), before)


@every
def test_hidden_files_of_macos_are_not_counted(fake: str, root: Path) -> None:
    before = index_of(fake, root)
    for path in list(root.rglob("*")):
        if path.is_file():
            (path.parent / f"._{path.name}").write_bytes(b"\0\5\x16\7")
            (path.parent / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    shutil.copytree(root, root / "__MACOSX")
    after = index_of(fake, root)
    pd.testing.assert_frame_equal(after, before)
    assert notes(after) == notes(before)


@every
def test_extensions_in_capitals_are_found(fake: str, root: Path) -> None:
    before = index_of(fake, root)
    for path in list(root.rglob("*")):
        if path.is_file() and path.name.endswith((*PICTURES, ".csv")):
            path.rename(path.with_suffix(path.suffix.upper()))
    after = index_of(fake, root)
    assert after["path"].str.contains(r"\.(?:JPG|PNG|DCM|DICOM)$").all()
    same = [name for name in before if name not in ("path", "mask_paths", "structures", "table")]
    pd.testing.assert_frame_equal(after[same], before[same])
    assert notes(after).unmatched == notes(before).unmatched
    dataset = dataset_of(fake)
    masks = [each for each in (Masks(),) if each.offered(dataset)]
    assert len(prepare(dataset, root, size=16, annotations=masks).index) == len(before)


# --------------------------------------------------------------------------------- what stops a run
def directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def latin_1(path: Path) -> None:
    data = content(path)
    rewrite(path, data[: len(data) // 2] + b"\xe9" + data[len(data) // 2 :])


def nul(path: Path) -> None:
    data = content(path)
    rewrite(path, data[: len(data) // 2] + b"\0" + data[len(data) // 2 :])


DAMAGE = {
    "directory": directory,
    "empty": lambda path: rewrite(path, b""),
    "Latin-1": latin_1,
    "NUL": nul,
}


@every
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_text_file_is_named(
    fake: str, templates: Callable[..., Any], tmp_path: Path, damage: str
) -> None:
    for number, original in enumerate(text_files(fake, templates(fake))):
        root = shutil.copytree(templates(fake), tmp_path / str(number))
        path = root / original.relative_to(templates(fake))
        DAMAGE[damage](path)
        with pytest.raises(DataError, match=re.escape(path.name)):
            read_all(fake, root)


@every
def test_a_row_of_another_length_stops_with_its_line(
    fake: str, templates: Callable[..., Any], tmp_path: Path
) -> None:
    for number, original in enumerate(tables(fake, templates(fake))):
        for change in (lambda row: row[:-1], lambda row: [*row, "x"]):
            root = tmp_path / f"{number}-{change(['a', 'b'])[-1]}"
            shutil.copytree(templates(fake), root)
            path = root / original.relative_to(templates(fake))
            edit_rows(path, lambda rows, change=change: [*rows[:3], change(rows[3]), *rows[4:]])
            if len(edit_header(path)) == 1 and change(["a", "b"]) == ["a"]:
                continue
            with pytest.raises(DataError, match=rf"{re.escape(path.name)}, line \d+: \d+ fields"):
                read_all(fake, root)


def edit_header(path: Path) -> list[str]:
    return content(path).decode().partition("\n")[0].split(",")


@every
def test_a_column_that_stands_twice_is_named(
    fake: str, templates: Callable[..., Any], tmp_path: Path
) -> None:
    for number, original in enumerate(tables(fake, templates(fake))):
        root = shutil.copytree(templates(fake), tmp_path / str(number))
        path = root / original.relative_to(templates(fake))
        edit_rows(path, lambda rows: [[*row, row[0]] for row in rows])
        with pytest.raises(DataError, match=rf"{re.escape(path.name)} has the column '.*' twice"):
            read_all(fake, root)


@every
def test_a_cut_file_is_the_same_or_named(
    fake: str, templates: Callable[..., Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A report is any text: where it is cut cannot be seen."""
    before = index_of(fake, templates(fake))
    for number, original in enumerate(text_files(fake, templates(fake))):
        if re.fullmatch(r"s\d+\.txt", original.name):
            continue
        root = shutil.copytree(templates(fake), tmp_path / str(number))
        path = root / original.relative_to(templates(fake))
        data = content(path).rstrip()
        rewrite(path, data[: -max(1, (len(data) - data.rfind(b"\n")) // 2)])
        caplog.clear()
        try:
            after = read_all(fake, root)
        except DataError as error:
            assert path.name in str(error)
        else:
            assert path.name in caplog.text or after.equals(before), path


@every
def test_a_row_that_is_lost_is_said(
    fake: str, templates: Callable[..., Any], tmp_path: Path
) -> None:
    """Either a file has no row now, or a count is another one."""
    dataset = dataset_of(fake)
    before = messages(dataset, templates(fake))
    for number, original in enumerate(tables(fake, templates(fake))):
        root = shutil.copytree(templates(fake), tmp_path / str(number))
        path = root / original.relative_to(templates(fake))
        edit_rows(path, lambda rows: [*rows[:2], *rows[3:]])
        try:
            after = messages(dataset, root)
        except DataError as error:
            assert path.name in str(error)
        else:
            assert after != before or path.name in UNSEEN, path


UNSEEN = (
    "stage_2_detailed_class_info.csv",
    "fixations.csv",
    "bounding_boxes.csv",
    "BBox_List_2017.csv",
    "timestamps_transcription.csv",
    "anomaly_location_ellipses.csv",
)
"""Tables that only `data verify` reads, or whose rows are optional."""


def messages(dataset: Dataset, root: Path) -> list[str]:
    """Return what a run says of an index."""
    said = Said()
    read_index(dataset, root, "stop", said)
    return [line.replace(str(root), "") for line in said.lines]


# --------------------------------------------------------------------------------- what is left out
@every
@pytest.mark.parametrize("damage", ["gone", "unreadable"])
def test_one_bad_picture_stops_or_is_left_out_and_listed(
    fake: str, root: Path, damage: str
) -> None:
    dataset = dataset_of(fake)
    index = index_of(fake, root)
    row = index.iloc[len(index) // 2]
    path = root / row["path"]
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(b"no picture at all")
    outlines = [each for each in (Masks(), Boxes()) if each.offered(dataset)]
    with pytest.raises(DataError, match=re.escape(path.name)):
        prepare(dataset, root, size=16, annotations=outlines)
    prepared = prepare(dataset, root, size=16, on_error="skip", annotations=outlines)
    assert set(index["image_id"]) - set(prepared.index["image_id"]) == {row["image_id"]}
    assert [item.id for item in prepared.skipped] == [row["image_id"]]


ROWS = {
    "chexpert": ("train.csv", ",41,", ",old,", "patient00000/study2", 1),
    "covid_seg": ("structure.csv", "50x40,5,28", "50x40,5,x", "case 0.jpg", 1),
    "covidx": ("train_COVIDx9A.txt", "f0_3.png normal", "f0_3.png flu", "f0_3.png", 1),
    "covidx4": ("train.txt", "f0_3.png positive", "f0_3.png flu", "f0_3.png", 1),
    "egd_cxr": ("egd_cxr/bounding_boxes.csv", "AP,heart,4,12", "AP,heart,4,4", "00000000-AP", 1),
    "iu_xray": ("annotation.json", '"Report 1."', "7", "CXR1_IM-1", 2),
    "iu_xray xml": ("ecgen-radiology/3.xml", "</eCitation>", "", "CXR3_IM-1", 1),
    "iu_xray kaggle": ("indiana_projections.csv", "3_IM-0001-0001.dcm.png,Fro", "3_a.png,F", "CXR3",
    2),
    "mimic_cxr": ("mimic-cxr-2.0.0-chexpert.csv", ",-1.0", ",maybe", "00000000-AP", 1),
    "mimic_cxr_r2gen": ("annotation.json", '"Report 1."', "7", "CXR1_IM-1", 1),
    "nih": ("Data_Entry_2017.csv", "Hernia", "Hernias", "00000002_000.png", 1),
    "object_cxr": ("train.csv", "2 10 10 40", "9 10 10 40", "train/00002.jpg", 1),
    "reflacx": ("reflacx/main_data/metadata_phase_1.csv", "16,20", "17,20", "00000000-AP", 1),
    "rsna": ("stage_2_train_labels.csv", "4.0,5.0,10.0,20.0,1", "4.0,5.0,-1,20.0,1", "id-11", 1),
    "siim": ("train-rle.csv", None, None, "1.2.276.6", 1),
    "tbx11k": ("data.csv", "'xmin': 4.0", "'xmin': oh", "tb0000.png", 1),
    "tbx11k release": ("annotations/json/TBX11K_train.json", "[2, 3, 10, 12]", "[2]", "tb0.png", 1),
    "vindr": ("annotations/annotations_train.csv", "Rib fracture", "Rib", "t01", 1),
    "vindr kaggle": ("train.csv", "k00,Aortic", "k00,Aortik", "k00", 1),
}  # fmt: skip


@pytest.mark.parametrize("fake", ROWS)
def test_one_bad_row_stops_or_its_image_is_left_out_and_listed(fake: str, root: Path) -> None:
    dataset = dataset_of(fake)
    index = index_of(fake, root)
    file, old, new, name, count = ROWS[fake]
    path = next(each for each in (root / file, root / f"{file}.gz") if each.is_file())
    text = content(path).decode()
    if old is None:  # one of two rows of an image loses its second field
        lines = text.split("\n")
        place = next(i for i, line in enumerate(lines) if line.startswith(f"{name},"))
        text = "\n".join([*lines[:place], name, *lines[place + 1 :]])
    else:
        assert new is not None and old in text
        text = text.replace(old, new, 1)
    rewrite(path, text.encode())
    outlines = [each for each in (Masks(), Boxes()) if each.offered(dataset)]
    with pytest.raises(DataError, match=re.escape(path.name.removesuffix(".gz"))):
        prepare(dataset, root, size=16, annotations=outlines)
    prepared = prepare(dataset, root, size=16, on_error="skip", annotations=outlines)
    gone = set(index["image_id"]) - set(prepared.index["image_id"])
    assert len(gone) == count
    assert all(name in image for image in gone)
    listed = [(item.id, item.path, item.reason) for item in prepared.skipped]
    assert listed and all(path.name.removesuffix(".gz") in " ".join(item) for item in listed)


def test_a_report_in_another_encoding_is_left_out_and_listed(
    templates: Callable[..., Any], tmp_path: Path
) -> None:
    root = shutil.copytree(templates("mimic_cxr"), tmp_path / "copy")
    before = index_of("mimic_cxr", root)
    path = next(root.rglob("s50000001.txt"))
    path.write_bytes(path.read_bytes() + b"\xe9")
    for _ in range(2):  # what was read of the others is kept; the bad one is named again
        index, skipped = read_index(dataset_of("mimic_cxr"), root, "skip")
        assert set(before["study_id"]) - set(index["study_id"]) == {"50000001"}
        assert [path.name in item.path for item in skipped] == [True]


def test_an_image_named_by_two_faults_is_left_out_whole(
    templates: Callable[..., Any], tmp_path: Path
) -> None:
    """An image whose other rows are sound is not used with a part of them."""
    root = shutil.copytree(templates("rsna"), tmp_path / "copy")
    table = root / "stage_2_train_labels.csv"
    table.write_text(table.read_text().replace("id-05,20.0", "id-05,20.0,9", 1))
    index, skipped = read_index(dataset_of("rsna"), root, "skip")
    assert len(index) == 11 and "id-05" not in set(index["image_id"])
    assert skipped[0].id == "id-05" and "line 14: 7 fields" in skipped[0].reason


# --------------------------------------------------------------------------- inside the folder only
@every
def test_a_link_out_of_the_folder_is_refused_unless_the_folder_is_a_link(
    fake: str, root: Path, tmp_path: Path
) -> None:
    row = index_of(fake, root).iloc[0]
    path = root / row["path"]
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DataError, match=f"image '{re.escape(row['image_id'])}': path .* is a link"):
        index_of(fake, root)
    index, skipped = read_index(dataset_of(fake), root, "skip")
    assert row["image_id"] not in set(index["image_id"])
    assert [item.id for item in skipped] == [row["image_id"]]
    (tmp_path / "link").symlink_to(root)
    assert row["image_id"] in set(index_of(fake, tmp_path / "link")["image_id"])


OUTSIDE = {
    "covidx": ("train_COVIDx9A.txt", " f0_3.png ", " ../../secret.png "),
    "covid_seg": ("structure.csv", "case 4.jpg", "../../secret.png"),
    "iu_xray": ("annotation.json", "CXR1_IM-1/0.png", "../../../secret.png"),
    "iu_xray kaggle": ("indiana_projections.csv", "3_IM-0001-0001.dcm.png", "../../../secret.png"),
    "mimic_cxr": ("mimic-cxr-2.0.0-metadata.csv", "00000001-PA", "../../../../../../secret"),
}


@pytest.mark.parametrize("fake", OUTSIDE)
def test_a_path_out_of_the_folder_is_refused(fake: str, root: Path) -> None:
    file, old, new = OUTSIDE[fake]
    for path in (path for path in root.rglob("*") if path.name.startswith(file.split("-")[0])):
        if path.is_file() and path.suffix in (".csv", ".txt", ".gz", ".json"):
            rewrite(path, content(path).decode().replace(old, new).encode())
    with pytest.raises(DataError, match=r"image '.*': path '.*secret.*' leads out of"):
        index_of(fake, root)
