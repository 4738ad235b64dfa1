"""What data sets of eye gaze share: words with their times as a report, and fixations as maps of
its sentences."""

from __future__ import annotations

import json
import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.contracts import Region
from bench.core.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

LOOK_BACK = 1.5
"""Seconds before the words of a sentence in which what it tells of is already looked at."""
Word = tuple[str, float, float]
"""Text, begin and end in seconds."""
Fixation = tuple[float, float, float, float, float, float]
"""x, y in pixels, start and duration in seconds, and one visual degree along x and y in pixels."""
Span = tuple[float, float]


# --------------------------------------------------------------------------------- words and times
def number(value: object, what: str) -> float:
    """Return a finite number; raise DataError naming what is none."""
    try:
        parsed = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        parsed = math.nan
    if not math.isfinite(parsed):
        raise DataError(f"{what} is {str(value)[:40]!r}, a number was expected.")
    return parsed


def checked_word(text: object, begin: object, end: object, where: str) -> Word:
    """Return a word with its times; raise DataError, beginning with `where`, for one without
    them."""
    if not isinstance(text, str):
        raise DataError(f"{where}: its text is {str(text)[:40]!r}.", "Download it again.")
    try:
        times = number(begin, "its begin"), number(end, "its end")
    except DataError as error:
        raise DataError(f"{where}: {error.args[0]}", "Download it again.") from error
    if times[1] < times[0]:
        raise DataError(f"{where}: it ends before it begins.", "Download it again.")
    return text, *times


@dataclass(frozen=True)
class TimedReport:
    """A report and when each of its sentences was spoken."""

    text: str
    spoken: tuple[Span, ...]


def timed_report(words: Iterable[Word]) -> TimedReport:
    """Return the report that words make, in the order of time, with the span of every sentence.

    A mark of punctuation, which may be a word, follows the one before without a blank; marks of
    what was taken out for privacy go. The sentences are those of `split_sentences`.
    """
    from bench.core.sentences import sentence_spans

    text = ""
    starts: list[int] = []
    times: list[Span] = []
    for word, begin, end in sorted(words, key=lambda each: each[1]):
        for piece in word.replace("_", " ").split():
            is_mark = not any(map(str.isalnum, piece)) and piece not in "-*•"
            text += "" if is_mark or not text else " "
            starts.append(len(text))
            times.append((begin, end))
            text += piece
    if text and text[-1] not in ".!?":
        text += "."
    spans = sentence_spans(text)
    first = [start for start, _ in spans]
    members: list[list[Span]] = [[] for _ in spans]
    for start, span in zip(starts, times, strict=True):
        sentence = bisect_right(first, start) - 1
        if sentence >= 0 and start < spans[sentence][1]:
            members[sentence].append(span)
    spoken = [(min(b for b, _ in each), max(e for _, e in each)) for each in members]
    return TimedReport(text, tuple(spoken))


# -------------------------------------------------------------------------------------------- gaze
def kept_fixations(
    fixations: Iterable[Fixation], height: float, width: float, counts: dict[str, int]
) -> tuple[Fixation, ...]:
    """Return the fixations inside an image, in the order of time; those outside, and those without
    a duration, are counted. A height of 0 stands for an image whose size is not known."""
    inside = []
    for fixation in fixations:
        x, y, _, duration = fixation[:4]
        if duration <= 0:
            counts[NO_DURATION] = counts.get(NO_DURATION, 0) + 1
        elif height and not (0 <= x < width and 0 <= y < height):
            counts[OUTSIDE] = counts.get(OUTSIDE, 0) + 1
        else:
            inside.append(fixation)
    return tuple(sorted(inside, key=lambda fixation: (fixation[2], fixation)))


NO_DURATION = "fixations without a duration"
OUTSIDE = "fixations outside their image"


def looked_at(fixations: Sequence[Fixation], spoken: Span) -> list[Fixation]:
    """Return the fixations of a sentence: begun while it was spoken, or up to LOOK_BACK before."""
    begin, end = spoken
    return [each for each in fixations if begin - LOOK_BACK <= each[2] < end]


