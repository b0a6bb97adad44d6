"""Patch stores: Zarr v3 groups on a local folder, written patch by patch, that cannot be read half-filled.

Every patch has exactly one writer and ends with a record of its files' digests. Only patches without a valid record
are computed again. A store is readable once ``MANIFEST.json`` lists the digests of all of its files; the group's own
``zarr.json`` comes with it, so that other Zarr readers see no unfinished store either.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import rmtree
from typing import Any, Final

import numpy.typing as npt

from mlc_dask.data.errors import InputError
from mlc_dask.io.patchstore.declaration import (
    GROUP,
    declaration,
    declare,
    declared_layout,
    difference,
    group_metadata,
    read_declaration,
)
from mlc_dask.io.patchstore.layout import Layout, Patch
from mlc_dask.io.patchstore.patches import (
    made_on,
    patch_fault,
    read_record,
    record_path,
    write_patch,
)
from mlc_dask.io.patchstore.reading import THREADS, check_files, content_digest
from mlc_dask.runs.folder import RunFolder
from mlc_dask.storage.durable import (
    MANIFEST,
    Entry,
    NotPublished,
    atomic_write,
    canonical,
    entry,
    fault,
    now,
)

_REJECTED: Final = "rejected.jsonl"


@dataclass(frozen=True)
class PatchStore:
    """A declared store: small, picklable, the same in every process.

    :meth:`create`, :meth:`todo` and :meth:`finish` belong to one process, which holds the :class:`OutputLock`;
    :meth:`write` to any number of workers that see the folder.
    """

    folder: Path
    layout: Layout

    @classmethod
    def create(cls, folder: Path, layout: Layout, content: str | None = None) -> PatchStore:
        """Create a store, or reopen an existing one and keep its patch and chunk sizes.

        Parameters
        ----------
        content
            What identifies the values that will be written; None where the folder's own name does, as in a run.

        Raises
        ------
        InputError
            When the folder holds another store, or one of other values.
        """
        folder = Path(folder)
        stored = read_declaration(folder)
        if stored is None:
            if (folder / GROUP).exists():
                raise InputError(f"{folder} holds a Zarr store made elsewhere; choose another output folder")
            rmtree(folder / "patches", ignore_errors=True)
            declare(folder, layout, content)
            return cls.at(folder)
        other = difference(stored, declaration(layout))
        if other:
            raise InputError(f"{folder} was declared with another {other}; choose another output folder or delete it")
        if content is not None and content != stored["content"]:
            raise InputError(f"{folder} already holds other values; choose another folder, or delete it first")
        if fault(folder, stored["files"], verify=True):
            declare(folder, replace(declared_layout(stored), coords=layout.coords), stored["content"])
        return cls.at(folder)

    @classmethod
    def at(cls, folder: Path) -> PatchStore:
        """Take up the store declared at `folder`; NotPublished where there is none."""
        stored = read_declaration(Path(folder))
        if stored is None:
            raise NotPublished(f"{folder} holds no patch store; check the path or compute it first")
        return cls(Path(folder), declared_layout(stored))

    @property
    def place(self) -> str:
        """Name of the output whose run the store belongs to, that of a tile among several; empty for other stores."""
        run = RunFolder.around(self.folder)
        return run.path.name if run else ""

    def patches(self) -> list[Patch]:
        """All patches, done or not: year by year, row by row."""
        return self.layout.patches()

    def write(self, patch: Patch, values: Mapping[str, npt.NDArray[Any]], engines: Sequence[str] = ()) -> None:
        """Write one patch of every array that has it, durably, and sign it; repeating it changes nothing.

        Parameters
        ----------
        values
            Exactly the arrays of ``layout.arrays_of(patch)``, of their dtype and of the patch's shape in them (the
            year's axis of length 1 may be left out). If the fill value is 255, no value may be 255.
        engines
            Names of the engines that computed the values, for the patch's record.

        Raises
        ------
        NonDeterministicOutput
            When the patch has been written with other values.
        """
        write_patch(self.folder, self.layout, patch, values, engines)

    def todo(self) -> list[Patch]:
        """Patches without a valid record; all their files are read and compared with their digests.

        An invalid record is removed, and why is noted in ``rejected.jsonl``; the store is then not readable until the
        next :meth:`finish`.
        """
        patches = self.patches()
        with ThreadPoolExecutor(THREADS) as pool:
            faults = list(pool.map(self._fault, patches))
        todo = [p for p, reason in zip(patches, faults, strict=True) if reason]
        if todo:
            self._withdraw()
        for patch, reason in zip(patches, faults, strict=True):
            place = record_path(self.folder, patch)
            if reason and place.exists():
                with (self.folder / _REJECTED).open("ab") as log:
                    log.write(canonical({"patch": patch.name, "reason": reason, "when": now()}) + b"\n")
                place.unlink()
        return todo

    def _fault(self, patch: Patch) -> str | None:
        record = read_record(self.folder, patch)
        return "it has no readable record" if record is None else patch_fault(self.folder, self.layout, patch, record)

    def _withdraw(self) -> None:
        for name in (MANIFEST, GROUP):
            (self.folder / name).unlink(missing_ok=True)

    def finish(self) -> dict[str, list[str]]:
        """Verify every file and publish the store by its manifest, whose ``digest`` identifies the content.

        Returns
        -------
        The ``engines`` that the records of its patches name, for the record of the step; {} where there are none.

        Raises
        ------
        NotPublished
            While patches are missing or damaged.
        """
        todo = self.todo()
        if todo:
            raise NotPublished(
                f"{self.folder}: {len(todo)} of {len(self.patches())} patches are not done, the first one is "
                f"{todo[0].name}; run it again, and only these are computed"
            )
        stored = read_declaration(self.folder)
        assert stored is not None, self.folder
        files: dict[str, Entry] = dict(stored["files"])
        engines: list[str] = []
        for patch in self.patches():
            record = read_record(self.folder, patch)
            assert record is not None, f"{patch.name} lost its record: two processes finish {self.folder}"
            files |= record["files"]
            engines += record.get("engines", ())
        atomic_write(self.folder / GROUP, group_metadata(self.folder, stored))
        files[GROUP] = entry(self.folder / GROUP)
        check_files(self.folder, stored["files"], verify=True)
        patches = len(self.patches())
        manifest = {
            "format": 1,
            "patch": self.layout.patch,
            "patches": patches,
            "digest": content_digest(files),
            "files": files,
        }
        atomic_write(self.folder / MANIFEST, canonical(manifest))
        return made_on(engines)
