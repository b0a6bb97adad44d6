"""Durable, verifiable files: canonical JSON, digests, atomic writes, and a lock that admits one writer at a time."""

from __future__ import annotations

import dataclasses
import errno
import fcntl
import hashlib
import json
import math
import os
import re
import socket
import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path, PurePath
from types import TracebackType
from typing import Any, Final
from urllib.parse import unquote

from mlc_dask.data.errors import InputError, naming

MANIFEST: Final = "MANIFEST.json"
LOCK: Final = ".mlc-dask.lock"

Entry = list[Any]
"""Size in bytes and sha256 of a file, as JSON stores them."""


class NotPublished(InputError):  # noqa: N818  (a state, not a fault)
    """The result does not exist or is not finished."""


def plain(value: Any) -> Any:
    """JSON-able form of `value`; equal values have equal forms.

    Besides JSON's own types, it accepts pydantic models, frozen dataclasses (with their class name, without fields of
    ``compare=False``), paths, enums, sets, numpy scalars, and objects with a ``fingerprint``. Whole floats become
    integers, since 1.0 == 1.

    Raises
    ------
    TypeError
        For any other type, NaN and infinities: such a value cannot identify a result.
    """
    if hasattr(value, "fingerprint"):
        return {"fingerprint": value.fingerprint}
    if isinstance(value, Enum):
        return plain(value.value)
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return int(value) if value.is_integer() else value
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, Mapping):
        return {str(plain(k)): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return _plain_object(value)


def _plain_object(value: Any) -> Any:
    if isinstance(value, (set, frozenset)):
        return sorted((plain(v) for v in value), key=canonical)
    if hasattr(value, "model_dump"):
        return plain(value.model_dump(mode="json"))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value) if f.compare}
        return {"class": type(value).__name__, **fields}
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        return plain(value.item())
    raise TypeError(f"{value!r} ({type(value).__name__}) has no canonical JSON form")


def canonical(value: Any) -> bytes:
    """Canonical JSON of the :func:`plain` form of `value`: sorted keys, no spaces, ASCII."""
    return json.dumps(plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def sha256(data: Any) -> str:
    """Hex digest of bytes or of any contiguous buffer."""
    return hashlib.sha256(data).hexdigest()


def entry(path: Path) -> Entry:
    """Size and sha256 of a file."""
    with path.open("rb") as file:
        return [os.fstat(file.fileno()).st_size, hashlib.file_digest(file, "sha256").hexdigest()]


def fault(folder: Path, files: Mapping[str, Entry], *, verify: bool) -> str | None:
    """Describe the first bad file among `files` (relative path → size, sha256) of `folder`; None if all are good.

    Sizes are always compared; digests are compared only with `verify`.
    """
    for name, (size, digest) in files.items():
        path = os.path.join(folder, name)  # noqa: PTH118  (a store has tens of thousands; Path is three times slower)
        try:
            actual = os.stat(path).st_size  # noqa: PTH116
        except FileNotFoundError:
            return f"{name} is missing"
        if actual != size:
            return f"{name} has {actual} bytes, not {size}"
        if verify and entry(Path(path))[1] != digest:
            return f"{name} changed: its digest differs"
    return None


def fsync(path: Path) -> None:
    """Flush a file, or the list of files of a folder, to disk, so it survives a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def atomic_write(path: Path, data: bytes, *, exclusive: bool = False) -> None:
    """Write the whole file or nothing, durably.

    Raises
    ------
    FileExistsError
        When the file exists and `exclusive` is given.
    InputError
        When the system refuses the path.
    """
    with naming(path):
        _write(path, data, exclusive=exclusive)


def _write(path: Path, data: bytes, *, exclusive: bool) -> None:
    make_folder(path.parent)
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
    try:
        with draft.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if exclusive:
            os.link(draft, path)  # unlike a rename, fails when the name is taken
        else:
            draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    fsync(path.parent)


def make_folder(path: Path) -> None:
    """Make a folder and those above it; a file in the way raises NotADirectoryError."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), error.filename) from None


def local(place: str) -> str:
    """Path of a ``file://`` URL of this machine, or of ``~``; any other text is returned unchanged."""
    url = re.fullmatch(r"file:(?://(?:localhost)?)?(/(?!/).*)", str(place))
    if url:
        return unquote(url[1])
    return str(Path(place).expanduser()) if str(place).startswith("~") else place


def on_a_disk(path: Path) -> Path:
    """Return `path`, ``~`` expanded, or raise InputError for a URL (``s3://…``), which Path takes for a folder."""
    scheme = re.match(r"([a-z][a-z0-9+.-]+):/", str(path), re.IGNORECASE)
    if scheme:
        raise InputError(
            f"{scheme[1]}://{str(path)[scheme.end() :].lstrip('/')} is a URL; results are written to a folder on a "
            "file system: give such a folder, and copy the results from there"
        )
    return path.expanduser()


def now() -> str:
    """Return the time in UTC, ISO 8601 with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def walk(paths: Iterable[Path]) -> list[Path]:
    """All files among `paths` and in the folders among them, sorted.

    Raises
    ------
    InputError
        If a path does not exist.
    """
    files: list[Path] = []
    for path in paths:
        if not path.exists():
            raise InputError(f"{path} does not exist; check the path")
        files += [p for p in path.rglob("*") if p.is_file()] if path.is_dir() else [path]
    return sorted(set(files))


def files_fingerprint(paths: Iterable[Path], root: Path) -> str:
    """Fingerprint of input files (paths relative to `root`, sizes, modification times); folders are walked."""
    states = [(p, p.stat()) for p in walk(paths)]
    return sha256(canonical([[os.path.relpath(p, root), s.st_size, s.st_mtime_ns] for p, s in states]))


class OutputLock:
    """The right to write into a folder, held by one process; the system releases it if the process dies."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)

    def __enter__(self) -> OutputLock:
        with naming(self.folder):
            make_folder(self.folder)
            self._file = (self.folder / LOCK).open("a+")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.seek(0)
            holder = self._file.read().strip() or "another process"
            self._file.close()
            raise InputError(
                f"{self.folder} is being written by {holder}; wait for it or choose another output folder"
            ) from None
        self._file.truncate(0)
        self._file.write(f"pid {os.getpid()} on {socket.gethostname()} since {now()}")
        self._file.flush()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._file.truncate(0)
        self._file.close()
