"""Remote pixels: which URLs may be opened, how GDAL fetches them, and which faults are retried or raised by name.

GDAL caches every response, faults included: for every later read of the process a missing file stays missing and a
truncated response stays truncated. :func:`environment` therefore holds the file open with a handle whose cache is
dropped when it closes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypeVar
from urllib.parse import urlsplit

import rasterio
import requests
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError
from requests.exceptions import RequestException
from tenacity import RetryError, Retrying, retry_if_exception, stop_after_attempt, wait_exponential, wait_random

from mlc_dask.data.errors import FetchError, InputError, RefusedError, UnreadableError, first_cause
from mlc_dask.io.rasters import driver_of

T = TypeVar("T")

_FAULTS: Final = (UnreadableError, RasterioError, CPLE_BaseError, RequestException, ConnectionError, TimeoutError)
_STATUS: Final = re.compile(r"HTTP (?:response|error) code ?: ?(\d{3})")
_BUSY: Final = {408, 425, 429}  # statuses in the 400s that are temporary
_REFUSED: Final = {401, 403}
_UNTOLD: Final = {*_REFUSED, 405, 416}
_PARTIAL: Final = 206
_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")
_UNSAFE: Final = re.compile(r"[\s\\<>\"{}|^`\x00-\x1f]|//[^/]*@")


@dataclass(frozen=True)
class Patience:
    """How often to try again, and how long to wait, in seconds."""

    attempts: int = 5  # reads of the same pixels
    requests: int = 3  # repeats of a single request within an attempt, by GDAL, after 429 or 5xx
    delay: float = 2.0  # before the second attempt; doubled each time, with jitter, up to `longest`
    longest: float = 60.0
    connect: int = 10  # a connection that is not made within this time has failed,
    stalled: int = 20  # and so has one that carries less than 1000 bytes per second for this time


PATIENCE = Patience()


def options(patience: Patience | None = None) -> dict[str, str]:
    """Return GDAL's settings: repeat single requests, abort stalled ones, look for no side-car files."""
    patience = patience or PATIENCE
    return {
        "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",  # no side-car files: GDAL would ask the host for each name
        "GDAL_HTTP_CONNECTTIMEOUT": str(patience.connect),
        "GDAL_HTTP_LOW_SPEED_LIMIT": "1000",
        "GDAL_HTTP_LOW_SPEED_TIME": str(patience.stalled),
        "GDAL_HTTP_MAX_RETRY": str(patience.requests),
        "GDAL_HTTP_RETRY_DELAY": str(patience.delay / 4),
        "GDAL_INGESTED_BYTES_AT_OPEN": "65536",  # the header with all tile indices in one request
        "GDAL_NUM_THREADS": "1",  # its own threads do not retry, and left blank pixels (GDAL#11552, #12426)
        "GTIFF_IGNORE_READ_ERRORS": "NO",
        "VSI_CACHE": "NO",
    }


@contextmanager
def environment(href: str, patience: Patience | None = None) -> Iterator[rasterio.io.DatasetReader]:
    """Apply :func:`options` to the reads of this thread, after checking that `href` is a GeoTIFF or JPEG 2000 file.

    Within the block, every open of `href` gets the header that was checked, because GDAL caches it. After the block
    nothing stays cached. Yields the file.
    """
    with rasterio.Env(**options(patience)):
        with rasterio.Env(CPL_VSIL_CURL_NON_CACHED="/vsicurl/:/vsis3/"):
            held = rasterio.open(href, driver=driver_of(href), sharing=False)
        with held:
            yield held


