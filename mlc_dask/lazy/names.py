"""The names of tasks. Dask names a task by its operation, and a fused task by the whole chain of its operations."""

from __future__ import annotations

import re
from typing import Any, Final

_STORED: Final = (
    "original|array"
    r"|(?:open_dataset|xarray)-[^-]+(?:-array>)?"  # the name of a variable, or <this-array>
    r"|rechunk-\w+|vindex-\w+"
    "|concatenate|getitem|overlap|reshape|stack|transpose"
)
"""Operations that take pixels from a store or from memory, cut them or join them."""

_FETCHED: Final = r"read-\w+"
"""Tasks of :func:`mlc_dask.lazy.read_blocks` by which stages read acquisitions from their source."""


def _chain(steps: str) -> re.Pattern[str]:
    # A name ends with Dask's token, an MD5 digest.
    return re.compile(rf"(?:(?:{steps})-)+[0-9a-f]{{32}}")


_ONLY_STORED: Final = _chain(_STORED)
_ONLY_READING: Final = _chain(f"{_STORED}|{_FETCHED}")


def is_stored(task: Any) -> bool:
    """Whether a layer or a task, by its name or key, only reads pixels that are in a store or in memory."""
    return _ONLY_STORED.fullmatch(_name(task)) is not None


def only_reads(task: Any) -> bool:
    """Whether a layer or a task, by its name or key, only reads pixels, from a store, from memory or from a source."""
    return _ONLY_READING.fullmatch(_name(task)) is not None


def _name(task: Any) -> str:
    return str(task[0] if isinstance(task, tuple) else task)
