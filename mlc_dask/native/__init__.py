"""Compiled kernels, where they were built and this processor runs them; nothing else in the package needs them.

Every instruction set has a module of its own, so that no instruction of one ever runs on a processor without it.
``MLC_DASK_NATIVE`` in the environment chooses: a name of :data:`LEVELS`, or ``off``.
"""

from __future__ import annotations

import os
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Final

from mlc_dask.data.errors import InputError

LEVELS: Final = ("amx", "avx512", "avx2", "baseline")
"""Instruction sets that there may be modules for, the fastest first."""


@cache
def best() -> ModuleType | None:
    """Return the module for this processor, None where there is none.

    Raises
    ------
    InputError
        If the environment asks for one that cannot be had.
    """
    asked = level_asked()
    if asked not in ("", "off", *LEVELS):
        raise InputError(f"MLC_DASK_NATIVE={asked!r} is unknown; set it to {', '.join(LEVELS)} or off")
    if asked == "off":
        return None
    found = available()
    if asked and asked not in found:
        raise InputError(f"MLC_DASK_NATIVE={asked} was not built or does not run on this processor; unset it")
    name = asked or next(iter(found), None)
    return import_module(f"{__name__}._{name}") if name else None


def level_asked() -> str:
    """Return what the environment asks for: a name of :data:`LEVELS`, ``off``, or nothing."""
    return os.environ.get("MLC_DASK_NATIVE", "")


def available() -> list[str]:
    """Return the levels that were built and that this processor runs, the fastest first."""
    try:
        runs = {"baseline", *import_module(f"{__name__}._baseline").features()}
    except ImportError:
        return []
    # Older compilers leave some out.
    return [name for name in LEVELS if name in runs and find_spec(f"{__name__}._{name}")]


def engine_name(module: ModuleType) -> str:
    """Return what engines on `module` are called, e.g. ``native-avx2``."""
    return f"native-{module.__name__.rpartition('_')[2]}"
