"""The largest feasible number of pairs, and the limit that prevents more (method section 2)."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace

from mlc_dask.data.errors import InputError
from mlc_dask.kernels.pairing.rules import Candidate, PairingRules

_CLOUDIEST, _LEAST_AREA = 90, 5
"""Per cent: limits beyond these are never advised, since they admit pictures that show no ground."""


@dataclass(frozen=True)
class Relaxation:
    """One limit relaxed alone: the mildest value that allows as many pairs as it can, up to the requested number."""

    setting: str
    current: float
    value: float
    allows: int

    @property
    def step(self) -> float:
        """Relative change from the current value, which makes different limits comparable."""
        unit = 1.0 if self.setting == "max_days_apart" else 0.01
        return abs(self.value - self.current) / max(self.current, unit)

    @property
    def advice(self) -> str:
        """The change in words."""
        return f"{'lower' if self.value < self.current else 'raise'} {self.setting} to {self.value:g}"


class Infeasible(InputError):  # noqa: N818 - it names a finding, and is raised as bad input
    """Fewer pairs are feasible than requested.

    Attributes
    ----------
    requested, largest
        Number of pairs requested, and the largest number that the limits allow.
    binding
        ``max_days_apart``, ``max_cloud``, ``min_valid_area``, ``too few acquisitions in YEAR`` (fewer than
        requested, whatever the limits), or ``several`` if no limit relaxed alone allows one more pair.
    relaxations
        What each limit relaxed alone would allow; limits that would allow no more pairs are left out.
    """

    # The defaults let the exception travel between processes: unpickling passes the message only.
    def __init__(
        self,
        message: str,
        *,
        requested: int = 0,
        largest: int = 0,
        binding: str = "",
        relaxations: tuple[Relaxation, ...] = (),
    ) -> None:
        super().__init__(message)
        self.requested = requested
        self.largest = largest
        self.binding = binding
        self.relaxations = relaxations


def longest(candidates: Sequence[Sequence[Candidate]], rules: PairingRules) -> int:
    """Largest number of pairs that the limits of `rules` allow.

    Parameters
    ----------
    candidates
        Acquisitions of every year.
    rules
        Only the limits matter here, not `size` or the weights.

    Notes
    -----
    If two pairs keep a limit on differences of days, so does the pair of the earlier acquisition of each year. Hence
    one feasible pair is the earliest in every year at once. Choosing it repeatedly, and each time discarding its days
    and all earlier ones, gives the longest series.
    """
    days = [sorted({c.day for c in year if not rules.refuses(c)}) for year in candidates]
    position, pairs = [0] * len(days), 0
    while all(p < len(year) for p, year in zip(position, days, strict=True)):
        now = [year[p] for p, year in zip(position, days, strict=True)]
        earliest = max(now) - rules.max_days_apart
        if min(now) >= earliest:
            pairs += 1
            position = [p + 1 for p in position]
        else:
            position = [p + (day < earliest) for p, day in zip(position, now, strict=True)]
    return pairs


def require_feasible(candidates: Sequence[Sequence[Candidate]], rules: PairingRules, years: Sequence[object]) -> None:
    """Raise :class:`Infeasible` if `rules` allow fewer than ``rules.size`` pairs.

    Parameters
    ----------
    candidates
        Acquisitions of every year.
    rules
        The limits and the requested number of pairs.
    years
        A name for every year, for the message.
    """
    largest = longest(candidates, rules)
    if largest >= rules.size:
        return
    eased = _relaxations(candidates, rules, largest)
    count, shortest = min((len({c.day for c in year}), i) for i, year in enumerate(candidates))
    if count < rules.size:
        binding = f"too few acquisitions in {years[shortest]}"
        why, fixes = f"{binding} ({count} in all, one per day)", [f"add acquisitions to {years[shortest]}"]
    elif not eased:
        binding, fixes = "several", ["relax max_days_apart, max_cloud and min_valid_area together"]
        why = "no single limit binds, several do together"
        usable = {year: sum(not rules.refuses(c) for c in row) for year, row in zip(years, candidates, strict=True)}
        worst = min(usable, key=lambda year: usable[year])
        if not usable[worst]:
            why = f"no acquisition of {worst} shows enough of the area within max_cloud and min_valid_area"
            fixes = [f"leave {worst} out of acquisitions.years", f"add acquisitions to {worst}"]
    else:
        binding = eased[0].setting
        why, fixes = _single(eased, rules)
    if largest:
        fixes = [f"lower acquisitions per year to {largest}", *fixes]
    message = f"only {largest} of {rules.size} acquisition pairs are feasible: {why}; {_either(fixes)}"
    raise Infeasible(message, requested=rules.size, largest=largest, binding=binding, relaxations=eased)


def _single(eased: tuple[Relaxation, ...], rules: PairingRules) -> tuple[str, list[str]]:
    """Cause and fixes if the first of `eased` is the binding limit."""
    first = eased[0]
    unit = " days" if first.setting == "max_days_apart" else ""
    enough = first.allows >= rules.size
    why = f"{first.setting}={first.current:g} binds ({first.value:g}{unit} would allow {'' if enough else 'only '}"
    fixes = [e.advice for e in eased if e.allows >= rules.size] or ["relax several limits together"]
    return f"{why}{first.allows})", fixes


def _relaxations(
    candidates: Sequence[Sequence[Candidate]], rules: PairingRules, largest: int
) -> tuple[Relaxation, ...]:
    """Limits that help when relaxed alone; the limit that helps most with the least change comes first."""
    mildest_first: dict[str, list[float]] = {
        "max_days_apart": list(range(rules.max_days_apart + 1, 365)),
        "max_cloud": [p / 100 for p in range(_CLOUDIEST + 1) if p / 100 > rules.max_cloud],
        "min_valid_area": [p / 100 for p in range(100, _LEAST_AREA - 1, -1) if p / 100 < rules.min_valid_area],
    }
    helpful = []
    for setting, values in mildest_first.items():

        def allowed(value: float, setting: str = setting) -> int:
            return longest(candidates, replace(rules, **{setting: value}))  # type: ignore[arg-type]

        reachable = min(rules.size, allowed(values[-1])) if values else largest
        if reachable > largest:
            value = values[bisect_left(values, reachable, key=allowed)]
            helpful.append(Relaxation(setting, getattr(rules, setting), value, allowed(value)))
    return tuple(sorted(helpful, key=lambda r: (-min(r.allows, rules.size), r.step)))


def _either(fixes: Sequence[str]) -> str:
    return " or ".join([", ".join(fixes[:-1]), fixes[-1]] if len(fixes) > 1 else fixes)
