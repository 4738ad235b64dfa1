"""A region: where in an image a sentence, a label or the whole study is to be found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

if TYPE_CHECKING:
    import numpy as np

REGION_SIDE = 56
"""Cells along each side of a region's map; the padded square has as many whatever its pixels."""
RegionSource: TypeAlias = Literal["gaze", "mask", "box"]
REGION_SOURCES: tuple[RegionSource, ...] = get_args(RegionSource)


class RegionFacts:
    """What a region stands for, whatever its map is kept as."""

    sentence: int
    label: str
    phrase: str

    @property
    def of_study(self) -> bool:
        """Whether it stands for the whole study."""
        return self.sentence < 0 and not self.label and not self.phrase


@dataclass(frozen=True)
class Region(RegionFacts):
    """A map of one image and what it stands for.

    `map` float32 [REGION_SIDE, REGION_SIDE] in [0, 1] lies on the padded square of the image.
    `sentence` is the number of a sentence of the row's report, as
    `bench.core.sentences.split_sentences` counts them from 0; -1 ties it to none. `label` names a
    finding or a part of the body, `phrase` holds words that are no sentence of the report; a region
    with neither sentence, label nor phrase is of the whole study.
    """

    map: np.ndarray
    sentence: int = -1
    label: str = ""
    source: RegionSource = "gaze"
    phrase: str = ""