def retried(function: Callable[[], T], what: str, patience: Patience | None = None) -> T:
    """Call `function` until it succeeds, or raise the :func:`failure` that names `what`, the item and the band.

    A fault that lasts, such as a missing file (404) or a refused one (401, 403), is not retried.
    """
    patience = patience or PATIENCE
    retrying = Retrying(
        retry=retry_if_exception(_passing),
        stop=stop_after_attempt(patience.attempts),
        wait=wait_exponential(multiplier=patience.delay, max=patience.longest) + wait_random(0, patience.delay),
    )
    try:
        return retrying(function)
    except RetryError as error:
        cause = error.last_attempt.exception() or error
        raise FetchError(what, f"{first_cause(cause)} ({patience.attempts} attempts)") from cause
    except _FAULTS as error:
        raise failure(what, first_cause(error), error) from error


@lru_cache(maxsize=65_536)
def length_of(href: str) -> int | None:
    """Length in bytes of the file at an https URL, by one request; None where the host does not tell it to us.

    GDAL may have credentials that this request lacks, so a refusal tells nothing; nor does a page in its place.
    """
    # Of the first byte: links that are signed for reading refuse HEAD.
    first = {"Range": "bytes=0-0", "Accept-Encoding": "identity"}
    with requests.get(href, headers=first, stream=True, timeout=(PATIENCE.connect, PATIENCE.stalled)) as answer:
        if answer.status_code in _UNTOLD or "html" in answer.headers.get("Content-Type", ""):
            return None
        answer.raise_for_status()
        partial = answer.status_code == _PARTIAL
        total = answer.headers.get("Content-Range" if partial else "Content-Length", "").rpartition("/")[2]
    return int(total) if total.isdigit() else None


def failure(what: str, reason: str, error: Exception) -> FetchError | InputError:
    """Return the error to raise for a failed fetch: another run may succeed, or the address must be corrected."""
    if not _lasting(error):
        return FetchError(what, reason)
    kind = RefusedError if _status(error) in _REFUSED else InputError
    return kind(f"{what}: {reason}; correct its address, or get access to it")


def check_href(href: str, hosts: Sequence[str] | None = None, *, plain_http: bool = False) -> str:
    """Return the path or URL that GDAL opens for `href`, or refuse `href`.

    Parameters
    ----------
    hosts
        Hosts, domains and buckets that are allowed; by default all. Local files are always allowed.
    plain_http
        Allow http; it is always allowed for this machine.

    Raises
    ------
    InputError
        If it is neither a path nor an https or s3 URL, or its host is not allowed.
    """
    if "://" not in href:
        if href.startswith("/vsi") or re.match(r"\w\w+:", href):
            raise InputError(f"{href!r} is not a file path; use a path, or an https or s3 URL")
        return href
    parts = urlsplit(href)
    if _UNSAFE.search(href) or not parts.hostname:
        raise InputError(f"{href!r} is not a plain URL; correct it in the catalogue")
    host = parts.netloc if parts.scheme == "s3" else parts.hostname
    if not (parts.scheme in ("https", "s3") or (parts.scheme == "http" and (plain_http or host in _LOOPBACK))):
        raise InputError(f"{href!r} is not fetched: its scheme is {parts.scheme}; use https or s3")
    if hosts is not None and not any(host == h or host.endswith(f".{h}") for h in hosts):
        raise InputError(f"{href!r} is not fetched: {host!r} is not an allowed host; add it to source.hosts")
    return f"/vsis3/{host}{parts.path}" if parts.scheme == "s3" else href


def _passing(error: BaseException) -> bool:
    """Whether a later attempt may succeed."""
    return isinstance(error, _FAULTS) and not _lasting(error)


def _lasting(error: BaseException) -> bool:
    """Whether the address is wrong or refused; a status of the 300s is left where redirects have no end."""
    lasting = 300 <= _status(error) < 500 and _status(error) not in _BUSY
    return lasting or str(error).endswith("No such file or directory")


def _status(error: BaseException) -> int:
    """HTTP status of an answer; 0 where the error is none."""
    answer = getattr(error, "response", None)  # of requests; GDAL states the status only in its message
    stated = _STATUS.search(str(error))
    return getattr(error if answer is None else answer, "status_code", None) or (int(stated[1]) if stated else 0)
