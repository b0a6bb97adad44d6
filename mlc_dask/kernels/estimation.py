"""Design-based estimates from a stratified random sample: one ratio estimator for accuracy, area and change.

Stehman (2014), with the strata free of the map's classes; Olofsson et al. (2013, 2014) is its case of strata that are
the map's classes, to the last digit. A unit may be a pixel with its labels of all years or a block with its counts:
the variance is between units, never between the years or pixels of a unit (method section 9).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from mlc_dask.data.errors import InputError
from mlc_dask.kernels.intervals import clopper_pearson, normal_quantile, wilson

Floats = npt.NDArray[np.float64]
_Ints = npt.NDArray[np.int64]

ENOUGH = 100
"""Effective units for and against from which on Wald's interval serves; with 40 of 500 it covers 93 % for 95 %."""

FEW = 5
"""A stratum with fewer units that differ from its other units may hide rarer ones: its zero variance is no proof."""


@dataclass(frozen=True, eq=False)
class Strata:
    """A stratified simple random sample.

    Attributes
    ----------
    of
        (n,) int64 index of the stratum of every sampled unit.
    sizes
        (H,) float64 units of the population in every stratum (N_h).
    finite
        Apply the finite population correction 1 - n_h / N_h.

    Raises
    ------
    InputError
        A unit lies in no stratum, a stratum has fewer than two sampled units, or more than it has in all.
    """

    of: _Ints
    sizes: Floats
    finite: bool = False

    def __post_init__(self) -> None:
        if self.of.size and not 0 <= self.of.min() <= self.of.max() < len(self.sizes):
            raise InputError(f"stratum {self.of.max()} of a sampled unit has no size; give the sizes of all strata")
        for h, (n, size) in enumerate(zip(self.sampled, self.sizes, strict=True)):
            if n < min(2, size) or size <= 0:
                raise InputError(f"stratum {h} of {size:g} units has {n} in the sample; sample two, or join strata")
            if n > size:
                raise InputError(f"stratum {h} has {n} units in the sample, but only {size:g} in all; correct its size")

    @property
    def sampled(self) -> _Ints:
        """(H,) int64 sampled units of every stratum (n_h)."""
        return np.bincount(self.of, minlength=len(self.sizes))

    @property
    def weights(self) -> Floats:
        """(n,) float64 units of the population that a sampled unit stands for (N_h / n_h)."""
        return (self.sizes / self.sampled)[self.of]

    @property
    def rest(self) -> Floats:
        """(H,) float64 finite population correction, 1 without."""
        return 1 - self.sampled / self.sizes if self.finite else np.ones(len(self.sizes))

    def sums(self, values: Floats) -> Floats:
        """Sum `values` (n, m) over the sampled units of every stratum: (H, m)."""
        sums = np.zeros((len(self.sizes), values.shape[1]))
        np.add.at(sums, self.of, values)
        return sums

    def variances(self, values: Floats) -> Floats:
        """Every stratum's part (H, m) of the variance of the estimated total of `values` (n, m)."""
        n = self.sampled[:, None]
        away = values - (self.sums(values) / n)[self.of]
        factor = (self.sizes**2 * self.rest)[:, None]
        parts: Floats = factor * self.sums(away * away) / (n * np.maximum(n - 1, 1))
        return parts


def one_stratum(units: int, sampled: int) -> Strata:
    """Return a simple random sample of `sampled` out of `units` units, with the finite population correction."""
    return Strata(np.zeros(sampled, np.int64), np.array([float(units)]), finite=True)


@dataclass(frozen=True, eq=False)
class Estimates:
    """Estimates of any shape; NaN where the sample allows none.

    Attributes
    ----------
    value, se
        Estimate and standard error, from which :attr:`interval` may differ: see :func:`ratio`.
    low, high
        Limits of the interval.
    units
        int64 sampled units in the domain, those with a denominator.
    interval
        How the limits were found: "wald", "wilson", "exact" (Clopper–Pearson) or "none".
    """

    value: Floats
    se: Floats
    low: Floats
    high: Floats
    units: _Ints
    interval: npt.NDArray[np.str_]

    def scaled(self, factor: float) -> Estimates:
        """Return the same estimates in another unit, e.g. shares as hectares."""
        value, se, low, high = (factor * part for part in (self.value, self.se, self.low, self.high))
        return replace(self, value=value, se=se, low=low, high=high)

    def __getitem__(self, index: Any) -> Estimates:
        """Return a part of them, indexed like their arrays."""
        return Estimates(*(np.asarray(part[index]) for part in self._parts()))

    def reshape(self, *shape: int) -> Estimates:
        """Return them in another shape."""
        return Estimates(*(part.reshape(shape) for part in self._parts()))

    def _parts(self) -> tuple[Any, ...]:
        return self.value, self.se, self.low, self.high, self.units, self.interval


