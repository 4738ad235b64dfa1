"""Keys of settings, checkpoints and cells, and the numbers of seeded cells, are as recorded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.recorded.cells import RECORDED, checkpoint_keys, run_cells, settings_keys

KEPT = json.loads(RECORDED.read_text())
CLOSE = 1e-3
"""Other processors round differently, and a trained head carries that on."""


def test_settings_of_every_task_protocol_and_profile_are_as_recorded() -> None:
    assert settings_keys() == KEPT["settings"]


def test_checkpoints_are_found_where_they_were() -> None:
    assert checkpoint_keys() == KEPT["checkpoints"]


def test_a_seeded_cell_of_every_kind_gives_the_recorded_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLACE_BENCH_CACHE", str(tmp_path / "cache"))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    cells = run_cells(tmp_path)
    torch.set_num_threads(threads)
    assert cells.keys() == KEPT["cells"].keys()
    for name, facts in cells.items():
        recorded = KEPT["cells"][name]
        assert facts["key"] == recorded["key"], name
        assert facts == pytest.approx(recorded, abs=CLOSE, nan_ok=True), name
