"""What is wrong with a declaration: checked where it is made (`dataset_faults`, `backbone_faults`,
`kind_faults`, `task_faults`), and among all others once the plug-ins are imported.

Reads no file and imports nothing heavy.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, TypeGuard, TypeVar, get_args

from bench.core.errors import PlaceBenchError, SettingError, UnknownNameError, in_words
from bench.core.registry import suggest
from bench.core.settings import check_value, field_hints

if TYPE_CHECKING:
    from bench.contracts.backbones import BackboneSpec, InputSpec
    from bench.contracts.datasets import Dataset
    from bench.contracts.tasks import TaskKind, TaskSpec

T = TypeVar("T")
_DATASET_TEXTS = ("name", "title", "licence", "citation", "how_to_get")
_DATASET_TUPLES = ("folders", "mask_classes", "box_classes", "label_names", "official_lists")
_TASK_TEXTS = ("kind", "dataset", "title", "main_metric")
_METHODS_OF = {"mask_classes": "mask", "box_classes": "boxes", "has_regions": "regions"}
_EXAMPLES = {"has_regions": "Write has_regions = True."}


# ------------------------------------------------------------------------------------ by themselves
def made(cls: type[T], what: str) -> T:
    """Return an instance of a declared class; raise PlaceBenchError naming every method or `name`
    that it lacks."""
    if not inspect.isclass(cls):
        raise PlaceBenchError(f"@{what} stands above {cls!r}.", "Put it above a class.")
    missing = sorted(getattr(cls, "__abstractmethods__", ()))
    if not hasattr(cls, "name"):
        missing.insert(0, "name")
    if missing:
        raise PlaceBenchError(
            f"{what} {cls.__name__} lacks {in_words(missing)}.",
            f"Add {'it' if len(missing) == 1 else 'them'} to the class.",
        )
    try:
        return cls()
    except TypeError as error:
        raise PlaceBenchError(
            f"{what} {cls.__name__} cannot be made without arguments: {error}.",
            "Give every argument of __init__ a default.",
        ) from error


def dataset_faults(name: str, dataset: Dataset) -> Iterator[PlaceBenchError]:
    """Yield what a dataset lacks, or says of itself that cannot be."""
    title = f"dataset '{name}'"
    yield from _same_name(title, name, dataset)
    attributes = (*_DATASET_TEXTS, "index", "validate")
    missing = [attribute for attribute in attributes if not hasattr(dataset, attribute)]
    if missing:
        yield PlaceBenchError(
            f"{title} lacks {in_words(missing)}.", 'Set it in the class, e.g. title = "...".'
        )
    for attribute in _DATASET_TEXTS:
        yield from _no_text(title, dataset, attribute)
    for attribute in _DATASET_TUPLES:
        yield from _no_names(title, attribute, getattr(dataset, attribute, ()))
    yield from _dataset_methods(title, dataset)


def _dataset_methods(title: str, dataset: Dataset) -> Iterator[PlaceBenchError]:
    from bench.contracts.datasets import Dataset

    for classes, method in _METHODS_OF.items():
        written = getattr(type(dataset), method, None) is not getattr(Dataset, method)
        if getattr(dataset, classes, ()) and not written:
            yield PlaceBenchError(
                f"{title} has {classes} and no {method}().",
                f"Write {method}(self, row, root), or leave {classes} out.",
            )
        if written and not getattr(dataset, classes, ()):
            yield PlaceBenchError(
                f"{title} has {method}() and no {classes}.",
                _EXAMPLES.get(classes, f'Name them, e.g. {classes} = ("lesion",).'),
            )
    if getattr(dataset, "has_demo", False) and type(dataset).make_demo is Dataset.make_demo:
        yield PlaceBenchError(
            f"{title} has has_demo = True and no make_demo().", "Write it, or leave has_demo out."
        )


def backbone_faults(name: str, spec: BackboneSpec) -> Iterator[PlaceBenchError]:
    """Yield what is wrong with the declaration of an encoder."""
    title = f"backbone '{name}'"
    yield from _same_name(title, name, spec)
    yield from _no_text(title, spec, "title")
    for attribute in ("build", "architecture"):
        yield from _not_callable(title, attribute, getattr(spec, attribute))
    for attribute in ("weights_file", "weights_digest", "same_as", "check", "why_no_text"):
        function = getattr(spec, attribute)
        if function is not None:
            yield from _not_callable(title, attribute, function)
    for attribute in ("licence", "citation", "source", "method", "trainer", "pretrain_on"):
        text = getattr(spec, attribute)
        if not isinstance(text, str):
            yield _wrong(title, attribute, text, "text")
    yield from _no_supervision(title, spec.supervision)


def _no_supervision(title: str, supervision: object) -> Iterator[PlaceBenchError]:
    """Yield a fault where `supervision` is no tuple of what it may name."""
    from bench.contracts.backbones import SUPERVISION

    faults = list(_no_names(title, "supervision", supervision))
    yield from faults
    if faults or not isinstance(supervision, Sequence):
        return
    for name in supervision:
        if name not in SUPERVISION:
            yield UnknownNameError(
                f"{title}: supervision names {name!r}, which is none of {in_words(SUPERVISION)}.",
                suggest(name, SUPERVISION),
            )


def kind_faults(name: str, kind: TaskKind) -> Iterator[PlaceBenchError]:
    """Yield what a kind of task lacks, or says of itself that cannot be."""
    title = f"task kind '{name}'"
    yield from _same_name(title, name, kind)
    attributes = ("metrics", "settings", "protocols", "fit", "predict", "statistics")
    missing = [attribute for attribute in attributes if not hasattr(kind, attribute)]
    if missing:
        yield PlaceBenchError(f"{title} lacks {in_words(missing)}.", "Add it to the class.")
    for attribute in ("metrics", "lower_is_better"):
        yield from _no_names(title, attribute, getattr(kind, attribute, ()))
    yield from _no_fits(title, getattr(kind, "baselines", {}))
    yield from _no_form(title, getattr(kind, "submission", None))
    if not _whole(kind.evaluator_version):
        yield _wrong(
            title, "evaluator_version", kind.evaluator_version, "a whole number, 1 or more"
        )


def task_faults(name: str, task: TaskSpec) -> Iterator[PlaceBenchError]:
    """Yield what is wrong with the types and ranges in the declaration of a task."""
    title = f"task '{name}'"
    yield from _same_name(title, name, task)
    for attribute in _TASK_TEXTS:
        yield from _no_text(title, task, attribute)
    yield from _no_names(title, "groups", task.groups)
    if not isinstance(task.fractions, Sequence) or isinstance(task.fractions, str):
        yield _wrong(title, "fractions", task.fractions, "a tuple of numbers, such as (0.1, 1.0)")
    elif not task.fractions or not all(map(_fraction, task.fractions)):
        expected = "numbers above 0 and at most 1, such as (0.1, 1.0)"
        yield _wrong(title, "fractions", task.fractions, expected)
    if not isinstance(task.options, Mapping):
        yield _wrong(title, "options", task.options, "a dict")
    if not isinstance(task.presets, Mapping):
        yield _wrong(title, "presets", task.presets, 'a dict, such as {"mgca": {"epochs": "5"}}')
    if not isinstance(task.published_metrics, Mapping):
        expected = 'a dict, such as {"mgca": "accuracy"}'
        yield _wrong(title, "published_metrics", task.published_metrics, expected)


def check_input(spec: InputSpec) -> None:
    """Raise SettingError for an input that no encoder can have: sides, channels, mean and
    deviation."""
    for name in ("size", "resize", "channels"):
        if not _whole(getattr(spec, name)):
            raise _wrong("InputSpec", name, getattr(spec, name), "a whole number, 1 or more")
    if spec.resize < spec.size:
        expected = f"at least its size, {spec.size}: the image is cropped from it"
        raise _wrong("InputSpec", "resize", spec.resize, expected)
    for name in ("mean", "std"):
        values = getattr(spec, name)
        if not isinstance(values, Sequence) or len(values) not in (1, spec.channels):
            raise _wrong(
                "InputSpec", name, values, f"one number for each of {spec.channels} channels"
            )
        if not all(_number(value) and (name == "mean" or value > 0) for value in values):
            expected = "finite numbers" if name == "mean" else "finite numbers above 0"
            raise _wrong("InputSpec", name, values, expected)
    hints = field_hints(type(spec))
    for name in ("interpolation", "fit"):
        options = get_args(hints[name])
        if getattr(spec, name) not in options:
            raise _wrong("InputSpec", name, getattr(spec, name), f"one of {', '.join(options)}")


# --------------------------------------------------------------------------------- among all others
def task_faults_together(task: TaskSpec) -> Iterator[PlaceBenchError]:
    """Yield what does not fit between a task, its kind and its dataset: names, options, presets,
    main metric, and what the kind needs."""
    from bench.contracts.datasets import DATASETS
    from bench.contracts.tasks import KINDS

    title = f"task '{task.name}'"
    unknown = []
    for registry, name in ((KINDS, task.kind), (DATASETS, task.dataset)):
        try:
            registry.get(name)
        except UnknownNameError as error:
            unknown.append(UnknownNameError(f"{title}: {error.args[0]}", error.hint))
    if unknown:
        yield from unknown
        return
    kind = KINDS.get(task.kind)
    dataset = DATASETS.get(task.dataset)
    faults = [*option_faults(task, kind), *label_faults(task, dataset)]
    faults = faults or list(preset_faults(task, kind))
    yield from faults
    if not faults:
        yield from need_faults(task, kind, dataset)


def need_faults(task: TaskSpec, kind: TaskKind, dataset: Dataset) -> Iterator[PlaceBenchError]:
    """Yield what the kind of a task needs beside images and its dataset does not declare; columns
    of the index are looked for when it is read."""
    from bench.contracts.tasks import needs_of

    if list(kind_faults_together(kind)):
        return
    settings = kind.settings(task, "default", "demo", task.presets.get("default", {}))
    for annotation in needs_of(kind, settings):
        if not annotation.in_index and not annotation.offered(dataset):
            yield PlaceBenchError(
                f"task '{task.name}' is {kind.name}, which needs {annotation.name}, and dataset "
                f"'{dataset.name}' has none.",
                f"{annotation.hint} Or choose another kind.".strip(),
            )


def label_faults(task: TaskSpec, dataset: Dataset) -> Iterator[PlaceBenchError]:
    """Yield the labels of a task that its dataset, which names its own, does not have."""
    labels = task.options.get("labels", ())
    if not dataset.label_names or not isinstance(labels, (tuple, list)):
        return
    for label in labels:
        if label not in dataset.label_names:
            yield SettingError(
                f"task '{task.name}' has the label {label!r}, which dataset '{dataset.name}' does "
                "not have.",
                suggest(str(label), dataset.label_names),
            )


def kind_faults_together(kind: TaskKind) -> Iterator[PlaceBenchError]:
    """Yield a need of a kind that is no annotation; those of before have a word for it."""
    from bench.contracts.annotations import ANNOTATIONS

    needs: object = kind.needs
    if isinstance(needs, str) and needs not in ("images", *ANNOTATIONS.names()):
        yield UnknownNameError(
            f"task kind '{kind.name}' needs '{needs}', which is no annotation.",
            suggest(needs, ["images", *ANNOTATIONS.names()]),
        )


def option_faults(task: TaskSpec, kind: TaskKind) -> Iterator[PlaceBenchError]:
    """Yield the options of a task that its kind does not have, or that are of another type."""
    if kind.options is None:
        return
    title = f"task '{task.name}'"
    hints = field_hints(kind.options)
    for name, value in task.options.items():
        if name not in hints:
            message = f"{title} has an option '{name}', which {kind.name} does not have."
            yield SettingError(message, suggest(str(name), hints))
            continue
        try:
            check_value(name, tuple(value) if isinstance(value, list) else value, hints[name])
        except SettingError as error:
            yield SettingError(f"{title}, options: {error.args[0]}", error.hint)


def preset_faults(task: TaskSpec, kind: TaskKind) -> Iterator[PlaceBenchError]:
    """Yield the presets of a task that are none of its kind, and a main metric that it gives under
    no protocol."""
    title = f"task '{task.name}'"
    for protocol, changes in task.presets.items():
        if protocol not in kind.protocols():
            yield SettingError(
                f"{title} has presets of protocol '{protocol}', which {task.kind} does not have.",
                suggest(str(protocol), kind.protocols()),
            )
            return
        if not isinstance(changes, Mapping):
            yield _wrong(title, f"presets['{protocol}']", changes, "a dict of settings")
            return
    for protocol in task.published_metrics:
        if protocol not in kind.protocols():
            yield SettingError(
                f"{title} has a published metric of protocol '{protocol}', which {task.kind} does "
                "not have.",
                suggest(str(protocol), kind.protocols()),
            )
            return
    names: set[str] = set()
    for protocol in kind.protocols():
        changes = task.presets.get(protocol, {})
        try:
            settings = kind.settings(task, protocol, "demo", changes)
        except PlaceBenchError as error:
            if changes or protocol == "default":
                where = f", presets of '{protocol}'" if changes else ""
                yield type(error)(f"{title}{where}: {error.args[0]}", error.hint)
                return
            continue  # of a protocol that the task says nothing of: said where it is asked for
        given = set(kind.metric_names(task, settings))
        published = task.published_metrics.get(protocol)
        if given and published and not gives(given, published):
            yield SettingError(
                f"the published metric of {title} under protocol '{protocol}' is '{published}', "
                f"which {task.kind} does not give there.",
                suggest(published, given),
            )
        names |= given
    if names and not gives(names, task.main_metric):
        yield SettingError(
            f"the main metric of {title} is '{task.main_metric}', which {task.kind} does not give.",
            suggest(task.main_metric, names),
        )


def gives(names: Iterator[str] | set[str] | Sequence[str], metric: str) -> bool:
    """Tell whether `metric` is one of `names` (patterns), or one of a class (`name:class`) or
    subgroup (`name@sex=F`) of it."""
    patterns = [f"{name}{ending}" for name in names for ending in ("", ":*", "@*")]
    return any(fnmatchcase(metric, pattern) for pattern in patterns)


def backbone_faults_together(spec: BackboneSpec) -> Iterator[PlaceBenchError]:
    """Yield what an encoder's declaration says of its architecture and data that cannot be."""
    from bench.contracts.backbones import BackboneRequest
    from bench.contracts.datasets import DATASETS

    title = f"backbone '{spec.name}'"
    for profile in ("demo", "paper"):
        try:
            architecture: object = spec.architecture(BackboneRequest(profile))
        except PlaceBenchError as error:
            yield type(error)(f"{title}: {error.args[0]}", error.hint)
            return
        if not isinstance(architecture, str):
            yield _wrong(title, "architecture(request)", architecture, "the architecture's name")
            return
    if spec.method and spec.pretrain_on not in DATASETS:
        yield UnknownNameError(
            f"{title} is pre-trained on '{spec.pretrain_on}', which is no dataset.",
            suggest(spec.pretrain_on, DATASETS.names()),
        )


