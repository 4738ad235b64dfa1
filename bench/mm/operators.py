"""Stand-ins in torch for the few compiled mmcv operators that mmseg and mmdet models use.

mmcv installed without a compiler has no `mmcv._ext`; a module of that name in `sys.modules` is
enough for the models to import. The functions have the calling convention of the compiled ones:
results are written into the output tensors given.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from types import ModuleType

from torch import Tensor

from bench.core.errors import MissingDependencyError
from bench.mm.focal import sigmoid_focal_loss_backward, sigmoid_focal_loss_forward
from bench.mm.nms import nms, softnms
from bench.mm.roi_align import roi_align_backward, roi_align_forward

SUPPLIED: dict[str, Callable[..., Tensor | None]] = {
    "nms": nms,
    "softnms": softnms,
    "roi_align_forward": roi_align_forward,
    "roi_align_backward": roi_align_backward,
    "sigmoid_focal_loss_forward": sigmoid_focal_loss_forward,
    "sigmoid_focal_loss_backward": sigmoid_focal_loss_backward,
}


class _StandIn(ModuleType):
    """`mmcv._ext` without a compiler: the supplied operators, and for every other name a refusal
    when called."""

    def __getattr__(self, name: str) -> Callable[..., Tensor | None]:
        if name.startswith("__"):
            raise AttributeError(name)
        return SUPPLIED.get(name) or _refusal(name)


def _refusal(name: str) -> Callable[..., Tensor | None]:
    def refuse(*_args: object, **_kwargs: object) -> Tensor | None:
        """Raise MissingDependencyError, naming the operator."""
        raise MissingDependencyError(
            f"operator '{name}' needs a compiled mmcv.",
            "Run `make setup-ops`, or choose a model without this operator.",
        )

    return refuse


def install() -> None:
    """Place the stand-in as `mmcv._ext` where mmcv has no compiled operators; does nothing
    elsewhere or the second time."""
    if "mmcv._ext" in sys.modules or importlib.util.find_spec("mmcv._ext") is not None:
        return
    module = _StandIn("mmcv._ext", __doc__)
    module.__spec__ = ModuleSpec("mmcv._ext", loader=None)
    sys.modules["mmcv._ext"] = module


def is_stand_in(module: ModuleType) -> bool:
    """Say whether `module` is the one placed by `install`."""
    return isinstance(module, _StandIn)
