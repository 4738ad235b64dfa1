"""Tables: what a row may be, which rows are faults and what they take with them, and kept facts."""

from __future__ import annotations

import logging
from pathlib import Path

import pandas as pd
import pytest

from bench.core.errors import DataError
from bench.data import tables
from bench.data.faults import collecting
from bench.data.tables import (
    check_rows,
    find_file,
    find_table,
    read_table,
    remember,
    require_filled,
    require_unique,
)


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLACE_BENCH_CACHE", str(tmp_path / "cache"))


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "table.csv"
    path.write_text(text)
    return path


def test_names_and_values_are_stripped_and_the_index_is_the_line(tmp_path: Path) -> None:
    path = write(tmp_path, 'id , "name"\n\n1, "a, b" \n   \n2,\n')
    table = read_table(path, ("name", "id"))
    assert table.to_dict("list") == {"name": ["a, b", ""], "id": ["1", "2"]}
    assert table.index.tolist() == [3, 5]


def test_columns_that_are_not_asked_for_are_left_out(tmp_path: Path) -> None:
    path = write(tmp_path, "id,x,y\n1,2,3\n")
    assert list(read_table(path, ("id",), optional=("y", "z"))) == ["id", "y"]


def test_texts_may_have_several_lines_and_quotes(tmp_path: Path) -> None:
    path = write(tmp_path, 'id,text,more\n1,"one\ntwo ""so""","x\ny"\n2,three,z\n')
    table = read_table(path, ("id", "text"), texts=("text",))
    assert table["text"].tolist() == ['one\ntwo "so"', "three"]
    assert table.index.tolist() == [2, 5]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,a\n1,2\n2\n", "line 3: 1 fields; 2 were expected"),
        ("id,a\n1,2\n2,3,4\n", "line 3: 3 fields; 2 were expected"),
        ("id,a\n1,2,\n", "line 2: 3 fields"),
        ('id,a\n"1,2\n2,3\n3",4\n', "line 2: a stray quote"),
        ('id,a\n1,2"\n', "line 2: a stray quote"),
        ('id,a\n1,"2"x\n', "line 2: a stray quote"),
        ("id,a,id\n1,2,3\n", "has the column 'id' twice"),
        ("id,a, id\n1,2,3\n", "has the column 'id' twice"),
        ("id;a\n1;2\n", "lacks the column 'id'.*Columns found: id;a"),
        ("id,a\n", "has no rows"),
        ("\n\n", "lacks the column 'id'.*Columns found: none"),
    ],
)
def test_a_table_that_cannot_be_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=rf"table\.csv.*{message}"):
        read_table(write(tmp_path, text), ("id", "a"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            'id,text\n1,"one\n2,two\n',
            "line 2: unexpected end of data: a stray quote, or a cut file",
        ),
        ('id,text\n"1,one\n2",two\n', "line 2: a value runs over several lines"),
        ('id,text\n1,"one"x\n', "line 2: .*a stray quote"),
    ],
)
def test_a_stray_quote_swallows_no_rows_of_a_table_with_texts(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(DataError, match=rf"table\.csv.*{message}"):
        read_table(write(tmp_path, text), ("id", "text"), texts=("text",))


def test_a_table_cut_within_its_last_value_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        read_table(write(tmp_path, "id,a\n1,2"), ("id",))
    assert "does not end with a whole line" in caplog.text


def test_a_faulty_row_takes_the_others_of_its_name_with_it(tmp_path: Path) -> None:
    path = write(tmp_path, "id,a\n1,2\n2,3\n1,4,5\n3\n")
    with collecting("skip") as faults:
        table = read_table(path, ("id", "a"), key="id")
    assert table["id"].tolist() == ["2"]
    assert [(fault.id, fault.path) for fault in faults] == [("1", str(path)), ("3", str(path))]
    assert "line 4: 3 fields" in faults[0].reason


def test_checks_name_lines_and_leave_out_by_key(tmp_path: Path) -> None:
    path = write(tmp_path, "id,a\n1,x\n2,y\n1,z\n,w\n2,v\n")
    table = read_table(path, ("id", "a"))
    with pytest.raises(DataError, match="line 5: a blank id"):
        require_filled(table, path, "id")
    with pytest.raises(DataError, match=r"line 4: id '1' occurs twice \(2 duplicates\)"):
        require_unique(table, "id", path)
    with collecting("skip") as faults:
        left = require_unique(require_filled(table, path, "id"), "id", path)
    assert left.empty and [fault.id for fault in faults] == ["", "1", "2"]
    with collecting("skip") as faults:
        left = check_rows(table, table["a"] == "z", path, lambda row: f"a is {row['a']}", key="id")
    assert left["a"].tolist() == ["y", "w", "v"]
    assert faults[0].reason == f"table {path}, line 4: a is z."


def test_files_are_found_in_other_letter_case_and_hidden_ones_never(tmp_path: Path) -> None:
    assert find_file(tmp_path, "a.csv", "b.csv") is None
    (tmp_path / "._a.csv").write_text("x")
    assert find_file(tmp_path, "a.csv") is None
    (tmp_path / "B.CSV").write_text("x")
    assert find_table(tmp_path, "a.csv", "b.csv") == tmp_path / "B.CSV"
    (tmp_path / "a.csv.gz").write_text("x")
    assert find_table(tmp_path, "a.csv", "b.csv") == tmp_path / "a.csv.gz"
    with pytest.raises(DataError, match=r"c\.csv does not exist \(nor d\.csv\)"):
        find_table(tmp_path, "c.csv", "d.csv")


def test_facts_that_were_edited_are_read_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "one.txt").write_text("patient-1")
    read = []

    def facts(path: Path) -> dict[str, str]:
        read.append(path.name)
        return {"patient": path.read_text()}

    def again() -> pd.DataFrame:
        return remember(["one.txt"], facts, root=tmp_path, name="x", columns=("patient",))

    assert again()["patient"].tolist() == again()["patient"].tolist() == ["patient-1"]
    assert read == ["one.txt"]
    (store,) = (tmp_path / "cache" / "facts").iterdir()
    store.write_bytes(store.read_bytes().replace(b"patient-1", b"patient-2"))
    assert again()["patient"].tolist() == ["patient-1"]
    assert read == ["one.txt"] * 2 and "is damaged" in caplog.text
    store.write_bytes(store.read_bytes()[:40])
    assert again()["patient"].tolist() == ["patient-1"]
    store.unlink()
    (store / "inside").mkdir(parents=True)
    assert again()["patient"].tolist() == ["patient-1"]
    assert store.is_file()


