"""The record of an exported folder: the identity of its maps, and the digests of its complete files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from mlc_dask.data.errors import InputError
from mlc_dask.storage.durable import LOCK, Entry, atomic_write, canonical, entry, fault

RECORD: Final = "export.json"
DRAFTS: Final = ".drafts"


@dataclass(frozen=True)
class Part:
    """Files that were written together, by path below the folder, and the number of pixels per value.

    `look` identifies the names and colours in them.
    """

    files: dict[str, Entry]
    counts: list[int] = field(default_factory=list)
    look: str = ""


class Ledger:
    """The finished parts of an exported folder; every change is on disk before the method returns.

    Raises
    ------
    InputError
        When the folder contains other files, or an export of other maps or layers.
    """

    def __init__(self, folder: Path, maps: Mapping[str, str]) -> None:
        self.folder = folder
        self.maps = dict(maps)
        stored = _read(folder)
        if stored is not None:
            _compare(folder, stored["maps"], self.maps)
        self.parts = {name: Part(**part) for name, part in stored["parts"].items()} if stored else {}

    def whole(self, name: str, look: str) -> Part | None:
        """Return a part whose files are all intact and have this look; None if the part must be written."""
        part = self.parts.get(name)
        if part is None or part.look != look or fault(self.folder, part.files, verify=True):
            return None
        return part

    def add(self, name: str, files: Iterable[Path], counts: list[int], look: str) -> Part:
        """Record that a part is written."""
        part = Part({p.relative_to(self.folder).as_posix(): entry(p) for p in files}, counts, look)
        self.parts[name] = part
        self.write()
        return part

    def write(self) -> None:
        """Write the record."""
        parts = {name: vars(part) for name, part in self.parts.items()}
        atomic_write(self.folder / RECORD, canonical({"format": 1, "maps": self.maps, "parts": parts}))


def _read(folder: Path) -> dict[str, Any] | None:
    if not folder.exists():
        return None
    if not folder.is_dir():
        raise InputError(f"{folder} is a file; give a new or an empty folder")
    try:
        stored: dict[str, Any] = json.loads((folder / RECORD).read_bytes())
    except (FileNotFoundError, ValueError):
        others = sorted(p.name for p in folder.iterdir() if p.name not in (LOCK, DRAFTS, RECORD))
        if others:
            raise InputError(f"{folder} contains other files ({others[0]}); give a new or an empty folder") from None
        return None
    return stored


def _compare(folder: Path, stored: Mapping[str, str], maps: Mapping[str, str]) -> None:
    if stored.keys() != maps.keys():
        raise InputError(
            f"{folder} contains an export of {', '.join(stored)}; give another folder, or delete that export first"
        )
    if stored != maps:
        other = next(name for name in maps if stored[name] != maps[name])
        raise InputError(
            f"{folder} contains other maps ({other} differs); give another folder, or delete those maps first"
        )
