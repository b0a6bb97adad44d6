"""Spectral indices against spyndex and by hand."""

import numpy as np
import pytest

from mlc_dask.kernels.indices import INDICES, available, spectral_indices

ROLES = {"nir": 3, "blue": 0, "swir1": 4, "green": 1, "red": 2}
NAMES = {"ndvi": "NDVI", "evi": "EVI", "ndwi": "NDWI", "ndsi": "NDSI"}


def scene(low: int, high: int, pixels: int = 500):
    return np.random.default_rng(5).integers(low, high, (3, 6, pixels), dtype=np.uint16)


def test_spyndex_agrees():
    spyndex = pytest.importorskip("spyndex")
    dn = scene(1001, 12_000)
    got = spectral_indices(dn, ROLES)
    rho = {role: dn[:, band] * 1e-4 - 0.1 for role, band in ROLES.items()}
    parameters = {"N": rho["nir"], "R": rho["red"], "G": rho["green"], "B": rho["blue"], "S1": rho["swir1"]}
    parameters |= {"g": 2.5, "C1": 6.0, "C2": 7.5, "L": 1.0}
    assert got.dtype == np.float32 and got.shape == (3, 5, 500)
    for position, name in enumerate(INDICES):
        if name in NAMES:
            expected = spyndex.computeIndex(NAMES[name], parameters)
            bounds = (-1, 2.5) if name == "evi" else (-1, 1)
            np.testing.assert_allclose(got[:, position], np.clip(expected, *bounds), rtol=1e-5, atol=1e-6)


def test_formulas_by_hand():
    # Reflectances .05 .08 .04 .30 .20 for blue, green, red, nir, swir1.
    dn = np.array([1500, 1800, 1400, 4000, 3000], np.uint16).reshape(1, 5, 1)
    evi = 2.5 * 0.26 / (0.30 + 6 * 0.04 - 7.5 * 0.05 + 1)
    expected = [0.26 / 0.34, evi, -0.22 / 0.38, -0.12 / 0.28, 0.15 / 0.25]
    np.testing.assert_allclose(spectral_indices(dn, ROLES).ravel(), expected, rtol=1e-6)


def test_no_data_touches_only_the_indices_that_need_the_band():
    dn = scene(1100, 9000, 4)
    dn[1, ROLES["green"], 2] = 0
    missing = np.isnan(spectral_indices(dn, ROLES))
    expected = np.zeros_like(missing)
    expected[1, [INDICES.index("ndwi"), INDICES.index("ndsi")], 2] = True
    assert np.array_equal(missing, expected)
    dn[:] = 0
    assert np.isnan(spectral_indices(dn, ROLES)).all()


def test_zero_denominators_and_negative_reflectance():
    dn = np.full((1, 5, 3), 1000, np.uint16)  # black: every denominator but that of EVI is zero
    dn[0, :, 1] = 900
    dn[0, ROLES["nir"], 1] = 1101  # NDVI would be 201
    dn[0, [ROLES["blue"], ROLES["red"], ROLES["nir"]], 2] = [
        13_400,
        12_000,
        16_500,
    ]  # 16500 + 72000 - 100500 + 10500 < 0
    got = dict(zip(INDICES, spectral_indices(dn, ROLES)[0], strict=True))
    for name in ("ndvi", "ndwi", "ndsi", "soil"):
        assert np.isnan(got[name][0])
    assert got["evi"][0] == 0
    assert got["ndvi"][1] == 1
    assert got["evi"][2] == -1
    assert not np.isinf(np.stack(list(got.values()))).any()


def test_evi_at_exactly_zero_denominator_is_no_data():
    dn = np.full((1, 5, 1), 5000, np.uint16)
    dn[0, ROLES["blue"]] = 6000
    dn[0, ROLES["nir"]] = 7.5 * 6000 - 10_500 - 6 * 5000  # 4500
    assert np.isnan(spectral_indices(dn, ROLES)[0, INDICES.index("evi"), 0])


def test_available_follows_the_bands():
    assert available(ROLES) == INDICES == ("ndvi", "evi", "ndwi", "ndsi", "soil")
    assert available({"red": 0, "nir": 1}) == ("ndvi",)
    assert available({"red": 0, "nir": 1, "green": 2}) == ("ndvi", "ndwi")
    dn = scene(1100, 9000, 7)
    few = {"nir": 3, "green": 1, "red": 2}
    assert np.array_equal(spectral_indices(dn, few), spectral_indices(dn, ROLES)[:, [0, 2]])


def test_kind_9_without_an_index_the_bands_take_its_place():
    dn = scene(1100, 9000, 2)
    found = spectral_indices(dn, {"swir2": 0})
    assert found.dtype == np.float32 and np.array_equal(found, dn.astype(np.float32) - 1000)
    dn[0, 0, 0] = 0
    assert np.isnan(spectral_indices(dn, {})[0, 0, 0])
