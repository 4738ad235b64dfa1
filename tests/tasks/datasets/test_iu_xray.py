"""IU X-Ray in both layouts, R2Gen's MIMIC-CXR annotation, their demo, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.contracts import TASKS
from bench.core.errors import DataError
from bench.data.notes import notes
from bench.data.splits import check_leaks, default_split
from tasks.datasets._openi import read_report
from tasks.datasets.demos import iu_xray as demo
from tasks.datasets.iu_xray import IuXray
from tasks.datasets.mimic_cxr_r2gen import MimicCxrR2Gen

XML = """<?xml version="1.0" encoding="utf-8"?><eCitation><uId id="CXR{n}"/>
<MedlineCitation><Article><Abstract><AbstractText Label="COMPARISON">None.</AbstractText>
<AbstractText Label="FINDINGS">{findings}</AbstractText><AbstractText Label="IMPRESSION">1. Normal chest</AbstractText>
</Abstract></Article></MedlineCitation><MeSH><major>Pleural Effusion/left</major></MeSH>
<parentImage id="CXR{n}_IM-1-1001"/><parentImage id="CXR{n}_IM-1-2001"/></eCitation>"""


def annotation(root: Path, **changes: Any | str | str | int | list[str] | None) -> Path:
    entry = {
        "id": "CXR7_IM-0001",
        "report": "No effusion.\nHeart normal",
        "image_path": ["CXR7_IM-0001/0.png", "CXR7_IM-0001/1.png"],
        "split": "train",
    }
    content = {
        "train": [{**entry, **changes}],
        "val": [],
        "test": [{**entry, "id": "CXR8_IM-2", "image_path": ["CXR8_IM-2/0.png"]}],
    }
    (root / "annotation.json").write_text(json.dumps(content))
    return root


def test_annotation_gives_a_row_per_view(tmp_path: Path) -> None:
    index = IuXray().index(annotation(tmp_path))
    assert index["image_id"].tolist() == ["CXR7_IM-0001_0", "CXR7_IM-0001_1", "CXR8_IM-2_0"]
    assert index["study_id"].nunique() == 2 and index["patient_id"].tolist() == [
        "CXR7",
        "CXR7",
        "CXR8",
    ]
    assert index["path"].iloc[1] == "images/CXR7_IM-0001/1.png" and index["split"].tolist() == [
        "train",
        "train",
        "test",
    ]
    assert index["findings"].iloc[0] == index["report"].iloc[0] == "No effusion. Heart normal."


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"report": None}, "'CXR7_IM-0001' has no text"),
        ({"image_path": "a.png"}, "no list of images"),
        ({"image_path": ["CXR8_IM-2/0.png"]}, "image 'images/CXR8_IM-2/0.png' occurs twice"),
    ],
)
def test_a_wrong_entry_is_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message) as error:
        IuXray().index(annotation(tmp_path, **changes))
    assert str(tmp_path / "annotation.json") in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "cannot be read"), ('{"train": []}', "lacks the list 'val'"),
    ('{"train": [{}], "val": [], "test": []}', "lacks 'id'"),
     ('{"train": [], "val": [], "test": []}', "has no entries")],
)  # fmt: skip
def test_a_broken_annotation_is_named(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "annotation.json").write_text(content)
    with pytest.raises(DataError, match=message):
        IuXray().index(tmp_path)


def test_open_i_reports(tmp_path: Path) -> None:
    (tmp_path / "ecgen-radiology").mkdir()
    (tmp_path / "NLMCXR_png").mkdir()
    for n in range(1, 13):
        (tmp_path / "ecgen-radiology" / f"{n}.xml").write_text(
            XML.format(n=n, findings="Small effusion" if n > 1 else "")
        )
        for view in (1, 2):
            (tmp_path / "NLMCXR_png" / f"CXR{n}_IM-1-{view}001.png").touch()
    index = IuXray().index(tmp_path)
    assert len(index) == 24 and index["patient_id"].nunique() == 12 and set(index["split"]) == {""}
    row = index[index["study_id"] == "CXR2"].iloc[0]
    assert (row["findings"], row["impression"], row["mesh"]) == (
        "Small effusion.",
        "Normal chest.",
        "Pleural Effusion/left",
    )
    check_leaks(default_split(index, seed=0))
    findings = IuXray().validate(tmp_path)
    assert any("1 of 12 studies have no findings" in each.message for each in findings)
    assert any(each.level == "error" and "3851 expected" in each.message for each in findings)


def test_reports_without_an_image_are_known(tmp_path: Path) -> None:
    from tests.tasks.datasets.every_fake import write_open_i

    write_open_i(tmp_path)
    path = tmp_path / "ecgen-radiology" / "3.xml"
    path.write_text(path.read_text().replace('<parentImage id="CXR3_IM-1"/>', ""))
    index = IuXray().index(tmp_path)
    assert notes(index).left_out == {"reports without an image": 1}
    assert notes(index).unmatched == {"images on disk without a row in the table": 1}
    messages = [each.message for each in IuXray().validate(tmp_path)]
    assert "reports without an image: 1 found, 104 expected (published)." in messages
    assert "studies: 7 found, 3851 expected (published)." in messages


def test_kaggles_tables(tmp_path: Path) -> None:
    from bench.data.roots import resolve_root
    from tests.tasks.datasets.every_fake import write_indiana

    root = tmp_path / "openi"
    write_indiana(root)
    assert resolve_root(IuXray(), tmp_path).path == root
    index = IuXray().index(root).set_index("image_id")
    assert len(index) == 16 and index["study_id"].nunique() == 8 and set(index["split"]) == {""}
    row = index.loc["CXR1_IM-0001-0001"]
    assert row["path"] == "images/images_normalized/1_IM-0001-0001.dcm.png"
    assert (row["view"], row["study_id"], row["patient_id"]) == ("frontal", "CXR1", "CXR1")
    assert row["findings"] == 'Clear, said "well". No effusion.'
    assert row["report"] == f"Normal. {row['findings']}"
    messages = [each.message for each in IuXray().validate(root)]
    assert "studies: 8 found, 3851 expected (published)." in messages


def test_a_folder_without_any_layout_says_what_to_look_for(tmp_path: Path) -> None:
    from bench.data.roots import resolve_root

    (tmp_path / "iu_xray").mkdir()
    (tmp_path / "iu_xray" / "other.csv").touch()
    with pytest.raises(DataError, match=r"looked for 'annotation\.json' or 'ecgen-radiology' or"):
        resolve_root(IuXray(), tmp_path)


def test_a_damaged_xml_is_named(tmp_path: Path) -> None:
    path = tmp_path / "1.xml"
    path.write_text("<eCitation>")
    with pytest.raises(DataError, match=r"1\.xml is not XML"):
        read_report(path)
    path.write_text("<eCitation/>")
    with pytest.raises(DataError, match="has no uId"):
        read_report(path)
    for damage in (
        XML.format(n=1, findings="Caf\xe9").encode("latin1"),
        b"<?xml version='1.0' encoding='nonsense'?><a/>",
    ):
        path.write_bytes(damage)
        with pytest.raises(DataError, match=r"1\.xml is not XML: .* Download it again"):
            read_report(path)


def test_an_annotation_that_is_no_utf_8_is_named(tmp_path: Path) -> None:
    annotation(tmp_path)
    path = tmp_path / "annotation.json"
    path.write_bytes(path.read_bytes().replace(b"Heart", b"H\xe9art"))
    with pytest.raises(DataError, match=r"annotation\.json is not UTF-8 text \(byte 0xe9"):
        IuXray().index(tmp_path)


def test_neither_layout(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"neither annotation\.json nor ecgen-radiology"):
        IuXray().index(tmp_path)


def test_mimic_annotation_scores_every_image_on_its_own(tmp_path: Path) -> None:
    annotation(tmp_path, id="abc", study_id=50, subject_id=10, image_path=["p10/p10/s50/abc.jpg"])
    row = MimicCxrR2Gen().index(tmp_path).iloc[0]
    assert (row["patient_id"], row["study_id"], row["path"]) == (
        "10",
        "abc_0",
        "images/p10/p10/s50/abc.jpg",
    )
    assert any("270790 expected" in each.message for each in MimicCxrR2Gen().validate(tmp_path))


def test_demo_is_read_by_the_loader_of_the_real_files(tmp_path: Path) -> None:
    for name in ("one", "two"):
        demo.write(tmp_path / name, studies=10, size=64, seed=3, workers=1)
    files = [
        sorted(p.relative_to(tmp_path / n) for p in (tmp_path / n).rglob("*") if p.is_file())
        for n in ("one", "two")
    ]
    assert files[0] == files[1]
    assert all(
        (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
        for file in files[0]
    )
    index = IuXray().index(tmp_path / "one")
    assert len(index) == 20 and (index["findings"] != "").all()
    assert index.drop_duplicates("study_id")["split"].value_counts().to_dict() == {
        "train": 7,
        "test": 2,
        "val": 1,
    }
    assert {each.level for each in IuXray().validate(tmp_path / "one")} == {"ok"}
    check_leaks(index)


def test_tasks() -> None:
    for name, images in (("iu_rg", 2), ("mimic_rg", 1), ("mimic_r2gen_rg", 1)):
        assert (
            TASKS.get(name).options["images"] == images
            and TASKS.get(name).main_metric == "ce_f1_micro_abnormal"
        )
