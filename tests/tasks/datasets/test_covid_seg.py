"""COVID segmentations: outlines pasted in place, patients apart, what is missing counted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.core.errors import DataError
from bench.data.annotations import Masks
from bench.data.loading import prepare
from bench.data.notes import notes
from bench.data.splits import check_leaks
from tasks.datasets.covid_seg import CovidSeg
from tests.tasks.datasets.fakes import write_covid

COVID = CovidSeg()
REAL = Path(__file__).parents[3].parent / "shared" / "data" / "covid19_cxr_segmentations"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_covid(tmp_path / "covid_seg")
    return tmp_path / "covid_seg"


def test_index(root: Path) -> None:
    index = COVID.index(root)
    assert len(index) == 10
    assert notes(index).left_out == {
        "images with no lung outline": 1,
        "images with a lung or opacity mask file absent": 1,
    }
    assert index[index["lung_from_opacity"]]["image_id"].tolist() == ["case 1.png"]
    assert index.set_index("image_id").loc["case 7.png", "patient_id"] == "unknown-case 7.png"
    assert set(index["split"]) == {"train", "val", "test"}
    check_leaks(index)


def test_masks(root: Path) -> None:
    index = COVID.index(root).set_index("image_id", drop=False)
    lung, opacity = COVID.mask(index.loc["case 4.jpg"], root)
    expected = np.zeros((40, 50), np.uint8)
    expected[6:34, 29:42] = expected[6:34, 6:19] = 1
    assert (lung == expected).all()
    expected[:] = 0
    expected[11:17, 7:13] = 1
    assert (opacity == expected).all()
    lung, opacity = COVID.mask(index.loc["case 1.png"], root)
    assert lung[12, 8] == opacity[12, 8] == 1  # the right lung has no outline of its own


def test_changed_mask_file_is_seen_by_the_cache(root: Path) -> None:
    before = prepare(COVID, root, size=50, annotations=(Masks(),))
    (root / "masks" / "4-L.png").write_bytes((root / "masks" / "4-C.png").read_bytes())
    after = prepare(COVID, root, size=50, annotations=(Masks(),))
    assert after.data_hash != before.data_hash
    masks = [
        prepared.subset(prepared.index[prepared.index["image_id"] == "case 4.jpg"]).masks(0)[0]
        for prepared in (before, after)
    ]
    assert masks[0].sum() > masks[1].sum()


def test_validate_states_what_is_left_out(root: Path) -> None:
    messages = [finding.message for finding in COVID.validate(root)]
    assert any(message.startswith("10 images of 6 patients") for message in messages)
    assert "1 images with no lung outline are left out." in messages
    assert any("1 images lack one lung's outline" in message for message in messages)


def test_missing_image_is_named(root: Path) -> None:
    (root / "images" / "case 4.jpg").unlink()
    assert any(
        finding.level == "error" and "case 4.jpg" in finding.message
        for finding in COVID.validate(root)
    )
    with pytest.raises(DataError, match=r"case 4\.jpg cannot be read"):
        prepare(COVID, root, size=50)


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("Template Name", "Template", r"structure\.csv lacks the column 'Template Name'"),
        ("50x40,5,28", "50x40,5,48", r"masks/0-L\.png .* leaves its image"),
        (
            "50x40,5,28",
            "50x40,5,x",
            r"structure\.csv, line \d+: image 'case 0\.jpg' has a box that is not a number",
        ),
    ],
)
def test_wrong_rows_are_named(root: Path, old: str, new: str, match: str) -> None:
    table = root / "structure.csv"
    table.write_text(table.read_text().replace(old, new, 1))
    with pytest.raises(DataError, match=match):
        prepare(COVID, root, size=50, annotations=(Masks(),))


def test_truncated_mask_is_named(root: Path) -> None:
    path = root / "masks" / "0-L.png"
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(DataError, match=r"0-L\.png is truncated or corrupt"):
        prepare(COVID, root, size=50, annotations=(Masks(),))


@pytest.mark.skipif(
    not REAL.is_dir(), reason="the 44 real radiographs are not beside the repository"
)
def test_real_radiographs() -> None:
    index = COVID.index(REAL)
    assert len(index) == 44
    assert index["patient_id"].nunique() == 37
    assert index["split"].value_counts().to_dict() == {"train": 23, "test": 15, "val": 6}
    assert index["lung_from_opacity"].sum() == 2
    check_leaks(index)
    row = index[index["image_id"] == "covid-19-pneumonia-2.jpg"].iloc[0]
    lung, opacity = COVID.mask(row, REAL)
    assert 0.1 < lung.mean() < 0.6
    assert (opacity & lung).sum() > 0.9 * opacity.sum()
    assert not [finding for finding in COVID.validate(REAL) if finding.level == "error"]
