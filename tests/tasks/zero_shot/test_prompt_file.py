"""Prompt sets of a file in the form of GLoRIA's constants, and their drawing."""

from __future__ import annotations

import dataclasses
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.core.errors import DataError, SettingError
from bench.core.hashing import flatten
from bench.encoding.features import to_input
from tasks.zero_shot import ZeroShotKind
from tasks.zero_shot.prompt_file import draw, read_prompt_sets
from tasks.zero_shot.settings import ZeroShotSettings
from tests.tasks.fakes import Encoder, context, subset, task

KIND = ZeroShotKind()
SOURCE = """
from pathlib import Path

FOLDER = Path("/data") / "chexpert"
raise RuntimeError("this file is read and never run")
NAMES = ["left", "right"]
OTHER_PROMPTS = {"Pneumonia": {"adjective": ["round"], "subtype": ["", "viral"]}}
CLASS_PROMPTS = {
    "left": {
        "severity": ["", "mild", "large"],
        "subtype": ["left opacity", "left shadow"],
        "location": ["at the base", ""],
    },
    "right": {
        "severity": ["", "large"],
        "location": ["right", "tiny"],
        "subtype": ["bilateral right", "one", "bilateral right"],
    },
}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "constants.py"
    file.write_text(SOURCE)
    return file


def test_every_word_of_each_part_in_the_order_of_the_file(path: Path) -> None:
    sets = read_prompt_sets(path, ["right"])
    assert list(sets) == ["left", "right"]
    assert sets["left"][:3] == [
        "left opacity at the base",
        "left opacity",
        "left shadow at the base",
    ]
    # The parts stand in the order in which the file has them, and a word twice is there twice.
    assert sets["right"][:3] == ["right bilateral right", "right one", "right bilateral right"]
    assert [len(texts) for texts in sets.values()] == [12, 12]
    assert read_prompt_sets(path, ["Pneumonia"]) == {"Pneumonia": ["round", "round viral"]}


def test_json_is_read_as_the_python_file(path: Path, tmp_path: Path) -> None:
    space: dict[str, Any] = {}
    exec(SOURCE[SOURCE.index("CLASS_PROMPTS") :], space)
    other = tmp_path / "prompts.json"
    other.write_text(json.dumps(space["CLASS_PROMPTS"]))
    assert read_prompt_sets(other, ["left"]) == read_prompt_sets(path, ["left"])


def test_prompts_are_drawn_as_gloria_draws_them(path: Path) -> None:
    """One seed, then `random.sample` of every class in its order, those not asked for too."""
    sets = read_prompt_sets(path, ["right"])
    random.seed(6)
    published = {label: random.sample(texts, 5) for label, texts in sets.items()}
    assert draw(sets, 5, 6) == published
    assert draw(sets, 5, 42) != published
    assert draw(sets, None, 6) == draw(sets, 12, 6) == sets


@pytest.mark.parametrize("protocol, seed", [("gloria", 6), ("benchx", 42)])
def test_a_protocol_draws_by_its_own_seed_whatever_the_cells_is(
    path: Path, tmp_path: Path, protocol: str, seed: int
) -> None:
    spec = task(labels=("left", "right"), mode="multiclass")
    changes = {"prompt_file": str(path), "similarity": "method", "scale": "1"}
    settings = KIND.settings(spec, protocol, "demo", changes)
    drawn = draw(read_prompt_sets(path, ["left"]), 5, seed)
    for cell_seed in (0, 1):
        cell = context(spec, settings, tmp_path, seed=cell_seed)
        none = subset(20, 4).take(np.array([], int))
        fitted = KIND.fit(Encoder(), none, none, cell)
        assert [list(each.positive) for each in fitted.prompts] == [drawn["left"], drawn["right"]]
    data = subset(30, 3)
    data.index["label:left"], data.index["label:right"] = (
        data.index["label:a"],
        data.index["label:b"],
    )
    data = data.take(np.flatnonzero(data.index["label:a"] != data.index["label:b"]))
    found = KIND.predict(fitted, data, cell).table
    images = to_input(data.images(slice(None)), Encoder().input)
    best = Encoder().similarity(images, drawn["right"]).numpy().max(axis=1).astype(float)
    standard = (best - best.mean()) / best.std()
    score = found["score:right"].to_numpy()
    if protocol == "benchx":
        np.testing.assert_allclose(score, standard, atol=1e-4)
    assert np.corrcoef(score, standard)[0, 1] > 0.5


def test_what_the_file_holds_is_in_the_key(path: Path) -> None:
    spec = task(labels=("left", "right"), mode="multiclass")

    def settings() -> ZeroShotSettings:
        return KIND.settings(spec, "gloria", "demo", {"prompt_file": str(path)})

    first = settings()
    assert first.prompt_hash and first == settings()
    path.write_text(SOURCE.replace("left shadow", "left veil"))
    assert flatten(settings()) != flatten(first)
    assert dataclasses.replace(settings(), prompt_hash=first.prompt_hash) == first


@pytest.mark.parametrize(
    "name, text, message",
    [
        ("a.py", "x = 1", r"file .*a\.py has no prompt sets.*Expected \{class"),
        ("a.py", "x = {'left': ['a']}", "has no prompt sets"),
        ("a.py", "def :", "cannot be read as Python"),
        ("a.json", "[1]", "has no prompt sets"),
        ("a.json", "{", "cannot be read as JSON"),
        ("a.json", '{"left": {"subtype": []}}', "has no prompt sets"),
    ],
)
def test_a_file_without_prompt_sets_is_named(
    tmp_path: Path, name: str, text: str, message: str
) -> None:
    file = tmp_path / name
    file.write_text(text)
    with pytest.raises(DataError, match=message):
        read_prompt_sets(file, ["left"])


def test_a_file_that_changes_after_the_key_was_made_stops_the_run(
    path: Path, tmp_path: Path
) -> None:
    spec = task(labels=("left", "right"), mode="multiclass")
    settings = KIND.settings(spec, "gloria", "demo", {"prompt_file": str(path)})
    path.write_text(SOURCE.replace("left shadow", "left veil"))
    none = subset(20, 4).take(np.array([], int))
    with pytest.raises(DataError, match="changed after the run had begun"):
        KIND.fit(Encoder(), none, none, context(spec, settings, tmp_path))


def test_what_cannot_be_asked_for_is_refused_before_the_run(path: Path, tmp_path: Path) -> None:
    spec = task(labels=("left", "elsewhere"), mode="multiclass")
    with pytest.raises(SettingError, match=r"no prompts for elsewhere.*left, right"):
        KIND.settings(spec, "gloria", "demo", {"prompt_file": str(path)})
    with pytest.raises(DataError, match=r"missing\.py does not exist"):
        KIND.settings(spec, "gloria", "demo", {"prompt_file": str(tmp_path / "missing.py")})
    with pytest.raises(SettingError, match="prompts is ensemble.*prompts=sets"):
        KIND.settings(spec, "default", "demo", {"prompt_file": str(path)})
