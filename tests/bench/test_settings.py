"""Settings: overrides parsed by type, unknown keys refused with the nearest names."""

from dataclasses import dataclass
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import SettingError
from bench.settings import override, parse_list, parse_pairs


@dataclass(frozen=True)
class Example:
    lr: float = 1e-3
    epochs: int = 5
    frozen: bool = True
    head: Literal["unet", "setr_pup"] = "unet"
    patience: int | None = None
    scales: tuple[float, ...] = (1.0,)


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
