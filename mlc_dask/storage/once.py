"""Intermediate numbers of a step, kept in its folder until the step is finished."""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from mlc_dask.storage.durable import atomic_write


def once(folder: Path | None, name: str, found_out: Callable[[], list[float]]) -> list[float]:
    """Return the numbers that `found_out` computes for `name`; they are computed once, even if the step is interrupted.

    The workers must be able to reach `folder`; without a folder the numbers are computed at every call.
    """
    if folder is None:
        return found_out()
    known = folder / f"{sha256(name.encode()).hexdigest()[:32]}.json"
    if not known.exists():
        atomic_write(known, json.dumps(found_out()).encode())
    numbers: list[float] = json.loads(known.read_bytes())
    return numbers
