"""Land-cover classes and the crosswalks from public products to them.

A legend is data: codes 1..254, names, colours; 0 is always *no data*, and 255 always means *never written*.
A crosswalk is a CSV beside this module (or the user's own) with one row per product code.

Steps that compute get both without what is only shown (:attr:`Legend.coded`, :attr:`Crosswalk.coded`), so that a new
name or colour changes no result of theirs. In what they say, a class is its code in braces, which
:meth:`Legend.in_words` replaces by its name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mlc_dask.data.errors import InputError, did_you_mean
from mlc_dask.data.tables import number, read_table

NO_DATA = 0
NEVER_WRITTEN = 255

_HERE = Path(__file__).parent / "crosswalks"

RESERVED = ("overall", "all", "(all ground)")
"""Names, in lower case, of what tables list beside the classes."""

UNCOLOURED = "#808080"
"""Colour of every class where only codes are known."""


@dataclass(frozen=True)
class LandCoverClass:
    """One class: its map code (1..254), its name and its ``#rrggbb`` colour."""

    code: int
    name: str
    colour: str


@dataclass(frozen=True)
class Legend:
    """An ordered set of classes with unique codes and names."""

    classes: tuple[LandCoverClass, ...]

    def __post_init__(self) -> None:
        codes = [c.code for c in self.classes]
        names = [c.name for c in self.classes]
        if not codes:
            raise InputError("the legend has no classes; give at least two rows of code,name,colour")
        for code in codes:
            if not NO_DATA < code < NEVER_WRITTEN:
                raise InputError(f"legend code {code} is not in 1..254 (0: no data, 255: never written); renumber it")
        for what, values in (("code", [str(c) for c in codes]), ("name", names)):
            plain = [v.lower() for v in values]
            twice = sorted({v for v in values if plain.count(v.lower()) > 1})
            if twice:
                raise InputError(f"legend {what} {', '.join(twice)} occurs twice; make every {what} unique")

    @cached_property
    def codes(self) -> tuple[int, ...]:
        """Class codes in legend order."""
        return tuple(c.code for c in self.classes)

    @cached_property
    def names(self) -> dict[int, str]:
        """Name of every code."""
        return {c.code: c.name for c in self.classes}

    @cached_property
    def colours(self) -> dict[int, str]:
        """Colour (``#rrggbb``) of every code."""
        return {c.code: c.colour for c in self.classes}

    @property
    def size(self) -> int:
        """The highest code plus one, which is the length of a table indexed by code, no data included."""
        return max(self.codes) + 1

    @property
    def uncoloured(self) -> Legend:
        """The same codes and names, all in grey."""
        return Legend(tuple(replace(c, colour=UNCOLOURED) for c in self.classes))

    @property
    def coded(self) -> Legend:
        """Codes without names and colours, in ascending order; a class is called by its code in braces, and is grey."""
        return Legend(tuple(LandCoverClass(code, f"{{{code}}}", UNCOLOURED) for code in sorted(self.codes)))

    def in_words(self, text: str) -> str:
        """Return `text` with the names of this legend in place of those of :attr:`coded`."""
        return re.sub(r"\{(\d+)\}", lambda found: self.names.get(int(found[1]), found[0]), text)

    def code(self, name: str) -> int:
        """Code of the class called `name`; an unknown name raises :class:`InputError` with the known names."""
        for c in self.classes:
            if c.name.lower() == name.strip().lower():
                return c.code
        raise InputError(f"class {name!r} is not in the legend; it has {', '.join(self.names.values())}")

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form, the inverse of :meth:`from_dict`; attributes of maps hold it, too."""
        return {str(c.code): {"name": c.name, "colour": c.colour} for c in self.classes}

    @classmethod
    def from_dict(cls, data: Mapping[str, Mapping[str, str]]) -> Legend:
        """Rebuild a legend from the result of :meth:`to_dict`."""
        return cls(tuple(LandCoverClass(int(code), v["name"], v["colour"]) for code, v in data.items()))

    @classmethod
    def from_csv(cls, path: str | Path) -> Legend:
        """Read ``code,name,colour`` rows."""
        classes = []
        for line, row in read_table(path, ("code", "name", "colour"), key="code"):
            with _prefixed(f"{path}, line {line}"):
                classes.append(LandCoverClass(_integer(row["code"]), _name(row["name"]), normal_colour(row["colour"])))
        with _prefixed(str(path)):
            return cls(tuple(classes))


@dataclass(frozen=True)
class Entry:
    """The mapping of one product code: its class (0 = excluded), its sampling quota 0..1 and the reason."""

    code: int
    label: str
    target: int
    quota: float
    reason: str


@dataclass(frozen=True)
class Crosswalk:
    """A mapping from product codes to legend codes (method section 10).

    `twin` is the crosswalk for the other coding of the same product, if there is one.
    """

    name: str
    legend: Legend
    entries: tuple[Entry, ...]
    no_data: tuple[int, ...] = (0,)
    twin: Crosswalk | None = None

    @property
    def coded(self) -> Crosswalk:
        """Codes, classes and quotas without names, colours and reasons, which decide no label."""
        entries = (replace(e, label="", reason="") for e in sorted(self.entries, key=lambda e: e.code))
        return Crosswalk("", self.legend.coded, tuple(entries), self.no_data, self.twin and self.twin.coded)

    @cached_property
    def by_code(self) -> dict[int, Entry]:
        """Entries by product code."""
        return {e.code: e for e in self.entries}

    def check(self, counts: Mapping[int, int], where: str) -> None:
        """Refuse product codes that the crosswalk does not know; the message lists each with its pixel count.

        Raises
        ------
        InputError
            If a code is not in the crosswalk.
        """
        unknown = {c: n for c, n in sorted(counts.items()) if c not in self.by_code and c not in self.no_data}
        if unknown:
            listed = ", ".join(f"{c} ({n} px)" for c, n in unknown.items())
            raise InputError(
                f"{where}: codes outside the {self.name} legend: {listed}; add rows for them to the crosswalk CSV "
                f"(an empty class excludes a code)"
            )

    def fitting(self, codes: Iterable[int]) -> Crosswalk:
        """Return the twin if it knows some codes of a product and this crosswalk none; else return this crosswalk."""
        present = set(codes) - set(self.no_data)
        twin = self.twin or self
        return twin if not present & self.by_code.keys() and present & twin.by_code.keys() else self

    def table(self) -> npt.NDArray[np.uint8]:
        """Lookup (65536,) uint8: product code → class code, 0 where excluded or no data."""
        lookup = np.zeros(65536, np.uint8)
        for e in self.entries:
            lookup[e.code] = e.target
        return lookup

    def quotas(self) -> npt.NDArray[np.uint8]:
        """Lookup (65536,) uint8: product code → sampling quota in percent."""
        lookup = np.zeros(65536, np.uint8)
        for e in self.entries:
            lookup[e.code] = round(100 * e.quota)
        return lookup

    @classmethod
    def from_csv(
        cls,
        path: str | Path,
        legend: Legend,
        *,
        key: str = "code",
        no_data: tuple[int, ...] = (0,),
    ) -> Crosswalk:
        """Read ``<key>,label,class,quota,reason`` rows; an empty class excludes the code and needs a reason.

        Raises
        ------
        InputError
            If a row is invalid or a key occurs twice; the message names file and row.
        """
        entries = []
        for line, row in read_table(path, (key, "label", "class", "quota", "reason"), key=key):
            with _prefixed(f"{path}, line {line}: code {row[key.lower()]}"):
                entries.append(_entry(_integer(row[key.lower()]), row, legend))
        return cls(Path(path).stem, legend, tuple(entries), no_data)

    @classmethod
    def named(cls, name: str, legend: Legend) -> Crosswalk:
        """Return a crosswalk shipped with the package: ``corine`` (grid codes), ``corine-clc`` or ``worldcover``.

        Raises
        ------
        InputError
            If no crosswalk of this name is shipped.
        """
        if name not in _SHIPPED:
            raise InputError(
                f"crosswalk {name!r} is neither shipped nor the path of a CSV; {did_you_mean(name, _SHIPPED)}"
            )
        file, key, no_data, twin = _SHIPPED[name]
        own = cls.from_csv(_HERE / file, legend, key=key, no_data=no_data)
        if not twin:
            return own
        file, key, no_data, _ = _SHIPPED[twin]
        return replace(own, twin=cls.from_csv(_HERE / file, legend, key=key, no_data=no_data))


def _entry(code: int, row: Mapping[str, str], legend: Legend) -> Entry:
    target, text = row["class"], row["quota"]
    if not target and not row["reason"]:
        raise InputError("has neither a class nor a reason; give the reason for excluding it")
    try:
        quota = number(text or "1") if target else 0.0
    except ValueError:
        raise InputError(f"quota {text!r} is not a number; give a share between 0 and 1") from None
    if not 0 <= quota <= 1:
        raise InputError(f"quota {quota} is outside 0..1; give a share between 0 and 1")
    if quota and not round(100 * quota):
        raise InputError(f"quota {quota} is less than half a per cent, which is none; give 0.01 or more, or 0")
    return Entry(code, row["label"], legend.code(target) if target else NO_DATA, quota, row["reason"])


_SHIPPED = {
    "corine": ("corine.csv", "grid_code", (-128, -1, 0, 48, 49, 50, 128, 255), "corine-clc"),
    "corine-clc": ("corine.csv", "clc_code", (-128, -1, 0, 999, 990, 995), "corine"),
    "worldcover": ("worldcover.csv", "code", (0,), ""),
}


@contextmanager
def _prefixed(place: str) -> Iterator[None]:
    """Prefix the message of an InputError with `place`."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{place}: {error}") from None


