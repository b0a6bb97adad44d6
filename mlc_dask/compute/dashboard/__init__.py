"""The map of patches on the scheduler's dashboard: ``dask scheduler --preload mlc_dask.dashboard``.

A scheduler imports a preload before it opens the dashboard. The import registers the pages; the
:class:`~mlc_dask.compute.dashboard.board.Board` that they show is added when the scheduler has started. A page
whose name begins with ``individual-`` is listed by dask-labextension and under *More…*.
"""

from __future__ import annotations

import json
from typing import Any

import dask
from distributed.dashboard.scheduler import applications, template_variables
from tornado.web import RequestHandler

from mlc_dask.compute.dashboard.board import NAME, Board
from mlc_dask.compute.dashboard.page import draw

_ROUTES = "distributed.scheduler.http.routes"


class BoardJSON(RequestHandler):
    """The board's state for scripts, at ``/mlc/patches.json``."""

    def initialize(self, dask_server: Any = None, extra: Any = None) -> None:
        """Keep the scheduler, which Dask passes to every HTTP route."""
        self._scheduler = dask_server

    def get(self) -> None:
        """Answer with :meth:`Board.state` as JSON."""
        self.set_header("Content-Type", "application/json")
        self.write(json.dumps(self._scheduler.plugins[NAME].state()))


routes: list[tuple[str, type[RequestHandler], dict[str, Any]]] = [("/mlc/patches.json", BoardJSON, {})]
"""The scheduler's HTTP server looks for this name."""

applications[f"/{NAME}"] = applications[f"/individual-{NAME}"] = draw
if __name__ not in dask.config.get(_ROUTES):
    dask.config.set({_ROUTES: [*dask.config.get(_ROUTES), __name__]})


async def dask_setup(scheduler: Any) -> None:
    """Add the board to the scheduler and its page to the dashboard's menu."""
    scheduler.add_plugin(Board(scheduler))
    pages = template_variables(scheduler)["pages"]
    if NAME not in pages:
        pages.insert(1, NAME)
