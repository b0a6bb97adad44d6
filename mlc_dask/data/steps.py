"""What a function says of itself as a step of a run: its name in records, what its result is on disk, its version."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])


class Step(NamedTuple):
    """Name in records and folders, kind of the result, and version: three attributes of the function."""

    step_name: str
    step_kind: str
    step_version: int


def step(name: str, *, kind: str, version: int = 1) -> Callable[[Function], Function]:
    """Make a function a step; its signature, and how it is called, stay as they are.

    Parameters
    ----------
    name
        What the step is called in records and folders, where a pipeline does not give it another name.
    kind
        What the result is on disk: a row of :func:`mlc_dask.pipeline.formats.kinds`.
    version
        Part of the identity of every result. Raise it when the same inputs and settings give another result.
    """

    def mark(function: Function) -> Function:
        vars(function).update(Step(name, kind, version)._asdict())
        return function

    return mark


def step_of(function: Callable[..., Any]) -> Step:
    """Return the step that a function declares; AttributeError if the function is not a step."""
    return Step(*(getattr(function, name) for name in Step._fields))
