"""Errors a user can act on: what was found, what was expected, what to do next."""

from __future__ import annotations

from collections.abc import Sequence


class PlaceBenchError(Exception):
    """Stop with one clear sentence and exit code 2; `hint` names the next step."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.args[0]} {self.hint}".strip()


class UnknownNameError(PlaceBenchError):
    """A name that no registry or settings class knows; the nearest ones are in the message."""


class SettingError(PlaceBenchError):
    """A setting whose key or value is wrong."""


class DataError(PlaceBenchError):
    """A file, row or folder of a dataset that is missing or wrong; always names the path."""


class SplitLeakError(DataError):
    """A patient or image that stands in more than one split."""


class CheckpointError(PlaceBenchError):
    """A checkpoint that is missing, damaged, unsafe or of another architecture."""


class MissingDependencyError(PlaceBenchError):
    """A package or weight file that this machine lacks; says how to bring it."""


class NotApplicableError(PlaceBenchError):
    """A cell that cannot be, such as zero-shot without a text encoder: it is left out, saying why,
    and the run goes on."""


class NotMadeError(PlaceBenchError):
    """What a run makes first and a dry run does not; the message says what it is."""


class StorageError(PlaceBenchError):
    """A folder or file that cannot be written (or may not be read), or a disk that is full."""


def in_words(names: Sequence[str]) -> str:
    """Return names as a part of a sentence: "a", "a and b", "a, b and c"; "" for none."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))
