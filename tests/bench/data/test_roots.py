"""Real files win where they are; the demo stands in only where that is allowed, and says so."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pandas as pd
import pytest

from bench.contracts import CheckResult, Dataset, Progress
from bench.core.errors import DataError
from bench.data.roots import DemoSize, data_kind, demo_root, resolve_root
from tests.support.commands import place_bench
from tests.support.progress import Said


class Toy(Dataset):
    name, title, licence, citation = "toy", "Toy", "none", "none"
    how_to_get = "write it"
    folders = ("toy-download/v1",)
    marker = "list*.csv"
    has_demo = True
    demo_studies = 7

    def __init__(self, complete: bool = True) -> None:
        self.made: list[tuple[int, int, int]] = []
        self.complete = complete

    def index(self, root: Path) -> pd.DataFrame:
        return pd.DataFrame()

    def validate(self, root: Path) -> list[CheckResult]:
        return []

    def make_demo(
        self,
        out: Path,
        *,
        studies: int,
        size: int,
        seed: int,
        workers: int = 2,
        progress: Progress | None = None,
    ) -> None:
        self.made.append((studies, size, seed))
        (out / "list.csv").write_text("x")
        if self.complete:
            facts = {"data_kind": "demo", "studies": studies, "size": size, "seed": seed}
            (out / "DEMO.json").write_text(json.dumps(facts))


@pytest.fixture(autouse=True)
def _homes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLACE_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("PLACE_BENCH_DATA", raising=False)


def data(tmp_path: Path, folder: str) -> Path:
    path = tmp_path / "data" / folder
    path.mkdir(parents=True)
    (path / "list-1.csv").write_text("x")
    return path


@pytest.mark.parametrize("folder", ["toy", "toy-download/v1", "."])
def test_finds_real_files(tmp_path: Path, folder: str) -> None:
    path = data(tmp_path, folder)
    root = resolve_root(Toy(), tmp_path / "data")
    assert (root.path.resolve(), root.kind) == (path.resolve(), "real")


def test_environment_names_the_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = data(tmp_path, "toy")
    monkeypatch.setenv("PLACE_BENCH_DATA", str(tmp_path / "data"))
    assert resolve_root(Toy()).path == path


def test_a_demo_folder_is_demo_wherever_it_stands(tmp_path: Path) -> None:
    path = data(tmp_path, "toy")
    (path / "DEMO.json").write_text("{}")
    assert resolve_root(Toy(), tmp_path / "data").kind == "demo"


def test_no_root_renders_the_demo_once_and_says_so() -> None:
    toy, lines = Toy(), Said()
    root = resolve_root(toy, progress=lines)
    assert root.kind == "demo"
    assert toy.made == [(7, 256, 0)]
    assert any("no data root is set" in line for line in lines.lines)
    assert resolve_root(toy, progress=lines) == root
    assert len(toy.made) == 1
    assert resolve_root(toy, demo=DemoSize(3, 64, 1)).path != root.path


def test_environment_without_the_dataset_falls_back_loudly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("PLACE_BENCH_DATA", str(tmp_path / "data"))
    lines = Said()
    assert resolve_root(Toy(), progress=lines).kind == "demo"
    assert any("$PLACE_BENCH_DATA" in line and "rendered demo" in line for line in lines.lines)
    with pytest.raises(DataError, match="does not hold 'toy'.*How to get it: write it"):
        resolve_root(Toy(), data="real")


def test_explicit_root_never_falls_back(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with pytest.raises(
        DataError, match=r"data root .*data does not hold 'toy' \(looked for 'list\*\.csv'"
    ):
        resolve_root(Toy(), tmp_path / "data")


def test_missing_root_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="data root .*gone does not exist"):
        resolve_root(Toy(), tmp_path / "gone")
    monkeypatch.setenv("PLACE_BENCH_DATA", str(tmp_path / "gone"))
    with pytest.raises(DataError, match="data root .*gone does not exist"):
        resolve_root(Toy())


def test_without_demo_and_root_the_way_is_said() -> None:
    toy = Toy()
    toy.has_demo = False
    with pytest.raises(
        DataError, match=r"neither --data-root nor \$PLACE_BENCH_DATA is set.*write it"
    ):
        resolve_root(toy)
    with pytest.raises(DataError, match="has no demo"):
        resolve_root(toy, data="demo")


def test_an_interrupted_demo_is_rendered_again(tmp_path: Path) -> None:
    out = tmp_path / "out" / "toy"
    with pytest.raises(DataError, match=r"wrote no .*DEMO\.json"):
        demo_root(Toy(complete=False), out=out)
    assert demo_root(Toy(), out=out).path == out
    assert sorted(path.name for path in out.iterdir()) == ["DEMO.json", "list.csv"]


def test_a_demo_is_never_rendered_over_real_data(tmp_path: Path) -> None:
    path = data(tmp_path, "toy")
    with pytest.raises(DataError, match="already holds data"):
        demo_root(Toy(), out=path)
    assert not (path / "DEMO.json").exists()


OTHERS = [DemoSize(8, 64, 0), DemoSize(7, 96, 0), DemoSize(7, 64, 1)]


@pytest.mark.parametrize("other", OTHERS)
def test_a_demo_of_another_size_or_seed_is_refused_and_named(
    tmp_path: Path, other: DemoSize
) -> None:
    toy, out = Toy(), tmp_path / "toy"
    demo_root(toy, DemoSize(7, 64, 0), out=out)
    with pytest.raises(
        DataError,
        match=rf"another demo \(studies 7, size 64, seed 0\); asked for was studies "
        rf"{other.studies}, size {other.size}, seed {other.seed}.*--force",
    ):
        demo_root(toy, other, out=out)
    assert demo_root(toy, DemoSize(7, 64, 0), out=out).path == out
    assert toy.made == [(7, 64, 0)], "the same demo is not rendered twice"


def test_force_renders_what_was_asked_over_a_demo_and_never_over_other_data(tmp_path: Path) -> None:
    toy, out = Toy(), tmp_path / "toy"
    demo_root(toy, DemoSize(7, 64, 0), out=out)
    (out / "of-the-old-demo.csv").write_text("x")
    demo_root(toy, DemoSize(9, 64, 0), out=out, force=True)
    assert json.loads((out / "DEMO.json").read_text())["studies"] == 9
    assert sorted(path.name for path in out.iterdir()) == ["DEMO.json", "list.csv"]
    real = data(tmp_path, "toy")
    with pytest.raises(DataError, match="already holds data"):
        demo_root(toy, out=real, force=True)
    assert [path.name for path in real.iterdir()] == ["list-1.csv"]


def test_force_renders_over_a_demo_that_was_begun_with_another_size(tmp_path: Path) -> None:
    out = tmp_path / "toy"
    with pytest.raises(DataError, match="wrote no"):
        demo_root(Toy(complete=False), DemoSize(7, 64, 0), out=out)
    demo_root(Toy(), DemoSize(8, 64, 0), out=out, force=True)
    assert json.loads((out / "DEMO.json").read_text())["studies"] == 8


@pytest.mark.parametrize("text", ["[]", "{", ""])
def test_a_damaged_mark_is_named(tmp_path: Path, text: str) -> None:
    out = tmp_path / "toy"
    demo_root(Toy(), out=out)
    (out / "DEMO.json").write_text(text)
    with pytest.raises(DataError, match="DEMO.json.*Render it again"):
        demo_root(Toy(), out=out)
    assert demo_root(Toy(), out=out, force=True).path == out


def test_a_mark_that_is_no_file_still_says_demo(tmp_path: Path) -> None:
    out = tmp_path / "toy"
    mark = out / "DEMO.json"
    for damage in (mark.mkdir, lambda: os.mkfifo(mark), lambda: mark.symlink_to("nowhere")):
        demo_root(Toy(), out=out, force=True)
        mark.unlink()
        damage()
        assert data_kind(out) == "demo"
        with pytest.raises(DataError, match="DEMO.json.*Render it again"):
            demo_root(Toy(), out=out)
    assert demo_root(Toy(), out=out, force=True).path == out
    assert mark.is_file()


def test_the_command_says_which_demo_is_there(tmp_path: Path) -> None:
    words = ["data", "make-demo", "siim", "--out", "demos", "--size", "64", "--workers", "1"]
    place_bench(*words, "--studies", "2", cwd=tmp_path)
    done = place_bench(*words, "--studies", "1", "--seed", "1", cwd=tmp_path, code=2)
    assert "another demo (dataset siim, studies 2, size 64, seed 0" in done.stderr
    place_bench(*words, "--studies", "1", "--seed", "1", "--force", cwd=tmp_path)
    made = json.loads((tmp_path / "demos" / "siim" / "DEMO.json").read_text())
    assert (made["studies"], made["seed"]) == (1, 1)
