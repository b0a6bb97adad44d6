"""Whether two outputs of runs are the same: maps, samples, tables and models byte by byte, records by their meaning.

Usage: python benchmarks/compare_outputs.py A B; prints one line per difference, and exits with 1 where there is any.

Every step's result is compared, and the published results. Records may differ in the time, place and speed of a step,
in the engine, and in the module of its function. If the files of an array differ, the values are compared as
well, so that a change of compression can be distinguished from a change of the map.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from mlc_dask.runs.folder import RunFolder, step_of
from mlc_dask.runs.records import RECORD

SIGNED = "patches"
"""Folder of a store's records of patches."""
FREE = frozenset(
    {"started", "finished", "seconds", "host", "pid", "written", "engine", "engines", "published", "files"}
)
"""Keys of records that may differ; the files whose digests they list are compared themselves."""
SHOWN = ("evaluation", "report.html")
"""Copies of results beside the artifacts."""


def differences(a: Path, b: Path) -> list[str]:
    """Give one line per difference between the outputs `a` and `b`; for several tiles, in all of them."""
    first, second = RunFolder(a), RunFolder(b)
    if not first.begun or not second.begun:
        return [f"{run.path}: not the output of a run" for run in (first, second) if not run.begun]
    found = [*_results(first, second), *_file(first.current, second.current, "published results")]
    for name in SHOWN:
        found += _folder(a / name, b / name, name)
    tiles = [{tile.path.name: tile.path for tile in run.tiles()} for run in (first, second)]
    found += _only_in_one(set(tiles[0]), set(tiles[1]), "tile ")
    for name in sorted(tiles[0].keys() & tiles[1].keys()):
        found += [f"{name}: {line}" for line in differences(tiles[0][name], tiles[1][name])]
    return found


def _results(first: RunFolder, second: RunFolder) -> Iterator[str]:
    mine, theirs = ({f.name: f for f in run.artifacts()} for run in (first, second))
    yield from _only_in_one(set(mine), set(theirs), "")
    for name in sorted(mine.keys() & theirs.keys()):
        yield from _folder(mine[name], theirs[name], step_of(mine[name]))


def _only_in_one(a: set[str], b: set[str], what: str) -> list[str]:
    return [f"{what}{name}: only in {'A' if name in a else 'B'}" for name in sorted(a ^ b)]


def _folder(a: Path, b: Path, name: str) -> Iterator[str]:
    """Compare all files of two folders, or two files; differences in an array are summed up per array."""
    mine, theirs = _files(a), _files(b)
    yield from _only_in_one(set(mine), set(theirs), f"{name}/" if a.is_dir() else "")
    arrays: dict[str, int] = {}
    for path in sorted(mine.keys() & theirs.keys()):
        array = path.rpartition("/c/")[0]
        if array and (a / array / "zarr.json").exists():
            arrays[array] = arrays.get(array, 0) + (mine[path].read_bytes() != theirs[path].read_bytes())
        else:
            yield from _file(mine[path], theirs[path], f"{name}/{path}" if path else name)
    for array, count in arrays.items():
        if count:
            yield f"{name}/{array}: {count} files differ; {_values(a / array, b / array)}"


def _files(folder: Path) -> dict[str, Path]:
    if folder.is_file():
        return {"": folder}
    return {p.relative_to(folder).as_posix(): p for p in sorted(folder.rglob("*")) if p.is_file()}


def _values(a: Path, b: Path) -> str:
    """Compare two arrays value by value."""
    try:
        mine, theirs = (np.asarray(zarr.open_array(str(path), mode="r")[...]) for path in (a, b))
    except Exception as error:
        return f"the values cannot be read ({error})"
    if mine.shape != theirs.shape or mine.dtype != theirs.dtype:
        return f"{mine.dtype} {mine.shape} and {theirs.dtype} {theirs.shape}"
    other = (mine != theirs) & ~((mine != mine) & (theirs != theirs))
    return f"{int(other.sum()):,} of {other.size:,} values differ" if other.any() else "all values are equal"


def _file(a: Path, b: Path, name: str) -> Iterator[str]:
    """Compare two files; records by their statements about the result."""
    if not a.exists() or not b.exists():
        if a.exists() != b.exists():
            yield f"{name}: only in {'A' if a.exists() else 'B'}"
        return
    mine, theirs = a.read_bytes(), b.read_bytes()
    if mine == theirs:
        return
    if a.name == RECORD or a.parent.name == SIGNED or name == "published results":
        own, other = _meaning(json.loads(mine)), _meaning(json.loads(theirs))
        for key in sorted(key for key in own.keys() | other.keys() if own.get(key) != other.get(key)):
            yield f"{name}: {key} is {own.get(key)!r} in A, {other.get(key)!r} in B"
    else:
        yield f"{name}: {len(mine):,} and {len(theirs):,} bytes, not the same"


def _meaning(record: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in record.items() if key not in FREE}
    if "function" in kept:
        kept["function"] = str(kept["function"]).rpartition(".")[2]
    return kept


def main() -> None:
    """Compare the two outputs that the command line names."""
    if len(sys.argv) != 3:
        raise SystemExit("usage: python benchmarks/compare_outputs.py A B")
    a, b = (Path(name) for name in sys.argv[1:])
    found = differences(a, b)
    print("\n".join(found) or f"{len(RunFolder(a).artifacts())} results, the same in both outputs")
    raise SystemExit(1 if found else 0)


if __name__ == "__main__":
    main()
