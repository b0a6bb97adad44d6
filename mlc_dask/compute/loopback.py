"""A scheduler for one user of this machine: on loopback, over TLS, with a dashboard that checks Host and Origin.

Every user of the machine can connect to a loopback port, and so can every page in the user's browser (DNS rebinding).
A certificate made for the run keeps out other users; the check of Host and Origin keeps out pages.
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
    """Scheduler whose HTTP server answers only requests that name this machine as their Host."""

    def start_http_server(self, *args: Any, **kwargs: Any) -> None:
        """Start the dashboard's server behind :class:`OwnNames`."""
        super().start_http_server(*args, **kwargs)  # type: ignore[no-untyped-call]
        self.http_server.request_callback = OwnNames(self.http_application, _NAMES | _names_of_a_proxy())


class OwnNames(Router):
    """Pass requests to `application` if their Host is one of `names` and their Origin, if any, equals their Host.

    WebSockets send an Origin too; the browser's same-origin policy does not apply to them.
    """

    def __init__(self, application: Router, names: frozenset[str]) -> None:
        self._application, self._names = application, names
        self._refuse = Application(default_handler_class=ErrorHandler, default_handler_args={"status_code": 403})

    def find_handler(self, request: HTTPServerRequest, **kwargs: Any) -> HTTPMessageDelegate | None:
        """Return the handler of a request: the application, or 403 for a foreign Host or Origin."""
        known = urlsplit(f"//{request.host}").hostname in self._names
        origin = request.headers.get("Origin")
        same = origin is None or urlsplit(origin).netloc == request.host
        answer = self._application if known and same else self._refuse
        return answer.find_handler(request, **kwargs)


def _names_of_a_proxy() -> frozenset[str]:
    """Host names that Dask's settings allow, for a dashboard behind a proxy. The default ``*`` allows none."""
    allowed = dask.config.get(_ALLOWED)
    return frozenset(str(urlsplit(f"//{name}").hostname) for name in allowed if name != "*")
