"""Names in pictures: nothing is cut off, covered or read as mathematics."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.report.pictures import example_frame, show, wrapped

if TYPE_CHECKING:
    from matplotlib.backends.backend_agg import RendererAgg
    from matplotlib.legend import Legend
    from matplotlib.text import Text
    from matplotlib.transforms import Bbox

LONG = (
    "timm:vit_base_patch14_dinov2.lvd142m (vit_base_patch14_dinov2.lvd142m) size=224",
    "mgca_published_vit (vit_base_patch16_224) upsample=0 [ab12cd]",
    "file:efficientnet_lite0_imagenet?prefix=encoder. (tf_efficientnet_lite0)",
    "open_clip:hf-hub:microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224 (vit_base)",
    "a_name_without_any_place_to_cut" * 4,
)


@given(st.text(st.characters(codec="ascii", exclude_characters="\n\r$"), max_size=200))
def test_a_wrapped_name_has_few_short_lines_and_loses_nothing_but_its_end(name: str) -> None:
    lines = wrapped(name, 20).split("\n")
    assert len(lines) <= 3 and all(len(line) <= 20 for line in lines)
    letters = "".join("".join(lines).split())
    whole = "".join(name.split())
    assert whole.startswith(letters.rstrip("…")) and (letters == whole or letters.endswith("…"))


def test_a_name_is_no_mathematics() -> None:
    assert wrapped("a $name$", 30) == r"a \$name\$"


def _box(item: Text | Legend, renderer: RendererAgg) -> Bbox:
    return item.get_window_extent(renderer)


@pytest.mark.parametrize("curves", [1, 2])
def test_five_long_names_overlap_neither_each_other_nor_the_curves(curves: int) -> None:
    figure, axes, below = example_frame(LONG, columns=3, curves=curves)
    for axis in axes.flat:
        show(axis, np.zeros((64, 64), np.uint8), "median: Dice 0.50")
    for axis in below:
        axis.set(xlabel="share", ylabel="Dice", title="Dice against size")
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    page = figure.bbox
    labels = [_box(row[0].yaxis.label, renderer) for row in axes]
    for one, other in itertools.combinations(labels, 2):
        assert not one.overlaps(other)
    (legend,) = below[0].figure.legends
    names = _box(legend, renderer)
    for axis in [*below, *axes.flat]:
        assert not names.overlaps(axis.get_tightbbox(renderer))
    for box in [names, *labels]:
        assert page.x0 <= box.x0 and box.x1 <= page.x1 and page.y0 <= box.y0 and box.y1 <= page.y1
    colours = [line.get_color() for line in legend.get_lines()]
    assert colours == [f"C{number}" for number in range(len(LONG))]