def test_a_file_that_does_not_read_has_no_facts(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.txt").write_text(name)

    def facts(path: Path) -> dict[str, str]:
        if path.name == "one.txt":
            raise DataError(f"{path} is bad.")
        return {"text": path.read_text()}

    def rows() -> pd.DataFrame:
        files = ["one.txt", "two.txt"]
        return remember(files, facts, root=tmp_path, name="x", columns=("text",))

    with pytest.raises(DataError, match=r"one\.txt is bad"):
        rows()
    for _ in range(2):
        with collecting("skip") as faults:
            assert rows()["path"].tolist() == ["two.txt"]
        assert [fault.id for fault in faults] == ["one.txt"]


@pytest.mark.parametrize("last", ["3,,4,\n", '3,,"4",\n', "\n3,,4,\n"])
def test_the_fast_way_of_plain_tables_gives_the_same(tmp_path: Path, last: str) -> None:
    """A table with quotes or blank lines is read the slow way."""
    rows = "".join(f" {number},NA , {number}.0,\n" for number in range(50))
    table = read_table(write(tmp_path, f"id, a,b,\n{rows}{last}"), ("b", "id", "a"))
    assert table.index[:50].tolist() == list(range(2, 52))
    assert table["a"].tolist() == ["NA"] * 50 + [""]
    assert table["b"].tolist() == [f"{number}.0" for number in range(50)] + ["4"]
    assert table["id"].tolist() == [str(number) for number in range(50)] + ["3"]


def test_a_value_is_no_longer_than_a_limit(tmp_path: Path) -> None:
    path = write(tmp_path, f'id,text\n1,"{"x" * (tables.LONGEST_FIELD + 1)}"\n')
    with pytest.raises(DataError, match="line 2: field larger than field limit"):
        read_table(path, ("id", "text"), texts=("text",))
