"""Class interiors against rank filters and against a loop over all neighbours."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from mlc_dask.kernels.borders import interior


@st.composite
def rasters(draw):
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    cell = draw(st.integers(1, 6))
    coarse = random.choice(
        [0, 1, 2, 255], draw(st.tuples(st.integers(1, 6), st.integers(1, 6))), p=[0.1, 0.5, 0.3, 0.1]
    )
    return np.kron(coarse, np.ones((cell, cell))).astype(np.uint8)[draw(st.integers(0, cell - 1)) :]


def by_looking(labels, radius):
    out = np.zeros(labels.shape, bool)
    for y, x in np.ndindex(labels.shape):
        around = labels[max(y - radius, 0) : y + radius + 1, max(x - radius, 0) : x + radius + 1]
        out[y, x] = labels[y, x] != 0 and (around == labels[y, x]).all()
    return out


@settings(deadline=None, max_examples=150)
@given(rasters(), st.integers(0, 7))
def test_every_neighbour_agrees(labels, radius):
    got = interior(labels, radius)
    assert got.dtype == np.bool_
    assert np.array_equal(got, by_looking(labels, radius))


def test_scipy_agrees_on_a_larger_raster():
    random = np.random.default_rng(1)
    labels = np.kron(random.integers(0, 4, (15, 11)), np.ones((29, 29))).astype(np.uint8)
    for radius in (1, 10):
        low = ndimage.minimum_filter(labels, 2 * radius + 1, mode="nearest")
        high = ndimage.maximum_filter(labels, 2 * radius + 1, mode="nearest")
        assert np.array_equal(interior(labels, radius), (low == high) & (labels != 0))


def test_blocks_with_a_halo_give_the_whole():
    labels = np.kron(np.random.default_rng(2).integers(0, 3, (9, 9)), np.ones((8, 8))).astype(np.uint8)
    radius, whole = 3, interior(labels, 3)
    for top, left in np.ndindex(3, 3):
        y, x = 24 * top, 24 * left
        y0, x0 = max(y - radius, 0), max(x - radius, 0)
        block = interior(labels[y0 : y + 24 + radius, x0 : x + 24 + radius], radius)[y - y0 :, x - x0 :]
        assert np.array_equal(block[:24, :24], whole[y : y + 24, x : x + 24])


@pytest.mark.parametrize("shape", [(0, 4), (3, 0), (1, 1)])
def test_tiny_rasters(shape):
    labels = np.ones(shape, np.uint8)
    assert np.array_equal(interior(labels, 5), np.ones(shape, bool))