# ------------------------------------------------------------------------------------------- parts
def check_keywords(
    title: str, given: Mapping[str, Any], cls: type[Any], beside: Sequence[str] = ()
) -> None:
    """Raise PlaceBenchError for a keyword that is no field of a dataclass, with the nearest."""
    names = [field.name for field in dataclasses.fields(cls) if field.name not in beside]
    for name in given:
        if name not in names:
            raise PlaceBenchError(f"{title} has no attribute '{name}'.", suggest(name, names))


def _same_name(title: str, name: str, item: Any) -> Iterator[PlaceBenchError]:
    stated = getattr(item, "name", name)
    if stated != name:
        yield PlaceBenchError(
            f"{title} calls itself {stated!r}.", "Register it under its own name."
        )


def _no_text(title: str, item: Any, attribute: str) -> Iterator[PlaceBenchError]:
    value = getattr(item, attribute, "-")
    if not (isinstance(value, str) and value.strip()):
        yield _wrong(title, attribute, value, "text that is not empty")


def _no_names(title: str, attribute: str, value: object) -> Iterator[PlaceBenchError]:
    """Yield a fault where a value is no tuple of texts: one text alone would be read as its
    letters."""
    if isinstance(value, str) or not isinstance(value, Sequence):
        yield _wrong(title, attribute, value, f'a tuple, such as {attribute} = ("a",)')
        return
    if not all(isinstance(name, str) and name for name in value):
        yield _wrong(title, attribute, value, "a tuple of texts")
        return
    if len(set(value)) < len(value):
        yield _wrong(title, attribute, value, "a tuple that names each once")


