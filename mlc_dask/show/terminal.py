"""What the command line prints: plans, steps, cubes, key figures and the origin of a result."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import NamedTemporaryFile
from traceback import format_exception

import pandas as pd
import xarray as xr
from rich.console import Console
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from mlc_dask.data.acquisitions import Selection
from mlc_dask.data.errors import FetchError, InputError
from mlc_dask.data.grids import Grid
from mlc_dask.data.schema import year_start_of
from mlc_dask.data.years import year_label, years_in_words
from mlc_dask.runs.artifacts import Event
from mlc_dask.runs.records import Origin
from mlc_dask.show.report.calendar import calendar_png, calendar_text
from mlc_dask.show.report.controls import control_table, models_alone, sampled
from mlc_dask.show.report.evidence import alerts
from mlc_dask.show.report.headline import headline
from mlc_dask.show.report.page import key_figures
from mlc_dask.stages.evaluation import Evaluation
from mlc_dask.storage.durable import atomic_write


def show_error(console: Console, error: Exception) -> None:
    """Print an error as one line, as plain text: a path or a pattern may contain characters of markup.

    Of an error that is neither bad input nor a failed fetch, the line has the type, the place and a file of details.
    """
    line = " ".join(str(error).split())
    if not isinstance(error, InputError | FetchError):
        where = "".join(f"; {note}" for note in getattr(error, "__notes__", ()))
        line = f"{type(error).__name__}: {line}{where}; details in {_details(error)}"
    console.print(Text.assemble(("error: ", "bold red"), line), soft_wrap=True, highlight=False)


def _details(error: Exception) -> str:
    try:
        with NamedTemporaryFile("w", prefix="mlc-dask-", suffix=".log", delete=False, encoding="utf-8") as file:
            file.writelines(format_exception(error))
        return file.name
    except OSError as other:  # a full disk may be what the error is about
        return f"no file ({other.strerror})"


def show_warning(console: Console, warning: str) -> None:
    """Print a warning as one line of plain text."""
    console.print(Text.assemble(("warning: ", "bold yellow"), warning), soft_wrap=True, highlight=False)


def show_plan(
    console: Console, tile: str, selection: Selection, facts: Mapping[str, str], notes: Sequence[str] = ()
) -> None:
    """Print the calendar of the acquisitions, a table of them with reasons per year, the notes and the figures."""
    _head(console, tile)
    console.print(calendar_text(selection, console.width))
    for year, rows in selection.chosen.items():
        name = year_label(year, selection.year_start)
        table = Table("date", "acquisition", "orbit", "cloud", "valid", "why", box=None, title=name)
        everything = [(s, "chosen") for s in rows] + [(s, s.reason) for s in selection.rejected[year]]
        for s, why in sorted(everything, key=lambda e: e[0].acquisition.time):
            a, w = s.acquisition, s.weather
            shown = (f"{a.time:%Y-%m-%d}", a.id, str(a.orbit or "–"), f"{w.cloud:.0%}", f"{w.valid:.0%}", why)
            table.add_row(*shown, style="bold" if why == "chosen" else "dim")
        console.print(table)
    for note in notes:
        console.print(f"note: {note}", soft_wrap=True, highlight=False, markup=False)
    _show_facts(console, facts)


def _head(console: Console, tile: str) -> None:
    """Print the heading of a tile; nothing for a run of one place."""
    if tile:
        console.print(f"\n[bold]{tile}[/]")


def _show_facts(console: Console, facts: Mapping[str, str]) -> None:
    table = Table("fact", "value", box=None)
    for name, value in facts.items():
        table.add_row(name, value)
    console.print(table)


def save_calendar(console: Console, tile: str, selection: Selection, path: Path) -> None:
    """Write the calendar of a selection as a PNG; the file name of a tile contains the tile's name."""
    file = path.with_stem(f"{path.stem}-{tile}") if tile else path
    atomic_write(file, calendar_png(selection))
    console.print(f"calendar: {file}")


def warn_of_space(console: Console, output: Path, needed: int) -> None:
    """Print a warning where the disk of `output` has fewer than `needed` bytes free."""
    free = shutil.disk_usage(next(p for p in [output, *output.parents] if p.exists())).free
    if free < needed:
        show_warning(
            console,
            f"{output} has {free / 1e9:.1f} GB free, less than the {needed / 1e9:.1f} GB that a run would write "
            "before compression; free some space, or choose another output",
        )


def show_steps(console: Console, events: Sequence[Event]) -> None:
    """Print which steps a run would reuse and which it would compute, and why."""
    table = Table("step", "plan", box=None)
    for event in events:
        table.add_row(event.step, "reuse" if event.state == "reused" else f"compute ({event.reason})")
    console.print(table)


