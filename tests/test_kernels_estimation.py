"""Design-based estimates against the tables of Olofsson et al. 2013 and 2014 and Stehman 2014; simulated surveys."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from mlc_dask.data.errors import InputError
from mlc_dask.kernels import allocation, assessment
from mlc_dask.kernels.estimation import Estimates, Strata, difference, one_stratum, ratio
from mlc_dask.kernels.intervals import clopper_pearson

Labels = npt.NDArray[np.uint8]

OLOFSSON_2014 = [[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]]
PIXELS_2014 = [200_000, 150_000, 3_200_000, 6_450_000]
OLOFSSON_2013 = [[97, 0, 3], [3, 279, 18], [2, 1, 97]]
PIXELS_2013 = [22_353, 1_122_543, 610_228]

REFERENCE = "AAAAACBABC ABBBBBAABB CCCCCDDBBA DDDDDDDCCB"
MAP = "AAAAAAABBB ABBBBBBBBB BBCCCCCCBB DDDDDDDDDD"
STRATUM = "AAAAAAAAAA BBBBBBBBBB CCCCCCCCCC DDDDDDDDDD"


def letters(text: str) -> Labels:
    """Classes A, B, … as codes 1, 2, … (n, 1)."""
    return np.array([ord(c) - ord("A") + 1 for c in text.replace(" ", "")], np.uint8)[:, None]


def units(counts: list[list[int]], sizes: list[int]) -> tuple[Labels, Labels, Strata]:
    """Maps and reference of the units of an error matrix whose strata are the map's classes."""
    table = np.array(counts)
    rows, columns = np.repeat(np.indices(table.shape).reshape(2, -1), table.ravel(), axis=1)
    given, reference = ((part + 1).astype(np.uint8)[:, None] for part in (rows, columns))
    return given, reference, Strata(rows, np.array(sizes, np.float64))


def stehman(finite: bool = False) -> Strata:
    return Strata(letters(STRATUM)[:, 0] - 1, np.array([40_000.0, 30_000, 20_000, 10_000]), finite)


def close(found: npt.ArrayLike, printed: npt.ArrayLike, digits: int = 6) -> None:
    assert np.allclose(found, printed, rtol=0, atol=0.5000001 * 10.0**-digits), (found, printed)


def test_olofsson_2014() -> None:
    given, reference, strata = units(OLOFSSON_2014, PIXELS_2014)
    found = assessment.accuracy(given, reference, strata, 5)
    close(found.overall.value, 0.946512)
    close(1.96 * found.overall.se, 0.018484)
    close(found.users.value[1:], [0.88, 0.733333, 0.927273, 0.963077])
    close(1.96 * found.users.se[1:], [0.074041, 0.100757, 0.039745, 0.020534])
    close(found.producers.value[1:], [0.748661, 0.847156, 0.934509, 0.961609])
    close(1.96 * found.producers.se[1:], [0.213310, 0.254408, 0.034324, 0.018362])
    close(found.area.value[1:], [0.023509, 0.012985, 0.317522, 0.645985])
    close(found.area.se[1:], [0.003491, 0.002129, 0.008792, 0.009230])
    pixels, hectares = found.area.scaled(sum(PIXELS_2014)), found.area.scaled(sum(PIXELS_2014) * 0.09)
    close([pixels.value[1], pixels.se[1]], [235_086, 34_907], 0)
    close([hectares.value[1], 1.96 * hectares.se[1]], [21_157.76, 6_157.63], 2)


def test_cells_of_olofsson_2014() -> None:
    p = assessment.cells(*units(OLOFSSON_2014, PIXELS_2014), 5).value[1:, 1:]
    close(p[0], [0.0176, 0, 0.001333, 0.001067])
    close(p[1], [0, 0.011, 0.0016, 0.0024])
    close(p[2], [0.001939, 0, 0.296727, 0.021333])
    close(p[3], [0.003969, 0.001985, 0.017862, 0.621185])


def test_olofsson_2013() -> None:
    found = assessment.accuracy(*units(OLOFSSON_2013, PIXELS_2013), 4)
    close(found.area.value[1], 0.025703)
    area = found.area.scaled(sum(PIXELS_2013))
    close([area.value[1], area.se[1], 1.96 * area.se[1]], [45_112.4, 10_751.4, 21_072.8], 1)
    close([found.overall.value, found.overall.se], [0.944417, 0.011164])
    close(found.users.value[1:], [0.97, 0.93, 0.97])
    close(found.producers.value[1:], [0.480631, 0.994189, 0.896926])
    close(found.producers.se[1:], [0.114558, 0.005778, 0.021024])


