"""The exceptions that a command reports in one line: what is wrong, where, and how to fix it."""

import errno
import inspect
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Final

_BETWEEN: Final = ("contextlib", "mlc_dask", "pydantic")
"""Modules whose frames may lie between a setting and the caller who gave it."""

_OF_A_PATH: Final = {
    errno.EACCES, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENOENT, errno.ENOTDIR, errno.EPERM, errno.EROFS,
}  # fmt: skip
"""The system's errors that another path or other permissions avoid; a full or broken disk is not among them."""


class InputError(ValueError):
    """Bad input, described in one line that names the value, its place and the fix.

    The command line prints the line and exits with code 2; a notebook sees an ordinary ``ValueError``.
    """


class UnreadableError(InputError):
    """A truncated or unreadable image: bad input for a local file, retried for a remote one."""


class RefusedError(InputError):
    """An address whose host refuses access (HTTP 401 or 403); object stores answer so for missing objects, too."""


class FetchError(RuntimeError):
    """A failed fetch: what failed, why, and how to continue. It can be pickled, whatever the cause."""

    def __init__(self, what: str, cause: BaseException | str) -> None:
        super().__init__(what, cause if isinstance(cause, str) else first_cause(cause))

    def __str__(self) -> str:
        what, reason = self.args
        return f"{what}: {reason}; run again; finished work is kept"


@contextmanager
def naming(path: Path | None = None) -> Iterator[None]:
    """Turn the system's refusal of a path into an InputError that names `path`, by default the refused one.

    It is also a decorator. Any other error of the system, such as a full disk, is raised unchanged.
    """
    try:
        yield
    except OSError as error:
        place = path or error.filename
        if error.errno not in _OF_A_PATH or place is None:
            raise
        raise InputError(
            f"{place} cannot be read or written ({error.strerror}); correct the path, or its permissions"
        ) from error


def existing(path: Path, fix: str) -> Path:
    """Return the path of a file, or raise an InputError that says what is there instead, and `fix`."""
    if path.is_file():
        return path
    raise InputError(f"{path} {'is a folder' if path.is_dir() else 'does not exist'}; {fix}")


class Doubt(UserWarning):
    """Something was guessed about a file; the message says what, and how to make it certain."""


class OutdatedSetting(FutureWarning):
    """A setting written as an earlier version named it; the message says how to write it now."""


def warn_outdated(message: str) -> None:
    """Warn with :class:`OutdatedSetting` at the caller's line: the first one outside this package and pydantic."""
    frame, level = inspect.currentframe(), 1
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _BETWEEN:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, OutdatedSetting, stacklevel=level)


def first_cause(error: BaseException) -> str:
    """Return the text of the first cause; the error of GDAL itself is at the end of the chain."""
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(str(error).split()) or type(error).__name__


def did_you_mean(name: object, known: Iterable[str], otherwise: str = "") -> str:
    """End of a message about an unknown name: the nearest known name, or `otherwise`, a list of all by default."""
    names = list(known)
    near = get_close_matches(str(name), names, n=1)
    return f"did you mean {near[0]!r}?" if near else otherwise or f"choose one of {', '.join(names)}"
