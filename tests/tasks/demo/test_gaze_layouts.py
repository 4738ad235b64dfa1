"""The demos with eye gaze: both layouts are read back, and the eyes rest near what is spoken of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.core.sentences import split_sentences
from bench.data.annotations import Regions
from bench.data.loading import prepare
from bench.data.regions import map_of_box
from tasks.datasets.demos import egd_cxr, gaze, reflacx
from tasks.datasets.egd_cxr import EgdCxr
from tasks.datasets.reflacx import Reflacx
from tasks.demo.writers import manifest
from tests.tasks.demo.conftest import content

SIZE = 96
STUDIES = 5
DEMOS: dict[str, tuple[Any, Any]] = {
    "egd_cxr": (egd_cxr, EgdCxr()),
    "reflacx": (reflacx, Reflacx()),
}


@pytest.fixture(scope="module", params=DEMOS)
def demo(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return a demo's folder, its writer and its dataset."""
    writer, dataset = DEMOS[request.param]
    out = tmp_path_factory.mktemp("gaze") / request.param
    writer.write(out, studies=STUDIES, size=SIZE, seed=3, workers=1)
    return out, writer, dataset


def test_the_reader_agrees_with_the_manifest(demo: Any) -> None:
    out, _, dataset = demo
    assert {finding.level for finding in dataset.validate(out)} == {"ok"}
    index = dataset.index(out)
    assert len(index) == STUDIES and index["patient_id"].nunique() == STUDIES
    assert index.filter(like="label:").notna().to_numpy().any()


def test_the_same_seed_gives_the_same_bytes(demo: Any, tmp_path: Path) -> None:
    out, writer, _ = demo
    writer.write(tmp_path / "again", studies=STUDIES, size=SIZE, seed=3, workers=2)
    assert content(tmp_path / "again") == content(out)


def test_eyes_rest_near_the_finding_that_a_sentence_tells_of(
    demo: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More of a gaze map lies in the boxes of its finding than these have of the image."""
    monkeypatch.setenv("PLACE_BENCH_CACHE", str(tmp_path))
    out, _, dataset = demo
    prepared = prepare(dataset, out, size=SIZE, annotations=[Regions()])
    rows = prepared.subset(prepared.index).get(Regions)
    lines = (out / manifest.TRUTH).read_text().splitlines()
    truth = {record["image_id"]: record for record in map(json.loads, lines)}
    gains = []
    for row, (image, report) in enumerate(
        prepared.index[["image_id", "report"]].itertuples(index=False)
    ):
        record = truth[image]
        assert len(record["sentences"]) == len(split_sentences(report))
        maps = {each.sentence: each.map for each in rows[row] if each.sentence >= 0}
        for sentence, names in enumerate(record["sentences"]):
            boxes = [box for name in names for box in record["boxes"][name]]
            if not boxes or sentence not in maps:
                continue
            corners = [(x, y, x + w, y + h) for x, y, w, h in boxes]
            inside = np.max([map_of_box(box, (SIZE, SIZE)) for box in corners], axis=0)
            heat = maps[sentence]
            gains.append(float((heat * inside).sum() / heat.sum() - inside.mean()))
    assert len(gains) >= 5 and np.mean(gains) > 0.1


def test_words_are_spoken_at_150_a_minute_and_eyes_move_meanwhile(tmp_path: Path) -> None:
    job = manifest.Job(tmp_path, SIZE, 3, STUDIES)
    read = gaze.write_study(egd_cxr.DEMO, "egd_cxr", job, 0)
    dictation = gaze.dictate(read, np.random.default_rng(0))
    begins = np.array([begin for _, begin, _ in dictation.words])
    steps = np.diff(begins)
    assert np.median(steps) == pytest.approx(60 / 150, abs=0.002)
    starts = np.array([look.start for look in dictation.looks])
    ends = starts + [look.duration for look in dictation.looks]
    assert (starts[1:] >= ends[:-1] - 0.002).all(), "one after the other"
    assert starts[0] == 0 and ends[-1] >= begins[-1]
