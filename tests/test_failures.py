"""Faults by kind: whatever a task raises arrives as it was, and whatever the system or GDAL refuses is one line."""

from __future__ import annotations

import builtins
import importlib
import json
import os
import pkgutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio._err
import rasterio.errors
import rasterio.shutil
import xarray as xr
from distributed import Client
from typer.testing import CliRunner

import mlc_dask as mlc
from mlc_dask import cli, lazy
from mlc_dask.compute.backends import connect
from mlc_dask.config import Execution
from mlc_dask.data.errors import InputError, UnreadableError, naming
from mlc_dask.io.sources import Stac
from mlc_dask.lazy.failures import portable
from mlc_dask.runs.artifacts import StopRun
from mlc_dask.show.terminal import show_error
from mlc_dask.storage.durable import OutputLock, local
from mlc_dask.worlds import World, write_products
from tests.runs import write_config

UNPLACED = 'LOCAL_CS["Arbitrary",UNIT["metre",1]]'
MOON = "IAU_2015:30100"


def below(kind: type[BaseException]) -> set[type[BaseException]]:
    return {kind}.union(*(below(k) for k in kind.__subclasses__()))


def kinds() -> list[type[Exception]]:
    """Every exception class of the package, of rasterio and GDAL, and of Python."""
    for module in pkgutil.walk_packages(mlc.__path__, "mlc_dask."):
        if not module.name.endswith("__main__"):
            try:
                importlib.import_module(module.name)
            except ModuleNotFoundError as error:  # an extra that is not installed
                assert not (error.name or "").startswith("mlc_dask"), error
    package = {k for k in below(Exception) if k.__module__.startswith("mlc_dask.") and not k.__name__.startswith("_")}
    libraries = [*vars(rasterio._err).values(), *vars(rasterio.errors).values(), *vars(builtins).values()]
    found = package | {k for k in libraries if isinstance(k, type) and issubclass(k, Exception)}
    names = {k.__name__ for k in found}
    assert {"InputError", "NotPublished", "CPLE_OpenFailedError", "WarpOperationError", "MemoryError"} <= names
    return sorted(found - {StopIteration, StopAsyncIteration}, key=lambda k: f"{k.__module__}.{k.__name__}")


ARGUMENTS: dict[type[Exception], tuple[Any, ...]] = {
    UnicodeDecodeError: ("utf-8", b"\xff", 0, 1, "invalid start byte"),
    UnicodeEncodeError: ("ascii", "ü", 0, 1, "not in range"),
    UnicodeTranslateError: ("ü", 0, 1, "no"),
    StopRun: (SimpleNamespace(name="cube"),),
    ExceptionGroup: ("several", [ValueError("one"), KeyError("two")]),
}


def made(kind: type[Exception]) -> Exception:
    if kind in ARGUMENTS:
        return kind(*ARGUMENTS[kind])
    if issubclass(kind, rasterio._err.CPLE_BaseError):
        return kind(3, 4, "GDAL says no")
    if issubclass(kind, OSError):
        return kind(13, "Permission denied", "/a/b.tif")
    try:
        return kind("a.tif is bad; fix it")
    except TypeError:
        return kind("a.tif", "is bad")


def fails(kind: type[Exception], cause: type[Exception] | None) -> None:
    """Raise an error in a task, caused by another where `cause` is given."""
    if cause is None:
        raise made(kind)
    try:
        raise made(cause)
    except cause as error:
        raise made(kind) from error


def same(got: Exception, wanted: Exception) -> bool:
    return type(got) is type(wanted) and str(got) == str(wanted) and exit_code(got) == exit_code(wanted)


def exit_code(error: Exception) -> int:
    @cli._errors_in_one_line
    def command() -> None:
        raise error

    with pytest.raises(cli.typer.Exit) as caught:
        command()
    return int(caught.value.exit_code)


