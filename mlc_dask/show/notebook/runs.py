"""A run as a value that shows its steps and key figures, and opens its maps and its cube."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr

from mlc_dask.data.errors import InputError
from mlc_dask.io.cubes import open_cube
from mlc_dask.io.published import open_maps, places_of
from mlc_dask.runs.artifacts import read_current
from mlc_dask.runs.folder import RunFolder, step_of
from mlc_dask.runs.records import Origin, explain, read_record
from mlc_dask.show.notebook import html
from mlc_dask.storage.durable import NotPublished

__all__ = ["OpenedRun", "open_run"]

_PAGES = {"report.html": "report", "performance.html": "performance of the workers"}
_COLUMNS = ["step", "state", "seconds", "engines", "finished"]


@dataclass(frozen=True)
class OpenedRun:
    """The output folder of a run, finished or not; a notebook shows its steps and key figures.

    Attributes
    ----------
    folder
        The output folder.
    """

    folder: Path

    @property
    def maps(self) -> xr.Dataset:
        """The maps, as :func:`mlc_dask.open_maps` opens them; NotPublished before the run is finished."""
        return open_maps(self.folder)

    @property
    def cube(self) -> xr.Dataset:
        """The cube that the maps were made from, lazily; NotPublished before the run is finished.

        Raises
        ------
        InputError
            If the output holds several tiles.
        """
        current = read_current(self.folder)
        if "cube" not in current:
            raise InputError(f"{self.folder} holds several tiles; open one: {', '.join(places_of(self.folder))}")
        return open_cube(current["cube"].folder)

    @property
    def summary(self) -> pd.DataFrame:
        """The run's table of figures, in long form; NotPublished before the run is finished, or where it has none."""
        current = read_current(self.folder)
        if "evaluation" not in current:
            raise NotPublished(f"{self.folder} has no evaluation; open a tile, or run again to make what is missing")
        return pd.read_csv(current["evaluation"].folder / "summary.csv")

    @property
    def steps(self) -> pd.DataFrame:
        """Steps in the order of their work, with columns step, state, seconds, engines and finished.

        The steps behind the published maps; for an unfinished run, all steps that were started.
        """
        return pd.DataFrame(list(_steps(self.folder)), columns=_COLUMNS)

    def __repr__(self) -> str:
        steps = self.steps
        done = int((steps.state == "done").sum())
        state = "finished" if RunFolder(self.folder).published else "unfinished"
        return f"<run {self.folder}: {state}, {done} steps done>"

    def _repr_html_(self) -> str:
        steps = self.steps
        rows = [
            ([html.text(s.step), html.text(s.state), _seconds(s.seconds), html.text(s.engines), html.text(s.finished)],
             "" if s.state == "done" else "todo")
            for s in steps.itertuples()
        ]  # fmt: skip
        spent = f"{len(steps)} steps, {_seconds(steps.seconds.sum())} s of work"
        state = "finished" if RunFolder(self.folder).published else "not finished: run it again to continue"
        table = html.table(_COLUMNS, rows)
        return html.card(f"Run {self.folder}", [state, spent], self._figures(), self._ways_on(), self._details(table))

    @staticmethod
    def _details(table: str) -> str:
        return f"<details><summary>Steps</summary>{table}</details>"

    def _figures(self) -> str:
        """Table of key figures, where the run is finished."""
        from mlc_dask.show.report.page import key_figures

        try:
            figures = key_figures(self.summary)
        except (NotPublished, KeyError):
            return ""
        rows = [([html.text(v if isinstance(v, str) else f"{v:.3f}") for v in row], "")
                for row in figures.itertuples(index=False)]  # fmt: skip
        return html.table([str(c) for c in figures.columns], rows)

    def _ways_on(self) -> str:
        """List the pages of the run and the attributes of this object."""
        pages = [_page(self.folder / name, words) for name, words in _PAGES.items() if (self.folder / name).exists()]
        attributes = " ".join(f"<code>.{name}</code>" for name in ("maps", "cube", "steps", "summary"))
        return f"<div class='row'>{''.join(f'<span>{p}</span>' for p in (*pages, attributes))}</div>"


def open_run(folder: str | Path) -> OpenedRun:
    """Open the output folder of a run, finished or not.

    Returns
    -------
    A value that shows the run in a notebook, with ``maps``, ``cube``, ``steps`` and ``summary`` as attributes.

    Raises
    ------
    InputError
        When the folder is not the output of a run.
    """
    folder = Path(folder)
    if not RunFolder(folder).begun and not RunFolder(folder).published:
        raise InputError(
            f"{folder} is not the output of a run; give the folder that `output` in its configuration names"
        )
    return OpenedRun(folder)


def _steps(run: Path) -> Iterator[tuple[str, str, float, str, str]]:
    records = _lineage(run)
    begun = {f: read_record(f) for f in RunFolder(run).artifacts()}
    if not records:
        records = {f.name: record for f, record in begun.items() if record is not None}
    for record in sorted(records.values(), key=lambda r: str(r["started"])):
        engines = ", ".join(record.get("engines", ()))
        yield record["name"], "done", float(record["seconds"]), engines, str(record["finished"])[:19].replace("T", " ")
    if not RunFolder(run).published:
        names = {str(record["name"]) for record in records.values()}
        for folder in sorted(f for f, record in begun.items() if record is None):
            name = step_of(folder)
            if name not in names:
                yield name, "unfinished", 0.0, "", ""


def _lineage(run: Path) -> dict[str, Mapping[str, Any]]:
    """Find the records of all steps behind the published results, by fingerprint."""
    found: dict[str, Mapping[str, Any]] = {}

    def walk(origin: Origin) -> None:
        if origin.record is not None and origin.fingerprint not in found:
            found[origin.fingerprint] = origin.record
            for parent in origin.inputs:
                walk(parent)

    for layer in RunFolder(run).layers():
        walk(explain(run, layer))
    return found


def _page(path: Path, words: str) -> str:
    """Link to a page below the notebook's folder; other pages are not served, and named by path."""
    path = path.resolve()
    if not path.is_relative_to(Path.cwd()):
        return f"{html.text(words)}: <code>{html.text(path)}</code>"
    return f"<a href='{html.text(path.relative_to(Path.cwd()).as_posix())}' target='_blank'>{html.text(words)}</a>"


def _seconds(seconds: Any) -> str:
    return f"{seconds:,.1f}"
