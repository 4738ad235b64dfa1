"""What a dataset says of its demo: the stream of its patients, how many there are, and who of them
tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasks.demo import RENDERER_VERSION

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Demo:
    """Who is in the demo of one dataset.

    The first `as_original` studies are split in the shares of the original, of which `test_share`
    is test. With a larger test set than that, the `more_test` studies after them are of patients
    who all test, and those after them of patients who do not, until the share of the original is
    reached again: from there on a demo is split like the original throughout.
    """

    stream: int
    """The number of the random stream that its studies are drawn from, unlike any other demo's."""
    as_original: int
    more_test: int = 0
    test_share: float = 0.15
    changes: int = 0
    """Raise when the same size and seed give other files while the renderer stays what it is."""

    @property
    def studies(self) -> int:
        """Return how many studies the demo has unless asked otherwise."""
        return self.as_original + self.more_test

    @property
    def version(self) -> int:
        """Return what is raised whenever the same size and seed give other files."""
        return RENDERER_VERSION + self.changes

    def generator(self, seed: int, number: int, *more: int) -> np.random.Generator:
        """Return the generator of study `number`; `more` (no zeros) tells several draws of one
        study apart."""
        import numpy as np

        return np.random.default_rng((seed, number, self.stream, *more))

    def has_more_test(self, studies: int) -> bool:
        """Say whether a demo of so many studies has test patients beyond the original's share."""
        enough = self.as_original * self.test_share + self.more_test
        return studies > self.as_original and studies * self.test_share < enough

    def is_more_test(self, first: int, studies: int) -> bool:
        """Say whether a patient, whose first study is number `first`, is one of them."""
        return self.has_more_test(studies) and self.as_original <= first < self.studies

    def split_of(
        self, first: int, studies: int, original: str, *, train: str = "train", test: str = "test"
    ) -> str:
        """Return the split of a patient in a demo of so many studies; `original` is the one by the
        shares of the original, `train` and `test` what they are called there."""
        if self.is_more_test(first, studies):
            return test
        later = self.has_more_test(studies) and first >= self.studies
        return train if later and original == test else original
