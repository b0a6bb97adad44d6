"""Pairing against exhaustive search, for every limit, every weight, and one to three years."""

import pickle
import time
from dataclasses import replace
from datetime import date, timedelta
from itertools import combinations, pairwise, product

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mlc_dask.data.errors import InputError
from mlc_dask.data.years import season_day
from mlc_dask.kernels.pairing import search as pairing_search
from mlc_dask.kernels.pairing.limits import Infeasible
from mlc_dask.kernels.pairing.pair import pair
from mlc_dask.kernels.pairing.rules import Candidate, PairingRules

OPEN = PairingRules(size=1, max_days_apart=364, max_cloud=1, min_valid_area=0)


def clear(*days, **kwargs):
    return [Candidate(day=d, order=i, cloud=kwargs.get("cloud", 0.0), missing=0.0) for i, d in enumerate(days)]


def every_series(candidates, rules, size):
    """All feasible series of `size` pairs, each a tuple of pairs of positions, by plain enumeration."""
    per_year = []
    for year in candidates:
        usable = [
            i for i, c in enumerate(year) if c.cloud <= rules.max_cloud and 1 - c.missing >= rules.min_valid_area - 1e-9
        ]
        usable.sort(key=lambda i: year[i].order)
        rows = combinations(usable, size)
        per_year.append([r for r in rows if all(year[a].day < year[b].day for a, b in pairwise(r))])
    for picks in product(*per_year):
        series = tuple(zip(*picks, strict=True))
        if all(np.ptp([candidates[y][i].day for y, i in enumerate(p)]) <= rules.max_days_apart for p in series):
            yield series


def price(series, candidates, rules):
    """The documented cost, written out for one series."""
    days = [c.day for year in candidates for c in year]
    even = max((max(days) - min(days)) / (rules.size + 1), 1)
    total, middles = 0.0, [min(days)]
    for positions in series:
        chosen = [candidates[y][i] for y, i in enumerate(positions)]
        orbits = {c.orbit for c in chosen} - {None}
        total += rules.cloud_weight * sum(c.cloud for c in chosen) / len(chosen)
        total += rules.missing_weight * sum(c.missing for c in chosen) / len(chosen)
        total += rules.spread_weight * (max(c.day for c in chosen) - min(c.day for c in chosen))
        total += rules.orbit_weight * max(0, len(orbits) - 1)
        middles.append(sum(c.day for c in chosen) / len(chosen))
    middles.append(max(days))
    return total + rules.gap_weight * sum(max(0, (b - a) / even - 1) ** 2 for a, b in pairwise(middles))


def most(candidates, rules):
    """Largest feasible number of pairs by enumeration."""
    sizes = range(min(len(y) for y in candidates), 0, -1)
    return next((s for s in sizes if any(True for _ in every_series(candidates, rules, s))), 0)


share = st.integers(0, 10).map(lambda n: n / 10)


@st.composite
def worlds(draw):
    k = draw(st.integers(1, 3))
    n = 7 if k < 3 else 6
    years = []
    for _ in range(k):
        days = sorted(draw(st.lists(st.integers(0, 40), min_size=1, max_size=n)))
        year = [
            Candidate(d, 100.0 + i, draw(share), draw(share), draw(st.sampled_from([None, 22, 65])))
            for i, d in enumerate(days)
        ]
        years.append(draw(st.permutations(year)))
    weight = st.sampled_from([0.0, 0.02, 0.3, 1.0, 5.0])
    rules = PairingRules(
        size=draw(st.integers(1, 4)),
        max_days_apart=draw(st.sampled_from([0, 3, 6, 15, 40])),
        max_cloud=draw(st.sampled_from([0.4, 0.8, 1.0])),
        min_valid_area=draw(st.sampled_from([0.0, 0.3, 0.9])),
        cloud_weight=draw(weight),
        missing_weight=draw(weight),
        spread_weight=draw(weight),
        orbit_weight=draw(weight),
        gap_weight=draw(weight),
    )
    return years, rules


