"""Who is in the demos: enough test patients, splits that hold while a demo grows, streams that no
two demos share, and the demo of pre-training as it was."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import numpy as np
import pandas as pd
import pytest

from bench.contracts import DATASETS
from bench.data.split_lists import find_lists
from bench.data.splits import check_leaks
from tasks.datasets import vindr as vindr_dataset
from tasks.datasets._exclusive import PER_CLASS
from tasks.datasets._rendered import Rendered
from tasks.datasets.covidx import Covidx, Covidx4
from tasks.datasets.demos import (
    chestxdet10,
    chexpert,
    chexpert5x200,
    covidx,
    exclusive,
    gaze,
    iu_xray,
    marker,
    mimic_cxr,
    nih,
    object_cxr,
    rsna,
    siim,
    tbx11k,
    vindr,
)
from tasks.datasets.demos.lists import Member, list_splits
from tasks.datasets.egd_cxr import EgdCxr
from tasks.datasets.ms_cxr import MsCxr
from tasks.datasets.reflacx import Reflacx
from tasks.demo import RENDERER_VERSION
from tasks.demo.beam.render import render
from tasks.demo.body.patient import Patient, Study
from tasks.demo.members import Demo
from tasks.demo.reports import visits
from tasks.demo.writers import manifest

RENDERED = {name: data for name, data in DATASETS.items() if isinstance(data, Rendered)}
WRITERS = (
    chestxdet10,
    chexpert,
    chexpert5x200,
    covidx,
    gaze,
    iu_xray,
    marker,
    mimic_cxr,
    nih,
    object_cxr,
    rsna,
    siim,
    tbx11k,
    vindr,
)
LEAST = 400
NEEDED = {"siim": 1839, "rsna": 1570, "covidx": 952, "tbx11k": 429, "vindr": 417}
"""Test patients by which a difference of 0.05 between two encoders shows with 80 % power, where
that is more than `LEAST`."""
Splits = dict[str, str]
"""Patient -> split."""


# ------------------------------------------------------------------------- who is in which split
def _visits(module: Any, rates: dict[str, float], every: int, number: int, seed: int) -> Study:
    return visits.study_of(seed, number, module.DEMO.stream, rates, every)


def _listed(module: Any, rates: dict[str, float], label: str, seed: int, studies: int) -> Splits:
    """Return the splits of the lists of a demo; the label is what was drawn, not what was seen."""
    members = []
    for number in range(studies):
        study = _visits(module, rates, 20, number, seed)
        first = study.patient.number
        members.append(Member(str(number), str(first), first, int(study.has(label))))
    splits = list_splits(module.DEMO, members, studies)
    return {member.patient: splits[member.image] for member in members}


def _alone(seed: int, studies: int) -> Splits:
    members = [Member(str(n), str(n), n, int(n % 5 == 0)) for n in range(studies)]
    return list_splits(tbx11k.DEMO, members, studies)


def _mimic(seed: int, studies: int) -> Splits:
    layout = mimic_cxr.Layout("", mimic_cxr.DEMO, mimic_cxr.drawn, mimic_cxr.original_split)
    return {str(p): mimic_cxr.split_of(layout, p, studies) for p in range(studies * 7 // 10)}


def _gaze(data: Rendered) -> Callable[[int, int], Splits]:
    return lambda seed, studies: {
        str(n): gaze.split_of(data.demo, n, studies) for n in range(studies)
    }


def _covidx(data: Any) -> Callable[[int, int], Splits]:
    layout = covidx.Layout(data.name, data.demo, data.lists, {})
    return lambda seed, studies: {
        str(n): covidx.split_of(layout, seed, n, studies) for n in range(studies)
    }


def _firsts(studies: int, every: int) -> list[int]:
    """Return the number of the first study of every patient."""
    return [n for n in range(studies) if n % every != every - 1]


def _of_each(split: Callable[[int], str], firsts: list[int]) -> Splits:
    return {str(first): split(first).replace("valid", "test") for first in firsts}


SPLITS: dict[str, Callable[[int, int], Splits]] = {
    "siim": lambda seed, n: _listed(siim, siim.SIIM_RATES, "pneumothorax", seed, n),
    "rsna": lambda seed, n: _listed(rsna, rsna.RSNA_RATES, "consolidation", seed, n),
    "tbx11k": _alone,
    "mimic_cxr": _mimic,
    "covidx": _covidx(Covidx()),
    "covidx4": _covidx(Covidx4()),
    "egd_cxr": _gaze(EgdCxr()),
    "reflacx": _gaze(Reflacx()),
    "ms_cxr": _gaze(MsCxr()),
    "chestxdet10": lambda seed, n: _of_each(
        lambda first: chestxdet10.split_of(first, n), _firsts(n, 20)
    ),
    "nih": lambda seed, n: _of_each(
        lambda first: nih.split_of(seed, first, n), _firsts(n, nih.EVERY)
    ),
    "marker": lambda seed, n: _of_each(
        lambda number: marker.split_of(seed, number, n), list(range(n))
    ),
    "chexpert": lambda seed, n: _of_each(
        lambda first: chexpert.folder_of(seed, first, n), _firsts(n, 8)
    ),
    "vindr": lambda seed, n: _of_each(lambda first: vindr.split_of(first, n), _firsts(n, 20)),
    "object_cxr": lambda seed, n: _of_each(
        lambda first: object_cxr.folder_of(first, n), list(range(n))
    ),
    "iu_xray": lambda seed, n: _of_each(lambda first: iu_xray.split_of(first, n), list(range(n))),
}
ALL_TEST = ("chexpert5x200", "chexpert8x200", "mimic5x200")
"""Sets of as many images of every class, each of a patient of its own, all of them test."""


def test_the_tables_above_name_every_demo() -> None:
    assert {*SPLITS, *ALL_TEST} == set(RENDERED)


@pytest.mark.parametrize("name", SPLITS)
def test_the_default_demo_has_the_test_patients_that_are_needed(name: str) -> None:
    demo = RENDERED[name].demo
    assert RENDERED[name].demo_studies == demo.studies
    counts = Counter(SPLITS[name](0, demo.studies).values())
    assert counts["test"] >= NEEDED.get(name, LEAST)
    before = Counter(SPLITS[name](0, demo.as_original).values())
    assert counts["train"] == before["train"]
    assert counts["val"] == before["val"]


@pytest.mark.parametrize("name", ALL_TEST)
def test_the_default_demo_has_the_test_images_of_every_class(name: str) -> None:
    data = RENDERED[name]
    classes = data.label_names
    drawn = Counter(
        exclusive.class_of(data.demo, 0, number, classes) for number in range(data.demo.studies)
    )
    least = min(drawn[label] for label in classes)
    assert min(least, PER_CLASS) * len(classes) >= LEAST


@pytest.mark.parametrize("name", SPLITS)
def test_a_patient_keeps_its_split_while_a_demo_grows_up_to_the_default(name: str) -> None:
    demo = RENDERED[name].demo
    whole = SPLITS[name](0, demo.studies)
    for studies in (demo.as_original, demo.as_original + demo.more_test // 3):
        assert SPLITS[name](0, studies).items() <= whole.items()


@pytest.mark.parametrize("studies", [20, 100, 400, 1000, 5000, 20_000])
def test_a_demo_of_any_size_has_a_split_to_train_on(studies: int) -> None:
    demo = Demo(stream=1, as_original=400, more_test=1880)
    original = ["test" if n % 20 < 3 else "train" for n in range(studies)]
    splits = [demo.split_of(n, studies, original[n]) for n in range(studies)]
    test = splits.count("test")
    assert splits.count("train") >= min(studies * 0.85, 340)
    assert test >= studies * 0.15 and test >= min(60, studies * 0.15)
    assert test == {1000: 660, 5000: 1940}.get(studies, studies * 3 // 20)


# ------------------------------------------------------------------------------ streams and ids
class Drawn(Exception):
    """The study that a writer was about to render."""

    def __init__(self, study: Study) -> None:
        super().__init__()
        self.study = study


def _stop(study: Study, *_: object) -> NoReturn:
    raise Drawn(study)


@pytest.fixture
def studies_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Iterator[Study]]:
    """Return what gives the studies that the writer of a dataset draws, none of them rendered."""
    jobs: list[Callable[[int], object]] = []

    def kept(_: Path, job: Callable[[int], object], *__: object) -> list[dict[str, Any]]:
        jobs.append(job)
        return []

    monkeypatch.setattr(manifest, "_written", kept)
    monkeypatch.setattr(manifest, "write_truth", lambda *_: None)
    for module in WRITERS:
        monkeypatch.setattr(module, "render", _stop)

    def drawn(name: str, seed: int, numbers: range) -> Iterator[Study]:
        out = tmp_path / f"{name}-{seed}"
        RENDERED[name].make_demo(out, studies=1000, size=64, seed=seed)
        for number in numbers:
            with pytest.raises(Drawn) as caught:
                jobs[-1](number)
            yield caught.value.study

    return drawn


def _person(patient: Patient) -> Patient:
    return replace(patient, number=0)


def test_no_two_demos_and_no_two_seeds_show_the_same_patient(
    studies_of: Callable[..., Iterator[Study]],
) -> None:
    where: dict[Patient, str] = {}
    for name in RENDERED:
        for seed in (0, 2025):
            demo = f"{name} {seed}"
            for study in studies_of(name, seed, range(60)):
                assert where.setdefault(_person(study.patient), demo) == demo


@pytest.mark.parametrize("name", RENDERED)
def test_a_demo_states_the_version_that_its_folder_is_named_by(
    name: str, studies_of: Callable[..., Iterator[Study]], tmp_path: Path
) -> None:
    assert not list(studies_of(name, 0, range(0)))
    card = json.loads((tmp_path / f"{name}-0" / manifest.MANIFEST).read_text())
    assert card["renderer_version"] == RENDERED[name].demo_version()
    unchanged = ("chestxdet10", "egd_cxr", "marker", "mimic_cxr", "ms_cxr", "reflacx")
    changes = {"siim": 2, **dict.fromkeys(unchanged, 0)}.get(name, 1)
    assert card["renderer_version"] == RENDERER_VERSION + changes


def test_the_streams_of_all_demos_differ() -> None:
    streams = [data.demo.stream for data in RENDERED.values()]
    assert len(set(streams)) == len(streams)
    others = {2, 4}  # headers of SIIM-ACR, reports of MIMIC-CXR
    assert not others & set(streams) and min(streams) > 0


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(member) for key, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(member) for member in value]
    return round(value, 6) if isinstance(value, float) else value


def test_the_studies_of_pretraining_are_as_recorded() -> None:
    texts = []
    for number in (0, 1, 4, 7, 23_999):
        study, report = mimic_cxr.drawn(2025, number)
        texts.append(json.dumps([_rounded(asdict(study)), report.text], sort_keys=True))
    digest = hashlib.sha256("\n".join(texts).encode()).hexdigest()
    assert digest[:16] == "0cc9d56957ddc3a1"
    image = render(mimic_cxr.study_of(2025, 4), 64).image
    blocks = image.reshape(4, 16, 4, 16).mean((1, 3))
    assert np.abs(blocks - BLOCKS).max() < 0.5


BLOCKS = np.array(
    [
        [170.91, 204.52, 174.6, 99.65],
        [172.17, 204.57, 164.75, 57.22],
        [140.33, 221.92, 181.52, 56.24],
        [123.75, 232.8, 198.61, 79.23],
    ]
)
"""Mean grey values of the image of study 4, in 4 x 4 blocks."""


def test_the_ids_and_splits_of_pretraining_are_as_recorded() -> None:
    seed, studies = mimic_cxr.PRETRAINING
    names = [*mimic_cxr.subjects(seed, studies), *mimic_cxr.study_names(seed, studies)]
    names += [mimic_cxr.image_name(seed, number, "PA") for number in range(studies)]
    assert hashlib.sha256("\n".join(names).encode()).hexdigest()[:16] == "78005738b1b32909"
    splits = _mimic(0, studies)
    assert splits == {patient: mimic_cxr.original_split(int(patient)) for patient in splits}
    assert mimic_cxr.DEMO.version == 2


def test_no_id_of_pretraining_is_that_of_another_demo() -> None:
    seed, studies = mimic_cxr.PRETRAINING
    for names in (mimic_cxr.subjects, mimic_cxr.study_names):
        there = set(names(seed, studies))
        assert not there & {*names(0, studies), *names(1, 3000)}
    images = [
        {mimic_cxr.image_name(s, n, view) for n in range(studies) for view in ("PA", "AP", "LL")}
        for s in (0, seed)
    ]
    assert not images[0] & images[1]


# ------------------------------------------------------------------------------------ the lists
LISTED = (siim, rsna, tbx11k)


def _small(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Demo:
    demo = replace(module.DEMO, as_original=14, more_test=6)
    monkeypatch.setattr(module, "DEMO", demo)
    return demo


@pytest.mark.parametrize("module", LISTED)
def test_a_demo_without_official_split_brings_lists_with_its_test_patients(
    module: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    demo = _small(module, monkeypatch)
    name = module.__name__.rsplit(".", 1)[-1]
    data = DATASETS.get(name)
    module.write(tmp_path / "data", studies=demo.studies, size=64, seed=1, workers=1)
    index = data.index(tmp_path / "data")
    lists = find_lists(tmp_path / "data", index, data.official_lists)
    assert lists is not None and (lists.unknown, lists.left_out) == (0, 0)
    split = lists.apply(index)
    check_leaks(split)
    assert (split["split"] == "test").sum() >= demo.more_test + 1
    assert {finding.level for finding in data.validate(tmp_path / "data")} == {"ok"}


def test_a_demo_of_the_size_of_before_is_split_as_the_original(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    demo = _small(siim, monkeypatch)
    siim.write(tmp_path, studies=demo.as_original, size=64, seed=1, workers=1)
    assert not (tmp_path / "splits").exists()


def test_the_lists_keep_whom_the_harness_would_train_on() -> None:
    demo = replace(tbx11k.DEMO, as_original=100, more_test=50)
    members = [Member(f"i{n}", f"p{n}", n, int(n % 4 == 0)) for n in range(150)]
    some = list_splits(demo, members[:100], 100)
    assert some.items() <= list_splits(demo, members, 150).items()
    larger = [*members, *(Member(f"i{n}", f"p{n}", n, 0) for n in range(150, 300))]
    counts = Counter(list_splits(demo, larger, 300).values())
    assert counts["test"] < 80 and counts["train"] > 170


def test_benchx_splits_a_demo_whose_test_is_larger_than_its_train() -> None:
    rows = [(f"{n:03d}", "train" if n < 30 else "test", n % 2) for n in range(80)]
    index = pd.DataFrame(rows, columns=["image_id", "split", "any_finding"])
    split = vindr_dataset.Vindr().reference_split(index, "benchx", 0)
    assert split is not None
    assert split["split"].value_counts().to_dict() == {"test": 50, "train": 20, "val": 10}
