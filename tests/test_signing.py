"""Tokens that places of assets are signed with."""

from __future__ import annotations

from typing import Any

import pytest

from mlc_dask.data.errors import FetchError, InputError
from mlc_dask.io.sources import signing
from tests.stac_api import (
    COLLECTION,
    LIFE,
    QUICK,
    Answering,
    answering,
)

HREF = "https://example.com/B04.tif"


def test_a_token_is_fetched_once_and_renewed_in_time(clock: list[float], tokens: Answering) -> None:
    def get(href: str = HREF, collection: str = COLLECTION) -> str:
        return signing.signed(href, f"{tokens.url}/token/{{collection}}", collection)

    assert get() == f"{HREF}?sig=1" and get() == f"{HREF}?sig=1"
    assert tokens.asked == [f"/token/{COLLECTION}"]
    assert get(collection="another") == f"{HREF}?sig=2"
    clock[0] += LIFE - 301
    assert get() == f"{HREF}?sig=1"
    clock[0] += 2
    assert get() == f"{HREF}?sig=3" and get() == f"{HREF}?sig=3", "five minutes before its end"
    assert get(f"{HREF}?sig=mine") == f"{HREF}?sig=mine", "what is signed stays as it is"
    assert get("/data/B04.tif") == "/data/B04.tif" and signing.signed(HREF, None, None) == HREF
    assert len(tokens.asked) == 3


@pytest.mark.parametrize(
    ("answer", "reason", "requests"),
    [
        ((404, b""), "404", 1),
        ((503, b""), "503", QUICK.attempts),
        ((200, b"<html>"), "Expecting value", 1),
        ((200, {"token": "sig=1"}), "msft:expiry", 1),
        ((200, {"token": "sig=1", "msft:expiry": "soon"}), "soon", 1),
        ((200, []), "list", 1),
    ],
    ids=str,
)
def test_without_a_token_nothing_is_fetched(
    answer: tuple[int, Any], reason: str, requests: int, clock: list[float], quick: None
) -> None:
    with answering(lambda _: answer) as server:
        with pytest.raises(
            InputError if reason == "404" else FetchError, match=rf"^token from {server.url}/{COLLECTION}: .*{reason}"
        ):
            signing.signed(HREF, f"{server.url}/{{collection}}", COLLECTION)
        assert len(server.asked) == requests
