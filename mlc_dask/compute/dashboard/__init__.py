"""The map of patches on the scheduler's dashboard: ``dask scheduler --preload mlc_dask.dashboard``.

A preload is imported before the dashboard is connected: the pages are registered by the import, the
:class:`~mlc_dask.compute.dashboard.board.Board` that they show when the scheduler has started. A name that begins with
``individual-`` is listed by dask-labextension and under *More…*.
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
        """Keep the scheduler, as all of its HTTP routes do."""
        self._scheduler = dask_server

    def get(self) -> None:
        """Answer with what :meth:`Board.state` tells."""
        self.set_header("Content-Type", "application/json")
        self.write(json.dumps(self._scheduler.plugins[NAME].state()))


routes: list[tuple[str, type[RequestHandler], dict[str, Any]]] = [("/mlc/patches.json", BoardJSON, {})]
"""Found here by the scheduler's HTTP server."""

applications[f"/{NAME}"] = applications[f"/individual-{NAME}"] = draw
if __name__ not in dask.config.get(_ROUTES):
    dask.config.set({_ROUTES: [*dask.config.get(_ROUTES), __name__]})


async def dask_setup(scheduler: Any) -> None:
    """Put the board into the scheduler, and its page into the dashboard's menu."""
    scheduler.add_plugin(Board(scheduler))
    pages = template_variables(scheduler)["pages"]
    if NAME not in pages:
        pages.insert(1, NAME)
