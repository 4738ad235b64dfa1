"""The pages stand by what they say: links lead somewhere, commands are understood, and what is
registered is named where a reader looks for it."""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer.core
import typer.main

from backbones.published.table import PUBLISHED
from bench.commands.cli import app
from bench.contracts import BACKBONES, KINDS, TASKS
from bench.core.paths import CACHE_HINT

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(
    [*ROOT.glob("*.md"), *DOCS.glob("*.md"), *(ROOT / "bench/report/numbers").glob("*.md")]
)
PAGE_OF_KIND = {
    "classification": "classification.md",
    "zero_shot": "zero_shot.md",
    "retrieval": "retrieval.md",
    "segmentation": "segmentation.md",
    "detection": "detection.md",
    "report_generation": "reports.md",
    "grounding": "grounding.md",
}
HOW_TO = {
    "dataset": 40,
    "encoder": 25,
    "method": 60,
    "head": 60,
    "region": 70,
    "regularizer": 45,
    "decoder": 80,
}
"""Example in docs/examples -> how many lines it may have."""
DOTS = {"NAME", "TASK", "ENCODER", "PATH", "FILE", "FOLDER", "METHOD", "PROTOCOL", "SOURCE"}


def page_names(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in paths]


@cache
def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)


def anchors(path: Path) -> set[str]:
    """Return the anchors that GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", without_code(text_of(path)), flags=re.MULTILINE)
    plain = [re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower() for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading).strip().replace(" ", "-") for heading in plain}


def code_lines(path: Path) -> list[str]:
    """Return the lines of a page's command blocks, continued lines joined, comments cut off."""
    blocks = re.findall(
        r"^```(?:bash|sh|)\n(.*?)^```", text_of(path), flags=re.DOTALL | re.MULTILINE
    )
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [re.split(r"\s#\s", line)[0].strip() for line in lines]


def commands(first: str) -> list[tuple[str, str]]:
    """Return (page, command) of every line in a command block that begins with `first`."""
    return [
        (page, line)
        for page, path in zip(page_names(PAGES), PAGES, strict=True)
        for line in code_lines(path)
        if line.startswith(f"{first} ")
    ]


def understood(words: list[str]) -> dict[str, Any]:
    """Return the values that the command line reads from `words`, running nothing; it raises its
    usage error where it does not understand them."""
    command: Any = typer.main.get_command(app)
    context = None
    while isinstance(command, typer.core.TyperGroup):
        context = command.make_context(command.name, words, parent=context)
        _, command, words = command.resolve_command(
            context, [*context._protected_args, *context.args]
        )
    return command.make_context(command.name, words, parent=context).params


def options_of(command: Any) -> set[str]:
    params = command.params
    names = {word for each in params for word in (*each.opts, *each.secondary_opts)}
    if isinstance(command, typer.core.TyperGroup):
        context = typer.Context(command)
        subs = [command.get_command(context, name) for name in command.list_commands(context)]
        names.update(*map(options_of, subs))
    return names | {"--help"}


def test_a_command_that_does_not_exist_is_not_understood() -> None:
    assert understood(["run", "siim_seg", "--seeds", "0,1"])["seeds"] == "0,1"
    for words in (["run", "siim_seg", "--seed", "0"], ["start"], ["list", "everything"]):
        with pytest.raises(Exception, match=r"No such|is not one of"):
            understood(words)


@pytest.mark.parametrize("path", PAGES, ids=page_names(PAGES))
def test_every_link_leads_to_a_file_and_a_heading(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(text_of(path))):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        linked = (path.parent / file).resolve() if file else path
        assert linked.exists(), f"{path.name}: {target}"
        if anchor:
            assert anchor in anchors(linked), f"{path.name}: {target}"


@pytest.mark.parametrize(("page", "line"), commands("place-bench"))
def test_every_command_of_the_pages_is_understood(page: str, line: str) -> None:
    values = understood(shlex.split(line)[1:])
    written = {
        name
        for file in (DOCS / "examples").glob("*.py")
        for name in re.findall(r'"(\w+)"', text_of(file))
    }
    groups = {group for name in TASKS.names() for group in TASKS.get(name).groups}
    for task in values.get("tasks") or []:
        assert task in {*TASKS.names(), *groups, *written, *DOTS}, f"{page}: {task}"


