"""The state of every patch of a run, derived from the transitions of tasks that the scheduler sees anyway."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from distributed import SchedulerPlugin

from mlc_dask.lazy import PATCH_TOPIC, only_reads

NAME: Final = PATCH_TOPIC

STATES: Final = ("waiting", "reading", "classifying", "writing", "done", "failed", "reused")

_SHARED: Final = 9
"""A task shared by more patches than this (a filter's neighbourhood has nine) is attributed to none of them."""

_WINDOW: Final = 120.0
"""Seconds over which the throughput is averaged."""


@dataclass
class Cell:
    """One square of the map of patches, in one year of one stage.

    `parts` are its patches by name: several where acquisitions are written one by one.
    """

    stage: str
    year: str
    row: int
    column: int
    pixels: int
    parts: dict[str, str] = field(default_factory=dict)
    worker: str = ""
    error: str = ""

    @property
    def state(self) -> str:
        """State of the most advanced part, unless one part failed or all are done."""
        states = set(self.parts.values())
        if states <= {"done", "reused"}:
            return "done" if "done" in states else "reused"
        active = ("failed", "writing", "classifying", "reading")
        return next((state for state in active if state in states), "waiting")

    @property
    def finished(self) -> int:
        """Number of parts that are written."""
        return sum(state in ("done", "reused") for state in self.parts.values())


class Board(SchedulerPlugin):
    """State of every patch of every stage that a client announced (see :func:`mlc_dask.lazy.announce`).

    The board starts from the tasks that write a patch: every task that they depend on reads or classifies for that
    patch. The cost is one dictionary lookup per transition.
    """

    name = NAME

    def __init__(self, scheduler: Any) -> None:
        self._scheduler = scheduler
        self.cells: dict[tuple[str, str, int, int], Cell] = {}
        self.stages: dict[str, dict[str, Any]] = {}
        self.thumbnails: dict[tuple[str, str, int, int], Mapping[str, Any]] = {}
        self._by_name: dict[tuple[str, str], Cell] = {}
        self._writing: dict[Any, tuple[Cell, str]] = {}
        self._tasks: dict[Any, list[tuple[Cell, str, str]]] = {}
        self._colours: Mapping[str, str] = {}
        self._done: deque[tuple[float, int]] = deque()

    def log_event(self, topic: Any, msg: Any) -> None:
        """Receive announcements of clients and written patches of workers."""
        if topic != PATCH_TOPIC:
            return
        if msg["event"] == "announced":
            self._announced(msg)
        elif msg["event"] == "colours":
            self._colours = msg["colours"]
        elif (msg["stage"], msg["patch"]) in self._by_name:
            cell = self._by_name[msg["stage"], msg["patch"]]
            self.thumbnails[cell.stage, cell.year, cell.row, cell.column] = msg["thumbnail"]

    def _announced(self, message: Mapping[str, Any]) -> None:
        stage = message["stage"]
        facts = {name: message[name] for name in ("place", "grid", "years")}
        self.stages[stage] = {**facts, "legend": message["legend"] or self._colours, "since": time.time()}
        todo = set(message["todo"])
        for name, year, row, column, pixels in message["patches"]:
            place = (stage, year, row, column)
            cell = self.cells.setdefault(place, Cell(*place, pixels))
            cell.parts[name] = "waiting" if name in todo else "reused"
            self._by_name[stage, name] = cell
        for key, name in message["keys"].items():
            self._writing[key] = (self._by_name[stage, name], name)

    def update_graph(self, scheduler: Any, *, tasks: Iterable[Any], **kwargs: Any) -> None:
        """Find the patches that the new tasks work for."""
        for key in tasks:
            if key in self._writing:
                cell, part = self._writing[key]
                self._tasks[key] = [(cell, part, "writing")]
                self._follow(scheduler.tasks[key], cell, part)

    def _follow(self, task: Any, cell: Cell, part: str) -> None:
        seen, open_ends = set(), list(task.dependencies)
        while open_ends:
            needed = open_ends.pop()
            if needed.key in seen:
                continue
            seen.add(needed.key)
            open_ends += needed.dependencies
            role = "reading" if only_reads(needed.key) else "classifying"
            self._tasks.setdefault(needed.key, []).append((cell, part, role))

    def transition(self, key: Any, start: str, finish: str, *args: Any, **kwargs: Any) -> None:
        """Update the patches that a task works for."""
        roles = self._tasks.get(key)
        if roles is None or len(roles) > _SHARED:
            return
        if finish == "processing":
            worker = self._scheduler.tasks[key].processing_on
            for cell, part, role in roles:
                cell.parts[part], cell.worker = role, worker.address if worker else ""
        elif finish == "memory" and roles[0][2] == "writing":
            self._written(*roles[0][:2])
        elif finish == "erred":
            for cell, part, _ in roles:
                cell.parts[part], cell.error = "failed", kwargs.get("exception_text") or cell.error
        elif start == "processing":  # its worker was lost
            for cell, part, _ in roles:
                cell.parts[part] = "waiting"
        if finish == "forgotten":
            del self._tasks[key]
            self._writing.pop(key, None)

    def _written(self, cell: Cell, part: str) -> None:
        if cell.parts[part] != "done":
            cell.parts[part] = "done"
            self._done.append((time.time(), cell.pixels))

    def throughput(self) -> tuple[float, float]:
        """Pixels per second and patches per hour, over the last two minutes."""
        now = time.time()
        while self._done and self._done[0][0] < now - _WINDOW:
            self._done.popleft()
        if not self._done:
            return 0.0, 0.0
        since = max(now - _WINDOW, min(s["since"] for s in self.stages.values()), self._done[0][0] - 30)
        span = max(now - since, 1.0)
        return sum(p for _, p in self._done) / span, 3600 * len(self._done) / span

    def seconds_left(self) -> float | None:
        """Seconds until all announced patches are written, at the present rate."""
        rate, _ = self.throughput()
        left = sum(c.pixels * (len(c.parts) - c.finished) for c in self.cells.values())
        return left / rate if rate else None

    def state(self) -> dict[str, Any]:
        """Throughput and patches as plain values for JSON."""
        rate, patches = self.throughput()
        return {
            "pixels_per_second": rate,
            "patches_per_hour": patches,
            "seconds_left": self.seconds_left(),
            "patches": [
                {
                    "stage": c.stage,
                    "year": c.year,
                    "row": c.row,
                    "column": c.column,
                    "state": c.state,
                    "worker": c.worker,
                    "parts": f"{c.finished} of {len(c.parts)}",
                    "error": c.error,
                }
                for c in self.cells.values()
            ],
        }
