"""The answers of an interpreter of a reference sample: a table that only grows, on disk before it is acknowledged.

``labels/NAME.csv`` has the columns ``id,year,class,confidence,time``. A later row of the same point and year replaces
an earlier one, so the file is also the history of the interpretation. Files of other programs need the first three
columns only, and are read as any table is; they take no answers.
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
from typing import Any, Final, NamedTuple

from mlc_dask.data.errors import InputError, naming
from mlc_dask.data.tables import Row, number, parse_table
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


class Label(NamedTuple):
    """One row of a file: its line, from 1, the id of the point as it is written, the year, and the answer."""

    line: int
    point: str
    year: int
    answer: Answer


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
    """Read the latest answers of an interpreter; errors as of :func:`read_rows`."""
    return _latest(read_rows(path))


def read_rows(path: Path) -> list[Label]:
    """Read all answers of an interpreter; a last line that was cut off is ignored, since nobody was told of it.

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
        first = _repaired(data).decode("utf-8-sig", errors="replace").partition("\n")[0].rstrip("\r")
        if first not in ("", ",".join(COLUMNS)):
            raise InputError(
                f"{self.path}: its first line is not {','.join(COLUMNS)}; correct it, or move the file away"
            )
        self._answers = _latest(_parsed(self.path, data))
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
    """Content of a file of ours without a torn last line; a last line that is whole is ended."""
    header = _HEADER.encode()
    if header.startswith(data):
        return b""
    before, end, last = data.rpartition(b"\n")
    if not data.startswith(header) or not last:
        return data
    try:
        _answer(dict(zip(COLUMNS, next(csv.reader([last.decode()])), strict=True)), COLUMNS)
    except (ValueError, csv.Error):
        return before + end
    return data + b"\n"


def _parsed(path: Path, data: bytes) -> list[Label]:
    whole = _repaired(data)
    rows = parse_table(path, whole, COLUMNS[:3]) if whole else []
    return [_label(path, row) for row in rows]


def _label(path: Path, row: Row) -> Label:
    try:
        return Label(row.line, row.cells["id"], whole_number(row.cells["year"]), _answer(row.cells, tuple(row.cells)))
    except ValueError:
        text = ",".join(row.cells.values()).rstrip(",")
        raise InputError(
            f"{path}, line {row.line}: {text!r} is no answer ({','.join(COLUMNS)}); correct or remove the line"
        ) from None


def _answer(cells: Mapping[str, str], columns: tuple[str, ...]) -> Answer:
    """Answer of a row; a row of ours has all cells. Files of other programs may leave classes empty."""
    if columns != COLUMNS:
        return Answer(whole_number(cells["class"] or str(CANNOT_BE_TOLD)))
    datetime.fromisoformat(cells["time"])
    return Answer(whole_number(cells["class"]), whole_number(cells["confidence"]))


def whole_number(text: str) -> int:
    """Whole number in a cell, which spreadsheets write with a decimal point, too; ValueError for any other text."""
    value = number(text)
    if value != int(value):
        raise ValueError(text)
    return int(value)


def _latest(labels: list[Label]) -> Answers:
    return {(label.point, label.year): label.answer for label in labels}
