"""What a person sees of a run: one line a step with its tasks, the time left, and the epochs of running trainings."""

from __future__ import annotations

import threading
import time
from collections import Counter
from types import TracebackType
from typing import Any, Self

from distributed import Client
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from mlc_dask.run import Event
from mlc_dask.stages.classification import ENGINE_TOPIC, TRAINING_TOPIC

_POLL_SECONDS = 0.5


def count_tasks(since: float, dask_scheduler: Any = None) -> tuple[int, int]:
    """Tasks done and tasks in all of the computations that began after `since`; runs on the scheduler."""
    done = total = 0
    for computation in dask_scheduler.computations:
        if computation.start >= since:
            states = computation.states
            done += sum(states.get(s, 0) for s in ("memory", "released", "forgotten", "erred"))
            total += sum(states.values())
    return done, total


class StepProgress:
    """Listener of a :class:`mlc_dask.run.Run` that draws a progress bar for the running step."""

    def __init__(self, console: Console, client: Client) -> None:
        self._console, self._client = console, client
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
        self._current: Any = None
        self._since = 0.0
        self._epochs: dict[str, str] = {}
        self._engines: Counter[str] = Counter()

    def __enter__(self) -> Self:
        self._client.subscribe_topic(TRAINING_TOPIC, self._on_epoch)
        self._client.subscribe_topic(ENGINE_TOPIC, self._on_block)
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
        """Take one event of the run."""
        match event.state:
            case "started":
                self._epochs.clear()
                self._engines.clear()
                self._since = time.time()
                self._current = self._progress.add_task(event.step, total=None, detail=_because(event.reason))
            case "reused":
                self._progress.add_task(event.step, total=1, completed=1, detail="reused")
                self._say(f"{event.step}: reused")
            case "finished" | "failed":
                task, self._current = self._current, None
                total = self._progress.tasks[task].total or 1
                done = total if event.state == "finished" else self._progress.tasks[task].completed
                self._progress.update(task, total=total, completed=done, detail=event.state)
                self._progress.stop_task(task)
                self._say(f"{event.step}: {event.state} after {event.seconds:.1f} s")

    def facts(self) -> dict[str, Any]:
        """Return what the record of the running step shall say: the pixels that every engine classified."""
        return {"engines": dict(self._engines)} if self._engines else {}

    def _say(self, line: str) -> None:
        """Print a line where there is no terminal for bars, as in a log."""
        if not self._console.is_terminal:
            self._console.print(line, highlight=False)

    def _on_epoch(self, event: Any) -> None:
        row = event[1]
        self._epochs[row["model"]] = f"{row['model']} epoch {row['epoch']} loss {row['train_loss']:.3f}"

    def _on_block(self, event: Any) -> None:
        self._engines[event[1]["engine"]] += event[1]["pixels"]

    def _poll(self) -> None:
        while not self._stop.wait(_POLL_SECONDS):
            task = self._current
            if task is None:
                continue
            try:
                done, total = self._client.run_on_scheduler(count_tasks, self._since)
            except (OSError, RuntimeError):
                continue
            if task is self._current and total:
                self._progress.update(task, completed=done, total=total, detail=", ".join(self._epochs.values()))


def _because(reason: str) -> str:
    """Why a step is done again, where that is worth a word."""
    return "" if reason in ("", "not computed yet") else reason
