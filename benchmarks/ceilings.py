"""How fast multiplications and additions can be on this processor, by registers alone, per instruction."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from mlc_dask import native

_AVX512 = ("-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx512cd", "-mfma")
FLAGS = {"avx2": ("-mavx2", "-mfma"), "avx512": _AVX512, "avx512vnni": (*_AVX512, "-mavx512vnni")}
"""Of the compiler, by instruction set, as in CMakeLists.txt."""

ROUNDS = 100_000


def loops() -> Iterator[tuple[str, ctypes._NamedFuncPointer, int]]:
    """Yield loops by name (``int16 avx2``), each with its operations per round; none without a compiler."""
    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        return
    source = Path(__file__).with_suffix(".cpp")
    with tempfile.TemporaryDirectory() as folder:
        for level in sorted(FLAGS.keys() & set(native.available())):
            to = Path(folder) / f"{level}.so"
            command = [compiler, "-std=c++17", "-O3", "-ffp-contract=off", "-shared", "-fPIC", *FLAGS[level]]
            subprocess.run([*command, str(source), "-o", str(to)], check=True)  # noqa: S603
            library = ctypes.CDLL(str(to))
            # AVX-512 has one float32 instruction, whatever its other extensions.
            for kind in ("int16",) if level == "avx512vnni" else ("float32", "int16"):
                loop = library[kind]
                loop.argtypes, loop.restype = [ctypes.c_long], ctypes.c_float
                yield f"{kind} {level}", loop, library[f"{kind}_operations"]()
