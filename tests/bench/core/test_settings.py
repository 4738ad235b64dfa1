"""Settings: overrides parsed by type, unknown keys refused with the nearest names."""

import dataclasses
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.core.errors import SettingError
from bench.core.hashing import flatten
from bench.core.settings import (
    Betas,
    CheckedSettings,
    Length,
    Range,
    before,
    field_hints,
    later,
    override,
    parse_list,
    parse_pairs,
)
from tests.support.settings import SETTINGS


@dataclass(frozen=True)
class Example:
    lr: float = 1e-3
    epochs: int = 5
    frozen: bool = True
    head: Literal["unet", "setr_pup"] = "unet"
    patience: int | None = None
    scales: tuple[float, ...] = (1.0,)


@dataclass(frozen=True)
class Longer(Example):
    added: int = later(3)


def test_a_setting_that_came_later_stands_in_keys_only_where_it_is_set() -> None:
    assert flatten(Longer()) == flatten(Example())
    assert flatten(override(Longer(), {"added": "4"})) == {**flatten(Example()), "added": 4}
    assert override(Longer(), {"added": "4"}).added == 4


@dataclass(frozen=True)
class Mended(Example):
    places: bool = later(True, before=False)


def test_a_later_setting_may_have_another_default_than_the_value_of_before() -> None:
    assert flatten(Mended(places=False)) == flatten(Example())
    assert flatten(Mended()) == {**flatten(Example()), "places": True}
    assert before(Mended()) == {"places": False}
    assert before(Longer()) == {"added": 3}


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(), st.booleans())
def test_text_round_trip(lr: float, epochs: int, frozen: bool) -> None:
    changed = override(Example(), {"lr": str(lr), "epochs": str(epochs), "frozen": str(frozen)})
    assert (changed.lr, changed.epochs, changed.frozen) == (lr, epochs, frozen)


def test_literals_optionals_and_tuples() -> None:
    changed = override(Example(), {"head": "setr_pup", "patience": "3", "scales": "0.5,2"})
    assert changed == Example(head="setr_pup", patience=3, scales=(0.5, 2.0))
    assert override(changed, {"patience": "none"}).patience is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lrr": "1"}, "unknown setting 'lrr' of Example. Did you mean lr"),
        ({"epochs": "many"}, "'epochs' wants int, found 'many'"),
        ({"head": "fcn"}, "Choose one of unet, setr_pup"),
        ({"frozen": "maybe"}, "wants true or false"),
    ],
)
def test_bad_settings_say_what_is_wrong(changes: dict[str, str], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        override(Example(), changes)


def test_pairs_and_lists() -> None:
    assert parse_pairs(["lr=1=2", " a = b"]) == {"lr": "1=2", "a": "b"}
    assert parse_list("0.1, 1.0,0.1", float, "--fractions") == (0.1, 1.0)
    with pytest.raises(SettingError, match="'lr' is not of the form"):
        parse_pairs(["lr"])
    with pytest.raises(SettingError, match="--seeds 'a' is not"):
        parse_list("a", int, "--seeds")


# ------------------------------------------------------------------------------------------- ranges
@dataclass(frozen=True)
class Checked(CheckedSettings):
    rate: Annotated[float, Range(0, 1, low_open=True)] = 0.5
    sizes: Annotated[tuple[Annotated[int, Range(1, 8)], ...], Length(1, 2)] = (1,)
    betas: Betas = (0.9, 0.999)
    plain: float = 1.0
    most: Annotated[int, Range(1, 9)] | None = None
    kind: Literal["a", "b"] = "a"
    mix: Annotated[float, Range(0, 1)] | Literal["auto", "none of it"] = 0.5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rate": "0"}, "'rate' is 0. It must be a finite number, above 0 and at most 1"),
        ({"rate": "nan"}, "'rate' is nan. It must be a finite number, above 0"),
        ({"rate": 10**400}, "'rate' is 1000.*above 0 and at most 1"),
        ({"plain": "inf"}, "'plain' is inf. It must be a finite number"),
        ({"most": "10"}, "'most' is 10. It must be a whole number, at least 1 and at most 9"),
        ({"most": "9" * 5000}, "'most' wants int"),
        ({"most": True}, "'most' wants int, found 'True'"),
        ({"most": 2.5}, "'most' wants int, found '2.5'"),
        ({"mix": "much"}, "'mix' wants float or one of auto, none of it, found 'much'"),
        ({"mix": "2"}, "'mix' is 2. It must be a finite number, at least 0 and at most 1"),
        ({"mix": 2}, "'mix' is 2. It must be a finite number, at least 0 and at most 1"),
        ({"sizes": "4,9"}, "'sizes' is 9. It must be a whole number, at least 1 and at most 8"),
        ({"sizes": ""}, "'sizes' has 0 value.*takes 1 to 2"),
        ({"sizes": [1, 2, 3]}, "'sizes' has 3 value.*takes 1 to 2"),
        ({"betas": "0.9"}, "'betas' has 1 value.*takes 2"),
        ({"betas": ""}, "'betas' has 0 value.*takes 2"),
        ({"betas": "0.9,1"}, "'betas' is 1"),
        ({"kind": 3}, "'kind' is '3'. Choose one of a, b"),
    ],
)
def test_values_out_of_range_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        override(Checked(), changes)
    if not any(isinstance(value, str | list) for value in changes.values()):
        with pytest.raises(SettingError, match=message):
            Checked(**changes)


def test_the_ends_of_a_range_and_none_are_allowed() -> None:
    changed = override(Checked(most=9), {"rate": "1", "sizes": "1,8", "most": "none"})
    assert changed == Checked(rate=1.0, sizes=(1, 8), most=None)


def numbers(hint: Any, ranges: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield what is annotated beside every number within a type."""
    if typing.get_origin(hint) is Annotated:
        yield from numbers(typing.get_args(hint)[0], (*ranges, *hint.__metadata__))
    elif hint in (int, float):
        yield ranges
    elif typing.get_origin(hint) is not Literal:
        for inner in typing.get_args(hint):
            yield from numbers(inner)


def test_the_walk_sees_all_heads_methods_and_encoders() -> None:
    names = {name.rpartition(".")[2] for name in SETTINGS}
    heads = {"Classification", "ZeroShot", "Retrieval", "Segmentation", "Detection", "Report"}
    assert {f"{head}Settings" for head in heads} <= names
    assert {"MethodSettings", "TrainPlan", "TimmSettings", "PublishedSettings"} <= names
    assert {
        "backbones.place.settings.PLACESettings",
        "backbones.mgca.settings.MGCASettings",
    } <= set(SETTINGS)


@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_every_number_has_a_range_and_keeps_to_it(name: str) -> None:
    cls = SETTINGS[name]
    defaults = cls()
    for field in dataclasses.fields(defaults):  # type: ignore[arg-type]
        hint = field_hints(cls)[field.name]
        for ranges in numbers(hint):
            limits = [each for each in ranges if isinstance(each, Range)]
            assert limits, f"{name}.{field.name} has no range"
            limit = limits[0]
            below = f"{limit.low if limit.low_open else limit.low - 1:g}"
            above = f"{limit.high if limit.high_open else 2 * limit.high + 1:.15g}"
            several = len(list(numbers(hint))) if "tuple" in str(hint) else 1
            for wrong in ("nan", "inf", "-inf", below, above):
                with pytest.raises(SettingError, match=f"'{field.name}'") as caught:
                    override(defaults, {field.name: ",".join([wrong] * several)})
                shown = str(caught.value)
                assert wrong in shown or f"{float(wrong):g}" in shown
                assert "wants int" in shown or str(limit) in shown