@pytest.mark.parametrize(("page", "line"), commands("make"))
def test_every_make_target_of_the_pages_exists(page: str, line: str) -> None:
    words = shlex.split(line)[1:]
    done = subprocess.run(
        ["make", "-n", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{page}: {line}\n{done.stderr}"


@pytest.mark.parametrize(("page", "line"), commands("python"))
def test_every_module_that_the_pages_run_exists_with_its_options(page: str, line: str) -> None:
    words = shlex.split(line)
    found = importlib.util.find_spec(words[2])
    assert words[1] == "-m" and found and found.origin, f"{page}: {line}"
    source = Path(found.origin)
    files = source.parent.glob("*.py") if source.name == "__init__.py" else [source]
    text = "".join(text_of(file) for file in files)
    for option in (word for word in words[3:] if word.startswith("--")):
        assert f'"{option}"' in text, f"{page}: {option}"


@pytest.mark.parametrize("path", PAGES, ids=page_names(PAGES))
def test_every_option_that_a_page_names_exists(path: Path) -> None:
    known = options_of(typer.main.get_command(app))
    for code in re.findall(r"`([^`\n]+)`", without_code(text_of(path))):
        if not code.startswith(("place-bench", "--")):
            continue
        for option in re.findall(r"(?<![\w-])--[a-z][a-z-]*", code):
            assert option in known, f"{path.name}: {code}"


@pytest.mark.parametrize("kind", KINDS.names())
def test_the_page_of_a_kind_names_its_tasks_protocols_metrics_and_baselines(kind: str) -> None:
    page = text_of(DOCS / PAGE_OF_KIND[kind])
    declared = KINDS.get(kind)
    tasks = [name for name in TASKS.names() if TASKS.get(name).kind == kind]
    baselines = [f"baseline:{name}" for name in declared.baselines]
    for name in [*tasks, *declared.protocols(), *baselines]:
        assert f"`{name}`" in page, name
    assert PAGE_OF_KIND[kind] in text_of(DOCS / "README.md")
    for task in tasks:
        assert metric_is_explained(TASKS.get(task).main_metric, page)
    for metric in declared.metrics:
        assert metric_is_explained(metric, page), metric


def test_the_page_of_statistics_says_what_a_constant_answer_gets_in_every_main_metric() -> None:
    page = text_of(DOCS / "statistics.md")
    for name in TASKS.names():
        task = TASKS.get(name)
        assert f"`{KINDS.get(task.kind).metric_of(task, 'default')}`" in page, name


def metric_is_explained(metric: str, page: str) -> bool:
    """Say whether a page names a metric, or its family: `i2t_p@5` is `p@K` in both directions."""
    family = re.sub(r"@\d+$", "@K", re.sub(r"^(i2t|t2i)_", "", metric))
    return f"`{metric}`" in page or f"`{family}`" in page


def test_the_page_of_methods_names_every_method() -> None:
    page = text_of(DOCS / "methods.md")
    for name in BACKBONES.names():
        if BACKBONES.get(name).method and not BACKBONES.plugin_of(name):
            assert f"`{name}`" in page, name


def test_the_page_of_checkpoints_names_every_published_encoder() -> None:
    page = text_of(DOCS / "checkpoints.md")
    for name in (published.name for published in PUBLISHED):
        assert f"`{name}`" in page, name


def test_the_index_names_every_page() -> None:
    index = text_of(DOCS / "README.md")
    for path in DOCS.glob("*.md"):
        if path.name != "README.md":
            assert f"({path.name})" in index, path.name


def test_the_readme_begins_with_the_two_commands_that_ci_runs() -> None:
    made = re.findall(r"^make (\w+)", text_of(ROOT / ".ci" / "run"), flags=re.MULTILINE)
    lines = [line for line in code_lines(ROOT / "README.md") if line]
    assert lines[:2] == ["make setup", "make test"] and {"setup", "test"} <= set(made)


@pytest.mark.parametrize("name", HOW_TO)
def test_a_how_to_page_shows_its_example_in_full(name: str) -> None:
    example = text_of(DOCS / "examples" / f"{name}.py")
    assert f"```python\n{example}```" in text_of(DOCS / f"howto_{name}.md")
    assert len(example.splitlines()) <= HOW_TO[name]


def test_the_page_on_annotations_shows_a_part_of_its_example() -> None:
    page = text_of(DOCS / "howto_annotation.md")
    [shown] = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    assert shown in text_of(DOCS / "examples" / "points.py")
    assert len(page.splitlines()) <= 60


def test_the_glossary_says_where_the_cache_is() -> None:
    assert "PLACE_BENCH_CACHE" in CACHE_HINT
    assert "`PLACE_BENCH_CACHE`" in text_of(DOCS / "glossary.md")
