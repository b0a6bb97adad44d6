"""Compiled kernels, used if they were built and this processor runs them; the package works without them.

Forests and gaps are in one module for all processors. Networks have a module for every instruction set, so its
instructions never run on a processor that lacks them. The environment variable ``MLC_DASK_NATIVE`` chooses among them:
a name of :data:`LEVELS`, or ``off``.
"""

from __future__ import annotations

import os
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Final

from mlc_dask.data.errors import InputError

LEVELS: Final = ("amx", "avx512vnni", "avx512", "avx2", "baseline")
"""Instruction sets for which modules can be built, the fastest first. The baseline has no kernels of networks."""


@cache
def level() -> str:
    """Return the one of :data:`LEVELS` that this process uses, the fastest unless the environment asks; "" for none.

    Raises
    ------
    InputError
        If the environment asks for a level that is not available.
    """
    asked = level_asked()
    if asked not in ("", "off", *LEVELS):
        raise InputError(f"MLC_DASK_NATIVE={asked!r} is unknown; set it to {', '.join(LEVELS)} or off")
    if asked == "off":
        return ""
    levels = available()
    if asked and asked not in levels:
        raise InputError(f"MLC_DASK_NATIVE={asked} was not built or does not run on this processor; unset it")
    return asked or next(iter(levels), "")


def level_asked() -> str:
    """Return the value of ``MLC_DASK_NATIVE``: a name of :data:`LEVELS`, ``off``, or an empty string."""
    return os.environ.get("MLC_DASK_NATIVE", "")


def available() -> list[str]:
    """Return the levels that were built and run on this processor, the fastest first."""
    try:
        runs = {"baseline", *import_module(f"{__name__}._baseline").features()}
    except ImportError:
        return []
    # Older compilers do not build all modules.
    return [name for name in LEVELS if name in runs and find_spec(f"{__name__}._{name}")]


def networks() -> ModuleType | None:
    """Return the module with the kernels of networks at :func:`level`; None if there is none."""
    return None if level() in ("", "baseline") else import_module(f"{__name__}._{level()}")


def portable() -> ModuleType | None:
    """Return the module with the kernels of forests and gaps; None if there is none."""
    return import_module(f"{__name__}._baseline") if level() else None