def gaze_map(fixations: Sequence[Fixation], height: float, width: float) -> np.ndarray:
    """Return the map of fixations: a Gaussian of one visual degree each, as high as it is long in
    time, divided by the maximum."""
    import numpy as np

    from bench.data.regions import map_of_points

    table = np.array(fixations, np.float64).reshape(-1, 6)
    shape = (int(height), int(width))
    return map_of_points(table[:, :2], table[:, 4:], table[:, 3], shape)


Reading = tuple[Sequence[Fixation], Sequence[Span], Sequence[str]]
"""Fixations of one reader, when each sentence was spoken, and the sentences."""


def gaze_regions(readings: Sequence[Reading], height: float, width: float) -> list[Region]:
    """Return a map of the whole study, averaged over the readers, and one for each sentence of the
    first reader's report, averaged over those readers who have the same sentence.

    A sentence that nobody's eyes are known for has none.
    """
    import numpy as np

    maps = [gaze_map(fixations, height, width) for fixations, _, _ in readings if fixations]
    if not maps:
        return []
    regions = [Region(_scaled(np.mean(maps, axis=0)))]
    for sentence, text in enumerate(readings[0][2]):
        of_sentence = [
            gaze_map(seen, height, width)
            for fixations, spoken, texts in readings
            for span, other in zip(spoken, texts, strict=True)
            if other.lower() == text.lower() and (seen := looked_at(fixations, span))
        ]
        if of_sentence:
            regions.append(Region(_scaled(np.mean(of_sentence, axis=0)), sentence=sentence))
    return regions


def fixated_points(
    readings: Sequence[Reading], height: float, width: float
) -> dict[int, list[tuple[float, float]]]:
    """Return where the readers' eyes rested during each sentence of the first reader's report (x,
    y as shares of the padded square's side), and in all (-1); nothing where nobody looked."""
    points: dict[int, list[tuple[float, float]]] = {}
    if not readings:
        return points
    every = [each for fixations, _, _ in readings for each in fixations]
    points[-1] = [_on_square(each, height, width) for each in every]
    for sentence, text in enumerate(readings[0][2]):
        points[sentence] = [
            _on_square(each, height, width)
            for fixations, spoken, texts in readings
            for span, other in zip(spoken, texts, strict=True)
            if other.lower() == text.lower()
            for each in looked_at(fixations, span)
        ]
    return {sentence: places for sentence, places in points.items() if places}


def _on_square(fixation: Fixation, height: float, width: float) -> tuple[float, float]:
    side = max(height, width)
    x = (fixation[0] + (side - width) / 2) / side
    return x, (fixation[1] + (side - height) / 2) / side


def _scaled(heat: np.ndarray) -> np.ndarray:
    highest = heat.max()
    return heat / highest if highest > 0 else heat


def to_json(values: object) -> str:
    """Return a value as a compact text for the facts of a file."""
    return json.dumps(values, separators=(",", ":"))


def rows_of_table(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Return the rows of a small table as `read_table` does, none where it has only a header."""
    import pandas as pd

    from bench.data.tables import read_columns, read_table
    from bench.data.text import read_lines

    if len(read_lines(path)) > 1:
        return read_table(path, columns)
    header = read_columns(path)
    missing = [name for name in columns if name not in header]
    if missing:
        raise DataError(
            f"table {path} lacks the column '{missing[0]}'.",
            f"Columns found: {', '.join(header)[:300]}. Download it again.",
        )
    return pd.DataFrame(columns=[*columns], dtype=str)


def numbers_of_rows(
    table: pd.DataFrame, path: Path, make: Callable[[Mapping[str, str]], Any]
) -> list[Any]:
    """Return what `make` gives of every row; a DataError that it raises gets file and line."""
    made = []
    for line, row in zip(table.index, table.to_dict("records"), strict=True):
        try:
            made.append(make(row))  # type: ignore[arg-type]
        except DataError as error:
            raise DataError(
                f"table {path}, line {line}: {error.args[0]}", "Download it again."
            ) from error
    return made
