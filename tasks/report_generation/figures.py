"""Pictures: a radiograph, its reference and what each method wrote, findings coloured; and where
words looked."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.contracts import Predictions, Subset, TaskSpec
from bench.report.pictures import as_it_is, save, wrapped
from bench.text.observations import OBSERVATIONS, POSITIVE, UNCERTAIN
from tasks.report_generation.attention import example_rows
from tasks.report_generation.cleaning import split_sentences

MATCHED = "#127a3a"
MISSED = "#c77700"
INVENTED = "#c01530"
PLAIN = "#303030"
DISEASE = len(OBSERVATIONS) - 1
WORDS_SHOWN = 8
SENTENCES_SHOWN = 14
WIDTH = 44
Line = tuple[str, str]


def draw_reports(
    task: TaskSpec, test: Subset, predictions: Mapping[str, Predictions], out: Path
) -> Path | None:
    """Draw a few test studies into `out`, and beside it `<task>_attention.png` where a method kept
    where its words looked.

    Sentences are coloured by the findings they name: matched, missed (in the reference alone) or
    invented. Where the texts were not kept (licensed data without show_text) the names of the
    findings stand instead. None without a study.
    """
    first = next(iter(predictions.values()))
    row_of = {str(image): row for row, image in enumerate(test.index["image_id"].astype(str))}
    rows = example_rows(first.arrays["reference_named"][:, :DISEASE])[:4]
    images = [row_of.get(str(first.table["image_id"].iloc[row])) for row in rows]
    pairs = [(row, image) for row, image in zip(rows, images, strict=True) if image is not None]
    if not pairs:
        return None
    _draw_texts(test, predictions, pairs, out)
    _draw_attention(test, predictions, row_of, out.with_name(f"{out.stem}_attention.png"))
    return out


def _figure(width: float, height: float) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=110)
    FigureCanvasAgg(figure)
    return figure


def _draw_texts(
    test: Subset,
    predictions: Mapping[str, Predictions],
    pairs: Sequence[tuple[int, int]],
    out: Path,
) -> None:
    columns = [column for row, _ in pairs for column in [_lines_of_row(predictions, row)]]
    heights = [0.16 * max(14, *(len(lines) for lines in column)) + 0.4 for column in columns]
    count = len(predictions) + 1
    height = sum(heights) + 0.8
    figure = _figure(2.4 + 2.9 * count, height)
    grid = figure.add_gridspec(
        len(pairs), count + 1, width_ratios=[2.2] + [2.9] * count, height_ratios=heights,
        left=0.01, right=0.99, top=1 - 0.7 / height, bottom=0.01, wspace=0.04, hspace=0.06,
    )  # fmt: skip
    titles = ["reference", *predictions]
    for number, (_, image) in enumerate(pairs):
        _image(figure.add_subplot(grid[number, 0]), test.images(np.array([image]))[0])
        for column, lines in enumerate(columns[number]):
            axis = figure.add_subplot(grid[number, column + 1])
            _text(axis, lines, heights[number])
            if number == 0:
                axis.set_title(wrapped(titles[column], WIDTH), fontsize=8, loc="left")
    _legend(figure, 1 - 0.12 / height)
    save(figure, out)


def _lines_of_row(predictions: Mapping[str, Predictions], row: int) -> list[list[Line]]:
    """Return the coloured lines of the reference, then of every method."""
    first = next(iter(predictions.values()))
    truth = first.arrays["reference_named"][row, :DISEASE].astype(bool)
    named_by = {
        name: method.arrays["named"][row, :DISEASE].astype(bool)
        for name, method in predictions.items()
    }
    named_by_any = np.any(list(named_by.values()), axis=0)
    if "reference" in first.table:
        reference = str(first.table["reference"].iloc[row])
        columns = [_sentences(reference, truth, named_by_any, MISSED)]
    else:
        columns = [_findings(truth, named_by_any, MISSED)]
    for name, method in predictions.items():
        named = named_by[name]
        if "hypothesis" in method.table:
            written = _sentences(str(method.table["hypothesis"].iloc[row]), named, truth, INVENTED)
            columns.append(written + _missed(truth & ~named))
        else:
            columns.append(_findings(named, truth, INVENTED))
    return columns


def _sentences(text: str, named: np.ndarray, other: np.ndarray, alone: str) -> list[Line]:
    """Return the lines of a text, each sentence in the colour of what it names: in both texts, or
    in this one alone."""
    lines: list[Line] = []
    for sentence in split_sentences(text)[:SENTENCES_SHOWN]:
        here = _named_in(sentence) & named
        matched = MATCHED if (here & other).any() else alone
        colour = matched if here.any() else PLAIN
        lines += [(line, colour) for line in textwrap.wrap(sentence + ".", WIDTH)]
    if len(split_sentences(text)) > SENTENCES_SHOWN:
        lines.append(("(cut for the picture)", PLAIN))
    return lines or [("(empty)", alone)]


def _named_in(sentence: str) -> np.ndarray:
    from bench.text.rules import label_sentence

    named = np.zeros(DISEASE, bool)
    for observation, status in label_sentence(sentence):
        if status in (POSITIVE, UNCERTAIN):
            named[observation] = True
    return named


def _findings(named: np.ndarray, other: np.ndarray, alone: str) -> list[Line]:
    """Return the names of findings, coloured: what stands where text may not be shown."""
    lines = [
        (OBSERVATIONS[observation], MATCHED if other[observation] else alone)
        for observation in np.flatnonzero(named)
    ]
    return (lines or [("no finding named", PLAIN)]) + (
        _missed(other & ~named) if alone == INVENTED else []
    )


def _missed(missed: np.ndarray) -> list[Line]:
    names = ", ".join(OBSERVATIONS[observation] for observation in np.flatnonzero(missed))
    return [(line, MISSED) for line in textwrap.wrap(f"missed: {names}", WIDTH)] if names else []


def _image(axis: Any, image: np.ndarray) -> None:
    axis.imshow(image, cmap="gray", vmin=0, vmax=255)
    axis.axis("off")
    axis.set_anchor("N")


def _text(axis: Any, lines: Sequence[Line], height: float) -> None:
    axis.axis("off")
    for number, (line, colour) in enumerate(lines):
        axis.text(
            0,
            1 - (number + 0.5) * 0.16 / height,
            as_it_is(line),
            color=colour,
            fontsize=7,
            va="center",
            transform=axis.transAxes,
        )


def _legend(figure: Any, y: float) -> None:
    names = (
        (MATCHED, "matched finding"),
        (MISSED, "missed"),
        (INVENTED, "invented"),
        (PLAIN, "names no finding"),
    )
    for number, (colour, name) in enumerate(names):
        figure.text(
            0.01 + 0.06 * number * 18 / figure.get_figwidth(),
            y,
            name,
            color=colour,
            fontsize=8,
            va="center",
        )


def _draw_attention(
    test: Subset, predictions: Mapping[str, Predictions], row_of: Mapping[str, int], out: Path
) -> None:
    """Draw, per study and method, the words that name a finding and where the decoder looked when
    it wrote them."""
    panels = [
        panel for name, method in predictions.items() for panel in _panels(name, method, row_of)
    ][:6]
    if not panels:
        return
    height = 2.1 * len(panels) + 0.4
    figure = _figure(1.7 * (WORDS_SHOWN + 1), height)
    grid = figure.subplots(len(panels), WORDS_SHOWN + 1, squeeze=False)
    figure.subplots_adjust(
        left=0.01,
        right=0.99,
        top=1 - 0.6 / height,
        bottom=0.01,
        wspace=0.05,
        hspace=0.3,
    )
    for axes, (name, image, words, maps) in zip(grid, panels, strict=True):
        pixels = test.images(np.array([image]))[0]
        for axis in axes:
            axis.axis("off")
        _image(axes[0], pixels)
        axes[0].set_title(wrapped(name, 28), fontsize=7)
        for axis, word, weights in zip(axes[1:], words, maps, strict=False):
            _overlay(axis, pixels, weights)
            axis.set_title(as_it_is(word), fontsize=8)
    save(figure, out)


def _panels(
    name: str, method: Predictions, row_of: Mapping[str, int]
) -> list[tuple[str, int, list[str], np.ndarray]]:
    """Return method, image, chosen words and their maps of the study's first image [words, h, w];
    two studies per method."""
    if "look:rows" not in method.arrays:
        return []
    panels = []
    for item, row in enumerate(method.arrays["look:rows"][:2]):
        image = row_of.get(str(method.table["image_id"].iloc[row]))
        words = [str(word) for word in method.arrays["look:words"][item] if word]
        telling = _telling(words)
        if image is not None and telling:
            panels.append(
                (
                    name,
                    image,
                    [words[c] for c in telling],
                    method.arrays["look:maps"][item, telling, 0].astype(float),
                )
            )
    return panels


def _telling(words: Sequence[str]) -> list[int]:
    """Return the places of words worth showing: long ones of sentences that name something, else
    long ones."""
    positions = []
    start = 0
    for sentence in split_sentences(" ".join(words)):
        length = len(sentence.split())
        ranked = [start + k for k, word in enumerate(sentence.split()) if len(word) > 4]
        positions += [(0 if _named_in(sentence).any() else 1, position) for position in ranked]
        start += length + 1
    return sorted(position for _, position in sorted(positions)[:WORDS_SHOWN])


def _overlay(axis: Any, pixels: np.ndarray, weights: np.ndarray) -> None:
    _image(axis, pixels)
    side = pixels.shape[0]
    spread = weights / max(1e-9, weights.max())
    axis.imshow(
        spread,
        cmap="inferno",
        alpha=0.45,
        extent=(-0.5, side - 0.5, side - 0.5, -0.5),
        interpolation="bilinear",
    )
