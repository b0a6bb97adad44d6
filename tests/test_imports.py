"""The front door opens at once: what is imported, by whom, and what it costs."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median

import pytest

import mlc_dask

PUBLIC = [
    "DEFAULT_LEGEND",
    "LSTM",
    "SOURCES",
    "Classifier",
    "Clustering",
    "Crosswalk",
    "Eopf",
    "Gaps",
    "GeoTiff",
    "InputError",
    "Legend",
    "Mask",
    "Model",
    "PairingRules",
    "RandomForest",
    "Safe",
    "Stac",
    "Theia",
    "agreement",
    "change_count",
    "choose_acquisitions",
    "classify",
    "evaluate",
    "export_maps",
    "fit",
    "fit_multi_and_single_year",
    "fit_per_year",
    "load_model",
    "open_cube",
    "open_maps",
    "open_models",
    "open_product",
    "open_reference",
    "open_run",
    "open_samples",
    "sample_unchanged",
    "save_model",
    "select_reliable_samples",
    "smooth",
    "stack",
    "transition_matrices",
    "unchanged_areas",
    "write_cube",
    "write_maps",
    "write_models",
    "write_samples",
]
"""Names that notebooks of others import; a name may be added here, and none may go."""

HEAVY = [
    "bokeh",
    "cv2",
    "dask",
    "distributed",
    "jinja2",
    "matplotlib",
    "numba",
    "pandas",
    "pystac",
    "pystac_client",
    "rasterio",
    "requests",
    "rioxarray",
    "scipy",
    "sklearn",
    "torch",
    "xarray",
    "zarr",
]
"""Packages that take a tenth of a second or more."""

ROOMS = ("pipeline", "show", "worlds", "show.notebook", "show.report")
"""Packages whose names are imported on use."""

IMPORT = "import mlc_dask"
HELP = "import sys; sys.argv[1:] = ['--help']; from mlc_dask.cli import app; app(standalone_mode=False)"
INIT = "import sys; sys.argv[1:] = ['init']; from mlc_dask.cli import app; app(standalone_mode=False)"
OPENED = pytest.mark.parametrize("code", [IMPORT, HELP, INIT], ids=["import", "help", "init"])


def python(code: str, folder: Path) -> str:
    """Run `code` in a process of its own; returns what it prints."""
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def cpu_seconds(code: str, folder: Path) -> float:
    """CPU time of a process that runs `code`, in user and kernel mode."""
    before = os.times()
    (folder / "mlc.toml").unlink(missing_ok=True)
    python(code, folder)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


# What stays shut


@OPENED
def test_what_takes_long_is_not_imported(code: str, tmp_path: Path) -> None:
    printed = python(f"{code}; import json, sys; print(json.dumps([*sys.modules]))", tmp_path)
    imported = set(json.loads(printed.splitlines()[-1]))
    assert "mlc_dask" in imported and not imported & set(HEAVY)


@OPENED
def test_the_front_door_opens_at_once(code: str, tmp_path: Path) -> None:
    # In turn, since the clock of a core changes with the load of the others.
    least = "import numpy, pydantic, typer"
    assert median(cpu_seconds(code, tmp_path) / cpu_seconds(least, tmp_path) for _ in range(3)) < 2.5


# What is there all the same


def test_every_public_name_of_before_is_there() -> None:
    assert set(PUBLIC) <= set(mlc_dask.__all__) and set(PUBLIC) <= set(dir(mlc_dask))
    for name in PUBLIC:
        assert getattr(mlc_dask, name) is not None
    names: dict[str, object] = {}
    exec(f"from mlc_dask import {', '.join(PUBLIC)}", names)
    assert set(PUBLIC) <= set(names)


def test_the_preload_of_schedulers_is_there() -> None:
    preload = importlib.import_module("mlc_dask.dashboard")
    assert callable(preload.dask_setup)


@pytest.mark.parametrize("room", ["", *ROOMS])
def test_stubs_promise_what_there_is(room: str) -> None:
    package = importlib.import_module(f"mlc_dask.{room}".rstrip("."))
    stub: dict[str, object] = {}
    assert package.__file__
    written = Path(package.__file__).with_suffix(".pyi").read_text(encoding="utf-8")
    exec(written[written.index("__all__") :], stub)
    assert sorted(stub["__all__"]) == package.__all__  # type: ignore[call-overload]
    assert all(getattr(package, name) is not None for name in package.__all__)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(AttributeError, match="'mlc_dask' has no attribute 'open_cubes'"):
        mlc_dask.open_cubes  # noqa: B018


THREADS = """
import threading
import mlc_dask

names = mlc_dask.__all__
start, faults = threading.Barrier(8), []

def ask(first):
    start.wait()
    for name in names[first:] + names[:first]:
        try:
            getattr(mlc_dask, name)
        except BaseException as error:
            faults.append(f"{name}: {error!r}")

threads = [threading.Thread(target=ask, args=(len(names) * n // 8,)) for n in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert not faults, faults
"""


def test_threads_may_ask_for_the_first_names_at_once(tmp_path: Path) -> None:
    python(THREADS, tmp_path)


@pytest.mark.parametrize("imports", ["import mlc_dask, xarray", "import xarray, mlc_dask"])
def test_xarray_objects_show_themselves_whichever_is_imported_first(imports: str, tmp_path: Path) -> None:
    assert python(f"{imports}; print(repr(xarray.Dataset().mlc))", tmp_path) == "<data: >\n"


def test_workers_import_everything_before_the_first_task(tmp_path: Path) -> None:
    printed = python("import distributed, mlc_dask; print(*vars(mlc_dask))", tmp_path)
    assert set(PUBLIC) <= set(printed.split())
