"""Asset URLs signed with a catalogue's access tokens, which are renewed before they expire."""

from __future__ import annotations

import threading
import time
from datetime import datetime
from typing import Any

import requests

from mlc_dask.data.errors import FetchError
from mlc_dask.io.remote import retried

_RENEW_BEFORE = 300
"""A token is renewed this many seconds before it expires: longer than any single read takes."""
_SECONDS = 30

_lock = threading.Lock()
_known: dict[str, tuple[str, float]] = {}


def signed(href: str, tokens: str | None, collection: str | None) -> str:
    """Return `href` with a token from the URL `tokens`; unchanged without `tokens`, and if `href` is already signed."""
    if tokens is None or "://" not in href or "?" in href:
        return href
    place = tokens.format(collection=collection)
    with _lock:
        token, end = _known.get(place, ("", 0.0))
        if time.time() > end - _RENEW_BEFORE:
            token, end = _known[place] = retried(lambda: _fetched(place), f"token from {place}")
    return f"{href}?{token}"


def _fetched(place: str) -> tuple[str, float]:
    answer = requests.get(place, timeout=_SECONDS)
    answer.raise_for_status()
    try:
        found: dict[str, Any] = answer.json()
        end = datetime.fromisoformat(found["msft:expiry"].replace("Z", "+00:00")).timestamp()
        return str(found["token"]), end
    except (KeyError, ValueError, TypeError) as error:
        raise FetchError(f"token from {place}", error) from error
