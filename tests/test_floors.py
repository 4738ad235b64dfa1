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
    ("data", "metrics", "text", "training"),
    ("encoding",),
    ("cells", "mm"),
    ("report",),
    ("running",),
    ("api",),
    ("commands",),
)
"""Rooms of `bench` from the ground up; rooms of one floor do not know each other."""
SINGLE = {"running", "api"}
"""Rooms that are one file."""
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
        "grounding",
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
    assert rooms | SINGLE == {room for floor in FLOORS for room in floor}
    single = {f"{room}.py" for room in SINGLE}
    assert {path.name for path in (ROOT / "bench").glob("*.py")} == FACES | single


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
    assert named == [room for floor in FLOORS for room in floor if room not in SINGLE]


def test_no_test_imports_another_test_module() -> None:
    """What several tests use stands in tests/support, or in a module that tests nothing."""
    borrowed = {
        f"{path.relative_to(ROOT)} -> {name}"
        for path in files("tests")
        for name in imported(path)
        if name.startswith("tests.") and name.rpartition(".")[2].startswith("test_")
    }
    assert not borrowed


SUBJECTS = {
    "backbones/external/test_packages.py": "backbones/external/encoder.py",
    "backbones/external/test_timm_and_file.py": "backbones/external/timm_models.py",
    "backbones/shared/alignment/kernels/test_gpu.py": "backbones/shared/alignment/kernels",
    "backbones/shared/alignment/kernels/test_triton.py": "backbones/shared/alignment/kernels",
    "backbones/shared/alignment/test_losses.py": "backbones/shared/alignment",
    "backbones/shared/alignment/test_parity.py": "backbones/shared/alignment",
    "backbones/shared/pretraining/test_distributed.py": "backbones/shared/pretraining/trainer.py",
    "backbones/shared/pretraining/test_example_method.py": "docs/examples/method.py",
    "backbones/shared/pretraining/test_switches.py": "backbones/shared/pretraining/settings.py",
    "backbones/studies/look/test_grounding.py": "backbones/shared/pretraining/vision_language.py",
    "backbones/test_methods.py": "backbones/shared/pretraining/vision_language.py",
    "bench/cells/engines/test_early.py": "bench/cells/engines/local.py",
    "bench/contracts/test_abilities.py": "bench/contracts/backbones.py",
    "bench/cells/test_submitted_kinds.py": "bench/cells/submitted.py",
    "bench/core/test_schemes.py": "bench/core/registry.py",
    "bench/data/test_pixels.py": "bench/data/dicom.py",
    "bench/data/test_random_dicoms.py": "bench/data/dicom.py",
    "bench/data/test_second_decoder.py": "bench/data/codecs.py",
    "bench/encoding/test_tokens.py": "bench/encoding/features.py",
    "bench/metrics/test_decision_paired.py": "bench/metrics/decision.py",
    "bench/metrics/test_exact.py": "bench/metrics/weights.py",
    "bench/metrics/test_metrics.py": "bench/metrics/ranking.py",
    "bench/text/test_cases.py": "bench/text/rules.py",
    "tasks/classification/test_run.py": "tasks/classification/kind.py",
    "tasks/datasets/test_every_dataset.py": "tasks/datasets",
    "tasks/demo/test_boxed_layouts.py": "tasks/datasets/demos",
    "tasks/demo/test_marker_layout.py": "tasks/datasets/demos/marker.py",
    "tasks/demo/test_gaze_layouts.py": "tasks/datasets/demos",
    "tasks/demo/test_labelled_layouts.py": "tasks/datasets/demos",
    "tasks/demo/test_layouts.py": "tasks/datasets/demos",
    "tasks/report_generation/test_completion.py": "tasks/report_generation/kind.py",
    "tasks/report_generation/test_r2gen.py": "tasks/report_generation/decoder.py",
}
"""What a test file is about whose name is not that of its module: a second file of a module, or one
of several modules together."""
WHOLE = ("damage", "recorded")
"""Folders whose tests are about the whole, like those at the top of `tests`."""


def stands_for(test: str) -> list[str]:
    """Return the modules and packages that a test file may be about by its name and place."""
    folder, _, name = test.rpartition("/")
    module = name.removeprefix("test_").removesuffix(".py")
    return [f"{folder}/{module}.py", f"{folder}/_{module}.py", f"{folder}/{module}"]


def test_files_of_tests_stand_where_their_modules_stand() -> None:
    tests = [path.relative_to(ROOT / "tests") for path in files("tests")]
    named = [path for path in tests if path.name.startswith("test_") and len(path.parts) > 1]
    mirrored = [path.as_posix() for path in named if path.parts[0] not in WHOLE]
    without = [
        test
        for test in mirrored
        if test not in SUBJECTS and not any((ROOT / each).exists() for each in stands_for(test))
    ]
    assert not without, "rename them after their module, or say in SUBJECTS what they are about"


def test_the_subjects_of_other_test_files_exist() -> None:
    for test, subject in SUBJECTS.items():
        assert (ROOT / "tests" / test).is_file() and (ROOT / subject).exists(), test
        assert not any((ROOT / each).is_file() for each in stands_for(test)), f"{test}: no need"