def test_the_ratio_estimator_is_the_equation_of_olofsson_for_producers_accuracy() -> None:
    given, reference, strata = units(OLOFSSON_2014, PIXELS_2014)
    found = assessment.accuracy(given, reference, strata, 5).producers
    n, size = np.array(OLOFSSON_2014, np.float64), np.array(PIXELS_2014, np.float64)
    share, total = n / n.sum(axis=1, keepdims=True), n.sum(axis=1)
    v = size**2 * (share * (1 - share)).T / (total - 1)
    for j in range(4):
        p, others = found.value[j + 1], np.arange(4) != j
        variance = ((1 - p) ** 2 * v[j, j] + p**2 * v[j, others].sum()) / (size @ share[:, j]) ** 2
        assert found.se[j + 1] == pytest.approx(np.sqrt(variance), rel=1e-12)


def test_stehman_2014() -> None:
    given, reference = letters(MAP), letters(REFERENCE)
    found = assessment.accuracy(given, reference, stehman(), 5)
    close([found.overall.value, found.overall.se], [0.63, 0.084656])
    close(assessment.accuracy(given, reference, stehman(finite=True), 5).overall.se, 0.084642)
    close(found.area.value[1:], [0.35, 0.34, 0.20, 0.11])
    close(found.area.se[1:], [0.082260, 0.075865, 0.064291, 0.030732])
    close(found.users.value[1:], [0.741935, 0.574468, 0.5, 0.7])
    close(found.users.se[1:], [0.164563, 0.124802, 0.215166, 0.152753])
    close(found.producers.value[1:], [0.657143, 0.794118, 0.3, 0.636364])
    close(found.producers.se[1:], [0.147732, 0.116567, 0.150444, 0.162324])
    cell = assessment.cells(given, reference, stehman(), 5)[2, 3]
    close([cell.value, cell.se], [0.08, 0.048074])
    u, p = found.users.value[1:], found.producers.value[1:]
    assert found.f1.value[1:] == pytest.approx(2 * u * p / (u + p))


def test_two_maps_are_compared_by_paired_units() -> None:
    first, second, reference = letters(MAP), letters(STRATUM), letters(REFERENCE)
    a, b = (assessment.accuracy(m, reference, stehman(), 5).overall for m in (first, second))
    close([a.value, a.se, b.value, b.se], [0.63, 0.084656, 0.62, 0.087813])
    found = assessment.accuracy_difference(first, second, reference, stehman())
    close([found.value, found.se], [0.01, 0.075792])
    close(np.hypot(a.se, b.se), 0.121974)
    assert assessment.discordant(first, second, reference) == (3, 3)


def test_a_sample_of_the_differing_pixels_gives_the_difference() -> None:
    """Of 150 points where the maps differ, on 8 % of the area, the first map is right at 80 and the second at 50."""
    right = np.repeat([1, 2, 3], [80, 50, 20]).astype(np.uint8)[:, None]
    first, second = np.ones((150, 1), np.uint8), np.full((150, 1), 2, np.uint8)
    found = assessment.accuracy_difference(first, second, right, one_stratum(10**6, 150)).scaled(0.08)
    assert found.value == pytest.approx(0.08 * (80 - 50) / 150) and found.low > 0
    assert assessment.discordant(first, second, right) == (80, 50)


def test_years_of_a_pixel_are_one_unit() -> None:
    """LCMAP: 24,971 plots × 33 years, accuracy 0.825; repeated years add nothing where they are all alike."""
    n, k, right = 24_971, 33, round(0.825 * 24_971)
    whole = Strata(np.zeros(n, np.int64), np.array([1e9]))
    hits = np.repeat(np.arange(n) < right, k).reshape(n, k)
    plots = ratio(hits.sum(axis=1), np.full(n, k), whole)
    close(plots.se, 0.002405)
    years = ratio(hits.ravel(), np.ones(n * k), Strata(np.zeros(n * k, np.int64), np.array([1e9])))
    close(years.se, 0.000419)
    assert (plots.se / years.se) ** 2 == pytest.approx(k, rel=1e-3)


