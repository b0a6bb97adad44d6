"""Progress of a run for its user: one line per step with its tasks, the time left, and the epochs of its trainings."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from distributed import Client, performance_report
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from mlc_dask.classifiers.protocol import Classifier, Epoch
from mlc_dask.io.patchstore.store import PatchStore
from mlc_dask.lazy import PATCH_TOPIC, announce, tell_colours
from mlc_dask.runs.artifacts import Event
from mlc_dask.stages.classification import TRAINING_TOPIC

_POLL_SECONDS = 0.5
_OF_PATCHES = ("cube", "product", "maps")
"""Kinds of results that are stored in patches."""


def count_tasks(since: float, dask_scheduler: Any = None) -> tuple[int, int]:
    """Finished tasks and all tasks of the computations that began after `since`; runs on the scheduler."""
    done = total = 0
    for computation in dask_scheduler.computations:
        if computation.start >= since:
            states = computation.states
            done += sum(states.get(s, 0) for s in ("memory", "released", "forgotten", "erred"))
            total += sum(states.values())
    return done, total


def shows_patches(dask_scheduler: Any = None) -> bool:
    """Whether the scheduler's dashboard has the map of patches; runs on the scheduler."""
    return PATCH_TOPIC in dask_scheduler.plugins


def introduce(console: Console | None, client: Client, classifier: Classifier) -> None:
    """Print the address of the dashboard and the engines of the classifier on the workers, as far as they are known.

    Without a console it prints nothing.
    """
    if console is None:
        return
    facts = {"dashboard": partial(_dashboard, client), "engines": partial(_engines, client, classifier)}
    for name, fact in facts.items():
        try:
            shown = fact()
        except Exception as error:  # what is only shown fails no run, e.g. a link that names a variable of a hub
            shown = f"not available ({error!r})"
        console.print(f"{name}: {shown}", highlight=False, markup=False)


def _dashboard(client: Client) -> str:
    link = str(client.dashboard_link)
    page = client.run_on_scheduler(shows_patches)
    return link + (f"    patches: {link.removesuffix('/status')}/{PATCH_TOPIC}" if page else "")


def _engines(client: Client, classifier: Classifier) -> str:
    engines = Counter(client.run(classifier.engine_here).values())
    return ", ".join(f"{name} on {n}" for name, n in engines.items())


@contextmanager
def profiled(console: Console | None, path: Path) -> Iterator[None]:
    """Save Dask's performance report; never fail the run where the report is unavailable."""
    report = performance_report(path)
    report.__enter__()
    try:
        yield
    finally:
        try:
            report.__exit__(None, None, None)
        except Exception as error:
            (console or _silent()).print(f"{path.name} was not written: {error}", highlight=False)


def _silent() -> Console:
    return Console(quiet=True)


class _Reported(Epoch):
    """The row of an epoch, and the name of the trained model."""

    model: str


class StepProgress:
    """Listener of one or several :class:`mlc_dask.runs.run.Run` that draws a progress bar for every running step.

    Without a console it draws nothing. Where the console is not a terminal, as in a log, it prints a line when a step
    ends and at some epochs of every training. `colours` are those of the classes on the map of patches.
    """

    def __init__(self, console: Console | None, client: Client, colours: Mapping[int, str] | None = None) -> None:
        console = console or _silent()
        self._console, self._client, self._colours = console, client, colours
        self._progress = Progress(
            TextColumn("{task.description:<24}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[detail]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self._stop = threading.Event()
        self._poller = threading.Thread(target=self._poll, daemon=True)
        self._running: dict[str, tuple[TaskID, float]] = {}
        self._epochs: dict[str, str] = {}

    def __enter__(self) -> Self:
        self._client.subscribe_topic(TRAINING_TOPIC, self._on_epoch)
        tell_colours(self._colours or {})
        self._progress.start()
        self._poller.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._poller.join(timeout=5)
        self._progress.stop()

    def __call__(self, event: Event) -> None:
        """Show one event of the run."""
        match event.state:
            case "started":
                self._epochs.clear()
                task = self._progress.add_task(event.step, total=None, detail=_because(event.reason))
                self._running[event.step] = (task, time.time())
            case "reused":
                self._progress.add_task(event.step, total=1, completed=1, detail="reused")
                if event.artifact.kind in _OF_PATCHES:
                    folder = event.artifact.folder
                    announce(PatchStore.at(folder), event.artifact.open(), name=folder.name)
                self._say(f"{event.step}: reused")
            case "finished" | "failed":
                task, _ = self._running.pop(event.step)
                total = self._progress.tasks[task].total or 1
                done = total if event.state == "finished" else self._progress.tasks[task].completed
                self._progress.update(task, total=total, completed=done, detail=event.state)
                self._progress.stop_task(task)
                self._say(f"{event.step}: {event.state} after {event.seconds:.1f} s")

    def _say(self, line: str) -> None:
        """Print a line where bars cannot be drawn, as in a log."""
        if not self._console.is_terminal:
            self._console.print(line, highlight=False)

    def _on_epoch(self, event: Any) -> None:
        row: _Reported = event[1]
        model, epoch, epochs, loss = row["model"], row["epoch"], row.get("epochs"), row.get("train_loss")
        self._epochs[model] = f"{model} epoch {epoch}" + ("" if loss is None else f" loss {loss:.3f}")
        if worth_a_line(epoch, epochs):
            of_all = "" if epochs is None else f" of {epochs}"
            self._say(f"{model}: epoch {epoch}{of_all}" + ("" if loss is None else f", training loss {loss:.3f}"))

    def _poll(self) -> None:
        while not self._stop.wait(_POLL_SECONDS):
            for step, (task, since) in list(self._running.items()):
                try:
                    done, total = self._client.run_on_scheduler(count_tasks, since)
                except (OSError, RuntimeError):
                    continue
                if step in self._running and total:
                    self._progress.update(task, completed=done, total=total, detail=", ".join(self._epochs.values()))


def worth_a_line(epoch: int, epochs: int | None) -> bool:
    """Whether a log names this epoch: the first, the last, and about ten in between; or every tenth of unknown many."""
    return epoch in (1, epochs) or epoch % max(1, (epochs or 100) // 10) == 0


def _because(reason: str) -> str:
    """Why a step is computed again; empty for a step that was never computed."""
    return "" if reason in ("", "not computed yet") else reason
