"""The answers of an interpreter of a reference sample: a table that only grows, on disk before it is acknowledged.

``labels/NAME.csv`` has the columns ``id,year,class,confidence,time``. A later row of the same point and year replaces
an earlier one, so the file is also the history of the interpretation.
"""

from __future__ import annotations

import csv
import fcntl
import io
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any, Final

from mlc_dask.data.errors import InputError, naming
from mlc_dask.storage.durable import fsync, make_folder, now

COLUMNS: Final = ("id", "year", "class", "confidence", "time")
FOLDER: Final = "labels"
CANNOT_BE_TOLD: Final = 0
"""Class of a point and year that the interpreter looked at and could not tell."""

_HEADER: Final = ",".join(COLUMNS) + "\n"
_NAME: Final = re.compile("[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True)
class Answer:
    """Class code of a point in a year, 0 if it cannot be told, and whether the interpreter was sure (1) or not (0)."""

    code: int
    confidence: int = 1


Answers = dict[tuple[str, int], Answer]
"""The latest answer by point and year."""


def check_name(name: str) -> str:
    """Return the name of an interpreter, or raise InputError if it is none: it becomes the name of a file."""
    if not _NAME.fullmatch(name):
        raise InputError(f"{name!r} is no name of an interpreter; use up to 64 letters a-z, digits, _ and -")
    return name


def labels_file(sample: Path, name: str) -> Path:
    """Return the file with the answers of the interpreter `name`; an invalid name raises InputError."""
    return sample / FOLDER / f"{check_name(name)}.csv"


def interpreters_of(sample: Path) -> list[str]:
    """Names of all interpreters with answers in the folder of a sample, sorted."""
    return sorted(p.stem for p in (sample / FOLDER).glob("*.csv") if _NAME.fullmatch(p.stem))


def read_labels(path: Path) -> Answers:
    """Read the latest answers of an interpreter; a last line that was cut off is ignored, since nobody was told of it.

    Raises
    ------
    InputError
        If the file cannot be read, or holds anything else.
    """
    with naming(path):
        return _parsed(path, path.read_bytes())


class Labels:
    """The file of one interpreter, held by one process while it is open.

    Parameters
    ----------
    sample
        Folder of the sample.
    name
        Name of the interpreter.

    Raises
    ------
    InputError
        If the name is invalid, the file holds anything else, or another process holds it.
    """

    def __init__(self, sample: Path, name: str) -> None:
        self.name, self.path, self._lock = name, labels_file(sample, name), Lock()

    def __enter__(self) -> Labels:
        with naming(self.path):
            make_folder(self.path.parent)
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            self._hold()
            self._repair()
        except BaseException:
            os.close(self._file)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        os.close(self._file)

    @property
    def answers(self) -> Answers:
        """The latest answers, a copy."""
        with self._lock:
            return dict(self._answers)

    def add(self, point: str, years: Mapping[int, Answer]) -> None:
        """Append the answers for a point; they are on disk when this returns, or none of them is counted.

        Raises
        ------
        OSError
            If the disk does not take them, or the file was replaced; then they are not in the file.
        """
        time = now()
        rows = "".join(_row(point, year, a.code, a.confidence, time) for year, a in years.items())
        with self._lock:
            self._append(rows.encode())
            self._answers.update({(point, year): answer for year, answer in years.items()})

    def _hold(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"{self.path} is being written by another process; end it, or interpret under another name"
            ) from None

    def _repair(self) -> None:
        """Write the header of a new file; cut off a torn last line, or end it if it is whole."""
        data = self.path.read_bytes()
        self._answers = _parsed(self.path, data)
        whole = _repaired(data)
        os.ftruncate(self._file, min(len(data), len(whole)))
        self._append(whole[len(data) :] if whole else _HEADER.encode())
        fsync(self.path.parent)

    def _append(self, data: bytes) -> None:
        """Append and sync; after an error the file is as before."""
        size = os.fstat(self._file).st_size
        if not os.path.samestat(os.fstat(self._file), self.path.stat()):
            raise OSError(f"{self.path} was replaced by another program; start the interpretation again")
        try:
            if os.write(self._file, data) != len(data):
                raise OSError(f"{self.path} could not be extended; free space on its disk")
            os.fsync(self._file)
        except OSError:
            os.ftruncate(self._file, size)
            raise


def _row(*cells: Any) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()


def _repaired(data: bytes) -> bytes:
    """Content of a file without a torn last line; a last line that is whole is ended."""
    before, end, last = data.rpartition(b"\n")
    if not end:
        return b"" if _HEADER.encode().startswith(last) else data + b"\n"
    try:
        _answer(last.decode().split(","))
    except ValueError:
        return before + end
    return data + b"\n"


def _parsed(path: Path, data: bytes) -> Answers:
    lines = csv.reader(io.StringIO(_repaired(data).decode("utf-8-sig", errors="replace")))
    if tuple(next(lines, COLUMNS)) != COLUMNS:
        raise InputError(f"{path}: its first line is not {','.join(COLUMNS)}; correct it, or move the file away")
    answers: Answers = {}
    for row in lines:
        try:
            answers.update([_answer(row)])
        except ValueError:
            raise InputError(
                f"{path}, line {lines.line_num}: {','.join(row)!r} is no answer ({','.join(COLUMNS)}); correct or "
                "remove the line"
            ) from None
    return answers


def _answer(row: list[str]) -> tuple[tuple[str, int], Answer]:
    point, year, code, confidence, time = row
    datetime.fromisoformat(time)
    return (point, int(year)), Answer(int(code), int(confidence))
