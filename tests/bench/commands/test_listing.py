"""What `place-bench list` shows a person at 80 columns: every name once, no word broken."""

from __future__ import annotations

import pytest

from bench.commands.listing import show
from bench.contracts import BACKBONES, DATASETS, KINDS, TASKS


def listed(what: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("COLUMNS", "80")
    show(what, as_json=False)
    return capsys.readouterr().out


@pytest.mark.parametrize("what", ["tasks", "backbones", "datasets"])
def test_every_line_fits_eighty_columns(
    what: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = listed(what, capsys, monkeypatch).splitlines()
    assert max(len(line) for line in lines) <= 80


def test_tasks_stand_under_their_kind_a_line_each(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = listed("tasks", capsys, monkeypatch).splitlines()
    kind = ""
    where = {}
    for line in lines:
        if line in KINDS.names():
            kind = line
        elif line.startswith("  "):
            where[line.split()[0]] = kind
    assert where == {name: task.kind for name, task in TASKS.items()}
    assert len(lines) <= len(TASKS.names()) + len(KINDS.names()) + 2


def test_titles_are_whole_and_wrapped_between_words(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = " ".join(listed("backbones", capsys, monkeypatch).split())
    assert all(" ".join(spec.title.split()) in shown for _, spec in BACKBONES.items())
    assert all(f"{scheme}:NAME" in shown for scheme in BACKBONES.schemes())


def test_datasets_say_what_they_have(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = " ".join(listed("datasets", capsys, monkeypatch).split())
    assert f"{DATASETS.get('siim').title} [labels, masks, demo]" in shown
    assert "data info NAME" in shown