def normal_colour(text: str) -> str:
    """Return a colour as ``#rrggbb``; ``#rgb``, and the digits without ``#``, are understood.

    Raises
    ------
    InputError
        For any other text.
    """
    digits = re.fullmatch("#?([0-9A-Fa-f]{6}|[0-9A-Fa-f]{3})", text)
    if not digits:
        raise InputError(f"colour {text!r} is not #rrggbb; write six hexadecimal digits, e.g. #cc3333")
    return "#" + (digits[1] if len(digits[1]) == 6 else "".join(2 * d for d in digits[1])).lower()


def _name(text: str) -> str:
    name = " ".join(text.split())
    if not name:
        raise InputError("the class has no name; give one")
    if name.lower() in RESERVED:
        raise InputError(f"a class cannot be called {name!r}, which tables call all classes; choose another name")
    return name


def _integer(text: str) -> int:
    try:
        code = int(text.removesuffix(".0"))
    except ValueError:
        raise InputError(f"{text!r} is not an integer code; write one whole number per row") from None
    if not 0 <= code <= 65535:
        raise InputError(f"code {code} is outside 0..65535, the range of product codes; correct it")
    return code


DEFAULT_LEGEND = Legend.from_csv(_HERE / "legend.csv")
"""The eleven classes of the paper (section 3 and Table 1)."""

_LEGENDS = {"worldcover": Legend.from_csv(_HERE / "worldcover-legend.csv")}


def legend_of_crosswalk(name: str) -> Legend:
    """Default legend of a crosswalk: WorldCover's own for ``worldcover``, the paper's for all others."""
    return _LEGENDS.get(name, DEFAULT_LEGEND)
