"""Rows of a subset keep everything that belongs to them."""

import numpy as np
import pandas as pd

from bench.contracts import Subset


def test_rows_of_a_subset_keep_their_pixels_masks_and_boxes() -> None:
    images = np.arange(4, dtype=np.uint8).repeat(4).reshape(4, 2, 2)
    masks = images[:, None] % 2
    boxes = tuple(np.full((row, 5), row, np.float32) for row in range(3))
    index = pd.DataFrame({"image_id": ["a", "b", "c"]})
    whole = Subset(index, np.array([3, 1, 2]), images, masks, np.array([0, 1, 3]), boxes)
    some = whole.take(np.array([2, 0]))
    assert list(some.index["image_id"]) == ["c", "a"] and list(some.index.index) == [0, 1]
    assert some.images(slice(None))[:, 0, 0].tolist() == [2, 3]
    assert some.masks(slice(None))[:, 0, 0, 0].tolist() == [1, 0]
    assert [len(some.boxes(row)) for row in range(2)] == [2, 0]
    assert some.image_store is whole.image_store


def test_a_subset_without_masks_and_boxes_stays_without() -> None:
    index = pd.DataFrame({"image_id": ["a", "b"]})
    some = Subset(index, np.arange(2), np.zeros((2, 2, 2), np.uint8)).take(np.array([], int))
    assert len(some) == 0
    assert some.mask_store is None and some.mask_positions is None and some.box_lists is None
