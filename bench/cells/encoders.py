"""From a backbone's name to its weights: found where they exist, trained where they may be, saying
so. Imports no torch."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from bench.cells.encoder_weights import (
    check_reads,
    check_trained,
    file_digest,
    read_card,
    weights_digest,
)
from bench.cells.prepare import EncoderRef
from bench.cells.request import RunRequest, backbone_names
from bench.contracts import (
    ANNOTATIONS,
    BACKBONES,
    DATASETS,
    Annotation,
    BackboneRequest,
    BackboneSpec,
    Dataset,
    GivesShipped,
    OnError,
    PairData,
    Profile,
    Progress,
    Recipe,
    SaysNeeds,
    Subset,
    Trainer,
)
from bench.core.checkpoints import Checkpoint
from bench.core.errors import (
    CheckpointError,
    DataError,
    NotMadeError,
    PlaceBenchError,
    SettingError,
    in_words,
)
from bench.core.machine import default_threads, use_threads
from bench.core.naming import split_name
from bench.core.paths import cache_home
from bench.core.settings import Count, Seed, check_value

if TYPE_CHECKING:
    from bench.data.loading import Prepared
    from bench.data.roots import DataRoot


_TRAINER_NAMES = tuple(name for name in vars(Trainer) if not name.startswith("_"))


@dataclass(frozen=True)
class PretrainRequest:
    """Which method to pre-train on what.

    `out` None means the cache, where `run` finds it; `checkpoint` names weights to use instead of
    training.
    """

    method: str
    dataset: str = ""
    profile: Profile = "demo"
    architecture: str = ""
    seed: int = 0
    settings: Mapping[str, str] = field(default_factory=dict)
    backbone_settings: Mapping[str, str] = field(default_factory=dict)
    device: str = "auto"
    data: Literal["auto", "real", "demo"] = "auto"
    data_root: Path | None = None
    out: Path | None = None
    on_error: OnError = "stop"
    workers: int = 2
    threads: int = field(default_factory=default_threads)
    checkpoint: Path | None = None


def encoder_request(name: str, request: RunRequest) -> PretrainRequest:
    """Return what a run asks of the encoder `name`.

    In the demo profile encoders learn from rendered studies, whatever data the task has: the
    checkpoint's card says so.
    """
    return PretrainRequest(
        method=name,
        profile=request.profile,
        architecture=request.architecture,
        settings=request.scoped("pretrain"),
        backbone_settings=request.scoped("backbone"),
        device=request.device,
        data="demo" if request.profile == "demo" else "real",
        data_root=None if request.profile == "demo" else request.data_root,
        workers=request.workers,
        threads=request.threads,
        checkpoint=request.checkpoints.get(name),
    )


def check_encoder_settings(request: RunRequest) -> None:
    """Raise SettingError for a setting of an encoder that it does not take, and for one of a
    pre-training that this run does not do; no file is read."""
    changes = request.scoped("pretrain")
    trained = []
    for name in backbone_names(request):
        spec = BACKBONES.get(name)
        _check_backbone(spec, request)
        if spec.method and name not in request.checkpoints:
            trained.append(name)
    if changes and (request.profile != "demo" or not trained):
        reason = (
            "a run in the paper profile trains no encoder"
            if request.profile != "demo"
            else f"none of {', '.join(backbone_names(request))} is trained in this run"
        )
        raise SettingError(
            f"--set pretrain.{next(iter(changes))} changes nothing: {reason}.",
            "Leave it out, or use `place-bench pretrain`.",
        )


def _check_backbone(spec: BackboneSpec, request: RunRequest) -> None:
    build_request = request.build_request()
    if spec.check is not None:
        spec.check(build_request)
    elif spec.method and build_request.settings:
        name = next(iter(build_request.settings))
        raise SettingError(
            f"--set backbone.{name}: '{spec.name}' takes its settings from its checkpoint.",
            "Use --set pretrain.key=value.",
        )


def _check_recipe(spec: BackboneSpec, request: PretrainRequest) -> None:
    try:
        trainer_of(spec).check(_recipe(spec, request))
        needs = _needs(spec, request)
    except SettingError as error:
        raise SettingError(f"pre-training of '{spec.name}': {error.args[0]}", error.hint) from error
    _check_offered(spec, needs, DATASETS.get(request.dataset or spec.pretrain_on))


def resolve_encoder(
    request: PretrainRequest, progress: Progress, *, make: bool = True
) -> EncoderRef:
    """Return the encoder a run uses: given, untrained, found in the cache, or in the demo profile
    the one that comes with the package, where it has none trained now; without `make` raise
    NotMadeError in place of training it."""
    spec = BACKBONES.get(request.method)
    if request.checkpoint:
        return _given(spec, request, request.checkpoint)
    if not spec.method:
        return _as_declared(spec, request)
    if request.profile != "demo":
        return read_card(spec, _only_checkpoint(spec, request))
    shipped = shipped_encoder(request)
    if shipped is None:
        return train_encoder(request, progress, make=make)
    progress.say(
        f"{spec.name}: the demo encoder that comes with place-bench, pre-trained on "
        f"{shipped.pretrained_on}; --set pretrain.KEY=VALUE trains one of your own."
    )
    return shipped


def shipped_encoder(request: PretrainRequest) -> EncoderRef | None:
    """Return the encoder that comes with the package for this request; None where there is none,
    or the request names data of its own, and it has to be trained."""
    spec = BACKBONES.get(request.method)
    trainer = trainer_of(spec)
    named = request.dataset or request.data_root or request.data == "real"
    if named or not isinstance(trainer, GivesShipped):
        return None
    folder = trainer.shipped(_recipe(spec, request))
    return None if folder is None else read_card(spec, folder)


def check_encoder(request: PretrainRequest) -> None:
    """Raise where an encoder of a run is not there or was asked for wrongly, before any data is
    read: no checkpoint, no weights file, an unknown architecture, a wrong setting of its training.

    Makes nothing; the weights are read when the encoder is built.
    """
    spec = BACKBONES.get(request.method)
    if request.checkpoint:
        _given(spec, request, request.checkpoint)
    elif spec.method and request.profile == "demo":
        _check_recipe(spec, request)
    elif spec.method:
        _only_checkpoint(spec, request)
    else:
        _check_weights_file(spec, request)


def _check_weights_file(spec: BackboneSpec, request: PretrainRequest) -> None:
    build_request = _build_request(request)
    spec.architecture(build_request)
    weights = spec.weights_file(build_request) if spec.weights_file else None
    if weights is not None and not weights.is_file():
        raise CheckpointError(
            f"encoder '{spec.name}': weights file {weights} does not exist.", "Check its path."
        )


def train_encoder(
    request: PretrainRequest, progress: Progress, *, force: bool = False, make: bool = True
) -> EncoderRef:
    """Return the checkpoint of this request, trained where it is missing; without `make` raise
    NotMadeError in place of training."""
    spec = BACKBONES.get(request.method)
    if not spec.method:
        able = ", ".join(name for name, other in BACKBONES.items() if other.method)
        raise PlaceBenchError(
            f"backbone '{request.method}' is not pre-trained here.", f"These are: {able}."
        )
    trainer = trainer_of(spec)
    check_value("seed", request.seed, Seed)
    check_value("threads", request.threads, Count)
    _check_recipe(spec, request)  # a wrong setting stops here, before any data is made
    recipe = _recipe(spec, request)
    size = trainer.pretrain_image_size(recipe)
    root, prepared = _image_report_data(spec, request, size, progress, make)
    train, val = (_rows(prepared, name) for name in ("train", "val"))
    pairs = PairData(
        prepared.dataset.name,
        root.kind,
        train,
        val,
        _pairs_hash(prepared, (train, val)),
        prepared.digests(),
    )
    folder = request.out or trainer.checkpoint_folder(recipe, pairs.data_hash)
    if not make and not trainer.is_complete(folder):
        raise NotMadeError(f"pre-trained first, on {pairs.name}")
    if force or not trainer.is_complete(folder):
        from bench.cells.engines.local import pick_device

        use_threads(request.threads)
        progress.say(
            f"{spec.name}: pre-training on {len(train)} studies of {pairs.name} ({root.kind} "
            f"data) into {folder}"
        )
        trainer.pretrain(
            recipe,
            pairs,
            progress=progress,
            out=folder,
            device=pick_device(request.device),
            force=force,
        )
        _list_skipped(prepared, folder, progress)
    return read_card(spec, folder)


def _list_skipped(prepared: Prepared, folder: Path, progress: Progress) -> None:
    """Write the images that were left out beside the checkpoint's card, and say where."""
    from bench.data.faults import write_list

    if prepared.skipped:
        path = write_list(prepared.skipped, folder, f"skipped-{prepared.dataset.name}")
        progress.say(f"{len(prepared.skipped)} image(s) were left out, listed in {path}")