@settings(max_examples=150, deadline=None)
@given(worlds())
def test_pair_costs_what_the_best_of_all_series_costs(world):
    candidates, rules = world
    costs = [price(s, candidates, rules) for s in every_series(candidates, rules, rules.size)]
    if not costs:
        with pytest.raises(Infeasible) as caught:
            pair(candidates, rules)
        assert caught.value.largest == most(candidates, rules) < rules.size
        return
    result = pair(candidates, rules)
    series = tuple(map(tuple, result.index.tolist()))
    assert result.index.shape == (rules.size, len(candidates))
    assert result.cost == pytest.approx(min(costs), abs=1e-9)
    assert price(series, candidates, rules) == pytest.approx(result.cost, abs=1e-9)
    assert series in set(every_series(candidates, rules, rules.size))
    for y, year in enumerate(candidates):
        assert np.all(np.diff([year[i].day for i in result.index[:, y]]) > 0)
    spreads = [np.ptp([candidates[y][i].day for y, i in enumerate(p)]) for p in series]
    assert result.spreads.tolist() == spreads


@settings(max_examples=60, deadline=None)
@given(worlds())
def test_every_candidate_has_the_reason_that_enumeration_gives(world):
    candidates, rules = world
    rules = replace(rules, size=1)
    partners = set(every_series(candidates, rules, 1))
    assume(partners)
    result = pair(candidates, rules)
    for y, year in enumerate(candidates):
        for i, c in enumerate(year):
            if 1 - c.missing < rules.min_valid_area - 1e-9:
                expected = "too little valid area"
            elif c.cloud > rules.max_cloud:
                expected = "cloud over limit"
            elif i in result.index[:, y]:
                expected = "chosen"
            elif any(p[0][y] == i for p in partners):
                expected = "outscored"
            else:
                expected = "no partner within max_days_apart"
            assert result.reasons[y][i] == expected


@settings(max_examples=80, deadline=None)
@given(worlds())
def test_infeasible_figures_are_honest(world):
    candidates, rules = world
    rules = replace(rules, size=4)
    largest = most(candidates, rules)
    assume(largest < rules.size)
    with pytest.raises(Infeasible) as caught:
        pair(candidates, rules, years=(2018, 2019, 2020)[: len(candidates)])
    told = caught.value
    assert (told.requested, told.largest) == (4, largest)
    # Limits that admit pictures without ground are never advised.
    wide = {
        "max_days_apart": 364,
        "max_cloud": max(0.9, rules.max_cloud),
        "min_valid_area": min(0.05, rules.min_valid_area),
    }
    alone = {name: most(candidates, replace(rules, **{name: value})) for name, value in wide.items()}
    assert {r.setting for r in told.relaxations} == {name for name, n in alone.items() if n > largest}
    for r in told.relaxations:
        assert most(candidates, replace(rules, **{r.setting: r.value})) == r.allows
        assert min(r.allows, 4) == min(alone[r.setting], 4)
        # The step before the mildest sufficient value is not enough.
        step = {"max_days_apart": -1, "max_cloud": -0.01, "min_valid_area": 0.01}[r.setting]
        assert most(candidates, replace(rules, **{r.setting: round(r.value + step, 2)})) < min(r.allows, 4)
    short = [y for y, row in zip((2018, 2019, 2020), candidates, strict=False) if len({c.day for c in row}) < 4]
    if short:
        assert told.binding in {f"too few acquisitions in {y}" for y in short}
    elif told.relaxations:
        assert min(alone[told.binding], 4) == min(max(alone.values()), 4)
    else:
        assert told.binding == "several"


def test_message_for_days_names_the_mildest_value_and_both_ways_out():
    candidates = [clear(0, 30, 60, 90), clear(5, 38, 66, 99)]
    with pytest.raises(Infeasible) as caught:
        pair(candidates, PairingRules(size=4))
    assert str(caught.value) == (
        "only 2 of 4 acquisition pairs are feasible: max_days_apart=6 binds (9 days would allow 4); "
        "lower acquisitions per year to 2 or raise max_days_apart to 9"
    )
    assert caught.value.binding == "max_days_apart"
    assert pair(candidates, PairingRules(size=4, max_days_apart=9)).spreads.max() == 9


