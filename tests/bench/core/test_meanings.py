"""Every setting says what it means, in the source below its field."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import pytest

from bench.core.errors import SettingError
from bench.core.meanings import Explained, allowed, explain, meanings, shown
from bench.core.registry import load_plugin
from bench.core.settings import Betas, CheckedSettings, Length, Range
from tests.support.settings import SETTINGS


@dataclass(frozen=True)
class Base(CheckedSettings):
    rate: Annotated[float, Range(0, 1)] = 0.5
    """How fast, in steps
    per hour."""
    shared: int = 1
    """What both have."""


@dataclass(frozen=True)
class Derived(Base):
    rate: Annotated[float, Range(0, 1)] = 0.25
    silent: bool = True
    way: Literal["left", "right"] = "left"
    """Where to."""


@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_every_field_has_a_meaning(name: str) -> None:
    empty = [each.name for each in explain(SETTINGS[name]) if not each.meaning]
    assert not empty, f"{name} explains nothing under {', '.join(empty)}"


@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_every_meaning_is_a_sentence(name: str) -> None:
    for each in explain(SETTINGS[name]):
        assert each.meaning[0].isupper() or each.meaning.startswith("timm"), each
        assert each.meaning.endswith("."), each


def test_own_fields_come_first_and_a_base_explains_what_only_gets_another_default() -> None:
    rows = {each.name: each for each in explain(Derived)}
    assert list(rows) == ["silent", "way", "rate", "shared"]
    assert rows["rate"] == Explained(
        "rate", 0.25, "a number, at least 0 and at most 1", "How fast, in steps per hour."
    )
    assert rows["silent"].meaning == ""
    assert rows["way"] == Explained("way", "left", "left or right", "Where to.")


def test_a_class_inside_a_function_is_found_and_one_without_source_is_silent() -> None:
    @dataclass(frozen=True)
    class Base(CheckedSettings):
        """Of the same name as the class above."""

        width: int = 3
        """Pixels across."""

    assert meanings(Base) == {"width": "Pixels across."}
    assert meanings(dataclasses.make_dataclass("Made", [("width", int, 3)])) == {}


def test_a_plug_ins_settings_are_read_from_its_file(tmp_path: Path) -> None:
    file = tmp_path / "own_settings.py"
    file.write_text(
        "from dataclasses import dataclass\n"
        "from bench.contracts import DATASETS\n"
        "@dataclass(frozen=True)\n"
        "class Own:\n"
        "    told: int = 1\n"
        "    'Told.'\n"
        "    untold: int = 2\n"
        "DATASETS.own_settings = Own\n"
    )
    load_plugin(file)
    from bench.contracts import DATASETS

    own = vars(DATASETS).pop("own_settings")
    assert [(each.name, each.meaning) for each in explain(own)] == [
        ("told", "Told."),
        ("untold", ""),
    ]


def test_a_class_that_is_no_dataclass_is_refused() -> None:
    with pytest.raises(SettingError, match="str are not a dataclass"):
        explain(str)


@pytest.mark.parametrize(
    ("hint", "words"),
    [
        (int, "a whole number"),
        (bool, "true or false"),
        (str | None, "text, or none"),
        (Literal["a", "b", "c"], "a, b or c"),
        (Annotated[int, Range(1, 9)] | None, "a whole number, at least 1 and at most 9, or none"),
        (tuple[str, ...], "any number of words, separated by commas"),
        (
            Annotated[tuple[Annotated[int, Range(1, 8)], ...], Length(1, 2)],
            "1 to 2 values, separated by commas, each a whole number, at least 1 and at most 8",
        ),
        (
            Betas,
            "2 values, separated by commas, each a number, at least 0 and below 1",
        ),
    ],
)
def test_what_a_setting_may_be_in_words(hint: object, words: str) -> None:
    assert allowed(hint) == words


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "none"), (True, "true"), (5e-4, "0.0005"), (1e-6, "1e-06"), ((1, 0.5), "1,0.5")],
)
def test_a_value_is_shown_as_set_takes_it(value: object, text: str) -> None:
    assert shown(value) == text
