"""The choice of paired acquisitions (paper sections 2.1 and 3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from mlc_dask.data.acquisitions import (
    Acquisition,
    Catalogue,
    Selection,
    Source,
    Surveyed,
    counted,
)
from mlc_dask.data.errors import InputError, did_you_mean
from mlc_dask.data.steps import step
from mlc_dask.data.years import CALENDAR, season_day, year_label, year_of
from mlc_dask.kernels.pairing.limits import Infeasible
from mlc_dask.kernels.pairing.pair import Pairing, hindrances, pair
from mlc_dask.kernels.pairing.rules import (
    BY_HAND,
    HOPELESS,
    PARTIAL,
    TWIN,
    Candidate,
    PairingRules,
)
from mlc_dask.stages.survey import survey

_HIGHEST_TILE_CLOUD = 0.9
"""Limit of the cloud share in metadata that is never advised to be raised."""

_ALL_SNOW = 0.9
"""Share of snow above which an acquisition is doubted,"""
_SNOWY_PLACE = 0.25
"""unless more of the acquisitions than this are mostly snow: there it is believed."""


class Unpaired(InputError):  # noqa: N818 - it names a finding, and is raised as bad input
    """Fewer pairs are feasible than requested.

    Attributes
    ----------
    selection
        Selection without chosen acquisitions: for each acquisition, its weather and the reason that rules it out.
    """

    # The default lets the exception travel between processes: unpickling passes the message only.
    def __init__(self, message: str, selection: Selection | None = None) -> None:
        super().__init__(message)
        self.selection = selection


def check_names(leave_out: Sequence[str], known: Sequence[str]) -> None:
    """Raise :class:`InputError` for an entry of ``acquisitions.leave_out`` that is not among the `known` names."""
    for entry in leave_out:
        if entry not in known:
            fix = did_you_mean(entry, known, "write an id or a date of the table that plan prints")
            raise InputError(f"acquisitions.leave_out: {entry!r} names no acquisition of these years; {fix}")


def doubts(selection: Selection) -> list[str]:
    """Doubt chosen acquisitions that the mask calls snow almost everywhere, where snow is rare."""
    every = [s for rows in (selection.chosen, selection.rejected) for row in rows.values() for s in row]
    snowy = sum(s.weather.snow > 0.5 for s in every)
    if snowy > _SNOWY_PLACE * len(every):
        return []
    return [
        f"the mask calls {s.weather.snow:.0%} of {s.acquisition.id} snow, as of only {snowy} of {len(every)} "
        "acquisitions; over low ground it is usually cloud: look at it, or name it in acquisitions.leave_out"
        for row in selection.chosen.values()
        for s in row
        if s.weather.snow > _ALL_SNOW
    ]


@step("catalogue", kind="catalogue", version=5)
def list_acquisitions(
    source: Source, *, years: Sequence[int] | None, year_start: str = CALENDAR, known: Catalogue | None = None
) -> Catalogue:
    """Everything that the source has, by metadata: `known`, where the source has been asked already."""
    return replace(source.catalogue(years, year_start) if known is None else known, year_start=year_start)


@step("acquisitions", kind="selection", version=5)
def choose_acquisitions(
    source: Source,
    catalogue: Catalogue | None = None,
    *,
    years: Sequence[int] | None = None,
    rules: PairingRules,
    max_tile_cloud: float = 1.0,
    leave_out: Sequence[str] = (),
    scratch: Path | None = None,
) -> Selection:
    """Choose the paired acquisitions of `years` (all years of the source by default).

    Products that are cloudier than `max_tile_cloud` according to their metadata, and those in `leave_out`, are rejected
    first and never opened. For all others the workers check the files and read the mask over the area. Acquisitions
    that cannot be read are rejected by name. The choice among the rest is exact (method section 2).

    Parameters
    ----------
    leave_out
        Ids of acquisitions or of their products, and dates (``2018-09-23``); entries that match nothing are ignored.
    scratch
        Folder, reachable by the workers, where an interrupted survey finds its earlier results.

    Raises
    ------
    InputError
        If the source has no acquisition, or a host refuses access.
    Unpaired
        If fewer pairs than requested are feasible; also an InputError, with the complete survey.
    """
    catalogue = catalogue or source.catalogue(years)
    found, start = catalogue.acquisitions, catalogue.year_start
    if not found:
        why = f" ({counted(catalogue.left_out)})" if catalogue.left_out else ""
        raise InputError(f"the source has no acquisition in these years{why}; correct acquisitions.years or the source")
    years = sorted(years or {year_of(a.time, start) for a in found})
    by_year = {year: [a for a in found if year_of(a.time, start) == year] for year in years}
    refused = {a.id: why for a in found if (why := _refused(a, max_tile_cloud, leave_out))}
    refused |= _twins([a for a in found if a.id not in refused])
    looked = survey(source, by_year, refused, catalogue.grid, scratch)
    surveyed = {y: [s for s, _ in row if not s.reason] for y, row in looked.items()}
    others = {y: tuple(s for s, _ in row if s.reason) for y, row in looked.items()}
    left_out = (*catalogue.left_out, *(fault for row in looked.values() for _, fault in row if fault is not None))
    candidates = [[_candidate(s, start) for s in row] for row in surveyed.values()]
    try:
        pairing = pair(candidates, rules, years=[year_label(year, start) for year in years])
    except Infeasible as error:
        unchosen = _without_choice(surveyed, hindrances(candidates, rules), others)
        unchosen = replace(unchosen, left_out=left_out, year_start=start)
        raise Unpaired(_explained(error, unchosen, max_tile_cloud), unchosen) from None
    return replace(_selection(surveyed, pairing, others), left_out=left_out, year_start=start)


def _refused(acquisition: Acquisition, max_tile_cloud: float, leave_out: Sequence[str]) -> str:
    """Reason why an acquisition is not even opened; empty if it is."""
    if not set(leave_out).isdisjoint(acquisition.names):
        return BY_HAND
    return HOPELESS if (acquisition.cloud or 0) > max_tile_cloud else ""


def _twins(found: Sequence[Acquisition]) -> dict[str, str]:
    """All but the first of several acquisitions with one time: pairing cannot order them."""
    seen: dict[datetime, str] = {}
    for a in found:
        seen.setdefault(a.time, a.id)
    return {a.id: TWIN for a in found if seen[a.time] != a.id}


def _explained(error: Infeasible, unchosen: Selection, max_tile_cloud: float) -> str:
    """Message of the pairing, plus the acquisitions that were rejected before it."""
    cloudy = [
        f"{n} of {len(row)} in {year_label(year, unchosen.year_start)}"
        for year, row in unchosen.rejected.items()
        if (n := sum(s.reason == HOPELESS for s in row))
    ]
    also = [f"acquisitions.max_tile_cloud = {max_tile_cloud} excluded {', '.join(cloudy)}"] if cloudy else []
    also += ["raise it"] if cloudy and max_tile_cloud < _HIGHEST_TILE_CLOUD else []
    for year, row in unchosen.rejected.items():
        empty = sum(s.reason == PARTIAL and s.weather.valid == 0 for s in row)
        also += [f"{empty} in {year} have no data in the area; leave {year} out of acquisitions.years"] if empty else []
    by_hand = sum(s.reason == BY_HAND for row in unchosen.rejected.values() for s in row)
    also += [f"acquisitions.leave_out excluded {by_hand}"] if by_hand else []
    why = "; ".join([str(error), *([f"also, {'; '.join(also)}"] if also else [])])
    return f"{counted(unchosen.left_out)}; of the others {why}" if unchosen.left_out else why


def _candidate(surveyed: Surveyed, year_start: str) -> Candidate:
    a, w = surveyed.acquisition, surveyed.weather
    return Candidate(
        day=season_day(a.time.month, a.time.day, year_start),
        order=a.time.timestamp(),
        cloud=w.cloud,
        missing=1 - w.valid,
        orbit=a.orbit,
    )


def _selection(
    surveyed: dict[int, list[Surveyed]],
    pairing: Pairing,
    others: dict[int, tuple[Surveyed, ...]],
) -> Selection:
    chosen, rejected = {}, {}
    for i, (year, row) in enumerate(surveyed.items()):
        picked = pairing.index[:, i].tolist()
        chosen[year] = tuple(row[j] for j in picked)
        rest = [replace(s, reason=pairing.reasons[i][j]) for j, s in enumerate(row) if j not in set(picked)]
        rejected[year] = (*rest, *others[year])
    return Selection(chosen, rejected, float(pairing.cost))


def _without_choice(
    surveyed: Mapping[int, Sequence[Surveyed]],
    reasons: Sequence[Sequence[str]],
    others: Mapping[int, tuple[Surveyed, ...]],
) -> Selection:
    rejected = {
        year: (*(replace(s, reason=why) for s, why in zip(row, own, strict=True)), *others[year])
        for (year, row), own in zip(surveyed.items(), reasons, strict=True)
    }
    return Selection(dict.fromkeys(surveyed, ()), rejected, float("inf"))
