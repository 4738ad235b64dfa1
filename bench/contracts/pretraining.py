"""What pre-trains an encoder: a method, the recipe of one training and who carries it out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

from bench.contracts.common import Profile, Progress
from bench.core.machine import default_threads

if TYPE_CHECKING:
    from bench.contracts.annotations import Annotation
    from bench.contracts.datasets import PairData


@dataclass(frozen=True)
class MethodSpec:
    """What a pre-training method consists of.

    `network` is its class, or "module:Class" where importing that class imports torch; `settings`
    the frozen dataclass of its settings, whose defaults are those of the paper profile; `demo` what
    the demo profile changes in them.
    """

    network: str | type[Any]
    settings: type[Any]
    demo: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Recipe:
    """What is pre-trained and how; `settings` are changes to the method's profile defaults,
    `threads` the number of threads, on which the last digits of the weights depend."""

    method: str
    profile: Profile = "demo"
    architecture: str = ""
    seed: int = 0
    settings: Mapping[str, str] = field(default_factory=dict)
    threads: int = field(default_factory=default_threads)


_Recipe: TypeAlias = Recipe
"""The same, inside a class that has a member of that name."""


@runtime_checkable
class Trainer(Protocol):
    """Who pre-trains a method: a module, named by `trainer` in a declaration, with these names.

    It imports no torch until `pretrain` is called.
    """

    @property
    def Recipe(self) -> Callable[..., _Recipe]:  # noqa: N802
        """Make a recipe from method, profile, architecture, seed, settings and threads."""
        ...

    def check(self, recipe: _Recipe) -> None:
        """Raise PlaceBenchError for a recipe that could not be trained; reads no data."""
        ...

    def pretrain_image_size(self, recipe: _Recipe) -> int:
        """Return the long side (px) at which images are cached for the training."""
        ...

    def checkpoint_folder(self, recipe: _Recipe, data_hash: str) -> Path:
        """Return where the checkpoint of a recipe on data of this hash is kept."""
        ...

    def is_complete(self, folder: Path) -> bool:
        """Tell whether a folder holds a finished training."""
        ...

    def pretrain(
        self,
        recipe: _Recipe,
        data: PairData,
        *,
        progress: Progress,
        out: Path | None = None,
        device: str = "cpu",
        force: bool = False,
    ) -> Path:
        """Train, unless the folder holds a finished training and `force` is False; return the
        folder of the checkpoint, written as `bench.core.checkpoints` describes it."""
        ...


@runtime_checkable
class GivesSettings(Protocol):
    """A trainer that can say what a recipe is carried out with: optional, asked for by
    `isinstance`."""

    def recipe_settings(self, recipe: Recipe) -> Any:
        """Return the frozen dataclass of the method's settings as resolved; reads no data."""
        ...


@runtime_checkable
class GivesShipped(Protocol):
    """A trainer some of whose trainings come with the package, done: optional, asked for by
    `isinstance`."""

    def shipped(self, recipe: Recipe) -> Path | None:
        """Return the folder of the checkpoint that stands for this recipe, or None where there is
        none and it has to be trained; imports no torch."""
        ...


@runtime_checkable
class SaysNeeds(Protocol):
    """A trainer that says which annotations a recipe is trained with: optional, asked for by
    `isinstance`; one that does not is given images and reports."""

    def needs(self, recipe: Recipe) -> tuple[Annotation[Any], ...]:
        """Return the annotations beside the images, e.g. `(Reports(), Regions())`; reads no
        data."""
        ...