def show_status(console: Console, events: Sequence[Event]) -> None:
    """Print which steps are done and which are not."""
    table = Table("step", "state", "result", box=None)
    for event in events:
        state = "done" if event.state == "reused" else f"to do ({event.reason})"
        table.add_row(event.step, state, event.artifact.folder.name)
    console.print(table)


def show_results(
    console: Console,
    tile: str,
    output: Path,
    tables: Evaluation | None,
    drift: pd.DataFrame | None,
    controls: pd.DataFrame | None = None,
    confidence: Mapping[str, pd.DataFrame] | None = None,
) -> None:
    """Print what to look at first, the figures that decide between the map series, and where maps and report are.

    Tables that could not be made are None.
    """
    _head(console, tile)
    for alert in [] if drift is None else alerts(drift):
        console.print(f"look: {alert}", style="bold red", soft_wrap=True, highlight=False)
    if tables is not None:
        for line in headline(tables, controls, confidence).short:
            console.print(line, soft_wrap=True, highlight=False, markup=False)
        _show_figures(console, key_figures(tables.summary))
    if controls is not None:
        console.print(f"Compared with the multi-year maps: difference, and its 95 % interval. {sampled(controls)}")
        _show_figures(console, control_table(models_alone(controls)))
    report = output / "report.html"
    where = f"    report: {report}" if report.exists() else ""
    console.print(f"maps: mlc_dask.open_maps({str(output)!r}){where}", highlight=False)


def _show_figures(console: Console, figures: pd.DataFrame) -> None:
    table = Table(*(str(c) for c in figures.columns), box=None)
    for row in figures.itertuples(index=False):
        table.add_row(*(f"{v:.3f}" if isinstance(v, float) else str(v) for v in row))
    console.print(table)


def show_left_out(console: Console, events: Sequence[Event]) -> None:
    """Print what a run did without because it cannot be read, one line each."""
    for event in events:
        if event.artifact.kind == "selection":
            for one in event.artifact.open().left_out:
                console.print(f"{event.step}: left out: {one}", soft_wrap=True, highlight=False, markup=False)


def show_made(console: Console, event: Event) -> None:
    """Print where a cube and its quicklooks are, and how to open the cube; nothing for other steps."""
    folder = str(event.artifact.folder)
    how = {"cube": f"mlc_dask.open_cube({folder!r})", "quicklooks": folder}.get(event.artifact.name)
    if how is not None:
        console.print(f"{event.step}: {how}", soft_wrap=True, highlight=False)


def show_cube(console: Console, cube: xr.Dataset) -> None:
    """Print the contents of a cube: its size, its grid and every acquisition."""
    facts = {
        "grid": Grid.of_raster(cube).label,
        "years": years_in_words(cube.year.values.tolist(), year_start_of(cube)),
        "acquisitions per year": str(cube.sizes["acquisition"]),
        "bands": ", ".join(cube.band.values.tolist()),
        "size": f"{cube.nbytes / 1e9:.2f} GB before compression",
    }
    _show_facts(console, facts)
    rows = Table("year", "date", "acquisition", "baseline", "cloud", "valid", box=None)
    for year in cube.year.values.tolist():
        one = cube.sel(year=year)
        for time, name, baseline, cloud, valid in zip(
            *(one[c].values for c in ("time", "id", "baseline", "cloud", "valid")), strict=True
        ):
            rows.add_row(str(year), str(time)[:10], name, baseline or "–", f"{cloud:.0%}", f"{valid:.0%}")
    console.print(rows)


def show_origin(console: Console, origin: Origin) -> None:
    """Print the records behind a result as a tree, with the inputs of each result once."""
    tree = Tree(_origin_line(origin))
    _grow(tree, origin, set())
    console.print(tree)


def _origin_line(origin: Origin) -> str:
    record = origin.record
    if record is None:
        return f"{origin.name} {origin.fingerprint[:16]} (given)"
    engines = f" on {', '.join(record['engines'])}" if "engines" in record else ""
    return f"[bold]{origin.name}[/] {origin.fingerprint[:16]}  {record['function']}{engines}  {record['finished']}"


def _grow(tree: Tree, origin: Origin, grown: set[str]) -> None:
    if origin.record is None:
        return
    if origin.fingerprint in grown:
        tree.add("[dim]see above[/]")
        return
    grown.add(origin.fingerprint)
    if origin.record["settings"]:
        tree.add(f"[dim]{origin.record['settings']}[/]")
    for parent in origin.inputs:
        _grow(tree.add(_origin_line(parent)), parent, grown)
