"""How a command of this project ends: by its exit code, one sentence, or quietly where nobody reads
on."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from bench.core.errors import PlaceBenchError
from bench.core.storage import storage_sentence

_INTERRUPTED = 130
_BROKEN_PIPE = 141


def guarded(program: str, work: Callable[[], int | None]) -> int:
    """Run `work` and return its exit code.

    A PlaceBenchError, or a place that cannot be written, is one sentence on stderr and 2; Ctrl-C is
    130; a reader that went away (`| head`) ends the program without a word, 141. What the
    terminal's encoding lacks is printed as a question mark.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        code = work() or 0
        if sys.stdout:
            sys.stdout.flush()
        return code
    except PlaceBenchError as error:
        return _say(f"{program}: {error}", 2)
    except BrokenPipeError:
        _forget_stdout()
        return _BROKEN_PIPE
    except Exception as error:
        sentence = storage_sentence(error)
        if sentence is None:
            raise
        return _say(f"{program}: {sentence}", 2)
    except KeyboardInterrupt:
        return _say(
            f"\n{program}: stopped. The same command continues where it stopped.", _INTERRUPTED
        )


def _say(sentence: str, code: int) -> int:
    print(sentence, file=sys.stderr)
    return code


def _forget_stdout() -> None:
    """Send what is still to be flushed at the interpreter's end nowhere: the reader is gone."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