def trainer_of(spec: BackboneSpec) -> Trainer:
    """Return who trains a method; raise PlaceBenchError where the module that its declaration names
    is not there, or lacks a name that a Trainer has."""
    stated = f"pre-training method '{_method_name(spec)}': its trainer"
    hint = "Name a module that has what bench.contracts.Trainer describes."
    if not spec.trainer:
        raise PlaceBenchError(f"{stated} is empty.", hint)
    try:
        module = importlib.import_module(spec.trainer)
    except ModuleNotFoundError as error:
        if not (error.name and f"{spec.trainer}.".startswith(f"{error.name}.")):
            raise
        raise PlaceBenchError(f"{stated} {spec.trainer} is not a module.", hint) from error
    absent = sorted(name for name in _TRAINER_NAMES if not hasattr(module, name))
    if absent:
        raise PlaceBenchError(f"{stated} {spec.trainer} lacks {', '.join(absent)}.", hint)
    return cast(Trainer, module)


def _recipe(spec: BackboneSpec, request: PretrainRequest) -> Recipe:
    return trainer_of(spec).Recipe(
        _method_name(spec),
        request.profile,
        request.architecture,
        request.seed,
        dict(request.settings),
        request.threads,
    )


def _image_report_data(
    spec: BackboneSpec, request: PretrainRequest, size: int, progress: Progress, make: bool
) -> tuple[DataRoot, Prepared]:
    from bench.data.loading import prepare
    from bench.data.roots import resolve_root
    from bench.data.splits import by_image_id, check_leaks, default_split

    dataset = DATASETS.get(request.dataset or spec.pretrain_on)
    options: dict[str, Any] = {"workers": request.workers, "progress": progress, "make": make}
    try:
        root = resolve_root(dataset, request.data_root, request.data, **options)
        options["annotations"] = [need for need in _needs(spec, request) if not need.in_index]
        prepared = prepare(dataset, root.path, size=size, on_error=request.on_error, **options)
    except NotMadeError as error:
        raise NotMadeError(f"pre-trained first, on {dataset.name} ({error.args[0]})") from error
    index = default_split(by_image_id(prepared.index), seed=0)
    check_leaks(index)
    return root, replace(prepared, index=index)