@pytest.mark.parametrize("cloud", [0.97, 1.0])
def test_kind_9_a_cloud_limit_that_shows_no_ground_is_never_advised(cloud):
    candidates = [clear(0, 30, 60), [*clear(0, 30), Candidate(60, 9, cloud=cloud, missing=0)]]
    with pytest.raises(Infeasible) as caught:
        pair(candidates, PairingRules(size=3))
    assert "max_cloud to" not in str(caught.value) and "lower acquisitions per year to 2" in str(caught.value)
    overcast = [clear(0, 30), [Candidate(d, d, cloud=cloud, missing=0) for d in (0, 30)]]
    with pytest.raises(Infeasible, match=r"no acquisition of 2 shows enough .*leave 2 out of .*years or add"):
        pair(overcast, PairingRules(size=2))


def test_message_for_cloud():
    candidates = [clear(0, 30, 60), [*clear(0, 30), Candidate(60, 9, cloud=0.555, missing=0)]]
    with pytest.raises(Infeasible, match=r"only 2 of 3 .* max_cloud=0.4 binds \(0.56 would allow 3\)") as caught:
        pair(candidates, PairingRules(size=3))
    assert caught.value.binding == "max_cloud"
    assert pair(candidates, PairingRules(size=3, max_cloud=0.56)).index.shape == (3, 2)


def test_message_for_partial_swaths():
    candidates = [clear(0, 30, 60), [*clear(0, 30), Candidate(60, 9, cloud=0, missing=0.7)]]
    with pytest.raises(
        Infeasible, match=r"min_valid_area=0.5 binds \(0.3 would allow 3\).* lower min_valid_area to 0.3$"
    ) as caught:
        pair(candidates, PairingRules(size=3, min_valid_area=0.5))
    assert caught.value.binding == "min_valid_area"
    assert pair(candidates, PairingRules(size=3, min_valid_area=0.3)).index.shape == (3, 2)


def test_message_for_a_short_year_names_the_year():
    candidates = [clear(0, 30, 60), clear(0, 30)]
    with pytest.raises(
        Infeasible, match=r"only 2 of 3 .* too few acquisitions in 2019 \(2 in all, one per day\)"
    ) as caught:
        pair(candidates, PairingRules(size=3), years=[2018, 2019])
    assert caught.value.binding == "too few acquisitions in 2019"


def test_one_limit_alone_may_not_be_enough():
    # The third pair needs a wider spread and a cloudier acquisition at once; no other limit matters.
    candidates = [clear(0, 30, 60), [*clear(0, 30), Candidate(80, 9, cloud=0.9, missing=0)]]
    with pytest.raises(Infeasible, match="no single limit binds, several do together") as caught:
        pair(candidates, PairingRules(size=3))
    assert caught.value.binding == "several"


def test_of_two_limits_that_suffice_the_milder_change_is_named_first():
    # The last pair needs 0.44 instead of 0.40 cloud, or 12 instead of 6 days; then 0.80, or 7.
    for cloud, day, binding in ((0.44, 72, "max_cloud"), (0.80, 67, "max_days_apart")):
        other = [*clear(0, 30), Candidate(60, 8, cloud, 0), Candidate(day, 9, 0, 0)]
        with pytest.raises(Infeasible, match=f"{binding}=.* binds") as caught:
            pair([clear(0, 30, 60), other], PairingRules(size=3))
        assert caught.value.binding == binding
        assert {r.setting for r in caught.value.relaxations} == {"max_cloud", "max_days_apart"}
        assert "raise max_cloud to" in str(caught.value)
        assert "raise max_days_apart to" in str(caught.value)


def test_infeasible_is_an_input_error_that_crosses_processes():
    with pytest.raises(InputError) as caught:
        pair([clear(0), clear(100)], PairingRules(size=1))
    copy = pickle.loads(pickle.dumps(caught.value))
    assert str(copy) == str(caught.value)
    assert "\n" not in str(copy)
    assert (copy.largest, copy.binding, copy.relaxations) == (0, "max_days_apart", caught.value.relaxations)


def test_pairs_are_strictly_increasing_even_where_crossing_would_be_cheaper():
    # Crossed, (0, 4) and (3, 1) would each stay on one orbit; uncrossed is the only order in time.
    a = [Candidate(0, 0, 0, 0, 22), Candidate(3, 1, 0, 0, 65)]
    b = [Candidate(1, 0, 0, 0, 65), Candidate(4, 1, 0, 0, 22)]
    result = pair([a, b], PairingRules(size=2, orbit_weight=10, spread_weight=0))
    assert result.index.tolist() == [[0, 0], [1, 1]]


