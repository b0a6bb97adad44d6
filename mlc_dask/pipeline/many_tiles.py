"""Several tiles in one run: each tile has a run of its own, and one joint run makes the models that tiles share.

The run of a tile is like any other: its folder below the output can be inspected and opened alone. Phases that do not
need other tiles run for a few tiles at once, so the cluster stays busy while the last patches of one tile finish.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Any, NamedTuple, TypeVar

from mlc_dask.config import Config
from mlc_dask.pipeline.inputs import Given
from mlc_dask.runs.artifacts import Event, Kind, StopRun
from mlc_dask.runs.run import Run

T = TypeVar("T")


class PerTile(dict[str, T]):
    """One value for every tile."""


def _nothing(given: Given) -> Iterable[Path]:
    return ()


class Pipeline(NamedTuple):
    """The pipeline for a single place and for several tiles, and the files that workers read besides the source."""

    one: Callable[[Run, Given], object]
    many: Callable[[Tiles, Config], object]
    reads: Callable[[Given], Iterable[Path]] = _nothing


class Tiles:
    """The runs of all tiles, and `joint`, the run of the steps that they share; a context manager, as runs are.

    Parameters
    ----------
    config
        Configuration of all tiles.
    places
        Inputs of every tile by its name.
    begin
        Makes the run of a configuration. It is called with the configuration and the name of every tile, and with the
        whole configuration and "".
    """

    def __init__(self, config: Config, places: Mapping[str, Given], begin: Callable[[Config, str], Run]) -> None:
        self.names = list(places)
        self.joint = begin(config, "")
        self._places = places
        self._runs = {name: begin(given.config, name) for name, given in places.items()}
        self._pool = ThreadPoolExecutor(config.execution.tiles_at_once, thread_name_prefix="tile")
        self._open = ExitStack()
        self._errors: list[BaseException] = []

    def __enter__(self) -> Tiles:
        with ExitStack() as opened:
            for run in (self.joint, *self._runs.values()):
                opened.enter_context(run)
            self._open = opened.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        # An interruption does not wait: the tasks of running steps end with the client of the cluster, then the locks.
        release = Thread(target=self._release)
        release.start()
        if error is None or isinstance(error, Exception):
            release.join()

    def _release(self) -> None:
        """Release the locks of the outputs once no tile writes."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._open.close()

    @property
    def steps(self) -> list[Event]:
        """Steps of all runs; a step of a tile is called ``TILE/step``."""
        own = [replace(e, step=f"{name}/{e.step}") for name, run in self._runs.items() for e in run.steps]
        return own + self.joint.steps

    def each(self, phase: Callable[..., T], *given: Any) -> PerTile[T]:
        """Call ``phase(run, inputs, *given)`` for every tile.

        An argument of type :class:`PerTile` is replaced by the value for that tile.

        Raises
        ------
        StopRun
            When every tile has reached the last wanted step.
        """
        tasks: dict[str, Future[T]] = {}
        for name, run in self._runs.items():
            own = [g[name] if isinstance(g, PerTile) else g for g in given]
            tasks[name] = self._pool.submit(self._until_stopped, phase, run, self._places[name], own)
        wait(tasks.values(), return_when=FIRST_EXCEPTION)
        if self._errors:
            raise self._errors[0]
        results = {name: task.result() for name, task in tasks.items()}
        for value in results.values():
            if isinstance(value, StopRun):
                raise value
        return PerTile(results)

    def _until_stopped(self, phase: Callable[..., Any], run: Run, inputs: Given, given: list[Any]) -> Any:
        """Call a phase unless a tile has failed.

        StopRun is returned, so that a tile that has reached the last step does not stop the others.
        """
        if self._errors:
            return None
        try:
            return phase(run, inputs, *given)
        except StopRun as stopped:
            return stopped
        except BaseException as error:
            self._errors.append(error)
            raise


def go_through(
    config: Config,
    places: Mapping[str, Given],
    pipeline: Pipeline,
    kinds: Mapping[str, Kind],
    *,
    until: str | None = None,
    listener: Callable[[Event], object] | None = None,
    dry: bool = False,
) -> list[Event]:
    """Run a pipeline for the place, or for all tiles, of a configuration; returns the steps, tile by tile.

    Parameters
    ----------
    places
        Inputs of every tile by name; a single place has the name ``""``.
    until
        Name of the last step, without the name of a tile: every tile stops there.
    listener, dry
        As in :class:`~mlc_dask.runs.run.Run`; a step of a tile is called ``TILE/step``.
    """

    def begin(own: Config, name: str) -> Run:
        place = f"{name}/" if name else ""
        return Run(
            own.output,
            kinds,
            listener=listener and (lambda event: listener(replace(event, step=place + event.step))),
            until=until,
            dry=dry,
        )

    if config.tiles is None:
        with begin(config, "") as run, suppress(StopRun):
            pipeline.one(run, places[""])
        return run.steps
    with Tiles(config, places, begin) as tiles, suppress(StopRun):
        pipeline.many(tiles, config)
    return tiles.steps
