"""Make torchvision importable beside a CPU build of torch.

Only CUDA builds of torchvision exist on PyPI; beside a CPU torch its compiled library does not
load, and importing it fails with "operator torchvision::nms does not exist" - and with it timm,
transformers and every mmengine Runner. Declaring the two operator names that torchvision's Python
code attaches fake kernels to is enough. Importing `bench` calls `prepare_torchvision()`, so that
the names are declared whoever imports torchvision first: a builder, a plug-in or a notebook.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

_libraries: list[object] = []


class _BeforeTorchvision(MetaPathFinder):
    """Declares the operators when torchvision is looked for, and leaves finding it to others."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Declare the operators where `fullname` is torchvision; find nothing."""
        if fullname == "torchvision":
            torchvision_on_cpu()
        return None


def prepare_torchvision() -> None:
    """Declare the operators as soon as anything imports torchvision; imports no torch itself."""
    if not any(isinstance(finder, _BeforeTorchvision) for finder in sys.meta_path):
        sys.meta_path.insert(0, _BeforeTorchvision())


def torchvision_on_cpu() -> None:
    """Declare `torchvision::nms` and `qnms` where torch is a CPU build; does nothing elsewhere or
    the second time."""
    import torch

    if torch.version.cuda is not None or _libraries:
        return
    if hasattr(torch.ops.torchvision, "nms"):
        return
    library = torch.library.Library("torchvision", "DEF")
    for operator in ("nms", "qnms"):
        library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _libraries.append(library)