def test_a_year_without_data_does_not_count() -> None:
    strata = one_stratum(1000, 4)
    reference = np.array([[1, 1], [1, 2], [2, 2], [2, 0]], np.uint8)
    given = np.array([[1, 1], [1, 0], [2, 1], [1, 1]], np.uint8)
    found = assessment.accuracy(given, reference, strata, 3)
    assert found.overall.value == pytest.approx(4 / 6)
    assert assessment.trajectory_accuracy(given, reference, strata).value == pytest.approx(1 / 2)


def change_example() -> tuple[Labels, Labels, Strata]:
    reference = [[1, 1, 2, 2], [1, 2, 2, 2], [1, 1, 1, 1], [1, 1, 1, 2], [1, 1, 2, 2]]
    given = [[1, 1, 2, 2], [1, 1, 2, 2], [1, 2, 1, 1], [1, 1, 1, 1], [1, 3, 3, 3]]
    return np.array(given, np.uint8), np.array(reference, np.uint8), one_stratum(10**6, 5)


def test_change_by_date_transition_and_footprint() -> None:
    exact, near = (assessment.change_accuracy(*change_example(), tolerance=t) for t in (0, 1))
    assert (exact.users.value, exact.producers.value) == (pytest.approx(1 / 5), pytest.approx(1 / 4))
    assert (near.users.value, near.producers.value) == (pytest.approx(3 / 5), pytest.approx(3 / 4))
    assert near.f1.value == pytest.approx(6 / 9)
    same = assessment.change_accuracy(*change_example(), tolerance=1, transitions=True)
    assert (same.users.value, same.producers.value) == (pytest.approx(2 / 5), pytest.approx(2 / 4))
    anywhere = assessment.footprint(*change_example())
    assert (anywhere.users.value, anywhere.producers.value) == (pytest.approx(3 / 4), pytest.approx(3 / 4))
    assert assessment.trajectory_accuracy(*change_example()).value == pytest.approx(1 / 5)


def test_dates_of_change_and_net_change() -> None:
    given, reference, strata = change_example()
    # Lags -2 … 2 and missed: one on time, one a year late, one a year early, one missed.
    assert assessment.date_errors(given, reference, strata).value == pytest.approx([0, 1 / 4, 1 / 4, 1 / 4, 0, 1 / 4])
    gross, net = assessment.gross_and_net(given, strata, known=True)
    assert (gross.value, net.value) == (pytest.approx(5 / 15), pytest.approx(3 / 5))


def test_no_estimate_where_there_is_none() -> None:
    given, reference = np.full((60, 1), 1, np.uint8), np.full((60, 1), 1, np.uint8)
    found = assessment.accuracy(given, reference, one_stratum(10**6, 60), 3)
    assert np.isnan(
        [found.producers.value[2], found.producers.se[2], found.producers.low[2], found.users.high[2]]
    ).all()
    assert found.producers.interval[2] == found.users.interval[2] == "none" and found.users.units[2] == 0
    assert found.area.value[2] == 0 and found.area.high[2] == pytest.approx(clopper_pearson(0, 60)[1])


def test_the_interval_is_chosen_by_the_number_of_errors() -> None:
    def users(errors: int, n: int) -> Estimates:
        return ratio(np.arange(n) >= errors, np.ones(n), Strata(np.zeros(n, np.int64), np.array([1e6])), known=True)

    none, few, many = users(0, 50), users(9, 75), users(100, 500)
    assert (none.interval, few.interval, many.interval) == ("exact", "wilson", "wald")
    close([1 - none.high, 1 - none.low], [0, 0.071122])
    assert [many.low, many.high] == pytest.approx([0.8 - 1.959964 * many.se, 0.8 + 1.959964 * many.se])
    strata = Strata(np.repeat([0, 1], [300, 400]), np.array([9e5, 1e5]))
    heavy = ratio(np.arange(700) % 400 >= np.where(strata.of, 150, 10), np.ones(700), strata, known=True)
    assert heavy.interval == "wilson", "ten errors in the stratum that weighs most are few, whatever the others have"
    assert 0 < few.low < few.value - few.se and few.value < few.high < 1


def test_a_stratum_without_an_omission_does_not_prove_that_there_is_none() -> None:
    """The class was found in its own small stratum only; the large one was sampled too thinly to exclude omissions."""
    given, reference, strata = units([[75, 0], [0, 300]], [100_000, 9_900_000])
    found = assessment.accuracy(given, reference, strata, 3)
    assert found.producers.value[1] == 1 and found.producers.se[1] == 0
    omitted = clopper_pearson(0, 300)[1] * 99
    assert 1 / (1 + omitted) * 0.95 < found.producers.low[1] < 1 / (1 + omitted) * 1.1
    assert found.area.high[1] > 0.015 and found.users.low[1] > 0.95