def ratio(
    part: npt.ArrayLike,
    whole: npt.ArrayLike,
    strata: Strata,
    *,
    known: bool = False,
    confidence: float = 0.95,
    quantile: float | None = None,
) -> Estimates:
    """Estimate the share of `part` in `whole` over the population.

    R = Σ N_h ȳ_h / Σ N_h x̄_h and V(R) = X̂⁻² Σ N_h² (1 - n_h/N_h) (s²_yh + R² s²_xh - 2 R s_xyh) / n_h (Stehman 2014).

    Parameters
    ----------
    part, whole
        (n, …) y and x of every unit, 0 ≤ y ≤ x; sums over the years or pixels of a unit where it is a cluster.
    strata
        The design.
    known
        The domain is known for every unit of the population, not only for sampled ones, as what a map shows is (user's
        and overall accuracy). Otherwise strata may hide units of the domain that the sample lacks.
    confidence
        Nominal coverage of the intervals.
    quantile
        Of the estimate's error in standard errors: Student's t for a standard error that few units give, otherwise the
        normal z.

    Returns
    -------
    Estimates
        Of the shape of a unit. Without any unit in the domain there is no estimate. The interval is

        - Wald's, R ± t·SE, where 100 units or more speak for and 100 against, by Kish's effective number, and no
          stratum of an unknown domain has fewer than 5 units that differ from its others; also where every unit was
          sampled;
        - otherwise Wilson's with the effective size n* = R(1 - R)/V · (z/t)² (Korn and Graubard 1998), where V of an
          unknown domain contains Wilson's z²/4n², shared among the strata as by Yan and Su (2010), for the strata with
          few such units;
        - for R = 0 or 1 Clopper–Pearson's with Kish's effective number of units in the domain, widened to 1 / (1 + o)
          or o / (1 + o), where o is the upper limit of what an unknown domain may hide, over X̂.
    """
    y, x, shape = _columns(part, whole)
    value, residuals = _linear(y, x, strata)
    parts = strata.variances(residuals)
    sparse = _sparse(y, x, strata) & (not known)
    unit = sparse * _scale(y, x, value, strata) * (strata.sizes * np.sqrt(strata.rest))[:, None]
    shared = _shared(parts, unit, strata, confidence)
    se, pseudo = (np.sqrt(v.sum(axis=0)) for v in (parts, parts + shared * (unit / (2 * strata.sampled[:, None])) ** 2))
    units, size = (x > 0).sum(axis=0), _kish(x > 0, strata)
    z = normal_quantile(confidence)
    t = z if quantile is None else quantile
    with np.errstate(divide="ignore", invalid="ignore"):
        effective = value * (1 - value) / pseudo**2 * (z / t) ** 2
    half = t * se
    hidden = _hidden(unit, shared, strata, confidence)
    low, high = clopper_pearson(value * size, size, confidence)
    exact = np.minimum(low, np.where(value < 1, low, 1 / (1 + hidden))), np.maximum(high, hidden / (1 + hidden))
    exact = exact[0], np.where(value > 0, high, exact[1])
    found = [(value - half, value + half), wilson(value * effective, effective, confidence), exact]
    enough = (np.minimum(_kish(y > 0, strata), _kish(y < x, strata)) >= ENOUGH) & ~sparse.any(axis=0)
    enough |= not strata.rest.any()
    edge = (value <= 0) | (value >= 1) | (pseudo == 0)
    kind = np.select([units == 0, enough, ~edge], [3, 0, 1], 2)
    low, high = (np.choose(kind, [*(limits[i] for limits in found), np.full(len(value), np.nan)]) for i in (0, 1))
    names = np.array(["wald", "wilson", "exact", "none"])[kind]
    return Estimates(value, se, np.clip(low, 0, 1), np.clip(high, 0, 1), units, names).reshape(*shape)


