"""Run every benchmark module (or those named) and write perf/RESULTS.md.

A module has `run() -> list[dict]`: `name`, `size`, `usual_s`, `ours_s`, `ratio`, `equal` (did both
give the same answer) and `wanted` (the ratio to reach, "" where the row is a point of a curve).
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import perf
from bench.cells.results import provenance
from bench.core.machine import cores
from bench.core.progress import default_progress
from bench.core.storage import write_atomically

COLUMNS = ("name", "size", "usual_s", "ours_s", "ratio", "equal", "wanted")


def names() -> list[str]:
    """Return the benchmark modules of this package."""
    return sorted(
        info.name for info in pkgutil.iter_modules(perf.__path__) if not info.name.startswith("_")
    )


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return rows as a Markdown table."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    lines += [
        "| " + " | ".join(_text(row.get(column, "")) for column in COLUMNS) + " |" for row in rows
    ]
    return "\n".join(lines)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "NO"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def section(name: str, rows: Sequence[dict[str, Any]]) -> str:
    """Return one module's section of the results file."""
    about = importlib.import_module(f"perf.{name}").__doc__ or name
    title = about.strip().splitlines()[0]
    return f"## {name}\n\n{title}\n\n{table(rows)}\n"


def merge(path: Path, sections: dict[str, str]) -> str:
    """Return the results file with the sections just measured put in place of their old ones."""
    before = path.read_text(encoding="utf-8").split("\n## ")[1:] if path.is_file() else []
    merged = {}
    for text in before:
        name, _ = text.split("\n", 1)
        merged[name] = f"## {text.rstrip()}\n"
    merged.update(sections)
    facts = provenance()
    head = (
        "# How fast it is\n\nEach line compares place-bench with the usual way of doing the same, "
        "measured side by side in one run (`make perf`). `usual_s` and `ours_s` are seconds, "
        "`ratio` is the first divided by the second, `equal` says whether both give the same "
        "numbers, and `wanted` is the ratio that was aimed at. Seconds differ between machines. "
        f"Last run: {cores()} CPU cores, {platform.machine()}, Python "
        f"{facts['version:python']}, "
        f"torch {facts['version:torch']}.\n"
    )
    return "\n".join([head, *(merged[name] for name in sorted(merged))])


def main() -> None:
    """Run the named perf (default: all) and write the results file."""
    parser = argparse.ArgumentParser(prog="python -m perf", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"default: all of {', '.join(names())}")
    modules = parser.parse_args().names or names()
    progress = default_progress()
    sections = {}
    unknown = set(modules) - set(names())
    if unknown:
        sys.exit(f"unknown benchmark {', '.join(sorted(unknown))}; known: {', '.join(names())}")
    for name in modules:
        progress.say(f"benchmark {name}")
        rows = importlib.import_module(f"perf.{name}").run()
        sections[name] = section(name, rows)
        print(sections[name])
    path = Path(perf.__path__[0]) / "RESULTS.md"
    write_atomically(path, merge(path, sections))


if __name__ == "__main__":
    main()
