"""A user's own split lists: every spelling of an image, sizes, what they leave out, refusals."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from bench.core.errors import DataError, SplitLeakError
from bench.data.split_lists import SplitLists, find_lists

INDEX = pd.DataFrame(
    {
        "image_id": [f"id{i}" for i in range(10)],
        "patient_id": [f"p{i // 2}" for i in range(10)],
        "path": [f"images/deep/f{i}.png" for i in range(10)],
        "split": "",
    }
)


def write(root: Path, **lists: list[str]) -> None:
    for name, lines in lists.items():
        (root / f"{name}.txt").write_text("\n".join(lines) + "\n")


def lists_of(root: Path, index: pd.DataFrame = INDEX) -> SplitLists:
    """Return the lists of a folder that has some."""
    lists = find_lists(root, index)
    assert lists is not None
    return lists


def test_none_without_lists(tmp_path: Path) -> None:
    (tmp_path / "readme.txt").write_text("x")
    assert find_lists(tmp_path, INDEX) is None


@pytest.mark.parametrize(
    "form",
    [
        "id{}",
        "images/deep/f{}.png",
        "/data/x/images/deep/f{}.png",
        "f{}.png",
        "f{}",
        "./deep/f{}.png",
        "f{}.png 0 1 0",
        "id{},1,0",
    ],
)
def test_every_spelling_of_an_image(tmp_path: Path, form: str) -> None:
    write(
        tmp_path,
        train=[form.format(i) for i in range(4)],
        val=[form.format(4)],
        test=[form.format(i) for i in (6, 7)],
    )
    lists = lists_of(tmp_path)
    split = lists.apply(INDEX)
    assert dict(zip(split["image_id"], split["split"], strict=True)) == {
        **{f"id{i}": "train" for i in range(4)},
        "id4": "val",
        "id6": "test",
        "id7": "test",
    }
    assert (lists.unknown, lists.left_out) == (0, 3)


def test_headers_and_unknown_names_are_counted(tmp_path: Path) -> None:
    write(tmp_path, train=["name,label", "id0,1", "gone,0", "", "id2,0"], test=["id8", "also_gone"])
    lists = lists_of(tmp_path)
    assert (lists.unknown, lists.left_out) == (2, 7)
    assert "2 lines name no image of the data, 7 images are in no list" in lists.title
    assert set(lists.apply(INDEX)["split"]) == {"train", "val", "test"}, (
        "validation is drawn from the training patients"
    )


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_hides_no_image(tmp_path: Path, encoding: str) -> None:
    for name, lines in (("train", ["id0", "id1"]), ("test", ["id8", "id9"])):
        (tmp_path / f"{name}.txt").write_bytes("\r\n".join(lines).encode(encoding))
        (tmp_path / f"._{name}.txt").write_bytes(b"\0\5\x16\7")
    lists = lists_of(tmp_path)
    assert {name: len(images) for name, images in lists.members.items()} == {"train": 2, "test": 2}
    assert (lists.unknown, lists.left_out) == (0, 6)


def test_a_first_line_that_may_name_an_image_is_counted(tmp_path: Path) -> None:
    write(tmp_path, train=["id77", "id0", "id1"], test=["image name", "id8"])
    assert lists_of(tmp_path).unknown == 1


@pytest.mark.parametrize("content", [b"", b"id0\nCaf\xe9\n", b"id0\0\n"])
def test_a_list_that_is_no_text_is_named(tmp_path: Path, content: bytes) -> None:
    write(tmp_path, train=["id0"], test=["id8"])
    (tmp_path / "train.txt").write_bytes(content)
    with pytest.raises(DataError, match=r"train\.txt"):
        find_lists(tmp_path, INDEX)


def test_fractions(tmp_path: Path) -> None:
    write(
        tmp_path,
        train=[f"id{i}" for i in range(6)],
        train_1=["id0"],
        train_10=["id0", "id3"],
        test=["id8"],
    )
    lists = lists_of(tmp_path)
    train = INDEX.iloc[:6]
    one, ten = lists.subset(train, 0.01), lists.subset(train, 0.1)
    assert one is not None and one["image_id"].tolist() == ["id0"]
    assert ten is not None and ten["image_id"].tolist() == ["id0", "id3"]
    assert lists.subset(train, 0.5) is None and lists.subset(train, 1.0) is None
    write(tmp_path, train_10=["id1", "id3"])
    assert lists_of(tmp_path).digest() != lists.digest()


def test_fractions_alone_leave_the_split(tmp_path: Path) -> None:
    write(tmp_path, train_10=["id0"])
    lists = lists_of(tmp_path)
    assert not lists.members and list(lists.fractions) == [0.1] and lists.left_out == 0


def test_a_test_list_alone_is_enough_for_a_test_set(tmp_path: Path) -> None:
    write(tmp_path, test=["id0", "id1"])
    with pytest.raises(DataError, match=r"no train\.txt"):
        find_lists(tmp_path, INDEX)
    lists = lists_of(tmp_path, INDEX.assign(split="test"))
    assert lists.apply(INDEX)["image_id"].tolist() == ["id0", "id1"]
    assert set(lists.apply(INDEX)["split"]) == {"test"}


@pytest.mark.parametrize(
    ("lists", "error", "message"),
    [
        ({"train": ["id0"]}, DataError, r"no test\.txt"),
        (
            {"train": ["id0", "id0"], "test": ["id1"]},
            DataError,
            r"names 'id0' twice \(lines 1 and 2\)",
        ),
        (
            {"train": ["id0", "id1"], "test": ["id1"]},
            SplitLeakError,
            r"1 images stand in .*train\.txt and test\.txt, e\.g\. 'id1'",
        ),
        ({"train": ["x", "y"], "test": ["id1"]}, DataError, r"train\.txt names no image"),
        (
            {"train": ["id0"], "test": ["id4"], "train_1": ["id4"]},
            DataError,
            r"train_1\.txt are not training images",
        ),
    ],
)
def test_refusals(
    tmp_path: Path,
    lists: dict[str, list[str]],
    error: type[DataError] | type[SplitLeakError],
    message: str,
) -> None:
    write(tmp_path, **lists)
    with pytest.raises(error, match=message):
        find_lists(tmp_path, INDEX)


def test_an_ambiguous_name_is_refused(tmp_path: Path) -> None:
    index = INDEX.assign(path=[f"s{i}/view1.jpg" for i in range(10)])
    write(tmp_path, train=["s0/view1.jpg", "s1/view1"], test=["s2/view1.jpg"])
    assert lists_of(tmp_path, index).members["train"] == {"id0", "id1"}
    write(tmp_path, train=["view1.jpg"], test=["s2/view1.jpg"])
    with pytest.raises(DataError, match=r"train\.txt, line 1: 'view1\.jpg' names several images"):
        find_lists(tmp_path, index)
