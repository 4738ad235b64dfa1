"""Cells of one encoder pass on what it says of the test images; another encoder starts anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import bench
from bench.mm import maps
from tests.tasks.datasets.fakes import write_siim


def test_test_images_are_encoded_once_for_all_heads_on_an_encoder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLACE_BENCH_CACHE", str(tmp_path / "cache"))
    write_siim(tmp_path / "siim")
    encode = maps._encode_all
    encoded: list[int] = []

    def counted(source: Any, *rest: Any) -> Any:
        encoded.append(len(source))
        return encode(source, *rest)

    monkeypatch.setattr(maps, "_encode_all", counted)
    outcome = bench.run(
        "siim_seg",
        backbones=("convirt", "random"),
        seeds=(0, 1),
        fractions=(1.0,),
        settings={"epochs": 1, "steps_per_epoch": 2},
        data_root=tmp_path,
        frame=False,
        results=tmp_path / "results",
    )
    assert len(outcome.records) == 6, "two encoders and the row without an image, two seeds each"
    # convirt is one encoder, `random` another with every seed
    assert len(encoded) == 3 and len(set(encoded)) == 1
