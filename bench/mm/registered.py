"""Name this module in a config's `custom_imports`: mmsegmentation and mmdetection then know
PlaceBenchBackbone.

It also supplies the operators a mmcv without a compiler lacks, so it has to be imported before the
models of either.
"""

from __future__ import annotations

import importlib.util
from typing import Literal

from bench.mm import stand_in

_PACKAGES: tuple[Literal["mmseg", "mmdet"], ...] = ("mmseg", "mmdet")


def _register_where_installed() -> None:
    stand_in()
    from bench.mm.backbone import register

    for package in _PACKAGES:
        if importlib.util.find_spec(package) is not None:
            register(package)


_register_where_installed()
