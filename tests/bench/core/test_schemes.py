"""Names with a scheme (`timm:resnet18`) and names with settings (`gloria?weights=x`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.contracts import BackboneRequest, BackboneSpec, TaskSpec, configured
from bench.core.errors import PlaceBenchError, SettingError, UnknownNameError
from bench.core.registry import Registry, parse_query


def spec(name: str) -> BackboneSpec:
    return BackboneSpec(
        name=name,
        title=name,
        build=_asked,
        weights_file=lambda r: Path(r.settings["weights"]),
    )


def _asked(request: BackboneRequest) -> Any:
    """Return what a builder was asked for, in place of an encoder."""
    return request


def reaching(spec: BackboneSpec, **settings: str) -> dict[str, str]:
    """Return the settings that reach the builder of an encoder."""
    request: Any = spec.build(BackboneRequest("paper", settings=settings))
    return dict(request.settings)


@pytest.fixture
def registry() -> Registry[BackboneSpec]:
    found = Registry[BackboneSpec]("backbone", configure=configured)
    found.add("gloria", spec("gloria"))
    found.add_scheme(
        "timm", lambda rest: spec(f"timm:{rest}"), title="timm", example="timm:resnet18"
    )
    return found


def test_a_scheme_declares_names_on_demand(registry: Registry[BackboneSpec]) -> None:
    assert registry.get("timm:resnet18").name == "timm:resnet18"
    assert registry.get("timm:hf-hub:a/b").name == "timm:hf-hub:a/b"
    assert "timm:anything" in registry
    assert registry.names() == ["gloria"]
    assert registry.schemes()["timm"].example == "timm:resnet18"


def test_settings_in_a_name_reach_the_builder_and_win(registry: Registry[BackboneSpec]) -> None:
    found = registry.get("gloria?weights=/a/b.ckpt&upsample=0")
    reached = reaching(found, weights="other", key="x")
    assert reached == {"weights": "/a/b.ckpt", "upsample": "0", "key": "x"}
    assert found.name == "gloria?weights=/a/b.ckpt&upsample=0"
    assert found.settings == {"weights": "/a/b.ckpt", "upsample": "0"}
    assert found.weights_file is not None
    assert found.weights_file(BackboneRequest("paper")) == Path("/a/b.ckpt")
    assert reaching(registry.get("gloria")) == {}


def test_scheme_and_settings_together(registry: Registry[BackboneSpec]) -> None:
    found = registry.get("timm:vit?weights=C:/a?b&size=96")
    assert reaching(found) == {"weights": "C:/a?b", "size": "96"}


@pytest.mark.parametrize("name", ["glori", "tim:resnet18", "glori?weights=x", "nothing:at:all"])
def test_unknown_names_are_refused_with_the_nearest(
    registry: Registry[BackboneSpec], name: str
) -> None:
    with pytest.raises(UnknownNameError, match=r"gloria|timm:NAME"):
        registry.get(name)
    assert name not in registry


@pytest.mark.parametrize("query", ["", "weights", "=x", "a=1&a=2", "a=1&&b=2"])
def test_a_wrong_query_is_refused_by_name(registry: Registry[BackboneSpec], query: str) -> None:
    with pytest.raises(SettingError, match="gloria"):
        registry.get(f"gloria?{query}")


def test_kinds_without_settings_take_a_question_mark_as_part_of_the_name() -> None:
    tasks = Registry[TaskSpec]("task")
    with pytest.raises(UnknownNameError, match=r"unknown task 'a\?b=c'"):
        tasks.get("a?b=c")


def test_a_scheme_is_registered_once(registry: Registry[BackboneSpec]) -> None:
    with pytest.raises(PlaceBenchError, match="registered twice"):
        registry.add_scheme("timm", spec)


@given(
    st.dictionaries(
        st.from_regex(r"[a-z_]+", fullmatch=True), st.text(max_size=20), min_size=1, max_size=4
    )
)
def test_any_value_survives_escaping(settings: dict[str, str]) -> None:
    from urllib.parse import quote

    query = "&".join(f"{key}={quote(value)}" for key, value in settings.items())
    assert parse_query("x", query) == settings
