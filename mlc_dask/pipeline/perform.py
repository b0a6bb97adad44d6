"""A whole run as one call: the checks, the cluster, the pipeline, and copies of its tables and report."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from threading import Lock
from typing import Literal, NamedTuple

from rich.console import Console

from mlc_dask.compute.backends import client_for
from mlc_dask.compute.preflight import preflight
from mlc_dask.compute.progress import StepProgress, introduce, profiled
from mlc_dask.config import Config
from mlc_dask.data.errors import FetchError, InputError, did_you_mean, naming
from mlc_dask.pipeline.figure1 import CUBE, MAPS
from mlc_dask.pipeline.formats import kinds
from mlc_dask.pipeline.inputs import Given, as_config, check_enough, check_inputs, check_leave_out, check_source
from mlc_dask.pipeline.many_tiles import Pipeline, go_through
from mlc_dask.pipeline.plan import dry_run, needs, recalled
from mlc_dask.runs.artifacts import Event, read_current
from mlc_dask.stages.evaluation import TABLES
from mlc_dask.storage.durable import atomic_write

Listener = Callable[[Event], object]

_PERFORMANCE = "performance.html"
_LAID_OUT = {
    **{f"evaluation/{name}.csv": ("evaluation", f"{name}.csv") for name in TABLES},
    "evaluation/controls.csv": ("controls", "controls.csv"),
    "evaluation/planted.csv": ("controls", "planted.csv"),
    "evaluation/reliability.csv": ("confidence", "reliability.csv"),
    "evaluation/calibration.csv": ("confidence", "calibration.csv"),
    "evaluation/sample.csv": ("evidence-blocks", "table.csv"),
    "report.html": ("report", "report.html"),
}
"""Copies in the output: the step and its file by the path of the copy."""


class Incomplete(RuntimeError):  # noqa: N818  (a state of the output)
    """A run has made and published its maps, but not all that only shows them."""


class Performed(NamedTuple):
    """The steps in the order in which they ended, and an error that names the steps that could not be made, if any."""

    events: list[Event]
    fault: Exception | None


@naming()
def run(
    config: str | Path | Config,
    *,
    until: str | None = None,
    listener: Listener | None = None,
    scheduler: Literal["configured", "current"] = "configured",
    console: Console | None = None,
) -> list[Event]:
    """Make the maps of a configuration, as ``mlc-dask run`` does, and leave the same output.

    Inputs are checked before any work. Existing results are reused, and an interrupted run continues where it
    stopped. At the end the maps are published, and the tables (``evaluation/*.csv``) and the report
    (``report.html``) are copied to the output of every place. What only shows the maps (quicklooks, the drift table,
    evaluation, report) stops no run: its error is raised when all else is finished.

    Parameters
    ----------
    config
        A configuration, or the path of its file.
    until
        Last step to run, e.g. ``"cube"``; nothing is published then. With several tiles, every tile stops there.
    listener
        Called with every :class:`~mlc_dask.runs.artifacts.Event`, one at a time, from several threads where there are
        several tiles.
    scheduler
        ``"configured"`` starts the cluster of ``[execution]`` and stops it at the end; ``"current"`` runs on the
        current Dask scheduler: the cluster of a ``distributed.Client``, or threads of this process.
    console
        Where progress is drawn; nowhere by default.

    Returns
    -------
    The steps in the order in which they ended; a step of a tile is called ``TILE/step``. Their state is ``reused`` or
    ``finished``, and ``event.artifact.open()`` opens the result.

    Raises
    ------
    InputError
        With the first error of configuration, files or cluster in one line, before any work.
    FetchError
        When a remote host does not answer.
    RuntimeError
        When the maps are published, but a step that only shows them failed; run again to make only what is missing.
    """
    return _complete(make_maps(config, until=until, listener=listener, scheduler=scheduler, console=console))


def make_maps(
    config: str | Path | Config,
    *,
    until: str | None = None,
    listener: Listener | None = None,
    scheduler: Literal["configured", "current"] = "configured",
    console: Console | None = None,
) -> Performed:
    """Do what :func:`run` does, but return the error of what only shows the maps."""
    settings, places = _checked(config, MAPS, check_inputs, until)
    done = _go(settings, places, MAPS, until=until, listener=listener, scheduler=scheduler, console=console)
    if until is None:
        for given in places.values():
            _lay_out(given.config.output)
    return done


def _complete(done: Performed) -> list[Event]:
    if done.fault is not None:
        raise done.fault
    return done.events


@naming()
def make_cube(
    config: str | Path | Config,
    *,
    until: str | None = None,
    listener: Listener | None = None,
    scheduler: Literal["configured", "current"] = "configured",
    console: Console | None = None,
) -> Performed:
    """Make only the cube of every place, as ``mlc-dask cube`` does; no old map is needed, and nothing is published.

    Parameters and errors are those of :func:`run`, and as of :func:`make_maps` the error of the quicklooks is returned.
    """
    settings, places = _checked(config, CUBE, check_source, until)
    return _go(settings, places, CUBE, until=until, listener=listener, scheduler=scheduler, console=console)


def _checked(
    config: str | Path | Config, pipeline: Pipeline, check: Callable[[Given], object], until: str | None
) -> tuple[Config, dict[str, Given]]:
    """Return the configuration and the inputs of every place, after all checks that need no cluster."""
    settings = as_config(config)
    places = recalled(settings)
    for given in places.values():
        check(given)
        check_enough(given)
    check_leave_out(places)
    if until is not None:
        steps = dry_run(settings, places, pipeline)
        names = list(dict.fromkeys(event.step.rpartition("/")[2] for event in steps))
        if until not in names:
            raise InputError(f"there is no step {until!r}; {did_you_mean(until, names)}")
    return settings, places


def _go(
    config: Config,
    places: Mapping[str, Given],
    pipeline: Pipeline,
    *,
    until: str | None = None,
    listener: Listener | None = None,
    scheduler: Literal["configured", "current"] = "configured",
    console: Console | None = None,
) -> Performed:
    """Run a pipeline on a cluster, or in threads of this process where the current scheduler is threaded."""
    ended: list[Event] = []
    missing: list[Event] = []
    listeners, in_turn = [listener] if listener else [], Lock()

    def tell(event: Event) -> None:
        with in_turn:
            if event.state in ("reused", "finished"):
                ended.append(event)
            elif event.state in ("failed", "skipped"):
                missing.append(event)
            for one in listeners:
                one(event)

    with client_for(config.execution, scheduler) as client, ExitStack() as shown:
        if client is not None:
            preflight(client, needs(config, places, pipeline))
            introduce(console, client, config.classifier)
            shown.enter_context(profiled(console, config.output / _PERFORMANCE))
            listeners.insert(0, shown.enter_context(StepProgress(console, client, _colours(places))))
        go_through(config, places, pipeline, kinds(config.execution.patch), until=until, listener=tell)
    return Performed(ended, _fault(missing))


def _colours(places: Mapping[str, Given]) -> Mapping[int, str]:
    """Colours of the classes, which all places share; none where only the cube is made."""
    first = next(iter(places.values()))
    return first.legend.colours if first.config.product else {}


def _fault(missing: Sequence[Event]) -> Exception | None:
    """Return one error for all results that are only shown and could not be made, of the kind that says what to do.

    Bad input must be corrected, a failed fetch is made again by another run, anything else is unexpected.
    """
    steps: dict[BaseException, list[str]] = {}
    for event in missing:
        assert event.error is not None
        steps.setdefault(event.error, []).append(event.step)
    if not steps:
        return None
    why = "; ".join(f"{', '.join(names)} not made: {_in_words(error)}" for error, names in steps.items())
    fault = _of_kind(steps, f"{why}; all other results are finished")
    fault.__cause__ = next(iter(steps))
    return fault


def _of_kind(errors: Iterable[BaseException], why: str) -> Exception:
    if all(isinstance(error, FetchError) for error in errors):
        what, _, reason = why.partition(": ")
        return FetchError(what, reason)
    known = all(isinstance(error, InputError | FetchError) for error in errors)
    return (InputError if known else Incomplete)(f"{why}; correct this and run again: only what is missing is made")


def _in_words(error: BaseException) -> str:
    if isinstance(error, FetchError):
        return ": ".join(error.args)
    return str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"


def _lay_out(output: Path) -> None:
    """Copy the tables and the report to the places that the documentation names; remove those of an earlier run."""
    current = read_current(output)
    for copy, (step, name) in _LAID_OUT.items():
        if step in current:
            atomic_write(output / copy, (current[step].folder / name).read_bytes())
        else:
            (output / copy).unlink(missing_ok=True)
