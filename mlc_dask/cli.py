"""The command line, ``mlc-dask``: plan, run and ask about runs, with the same pipeline as a notebook."""

from __future__ import annotations

import functools
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from mlc_dask import compute, pipeline, show, worlds
from mlc_dask.config import Config, commented, load_config
from mlc_dask.data.errors import FetchError, InputError
from mlc_dask.runs.artifacts import Event, read_current
from mlc_dask.runs.records import Origin, explain
from mlc_dask.storage.durable import atomic_write, on_a_disk

if TYPE_CHECKING:
    import xarray as xr

    from mlc_dask.data.acquisitions import Catalogue
    from mlc_dask.pipeline import Pipeline, Plan

FAILED = 1
BAD_INPUT = 2
INTERRUPTED = 130

_PERFORMANCE = "performance.html"

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Consistent annual land-cover maps from Sentinel-2, on Dask."
)
console = Console(width=None if sys.stdout.isatty() else 120)

ConfigPath = Annotated[Path, typer.Argument(help="Configuration file; mlc-dask init writes one.")]
Output = Annotated[Path, typer.Argument(help="Output folder of a run.")]
Workers = Annotated[int | None, typer.Option(min=1, help="Worker processes; as configured by default.")]
Accept = Annotated[
    bool, typer.Option("--accept-radiometry", help="Use acquisitions whose dark pixels contradict their offset.")
]
Until = Annotated[str | None, typer.Option(help="Last step to do, e.g. cube or forests.")]


