"""Single tasks, and the computation of everything lazy on the current Dask scheduler."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import dask.base
from dask.delayed import Delayed, delayed
from distributed import default_client

from mlc_dask.lazy.failures import carried

T = TypeVar("T")


def call(function: Callable[..., T], *arguments: Any, name: str, **settings: Any) -> Delayed:
    """One task of its own, named for the dashboard; lazy `arguments` are handed over computed."""
    token = dask.base.tokenize(function, *arguments, **settings)
    task: Delayed = delayed(carried(function))(*arguments, **settings, dask_key_name=f"{name}-{token}")
    return task


def compute(things: Any, *, resource: str | None = None) -> Any:
    """Compute every lazy value in `things` (a collection, a list, a mapping) on the current Dask scheduler.

    Parameters
    ----------
    resource
        Where workers have it, only those are given the tasks; a resource that nobody has is not waited for.
    """
    asked = {"resources": {resource: 1}} if resource and _somebody_has(resource) else {}
    return dask.base.compute(things, **asked)[0]


def _somebody_has(resource: str) -> bool:
    try:
        workers = default_client().scheduler_info(n_workers=-1)["workers"].values()
    except ValueError:
        return False
    return any(worker["resources"].get(resource) for worker in workers)