def test_equal_maps_are_not_proved_by_a_sample() -> None:
    y = np.arange(100) < 80
    found = difference((y, np.ones(100)), (y, np.ones(100)), one_stratum(10**6, 100))
    assert found.value == found.se == 0 and found.low < -0.01 and found.high > 0.01


def test_sizes_of_samples() -> None:
    share, s = [0.02, 0.015, 0.32, 0.645], allocation.deviations([0.70, 0.60, 0.90, 0.95])
    exact = (np.array(share) @ s / 0.01) ** 2
    close(exact, 640.54, 2)
    assert allocation.sample_size(share, s, 0.01) == 641
    assert allocation.whole(allocation.proportional(641, share)).tolist() == [13, 10, 205, 413]
    close(allocation.neyman(641, share, s), [23.2, 18.6, 243.1, 356.0], 1)
    for n, se in (([75, 75, 165, 325], 0.010886), ([13, 10, 205, 413], 0.010231), (allocation.equal(640, 4), 0.013490)):
        close(allocation.expected_se(share, s, n), se)


def test_a_floor_for_change_leaves_the_rest_in_proportion() -> None:
    n = allocation.with_floor(640, PIXELS_2014, [True, True, False, False])
    assert n.tolist() == [75, 75, 162, 328] and n.sum() == 640
    assert allocation.with_floor(200, [20, 10_000, 90_000], [True, False, False]).tolist() == [20, 18, 162]
    with pytest.raises(InputError, match="give 154 or more"):
        allocation.with_floor(100, PIXELS_2014, [True, True, False, False])


def test_the_finite_population_needs_fewer() -> None:
    s = allocation.deviations([0.5])
    assert allocation.sample_size([1000], s, 0.02) == 625
    assert allocation.sample_size([1000], s, 0.02, finite=True) == 385
    assert allocation.expected_se([1000], s, [385], finite=True) == pytest.approx(0.02, abs=1e-4)


@pytest.mark.parametrize(
    ("of", "sizes", "words"),
    [
        ([0, 0, 2, 2], [5, 5], "stratum 2 of a sampled unit has no size"),
        ([0, 0, 1], [5, 5], "stratum 1 of 5 units has 1 in the sample; sample two"),
        ([0, 0], [5, 5], "stratum 1 of 5 units has 0"),
        ([0, 0, 0], [2], "stratum 0 has 3 units in the sample, but only 2"),
    ],
)
def test_designs_that_allow_no_variance_are_refused(of: list[int], sizes: list[float], words: str) -> None:
    with pytest.raises(InputError, match=words):
        Strata(np.array(of), np.array(sizes, np.float64))


def test_labels_that_are_no_sample_are_refused() -> None:
    with pytest.raises(InputError, match=r"for 4 units; give \(unit, year\)"):
        assessment.accuracy(np.ones((4, 2), np.uint8), np.ones((4, 1), np.uint8), one_stratum(9, 4), 3)


def test_simulated_surveys_are_covered() -> None:
    """200 surveys of a common class and a sparse one: two-sided binomial bounds of 95 % at 200 are 0.915 and 0.98."""
    random, surveys = np.random.default_rng(7), 200
    shares = np.array([[0.90, 0.04, 0.06], [0.004, 0.95, 0.046], [0.003, 0.027, 0.97]])
    pixels = np.array([20_000, 290_000, 690_000])
    true = pixels[:, None] * shares / pixels.sum()
    covered: dict[str, int] = dict.fromkeys(("overall", "common", "sparse", "users", "producers"), 0)
    for _ in range(surveys):
        counts = np.stack([random.multinomial(n, row) for n, row in zip((100, 250, 300), shares, strict=True)])
        found = assessment.accuracy(*units(counts.tolist(), pixels.tolist()), 4)
        for name, e, truth in (
            ("overall", found.overall, true.trace()),
            ("common", found.area[2], true[:, 1].sum()),
            ("sparse", found.area[1], true[:, 0].sum()),
            ("users", found.users[1], shares[0, 0]),
            ("producers", found.producers[2], true[1, 1] / true[:, 1].sum()),
        ):
            covered[name] += bool(e.low <= truth <= e.high)
    assert all(c / surveys >= 0.915 for c in covered.values()), covered
    assert all(covered[name] / surveys <= 0.985 for name in ("overall", "common", "producers")), covered
