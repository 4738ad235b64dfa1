"""Declare a pre-training method, once: its name, network, settings and where it comes from. Imports
no torch."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import inspect
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from backbones.shared.encoders.architectures import architecture_name
from backbones.shared.pretraining.settings import MethodSettings, resolve_settings
from bench.contracts import (
    BACKBONES,
    Backbone,
    BackboneRequest,
    BackboneSpec,
    MethodSpec,
    Profile,
)
from bench.core.errors import PlaceBenchError, SettingError
from bench.core.registry import suggest

if TYPE_CHECKING:
    from backbones.shared.pretraining.vision_language import VisionLanguageMethod

C = TypeVar("C", bound=type[Any])
TRAINER = "backbones.shared.pretraining.trainer"
_NETWORK = re.compile(r"[\w.]+:\w+")


def method(
    name: str,
    *,
    network: str | type[Any] | None = None,
    settings: type[MethodSettings] = MethodSettings,
    demo: Mapping[str, Any] | None = None,
    title: str = "",
    citation: str = "",
    licence: str = "",
    source: str = "",
    pretrain_on: str = "mimic_cxr",
    trainer: str = TRAINER,
    default: bool = False,
    supervision: tuple[str, ...] = (),
) -> Callable[[C], C]:
    """Declare the pre-training method `name`; from then on `pretrain` and `run` know it.

    Decorate the network, a `VisionLanguageMethod`, or name it as `network`: the class, or
    "module:Class" where the declaration shall not import torch; then the call itself declares.
    `settings` is the frozen dataclass of the method's settings, `demo` what the demo profile
    changes in them, `supervision` what it learns from beside images and reports (SUPERVISION; its
    settings say with `saw` where not). Raise PlaceBenchError for a declaration
    that could not be trained.
    """

    def declare(network: str | type[Any]) -> None:
        """Check the declaration with this network and register it."""
        spec = MethodSpec(network, settings, dict(demo or {}))
        _check(name, spec)
        BACKBONES.add(
            name,
            BackboneSpec(
                name=name,
                title=title or _first_line(network) or name,
                build=_builder(name),
                architecture=architecture_name,
                licence=licence,
                citation=citation,
                source=source,
                method=network if isinstance(network, str) else _path(network),
                trainer=trainer,
                pretrain_on=pretrain_on,
                pretraining=spec,
                default=default,
                supervision=supervision,
                check=partial(refuse_settings, name),
            ),
        )

    def decorate(decorated: C) -> C:
        """Declare the decorated class, unless a network was named, and return it."""
        if network is None:
            declare(decorated)
        return decorated

    if network is not None:
        declare(network)
    return decorate


def method_spec(spec: BackboneSpec) -> MethodSpec:
    """Return what a backbone's pre-training method declares; raise PlaceBenchError where it has
    none.

    A declaration of before there was `@method` names only its network: `package.model:Class` has
    its settings as `Settings` in `package.settings`, a method in one file as `Class.settings_type`,
    and what the demo changes is their attribute `demo`.
    """
    if not spec.method:
        raise PlaceBenchError(
            f"backbone '{spec.name}' is not pre-trained here.",
            "`place-bench list backbones` shows which are.",
        )
    if spec.pretraining is not None:
        return spec.pretraining
    package = spec.method.partition(":")[0].rpartition(".")[0]
    if package and importlib.util.find_spec(f"{package}.settings"):
        settings = importlib.import_module(f"{package}.settings").Settings
    else:
        settings = getattr(network_class(spec.name, spec.method), "settings_type", MethodSettings)
    return MethodSpec(spec.method, settings, getattr(settings, "demo", {}))


def method_settings(
    name: str, profile: Profile, changes: Mapping[str, str] | None = None
) -> MethodSettings:
    """Return the settings of the method `name` in a profile with `key=value` changes; raise
    SettingError on an unknown key."""
    spec = method_spec(BACKBONES.get(name))
    return resolve_settings(spec.settings, profile, changes or {}, spec.demo)


def method_class(name: str) -> type[VisionLanguageMethod]:
    """Return the network class of the method `name`, importing it."""
    return network_class(name, method_spec(BACKBONES.get(name)).network)


def network_class(name: str, network: str | type[Any]) -> type[VisionLanguageMethod]:
    """Return the class that a declaration names; raise PlaceBenchError where it is not there, or
    is no `VisionLanguageMethod`."""
    from backbones.shared.pretraining.vision_language import VisionLanguageMethod

    loaded = network if isinstance(network, type) else _imported(name, network)
    if not (isinstance(loaded, type) and issubclass(loaded, VisionLanguageMethod)):
        raise _wrong(
            name,
            f"its network {network} is not a subclass of VisionLanguageMethod",
            "Derive it from VisionLanguageMethod.",
        )
    if inspect.isabstract(loaded):
        absent = ", ".join(sorted(loaded.__abstractmethods__))
        raise _wrong(name, f"its network {_path(loaded)} lacks {absent}", "Write it.")
    return loaded


def _imported(name: str, network: str) -> Any:
    module, _, attribute = network.partition(":")
    hint = 'Name it as network="module:Class".'
    try:
        imported = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if not (error.name and f"{module}.".startswith(f"{error.name}.")):
            raise
        raise _wrong(name, f"there is no module {module} with its network", hint) from error
    if not hasattr(imported, attribute):
        raise _wrong(name, f"{module} has no {attribute}", hint)
    return getattr(imported, attribute)


def _builder(name: str) -> Callable[[BackboneRequest], Backbone]:
    def build(request: BackboneRequest) -> Backbone:
        """Return the encoder in the checkpoint of the request."""
        from backbones.shared.pretraining.checkpoint import load_method

        return load_method(name, request)

    return build


def refuse_settings(name: str, request: BackboneRequest) -> None:
    """Raise SettingError where a method, whose settings its checkpoint holds, is given one."""
    if request.settings:
        raise SettingError(
            f"--set backbone.{next(iter(request.settings))}: '{name}' takes its settings from its "
            "checkpoint.",
            "Use --set pretrain.key=value.",
        )


# ------------------------------------------------------------------------------------------- checks
def _check(name: str, spec: MethodSpec) -> None:
    """Raise PlaceBenchError for a method that could not be built, as far as can be told without
    importing its network."""
    if isinstance(spec.network, type):
        network_class(name, spec.network)
    elif not (isinstance(spec.network, str) and _NETWORK.fullmatch(spec.network)):
        fault = f"network is {spec.network!r}"
        raise _wrong(name, fault, 'Give the class, or its name "module:Class".')
    _check_settings(name, spec.settings)
    names = [field.name for field in dataclasses.fields(spec.settings)]
    unknown = [key for key in spec.demo if key not in names]
    if unknown:
        fault = f"demo changes '{unknown[0]}', which is not a setting of {spec.settings.__name__}"
        raise _wrong(name, fault, suggest(unknown[0], names))
    try:
        resolve_settings(spec.settings, "demo", {}, spec.demo)
    except (SettingError, TypeError) as error:
        raise _wrong(name, f"its settings in the demo profile: {error.args[0]}") from error


def _check_settings(name: str, settings: object) -> None:
    if not (isinstance(settings, type) and issubclass(settings, MethodSettings)):
        fault = f"settings is {settings!r}"
        raise _wrong(name, fault, "Give a frozen dataclass based on MethodSettings.")
    if inspect.get_annotations(settings) and "__dataclass_fields__" not in vars(settings):
        fault = f"its settings {settings.__name__} are not a dataclass of their own"
        raise _wrong(name, fault, "Write @dataclass(frozen=True) above them.")


def _wrong(name: str, what: str, hint: str = "") -> PlaceBenchError:
    return PlaceBenchError(f"pre-training method '{name}': {what.rstrip('.')}.", hint)


def _path(network: type[Any]) -> str:
    return f"{network.__module__}:{network.__qualname__}"


def _first_line(network: str | type[Any]) -> str:
    """Return the first sentence of a class's docstring; "" where the class is only named."""
    text = "" if isinstance(network, str) else inspect.cleandoc(vars(network).get("__doc__") or "")
    return " ".join(text.partition("\n\n")[0].split())
