"""Several tiles in one run: common models, a folder each, the same maps however they are scheduled."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed
from typer.testing import CliRunner

import mlc_dask as mlc
from mlc_dask.cli import app
from mlc_dask.config import Config, load_config
from mlc_dask.data.errors import InputError
from mlc_dask.io.samples import open_samples
from mlc_dask.pipeline.inputs import Given
from mlc_dask.pipeline.many_tiles import Pipeline, go_through
from mlc_dask.pipeline.perform import make_cube
from mlc_dask.runs.artifacts import Event
from mlc_dask.runs.records import explain
from mlc_dask.runs.run import Run
from mlc_dask.stages import drawing as sampling
from mlc_dask.storage.durable import OutputLock
from mlc_dask.worlds import World, write_world
from tests.runs import artifacts, run_all, write_config

pytestmark = pytest.mark.slow

TILES = ("31UFS", "31UFT")


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    with dask.config.set(scheduler="threads", num_workers=2):
        yield


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two places, each with weather and days of its own."""
    base = tmp_path_factory.mktemp("worlds")
    for seed, tile in enumerate(TILES, 1):
        write_world(base / tile, World(size=96, seed=seed, acquisitions_per_year=9, years=(2018, 2019)))
    return base


def configure(path: Path, worlds: Path, output: Path, execution: str = "workers = 2") -> Path:
    write_config(path, worlds / "{tile}", output, execution)
    path.write_text(f"tiles = {list(TILES)}\n{path.read_text(encoding='utf-8')}", encoding="utf-8")
    return path


def states(events: list[Event]) -> dict[str, str]:
    return {e.step: e.state for e in events}


@pytest.fixture(scope="module")
def finished(worlds: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, list[Event]]:
    folder = tmp_path_factory.mktemp("run")
    config = load_config(configure(folder / "mlc.toml", worlds, folder / "out"))
    with dask.config.set(scheduler="threads", num_workers=2):
        return config, run_all(config)


def test_models_are_common_and_maps_are_not(finished: tuple[Config, list[Event]]) -> None:
    config, events = finished
    assert {"forests", "models", "31UFS/multi-year", "31UFT/report"} <= states(events).keys()
    assert not {"31UFS/forests", "31UFT/models"} & states(events).keys()
    maps = [mlc.open_maps(config.output / tile).load() for tile in TILES]
    assert not maps[0].multi_year.equals(maps[1].multi_year)
    for tile, own in zip(TILES, maps, strict=True):
        assert (own.multi_year > 0).mean() > 0.5 and (config.output / tile / "CURRENT.json").exists()
    with pytest.raises(InputError, match=f"several tiles; open one: .*{TILES[0]}, .*{TILES[1]}"):
        mlc.open_maps(config.output)


def test_only_the_steps_that_classify_name_engines(finished: tuple[Config, list[Event]]) -> None:
    """Two tiles are computed at once; a step that draws samples beside another tile's maps names no engine."""
    _, events = finished
    named = {e.step: json.loads((e.artifact.folder / "record.json").read_bytes()).get("engines", []) for e in events}
    mapped = {step for step in named if step.rpartition("/")[2] in ("preliminary", "single-year", "multi-year")}
    assert len(mapped) == 6 and {step for step, engines in named.items() if engines} == mapped


def test_the_samples_of_all_tiles_are_pooled(finished: tuple[Config, list[Event]]) -> None:
    config, _ = finished
    (joint,) = artifacts(config.output, "multiyear-training")
    everything = open_samples(joint / "samples.zarr")
    own = [open_samples(artifacts(config.output / t, "multiyear-training")[0] / "samples.zarr") for t in TILES]
    assert everything.sizes["sample"] == sum(s.sizes["sample"] for s in own)
    assert everything.attrs["tiles"] == list(TILES) and bool(everything.usable.all())
    for i, (tile, samples) in enumerate(zip(TILES, own, strict=True)):
        part = everything.isel(sample=np.flatnonzero(everything.tile.values == i))
        np.testing.assert_array_equal(part.label.values, samples.label.values)
        year = 2018
        at = np.flatnonzero(samples.year.values == year)
        filled = sampling.filled(
            samples.dn.values[at],
            samples.usable.values[at],
            np.asarray(samples.attrs["days"][str(year)]),
            "interpolate",
        )
        np.testing.assert_array_equal(part.dn.values[at], filled)
        assert all(note.startswith(TILES) for note in everything.attrs["notes"]), tile
    # As many in all as a single place would have, but for rounding and what a place cannot give.
    assert everything.sizes["sample"] <= 2 * (300 + 150) + 4


