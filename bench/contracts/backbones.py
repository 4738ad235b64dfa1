"""What an encoder declares and gives: heads see only this."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeGuard, runtime_checkable

from bench.contracts.common import Profile
from bench.contracts.declared import (
    backbone_faults,
    backbone_faults_together,
    check_input,
    check_keywords,
)
from bench.contracts.pretraining import MethodSpec
from bench.core.errors import SettingError
from bench.core.naming import LABEL
from bench.core.registry import Registry

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class InputSpec:
    """How an encoder wants its images: the harness brings them to a square of `resize`, then crops
    `size` from its middle.

    `fit` says how they become square: `letterbox` pads the short side, `shortest` cuts the long
    side's middle, `squash` stretches.
    """

    size: int
    resize: int
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    std: tuple[float, ...] = (0.5, 0.5, 0.5)
    channels: int = 3
    interpolation: Literal["area", "bilinear", "bicubic"] = "area"
    fit: Literal["letterbox", "shortest", "squash"] = "letterbox"

    def __post_init__(self) -> None:
        check_input(self)


@dataclass
class Features:
    """What heads see of an image batch.

    pooled [B, D]; patches [B, N, D] in row-major order of `grid` = (h, w), N = h * w (no class
    token); pyramid: maps [B, C_i, H_i, W_i] from fine to coarse (ResNet: strides 4, 8, 16, 32; ViT:
    four blocks at stride = patch size).
    """

    pooled: torch.Tensor
    patches: torch.Tensor
    grid: tuple[int, int]
    pyramid: tuple[torch.Tensor, ...] = ()


FAMILIES = ("resnet", "vit")
"""What `family` may be: maps that get coarser, or one grid of tokens."""


if TYPE_CHECKING:
    _attribute = property
else:

    class _Attribute:
        """What a property says to a type checker; a class derived from a protocol may set it."""

        def __init__(self, declared: Callable[[Any], Any]) -> None:
            self.__doc__ = declared.__doc__
            self.name = declared.__name__

        def __get__(self, instance: object, owner: type | None = None) -> Any:
            raise AttributeError(f"{owner.__name__ if owner else 'encoder'} has no '{self.name}'")

    _attribute = _Attribute


@runtime_checkable
class ImageEncoder(Protocol):
    """A loaded encoder, as heads see it.

    `family` is one of FAMILIES; `module` holds every parameter, and freezing means `module.eval()`
    and requires_grad False, BatchNorm too. Any class with these attributes is one; none has to
    derive from it.
    """

    @_attribute
    def name(self) -> str:
        """Return the name that rows and errors have."""
        ...

    @_attribute
    def architecture(self) -> str:
        """Return the name of the network, e.g. resnet50."""
        ...

    @_attribute
    def family(self) -> str:
        """Return resnet or vit: which heads fit."""
        ...

    @_attribute
    def input(self) -> InputSpec:
        """Return how images have to come."""
        ...

    @_attribute
    def module(self) -> torch.nn.Module:
        """Return the module that holds every parameter."""
        ...

    @_attribute
    def pooled_dim(self) -> int:
        """Return D of `Features.pooled`."""
        ...

    @_attribute
    def patch_dim(self) -> int:
        """Return D of `Features.patches`."""
        ...

    @_attribute
    def pyramid_channels(self) -> tuple[int, ...]:
        """Return C of each map of the pyramid, from fine to coarse."""
        ...

    @_attribute
    def pyramid_strides(self) -> tuple[int, ...]:
        """Return by how much each map is smaller than the image."""
        ...

    def features(self, images: torch.Tensor) -> Features:
        """Encode normalised images [B, 3, H, W] (any H, W divisible by the largest stride)."""
        ...


Backbone = ImageEncoder
"""The same, by the name that builders of encoders have used."""


@runtime_checkable
class ImageTextEncoder(ImageEncoder, Protocol):
    """An encoder with a text side: `has_text_side` tells whether one is."""

    def embed_images(self, images: torch.Tensor) -> torch.Tensor:
        """Return L2-normalised image embeddings [B, d]."""
        ...

    def embed_texts(self, texts: Sequence[str]) -> torch.Tensor:
        """Return L2-normalised text embeddings [T, d]."""
        ...

    def similarity(self, images: torch.Tensor, texts: Sequence[str]) -> torch.Tensor:
        """Return the method's own image-text score [B, T]."""
        ...


_TEXT_SIDE = ("embed_images", "embed_texts", "similarity")