def _needs(spec: BackboneSpec, request: PretrainRequest) -> tuple[Annotation[Any], ...]:
    """Return the annotations that a training reads beside images."""
    from bench.data.annotations import Reports

    trainer = trainer_of(spec)
    if not isinstance(trainer, SaysNeeds):
        return (Reports(),)
    return trainer.needs(_recipe(spec, request))


def _check_offered(spec: BackboneSpec, needs: Sequence[Annotation[Any]], dataset: Dataset) -> None:
    """Raise DataError where a dataset does not declare all that a method needs; it names both, and
    the datasets that do. Reads no file."""
    if all(need.offered(dataset) for need in needs):
        return
    able = [name for name, other in DATASETS.items() if all(need.offered(other) for need in needs)]
    wanted = [need.name for need in needs]
    offered = [name for name, part in ANNOTATIONS.items() if part.offered(dataset)]
    raise DataError(
        f"method '{_method_name(spec)}' needs {in_words(wanted)}; dataset '{dataset.name}' has "
        f"{in_words(offered) or 'images alone'}.",
        f"Use one of: {', '.join(able)}." if able else "No dataset has them.",
    )


def _rows(prepared: Prepared, split: str) -> Subset:
    return prepared.subset(prepared.index[prepared.index["split"] == split])


def _pairs_hash(prepared: Prepared, subsets: Sequence[Subset]) -> str:
    """Return a hash of images, reports, split, and what else the training reads: the hash of the
    image cache sees neither of the latter."""
    digest = hashlib.blake2b(prepared.content_hash.encode(), digest_size=8)
    for subset in subsets:
        for image, report in zip(subset.index["image_id"], subset.index["report"], strict=True):
            digest.update(f"{image}\0{report}\0".encode())
        digest.update(b"\1")
    return digest.hexdigest()


