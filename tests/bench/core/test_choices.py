"""Settings of a registered part: chosen by its name, refused where another part is chosen."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from bench.core.choices import settings_beside, settings_of
from bench.core.errors import SettingError, UnknownNameError
from bench.core.registry import Registry
from bench.core.settings import CheckedSettings


@dataclass(frozen=True)
class Plain(CheckedSettings):
    width: int = 3


@dataclass(frozen=True)
class Deep(Plain):
    layers: int = 2


@dataclass(frozen=True)
class Deeper(Deep):
    slots: int = 1


@dataclass(frozen=True)
class Part:
    settings: type[Plain]


PARTS: Registry[Part] = Registry("part of a test")
for name, settings in (("plain", Plain), ("deep", Deep), ("deeper", Deeper)):
    PARTS.add(name, Part(settings))


def test_the_settings_are_those_of_the_part() -> None:
    assert settings_of("part", PARTS, "deep", {"layers": "3", "width": "1"}) is Deep
    with pytest.raises(UnknownNameError, match=r"unknown part of a test 'dep'.*Did you mean deep"):
        settings_of("part", PARTS, "dep", {})


def test_a_setting_of_other_parts_is_refused_with_the_names_of_those_that_have_it() -> None:
    with pytest.raises(SettingError) as refused:
        settings_of("part", PARTS, "plain", {"width": "1", "layers": "3"})
    assert (
        str(refused.value)
        .split("\n")[0]
        .startswith("setting 'layers' is one of part=deep or part=deeper, and part is plain.")
    )
    with pytest.raises(SettingError, match="'slots' is one of part=deeper, and part is deep"):
        settings_of("part", PARTS, "deep", {"slots": "3"})
    assert settings_of("part", PARTS, "plain", {"nowhere": "1"}) is Plain


def test_what_a_part_has_beside_is_what_not_all_have() -> None:
    beside = {name: settings_beside(PARTS, name) for name in PARTS.names()}
    assert beside == {"plain": (), "deep": ("layers",), "deeper": ("layers", "slots")}
