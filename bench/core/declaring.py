"""What is wrong with a declaration: raised where it is made or, for `place-bench check`, listed;
whatever a plug-in does wrong names its file and line."""

from __future__ import annotations

import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from types import FrameType

from bench.core.errors import PlaceBenchError

_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]*")
_LONGEST = 200
"""Characters of a plug-in's own error that are repeated."""
_plugin: ContextVar[str] = ContextVar("plugin", default="")
"""The file or entry point whose declarations are being made or checked."""
_faults: ContextVar[list[PlaceBenchError] | None] = ContextVar("faults", default=None)
"""Where faults are listed instead of raised."""


def current_plugin() -> str:
    """Return the plug-in that is being imported; "" for what is built in."""
    return _plugin.get()


def is_built_in(code: object) -> bool:
    """Tell whether a function or class belongs to this project, and not to a plug-in or a
    notebook; of a function that is named by its place, what it names."""
    while isinstance(code, partial):
        code = code.func
    named = getattr(code, "function", None)
    module = named if isinstance(named, str) else getattr(code, "__module__", "")
    return module.partition(":")[0].partition(".")[0] in ("backbones", "bench", "tasks")


def check_name(kind: str, name: object) -> None:
    """Refuse a name that could not be written on the command line or in a file's name."""
    if not (isinstance(name, str) and _NAME.fullmatch(name)):
        refuse(
            PlaceBenchError(
                f"{kind} name {name!r} is not allowed.",
                "Use small letters, digits, '_', '-' and '.'.",
            )
        )


def refuse(fault: PlaceBenchError) -> None:
    """Raise a fault of a declaration; where faults are collected, list it and return."""
    faults = _faults.get()
    if faults is None:
        raise fault
    faults.append(_located(fault, _line_of_plugin(sys._getframe(1))))


@contextmanager
def collecting_faults() -> Iterator[list[PlaceBenchError]]:
    """List the faults of declarations that are made inside, in place of raising the first."""
    faults: list[PlaceBenchError] = []
    token = _faults.set(faults)
    try:
        yield faults
    finally:
        _faults.reset(token)


@contextmanager
def importing(plugin: str, failed: str, hint: str) -> Iterator[None]:
    """Name the plug-in and its line in whatever its import raises; `failed` and `hint` are said
    where that is no PlaceBenchError. Without a plug-in, what is raised is left as it is."""
    if not plugin:
        yield
        return
    with of_plugin(plugin):
        try:
            yield
        except PlaceBenchError as error:
            raise _located(error, _line_in(error)) from error
        except SyntaxError as error:
            line = error.lineno if error.filename == plugin and error.lineno else 0
            fault = PlaceBenchError(f"{error.msg}.", "Mend that line.")
            raise _located(fault, line) from error
        except (Exception, SystemExit) as error:  # a plug-in's code raises anything
            line = _line_in(error)
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}"[:_LONGEST]
            where = f" (line {line})" if line else ""
            message = f"plug-in {plugin} {failed}: {reason.rstrip('.: ')}{where}."
            raise PlaceBenchError(message, hint) from error


@contextmanager
def of_plugin(plugin: str) -> Iterator[None]:
    """Say whose declarations are made or checked inside."""
    token = _plugin.set(plugin)
    try:
        yield
    finally:
        _plugin.reset(token)


def _located(fault: PlaceBenchError, line: int) -> PlaceBenchError:
    """Return a fault that names the plug-in and, unless it is 0, the line."""
    plugin = _plugin.get()
    if not plugin:
        return fault
    where = f"plug-in {plugin}, line {line}" if line else f"plug-in {plugin}"
    return type(fault)(f"{where}: {fault.args[0]}", fault.hint)


def _line_in(error: BaseException) -> int:
    """Return the last line of the plug-in's file that an error went through; 0 where it did not."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno or 0 for frame in frames if frame.filename == _plugin.get()]
    return lines[-1] if lines else 0


def _line_of_plugin(frame: FrameType | None) -> int:
    """Return the line of the plug-in's file that led to `frame`; 0 where there is none."""
    while frame is not None and frame.f_code.co_filename != _plugin.get():
        frame = frame.f_back
    return frame.f_lineno if frame else 0