def test_a_finished_run_is_reused_and_a_lost_result_costs_its_tile_alone(finished: tuple[Config, list[Event]]) -> None:
    config, _ = finished
    assert set(states(run_all(config)).values()) == {"reused"}
    before = mlc.open_maps(config.output / TILES[1]).load()
    (lost,) = artifacts(config.output / TILES[1], "multi-year")
    (lost / "record.json").unlink()
    again = [step for step, state in states(run_all(config)).items() if state == "finished"]
    assert again == ["31UFT/multi-year"]
    xr.testing.assert_identical(mlc.open_maps(config.output / TILES[1]).load(), before)


def test_the_same_maps_one_tile_at_a_time(finished: tuple[Config, list[Event]], worlds: Path, tmp_path: Path) -> None:
    config, _ = finished
    other = load_config(configure(tmp_path / "mlc.toml", worlds, tmp_path / "out", "tiles_at_once = 1"))
    run_all(other)
    for tile in TILES:
        xr.testing.assert_identical(
            mlc.open_maps(config.output / tile).load(), mlc.open_maps(other.output / tile).load()
        )


def test_origins_lead_from_a_tile_to_the_common_models_and_all_tiles(finished: tuple[Config, list[Event]]) -> None:
    config, _ = finished

    def names(origin: object) -> Iterator[tuple[str, bool]]:
        yield origin.name, origin.record is not None  # type: ignore[attr-defined]
        for parent in origin.inputs:  # type: ignore[attr-defined]
            yield from names(parent)

    found = list(names(explain(config.output / TILES[0], "multi-year")))
    assert {"models", "forests", "cube"} <= {name for name, _ in found}
    assert all(known for name, known in found if name not in ("source", "product-file"))


def cubes(*args: Any, **kwargs: Any) -> list[Event]:
    return make_cube(*args, **kwargs).events


@pytest.mark.parametrize("do", [mlc.run, cubes])
def test_steps_are_returned_in_the_order_in_which_they_ended(
    worlds: Path, tmp_path: Path, do: Callable[..., list[Event]]
) -> None:
    """A tile waits in its first step until the other one has ended two."""
    path, seen, ahead = configure(tmp_path / "mlc.toml", worlds, tmp_path / "out"), [], threading.Event()
    original = Run.do

    def do_slowly(self: Run, *args: Any, **kwargs: Any) -> Any:
        if not self.dry and self.folder.name == TILES[0]:
            assert ahead.wait(60)
        return original(self, *args, **kwargs)

    def listen(event: Event) -> None:
        seen.append(event)
        if event.step == f"{TILES[1]}/acquisitions" and event.state == "finished":
            ahead.set()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "do", do_slowly)
        steps = do(path, until="acquisitions", scheduler="current", listener=listen)
    assert [e.step for e in steps] == [f"{tile}/{s}" for tile in TILES[::-1] for s in ("catalogue", "acquisitions")]
    assert steps == [e for e in seen if e.state == "finished"]


@pytest.mark.parametrize("kind", [RuntimeError, KeyboardInterrupt])
def test_an_output_stays_locked_while_a_tile_writes(tmp_path: Path, kind: type[BaseException]) -> None:
    names = (*TILES, "31UFU")
    source = {"kind": "geotiff", "folder": "{tile}"}
    config = Config(output=tmp_path, source=source, tiles=names, execution={"tiles_at_once": 2})  # type: ignore[arg-type]
    begun, go_on, written = threading.Event(), threading.Event(), []

    def phase(run: Run, given: Given) -> None:
        if run.folder.name == names[0]:
            assert begun.wait(60)
            raise kind("planted")
        begun.set()
        assert go_on.wait(60)
        with pytest.raises(InputError, match="is being written by"), OutputLock(run.folder):
            pass
        written.append(run.folder.name)

    pipeline = Pipeline(phase, lambda tiles, config: tiles.each(phase), lambda given: ())
    threading.Timer(0.5, go_on.set).start()
    with pytest.raises(kind, match="planted"):
        go_through(config, {name: Given(config.of_tile(name)) for name in names}, pipeline, {})
    for _ in range(100):
        if written == [names[1]]:
            break
        assert kind is KeyboardInterrupt, "an error waits for the running tile"
        time.sleep(0.1)
    assert written == [names[1]], "a tile that had not begun is not begun"
    # After an interruption the lock goes with the thread of the tile, shortly after its last word.
    for attempt in Retrying(retry=retry_if_exception_type(InputError), wait=wait_fixed(0.1), stop=stop_after_delay(30)):
        with attempt, OutputLock(tmp_path / names[1]):
            pass


