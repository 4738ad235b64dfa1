"""What targets and readout ask of the settings of a task kind."""

from __future__ import annotations

from typing import Literal, Protocol

Mode = Literal["binary", "multiclass", "multilabel"]
Policy = Literal["ones", "zeros", "ignore"]
Threshold = Literal["validation", "half", "test", "test_per_class"]
Strict = Literal["none", "accuracy", "all"]


class TargetSettings(Protocol):
    """How index columns become targets."""

    @property
    def mode(self) -> Mode:
        """What the labels are to each other."""
        ...

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, in their order."""
        ...

    @property
    def uncertain(self) -> tuple[str, ...]:
        """One `class=policy` per label."""
        ...

    @property
    def blank(self) -> Literal["zeros", "ignore"]:
        """What a missing label is taken for."""
        ...

    @property
    def views(self) -> tuple[str, ...]:
        """Projections that are kept; none named: all."""
        ...


class ReadoutSettings(TargetSettings, Protocol):
    """How scores become probabilities and decisions."""

    @property
    def threshold(self) -> Threshold:
        """Where a score is cut to a decision."""
        ...

    @property
    def strict(self) -> Strict:
        """Whether an image at a threshold chosen on the test images is positive."""
        ...

    @property
    def threshold_by(self) -> Literal["f1", "youden"]:
        """What a threshold chosen on validation makes highest."""
        ...

    @property
    def calibration(self) -> Literal["temperature", "none"]:
        """Whether scores are divided by a fitted temperature."""
        ...

    @property
    def subgroups(self) -> bool:
        """Whether the table names subgroups."""
        ...
