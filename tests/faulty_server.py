"""A loopback HTTP server that serves a folder as S3 does, and fails on request.

It has a process of its own, since rasterio can hold the GIL while GDAL waits for the network:

>>> with serve(folder) as server:
...     server.fail(Fault("status", status=503, times=1), "*.tif")
...     read(server.url("B04.tif"))
...     assert len(server.requests("B04.tif")) == 3
"""

from __future__ import annotations

import hashlib
import multiprocessing
import re
import socket
import struct
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.managers import BaseManager
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast


@dataclass(frozen=True)
class Fault:
    """What goes wrong, with which requests, and how often.

    The kinds: `status` answers an error; `reset` breaks the connection without an answer; `stall` answers after
    `seconds`, `stall_in_body` after the headers and half of the body; `whole` ignores the range and answers 200;
    `garbage` sends noise of the right length; `cut` sends half of the body and closes the connection; `redirect` sends
    to itself for ever; `page` sends a web page with the status 200, as hosts do that want a login.
    """

    kind: Literal["status", "reset", "stall", "stall_in_body", "whole", "garbage", "cut", "redirect", "page"]
    status: int = 503
    times: int | None = None  # that many requests fail; None: all
    after: int = 0  # that many requests are served first
    from_byte: int = 0  # only requests that reach beyond this byte fail; the header of a file can be spared
    method: Literal["GET", "HEAD", "*"] = "*"
    seconds: float = 5.0


class Request(NamedTuple):
    """One request as it came."""

    method: str
    path: str
    start: int
    end: int | None  # None: no range was asked for


@dataclass
class _Rule:
    fault: Fault
    pattern: str
    seen: int = 0

    def applies(self, to: Request) -> bool:
        fault = self.fault
        reaches = to.end is None or to.end > fault.from_byte
        fits = reaches and fnmatch(to.path, self.pattern) and fnmatch(to.method, fault.method)
        self.seen += fits
        return fits and fault.after < self.seen and (fault.times is None or self.seen <= fault.after + fault.times)


class FaultyServer:
    """Serves a folder; every method may be called from any thread."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._log: list[Request] = []
        self._rules: list[_Rule] = []
        self._lock = threading.Lock()
        self.connections: list[socket.socket] = []
        self._port = 0
        self.start()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self._port}/{path}"

    def fail(self, fault: Fault, path: str = "*") -> None:
        """Fail the requests for the paths that fit the pattern; of several rules, the first that applies decides."""
        with self._lock:
            self._rules.append(_Rule(fault, path))

    def heal(self) -> None:
        with self._lock:
            self._rules.clear()
            self._log.clear()

    def requests(self, path: str = "*") -> list[Request]:
        with self._lock:
            return [one for one in self._log if fnmatch(one.path, path)]

    def start(self) -> None:
        self._server = _Server(("127.0.0.1", self._port), _Handler)
        self._server.faults = self
        self._port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        """Refuse connections from now on and break the open ones."""
        self._server.shutdown()
        self._server.server_close()
        while self.connections:
            break_off(self.connections.pop())

    def note(self, request: Request) -> Fault | None:
        """Record a request and say what shall go wrong with it."""
        with self._lock:
            self._log.append(request)
            return next((rule.fault for rule in self._rules if rule.applies(request)), None)


def break_off(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close by a reset
        connection.shutdown(socket.SHUT_RDWR)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128  # GDAL opens dozens of connections at once
    faults: FaultyServer

    def process_request(self, request: Any, client_address: Any) -> None:
        self.faults.connections.append(request)
        super().process_request(request, client_address)

    def handle_error(self, *_: object) -> None:
        """Clients that go away are part of the game."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, *_: object) -> None:
        """Silence."""

    def do_GET(self) -> None:
        path = self.path.split("?")[0].lstrip("/")
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", "")) if self.command == "GET" else None
        start, end = (int(asked[1]), int(asked[2]) + 1) if asked else (0, None)
        fault = self.server.faults.note(Request(self.command, path, start, end))
        kind, file = fault.kind if fault else "", self.server.faults.folder / path
        if kind == "reset":
            break_off(self.connection)
            self.close_connection = True
            return None
        time.sleep(fault.seconds if fault and kind == "stall" else 0)
        if not file.is_file() or (fault and kind == "status"):
            return self._answer(fault.status if fault and kind == "status" else 404, b"<Error/>", {})
        if kind == "redirect":
            return self._answer(302, b"", {"Location": self.path})
        if kind == "page":
            return self._answer(200, b"<!DOCTYPE html><p>Log in</p>", {"Content-Type": "text/html"})
        content = file.read_bytes()
        headers = {"ETag": f'"{hashlib.md5(content).hexdigest()}"', "Accept-Ranges": "bytes"}
        if end is None or kind == "whole":
            return self._answer(200, content, headers, fault)
        if start >= len(content):
            return self._answer(416, b"", {"Content-Range": f"bytes */{len(content)}"})
        headers["Content-Range"] = f"bytes {start}-{min(end, len(content)) - 1}/{len(content)}"
        return self._answer(206, content[start:end], headers, fault)

    do_HEAD = do_GET  # noqa: N815

    def _answer(self, status: int, body: bytes, headers: Mapping[str, str], fault: Fault | None = None) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if fault and fault.kind == "garbage":
            body = hashlib.shake_128(body).digest(len(body))
        if fault and fault.kind in ("cut", "stall_in_body"):
            self.close_connection = True
            body = body[: len(body) // 2]
        self.wfile.write(body)
        time.sleep(fault.seconds if fault and fault.kind == "stall_in_body" else 0)


class _Manager(BaseManager):
    pass


_Manager.register("FaultyServer", FaultyServer)


@contextmanager
def serve(folder: Path) -> Iterator[FaultyServer]:
    """Serve a folder until the end of the block."""
    with _Manager(ctx=multiprocessing.get_context("spawn")) as manager:
        yield cast("FaultyServer", manager.FaultyServer(folder))  # type: ignore[attr-defined]