@pytest.fixture(autouse=True)
def _details(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of details are not left on the machine."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


@pytest.fixture(scope="module", params=["local", "running"])
def client(request: pytest.FixtureRequest) -> Iterator[Client]:
    """Workers of a local run, over TLS, and those of a running scheduler."""
    if request.param == "local":
        with connect(Execution(workers=1, memory="3GiB", dashboard="127.0.0.1:0")) as made_here:
            yield made_here
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    dask, quiet = [sys.executable, "-m", "dask"], {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with (
        subprocess.Popen([*dask, "scheduler", "--host", address, "--no-dashboard"], **quiet) as scheduler,
        subprocess.Popen([*dask, "worker", address, "--nthreads", "1", "--no-dashboard"], **quiet) as worker,
    ):
        try:
            with Client(address, timeout=60) as outside:
                outside.wait_for_workers(1, timeout=120)
                yield outside
        finally:
            worker.terminate()
            scheduler.terminate()


@pytest.mark.slow
def test_every_error_of_a_task_arrives_as_it_was(client: Client) -> None:
    """Alone, and where it was caused by an exception of GDAL that cannot be unpickled."""
    pairs = [(kind, cause) for kind in kinds() for cause in (None, rasterio._err.CPLE_AppDefinedError)]
    tasks = [lazy.call(fails, kind, cause, name="fail") for kind, cause in pairs]
    futures = client.compute(tasks)
    wrong = []
    for (kind, cause), future in zip(pairs, futures, strict=True):
        got = future.exception()
        if not same(got, made(kind)):
            wrong.append((kind.__name__, cause, repr(got)))
    assert not wrong, f"{len(wrong)} of {len(pairs)}: {wrong[:5]}"


def unreadable(*_: Any, **__: Any) -> Any:
    try:
        raise rasterio._err.CPLE_AppDefinedError(3, 1, "read error")
    except rasterio._err.CPLE_BaseError as error:
        raise UnreadableError("a.tif cannot be read; download it again") from error


@pytest.mark.slow
def test_the_verbs_carry_errors_and_their_place(client: Client) -> None:
    blocks = lazy.read_blocks(unreadable, leading=(), chunks=((4,), (4,)), dtype=np.uint8, name="read-cube-2019")
    raster = xr.DataArray(np.ones((4, 4), np.uint8), dims=("y", "x")).chunk()
    lazies = [
        blocks,
        lazy.map_pixels(unreadable, raster, layers=("label",), name="classify").label.data,
        lazy.map_neighbourhood(unreadable, raster, radius=1, name="smooth").data,
        lazy.reduce_blocks(unreadable, max, raster, name="count"),
    ]
    for one in lazies:
        error = client.compute(one).exception()
        assert type(error) is UnreadableError and "download it again" in str(error)
        assert any("begins at row 0, column 0" in note for note in error.__notes__)


def test_what_cannot_be_carried_at_all_is_its_text() -> None:
    lock = threading.Lock()
    error = portable(ValueError(lock))
    assert type(error) is RuntimeError and str(error) == f"ValueError: {lock}"


def command(*arguments: str | Path, cwd: Path | None = None, **environment: str) -> tuple[int, str, str]:
    """Exit code, last line and everything that a command printed, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "mlc_dask", *map(str, arguments)],
        capture_output=True, text=True, cwd=cwd, env={**os.environ, **environment}, timeout=300,
    )  # fmt: skip
    text = done.stdout + done.stderr
    return done.returncode, done.stdout.strip().splitlines()[-1], text


def rewritten(path: Path, **profile: Any) -> None:
    with rasterio.open(path) as file:
        values, own = file.read(), file.profile
    with rasterio.open(path, "w", **{**own, **profile}) as file:
        file.write(values)


def cut_in_its_pixels(path: Path, *, fill: bool = False) -> None:
    """A valid header and overviews; the pixels at the end are missing, or, with `fill`, zeros in the file."""
    whole = path.with_name("whole.tif")
    rasterio.shutil.copy(path, whole, driver="COG", blocksize=128, compress="deflate")
    content = whole.read_bytes()
    kept = content[: len(content) * 6 // 10]
    path.write_bytes(kept + bytes(len(content) - len(kept)) if fill else kept)
    whole.unlink()


@pytest.mark.slow
def test_kind_4_a_damaged_file_met_by_a_worker_is_one_line(world: Path, tmp_path: Path) -> None:
    for path in (world / "acquisitions").glob("*/B03.tif"):
        cut_in_its_pixels(path, fill=True)
    config = write_config(tmp_path / "c.toml", world, tmp_path / "out", "workers = 1")
    code, line, text = command("run", config, "--until", "cube")
    assert code == 2 and line.startswith("error: ") and "B03.tif cannot be read" in line and "download it again" in line
    assert "Traceback" not in text and "Compute Failed" not in text, text


@pytest.mark.slow
@pytest.mark.parametrize("spoil", [lambda p: rewritten(p, crs=None), cut_in_its_pixels], ids=["no CRS", "truncated"])
def test_kind_4_faults_of_content_are_not_repeated(
    spoil: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A STAC item with a local file without CRS or without its last pixels: no attempts, no advice to run again."""
    world = tmp_path / "world"
    write_products(world, World(size=64, years=(2018,), seed=3, acquisitions_per_year=2), format="stac")
    source = Stac(catalogue=str(world / "acquisitions" / "items.json"))
    found = source.catalogue([2018])
    one, grid = found.acquisitions[0], found.grid
    spoil(Path(one.granules[0].assets["B02"].href))
    monkeypatch.setattr("mlc_dask.io.sources.stac.retried", None)
    with pytest.raises(InputError) as caught:
        source.read(one, grid, slice(0, grid.height), slice(0, grid.width))
    assert "B02" in str(caught.value) and "run again" not in str(caught.value)


def test_kind_4_an_unexpected_error_is_one_line_with_a_file_of_details(capsys: pytest.CaptureFixture[str]) -> None:
    error = KeyError("label")
    error.add_note("in step cube of out")
    show_error(cli.console, error)
    line = capsys.readouterr().out.strip()
    assert line.startswith("error: KeyError: 'label'; in step cube of out; details in ") and "\n" not in line
    details = Path(line.rpartition(" ")[2])
    assert "KeyError" in details.read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("memory", ["500MB", "900MB"])
def test_kind_4_workers_with_too_little_memory(memory: str, world: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path / "c.toml", world, tmp_path / "out", f'workers = 1\nmemory = "{memory}"')
    code, line, text = command("run", config, "--until", "acquisitions")
    assert code == 2 and "GB per thread, but a patch needs" in line and "Traceback" not in text


def said(*arguments: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(cli.app, [str(a) for a in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output.strip().splitlines()[-1]


@pytest.mark.parametrize("crs", [UNPLACED, MOON], ids=["local", "moon"])
def test_kind_7_an_old_map_in_a_crs_without_a_transformation(crs: str, world: Path, tmp_path: Path) -> None:
    rewritten(world / "product" / "corine.tif", crs=crs)
    code, line = said("plan", write_config(tmp_path / "c.toml", world, tmp_path / "out"))
    assert code == 2 and "corine.tif: its CRS has no known transformation" in line and "gdal_edit.py" in line


@pytest.mark.parametrize("place", ["/proc/mlc.toml", "{file}/mlc.toml", "{long}"], ids=["refused", "in a file", "long"])
def test_kind_7_places_that_cannot_be_written(place: str, world: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    target = place.format(file=tmp_path / "file", long=tmp_path / ("a" * 300))
    config = write_config(tmp_path / "c.toml", world, tmp_path / "out")
    for arguments in (("init", target), ("plan", config, "--calendar", target)):
        code, line = said(*arguments)
        assert code == 2 and line.startswith(f"error: {target} cannot be read or written"), line


def test_kind_7_outputs_and_exports_that_cannot_be_written(world: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path / "c.toml", world, Path("/proc/out"))
    code, line = said("run", config, "--until", "acquisitions")
    assert code == 2 and "/proc/out cannot be" in line
    with pytest.raises(InputError, match="/proc/maps cannot be read or written"), OutputLock(Path("/proc/maps")):
        pass


@pytest.mark.parametrize("key", ["path", "crosswalk"])
def test_kind_7_a_folder_given_for_a_file(key: str, world: Path, tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    config = write_config(tmp_path / "c.toml", world, tmp_path / "out")
    text = config.read_text(encoding="utf-8")
    own = f'path = "{world}/product/corine.tif"'
    other = f'path = "{tmp_path}/folder.csv"' if key == "path" else f'{own}\ncrosswalk = "{tmp_path}/folder.csv"'
    config.write_text(text.replace(own, other), encoding="utf-8")
    code, line = said("plan", config)
    assert code == 2 and "folder.csv" in line and ("is a folder" in line or "directory" in line), line


def test_kind_7_a_full_disk_is_no_bad_input() -> None:
    with pytest.raises(OSError, match="No space left"), naming(Path("a")):
        raise OSError(28, "No space left on device", "a")


@pytest.mark.slow
@pytest.mark.parametrize("link", ["/user/{JUPYTERHUB_USER}/proxy/{port}/status", "http://{NOWHERE}/status"])
def test_kind_7_a_link_that_cannot_be_shown_fails_no_run(link: str, world: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path / "c.toml", world, tmp_path / "out", "workers = 1")
    code, _, text = command("run", config, "--until", "catalogue", DASK_DISTRIBUTED__DASHBOARD__LINK=link)
    assert code == 0 and "dashboard: not available" in text, text


def test_kind_7_file_urls_are_paths(world: Path, tmp_path: Path) -> None:
    path = tmp_path / "a b" / "ü.tif"
    assert local(path.as_uri()) == str(path) and local(f"file://localhost{path}") == str(path)
    assert local("https://a.org/b.tif") == "https://a.org/b.tif" and local("file://a.org/b") == "file://a.org/b"
    config = write_config(
        tmp_path / "c.toml", world, tmp_path / "out",
        folder=f'"{(world / "acquisitions").as_uri()}"',
        truth=f'"{(world / "truth").as_uri()}/{{year}}.tif"',
    )  # fmt: skip
    text = config.read_text(encoding="utf-8")
    config.write_text(text.replace(f'path = "{world}', f'path = "{world.as_uri()}'), encoding="utf-8")
    code, line = said("plan", config)
    assert code == 0 and config.read_text(encoding="utf-8").count("file://") == 3, line


def test_kind_7_stac_with_file_urls(tmp_path: Path) -> None:
    """The catalogue and all its hrefs."""
    world = tmp_path / "a world"
    write_products(world, World(size=64, years=(2018,), seed=3, acquisitions_per_year=2), format="stac")
    items = world / "acquisitions" / "items.json"
    plain = Stac(catalogue=str(items)).catalogue([2018])
    stored = json.loads(items.read_text(encoding="utf-8"))
    for item in stored["features"]:
        for asset in item["assets"].values():
            asset["href"] = (items.parent / asset["href"]).resolve().as_uri()
    items.write_text(json.dumps(stored), encoding="utf-8")
    source = Stac(catalogue=items.as_uri())
    found = source.catalogue([2018])
    assert found.grid == plain.grid and [a.id for a in found.acquisitions] == [a.id for a in plain.acquisitions]
    for one in found.acquisitions:
        source.check(one, found.grid)
    dn, _ = source.read(found.acquisitions[0], found.grid, slice(0, 64), slice(0, 64))
    assert dn.any() and len(source.files()) > 2
