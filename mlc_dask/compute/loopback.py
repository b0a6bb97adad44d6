"""A scheduler of this machine for its user alone: on loopback, by TLS, with a dashboard that checks who asks.

A port of loopback is open to every user of the machine, and to every page in the user's browser that names it (DNS
rebinding). A certificate made for the run keeps out the former, a check of Host and Origin the latter.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlsplit

import dask
from distributed import Scheduler
from tornado.httputil import HTTPMessageDelegate, HTTPServerRequest
from tornado.routing import Router
from tornado.web import Application, ErrorHandler

HOST: Final = "127.0.0.1"

_NAMES: Final = frozenset({HOST, "localhost", "::1"})
_ALLOWED: Final = "distributed.scheduler.dashboard.bokeh-application.allow_websocket_origin"


class LoopbackScheduler(Scheduler):
    """Scheduler whose HTTP server answers only requests made to this machine under its own name."""

    def start_http_server(self, *args: Any, **kwargs: Any) -> None:
        """Start the dashboard's server behind :class:`OwnNames`."""
        super().start_http_server(*args, **kwargs)  # type: ignore[no-untyped-call]
        self.http_server.request_callback = OwnNames(self.http_application, _NAMES | _names_of_a_proxy())


class OwnNames(Router):
    """Hand requests on to `application` if their Host is one of `names` and their Origin, if any, is that Host.

    WebSockets send an Origin as well, and are subject to no same-origin policy of the browser.
    """

    def __init__(self, application: Router, names: frozenset[str]) -> None:
        self._application, self._names = application, names
        self._refuse = Application(default_handler_class=ErrorHandler, default_handler_args={"status_code": 403})

    def find_handler(self, request: HTTPServerRequest, **kwargs: Any) -> HTTPMessageDelegate | None:
        """Return what answers the request: 403 for foreign ones."""
        own = urlsplit(f"//{request.host}").hostname in self._names
        origin = request.headers.get("Origin")
        same = origin is None or urlsplit(origin).netloc == request.host
        answer = self._application if own and same else self._refuse
        return answer.find_handler(request, **kwargs)


def _names_of_a_proxy() -> frozenset[str]:
    """Names that Dask's own settings allow, for a dashboard behind a proxy; ``*``, their default, counts as none."""
    allowed = dask.config.get(_ALLOWED)
    return frozenset(str(urlsplit(f"//{name}").hostname) for name in allowed if name != "*")
