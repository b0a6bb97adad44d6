"""What a function says of itself as a step of a run: its name in records, what its result is on disk, its version."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])


class Step(NamedTuple):
    """Name in records, kind of the result, version, and whether it is only shown: attributes of the function."""

    step_name: str
    step_kind: str
    step_version: int
    step_shown: bool


def step(name: str, *, kind: str, version: int = 1, shown: bool = False) -> Callable[[Function], Function]:
    """Make a function a step; its signature, and how it is called, stay as they are.

    Parameters
    ----------
    name
        What the step is called in records and folders, where a pipeline does not give it another name.
    kind
        What the result is on disk: a row of :func:`mlc_dask.pipeline.formats.kinds`.
    version
        Part of the identity of every result. Raise it when the same inputs and settings give another result.
    shown
        Whether the result is only looked at: a run that cannot make it makes all others.
    """

    def mark(function: Function) -> Function:
        vars(function).update(Step(name, kind, version, shown)._asdict())
        return function

    return mark


def step_of(function: Callable[..., Any]) -> Step:
    """Return the step that a function declares; AttributeError if the function is not a step."""
    return Step(*(getattr(function, name) for name in Step._fields))
