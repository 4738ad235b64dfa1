"""The house has floors (docs/architecture.md): no file imports from a floor above its own."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FLOORS = (
    ("core",),
    ("contracts",),
    ("data", "metrics", "training"),
    ("encoding",),
    ("cells", "mm"),
    ("report",),
    ("api",),
    ("commands",),
)
"""Rooms of `bench` from the ground up; rooms of one floor do not know each other."""
TASK_FLOORS = (
    ("labelling",),
    ("demo",),
    ("datasets",),
    (
        "classification",
        "zero_shot",
        "retrieval",
        "segmentation",
        "detection",
        "report_generation",
    ),
)
"""Folders of `tasks` from the ground up: the demo renders and knows no dataset's layout, and the
task kinds do not know each other."""
FACES = {"cli.py", "errors.py", "registry.py", "settings.py", "progress.py", "__init__.py"}
"""Files of `bench` itself: they only pass on what stands in a room."""


def imported(path: Path) -> Iterator[str]:
    """Yield the modules a file imports, wherever in it; those for the type checker alone too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names)


def rooms_of(path: Path, package: str) -> set[str]:
    """Return the rooms of `package` that a file imports from."""
    prefix = f"{package}."
    modules = (name for name in imported(path) if name.startswith(prefix))
    return {name[len(prefix) :].partition(".")[0] for name in modules}


def floor_of(room: str, floors: tuple[tuple[str, ...], ...] = FLOORS) -> int:
    return next(number for number, rooms in enumerate(floors) if room in rooms)


def files(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def test_every_room_has_a_floor() -> None:
    rooms = {path.name for path in (ROOT / "bench").iterdir() if (path / "__init__.py").is_file()}
    assert rooms | {"api"} == {room for floor in FLOORS for room in floor}
    assert {path.name for path in (ROOT / "bench").glob("*.py")} == FACES | {"api.py"}


@pytest.mark.parametrize("room", [room for floor in FLOORS for room in floor])
def test_no_room_of_the_engine_reaches_up_or_sideways(room: str) -> None:
    known = {name for floor in FLOORS for name in floor}
    reached = {
        f"{path.relative_to(ROOT)} -> {other}"
        for path in files(f"bench/{room}") or [ROOT / "bench" / f"{room}.py"]
        for other in rooms_of(path, "bench") & known
        if other != room and floor_of(other) >= floor_of(room)
    }
    assert not reached


def test_the_engine_knows_no_task_and_no_encoder() -> None:
    strangers = [
        path
        for path in files("bench")
        for name in imported(path)
        if name.split(".")[0] in ("tasks", "backbones", "perf")
    ]
    assert not strangers


def test_tasks_and_encoders_never_meet() -> None:
    for here, there in (("tasks", "backbones"), ("backbones", "tasks")):
        assert not [p for p in files(here) if any(n.split(".")[0] == there for n in imported(p))]


def test_every_folder_of_tasks_has_a_floor() -> None:
    folders = {path.parent.name for path in (ROOT / "tasks").glob("*/__init__.py")}
    assert folders == {folder for floor in TASK_FLOORS for folder in floor}


@pytest.mark.parametrize("folder", [folder for floor in TASK_FLOORS for folder in floor])
def test_no_folder_of_tasks_reaches_up_or_sideways(folder: str) -> None:
    reached = {
        f"{path.relative_to(ROOT)} -> {other}"
        for path in files(f"tasks/{folder}")
        for other in rooms_of(path, "tasks")
        if other != folder and floor_of(other, TASK_FLOORS) >= floor_of(folder, TASK_FLOORS)
    }
    assert not reached


def test_what_methods_share_knows_no_method() -> None:
    reached = {
        f"{path.relative_to(ROOT)} -> {room}"
        for path in files("backbones/shared")
        for room in rooms_of(path, "backbones")
        if room != "shared"
    }
    assert not reached


def test_the_page_names_every_room_in_its_order() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = re.findall(r"^\| `bench/(\w+)/`", page, re.MULTILINE)
    assert named == [room for floor in FLOORS for room in floor if room != "api"]


def test_no_test_imports_another_test_module() -> None:
    """What several tests use stands in tests/support, or in a module that tests nothing."""
    borrowed = {
        f"{path.relative_to(ROOT)} -> {name}"
        for path in files("tests")
        for name in imported(path)
        if name.startswith("tests.") and name.rpartition(".")[2].startswith("test_")
    }
    assert not borrowed