def test_one_orbit_is_preferred_among_equals():
    a = [Candidate(100, 0, 0.1, 0, 22)]
    b = [Candidate(99, 0, 0.1, 0, 65), Candidate(101, 1, 0.1, 0, 22)]
    assert pair([a, b], replace(OPEN, gap_weight=0)).index.tolist() == [[0, 1]]


def test_gap_penalty_spreads_the_series_over_the_season():
    year = clear(*range(0, 365, 5))
    rules = PairingRules(size=5)
    spaced = pair([year], rules).index[:, 0] * 5
    even = 360 / 6  # candidates end at day 360
    gaps = np.diff([0, *spaced, 360])
    assert gaps.max() <= even
    crowded = pair([year], replace(rules, gap_weight=0)).index[:, 0] * 5
    assert np.ptp(crowded) < np.ptp(spaced)


def test_even_spacing_is_at_least_one_day():
    # Two pairs within two days: even = 1 day, the middle gap of 2 days exceeds it once, the ends are 0.
    result = pair([clear(0, 2)], PairingRules(size=2, gap_weight=1))
    assert result.cost == pytest.approx((2 / 1 - 1) ** 2)


def test_season_day_has_no_leap_day():
    assert [season_day(1, 1), season_day(2, 28), season_day(3, 1), season_day(12, 31)] == [0, 58, 59, 364]
    assert season_day(2, 29) == season_day(2, 28)
    for year in (2019, 2020):
        dates = [date(year, 1, 1) + timedelta(days=n) for n in range(366 if year == 2020 else 365)]
        days = [season_day(d.month, d.day) for d in dates]
        assert sorted(set(days)) == list(range(365))
        if year == 2019:
            assert days == [d.timetuple().tm_yday - 1 for d in dates]
    for month, day in ((0, 1), (13, 1), (2, 30), (4, 31), (1, 0)):
        with pytest.raises(InputError, match="is not a date"):
            season_day(month, day)


def test_leap_day_pairs_with_the_28th_and_one_of_the_two_serves():
    leap = [Candidate(season_day(2, 28), 0, 0.1, 0), Candidate(season_day(2, 29), 1, 0, 0)]
    common = [Candidate(season_day(2, 28), 0, 0, 0), Candidate(season_day(3, 1), 1, 0, 0)]
    assert pair([leap, common], PairingRules(size=1, max_days_apart=1)).index.tolist() == [[1, 0]]
    with pytest.raises(Infeasible, match=r"only 1 of 2 .* too few acquisitions in 1 \(1 in all, one per day\)"):
        pair([leap, common], PairingRules(size=2, max_days_apart=1))


def test_one_acquisition_a_day_and_year():
    """Two files of one overpass, an hour apart, count as one date: only the clearer file is used."""
    twice = [Candidate(100, 0.0, 0.2, 0), Candidate(100, 0.04, 0.1, 0), Candidate(103, 3.0, 0.3, 0)]
    other = clear(100, 101, 102)
    result = pair([twice, other], PairingRules(size=2))
    assert result.index[:, 0].tolist() == [1, 2]
    assert result.reasons[0] == ("outscored", "chosen", "chosen")
    with pytest.raises(Infeasible, match="only 2 of 3"):
        pair([twice, other], PairingRules(size=3))


@pytest.mark.parametrize(
    ("candidates", "match"),
    [
        ([], "no years"),
        ([[Candidate(3, 1, 0, 0), Candidate(5, 1, 0, 0)]], "share the time"),
        ([[Candidate(9, 1, 0, 0), Candidate(5, 2, 0, 0)]], "comes after"),
    ],
)
def test_contradicting_acquisitions_are_refused(candidates, match):
    with pytest.raises(InputError, match=match):
        pair(candidates, OPEN)


def test_values_out_of_range_are_refused():
    for bad in ({"cloud": 40.0}, {"missing": -0.1}, {"cloud": float("nan")}, {"day": 365}):
        with pytest.raises(InputError):
            Candidate(**({"day": 5, "order": 0.0, "cloud": 0.0, "missing": 0.0} | bad))
    for bad in ({"size": 0}, {"max_days_apart": -1}, {"max_cloud": 40}, {"min_valid_area": 2}, {"gap_weight": -1.0}):
        with pytest.raises(InputError):
            PairingRules(**bad)
    with pytest.raises(InputError, match="one name per year"):
        pair([clear(1)], OPEN, years=[2018, 2019])