def test_every_tile_goes_as_far_as_asked(worlds: Path, tmp_path: Path) -> None:
    config = load_config(configure(tmp_path / "mlc.toml", worlds, tmp_path / "out"))
    first = states(run_all(config, until="product"))
    assert {step.rpartition("/")[2] for step in first} == {
        "catalogue", "acquisitions", "radiometry", "cube", "quicklooks", "product",
    } and len(first) == 12  # fmt: skip
    assert "forests" in states(run_all(config, until="forests"))
    with pytest.raises(InputError, match="there is no step 'nonsense'"):
        run_all(config, until="nonsense")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda s: s.isel(band=slice(0, 2)), "differ in bands"),
        (lambda s: s.isel(acquisition=slice(0, 3)), "differ in acquisitions per year: 6 and 3"),
    ],
)
def test_tiles_that_no_one_model_can_learn_from(
    change: object, told: str, finished: tuple[Config, list[Event]]
) -> None:
    config, _ = finished
    one, other = (open_samples(artifacts(config.output / t, "annual-training")[0] / "samples.zarr") for t in TILES)
    with pytest.raises(InputError, match=f"tiles a and b {told}"):
        sampling.pooled(one, change(other), tiles=["a", "b"])  # type: ignore[operator]


@pytest.mark.parametrize(
    ("tiles", "told"),
    [
        ('["31UFS", "31UFS"]', "name at least one tile, and each tile once"),
        ("[]", "name at least one tile"),
        ('["../x"]', "'../x' cannot be a folder of the output"),
        ('["artifacts"]', "'artifacts' cannot be a folder of the output"),
    ],
)
def test_unfit_names_are_refused(tiles: str, told: str, worlds: Path, tmp_path: Path) -> None:
    config = configure(tmp_path / "mlc.toml", worlds, tmp_path / "out")
    config.write_text(re.sub("tiles = .*", f"tiles = {tiles}", config.read_text(encoding="utf-8"), count=1))
    with pytest.raises(InputError, match=re.escape(told)):
        load_config(config)


def test_a_source_that_is_the_same_for_all_tiles_is_refused(worlds: Path, tmp_path: Path) -> None:
    config = configure(tmp_path / "mlc.toml", worlds / TILES[0], tmp_path / "out")
    config.write_text(config.read_text(encoding="utf-8").replace("/{tile}", ""), encoding="utf-8")
    with pytest.raises(InputError, match=re.escape("no key of source contains {tile}")):
        load_config(config)


def test_the_command_line(worlds: Path, tmp_path: Path) -> None:
    config, runner = configure(tmp_path / "mlc.toml", worlds, tmp_path / "out"), CliRunner()
    planned = runner.invoke(app, ["plan", str(config), "--calendar", str(tmp_path / "c.png")])
    assert planned.exit_code == 0, planned.output
    assert all(tile in planned.output and (tmp_path / f"c-{tile}.png").exists() for tile in TILES)
    done = runner.invoke(app, ["run", str(config)])
    assert done.exit_code == 0, done.output
    rows = [line for line in done.output.splitlines() if line.strip().startswith("multi-year, filtered")]
    assert len(rows) == 2, "one table of figures per tile"
    status = runner.invoke(app, ["status", str(config)]).output
    assert re.search(r"31UFT/report +done", status) and re.search(r"(?m)^ *models +done", status)
    (made,) = artifacts(tmp_path / "out" / TILES[0], "multi-year")
    assert json.loads((made / "record.json").read_bytes())["engines"]
    missing = worlds / TILES[1] / "product" / "corine.tif"
    renamed = missing.rename(missing.with_suffix(".away"))
    refused = runner.invoke(app, ["run", str(config)])
    renamed.rename(missing)
    assert refused.exit_code == 2 and TILES[1] in refused.output.replace("\n", "")


def test_controls_are_trained_once_and_judged_in_every_tile(worlds: Path, tmp_path: Path) -> None:
    path = configure(tmp_path / "mlc.toml", worlds, tmp_path / "out")
    text = path.read_text(encoding="utf-8").replace('baseline = "whole"', 'baseline = "sample"')
    path.write_text(text.replace('controls = "none"', 'controls = "full"'), encoding="utf-8")
    done = states(run_all(load_config(path)))
    assert done["controls-training"] == "finished" and not {f"{tile}/controls-training" for tile in TILES} & done.keys()
    for tile in TILES:
        assert done[f"{tile}/controls"] == done[f"{tile}/report"] == "finished" and f"{tile}/single-year" not in done
        assert "single_year" not in mlc.open_maps(tmp_path / "out" / tile)
        table = (tmp_path / "out" / tile / "evaluation" / "controls.csv").read_text(encoding="utf-8")
        assert "year_left_out" in table and ",none,1,1" in table, "one block has no interval"
    scores = [pd.read_csv(tmp_path / "out" / tile / "evaluation" / "calibration.csv") for tile in TILES]
    spanned = [t.query("metric == 'outside' and over == 'samples'")[["value", "pixels"]].to_numpy() for t in scores]
    assert (spanned[0] == spanned[1]).all(), "the samples of both tiles span one area of applicability"