def _method_name(spec: BackboneSpec) -> str:
    """Return the name of a method without the settings it was asked for with
    (`place?name=mine`)."""
    return split_name(spec.name)[1]


def _only_checkpoint(spec: BackboneSpec, request: PretrainRequest) -> Path:
    """Return the one trained checkpoint of a method and profile in the cache; several are an error
    that names them."""
    trainer = trainer_of(spec)
    name = spec.architecture(BackboneRequest(request.profile, request.architecture))
    method = _method_name(spec)
    folders = sorted((cache_home() / "checkpoints").glob(f"{method}-{name}-{request.profile}-*"))
    complete = [folder for folder in folders if trainer.is_complete(folder)]
    if len(complete) == 1:
        return complete[0]
    command = f"place-bench pretrain {method} --profile {request.profile} --data-root FOLDER"
    if not complete:
        raise CheckpointError(
            f"there is no {request.profile} checkpoint of '{spec.name}' ({name}).",
            f"Train one with `{command}`, or give one with --checkpoint {spec.name}=FOLDER.",
        )
    listed = ", ".join(str(folder) for folder in complete)
    raise CheckpointError(
        f"'{spec.name}' has {len(complete)} checkpoints: {listed}.",
        f"Choose with --checkpoint {spec.name}=FOLDER.",
    )


def _as_declared(spec: BackboneSpec, request: PretrainRequest) -> EncoderRef:
    build_request = _build_request(request)
    content = weights_digest(spec, build_request)  # first: it may fetch what says the architecture
    blind = spec.seeded or bool(spec.baseline) or spec.frame == "outsider"
    architecture = spec.architecture(build_request)
    return EncoderRef(
        architecture,
        None,
        content,
        spec.pretrained_on,
        untrained=blind,
        supervision=spec.supervision,
    )


def _build_request(request: PretrainRequest) -> BackboneRequest:
    """Return what the encoder's builder will be asked for."""
    return BackboneRequest(
        request.profile, request.architecture, settings=dict(request.backbone_settings)
    )


def _given(spec: BackboneSpec, request: PretrainRequest, path: Path) -> EncoderRef:
    if not path.exists():
        raise CheckpointError(
            f"checkpoint {path} does not exist.", "Give a checkpoint folder or a weights file."
        )
    build_request = replace(_build_request(request), checkpoint=path)
    if not spec.method:
        check_reads(spec, build_request, path)
    if Checkpoint.is_at(path):
        encoder = read_card(spec, path)
        check_trained(spec, build_request, encoder.architecture)
        return encoder
    architecture = spec.architecture(build_request)
    return EncoderRef(architecture, path, file_digest(path), supervision=spec.supervision)
