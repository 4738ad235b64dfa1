"""The only door to mmcv, mmsegmentation and mmdetection: stand-in operators, availability, the
adapter backbone.

`prepare("mmseg")` must have run before `mmseg.models` or `mmdet.models` is imported anywhere.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import logging
import sys
import warnings
from collections.abc import Iterator

from bench.core.errors import MissingDependencyError

_DISTRIBUTIONS = {
    "mmengine": "onedl-mmengine",
    "mmcv": "onedl-mmcv",
    "mmseg": "onedl-mmsegmentation",
    "mmdet": "onedl-mmdetection",
}
_failures: dict[str, str] = {}
_ready: set[str] = set()


def mmcv_is_compiled() -> bool:
    """Say whether the installed mmcv has its own compiled operators (a stand-in placed by `prepare`
    does not count)."""
    from bench.mm import operators

    placed = sys.modules.get("mmcv._ext")
    if placed is not None:
        return not operators.is_stand_in(placed)
    return (
        importlib.util.find_spec("mmcv") is not None
        and importlib.util.find_spec("mmcv._ext") is not None
    )


def mm_available(package: str = "mmseg") -> tuple[bool, str]:
    """Return (True, "") where `package` (mmseg, mmdet) and its models import, else (False, one
    sentence why)."""
    if package not in _ready and package not in _failures:
        _try(package)
    return package in _ready, _failures.get(package, "")


def prepare(package: str = "mmseg") -> None:
    """Import the models of `package` (mmseg, mmdet); raise MissingDependencyError with the reason
    where that fails."""
    available, reason = mm_available(package)
    if not available:
        raise MissingDependencyError(
            reason, "Run `make setup`, or install the pinned onedl-mm* packages."
        )


def _try(package: str) -> None:
    try:
        _import_models(package)
    except (
        ImportError,
        AssertionError,
        RuntimeError,
    ) as error:  # version checks of mmseg and mmdet are assertions
        _failures[package] = (
            f"{_DISTRIBUTIONS.get(package, package)} does not import: "
            f"{type(error).__name__}: {error}."
        )
    else:
        _ready.add(package)


def stand_in() -> None:
    """Make mmcv, and torchvision beside a CPU torch, importable; must run before the models of
    mmseg or mmdet are imported."""
    from bench.mm import operators

    importlib.import_module("mmcv")
    operators.install()


def _import_models(package: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # deprecations inside the packages: nothing a user of this harness can act on
        stand_in()
        importlib.import_module(f"{package}.models")
        _let_meshgrid_warn()


def _let_meshgrid_warn() -> None:
    """Let torch say its one warning per process about `meshgrid`, which mmdetection's point heads
    call the old way, to nobody."""
    import torch

    torch.meshgrid(torch.zeros(1), torch.zeros(1))


@contextlib.contextmanager
def quiet_logger() -> Iterator[None]:
    """Keep mmengine's current logger from printing every parameter while weights are
    initialised."""
    from mmengine.logging import MMLogger

    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
