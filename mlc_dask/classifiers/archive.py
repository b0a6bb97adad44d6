"""The one file format of all models: arrays and a JSON description in a safetensors file.

Reading a file executes nothing from it, and the same model always gives the same bytes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from mlc_dask.data.errors import InputError

WEIGHTS: Final = "model.safetensors"
DESCRIPTION: Final = "model.json"
FORMAT: Final = 1

# A single key: safetensors writes several keys in the order of a hash table, which differs between processes.
_KEY: Final = "mlc_dask"

Arrays = Mapping[str, npt.NDArray[Any]]


def pack(description: Mapping[str, Any], arrays: Arrays) -> bytes:
    """Return the bytes of a model file."""
    text = json.dumps({"format": FORMAT, **description}, allow_nan=False)
    return bytes(save({name: np.ascontiguousarray(a) for name, a in arrays.items()}, {_KEY: text}))


def write(folder: Path, content: bytes) -> None:
    """Write ``model.safetensors``, and its description for people and other programs as ``model.json``.

    Only ``model.safetensors`` is ever read back, so the two files cannot lead to different predictions.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / WEIGHTS) as unfinished:
        unfinished.write_bytes(content)
    readable = json.dumps(read_description(folder), indent=1, ensure_ascii=False)
    with replacing(folder / DESCRIPTION) as unfinished:
        unfinished.write_text(readable + "\n", encoding="utf-8")


def read_description(folder: Path) -> dict[str, Any]:
    """Read the description of the model in `folder`.

    Raises
    ------
    InputError
        If there is no model, or the file was written by another program or a later version of this package.
    """
    path = folder / WEIGHTS
    if not path.is_file():
        raise InputError(f"{path} does not exist; give the folder of a saved model")
    try:
        with safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {}).get(_KEY)
        description = json.loads(text or "null")
    except (SafetensorError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}); train and save the model again") from error
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        raise InputError(f"{path} lacks the description that mlc_dask writes; give a model saved by this version")
    return description


def read_arrays(folder: Path) -> dict[str, npt.NDArray[Any]]:
    """Read the arrays of a model whose description has been read."""
    with safe_open(folder / WEIGHTS, framework="numpy") as file:
        return {name: file.get_tensor(name) for name in sorted(file.keys())}


@contextmanager
def parsing(folder: Path, kind: str) -> Iterator[None]:
    """Turn errors during the parsing of a description or its arrays into an :class:`InputError`."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RuntimeError) as error:
        raise InputError(
            f"{folder / WEIGHTS} is not a complete {kind} ({type(error).__name__}: {error}); train and save it again"
        ) from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path for writing; its file replaces `path` in one step, or is deleted if the block raises."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.unfinished")
    try:
        yield unfinished
        with unfinished.open("rb+") as file:
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
