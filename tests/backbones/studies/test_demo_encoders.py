"""The demo encoders are made from nothing: rendered, tried, trained, shipped, listed; again is
nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from backbones.studies import demo_encoders
from bench.core.checkpoints import CURVE, Checkpoint
from bench.core.errors import SettingError, UnknownNameError
from tests.support.progress import Said

TINY = ["--studies", "60", "--size", "64", "--threads", "1", "--rates", "1e-3,1e-2"]
QUICK = ["--trial", "amp=off", "--set", "epochs=2", "--set", "batch_size=8", "--set", "amp=off"]


def test_from_nothing_to_a_listed_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLACE_BENCH_CACHE", str(tmp_path / "cache"))
    making = demo_encoders.parse(["convirt", *TINY, *QUICK, "--out", str(tmp_path / "home")])
    page = demo_encoders.make(making, Said())
    shipped = Checkpoint.open(tmp_path / "home" / "convirt")
    tried = shipped.card["learning_rates_tried"]["validation_rank"]
    assert set(tried) == {"1e-3", "1e-2"}
    assert shipped.card["settings"]["lr"] == float(max(tried, key=lambda rate: tried[rate]))
    assert shipped.card["rendered"] == {"studies": 60, "size": 64, "seed": 2025}
    rows = [json.loads(row) for row in (shipped.folder / CURVE).read_text().splitlines()]
    best = max(rows, key=lambda row: row["val/rank"])
    assert rows[shipped.card["kept_epoch"] - 1] == best
    line = next(row for row in page.read_text().splitlines() if row.startswith("| convirt"))
    assert f"{best['val/rank']:.3f}" in line
    assert shipped.card["weights_sha256"][:12] in line
    weights = shipped.weights.read_bytes()
    again = Said()
    demo_encoders.make(making, again)
    assert shipped.weights.read_bytes() == weights
    assert not any("pre-training on" in line for line in again.lines)


def test_an_unknown_method_and_no_rate_are_refused() -> None:
    with pytest.raises((SettingError, UnknownNameError), match="no method 'convert'"):
        demo_encoders.parse(["convert"])
    with pytest.raises(SettingError, match="--rates"):
        demo_encoders.parse(["convirt", "--rates", ""])
