"""One patient at a time: the same seed, the same image; findings change the image where their mask
is, inside the lung."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tasks.demo.beam.render import render
from tasks.demo.body.patient import DEVICES, PATHOLOGY, Finding, Study, sample_study

IN_LUNG = ("pneumothorax", "effusion", "consolidation", "atelectasis", "edema")


def healthy(number: int) -> Study:
    return replace(sample_study(np.random.default_rng((8, number)), number), findings=())


def finding(name: str, seed: int, **changes: Any) -> Finding:
    """One finding in the right lung, plain to see."""
    location = {
        "pneumothorax": "apicolateral",
        "consolidation": "lower",
        "nodule": "upper",
        "fracture": "6",
    }.get(name, "base")
    kind = {
        "consolidation": "pneumonia",
        "nodule": "mass",
        "atelectasis": "linear",
        "fracture": "lateral",
    }.get(name, "")
    base = Finding(name, "both" if name == "edema" else "right", location, 0.7, 0.9, seed, kind)
    return replace(base, **changes)


@pytest.mark.parametrize("view", ["PA", "AP", "LL"])
def test_same_study_same_image(view: str) -> None:
    study = sample_study(np.random.default_rng(1), 0)
    first, second = render(study, 96, view), render(study, 96, view)
    assert (first.image == second.image).all()
    assert first.image.dtype == np.uint8
    assert first.image.shape == (96, 96)
    assert first.boxes == second.boxes


def test_no_two_patients_are_alike() -> None:
    images = (
        np.stack([render(healthy(number), 64).image for number in range(12)])
        .reshape(12, -1)
        .astype(float)
    )
    correlation = np.corrcoef(images)[np.triu_indices(12, 1)]
    assert correlation.max() < 0.985
    assert correlation.mean() > 0.4, "all of them are chests"


@pytest.mark.parametrize("name", IN_LUNG)
@pytest.mark.parametrize("seed", range(3))
def test_mask_lies_inside_the_lungs(name: str, seed: int) -> None:
    shown = render(replace(healthy(seed), findings=(finding(name, seed),)), 128)
    if name in shown.masks:
        outside = (shown.masks[name] > 0) & (shown.lungs == 0)
        assert outside.sum() <= 0.02 * shown.masks[name].sum() + 3


@pytest.mark.parametrize(
    "name", [name for name in PATHOLOGY if name not in ("edema", "cardiomegaly")]
)
def test_image_changes_where_the_mask_is(name: str) -> None:
    """The mean change inside the mask is several times that outside (exposure control moves the
    rest a little)."""
    ratios = []
    for seed in range(4):
        study = healthy(20 + seed)
        shown = render(replace(study, findings=(finding(name, seed),)), 128)
        if name in shown.masks:
            change = np.abs(shown.image.astype(float) - render(study, 128).image)
            inside = shown.masks[name] > 0
            ratios.append(change[inside].mean() / (change[~inside].mean() + 1e-6))
    assert len(ratios) >= 3
    assert np.median(ratios) > 1.5


def test_pneumothorax_is_darker_and_effusion_brighter_than_the_lung() -> None:
    for name, sign in (("effusion", 1), ("consolidation", 1), ("nodule", 1)):
        study = healthy(31)
        shown = render(replace(study, findings=(finding(name, 5),)), 128)
        inside = shown.masks[name] > 0
        difference = shown.image[inside].astype(float) - render(study, 128).image[inside]
        assert sign * difference.mean() > 5, name


def test_a_larger_finding_has_a_larger_mask() -> None:
    for name in ("pneumothorax", "effusion", "consolidation"):
        areas = [
            render(replace(healthy(7), findings=(finding(name, 3, amount=amount),)), 128)
            .masks[name]
            .sum()
            for amount in (0.25, 0.9)
        ]
        assert areas[1] > 1.5 * areas[0], name


def test_cardiomegaly_widens_the_heart() -> None:
    for number in range(4):
        study = healthy(number)
        large = replace(
            study, findings=(finding("cardiomegaly", 0, side="", location="", amount=1.0),)
        )
        assert render(large, 96).ratio > max(0.46, render(study, 96).ratio)


@pytest.mark.parametrize("kind", DEVICES)
def test_every_device_can_be_seen(kind: str) -> None:
    device = Finding("device", "left", "jugular", 0.5, 1.0, 4, kind)
    study = healthy(3)
    shown = render(replace(study, findings=(device,)), 192)
    change = shown.image.astype(float) - render(study, 192).image
    assert change[shown.masks["device"] > 0].mean() > 3


def test_boxes_enclose_their_masks() -> None:
    shown = render(
        replace(healthy(5), findings=(finding("consolidation", 1), finding("nodule", 2))), 128
    )
    for name, parts in shown.parts.items():
        for part, (x, y, width, height) in zip(parts, shown.boxes[name], strict=True):
            assert part[y : y + height, x : x + width].sum() == part.sum() > 0


def test_next_study_is_of_the_same_patient_and_names_what_is_gone() -> None:
    first = sample_study(np.random.default_rng(4), 9)
    for seed in range(20):
        second = sample_study(np.random.default_rng(seed), 9, previous=first)
        assert second.patient == first.patient
        assert second.previous == first.findings
        left = {f.name for f in second.findings}
        assert not left & set(second.gone)
        assert all(f.change for f in second.findings)
