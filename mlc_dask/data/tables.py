"""Tables that people write: comma, semicolon or tab, from any spreadsheet, in any of its encodings."""

from __future__ import annotations

import csv
import io
import re
import warnings
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

from mlc_dask.data.errors import Doubt, InputError, existing, naming

_DELIMITERS = ",;\t|"
_MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16", b"\xef\xbb\xbf": "utf-8-sig"}


class Row(NamedTuple):
    """A row of a table: its line in the file, from 1, and its cells by the lower-case name of their column."""

    line: int
    cells: dict[str, str]


def read_table(path: str | Path, columns: Collection[str], *, key: str | None = None) -> list[Row]:
    """Read the rows of a table that has at least `columns`; cells are stripped, empty rows are left out.

    The delimiter is the one that the header contains most often of comma, semicolon, tab and bar. Bytes are UTF-8 or
    UTF-16, by their mark, or else Windows-1252, as Excel writes them, with a :class:`.Doubt` that quotes a line. A
    first line ``sep=;`` is understood.

    Parameters
    ----------
    key
        One of the columns, in which no value may occur twice; by default no column is.

    Raises
    ------
    InputError
        For a path without a file, a missing or doubled column, a row with more cells than the header, open quotation
        marks, or a value of `key` that occurs twice; it names the line.
    """
    with naming(Path(path)):
        content = existing(Path(path), "give the path of a CSV").read_bytes()
    return parse_table(path, content, columns, key=key)


def parse_table(path: str | Path, content: bytes, columns: Collection[str], *, key: str | None = None) -> list[Row]:
    """Read the rows of a table from the content of the file `path`.

    Raises
    ------
    InputError
        As of :func:`read_table`.
    """
    lines = _text(path, content).replace("\r\n", "\n").replace("\r", "\n").split("\n")
    stated = re.fullmatch("sep=(.)", lines[0], re.IGNORECASE)
    start = 1 if stated else next((n for n, line in enumerate(lines) if line.strip()), 0)
    delimiter = stated[1] if stated else max(_DELIMITERS, key=lines[start].count)
    read = list(_cells(path, lines[start:], start, delimiter))
    names = [name.lower() for name in read[0][1]] if read else []
    _check_columns(path, names, columns, delimiter)
    rows = [(line, row) for line, row in read[1:] if any(row)]
    for line, row in rows:
        if len(row) > len(names):
            raise InputError(
                f"{path}, line {line}: {len(row)} cells in {len(names)} columns; put cells that contain "
                f"{delimiter!r} into quotation marks"
            )
    table = [Row(line, dict(zip(names, [*row, *[""] * len(names)], strict=False))) for line, row in rows]
    if key is not None:
        _check_unique(path, table, key.lower())
    return table


def _cells(path: str | Path, lines: list[str], before: int, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Cells of every row, and the line of the file where the row ends."""
    reader = csv.reader(io.StringIO("\n".join(lines)), delimiter=delimiter, skipinitialspace=True, strict=True)
    ended = 0
    try:
        for row in reader:
            ended = reader.line_num
            yield before + ended, [cell.strip() for cell in row]
    except csv.Error as error:
        raise InputError(f"{path}, line {before + ended + 1}: {error}; close its quotation marks") from None


def _check_unique(path: str | Path, table: list[Row], key: str) -> None:
    """Refuse a value that occurs twice; a whole number may have a decimal point."""
    seen: dict[str, int] = {}
    for line, cells in table:
        first = seen.setdefault(cells[key].removesuffix(".0"), line)
        if first != line:
            raise InputError(
                f"{path}, line {line}: {key} {cells[key]} occurs twice, first in line {first}; keep one row"
            )


def number(text: str) -> float:
    """Return the number that a cell holds, with a decimal point or comma; ValueError for any other text."""
    return float(text.replace(",", "."))


def _text(path: str | Path, content: bytes) -> str:
    encoding = next((name for mark, name in _MARKS.items() if content.startswith(mark)), "utf-8")
    try:
        return content.decode(encoding)
    except UnicodeDecodeError:
        text = content.decode("cp1252", errors="replace")
    strange = next(line for line in text.splitlines() if not line.isascii())
    doubt = (
        f"{path} is not UTF-8 text and is read as Windows-1252, e.g. {strange!r}; if that is wrong, save it as UTF-8"
    )
    warnings.warn(doubt, Doubt, stacklevel=3)
    return text


def _check_columns(path: str | Path, names: Collection[str], columns: Collection[str], delimiter: str) -> None:
    twice = sorted({name for name in names if name and list(names).count(name) > 1})
    if twice:
        raise InputError(f"{path}: the column {', '.join(twice)} occurs twice; keep one, or rename the other")
    missing = sorted(name for name in columns if name.lower() not in names)
    if missing:
        seen = ", ".join(filter(None, names)) or "nothing"
        raise InputError(
            f"{path}: no column {', '.join(missing)}; the table needs {', '.join(sorted(columns))}, and its first line "
            f"has {seen} (separated by {delimiter!r})"
        )