def _told(command: Callable[..., None]) -> Callable[..., None]:
    """Turn bad input into one line and exit code 2, and an interruption into the way on."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except (InputError, FetchError) as error:
            # As text: a path or a pattern may hold what looks like markup.
            console.print(Text.assemble(("error: ", "bold red"), str(error)), soft_wrap=True, highlight=False)
            raise typer.Exit(BAD_INPUT if isinstance(error, InputError) else FAILED) from None
        except KeyboardInterrupt:
            console.print("interrupted; the same command goes on where it stopped")
            raise typer.Exit(INTERRUPTED) from None

    return wrapped


@app.command()
@_told
def init(path: Annotated[Path, typer.Argument(help="File to write.")] = Path("mlc.toml")) -> None:
    """Write a commented configuration."""
    try:
        atomic_write(path, commented().encode(), exclusive=True)
    except FileExistsError:
        raise InputError(f"{path} exists; choose another name or remove it") from None
    console.print(f"wrote {path}; edit source.folder and product.path, then: mlc-dask plan {path}")


@app.command()
@_told
def plan(
    config: ConfigPath,
    calendar: Annotated[Path | None, typer.Option(help="Also write the calendar of acquisitions as a PNG.")] = None,
) -> None:
    """Show which acquisitions would be used and why, how much is read and held, and what would be reused."""
    settings = load_config(config)
    for tile, own in pipeline.places(settings).items():
        pipeline.check_inputs(own, pipeline.known_catalogue(own))
        found = pipeline.make_plan(own)
        if tile:
            console.print(f"\n[bold]{tile}[/]")
        _show_plan(found, own)
        if calendar is not None:
            path = calendar.with_stem(f"{calendar.stem}-{tile}") if tile else calendar
            atomic_write(path, show.calendar_png(found.selection))
            console.print(f"calendar: {path}")
    _show_steps(pipeline.dry_run(settings))


@app.command()
@_told
def run(config: ConfigPath, until: Until = None, workers: Workers = None, accept_radiometry: Accept = False) -> None:
    """Make the maps; what is done already is reused, an interrupted run goes on where it stopped."""
    _run(_adjusted(load_config(config), workers, accept_radiometry), until)


@app.command()
@_told
def cube(
    config: Annotated[Path, typer.Argument(help="Configuration file; with --info also a cube or the output of a run.")],
    info: Annotated[bool, typer.Option("--info", help="Only show what a cube holds.")] = False,
    accept_radiometry: Accept = False,
    workers: Workers = None,
) -> None:
    """Make the cube alone: from the source to the paired acquisitions on one grid, and a quicklook of each."""
    if info:
        _show_cube(pipeline.find_cube(config))
        return
    settings = _adjusted(load_config(config), workers, accept_radiometry)
    known = {
        tile: pipeline.check_source(own, pipeline.known_catalogue(own))
        for tile, own in pipeline.places(settings).items()
    }
    made = {event.step: event.artifact.folder for event in _perform(settings, pipeline.CUBE, None, known)}
    for tile in pipeline.places(settings):
        where = f"{tile}/" if tile else ""
        console.print(
            f"{where}cube: mlc_dask.open_cube({str(made[f'{where}cube'])!r})", soft_wrap=True, highlight=False
        )
        console.print(f"{where}quicklooks: {made[f'{where}quicklooks']}", soft_wrap=True, highlight=False)


@app.command()
@_told
def demo(
    output: Annotated[Path, typer.Argument(help="Folder for the world, its configuration and the maps.")] = Path(
        "mlc-demo"
    ),
    size: Annotated[int, typer.Option(min=64, help="Edge of the synthetic world in pixels.")] = 512,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the synthetic world.")] = 0,
    until: Until = None,
    workers: Workers = None,
) -> None:
    """Make a synthetic world with planted truth, and its maps from end to end."""
    on_a_disk(output)
    with console.status(f"making a world of {size} × {size} pixels"):
        config = worlds.write_demo(output, size=size, seed=seed)
    run(config, until=until, workers=workers)


@app.command()
@_told
def status(config: ConfigPath) -> None:
    """Show which steps are done and which are not."""
    settings = load_config(config)
    table = Table("step", "state", "result", box=None)
    for event in pipeline.dry_run(settings):
        state = "done" if event.state == "reused" else f"to do ({event.reason})"
        table.add_row(event.step, state, event.artifact.folder.name)
    console.print(table)


@app.command("explain")
@_told
def explain_result(
    output: Output, artifact: Annotated[str, typer.Argument(help="Layer, step, or beginning of an artifact's name.")]
) -> None:
    """Show where a result came from: the step, its settings, and those of its inputs."""
    origin = explain(output, artifact)
    tree = Tree(_origin_line(origin))
    _grow(tree, origin)
    console.print(tree)


@app.command()
@_told
def view(
    output: Output,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of 127.0.0.1; 0 for any free one.")] = 8790,
) -> None:
    """Show the maps of a finished run in the browser of this machine, until Ctrl-C."""
    try:
        from mlc_dask.show.viewer import app as viewer
        from mlc_dask.show.viewer.places import open_places
    except ModuleNotFoundError as error:
        raise InputError(f'the viewer needs {error.name}; install it with: pip install "mlc-dask[view]"') from None
    with viewer.listen(port) as listening:
        page = viewer.make_app(open_places(output))
        console.print(f"http://{viewer.HOST}:{listening.getsockname()[1]}/    (Ctrl-C ends)", highlight=False)
        viewer.serve(page, listening)


@app.command()
@_told
def export(
    output: Output,
    folder: Annotated[Path, typer.Argument(help="Where to: a new folder, or an earlier export of the same maps.")],
    layer: Annotated[
        list[str] | None, typer.Option("--layer", help="Layer to write, e.g. multi_year_filtered; all by default.")
    ] = None,
    license: Annotated[  # noqa: A002  (STAC's word)
        str, typer.Option(help="License of the maps: an SPDX identifier such as CC-BY-4.0.")
    ] = "other",
) -> None:
    """Write the maps of a finished run as GeoTIFFs (COG), a STAC catalogue and a multiscale Zarr group."""

    def told(path: Path, reused: bool) -> None:
        console.print(f"{path}  {'reused' if reused else f'{path.stat().st_size:,} bytes'}", highlight=False)

    catalogue = show.export_maps(output, on_a_disk(folder), layers=layer, license=license, listener=told)
    console.print(f"catalogue: {catalogue}", soft_wrap=True, highlight=False)


def _adjusted(config: Config, workers: int | None, accept: bool) -> Config:
    """Return the configuration with what the command line says otherwise."""
    update: dict[str, Any] = {}
    if workers is not None:
        update["execution"] = config.execution.model_copy(update={"workers": workers})
    if accept:
        update["acquisitions"] = config.acquisitions.model_copy(update={"accept_radiometry": True})
    return config.model_copy(update=update)


def _run(config: Config, until: str | None) -> None:
    known = {tile: pipeline.known_catalogue(own) for tile, own in pipeline.places(config).items()}
    for tile, own in pipeline.places(config).items():
        pipeline.check_inputs(own, known[tile])
    steps = {event.step.rpartition("/")[2] for event in pipeline.dry_run(config)}
    if until is not None and until not in steps:
        raise InputError(f"there is no step {until!r}; choose one of {', '.join(sorted(steps))}")
    _perform(config, pipeline.MAPS, until, known)
    if until is not None:
        console.print(f"stopped after {until}, as asked")
        return
    for tile, own in pipeline.places(config).items():
        if tile:
            console.print(f"\n[bold]{tile}[/]")
        _lay_out(own.output)
        _summarise(own.output)


def _perform(config: Config, steps: Pipeline, until: str | None, catalogues: Mapping[str, Catalogue]) -> list[Event]:
    """Go through a pipeline on the configured cluster; returns the steps."""
    with compute.connect(config.execution) as client:
        compute.introduce(console, client)
        compute.preflight(client, pipeline.needs(config, catalogues))
        with compute.profiled(console, config.output / _PERFORMANCE), compute.StepProgress(console, client) as progress:
            own = pipeline.kinds(config.execution.patch)
            return pipeline.go_through(config, steps, own, until=until, listener=progress, facts=progress.facts)


def _lay_out(output: Path) -> None:
    """Put the tables and the report where people look for them."""
    current = read_current(output)
    for step, names, folder in (
        ("evaluation", ("agreement.csv", "summary.csv"), output / "evaluation"),
        ("report", ("report.html",), output),
    ):
        for name in names:
            atomic_write(folder / name, (current[step].folder / name).read_bytes())


def _summarise(output: Path) -> None:
    figures = show.key_figures(pipeline.open_tables(output / "evaluation").summary)
    table = Table(*(str(c) for c in figures.columns), box=None)
    for row in figures.itertuples(index=False):
        table.add_row(*(f"{v:.3f}" if isinstance(v, float) else str(v) for v in row))
    console.print(table)
    console.print(f"maps: mlc_dask.open_maps({str(output)!r})    report: {output / 'report.html'}", highlight=False)


def _show_plan(found: Plan, config: Config) -> None:
    console.print(show.calendar_text(found.selection, console.width))
    for year, rows in found.selection.chosen.items():
        table = Table("date", "acquisition", "orbit", "cloud", "valid", "why", box=None, title=f"{year}")
        everything = [(s, "chosen") for s in rows] + [(s, s.reason) for s in found.selection.rejected[year]]
        for s, why in sorted(everything, key=lambda e: e[0].acquisition.time):
            a, w = s.acquisition, s.weather
            shown = (f"{a.time:%Y-%m-%d}", a.id, str(a.orbit or "–"), f"{w.cloud:.0%}", f"{w.valid:.0%}", why)
            table.add_row(*shown, style="bold" if why == "chosen" else "dim")
        console.print(table)
    facts = Table("what", "figure", box=None)
    for name, value in found.facts.items():
        facts.add_row(name, value)
    console.print(facts)
    free = shutil.disk_usage(next(p for p in [config.output, *config.output.parents] if p.exists())).free
    if free < found.bytes_written:
        console.print(
            f"[bold yellow]warning:[/] {config.output} has {free / 1e9:.1f} GB free, less than will be written"
        )


def _show_steps(events: Sequence[Event]) -> None:
    steps = Table("step", "plan", box=None)
    for event in events:
        steps.add_row(event.step, "reuse" if event.state == "reused" else f"compute ({event.reason})")
    console.print(steps)


def _show_cube(cube: xr.Dataset) -> None:
    """Print what a cube holds: its size and grid, and every acquisition."""
    from mlc_dask.data.grids import Grid

    grid, sizes = Grid.of_raster(cube), cube.sizes
    facts = Table("what", "figure", box=None)
    for name, value in {
        "grid": grid.label,
        "years": ", ".join(str(y) for y in cube.year.values),
        "acquisitions a year": str(sizes["acquisition"]),
        "bands": ", ".join(cube.band.values.tolist()),
        "size": f"{cube.nbytes / 1e9:.2f} GB before compression",
    }.items():
        facts.add_row(name, value)
    console.print(facts)
    rows = Table("year", "date", "acquisition", "baseline", "cloud", "valid", box=None)
    for year in cube.year.values.tolist():
        one = cube.sel(year=year)
        for time, name, baseline, cloud, valid in zip(
            *(one[c].values for c in ("time", "id", "baseline", "cloud", "valid")), strict=True
        ):
            rows.add_row(str(year), str(time)[:10], name, baseline or "–", f"{cloud:.0%}", f"{valid:.0%}")
    console.print(rows)


def _origin_line(origin: Origin) -> str:
    record = origin.record
    if record is None:
        return f"{origin.name} {origin.fingerprint[:16]} (given)"
    engines = f" on {', '.join(record['engines'])}" if "engines" in record else ""
    return f"[bold]{origin.name}[/] {origin.fingerprint[:16]}  {record['function']}{engines}  {record['finished']}"


def _grow(tree: Tree, origin: Origin) -> None:
    if origin.record is not None and origin.record["settings"]:
        tree.add(f"[dim]{origin.record['settings']}[/]")
    for parent in origin.inputs:
        _grow(tree.add(_origin_line(parent)), parent)


def main() -> None:
    """Entry point of ``python -m mlc_dask``."""
    sys.exit(app())