def difference(
    first: tuple[npt.ArrayLike, npt.ArrayLike],
    second: tuple[npt.ArrayLike, npt.ArrayLike],
    strata: Strata,
    *,
    confidence: float = 0.95,
    quantile: float | None = None,
) -> Estimates:
    """Estimate the difference of two shares on the same sample, first minus second, from paired units.

    D = R_A - R_B and V(D) from the units' linearised differences (y_A - R_A x_A)/X̂_A - (y_B - R_B x_B)/X̂_B; for a
    common x = 1 this is Σ W_h² s²_dh / n_h. It is never the sum of two variances.

    Parameters
    ----------
    first, second
        (part, whole) of the two maps as in :func:`ratio`.
    confidence, quantile
        As in :func:`ratio`.

    Returns
    -------
    Estimates
        The interval is Wald's. Where a stratum has fewer than 5 units that differ from its others, the variance
        contains the allowance of :func:`ratio`: no discordant unit in a sample does not prove equal maps.
    """
    (ya, xa, shape), (yb, xb, _) = _columns(*first), _columns(*second)
    (a, of_a), (b, of_b) = _linear(ya, xa, strata), _linear(yb, xb, strata)
    parts = strata.variances(of_a - of_b)
    discordant = ya * xb - yb * xa
    sparse = _sparse(discordant, xa * xb, strata)
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.minimum(*(x.max(axis=0) / (strata.weights @ x) for x in (xa, xb)))
    unit = sparse * scale * (strata.sizes * np.sqrt(strata.rest))[:, None]
    allowed = _shared(parts, unit, strata, confidence) * (unit / (2 * strata.sampled[:, None])) ** 2
    z = normal_quantile(confidence)
    t = z if quantile is None else quantile
    half = np.sqrt((t**2 * parts + z**2 * allowed).sum(axis=0))
    value, units = a - b, ((xa > 0) | (xb > 0)).sum(axis=0)
    names = np.where(np.isnan(value), "none", np.where(sparse.any(axis=0), "wilson", "wald"))
    low, high = np.clip(value - half, -1, 1), np.clip(value + half, -1, 1)
    return Estimates(value, np.sqrt(parts.sum(axis=0)), low, high, units, names).reshape(*shape)


def _columns(part: npt.ArrayLike, whole: npt.ArrayLike) -> tuple[Floats, Floats, tuple[int, ...]]:
    """Both as (n, m) float64, and the shape of a unit."""
    y, x = np.broadcast_arrays(np.asarray(part, np.float64), np.asarray(whole, np.float64))
    return y.reshape(len(y), -1), x.reshape(len(x), -1), y.shape[1:]


def _linear(y: Floats, x: Floats, strata: Strata) -> tuple[Floats, Floats]:
    """Ratios (m,), NaN without a denominator, and the linearised residuals (n, m) of the units."""
    total = strata.weights @ x
    with np.errstate(divide="ignore", invalid="ignore"):
        value = np.where(total > 0, (strata.weights @ y) / total, np.nan)
        return value, (y - value * x) / total


def _scale(y: Floats, x: Floats, value: Floats, strata: Strata) -> Floats:
    """Change (m,) of a ratio by one more unit: against it R times the largest x - y, for it 1 - R times the largest y.

    The largest x where the sample has no unit against, or for.
    """
    whole = x.max(axis=0)
    against, favour = (np.where(part > 0, part, whole) for part in ((x - y).max(axis=0), y.max(axis=0)))
    edge = (value <= 0) | (value >= 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        step = np.where(edge, whole, np.maximum(value * against, (1 - value) * favour))
        scale: Floats = step / (strata.weights @ x)
    return scale


def _sparse(y: Floats, x: Floats, strata: Strata) -> npt.NDArray[np.bool_]:
    """Strata (H, m) with fewer than FEW units apart from the largest of the groups |y| = x (by sign), 0 and no domain.

    A cluster that is partly one and partly the other is in no group.
    """
    inside = x > 0
    groups = (inside & (y >= x), inside & (y <= -x), inside & (y == 0), ~inside)
    largest = np.maximum.reduce([strata.sums(group.astype(np.float64)) for group in groups])
    few: npt.NDArray[np.bool_] = strata.sampled[:, None] - largest < FEW
    return few


def _shared(parts: Floats, unit: Floats, strata: Strata, confidence: float) -> Floats:
    """Return z² (m,), shared among the strata (Yan and Su 2010): z² Σ v / (Σ √v)² with v = s²/n + z²/4n² itself."""
    z2 = normal_quantile(confidence) ** 2
    shared, pseudo = np.full(parts.shape[1], z2), (unit / (2 * strata.sampled[:, None])) ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        for _ in range(8):
            both = parts + shared * pseudo
            shared = np.nan_to_num(z2 * both.sum(axis=0) / np.sqrt(both).sum(axis=0) ** 2, nan=z2)
    return shared


def _hidden(unit: Floats, shared: Floats, strata: Strata, confidence: float) -> Floats:
    """Upper limit (m,) of what strata without an event may hide, over the domain: Clopper–Pearson's of 0 in n."""
    part = shared / normal_quantile(confidence) ** 2
    limits = 1 - ((1 - confidence) / 2) ** (part / strata.sampled[:, None])
    hidden: Floats = (unit * limits).sum(axis=0)
    return hidden


def _kish(inside: npt.NDArray[np.bool_], strata: Strata) -> Floats:
    """Effective number (m,) of units in a domain with unequal weights: (Σ w)² / Σ w² (Kish 1965)."""
    weights = strata.weights
    with np.errstate(divide="ignore", invalid="ignore"):
        effective: Floats = np.nan_to_num((weights @ inside) ** 2 / (weights**2 @ inside))
    return effective
