"""The command line, ``mlc-dask``: plan, run and inspect runs, with the same pipeline as a notebook."""

from __future__ import annotations

import functools
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from mlc_dask import pipeline, show, worlds
from mlc_dask.data.errors import Doubt, InputError, OutdatedSetting, naming
from mlc_dask.runs.records import explain
from mlc_dask.storage.durable import atomic_write, on_a_disk

if TYPE_CHECKING:
    from mlc_dask.config import Config

FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Consistent annual land-cover maps from Sentinel-2, on Dask."
)
console = Console(width=None if sys.stdout.isatty() else 120)

ConfigPath = Annotated[Path, typer.Argument(help="Configuration file; mlc-dask init writes one.")]
Output = Annotated[Path, typer.Argument(help="Output folder of a run.")]
Workers = Annotated[int | None, typer.Option(min=1, help="Number of worker processes; by default as configured.")]
Accept = Annotated[
    bool, typer.Option("--accept-radiometry", help="Use acquisitions whose dark pixels contradict their offset.")
]
Until = Annotated[str | None, typer.Option(help="Last step to run, e.g. cube or forests.")]


def _errors_in_one_line(command: Callable[..., None]) -> Callable[..., None]:
    """Print an error as one line and exit with its code; after an interruption, say how to continue."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        try:
            with _warnings_in_one_line(), naming():
                command(*args, **kwargs)
        except KeyboardInterrupt:
            console.print("interrupted; run the same command again to continue where it stopped")
            raise typer.Exit(INTERRUPTED) from None
        except (typer.Exit, typer.Abort):
            raise
        except Exception as error:
            show.terminal.show_error(console, error)
            raise typer.Exit(BAD_INPUT if isinstance(error, InputError) else FAILED) from None

    return wrapped


@contextmanager
def _warnings_in_one_line() -> Iterator[None]:
    """Print the warnings of this package as the command line prints messages, without a file and line of Python."""
    usual = warnings.showwarning

    def show_line(message: Warning | str, category: type[Warning], *args: Any, **kwargs: Any) -> None:
        if issubclass(category, (Doubt, OutdatedSetting)):
            show.terminal.show_warning(console, str(message))
        else:
            usual(message, category, *args, **kwargs)

    warnings.showwarning = show_line
    try:
        yield
    finally:
        warnings.showwarning = usual


@app.command()
@_errors_in_one_line
def init(path: Annotated[Path, typer.Argument(help="File to write.")] = Path("mlc.toml")) -> None:
    """Write a commented configuration."""
    # Building its models takes a quarter of a second, which no help text should cost.
    from mlc_dask.config import commented

    try:
        atomic_write(path, commented().encode(), exclusive=True)
    except FileExistsError:
        raise InputError(f"{path} already exists; choose another name or remove it") from None
    console.print(f"wrote {path}; edit source.folder and product.path, then: mlc-dask plan {path}")


@app.command()
@_errors_in_one_line
def plan(
    config: ConfigPath,
    calendar: Annotated[Path | None, typer.Option(help="Also write the calendar of acquisitions as a PNG.")] = None,
) -> None:
    """Show which acquisitions a run would use and why, how much it would read and hold, and what it would reuse."""
    made = pipeline.plan.plan(config)
    for tile, own in made.places.items():
        show.terminal.show_plan(console, tile, own.selection, own.facts, own.notes)
        show.terminal.warn_of_space(console, own.output, own.bytes_written)
        if calendar is not None:
            show.terminal.save_calendar(console, tile, own.selection, calendar)
    show.terminal.show_steps(console, made.steps)
    if made.infeasible is not None:
        raise made.infeasible


@app.command()
@_errors_in_one_line
def run(config: ConfigPath, until: Until = None, workers: Workers = None, accept_radiometry: Accept = False) -> None:
    """Make the maps. Finished steps are reused, and an interrupted run continues where it stopped."""
    settings = _adjusted(pipeline.inputs.as_config(config), workers, accept_radiometry)
    events, fault = pipeline.perform.make_maps(settings, until=until, console=console)
    show.terminal.show_left_out(console, events)
    made = {e.step: e.artifact.open for e in events}
    if until is not None and fault is None:
        console.print(f"stopped after {until}, as requested")
    elif until is None:
        for name, given in pipeline.inputs.given_places(settings).items():
            tile = f"{name}/" if name else ""
            shown = ("evaluation", "drift", "controls", "confidence")
            tables, drift, controls, scores = (made.get(f"{tile}{step}", _nothing)() for step in shown)
            show.terminal.show_results(
                console, name, given.config.output, tables, drift, controls and controls["controls"], scores
            )
    _raise(fault)


@app.command()
@_errors_in_one_line
def cube(
    config: Annotated[Path, typer.Argument(help="Configuration file; with --info also a cube or the output of a run.")],
    info: Annotated[bool, typer.Option("--info", help="Only show the contents of a cube.")] = False,
    accept_radiometry: Accept = False,
    workers: Workers = None,
) -> None:
    """Make only the cube, the paired acquisitions of the source on one grid, and a quicklook of each."""
    if info:
        show.terminal.show_cube(console, pipeline.plan.find_cube(config))
        return
    settings = _adjusted(pipeline.inputs.as_config(config), workers, accept_radiometry)
    events, fault = pipeline.perform.make_cube(settings, console=console)
    show.terminal.show_left_out(console, events)
    for event in events:
        show.terminal.show_made(console, event)
    _raise(fault)


@app.command()
@_errors_in_one_line
def demo(
    output: Annotated[Path, typer.Argument(help="Folder for the world, its configuration and the maps.")] = Path(
        "mlc-demo"
    ),
    size: Annotated[int, typer.Option(min=64, help="Edge of the synthetic world in pixels.")] = 512,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the synthetic world.")] = 0,
    until: Until = None,
    workers: Workers = None,
) -> None:
    """Make a synthetic world with planted truth, and map it from end to end."""
    on_a_disk(output)
    with console.status(f"making a world of {size} × {size} pixels"):
        config = worlds.write_demo(output, size=size, seed=seed)
    run(config, until=until, workers=workers)


@app.command()
@_errors_in_one_line
def status(config: ConfigPath) -> None:
    """Show which steps are done and which are not."""
    show.terminal.show_status(console, pipeline.plan.dry_run(pipeline.inputs.as_config(config)))


@app.command("explain")
@_errors_in_one_line
def explain_result(
    output: Output,
    artifact: Annotated[str, typer.Argument(help="Layer, step, or the beginning of an artifact's name.")],
) -> None:
    """Show where a result came from: its step and settings, and those of all its inputs."""
    show.terminal.show_origin(console, explain(output, artifact))


@app.command()
@_errors_in_one_line
def view(
    output: Output,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0 takes any free port.")] = 8790,
) -> None:
    """Show the maps of a finished run in the browser of this machine, until Ctrl-C."""
    with _extra_view():
        from mlc_dask.show.viewer import app as viewer
        from mlc_dask.show.viewer.places import open_places
    with viewer.listen(port) as listening:
        page = viewer.make_app(open_places(output))
        console.print(f"http://{viewer.HOST}:{listening.getsockname()[1]}/    (Ctrl-C stops)", highlight=False)
        viewer.serve(page, listening)


@app.command()
@_errors_in_one_line
def interpret(
    output: Output,
    folder: Annotated[Path, typer.Argument(help="Folder of a reference sample of this run.")],
    name: Annotated[str, typer.Option("--as", help="Name of the interpreter; answers go to FOLDER/labels/NAME.csv.")],
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0 takes any free port.")] = 8791,
) -> None:
    """Label a reference sample in the browser of this machine, blind to the maps, until Ctrl-C."""
    with _extra_view():
        from mlc_dask.show.viewer import app as viewer
        from mlc_dask.show.viewer.interpret import interpretation
    with viewer.listen(port) as listening, interpretation(output, folder, name) as page:
        console.print(f"http://{viewer.HOST}:{listening.getsockname()[1]}/    (Ctrl-C stops)", highlight=False)
        viewer.serve(page, listening)


@app.command()
@_errors_in_one_line
def export(
    output: Output,
    folder: Annotated[Path, typer.Argument(help="Target: a new folder, or an earlier export of the same maps.")],
    layer: Annotated[
        list[str] | None, typer.Option("--layer", help="Layer to write, e.g. multi_year_filtered; all by default.")
    ] = None,
    license: Annotated[  # noqa: A002  (STAC's word)
        str, typer.Option(help="License of the maps: an SPDX identifier such as CC-BY-4.0.")
    ] = "other",
) -> None:
    """Write the maps of a finished run as GeoTIFFs (COG), a STAC catalogue and a multiscale Zarr group."""

    def show_file(path: Path, reused: bool) -> None:
        console.print(f"{path}  {'reused' if reused else f'{path.stat().st_size:,} bytes'}", highlight=False)

    catalogue = show.export_maps(output, on_a_disk(folder), layers=layer, license=license, listener=show_file)
    console.print(f"catalogue: {catalogue}", soft_wrap=True, highlight=False)


@app.command()
@_errors_in_one_line
def sample(
    output: Output,
    folder: Annotated[Path, typer.Argument(help="New folder for the points, the strata and the design.")],
    size: Annotated[int | None, typer.Option(min=1, help="Number of points; by default as --se needs.")] = None,
    se: Annotated[float, typer.Option(help="Expected standard error of the accuracy.")] = 0.01,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the draw.")] = 0,
    layer: Annotated[
        list[str] | None, typer.Option("--layer", help="One or two layers whose change makes the strata.")
    ] = None,
) -> None:
    """Design and draw a reference sample of the maps: points to interpret, stratified by change."""
    drawn = pipeline.reference.sample(output, on_a_disk(folder), size=size, se=se, seed=seed, layers=layer)
    show.accuracy.show_sample(console, drawn, folder)


@app.command()
@_errors_in_one_line
def assess(
    output: Output,
    reference: Annotated[
        Path, typer.Argument(help="Folder of a sample with labels, or a CSV, GeoPackage or GeoParquet of points.")
    ],
    layer: Annotated[list[str] | None, typer.Option("--layer", help="Layer to judge; by default all.")] = None,
    strata: Annotated[Path | None, typer.Option(help="CSV of strata of a table of points: stratum, pixels.")] = None,
    crs: Annotated[
        str | None, typer.Option(help="CRS of x and y in a CSV, e.g. EPSG:4326; by default that of the maps.")
    ] = None,
    interpreter: Annotated[str | None, typer.Option(help="Whose labels count; by default the first by name.")] = None,
) -> None:
    """Estimate accuracy, areas and change of the maps from reference points, with 95 % intervals."""
    made = pipeline.reference.assess(output, reference, layers=layer, strata=strata, crs=crs, interpreter=interpreter)
    show.accuracy.show_assessment(console, made.tables, made.interpreters, made.folder)


@contextmanager
def _extra_view() -> Iterator[None]:
    """Say how to install what the viewer imports."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise InputError(f'the viewer needs {error.name}; install it with: pip install "mlc-dask[view]"') from None


def _nothing() -> None:
    """Stand for a table that could not be made."""


def _raise(fault: Exception | None) -> None:
    """Raise the error of what only shows the results, after all else is shown."""
    if fault is not None:
        raise fault


def _adjusted(config: Config, workers: int | None, accept: bool) -> Config:
    """Return the configuration with the options of the command line applied."""
    execution = config.execution.model_copy(update={"workers": workers or config.execution.workers})
    acquisitions = replace(config.acquisitions, accept_radiometry=True) if accept else config.acquisitions
    return config.model_copy(update={"execution": execution, "acquisitions": acquisitions})
