"""STAC catalogues: items from an API search or from files. Every error names the URL or file that was asked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import pystac
from pystac.stac_io import DefaultStacIO
from pystac_client import Client
from pystac_client.errors import ClientTypeError
from pystac_client.exceptions import APIError
from pystac_client.stac_api_io import StacApiIO
from pystac_client.warnings import DoesNotConformTo
from requests.exceptions import RequestException
from urllib3.util import Retry

from mlc_dask.data.errors import InputError
from mlc_dask.io import remote
from mlc_dask.storage.durable import local

_SECONDS = 60
"""Timeout: a catalogue that sends nothing for this long has failed."""

_NOT_STAC = (
    ValueError, KeyError, TypeError, AttributeError, OSError, pystac.STACError, pystac.STACTypeError, ClientTypeError,
    DoesNotConformTo,
)  # fmt: skip
"""Exceptions of the STAC libraries for documents that are not STAC."""


def _patient() -> StacApiIO:
    """Return an HTTP reader that retries when a host is busy and gives up when it is silent."""
    patience = remote.PATIENCE
    again = Retry(
        patience.requests, backoff_factor=patience.delay / 4, status_forcelist=(408, 429, 500, 502, 503, 504),
        allowed_methods=None,
    )  # fmt: skip
    return StacApiIO(timeout=(patience.connect, _SECONDS), max_retries=again)


class _Documents(DefaultStacIO):
    """Reader of local documents, which reads a document again only after it changed."""

    def read_text_from_href(self, href: str) -> str:
        """Text of a document."""
        href = local(href)
        if "://" in href:
            return super().read_text_from_href(href)
        state = Path(href).stat()
        return _text(href, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=4096)
def _text(path: str, size: int, changed: int) -> str:
    """Text of a file; its size and its time of change are part of the cache key."""
    return Path(path).read_text(encoding="utf-8")


def _answer(error: Exception) -> str:
    """Sum up the answer of a catalogue in one short line."""
    status = getattr(error, "status_code", None)
    text = " ".join(str(error).split())[:300] or type(error).__name__
    return f"HTTP status {status}: {text}" if status else text


def items_of_file(place: str) -> list[pystac.Item]:
    """Items of a static catalogue, an item collection or a single item.

    Raises
    ------
    InputError
        If the file does not exist, or is not STAC.
    """
    reader = _patient() if place.startswith(("http://", "https://")) else _Documents()
    try:
        kind = json.loads(reader.read_text(place))
    except APIError as error:
        raise remote.failure(f"catalogue {place}", _answer(error), error) from error
    except FileNotFoundError:
        raise InputError(f"{place} does not exist; set source.catalogue to a STAC file or the URL of an API") from None
    except (ValueError, OSError) as error:
        raise InputError(f"{place} cannot be read as STAC ({error}); set source.catalogue to a STAC file") from None
    try:
        if kind.get("type") == "FeatureCollection":
            return [_placed(item, place) for item in pystac.ItemCollection.from_dict(kind).items]
        if kind.get("type") == "Feature":
            return [pystac.Item.from_file(place, stac_io=reader)]
        return list(pystac.Catalog.from_file(place, stac_io=reader).get_items(recursive=True))
    except APIError as error:
        raise remote.failure(f"catalogue {place}", _answer(error), error) from error
    except _NOT_STAC as error:
        raise InputError(
            f"{place} is not a STAC catalogue, item collection or item ({_answer(error)}); correct it"
        ) from None


def _placed(item: pystac.Item, collection: str) -> pystac.Item:
    """Give an item without a self link the folder of its collection file as its location."""
    if item.get_self_href() is None:
        folder = collection.rpartition("/")[0]
        item.set_self_href(f"{folder}/{item.id}.json")
    return item


def found_by_search(
    url: str,
    collection: str | None,
    span: tuple[datetime, datetime],
    bbox: tuple[float, float, float, float] | None,
    query: Mapping[str, Any] | None,
) -> list[pystac.Item]:
    """Items from an API of `span`, whose end is excluded, and of a day on either side: an overpass may cross its ends.

    Raises
    ------
    InputError
        If the URL is not a STAC API.
    """
    try:
        first, last = span[0] - timedelta(days=1), span[1] + timedelta(days=1, seconds=-1)
        search = Client.open(url, stac_io=_patient()).search(
            collections=[collection] if collection else None,
            bbox=bbox,
            datetime=f"{first:%Y-%m-%dT%H:%M:%SZ}/{last:%Y-%m-%dT%H:%M:%SZ}",
            query=dict(query) if query else None,
            limit=100,
        )
        return list(search.items())
    except (APIError, RequestException) as error:
        raise remote.failure(f"search of {url}", _answer(error), error) from error
    except _NOT_STAC as error:
        raise InputError(
            f"{url} is not a STAC API ({_answer(error)}); set source.catalogue to the URL of a STAC API, or to a STAC "
            "file (.json)"
        ) from error
