"""The two Java programs inside pycocoevalcap: the PTB tokenizer and METEOR 1.5; one process each,
with a time limit."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np

from bench.core.errors import MissingDependencyError

TOKENIZER = ("tokenizer", "stanford-corenlp-3.4.1.jar")
METEOR = ("meteor", "meteor-1.5.jar")
STATISTICS = 23
"""Numbers METEOR gives per pair: lengths, function words, matches of four stages, chunks, matched
words."""


METEOR_WORDS = 250
"""METEOR sees this many words of a text: its search for an alignment takes minutes on a report of
2,000."""


_ABSENT = ("was not found", "is not installed", "does not start")
"""What an error says of a program that is not there."""


class JavaError(MissingDependencyError):
    """Java, or a program run by it, that is missing, crashed, answered wrongly or took too long."""


def jar(location: tuple[str, str]) -> Path:
    """Return the path of a program inside pycocoevalcap; raise JavaError where it is not
    installed."""
    package = importlib.util.find_spec("pycocoevalcap")
    folders = list(package.submodule_search_locations or ()) if package else []
    path = next((path for folder in folders if (path := Path(folder, *location)).is_file()), None)
    if path is None:
        raise JavaError(
            f"pycocoevalcap's {location[1]} is not installed.", "pip install pycocoevalcap."
        )
    return path


@cache
def java_command() -> str:
    """Return the path of Java: `$JAVA_HOME/bin/java`, else the first on the path; raise JavaError
    where there is none."""
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=f"{home}/bin") if home else None
    java = java or shutil.which("java")
    if java is None:
        raise JavaError(
            "Java was not found.",
            "Install a Java runtime (8 or newer), or --set tokenizer=cleaned (no METEOR then).",
        )
    return java


def is_there_now(reason: str) -> bool:
    """Say whether Java and its programs are there, and were not by the `reason` of an earlier run.

    What crashed or was too slow is not tried again.
    """
    if not any(absent in reason for absent in _ABSENT):
        return False
    try:
        return bool(java_command() and jar(TOKENIZER) and jar(METEOR))
    except JavaError:
        return False


def one_line(text: str) -> str:
    """Return text with every white space (also U+2028, U+0085) as one blank: the programs count
    lines."""
    return " ".join(text.split())


def run(
    place: tuple[str, str],
    words: Sequence[str],
    lines: Sequence[str],
    timeout: float,
    options: Sequence[str] = (),
) -> list[str]:
    """Feed `lines` to a program and return its lines of output, one per line of input.

    Raise JavaError where it is missing, fails, is too slow, or answers with another number of
    lines. The locale and the encoding are fixed: under another one METEOR writes decimal commas.
    """
    command = [
        java_command(),
        "-Duser.language=en",
        "-Duser.country=US",
        "-Dfile.encoding=UTF-8",
        *options,
    ]
    command += ["-cp", str(jar(place)), *words]
    data = ("\n".join(lines) + "\n").encode()
    try:
        done = subprocess.run(
            command, input=data, capture_output=True, timeout=timeout, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise JavaError(
            f"{place[1]} took over {timeout:g} s for {len(lines)} texts.", "Raise java_timeout."
        ) from error
    except OSError as error:
        raise JavaError(
            f"Java does not start: {error}.", "Install a Java runtime (8 or newer)."
        ) from error
    answer = done.stdout.decode("utf-8", errors="replace").split("\n")[:-1]
    if done.returncode or len(answer) != len(lines):
        reason = done.stderr.decode("utf-8", errors="replace").strip().split("\n")[-1][:200]
        raise JavaError(
            f"{place[1]} stopped after {len(answer)} of {len(lines)} texts (code "
            f"{done.returncode}): {reason}"
        )
    return answer


def tokenize(texts: Sequence[str], timeout: float = 300) -> list[list[str]]:
    """Return the PTB tokens of every text, lower case, without punctuation, as pycocoevalcap's
    tokenizer does.

    All texts go through one process. A text without a token gives an empty list.
    """
    flat = [one_line(text) for text in texts]
    filled = [row for row, text in enumerate(flat) if text]
    tokens: list[list[str]] = [[] for _ in flat]
    if not filled:
        return tokens
    from pycocoevalcap.tokenizer.ptbtokenizer import PUNCTUATIONS

    words = [
        "edu.stanford.nlp.process.PTBTokenizer",
        "-preserveLines",
        "-lowerCase",
        "-encoding",
        "UTF-8",
    ]
    for row, line in zip(
        filled, run(TOKENIZER, words, [flat[row] for row in filled], timeout), strict=True
    ):
        tokens[row] = [word for word in line.split() if word not in PUNCTUATIONS]
    return tokens


def _shown(text: str) -> str:
    return " ".join(text.replace("|||", " ").split()[:METEOR_WORDS])


def meteor_statistics(
    hypotheses: Sequence[str], references: Sequence[str], timeout: float = 300
) -> np.ndarray:
    """Return METEOR 1.5's statistics of every pair of tokenized texts, float64 [n, 23]; `meteor`
    makes the score of them.

    Of a longer text the first METEOR_WORDS words count. An empty hypothesis matches nothing; its
    statistics are zero but for the reference's lengths.
    """
    if not len(hypotheses):
        return np.zeros((0, STATISTICS))
    pairs = zip(references, hypotheses, strict=True)
    lines = [
        f"SCORE ||| {_shown(reference)} ||| {_shown(hypothesis)}" for reference, hypothesis in pairs
    ]
    words = ["Meteor", "-", "-", "-stdio", "-l", "en", "-norm"]
    answers = run(METEOR, words, lines, timeout, options=["-Xmx2G"])
    try:
        return np.array([[float(number) for number in line.split()] for line in answers]).reshape(
            len(lines), STATISTICS
        )
    except ValueError as error:
        raise JavaError(
            f"{METEOR[1]} answered with something else than {STATISTICS} numbers a text: {error}."
        ) from error