def test_limits_too_wide_to_search_are_refused_in_words(monkeypatch):
    with pytest.raises(InputError, match=r"more than 1,000,000 combinations .*; lower max_days_apart or max_cloud, or"):
        pair([clear(*range(0, 300, 2))] * 3, replace(OPEN, max_days_apart=364))
    monkeypatch.setattr(pairing_search, "_FIRST", 10)
    monkeypatch.setattr(pairing_search, "_MOST", 10)
    with pytest.raises(InputError, match=r"of 125 combinations .* could belong to the best .*; lower max_days_apart"):
        pair([clear(*range(0, 50, 10))] * 3, replace(OPEN, size=3, cloud_weight=0, spread_weight=0))


def crowded(k, seed, n=40):
    """Years with an acquisition every other day, some with two per day, whose clouds and orbits matter."""
    rng = np.random.default_rng(seed)
    return [
        [
            Candidate(
                int(d), float(i), float(rng.uniform(0, 0.5)), float(rng.choice([0, 0.3])), int(rng.choice([22, 65]))
            )
            for i, d in enumerate(np.sort(rng.choice(80, n)))
        ]
        for _ in range(k)
    ]


@pytest.mark.parametrize("seed", range(12))
def test_bounds_never_cost_the_best_series(seed, monkeypatch):
    """A search of the promising pairs finds the same series as a search of all pairs."""
    years, rules = crowded(1 + seed % 3, seed), PairingRules(size=5 + seed % 4, gap_weight=(0.05, 1.0)[seed % 2])
    searched = []
    search = pairing_search._search
    monkeypatch.setattr(
        pairing_search, "_search", lambda days, *rest: searched.append(len(days)) or search(days, *rest)
    )
    monkeypatch.setattr(pairing_search, "_FIRST", 10**9)
    whole = pair(years, rules)
    monkeypatch.setattr(pairing_search, "_FIRST", 1)
    few = pair(years, rules)
    assert (few.index.tolist(), few.cost) == (whole.index.tolist(), whole.cost)
    assert searched[1] == 1 and searched == [searched[0], *sorted(searched[1:])] and searched[-1] <= searched[0]


@settings(max_examples=150, deadline=None)
@given(worlds())
def test_bounds_keep_the_minimum_of_all_series(world):
    candidates, rules = world
    costs = [price(s, candidates, rules) for s in every_series(candidates, rules, rules.size)]
    assume(costs)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pairing_search, "_FIRST", 1)
        assert pair(candidates, rules).cost == pytest.approx(min(costs), abs=1e-9)


def test_six_years_of_two_satellites_without_a_cloud():
    """146 acquisitions per year give a hundred thousand pairs."""
    rng = np.random.default_rng(0)
    days = [d for d in range(365) if d % 5 in (0, 2)]
    years = [[Candidate(d, d, rng.uniform(0, 0.4), 0, 22 + d % 5) for d in days] for _ in range(6)]
    start = time.perf_counter()
    result = pair(years, PairingRules(size=20))
    assert time.perf_counter() - start < 30
    assert (np.diff(result.index, axis=0) > 0).all() and result.spreads.max() <= 6


@pytest.mark.parametrize("k", [1, 3, 5])
def test_real_size_and_its_time(k):
    rng = np.random.default_rng(k)
    years = [
        [Candidate(int(d), float(d), float(c), 0.0, int(o)) for d, c, o in zip(days, clouds, orbits, strict=True)]
        for days, clouds, orbits in (
            (np.sort(rng.choice(365, 75, replace=False)), rng.uniform(0, 0.4, 75), rng.choice([22, 65], 75))
            for _ in range(k)
        )
    ]
    start = time.perf_counter()
    result = pair(years, PairingRules(size=20))
    print(f"{k} years x 75 acquisitions: {time.perf_counter() - start:.3f} s")  # noqa: T201
    assert result.index.shape == (20, k)
    assert result.spreads.max() <= 6
    assert (np.diff(result.index, axis=0) > 0).all()
    assert sum(r == "chosen" for year in result.reasons for r in year) == 20 * k
