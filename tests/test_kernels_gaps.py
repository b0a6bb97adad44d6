"""Gap filling against numpy's own interpolation, one pixel and band at a time."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlc_dask.data.errors import InputError
from mlc_dask.kernels import gaps


@st.composite
def years(draw):
    steps, bands, pixels = draw(st.integers(1, 8)), draw(st.integers(1, 4)), draw(st.integers(0, 12))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    top = draw(st.sampled_from([3, 12_000, 65_535]))
    dn = random.integers(1, top, (steps, bands, pixels), dtype=np.uint16, endpoint=True)
    usable = random.random((steps, pixels)) < draw(st.sampled_from([0.0, 0.2, 0.7, 1.0]))
    days = np.sort(random.choice(3650, steps, replace=False)) / 10.0
    return dn, usable, days


def interpolated(dn, source, days):
    out = np.zeros(dn.shape)
    for pixel in range(dn.shape[2]):
        some = source[:, pixel]
        if some.any():
            for band in range(dn.shape[1]):
                out[:, band, pixel] = np.interp(days, days[some], dn[some, band, pixel].astype(float))
    return out


@settings(deadline=None, max_examples=200)
@given(years())
def test_interpolation_is_numpys(year):
    dn, usable, days = year
    before = dn.copy()
    filled = gaps.fill(dn, usable, days, "interpolate")
    expected = interpolated(dn, usable, days)
    assert filled.dtype == np.uint16 and filled.shape == dn.shape
    # Half a DN is rounding; the rest allows for two orders of float64 arithmetic at a tie.
    assert np.abs(filled - expected).max(initial=0) <= 0.5 + 1e-6
    assert np.array_equal(np.where(usable[:, None], filled, 0), np.where(usable[:, None], dn, 0))
    assert ((filled == 0).all(axis=(0, 1)) == ~usable.any(axis=0)).all()
    assert np.array_equal(dn, before)


@settings(deadline=None, max_examples=200)
@given(years(), st.integers(0, 2**32))
def test_keep_replaces_nothing_but_zeros(year, seed):
    dn, usable, days = year
    random = np.random.default_rng(seed)
    dn[np.broadcast_to((random.random(usable.shape) < 0.3)[:, None], dn.shape)] = 0
    dn[random.random(dn.shape) < 0.05] = 0
    filled = gaps.fill(dn, usable, days, "keep")
    source = (dn != 0).all(axis=1)
    expected = np.where(dn != 0, dn, interpolated(dn, source, days))
    expected[..., ~source.any(axis=0)] = 0
    assert np.abs(filled - expected).max(initial=0) <= 0.5 + 1e-6
    assert ((filled == 0).any(axis=(0, 1)) == ~source.any(axis=0)).all()


def test_known_year():
    dn = np.array([9, 100, 9, 9, 201, 9], np.uint16).reshape(6, 1, 1)
    usable = np.array([0, 1, 0, 0, 1, 0], bool)[:, None]
    days = np.array([0, 10, 11, 35, 110, 200], float)
    # Constant end, observed, a hundredth and a quarter of the way up, observed, constant end.
    assert gaps.fill(dn, usable, days, "interpolate").ravel().tolist() == [100, 100, 101, 125, 201, 201]
    assert gaps.fill(dn, usable, days, "keep").ravel().tolist() == dn.ravel().tolist()


def test_pixels_do_not_see_each_other_nor_their_layout():
    random = np.random.default_rng(3)
    dn = random.integers(1, 9000, (6, 3, 40), dtype=np.uint16)
    usable = random.random((6, 40)) < 0.5
    days = np.arange(6) * 17.0
    whole = gaps.fill(dn, usable, days, "interpolate")
    parts = [gaps.fill(dn[..., s], usable[:, s], days, "interpolate") for s in (slice(0, 7), slice(7, 40))]
    assert np.array_equal(whole, np.concatenate(parts, axis=-1))
    assert np.array_equal(whole, gaps.fill(np.asfortranarray(dn), usable, days, "interpolate"))


def test_count_valid():
    usable = np.array([[1, 0, 0], [1, 0, 1]], bool)
    counts = gaps.count_valid(usable)
    assert counts.dtype == np.uint8 and counts.tolist() == [2, 0, 1]
    assert gaps.count_valid(np.ones((255, 1), bool)).tolist() == [255]


def test_refusals():
    dn, usable = np.ones((2, 1, 1), np.uint16), np.ones((2, 1), bool)
    with pytest.raises(InputError, match=r"nearest.*use 'interpolate' or 'keep'"):
        gaps.fill(dn, usable, np.array([1.0, 2.0]), "nearest")
    with pytest.raises(InputError, match=r"\[3.0, 3.0\].*sort"):
        gaps.fill(dn, usable, np.array([3.0, 3.0]), "keep")
