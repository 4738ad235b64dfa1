"""Make torchvision importable beside a CPU build of torch.

Only CUDA builds of torchvision exist on PyPI; beside a CPU torch its compiled library does not
load, and importing it fails with "operator torchvision::nms does not exist" - and with it timm,
transformers and every mmengine Runner. Declaring the two operator names that torchvision's Python
code attaches fake kernels to is enough. Call `torchvision_on_cpu()` before any of them is imported.
"""

from __future__ import annotations

_libraries: list[object] = []


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
