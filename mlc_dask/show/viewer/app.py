"""The server of the page; it answers only browsers on this machine."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import uvicorn
from fastapi import APIRouter, FastAPI, HTTPException, Query, Request, Response
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from starlette.middleware.trustedhost import TrustedHostMiddleware

from mlc_dask.data.errors import InputError
from mlc_dask.show.viewer.pixels import inspect
from mlc_dask.show.viewer.places import Place
from mlc_dask.show.viewer.web_tiles import Tiles

HOST = "127.0.0.1"
"""The only address that the server listens on. From another machine: ssh -t -L PORT:127.0.0.1:PORT MACHINE."""

_STATIC = Path(__file__).parent / "static"
_DEEPEST = 22

# A page of another site may send requests under its own host name (DNS rebinding), or embed our answers.
_NAMES = [HOST, "localhost"]
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
# The URL of a tile contains the run's stamp, so its picture never changes.
_FOR_GOOD = {"Cache-Control": "private, max-age=86400, immutable"}

Longitude = Annotated[float, Query(ge=-360, le=360)]
Latitude = Annotated[float, Query(ge=-90, le=90)]
Hidden = Annotated[str, Query(pattern=r"^(\d{1,3}(,\d{1,3})*)?$")]


def make_app(places: Mapping[str, Place]) -> FastAPI:
    """Return the application that shows `places`, the result of :func:`mlc_dask.show.viewer.places.open_places`."""
    app = guarded_app("index.html")
    app.include_router(_answers(places), prefix="/api/places")
    return app


def guarded_app(page: str) -> FastAPI:
    """Return an application that serves `page`, a file of ``static/``, and answers only its own pages on this machine.

    A request under another host name is answered by 400, a request of another site by 403. So is one that would write
    and does not say which site it is from, as every browser does.
    """
    # FastAPI's documentation pages would load scripts from other hosts.
    app = FastAPI(title="mlc-dask view", docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/")
    def first() -> FileResponse:
        return FileResponse(_STATIC / page)

    app.mount("/static", StaticFiles(directory=_STATIC))
    app.middleware("http")(_guarded)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=_NAMES, www_redirect=False)
    return app


def _answers(places: Mapping[str, Place]) -> APIRouter:
    """Return the API of the page: places, their descriptions, tiles and pixels."""
    router = APIRouter()
    tiles = {name: Tiles(place) for name, place in places.items()}

    def known(name: str) -> Place:
        if name not in places:
            raise HTTPException(404, f"there is no place {name!r}")
        return places[name]

    @router.get("")
    def names() -> list[str]:
        return list(places)

    @router.get("/{name}")
    def description(name: str) -> dict[str, Any]:
        return known(name).describe()

    @router.get("/{name}/pixel")
    def pixel(name: str, lon: Longitude, lat: Latitude) -> dict[str, Any]:
        found = inspect(known(name), lon, lat)
        if found is None:
            raise HTTPException(404, "there is no map at this point")
        return found

    @router.get("/{name}/tiles/{layer}/{year}/{z}/{x}/{y}.png")
    def tile(name: str, layer: str, year: int, z: int, x: int, y: int, hidden: Hidden = "") -> Response:
        _check_tile(known(name), layer, year, (z, x, y))
        drawn = tiles[name].png(layer, year, (z, x, y), {int(code) for code in hidden.split(",") if code})
        return Response(drawn, media_type="image/png", headers=_FOR_GOOD)

    return router


def listen(port: int) -> socket.socket:
    """Take `port` of the loopback interface, 0 for any free one.

    Raises
    ------
    InputError
        When the port is in use or not permitted.
    """
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    # Allow a port that was closed a moment ago.
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((HOST, port))
        listening.listen()
    except OSError as error:
        listening.close()
        why = error.strerror
        raise InputError(f"port {port} of {HOST} is not available ({why}); choose another port with --port") from None
    return listening


def serve(app: FastAPI, on: socket.socket) -> None:
    """Answer until Ctrl-C."""
    config = uvicorn.Config(app, log_level="warning", access_log=False, server_header=False)
    try:
        uvicorn.Server(config).run(sockets=[on])
    except KeyboardInterrupt:
        return


async def _guarded(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
    own = f"http://{request.headers.get('host')}"
    reads = request.method in ("GET", "HEAD")
    foreign = request.headers.get("origin", own if reads else "none").lower() != own.lower()
    response = Response("a page of another site asks", 403) if foreign else await answer(request)
    response.headers.update(_HEADERS)
    response.headers.setdefault("Cache-Control", "no-cache")
    return response


def _check_tile(place: Place, layer: str, year: int, tile: tuple[int, int, int]) -> None:
    if layer not in place.layers or (place.layers[layer].yearly and year not in place.years):
        raise HTTPException(404, f"there is no layer {layer!r} of {year}")
    z, x, y = tile
    if not (0 <= z <= _DEEPEST and 0 <= x < 2**z and 0 <= y < 2**z):
        raise HTTPException(404, f"there is no tile {z}/{x}/{y}")
