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
from tasks.report_generation.attention import example_rows
from tasks.report_generation.cleaning import split_sentences
from tasks.report_generation.labeler import OBSERVATIONS, POSITIVE, UNCERTAIN

MATCHED, MISSED, INVENTED, PLAIN = "#127a3a", "#c77700", "#c01530", "#303030"
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
    place = {str(image): row for row, image in enumerate(test.index["image_id"].astype(str))}
    rows = example_rows(first.arrays["reference_named"][:, :DISEASE])[:4]
    images = [place.get(str(first.table["image_id"].iloc[row])) for row in rows]
    shown = [(row, image) for row, image in zip(rows, images, strict=True) if image is not None]
    if not shown:
        return None
    _draw_texts(test, predictions, shown, out)
    _draw_attention(test, predictions, place, out.with_name(f"{out.stem}_attention.png"))
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
    shown: Sequence[tuple[int, int]],
    out: Path,
) -> None:
    columns = [column for row, _ in shown for column in [_lines_of_row(predictions, row)]]
    heights = [0.16 * max(14, *(len(lines) for lines in column)) + 0.4 for column in columns]
    count = len(predictions) + 1
    height = sum(heights) + 0.8
    figure = _figure(2.4 + 2.9 * count, height)
    grid = figure.add_gridspec(
        len(shown), count + 1, width_ratios=[2.2] + [2.9] * count, height_ratios=heights,
        left=0.01, right=0.99, top=1 - 0.7 / height, bottom=0.01, wspace=0.04, hspace=0.06,
    )  # fmt: skip
    titles = ["reference", *predictions]
    for place, (_, image) in enumerate(shown):
        _image(figure.add_subplot(grid[place, 0]), test.images(np.array([image]))[0])
        for column, lines in enumerate(columns[place]):
            axis = figure.add_subplot(grid[place, column + 1])
            _text(axis, lines, heights[place])
            if place == 0:
                axis.set_title(wrapped(titles[column], WIDTH), fontsize=8, loc="left")
    _legend(figure, 1 - 0.12 / height)
    save(figure, out)


def _lines_of_row(predictions: Mapping[str, Predictions], row: int) -> list[list[Line]]:
    """Return the coloured lines of the reference, then of every method."""
    first = next(iter(predictions.values()))
    truth = first.arrays["reference_named"][row, :DISEASE].astype(bool)
    found = {
        name: each.arrays["named"][row, :DISEASE].astype(bool) for name, each in predictions.items()
    }
    named_by_any = np.any(list(found.values()), axis=0)
    texts = "reference" in first.table
    reference = (
        _sentences(str(first.table["reference"].iloc[row]), truth, named_by_any, MISSED)
        if texts
        else []
    )
    columns = [reference or _findings(truth, named_by_any, MISSED)]
    for name, each in predictions.items():
        written = (
            _sentences(str(each.table["hypothesis"].iloc[row]), found[name], truth, INVENTED)
            if "hypothesis" in each.table
            else None
        )
        columns.append(
            _findings(found[name], truth, INVENTED)
            if written is None
            else written + _missed(truth & ~found[name])
        )
    return columns


def _sentences(text: str, named: np.ndarray, other: np.ndarray, alone: str) -> list[Line]:
    """Return the lines of a text, each sentence in the colour of what it names: in both texts, or
    in this one alone."""
    lines: list[Line] = []
    for sentence in split_sentences(text)[:SENTENCES_SHOWN]:
        here = _named_in(sentence) & named
        colour = PLAIN if not here.any() else MATCHED if (here & other).any() else alone
        lines += [(line, colour) for line in textwrap.wrap(sentence + ".", WIDTH)]
    if len(split_sentences(text)) > SENTENCES_SHOWN:
        lines.append(("(cut for the picture)", PLAIN))
    return lines or [("(empty)", alone)]


def _named_in(sentence: str) -> np.ndarray:
    from tasks.report_generation.labeler.rules import label_sentence

    found = np.zeros(DISEASE, bool)
    found[
        [place for place, status in label_sentence(sentence) if status in (POSITIVE, UNCERTAIN)]
    ] = True
    return found


def _findings(named: np.ndarray, other: np.ndarray, alone: str) -> list[Line]:
    """Return the names of findings, coloured: what stands where text may not be shown."""
    lines = [
        (OBSERVATIONS[place], MATCHED if other[place] else alone) for place in np.flatnonzero(named)
    ]
    return (lines or [("no finding named", PLAIN)]) + (
        _missed(other & ~named) if alone == INVENTED else []
    )


def _missed(missed: np.ndarray) -> list[Line]:
    names = ", ".join(OBSERVATIONS[place] for place in np.flatnonzero(missed))
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
    for place, (colour, name) in enumerate(names):
        figure.text(
            0.01 + 0.06 * place * 18 / figure.get_figwidth(),
            y,
            name,
            color=colour,
            fontsize=8,
            va="center",
        )


def _draw_attention(
    test: Subset, predictions: Mapping[str, Predictions], place: Mapping[str, int], out: Path
) -> None:
    """Draw, per study and method, the words that name a finding and where the decoder looked when
    it wrote them."""
    panels = [panel for name, each in predictions.items() for panel in _panels(name, each, place)][
        :6
    ]
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
    name: str, each: Predictions, place: Mapping[str, int]
) -> list[tuple[str, int, list[str], np.ndarray]]:
    """Return method, image, chosen words and their maps of the study's first image [words, h, w];
    two studies per method."""
    if "look:rows" not in each.arrays:
        return []
    found = []
    for item, row in enumerate(each.arrays["look:rows"][:2]):
        image = place.get(str(each.table["image_id"].iloc[row]))
        words = [str(word) for word in each.arrays["look:words"][item] if word]
        chosen = _telling(words)
        if image is not None and chosen:
            found.append(
                (
                    name,
                    image,
                    [words[c] for c in chosen],
                    each.arrays["look:maps"][item, chosen, 0].astype(float),
                )
            )
    return found


def _telling(words: Sequence[str]) -> list[int]:
    """Return the places of words worth showing: long ones of sentences that name something, else
    long ones."""
    places, start = [], 0
    for sentence in split_sentences(" ".join(words)):
        length = len(sentence.split())
        ranked = [start + k for k, word in enumerate(sentence.split()) if len(word) > 4]
        places += [(0 if _named_in(sentence).any() else 1, place) for place in ranked]
        start += length + 1
    return sorted(place for _, place in sorted(places)[:WORDS_SHOWN])


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