def has_text_side(encoder: ImageEncoder) -> TypeGuard[ImageTextEncoder]:
    """Tell whether an encoder compares images with texts: it has the three methods of
    `ImageTextEncoder`, and no `has_text` that says otherwise (as encoders of before there were
    abilities have). Raise SettingError where it has a part of them only.
    """
    stated = getattr(encoder, "has_text", None)
    if stated is False:
        return False
    absent = [name for name in _TEXT_SIDE if not callable(getattr(encoder, name, None))]
    if absent and (stated or callable(getattr(encoder, "embed_texts", None))):
        raise SettingError(
            f"encoder '{encoder.name}' has half a text side: it lacks {', '.join(absent)}.",
            f"Give it {', '.join(_TEXT_SIDE)}, or none of them.",
        )
    return isinstance(encoder, ImageTextEncoder)


@runtime_checkable
class GivesObservations(Protocol):
    """A backbone that has tokens beside its patches, e.g. PLACE's V-PORs: optional, asked for by
    `isinstance`."""

    def observations(self, images: torch.Tensor) -> torch.Tensor:
        """Return extra visual tokens [B, K, d] of normalised images."""
        ...


@runtime_checkable
class GivesLocalSimilarity(Protocol):
    """A backbone whose score has a part over words (or sentences) and regions: optional, asked for
    by `isinstance`."""

    def local_similarity(self, images: torch.Tensor, texts: Sequence[str]) -> torch.Tensor:
        """Return that part alone [B, T]."""
        ...


@runtime_checkable
class GivesGrounding(Protocol):
    """A backbone that can say where in an image it reads a text: optional, asked for by
    `isinstance`."""

    def grounding(self, images: torch.Tensor, texts: Sequence[str]) -> torch.Tensor | None:
        """Return maps [B, T, h, w] of normalised images [B, 3, H, W]; None where the method has no
        local part."""
        ...


@runtime_checkable
class GivesPatchEmbeddings(Protocol):
    """A backbone whose patches lie in the space of its texts: optional, asked for by
    `isinstance`."""

    def embed_patches(self, images: torch.Tensor) -> torch.Tensor | None:
        """Return L2-normalised patch embeddings [B, h, w, d], d as that of `embed_texts`; None
        where this encoder's patches cannot be brought there."""
        ...


@runtime_checkable
class GivesAccount(Protocol):
    """A backbone that can say where its weights come from: optional, asked for by `isinstance`."""

    def account(self) -> Mapping[str, Any]:
        """Return facts with JSON values: `coverage` (share of the weights that a file filled),
        `missing`, `unused` and `adaptations` (lists of words), `weights` (the file); each stands in
        a result as `encoder:<name>`. Empty for an untrained encoder."""
        ...


def weights_named(backbone: ImageEncoder) -> str:
    """Return the file of an encoder's weights as a part of a sentence; "" where there is none."""
    source = backbone.account().get("weights") if isinstance(backbone, GivesAccount) else ""
    return f" (weights: {source})" if source else ""


@dataclass(frozen=True)
class BackboneRequest:
    """What the runner asks of a backbone's builder. `architecture` "" means the profile's
    default."""

    profile: Profile
    architecture: str = ""
    seed: int = 0
    checkpoint: Path | None = None
    settings: Mapping[str, str] = field(default_factory=dict)


Frame = Literal["", "floor", "ceiling", "outsider"]
SUPERVISION = ("regions", "gaze", "labels", "knowledge", "omics")
"""What an encoder may have learned from beside images and reports: regions of images, the gaze of
radiologists, labels of findings, definitions or a knowledge base, and expression of genes."""


