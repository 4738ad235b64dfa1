"""Findings that every dataset's `validate` shares: counts against the published ones, missing
files, the demo's own counts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from bench.contracts import Finding


def count_findings(
    found: Mapping[str, int], expected: Mapping[str, int], source: str
) -> list[Finding]:
    """Compare counts: ok where equal, a warning that names both where not."""
    findings = []
    for what, count in expected.items():
        if found.get(what) == count:
            findings.append(Finding("ok", f"{what}: {count}, as {source}."))
        else:
            findings.append(
                Finding(
                    "warning", f"{what}: {found.get(what, 0)} found, {count} expected ({source})."
                )
            )
    return findings


def compare(
    root: Path, found: Mapping[str, int], published: Mapping[str, int], source: str = "published"
) -> list[Finding]:
    """Compare the counts of a folder with the published ones (`source` says where or of what), or a
    demo's with its own."""
    demo = demo_counts(root)
    return count_findings(found, demo or published, "stated in DEMO.json" if demo else source)


def demo_counts(root: Path) -> dict[str, int]:
    """Return the counts that DEMO.json states (key `counts`), or {} for real data."""
    path = root / "DEMO.json"
    return dict(json.loads(path.read_text()).get("counts", {})) if path.is_file() else {}


def missing_findings(root: Path, paths: Iterable[str], how_to_get: str) -> list[Finding]:
    """Name the first of the files that are not on disk, and how many are missing."""
    gone = [path for path in paths if not (root / path).is_file()]
    if not gone:
        return [Finding("ok", "every file of the index is there.")]
    named = ", ".join(str(root / path) for path in gone[:3])
    return [
        Finding(
            "error", f"{len(gone)} files are missing, e.g. {named}. How to get them: {how_to_get}"
        )
    ]