def _no_fits(title: str, baselines: object) -> Iterator[PlaceBenchError]:
    """Yield a fault where rows without an encoder are no functions by name."""
    expected = 'a dict of functions, such as {"prior_mask": fit_prior}'
    if not baselines:  # an empty tuple too, as kinds of before have it
        return
    if not isinstance(baselines, Mapping):
        yield _wrong(title, "baselines", baselines, expected)
        return
    for name, fit in baselines.items():
        if not callable(fit):
            yield _wrong(title, f"baselines[{name!r}]", fit, "a function, or a Body")


def _no_form(title: str, form: object) -> Iterator[PlaceBenchError]:
    """Yield a fault where what says how submissions are read is no form, or has no reader."""
    from bench.contracts.submissions import SubmissionForm

    if form is None:
        return
    if not isinstance(form, SubmissionForm):
        yield _wrong(title, "submission", form, "a SubmissionForm, or None")
    elif not callable(form.read):
        yield _wrong(title, "submission.read", form.read, "a function, or a Body")


def _not_callable(title: str, attribute: str, value: object) -> Iterator[PlaceBenchError]:
    if not callable(value):
        yield _wrong(title, attribute, value, "a function of a BackboneRequest")


def _wrong(title: str, attribute: str, value: object, expected: str) -> SettingError:
    text = repr(value)
    if len(text) > 60:
        text = f"{text[:60]}..."
    return SettingError(f"{title}: {attribute} is {text}.", f"It must be {expected}.")


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _number(value: object) -> TypeGuard[float]:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return False
    return math.isfinite(value)


def _fraction(value: object) -> bool:
    return _number(value) and 0 < value <= 1