@dataclass(frozen=True)
class BackboneSpec:
    """Declaration of one backbone.

    `build` returns the loaded encoder. Some answers are given without importing torch:
    `architecture`, the full name of the one a request means, and `weights_file`, which file it will
    read, so that its hash can stand in the results; `weights_digest` gives that hash itself where
    it is of several files, or of files that a library keeps. `same_as` is the name under which the
    very same encoder is known too: both are one row. `check` raises SettingError for settings
    (`--set backbone.key=value`) that `build` would refuse. `why_no_text` says, without building it,
    what the encoder that a request means lacks to read texts; "" where it reads them, or where only
    the built one tells. `settings` came with the name (`name?key=value`). `method` ("module:Class")
    names the network of the pre-training method where the harness can pre-train it, `pretraining`
    has what that method declares, `trainer` ("module") is who trains it (a `Trainer`) and
    `pretrain_on` the image-report dataset it uses by default; then `build` is called with
    `request.checkpoint` set. `seeded` is True where another seed gives other weights; `default`
    puts it in a run that names no backbones. `baseline` names what a kind predicts without an
    encoder, where the row is that (`bench.contracts.baselines`). `settings_type` is the frozen
    dataclass of the settings, by which `place-bench settings` explains them. `pretrained_on` says
    in words what its weights were trained on, `how_to_get` how they come onto a machine. `frame` is
    its part in the frame of every table: "floor" and "outsider" (weights of photographs, which
    stands there where its file does) are ranked as any encoder is; "ceiling" is trained end to end
    on the labels of the task and is not. `supervision` names what it learned from beside images and
    reports, out of SUPERVISION; labels of photographs are none, nor are those of the task that a
    ceiling is trained on, which its table says.
    """

    name: str
    title: str
    build: Callable[[BackboneRequest], ImageEncoder]
    architecture: Callable[[BackboneRequest], str] = lambda request: request.architecture
    licence: str = ""
    citation: str = ""
    source: str = ""
    method: str = ""
    trainer: str = ""
    pretrain_on: str = ""
    pretraining: MethodSpec | None = None
    seeded: bool = False
    default: bool = False
    weights_file: Callable[[BackboneRequest], Path | None] | None = None
    weights_digest: Callable[[BackboneRequest], str] | None = None
    same_as: Callable[[BackboneRequest], str] | None = None
    check: Callable[[BackboneRequest], None] | None = None
    why_no_text: Callable[[BackboneRequest], str] = lambda request: ""
    settings: Mapping[str, str] = field(default_factory=dict)
    settings_type: type[Any] | None = None
    baseline: str = ""
    pretrained_on: str = ""
    how_to_get: str = ""
    frame: Frame = ""
    supervision: tuple[str, ...] = ()


def images_only(request: BackboneRequest) -> str:
    """Return why an encoder of images alone reads no texts: its declaration's `why_no_text`."""
    return "it is an image encoder"


def configured(spec: BackboneSpec, name: str, settings: Mapping[str, str]) -> BackboneSpec:
    """Return the declaration under a name that carries settings; these win over `--set
    backbone.*`."""

    settings = {key: value for key, value in settings.items() if key != LABEL}

    def extended(request: BackboneRequest) -> BackboneRequest:
        """Return the request with the settings in the name added."""
        return replace(request, settings={**request.settings, **settings})

    def build(request: BackboneRequest) -> ImageEncoder:
        """Build the encoder with the settings in the name."""
        return spec.build(extended(request))

    find = spec.weights_file
    weights_file = (lambda request: find(extended(request))) if find else None
    hash_of = spec.weights_digest
    weights_digest = (lambda request: hash_of(extended(request))) if hash_of else None
    same_as = spec.same_as
    check_of = spec.check
    check = (lambda request: check_of(extended(request))) if check_of else None
    merged = {**spec.settings, **settings}
    return replace(
        spec,
        name=name,
        build=build,
        architecture=lambda request: spec.architecture(extended(request)),
        weights_file=weights_file,
        weights_digest=weights_digest,
        same_as=(lambda request: same_as(extended(request))) if same_as else None,
        check=check,
        why_no_text=lambda request: spec.why_no_text(extended(request)),
        settings=merged,
        default=False,
    )


def backbone(
    name: str, **meta: Any
) -> Callable[
    [Callable[[BackboneRequest], ImageEncoder]], Callable[[BackboneRequest], ImageEncoder]
]:
    """Decorate a builder function: `@backbone("mine", title="...", licence="...")`."""

    def decorate(
        build: Callable[[BackboneRequest], ImageEncoder],
    ) -> Callable[[BackboneRequest], ImageEncoder]:
        """Register the builder and return it as it is."""
        check_keywords(f"backbone '{name}'", meta, BackboneSpec, beside=("name", "build"))
        first_paragraph = (build.__doc__ or name).strip().split("\n\n")[0]
        meta.setdefault("title", " ".join(first_paragraph.split()))
        BACKBONES.add(name, BackboneSpec(name=name, build=build, **meta))
        return build

    return decorate


BACKBONES: Registry[BackboneSpec] = Registry(
    "backbone",
    configure=configured,
    check=backbone_faults,
    check_together=backbone_faults_together,
)
