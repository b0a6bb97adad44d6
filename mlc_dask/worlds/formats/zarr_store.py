"""Zarr stores of format 2 with consolidated metadata and one chunk per array.

This module writes them without the zarr package: a few lines of JSON give the same bytes for all its versions.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy.typing as npt

_LEVEL = 1


@dataclass(frozen=True, eq=False)
class Variable:
    """An array with the names of its dimensions, its attributes, and its value for no data."""

    values: npt.NDArray[Any]
    dimensions: tuple[str, ...]
    attributes: Mapping[str, object] = field(default_factory=dict)
    fill_value: int | None = None


def write_store(folder: Path, attributes: Mapping[str, object], variables: Mapping[str, Variable]) -> None:
    """Write a store with the `attributes` of the root and the `variables` by path (``group/name``)."""
    documents: dict[str, object] = {".zattrs": dict(attributes), ".zgroup": {"zarr_format": 2}}
    for group in _groups(variables):
        documents |= {f"{group}/.zgroup": {"zarr_format": 2}, f"{group}/.zattrs": {}}
    for path, variable in variables.items():
        documents[f"{path}/.zarray"] = _array(variable)
        documents[f"{path}/.zattrs"] = {"_ARRAY_DIMENSIONS": list(variable.dimensions), **variable.attributes}
        chunk = folder / path / ".".join("0" * variable.values.ndim)
        chunk.parent.mkdir(parents=True, exist_ok=True)
        little = variable.values.astype(variable.values.dtype.newbyteorder("<"))
        chunk.write_bytes(zlib.compress(little.tobytes(), _LEVEL))
    # Readers expect the members of a group to be adjacent.
    consolidated = {"metadata": dict(sorted(documents.items())), "zarr_consolidated_format": 1}
    for name, document in {**documents, ".zmetadata": consolidated}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps(document, indent=1), encoding="utf-8")


def _groups(paths: Iterable[str]) -> list[str]:
    """All groups above the arrays except the root, parents before children."""
    groups = {str(parent) for path in paths for parent in PurePosixPath(path).parents}
    return sorted(groups - {"."})


def _array(variable: Variable) -> dict[str, object]:
    shape = list(variable.values.shape)
    return {
        "chunks": shape,
        "compressor": {"id": "zlib", "level": _LEVEL},
        "dimension_separator": ".",
        "dtype": variable.values.dtype.newbyteorder("<").str,
        "fill_value": variable.fill_value,
        "filters": None,
        "order": "C",
        "shape": shape,
        "zarr_format": 2,
    }
