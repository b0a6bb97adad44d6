"""Errors of tasks on their way from a worker to the client.

Dask pickles the error of a task with its causes. What cannot be unpickled, as GDAL's exceptions, arrives as a plain
``Exception``, and takes with it every error that it caused. :func:`carried` gives Dask only what arrives.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from distributed import get_worker
from distributed.core import clean_exception, error_message

P = ParamSpec("P")
T = TypeVar("T")


def carried(function: Callable[P, T]) -> Callable[P, T]:
    """Return `function` with errors that arrive at the client with their type, message and notes."""

    @wraps(function)
    def task(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except Exception as error:
            if not _on_a_worker():
                raise
            failure = portable(error)
        raise failure  # outside of the handler, which would make the error its context

    return task


def portable(error: Exception) -> Exception:
    """Return `error` if it arrives with its causes, else without them, else in a parcel, else its text."""
    if _arrives(error, error):
        return error
    error.__cause__ = error.__context__ = None
    whole = next((e for e in (error, _Parcel(error)) if _arrives(e, error)), None)
    return whole or RuntimeError(f"{type(error).__name__}: {error}")


class _Parcel(Exception):  # noqa: N818  (unpickles as the error in it)
    """An error that is made from its arguments and attributes where it is unpickled."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self._content = type(error), error.args, vars(error)
        for note in getattr(error, "__notes__", ()):
            self.add_note(note)

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpacked, self._content


def _unpacked(kind: type[Exception], args: tuple[Any, ...], state: Mapping[str, Any]) -> Exception:
    try:
        error = kind(*args)
    except (AttributeError, TypeError):  # its arguments are not those that it passed on
        error = kind.__new__(kind, *args)
    vars(error).update(state)
    return error


def _arrives(sent: Exception, error: Exception) -> bool:
    """Whether the client would get `error`, by its type and text, where `sent` is raised."""
    try:
        _, got, _ = clean_exception(error_message(sent)["exception"].data)
    except Exception:
        return False
    return type(got) is type(error) and str(got) == str(error)


def _on_a_worker() -> bool:
    try:
        get_worker()
    except ValueError:
        return False
    return True
